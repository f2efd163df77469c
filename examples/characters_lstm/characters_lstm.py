"""The next character of a text, by a long short-term memory. Source: Hochreiter and Schmidhuber 1997; Graves 2013."""

from derivgen import Model, activations, layers, losses, optimizers


def build(classes: int, steps: int, features: int, units: int) -> Model:
    model = Model("characters_lstm")
    N = model.batch("N")
    T, C = model.sizes(T=steps, C=classes)
    x = model.labels("x", N, T, classes=C)  # characters by number
    y = model.labels("y", N, T, classes=C)  # at each place, the character after it

    a = layers.embedding(x, features, name="embedded")
    h = layers.lstm(a, units, name="lstm")
    p = activations.softmax(layers.dense(h, C, name="logits"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.update(optimizers.adam())
    model.predict(p)
    return model


model = build(classes=96, steps=64, features=32, units=128)
