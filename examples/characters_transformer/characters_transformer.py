"""The next character of a text, by a causal transformer with rotary positions.

Source: Vaswani et al. 2017; norms before each part, and positions as angles (Su et al. 2021).
"""

from derivgen import Model, activations, layers, losses, optimizers


def build(classes: int, steps: int, features: int, heads: int, units: int, blocks: int) -> Model:
    model = Model("characters_transformer")
    N = model.batch("N")
    T, C = model.sizes(T=steps, C=classes)
    x = model.labels("x", N, T, classes=C)  # characters by number
    y = model.labels("y", N, T, classes=C)  # at each place, the character after it

    a = layers.embedding(x, features, name="embedded")
    for k in range(1, blocks + 1):
        a = layers.transformer_block(a, heads, units, name=f"block{k}", causal=True, rotary=True)
    p = activations.softmax(layers.dense(a, C, name="logits"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.update(optimizers.adam())
    model.predict(p)
    return model


model = build(classes=96, steps=64, features=64, heads=4, units=256, blocks=1)
