"""Second derivatives of every layer and activation, of losses, and of the examples' models at small sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp
from example_files import EXAMPLES, NAMES
from generated import execute, module_text
from sampled import some
from second_order_oracle import Point, point_of
from test_second_order import scored

from derivgen import activations, layers, losses
from derivgen.declare.model import Model
from derivgen.form.as_written import as_written
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values

PRODUCTS = ("hessian_vector_product", "gauss_newton_vector_product")
FUNCTIONS = (*PRODUCTS, "hessian", "hessian_diagonal")
# Of many tensors the whole Hessian has many blocks, which take up to minutes to generate: scripts/deep_hessians.py has
# these. The tests have whole Hessians of what they are made of: of an LSTM that of characters_lstm, of heads that of
# scaled_dot_product_attention, of gates and recurrences that of simple_rnn, of dilated windows that of conv1d, of many
# trees that of soft_decision_tree.
DEEP = (
    *("lstm", "gru", "multi_head_attention", "transformer_block", "wavenet_block"),
    *("digits_convolutional", "characters_gpt", "characters_transformer", "wavenet", "soft_forest", "pharmacokinetics"),
)


def point(model: Model, functions: tuple[str, ...] = FUNCTIONS, rows: int = 2, seed: int = 0) -> Point:
    """The module with these functions besides, as plain Python, at a random point."""
    model.second_order(*functions)
    values = random_values(declared_program(model), "float64", rows, seed)
    return point_of(execute(module_text(model)), model, values, seed, functions)


def parameter(*shape: int) -> Callable[[Model], Any]:
    return lambda model: model.parameter("x", *shape)


def data(*shape: int) -> Callable[[Model], Any]:
    return lambda model: model.input("x", model.batch("N"), *shape)


def after_dense(layer: Callable[[Any], Any], *shape: int) -> Callable[[Model], Any]:
    """A layer of what has parameters."""
    return lambda model: layer(layers.dense(model.input("x", model.batch("N"), *shape), shape[-1], name="d"))


def of(layer: Callable[[Any], Any], source: Callable[[Model], Any]) -> Callable[[Model], Any]:
    return lambda model: layer(source(model))


def embedding(model: Model) -> Any:
    e = layers.embedding(model.labels("ids", model.batch("N"), 2, classes=3, ignore=-1), 2, name="e")
    return layers.dense(e, 2, sp.tanh, name="d")


def attention(model: Model) -> Any:
    """With a mask, lengths that may be 0, and a causal order; all three are parameters."""
    q, k, v = (model.parameter(name, 2, 3, 2) for name in "qkv")
    lengths = model.labels("lengths", 2, classes=3)
    return layers.scaled_dot_product_attention(
        q, k, v, name="a", causal=True, mask=model.input("mask", 2, 3), lengths=lengths
    )


def at_place(layer: Callable[..., Any]) -> Callable[[Model], Any]:
    """Squares, each row's multiplied by its place."""

    def declare(model: Model) -> Any:
        x, (n, k) = model.parameter("x", 3, 4), model.local_indices(3, 4)
        place = layer(x, name="place")
        return model.let("y", (n, k), (1 + place[n]) * x[n, k] ** 2)

    return declare


def chosen(model: Model) -> Any:
    marks = layers.one_hot(model.labels("ids", model.batch("N"), classes=3), name="marks")
    return layers.dense(marks, 2, sp.tanh, name="d")


def skipping(model: Model) -> Any:
    a, skip = layers.wavenet_block(data(3, 2)(model), 2, 2, name="b", dilation=2)
    return layers.concatenate([a, skip], name="both")


