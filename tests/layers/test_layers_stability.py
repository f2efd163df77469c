"""Layers and losses at extreme values and at their kinks, in both dtypes: finite, equal to the oracle, and to PyTorch
where it defines the same; and guards within sums within nonlinearities.

Functions of one number are in test_activations.py, losses of extreme values in test_losses.py, kinks of SymPy's own
functions in test_conventions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import TOLERANCE, against_torch, scalar
from generated import check_module, execute, module_text

from derivgen import MaxOver, activations, layers, losses
from derivgen.declare.model import Model
from derivgen.form.as_written import as_written
from derivgen.form.program import Role
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import module_gradient, random_values

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
Tensors = dict[str, torch.Tensor]
DIGITS = 200  # of the oracle: 1 + exp(-400) is not 1


def against_oracle(declare: Callable[[Model], Any], values: Mapping[str, Any], dtype: str) -> None:
    """Raise AssertionError where the module's loss or a gradient is not finite, or not the oracle's.

    Relative to a tensor's largest element, or to 1 where that is smaller: a gradient that underflows is 0.
    """
    model = Model("extreme")
    model.minimize(scalar(model, declare(model)))
    program, module = declared_program(model), execute(module_text(model, dtype))
    given = random_values(program, dtype, 3, 0)
    given |= {n: np.asarray(v, given[n].dtype) for n, v in values.items()}
    flat = np.concatenate([np.ravel(given[p.name]) for p in program.vector]).astype(dtype)
    inputs = {t.name: given[t.name] for t in program.of_role(Role.INPUT, Role.LABELS)}
    with np.errstate(all="ignore"):
        loss, gradient = module.loss_and_gradient(flat, **inputs)[0], module_gradient(module, program, given)
    wanted = oracle.gradient(program, given, [p.name for p in program.parameters], digits=DIGITS)
    found = {"objective": loss, **{name: gradient[name] for name in wanted}}
    expected = {"objective": run(program, given, digits=DIGITS)[str(program.objective)][()], **wanted}
    for name, value in found.items():
        assert np.isfinite(value).all(), name
        want = np.asarray(expected[name], float)
        error = np.max(np.abs(np.asarray(value, float) - want))
        assert error <= TOLERANCE[dtype] * max(1, np.max(np.abs(want))), f"{name}: {value}, expected {want}"


# ---- extreme values

LARGE = [[1e4, -1e4, 0], [1e4, 1e4, 9999], [-1e4, -1e4 + 1, -1e4], [-1e4, -1e4, -1e4]]


def parameters(*names: str, shape: tuple[int, ...] = (4, 3)) -> Callable[[Model], list[Any]]:
    return lambda model: [model.parameter(name, *shape) for name in names]


def attention_of(q: Any, k: Any, v: Any, model: Model) -> Any:
    return layers.scaled_dot_product_attention(q, k, v, name="a", lengths=model.labels("size", 2, classes=4))


ONES = np.ones((2, 3, 2))
EXTREME: dict[str, tuple[Callable[[Model], Any], dict[str, Any]]] = {
    # name: (what is declared, values)
    "softmax": (lambda m: activations.softmax(m.parameter("z", 4, 3), name="p"), {"z": LARGE}),
    "log_softmax": (lambda m: activations.log_softmax(m.parameter("z", 4, 3), name="p"), {"z": LARGE}),
    "cross-entropy of logits": (
        lambda m: losses.softmax_cross_entropy(m.parameter("z", 4, 3), m.labels("y", 4, classes=3)),
        {"z": LARGE, "y": [1, 2, 0, 1]},
    ),
    "binary cross-entropy of logits": (
        lambda m: losses.sigmoid_cross_entropy(m.parameter("z", 4, 3), m.input("t", 4, 3)),
        {"z": LARGE, "t": [[0, 1, 0.5]] * 4},
    ),
    "layer_norm of constant rows": (
        lambda m: layers.layer_norm(m.parameter("x", 4, 3), name="y"),
        {"x": [[5, 5, 5], [0, 0, 0], [-1024, -1024, -1024], [1, 2, 4]]},
    ),
    "layer_norm of large rows": (
        lambda m: layers.layer_norm(m.parameter("x", 2, 3), name="y"),
        {"x": [[1e4, -1e4, 0], [1e-4, -1e-4, 0]]},
    ),
    "rms_norm of zeros": (lambda m: layers.rms_norm(m.parameter("x", 2, 3), name="y"), {"x": [[0] * 3, [1, 2, 4]]}),
    "group_norm of constant groups": (
        lambda m: layers.group_norm(m.parameter("x", 1, 4, 2, 2), 2, name="y"),
        {"x": [[[[3, 3], [3, 3]]] * 2 + [[[1, 2], [3, 4]]] * 2]},
    ),
    "batch_norm of a constant channel": (
        lambda m: layers.batch_norm(m.parameter("x", 3, 2), name="y"),
        {"x": [[7, 1], [7, 2], [7, 4]]},
    ),
    "instance_norm of constant channels": (
        lambda m: layers.instance_norm(m.parameter("x", 1, 2, 2, 2), name="y"),
        {"x": [[[[3, 3], [3, 3]], [[1, 2], [3, 4]]]]},
    ),
    "attention that sees nothing": (
        lambda m: attention_of(*parameters("q", "k", "v", shape=(2, 3, 2))(m), m),
        {"size": [0, 2]},
    ),
    "attention with large scores": (
        lambda m: attention_of(*parameters("q", "k", "v", shape=(2, 3, 2))(m), m),
        {"size": [3, 1], "q": 100 * ONES, "k": [[[100, 0], [0, 100], [-100, 0]], [[1, 1], [2, 2], [3, 3]]]},
    ),
    "lstm that is saturated": (
        lambda m: layers.lstm(m.parameter("x", 1, 3, 2), 2, name="r"),
        {"x": [[[1e3, -1e3], [-1e3, 1e3], [1e3, 1e3]]]},
    ),
    "gelu": (
        lambda m: layers.dense(m.parameter("x", 4, 1), 1, activations.gelu, name="d"),
        {"x": [[50], [-50], [8], [-8]], "d_W": [[1]], "d_b": [0]},
    ),
    "log_cosh": (
        lambda m: losses.log_cosh(m.parameter("p", 3), m.input("t", 3)),
        {"p": [1e4, -1e4, 0], "t": [0, 0, 0]},
    ),
}


@pytest.mark.parametrize("case", EXTREME)
@both
def test_extreme_values_are_those_of_the_oracle(case: str, dtype: str) -> None:
    declare, values = EXTREME[case]
    against_oracle(declare, values, dtype)


def test_a_softmax_over_nothing_is_0_in_the_oracle() -> None:
    """In the weights, and in what they sum up."""
    model = Model("nothing")
    y = attention_of(*parameters("q", "k", "v", shape=(2, 3, 2))(model), model)
    model.minimize(y[0, 0, 0])
    program = declared_program(model)
    found = run(program, {**random_values(program, "float64", 3, 0), "size": np.array([0, 1])})
    weights, mixed = found["a_weights"].astype(float), found["a"].astype(float)
    assert (weights[0] == 0).all() and (mixed[0] == 0).all()
    np.testing.assert_array_equal(weights[1], [[1, 0, 0]] * 3)


AS_TORCH: dict[str, tuple[Callable[[Model], Any], Callable[[Tensors], torch.Tensor], dict[str, Any]]] = {
    "softmax": (EXTREME["softmax"][0], lambda t: torch.softmax(t["z"], -1), {"z": LARGE}),
    "log_softmax": (EXTREME["log_softmax"][0], lambda t: torch.log_softmax(t["z"], -1), {"z": LARGE}),
    "cross-entropy of logits": (
        EXTREME["cross-entropy of logits"][0],
        lambda t: F.cross_entropy(t["z"], t["y"]),
        {"z": LARGE, "y": [1, 2, 0, 1]},
    ),
    "binary cross-entropy of logits": (
        EXTREME["binary cross-entropy of logits"][0],
        lambda t: F.binary_cross_entropy_with_logits(t["z"], t["t"]),
        {"z": LARGE, "t": [[0, 1, 0.5]] * 4},
    ),
    "rms_norm of zeros": (
        EXTREME["rms_norm of zeros"][0],
        lambda t: F.rms_norm(t["x"], (3,), t["y_gain"], 1e-6),
        {"x": [[0] * 3, [1, 2, 4]]},
    ),
    "batch_norm of a constant channel": (
        EXTREME["batch_norm of a constant channel"][0],
        lambda t: F.batch_norm(t["x"], None, None, t["y_gain"], t["y_shift"], training=True),
        {"x": [[7, 1], [7, 2], [7, 4]]},
    ),
    "gelu": (
        EXTREME["gelu"][0],
        lambda t: F.gelu(t["x"] @ t["d_W"] + t["d_b"]),
        {"x": [[50], [-50], [4], [-4]], "d_W": [[1]], "d_b": [0]},
    ),
    "large scores": (
        lambda m: layers.scaled_dot_product_attention(*parameters("q", "k", "v", shape=(2, 3, 2))(m), name="a"),
        lambda t: F.scaled_dot_product_attention(t["q"], t["k"], t["v"]),
        {"q": 100 * ONES, "k": [[[100, 0], [0, 100], [-100, 0]], [[1, 1], [2, 2], [3, 3]]]},
    ),
}


@pytest.mark.parametrize("case", AS_TORCH)
@both
def test_extreme_values_are_those_of_torch(case: str, dtype: str) -> None:
    declare, reference, values = AS_TORCH[case]
    arrays = {n: np.array(v) if n == "y" else np.array(v, dtype) for n, v in values.items()}
    against_torch(declare, reference, arrays, dtype)


# ---- kinks, where the frameworks agree: docs/spec.md has the table


def pointwise(formula: Callable[..., sp.Expr]) -> Callable[[Model], Any]:
    """Of parameters u and v of three elements."""

    def declare(model: Model) -> Any:
        u, v, i = model.parameter("u", 3), model.parameter("v", 3), model.indices(i=3)
        return model.let("f", i, formula(u[i], v[i]))

    return declare


def norm_of_rows(model: Model) -> Any:
    x, (i, j) = model.parameter("x", 2, 3), model.indices(i=2, j=3)
    return model.let("f", i, sp.sqrt(sp.Sum(x[i, j] ** 2, j)))


def maxima_of_rows(model: Model) -> Any:
    x, (i, j) = model.parameter("x", 2, 3), model.indices(i=2, j=3)
    return model.let("f", i, MaxOver(x[i, j], j))


TIED = {"u": [1.0, 2.0, -1.0], "v": [1.0, 0.0, -1.0]}
PLANE = [[[[1.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 2.0, 2.0]]] * 2]
KINKS: dict[str, tuple[Callable[[Model], Any], Callable[[Tensors], torch.Tensor], dict[str, Any]]] = {
    "maximum": (pointwise(sp.Max), lambda t: torch.maximum(t["u"], t["v"]), TIED),
    "minimum": (pointwise(sp.Min), lambda t: torch.minimum(t["u"], t["v"]), TIED),
    "absolute value": (pointwise(lambda u, v: sp.Abs(u - v)), lambda t: (t["u"] - t["v"]).abs(), TIED),
    "rounding": (
        pointwise(lambda u, v: u * (sp.floor(v) + sp.ceiling(u) + sp.sign(v))),
        lambda t: t["u"] * (t["v"].floor() + t["u"].ceil() + t["v"].sign()),
        TIED,
    ),
    "power": (pointwise(lambda u, v: u**v), lambda t: t["u"] ** t["v"], {"u": [2.0, 0.0, 3.0], "v": [0.0, 2.0, 1.0]}),
    "prelu": (
        pointwise(activations.prelu),
        lambda t: F.prelu(t["u"][None], t["v"])[0],
        {"u": [0.0, 1.0, -1.0], "v": [0.25, 0.5, 0.75]},
    ),
    "norm": (norm_of_rows, lambda t: torch.linalg.vector_norm(t["x"], dim=1), {"x": [[0, 0, 0], [3, 0, 4]]}),
    "MaxOver": (maxima_of_rows, lambda t: t["x"].max(1).values, {"x": [[1, 5, 5], [2, 2, 2]]}),
    "max_pool1d": (
        lambda m: layers.max_pool1d(m.parameter("x", 1, 5, 2), 3, name="p", stride=1, padding=1),
        lambda t: F.max_pool1d(t["x"].mT, 3, 1, 1).mT,
        {"x": [[[1, 2], [1, 2], [0, 2], [1, -2], [1, -2]]]},
    ),
    "max_pool2d": (
        lambda m: layers.max_pool2d(m.parameter("x", 1, 2, 3, 3), 2, name="p", stride=1),
        lambda t: F.max_pool2d(t["x"], 2, 1),
        {"x": PLANE},
    ),
    "global_max_pool": (
        lambda m: layers.global_max_pool(m.parameter("x", 1, 2, 3, 3), name="p"),
        lambda t: F.adaptive_max_pool2d(t["x"], 1)[:, :, 0, 0],
        {"x": PLANE},
    ),
    "mean_absolute_error": (
        lambda m: losses.mean_absolute_error(m.parameter("u", 3), m.parameter("v", 3)),
        lambda t: F.l1_loss(t["u"], t["v"]),
        TIED,
    ),
    "huber": (
        lambda m: losses.huber(m.parameter("u", 3), m.parameter("v", 3), delta=2.0),
        lambda t: F.huber_loss(t["u"], t["v"], delta=2.0),
        {"u": [2.0, -2.0, 0.0], "v": [0.0, 0.0, 0.0]},
    ),
    "cosine of a zero": (
        lambda m: losses.cosine(m.parameter("x", 1, 2), m.input("y", 1, 2), epsilon=0.5),
        lambda t: (1 - F.cosine_similarity(t["x"], t["y"], -1, 0.5)).mean(),
        {"x": [[0.0, 0.0]], "y": [[3.0, 4.0]]},
    ),
}


@pytest.mark.parametrize("case", KINKS)
@both
def test_a_kink_has_the_derivative_of_torch(case: str, dtype: str) -> None:
    declare, reference, values = KINKS[case]
    against_torch(declare, reference, {n: np.array(v, dtype) for n, v in values.items()}, dtype)


def test_the_remainder_has_derivative_0_where_it_is_0() -> None:
    """By both arguments; elsewhere PyTorch's."""
    u, v = np.array([6.0, 7.5, -1.0]), np.array([3.0, 2.0, 3.0])
    weights = np.random.default_rng(1).standard_normal(3)
    model = Model("remainder")
    model.minimize(scalar(model, pointwise(sp.Mod)(model)))
    program = declared_program(model)
    found = module_gradient(execute(module_text(model)), program, {"u": u, "v": v})
    t = [torch.tensor(x, requires_grad=True) for x in (u, v)]
    (torch.remainder(*t) * torch.as_tensor(weights)).sum().backward()
    for name, tensor in zip("uv", t, strict=True):
        assert tensor.grad is not None
        assert found[name][0] == 0
        np.testing.assert_allclose(found[name][1:], tensor.grad.numpy()[1:], rtol=1e-14)


