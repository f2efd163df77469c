"""The next character of a text, by a small GPT: norms before each part, learned positions, and no biases.

The table that embeds the characters gives the logits too, and weight decay is for matrices alone. Sizes and settings
are those of nanoGPT for Shakespeare on a CPU. Sources: Radford et al. 2019; github.com/karpathy/nanoGPT.
"""

from typing import Any

from sympy import Sum

from derivgen import Model, activations, initializers, layers, losses, optimizers, schedules

NORMAL = initializers.normal(stddev=0.02)


def block(a: Any, heads: int, small: initializers.Initializer, name: str) -> Any:
    """Causal attention, then two dense layers, each after a norm and beside a residual: (batch, time, features).

    `small` draws the weights of what is added to the residuals.
    """
    normed = layers.layer_norm(a, name=f"{name}_norm1", center=False)
    parts = [in_heads(normed, heads, f"{name}_{part}") for part in ("query", "key", "value")]
    mixed = layers.scaled_dot_product_attention(*parts, name=f"{name}_heads", causal=True)
    a = layers.add(a, of_heads(mixed, small, f"{name}_attention"), name=f"{name}_mixed")

    normed = layers.layer_norm(a, name=f"{name}_norm2", center=False)
    inner = layers.dense(normed, 4 * a.shape[-1], activations.gelu, name=f"{name}_dense1", init=NORMAL, bias=False)
    return layers.add(a, layers.dense(inner, a.shape[-1], name=f"{name}_dense2", init=small, bias=False), name=name)


def in_heads(a: Any, heads: int, name: str) -> Any:
    """a·W, its features in heads: (batch, time, features) → (batch, time, heads, features / heads)."""
    model, (N, T, D) = a.model, a.shape
    n, t, d, h, e = model.local_indices(N, T, D, heads, D / heads, letters="ntdhe")
    W = model.parameter(f"{name}_W", D, heads, D / heads, init=NORMAL)
    return model.let(name, (n, t, h, e), Sum(a[n, t, d] * W[d, h, e], d))


def of_heads(a: Any, init: initializers.Initializer, name: str) -> Any:
    """a·W of all heads: (batch, time, heads, features / heads) → (batch, time, features)."""
    model, (N, T, H, E) = a.model, a.shape
    n, t, h, e, d = model.local_indices(N, T, H, E, H * E, letters="nthed")
    W = model.parameter(f"{name}_W", H, E, H * E, init=init)
    return model.let(name, (n, t, d), Sum(a[n, t, h, e] * W[h, e, d], h, e))


def build(classes: int, steps: int, features: int, heads: int, blocks: int) -> Model:
    model = Model("characters_gpt")
    N = model.batch("N")
    T, C = model.sizes(T=steps, C=classes)
    n, t, c, d = model.local_indices(N, T, C, features, letters="ntcd")
    x = model.labels("x", N, T, classes=C)  # characters by number
    y = model.labels("y", N, T, classes=C)  # at each place, the character after it

    table = model.parameter("table", C, features, init=NORMAL)
    positions = model.parameter("positions", T, features, init=NORMAL)
    a = model.let("embedded", (n, t, d), table[x[n, t], d] + positions[t, d])
    for k in range(1, blocks + 1):
        a = block(a, heads, initializers.normal(stddev=0.02 / (2 * blocks) ** 0.5), name=f"block{k}")
    a = layers.layer_norm(a, name="norm", center=False)
    logits = model.let("logits", (n, t, c), Sum(a[n, t, d] * table[c, d], d))
    p = activations.softmax(logits, name="p")

    model.minimize(losses.categorical_cross_entropy(p, y))
    rate = schedules.warm_up(schedules.cosine(0.001, decay_steps=1900, end=0.0001), warmup_steps=100)
    rule = optimizers.adamw(rate, beta_1=0.9, beta_2=0.99, weight_decay=0.1)
    model.update(optimizers.clip_global_norm(rule, 1.0), groups={"*_gain": {"weight_decay": 0}})
    model.predict(p)
    return model


model = build(classes=65, steps=64, features=128, heads=4, blocks=4)
