"""The next sample of a sound, one of C levels, by dilated causal convolutions. Source: van den Oord et al. 2016."""

from derivgen import Model, activations, layers, losses, optimizers


def build(classes: int, steps: int, channels: int, blocks: int) -> Model:
    model = Model("wavenet")
    N = model.batch("N")
    T, C = model.sizes(T=steps, C=classes)
    x = model.labels("x", N, T, classes=C)  # levels
    y = model.labels("y", N, T, classes=C)  # at each place, the level after it

    a, skips = layers.embedding(x, channels, name="embedded"), []
    for k in range(blocks):  # each sees four times as far back as the one before
        a, skip = layers.wavenet_block(a, channels, kernel_size=4, name=f"block{k}", dilation=4**k)
        skips.append(skip)
    n, t, i = model.local_indices(N, T, channels, letters="nti")
    total = model.let("total", (n, t, i), activations.relu(sum(part[n, t, i] for part in (a, *skips))))
    hidden = layers.dense(total, channels, activations.relu, name="hidden")
    p = activations.softmax(layers.dense(hidden, C, name="logits"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.update(optimizers.adam())
    model.predict(p)
    return model


model = build(classes=64, steps=256, channels=32, blocks=3)