def test_clipping_has_derivative_0_at_its_bounds() -> None:
    """As PyTorch's hardtanh; its clamp has 1 there, so that the frameworks differ."""
    u = [-1.0, 0.5, 2.0]
    clipped = pointwise(lambda u, v: sp.Min(sp.Max(u, -1), 2) + 0 * v)
    against_torch(clipped, lambda t: F.hardtanh(t["u"], -1, 2) + 0 * t["v"], {"u": np.array(u)})
    other = torch.tensor(u, requires_grad=True)
    other.clamp(-1, 2).sum().backward()
    assert other.grad is not None and other.grad.tolist() == [1, 1, 1]


# ---- guards


@as_written()
def guarded_convolution(model: Model) -> None:
    """A guard inside a convolution inside a nonlinearity inside a sum, in one expression."""
    N, L, K = model.batch("N"), *model.sizes(L=5, K=3)
    n, i, r = model.indices(n=N, i=L, r=K)
    x, W, b = model.input("x", N, L), model.parameter("W", K, init="normal"), model.parameter("b", L)
    at = 2 * i + r - 3
    inner = sp.Sum(sp.Piecewise((x[n, at] * W[r] + b[at], sp.And(at >= 0, at < L)), (0, True)), r)
    model.minimize(sp.Sum(sp.tanh(inner) * (i + 1), n, i) / N)


