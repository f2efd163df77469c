"""A model whose rows are independent of one another, and which draws: for tests of blocks, threads and ranks."""

from derivgen import Model, activations, layers, losses, optimizers


def model() -> Model:
    model = Model("blocks")
    N = model.batch("N")
    D, C = model.sizes(D=9, C=4)
    x, y = model.input("x", N, D), model.labels("y", N, classes=C)
    hidden = layers.dropout(layers.dense(x, 12, activations.tanh, name="hidden"), 0.3, name="dropped")
    p = activations.softmax(layers.dense(hidden, C, name="z"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.update(optimizers.adam())
    model.predict(p)
    return model
