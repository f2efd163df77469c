"""A convolutional classifier of 8×8 images of digits, trained by Adam with a cosine schedule.

Three convolutions with maxima over windows of 2×2 after the second and the third, batch normalization, and dropout.
"""

from derivgen import Model, layers, losses, optimizers, schedules
from derivgen.activations import relu


def build(size: int = 8, filters: tuple[int, int, int] = (16, 32, 64), rate: float = 0.3) -> Model:
    """The model for images of size × size, `size` a multiple of 4."""
    model = Model("digits_convolutional")
    N = model.batch("N")
    x = model.input("x", N, 1, size, size)
    y = model.labels("y", N, classes=10)
    a = layers.conv2d(x, filters[0], 3, relu, padding="same", init="he_uniform", name="conv1")
    a = layers.conv2d(a, filters[1], 3, relu, padding="same", init="he_uniform", name="conv2")
    a = layers.max_pool2d(a, 2, name="pool1")
    a = layers.conv2d(a, filters[2], 3, relu, padding="same", init="he_uniform", name="conv3")
    a = layers.max_pool2d(layers.batch_norm(a, name="norm"), 2, name="pool2")
    a = layers.dropout(layers.flatten(a, name="flat"), rate, name="drop")
    logits = layers.dense(a, 10, name="logits")
    model.minimize(losses.softmax_cross_entropy(logits, y))
    model.predict(logits)
    model.update(optimizers.adam(schedules.cosine(0.005)))
    return model


model = build()