def concatenated(model: Model) -> None:
    """Three tensors along an axis in the middle, read where they meet."""
    N = model.batch("N")
    x = model.input("x", N, 2, 3)
    dense = [layers.dense(x, 3, activations.tanh, name="d"), x, layers.dense(x, 3, name="e")]
    y = layers.concatenate([dense[0], dense[1], dense[2]], 1, name="y")
    n, i, j = model.indices(n=N, i=5, j=3)
    model.minimize(sp.Sum(y[n, i, j] * y[n, i + 1, j] * (i + 1), n, i, j) / N)


def guarded_recurrence(model: Model) -> None:
    """Its first step has a value of its own, and its third reads the input before the first."""
    N, T = model.batch("N"), model.batch("T")
    n, t, j, k = model.indices(n=N, t=T, j=3, k=3)
    x, U, s = model.input("x", N, T, 3), model.parameter("U", 3, 3, init="orthogonal"), model.parameter("s", 3)

    def step(h: Any) -> sp.Expr:
        earlier = sp.Piecewise((x[n, t - 2, j], t >= 2), (s[j], True))
        return sp.Piecewise((sp.tanh(sp.Sum(h[n, t - 1, k] * U[k, j], k) + earlier), t > 0), (x[n, t, j] ** 2, True))

    h = model.recur("h", (n, t, j), step)
    model.minimize(sp.Sum(h[n, t, j] ** 2 * (t + 1), n, t, j) / N)


GUARDED = [guarded_convolution, concatenated, guarded_recurrence]


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("declare", GUARDED)
def test_guards_have_the_values_and_gradients_of_the_oracle(declare: Callable[[Model], None], rows: int) -> None:
    """Run-time sizes are `rows`. Uncompiled, where a subscript below 0 would read poison or from the end."""
    model = Model(declare.__name__)
    declare(model)
    program = declared_program(model)
    values = random_values(program, "float64", rows, seed=5)
    assert check_module(execute(module_text(model)), program, values) == []