LAYERS = {
    "dense": of(lambda x: layers.dense(x, 2, sp.tanh, name="d"), parameter(2, 3)),
    "embedding": embedding,
    "flatten": of(lambda x: layers.dense(layers.flatten(x, name="f"), 2, sp.tanh, name="d"), parameter(2, 2, 2)),
    "reshape": of(lambda x: layers.reshape(x, (2, 3), name="y"), parameter(2, 6)),
    "concatenate": of(lambda x: layers.concatenate([x, x], name="y"), parameter(2, 3)),
    "add": of(lambda x: layers.add(x, x, name="y"), parameter(2, 3)),
    "conv1d": of(lambda x: layers.conv1d(x, 2, 2, sp.tanh, name="c", padding=1, dilation=2), parameter(1, 2, 4)),
    "conv2d": of(lambda x: layers.conv2d(x, 2, 2, sp.tanh, name="c", stride=2, padding=1, groups=2), data(2, 3, 3)),
    "conv_transpose1d": of(
        lambda x: layers.conv_transpose1d(x, 2, 3, name="c", stride=2, padding=1), parameter(1, 2, 3)
    ),
    "conv_transpose2d": of(lambda x: layers.conv_transpose2d(x, 1, 2, sp.tanh, name="c", stride=2), data(2, 2, 2)),
    "max_pool1d": of(lambda x: layers.max_pool1d(x, 2, name="p"), parameter(2, 2, 4)),
    "max_pool2d": of(lambda x: layers.max_pool2d(x, 2, name="p", stride=1, padding=1), parameter(1, 1, 3, 3)),
    "avg_pool1d": of(lambda x: layers.avg_pool1d(x, 2, name="p"), parameter(2, 2, 4)),
    "avg_pool2d": of(lambda x: layers.avg_pool2d(x, 2, name="p", padding=1), parameter(1, 1, 3, 3)),
    "global_avg_pool": of(lambda x: layers.global_avg_pool(x, name="p"), parameter(2, 2, 3)),
    "global_max_pool": of(lambda x: layers.global_max_pool(x, name="p"), parameter(2, 2, 3)),
    "conv3d": of(lambda x: layers.conv3d(x, 1, (1, 2, 2), sp.tanh, name="c"), data(1, 2, 2, 3)),
    "conv_transpose3d": of(lambda x: layers.conv_transpose3d(x, 1, (1, 1, 2), sp.tanh, name="c"), data(1, 1, 2, 2)),
    "max_pool3d": of(lambda x: layers.max_pool3d(x, (1, 2, 2), name="p"), parameter(1, 1, 2, 2, 4)),
    "avg_pool3d": of(lambda x: layers.avg_pool3d(x, (1, 2, 2), name="p"), parameter(1, 1, 2, 2, 4)),
    "lp_pool1d": of(lambda x: layers.lp_pool1d(x, 4, 2, name="p"), parameter(1, 4, 2)),
    "lp_pool2d": of(lambda x: layers.lp_pool2d(x, 2, 2, name="p", ceil_mode=True), parameter(1, 1, 3, 3)),
    "lp_pool3d": of(lambda x: layers.lp_pool3d(x, 2, (1, 1, 2), name="p"), parameter(1, 1, 1, 2, 4)),
    "global_lp_pool": of(lambda x: layers.global_lp_pool(x, 3, name="p"), parameter(2, 2, 3)),
    "adaptive_avg_pool1d": of(lambda x: layers.adaptive_avg_pool1d(x, 2, name="p"), parameter(1, 4, 2)),
    "adaptive_avg_pool2d": of(lambda x: layers.adaptive_avg_pool2d(x, (1, 2), name="p"), parameter(1, 1, 2, 4)),
    "adaptive_avg_pool3d": of(lambda x: layers.adaptive_avg_pool3d(x, 1, name="p"), parameter(1, 1, 2, 2, 2)),
    "adaptive_max_pool1d": of(lambda x: layers.adaptive_max_pool1d(x, 2, name="p"), parameter(1, 4, 2)),
    "adaptive_max_pool2d": of(lambda x: layers.adaptive_max_pool2d(x, (1, 2), name="p"), parameter(1, 1, 2, 4)),
    "adaptive_max_pool3d": of(lambda x: layers.adaptive_max_pool3d(x, 1, name="p"), parameter(1, 1, 2, 2, 2)),
    "pad": of(lambda x: layers.pad(x, 1, "reflect", name="p"), parameter(1, 3, 2)),
    "upsample": of(lambda x: layers.upsample(x, 2, name="u"), parameter(1, 3, 2)),
    "pixel_shuffle": of(lambda x: layers.pixel_shuffle(x, 2, name="u"), parameter(1, 4, 2, 1)),
    "pixel_unshuffle": of(lambda x: layers.pixel_unshuffle(x, 2, name="u"), parameter(1, 1, 2, 4)),
    "unfold": of(lambda x: layers.unfold(x, 2, name="u"), parameter(1, 1, 3, 3)),
    "fold": of(lambda x: layers.fold(x, (3, 2), 2, name="u"), parameter(1, 2, 4)),
    "local_response_norm": of(lambda x: layers.local_response_norm(x, 2, 1.0, name="y"), parameter(2, 3)),
    "batch_norm": after_dense(lambda x: layers.batch_norm(x, name="y"), 3, 2),
    "batch_norm of images": of(lambda x: layers.batch_norm(layers.conv2d(x, 2, 2, name="c"), name="y"), data(1, 3, 3)),
    "layer_norm": after_dense(lambda x: layers.layer_norm(x, name="y"), 3),
    "group_norm": of(lambda x: layers.group_norm(x, 2, name="y"), parameter(2, 4, 2)),
    "rms_norm": after_dense(lambda x: layers.rms_norm(x, name="y"), 3),
    "instance_norm": of(lambda x: layers.instance_norm(x, name="y", center=False), parameter(2, 3, 2)),
    "weight_norm": of(lambda x: layers.weight_norm(x, name="y"), parameter(3, 2)),
    "spectral_norm": of(lambda x: layers.spectral_norm(x, name="y"), parameter(3, 2)),
    "dropout": after_dense(lambda x: layers.dropout(x, 0.4, name="y"), 3, 2),
    "simple_rnn": of(lambda x: layers.simple_rnn(x, 2, name="r", reverse=True), data(3, 2)),
    "lstm": of(lambda x: layers.lstm(x, 2, name="r"), data(2, 1)),
    "gru": of(lambda x: layers.gru(x, 2, name="r"), data(2, 1)),
    "bidirectional": of(lambda x: layers.bidirectional(layers.simple_rnn, x, 1, name="r"), data(3, 2)),
    "scaled_dot_product_attention": attention,
    "multi_head_attention": of(lambda x: layers.multi_head_attention(x, 1, name="a", causal=True), data(3, 2)),
    "rotary_positions": of(lambda x: layers.rotary_positions(x, name="y"), parameter(1, 3, 4)),
    "sinusoidal_positions": of(lambda x: layers.sinusoidal_positions(x, name="y"), parameter(1, 3, 4)),
    "transformer_block": of(lambda x: layers.transformer_block(x, 1, 2, name="b", rotary=True), data(2, 2)),
    "wavenet_block": skipping,
    "cumsum": of(lambda x: layers.cumsum(x, 1, name="y", exclusive=True), parameter(2, 3, 2)),
    "cumprod": of(lambda x: layers.cumprod(x, name="y", reverse=True), parameter(2, 3)),
    "cummax": of(lambda x: layers.cummax(x, name="y"), parameter(2, 4)),
    "logcumsumexp": of(lambda x: layers.logcumsumexp(x, name="y"), parameter(2, 3)),
    "argmax": at_place(layers.argmax),
    "argmin": at_place(layers.argmin),
    "one_hot": chosen,
}


