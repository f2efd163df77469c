"""Activations against PyTorch, at their kinks, far from 0, and with wrong options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import execute, module_text

from derivgen import activations
from derivgen.declare.model import Model
from derivgen.errors import SpecError
from derivgen.oracle.differences import gradient
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.project.spec import load_target

Activation = Callable[[sp.Expr], sp.Expr]

ELEMENTWISE: dict[str, tuple[Activation, Callable[[torch.Tensor], torch.Tensor]]] = {
    "identity": (activations.identity, torch.nn.Identity()),
    "relu": (activations.relu, F.relu),
    "relu6": (activations.relu6, F.relu6),
    "leaky_relu": (activations.leaky_relu, F.leaky_relu),
    "leaky_relu, steep": (lambda z: activations.leaky_relu(z, 1.75), lambda z: F.leaky_relu(z, 1.75)),
    "elu": (activations.elu, F.elu),
    "elu, alpha": (lambda z: activations.elu(z, 0.3), lambda z: F.elu(z, 0.3)),
    "selu": (activations.selu, F.selu),
    "celu": (activations.celu, F.celu),
    "celu, alpha": (lambda z: activations.celu(z, 2.5), lambda z: F.celu(z, 2.5)),
    "gelu": (activations.gelu, F.gelu),
    "gelu, tanh": (lambda z: activations.gelu(z, "tanh"), lambda z: F.gelu(z, approximate="tanh")),
    "silu": (activations.silu, F.silu),
    "mish": (activations.mish, F.mish),
    "tanh": (activations.tanh, F.tanh),
    "hard_tanh": (activations.hard_tanh, F.hardtanh),
    "hard_tanh, bounds": (lambda z: activations.hard_tanh(z, -2, 0.5), lambda z: F.hardtanh(z, -2, 0.5)),
    "sigmoid": (activations.sigmoid, F.sigmoid),
    # F.hardsigmoid's own derivative is 1/6 in float32, in float64 too.
    "hard_sigmoid": (activations.hard_sigmoid, lambda z: F.relu6(z + 3) / 6),
    "hard_swish": (activations.hard_swish, F.hardswish),
    "softplus": (activations.softplus, lambda z: F.softplus(z, threshold=1000)),
    "softplus, beta": (lambda z: activations.softplus(z, 2.5), lambda z: F.softplus(z, 2.5, threshold=1000)),
    "softsign": (activations.softsign, F.softsign),
    "linear": (activations.linear, torch.nn.Identity()),
    "exponential": (activations.exponential, torch.exp),
    "threshold": (lambda z: activations.threshold(z, 0.5, -2), lambda z: F.threshold(z, 0.5, -2)),
    "hard_shrink": (activations.hard_shrink, F.hardshrink),
    "hard_shrink, lambd": (lambda z: activations.hard_shrink(z, 2.5), lambda z: F.hardshrink(z, 2.5)),
    "soft_shrink": (activations.soft_shrink, F.softshrink),
    "soft_shrink, lambd": (lambda z: activations.soft_shrink(z, 2.5), lambda z: F.softshrink(z, 2.5)),
    "tanh_shrink": (activations.tanh_shrink, F.tanhshrink),
    "log_sigmoid": (activations.log_sigmoid, F.logsigmoid),
    # Keras's, by their definitions.
    "sparse_plus": (
        activations.sparse_plus,
        lambda z: torch.where(z <= -1, 0, torch.where(z >= 1, z, (z + 1) ** 2 / 4)),
    ),
    "sparse_sigmoid": (activations.sparse_sigmoid, lambda z: F.hardtanh((z + 1) / 2, 0, 1)),
    "squareplus": (activations.squareplus, lambda z: (z + (z**2 + 4).sqrt()) / 2),
    "squareplus, b": (lambda z: activations.squareplus(z, 0.5), lambda z: (z + (z**2 + 0.5).sqrt()) / 2),
}

SHAPES = [(7,), (3, 5), (1, 1, 9)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", ELEMENTWISE)
def test_an_activation_is_that_of_torch(case: str, dtype: str) -> None:
    activation, reference = ELEMENTWISE[case]
    shape = SHAPES[list(ELEMENTWISE).index(case) % len(SHAPES)]

    def declare(model: Model) -> Any:
        z, indices = model.parameter("z", *shape), model.local_indices(*shape)
        return model.let("a", indices, activation(z[indices]))

    spread = {"z": 3 * np.random.default_rng(2).standard_normal(shape).astype(dtype)}  # on both sides of each kink
    against_torch(declare, lambda t: reference(t["z"]), spread, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_prelu_learns_a_slope_for_each_channel(dtype: str) -> None:
    def declare(model: Model) -> Any:
        z, slope = model.parameter("z", 4, 3, 5), model.parameter("slope", 3)
        n, c, i = model.local_indices(4, 3, 5)
        return model.let("a", (n, c, i), activations.prelu(z[n, c, i], slope[c]))

    against_torch(declare, lambda t: F.prelu(t["z"], t["slope"]), dtype=dtype)


def test_prelu_with_one_slope() -> None:
    def declare(model: Model) -> Any:
        z, slope = model.parameter("z", 5), model.parameter("slope")
        (i,) = model.local_indices(5)
        return model.let("a", (i,), activations.prelu(z[i], slope))

    against_torch(declare, lambda t: F.prelu(t["z"], t["slope"].reshape(1)))


ALONG_THE_LAST_AXIS: dict[str, tuple[Callable[..., Any], Callable[..., torch.Tensor]]] = {
    "softmax": (activations.softmax, F.softmax),
    "log_softmax": (activations.log_softmax, F.log_softmax),
    "glu": (activations.glu, F.glu),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(6,), (3, 10), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("case", ALONG_THE_LAST_AXIS)
def test_an_activation_along_the_last_axis_is_that_of_torch(case: str, shape: tuple[int, ...], dtype: str) -> None:
    activation, reference = ALONG_THE_LAST_AXIS[case]
    against_torch(
        lambda model: activation(model.parameter("z", *shape), name="a"),
        lambda t: reference(t["z"], dim=-1),
        dtype=dtype,
    )


def test_glu_halves_a_named_size() -> None:
    def declare(model: Model) -> Any:
        D = model.sizes(D=6)
        return activations.glu(model.parameter("z", 5, D), name="a")

    against_torch(declare, lambda t: F.glu(t["z"]))


# ---- kinks


def derivatives(activation: Activation, points: list[float], dtype: str = "float64") -> tuple[Any, Any]:
    """(values, derivatives) at these points, from the generated module."""
    model = Model("pointwise")
    z, i = model.parameter("z", len(points), init=points), model.indices(i=len(points))
    a = model.let("a", i, activation(z[i]))
    model.minimize(sp.Sum(a[i], i))
    model.predict(a)
    module = execute(module_text(model, dtype))
    parameters = module.initial_parameters()
    with np.errstate(all="ignore"):
        return module.predict(parameters), module.loss_and_gradient(parameters)[1]


KINKS: dict[str, list[float]] = {
    "relu": [0],
    "relu6": [0, 6],
    "leaky_relu": [0],
    "leaky_relu, steep": [0],
    "elu": [0],
    "elu, alpha": [0],
    "selu": [0],
    "celu": [0],
    "celu, alpha": [0],
    "hard_tanh": [-1, 1],
    "hard_tanh, bounds": [-2, 0.5],
    "hard_sigmoid": [-3, 3],
    "hard_swish": [-3, 3],
    "softsign": [0],
    "threshold": [0.5],
    "hard_shrink": [-0.5, 0.5],
    "soft_shrink": [-0.5, 0.5],
    "sparse_plus": [-1, 1],
    "sparse_sigmoid": [-1, 1],
    "squareplus": [0],
}


@pytest.mark.parametrize("case", KINKS)
def test_a_kink_has_the_derivative_of_torch(case: str) -> None:
    activation, reference = ELEMENTWISE[case]
    z = torch.tensor(KINKS[case], dtype=torch.float64, requires_grad=True)
    reference(z).sum().backward()
    _, found = derivatives(activation, KINKS[case])
    np.testing.assert_allclose(found, z.grad.numpy(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_nan_passes_through(case: str) -> None:
    values, _ = derivatives(ELEMENTWISE[case][0], [np.nan, 0.5])
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


# ---- far from 0

FAR = [-1e4, -1e3, -50, -9, -1e-3, 1e-3, 9, 50, 1e3, 1e4]
EXACT = 128  # roundings of an element: in exp(z), rounding z is |z| of them
# Derivatives that read the value, as 1 - a², or subtract: exact relative to the largest one only.
DERIVATIVE_BY_VALUE = ("tanh", "sigmoid", "softsign")
SUBTRACTS = ("tanh_shrink",)  # the value: exact relative to the largest one only
OVERFLOWS = ("exponential",)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", ELEMENTWISE)
def test_far_from_0_each_element_is_that_of_the_oracle(case: str, dtype: str) -> None:
    """Relative to the element itself: what overflows or cancels shows."""
    model, activation = Model("far"), ELEMENTWISE[case][0]
    far = [point for point in FAR if point <= 50 or case not in OVERFLOWS]
    z, i = model.parameter("z", len(far)), model.indices(i=len(far))
    a = model.let("a", i, activation(z[i]))
    model.minimize(sp.Sum(a[i], i))
    program, points = declared_program(model), {"z": np.array(far, dtype)}
    wanted, slopes = run(program, points, digits=1000)["a"], gradient(program, points, ["z"], digits=1000)["z"]
    found, bars = derivatives(activation, points["z"].tolist(), dtype)
    assert roundings(found, wanted, dtype, 1 if case in SUBTRACTS else 0) <= EXACT
    assert roundings(bars, slopes, dtype, 1 if case in DERIVATIVE_BY_VALUE else 0) <= EXACT


def roundings(found: Any, wanted: Any, dtype: str, scale: float = 0) -> float:
    """The largest error of an element in roundings of itself, or of `scale`; what underflows is 0."""
    numbers = np.finfo(dtype)
    sizes = [max(abs(w), scale, float(numbers.tiny)) for w in wanted]
    errors = [abs(float(f) - w) / size for f, w, size in zip(found, wanted, sizes, strict=True)]
    assert np.isfinite(np.asarray(found, float)).all()
    return float(max(errors)) / float(numbers.eps)


TEXTBOOK: dict[str, Callable[[sp.Expr], sp.Expr]] = {
    "1 + erf": lambda z: z * (1 + sp.erf(z / sp.sqrt(2))) / 2,
    "1 + erf, distributed": lambda z: z * (sp.erf(z / sp.sqrt(2)) / 2 + sp.Rational(1, 2)),
    "1 - erf": lambda z: z * (1 - sp.erf(-z / sp.sqrt(2))) / 2,
    "2 - erfc": lambda z: z * (2 - sp.erfc(z / sp.sqrt(2))) / 2,
}


@pytest.mark.parametrize("case", TEXTBOOK)
def test_the_textbook_form_of_gelu_is_as_exact(case: str) -> None:
    for found, wanted in zip(derivatives(TEXTBOOK[case], FAR), derivatives(activations.gelu, FAR), strict=True):
        assert roundings(found, wanted, "float64") <= 4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", [activations.softmax, activations.log_softmax])
def test_far_apart_a_softmax_is_exact(activation: Callable[..., Any], dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0], [1e4, 1e4, 9999], [-1e4, -1e4 + 1, -1e4]], dtype)
    model = Model("far")
    z, (n, c) = model.parameter("z", 3, 3, init=logits), model.indices(n=3, c=3)
    a, w = activation(z, name="a"), model.constant("w", [1.0, -2.0, 0.5])
    model.minimize(sp.Sum(w[c] * a[n, c], n, c))
    model.predict(a)
    program, module = declared_program(model), execute(module_text(model, dtype))
    parameters = module.initial_parameters()
    wanted = run(program, {"z": logits}, digits=20000)["a"]
    p = (wanted if activation is activations.softmax else np.vectorize(mpmath.exp)(wanted)).astype(float)
    weights = np.array([1.0, -2.0, 0.5])
    slopes = p * (weights - p @ weights[:, None]) if activation is activations.softmax else weights + 0.5 * p
    assert roundings(module.predict(parameters).ravel(), wanted.ravel(), dtype) <= 4
    bars = module.loss_and_gradient(parameters)[1].reshape(3, 3)
    np.testing.assert_allclose(bars, slopes, rtol=0, atol=4 * np.finfo(dtype).eps)


# ---- wrong options

REFUSED = {
    'gelu(x[n, d], "exact")': ["gelu", '"none" or "tanh"', "'exact'"],
    "celu(x[n, d], 0)": ["celu", "above 0", "alpha", "found 0"],
    "celu(x[n, d], -1.5)": ["celu", "above 0", "alpha", "-1.5"],
    "elu(x[n, d], '1')": ["elu", "a number", "alpha", "'1'"],
    "leaky_relu(x[n, d], float('nan'))": ["leaky_relu", "a number", "negative_slope", "nan"],
    "prelu(x[n, d], W)": ["prelu", "a number", "slope", "W"],
    "softplus(x[n, d], beta=0.0)": ["softplus", "above 0", "beta", "0.0"],
    "hard_tanh(x[n, d], 1, 1)": ["hard_tanh", "above 1", "max_value", "found 1"],
    "hard_shrink(x[n, d], 0)": ["hard_shrink", "above 0", "lambd", "found 0"],
    "soft_shrink(x[n, d], lambd='1')": ["soft_shrink", "a number", "lambd", "'1'"],
    "threshold(x[n, d], 0, None)": ["threshold", "a number or an expression", "value", "None"],
    "threshold(x[n, d], W, 0)": ["threshold", "a number or an expression", "threshold", "W"],
    "squareplus(x[n, d], 0)": ["squareplus", "above 0", "b", "found 0"],
    "rrelu(x[n, d], name='p')": ["rrelu", "expected a tensor", "x[n, d]", "let"],
    "rrelu(x, '1', name='p')": ["rrelu", "a number", "lower", "'1'"],
    "sparsemax(k, name='p')": ["sparsemax", "expected a tensor", "Symbol k", "let"],
    "softmin(x, name='p', axis=2)": ["softmin", "-2 .. 1", "found 2"],
    "softmax(x, name='p', axis=None)": ["softmax", "-2 .. 1", "found None"],
    "log_softmax(x, name='p', axis=1.0)": ["log_softmax", "-2 .. 1", "found 1.0"],
    "geglu(x, name='p', axis=0)": ["geglu p", "even", "fixed", "found N", "in x"],
    "swiglu(x, name='p')": ["swiglu p", "even", "found D", "in x"],
    "geglu(model.input('even', N, 4), name='p', approximate='erf')": ["gelu", '"none" or "tanh"', "'erf'"],
    "softmax(x[n, d], name='p')": ["softmax", "expected a tensor", "x[n, d]", "let"],
    "log_softmax(k, name='p')": ["log_softmax", "expected a tensor", "Symbol k", "let"],
    "glu(k, name='p')": ["glu", "expected a tensor", "let"],
    "glu(x, name='p')": ["glu p", "even", "found D", "in x"],
    "glu(r, name='p')": ["glu p", "even", "fixed", "found N", "in r"],
}
SPEC = """\
import sympy as sp
from derivgen import Model
from derivgen.activations import *

model = Model("wrong")
N, D = model.batch("N"), model.sizes(D=3)
n, d = model.indices(n=N, d=D)
x, r = model.input("x", N, D), model.input("r", N)
W, k = model.parameter("W", D), model.parameter("k")
a = {}
model.minimize(k * sp.Sum(x[n, 0], n))
"""


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_option_is_refused_at_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(SPEC.format(text))
    with pytest.raises(SpecError) as refused:
        declared_program(load_target(str(path)).model)
    (problem,) = refused.value.problems
    assert problem.place is not None
    assert problem.place.line == 10
    for word in REFUSED[text]:
        assert word in problem.message, problem.message