def test_every_layer_is_here() -> None:
    assert {name.split(" ")[0] for name in LAYERS} == set(layers.__all__)


@pytest.mark.parametrize("name", some(LAYERS))
def test_layers(name: str) -> None:
    check_layer(name, PRODUCTS if name in DEEP else FUNCTIONS)


def check_layer(name: str, functions: tuple[str, ...]) -> None:
    model = Model("layer")
    model.minimize(scored(LAYERS[name](model)))
    point(model, functions).check()


ELEMENTWISE = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "hard_tanh", "sigmoid"),
    *("hard_sigmoid", "hard_swish", "softplus", "softsign", "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid"),
    *("sparse_plus", "sparse_sigmoid", "squareplus"),
)
WHOLE = ("softmax", "log_softmax", "softmin", "sparsemax", "glu", "reglu", "geglu", "swiglu", "bilinear")


@pytest.mark.parametrize("name", some(ELEMENTWISE))
def test_activations(name: str) -> None:
    """Behind a product, so that first and second derivatives both count."""
    model = Model("activation")
    x, k = model.parameter("x", 6), model.indices(k=6)
    y = model.let("y", (k,), getattr(activations, name)(3 * x[k] * sp.cos(k)))
    model.minimize(scored(y))
    point(model, ("hessian_vector_product", "hessian_diagonal")).check()


@pytest.mark.parametrize("name", WHOLE)
def test_activations_along_an_axis(name: str) -> None:
    model = Model("activation")
    model.minimize(scored(getattr(activations, name)(model.parameter("x", 2, 4), name="y")))
    point(model).check()


REAL = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "quantile", "sigmoid_cross_entropy", "focal")
REAL += ("hinge", "squared_hinge", "poisson_negative_log_likelihood", "cosine", "smooth_l1", "soft_margin", "info_nce")
REAL += ("multi_label_soft_margin", "hinge_embedding", "multi_label_margin", "dice")
BY_LABEL = ("softmax_cross_entropy", "multi_class_hinge", "categorical_hinge", "negative_log_likelihood")


@pytest.mark.parametrize("name", some([*REAL, *BY_LABEL]))
def test_losses(name: str) -> None:
    model = Model("loss")
    N = model.batch("N")
    z = layers.dense(layers.dense(model.input("x", N, 2), 2, sp.tanh, name="h"), 3, name="z")
    target = model.labels("y", N, classes=3) if name in BY_LABEL else model.input("target", N, 3)
    model.minimize(getattr(losses, name)(z, target))
    point(model, PRODUCTS).check()


# ---- examples

SMALLER = {
    "characters_gpt": [
        ("classes=65, steps=64, features=128, heads=4, blocks=4", "classes=2, steps=2, features=2, heads=1, blocks=1")
    ],
    "characters_lstm": [("classes=96, steps=64, features=32, units=128", "classes=3, steps=2, features=1, units=1")],
    "characters_transformer": [
        ("classes=96, steps=64, features=64, heads=4, units=256", "classes=2, steps=2, features=2, heads=1, units=1")
    ],
    "decay_curve": [],
    "denoising": [("H=64, W=64", "H=3, W=4")],
    "digits": [("D=64, H=32, C=10", "D=3, H=2, C=3")],
    "digits_convolutional": [("build()", "build(4, (1, 1, 2))"), ("a, 10", "a, 2"), ("classes=10", "classes=2")],
    "family_trees": [("P=24, R=12, E=6, C=12", "P=3, R=2, E=2, C=2")],
    "first_steps": [],
    "heat_equation": [("H=20", "H=2")],
    "logistic_regression": [("D=30", "D=4")],
    "matrix_factorization": [("users=1797, items=64, K=8", "users=3, items=2, K=2")],
    "option_greeks": [],
    "pendulum": [],
    "pharmacokinetics": [("S=6", "S=2")],
    "robot_arm": [("T=32", "T=1")],
    "rosenbrock": [],
    "soft_decision_tree": [("DEPTH = 4", "DEPTH = 2"), ("D=64, C=10", "D=2, C=3")],
    "soft_forest": [("DEPTH = 4", "DEPTH = 2"), ("T=16, D=64, C=10", "T=2, D=2, C=2")],
    "support_vector_machine": [("D=30", "D=4")],
    "symmetry": [],
    "wavenet": [
        ("classes=64, steps=256, channels=32, blocks=3", "classes=2, steps=3, channels=1, blocks=2"),
        ("kernel_size=4", "kernel_size=2"),
    ],
    "xor": [],
}
POSITIVE = {"option_greeks": ("strike", "width", "spot", "volatility", "maturity"), "pharmacokinetics": ("dose",)}


def test_every_example_is_here() -> None:
    assert sorted(SMALLER) == NAMES


def example(name: str) -> Model:
    """The model of an example's spec, at other sizes."""
    text = (EXAMPLES / name / f"{name}.py").read_text(encoding="utf-8")
    for old, new in SMALLER[name]:
        assert old in text
        text = text.replace(old, new)
    names: dict[str, Any] = {"__name__": name}
    with as_written():
        exec(compile(text, f"{name}.py", "exec"), names)
    return names["model"]


@pytest.mark.parametrize("name", some(NAMES))
def test_examples(name: str) -> None:
    check_example(name, PRODUCTS if name in DEEP else FUNCTIONS)


def check_example(name: str, functions: tuple[str, ...]) -> None:
    model = example(name)
    of_prediction = ("jacobian_vector_product",) if model.prediction is not None else ()
    at = point(model, (*functions, *of_prediction))
    at.values = {n: abs(a) + 0.5 if n in POSITIVE.get(name, ()) else a for n, a in at.values.items()}
    at.check()
