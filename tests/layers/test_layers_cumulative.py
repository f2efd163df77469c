"""cumsum, cumprod, cummax, logcumsumexp, argmax, argmin and one_hot: values, derivatives, the loops they become."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch
from generated import execute, module_text
from refused import MARK, refuse, run

from derivgen import layers
from derivgen.declare.model import Model, TensorSymbol
from derivgen.form.as_written import as_written
from derivgen.oracle.interpreter import run as interpreted
from derivgen.pipeline import declared_program

Reference = Callable[[torch.Tensor, int], torch.Tensor]

RUNNING: dict[str, tuple[Reference, float]] = {  # by PyTorch, and what stands before the first element
    "cumsum": (torch.cumsum, 0),
    "cumprod": (torch.cumprod, 1),
    "cummax": (lambda x, axis: torch.cummax(x, axis).values, -np.inf),
    "logcumsumexp": (torch.logcumsumexp, -np.inf),
}
SHAPE = (3, 4, 5)
OPTIONS = [
    (name, {"reverse": reverse} | ({"exclusive": exclusive} if exclusive else {}))
    for name in RUNNING
    for reverse in (False, True)
    for exclusive in ((False, True) if name in ("cumsum", "cumprod") else (False,))
]


def reference(name: str, x: torch.Tensor, axis: int, reverse: bool = False, exclusive: bool = False) -> torch.Tensor:
    """PyTorch's, from the end or without each element itself where that is asked for."""
    function, first = RUNNING[name]
    x = x.flip(axis) if reverse else x
    y = function(x, axis)
    if exclusive:
        before = torch.full_like(y.narrow(axis, 0, 1), first)
        y = torch.cat([before, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
    return y.flip(axis) if reverse else y


def compare(
    name: str, options: dict[str, bool], shape: tuple[int, ...], axis: int, dtype: str, x: np.ndarray | None = None
) -> None:
    against_torch(
        lambda model: getattr(layers, name)(model.parameter("x", *shape), axis, name="y", **options),
        lambda t: reference(name, t["x"], axis, **options),
        None if x is None else {"x": x},
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_as_pytorch(name: str, options: dict[str, bool], dtype: str) -> None:
    compare(name, options, SHAPE, 1, dtype)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", RUNNING)
def test_along_other_axes(name: str, axis: int) -> None:
    compare(name, {}, SHAPE, axis, "float64")


@pytest.mark.parametrize("shape", [(6,), (2, 1)])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_of_one_axis_and_of_one_element(name: str, options: dict[str, bool], shape: tuple[int, ...]) -> None:
    compare(name, options, shape, -1, "float64")


@pytest.mark.parametrize(("name", "options"), [o for o in OPTIONS if o[0] == "cumprod"])
def test_products_with_zeros(name: str, options: dict[str, bool]) -> None:
    """Rows with none, one, two and only zeros; one at the beginning, and one at the end."""
    x = np.random.default_rng(0).standard_normal((6, 4))
    x[1, 2] = x[2, 1] = x[2, 3] = x[4, 0] = x[5, 3] = 0
    x[3] = 0
    compare(name, options, x.shape, -1, "float64", x)


def test_large_and_infinite_logarithms() -> None:
    """Exponentials that overflow or vanish; the first elements are log 0."""
    x = np.array([[1000.0, 1001, -1000, 999], [-2000, -2001, -1000, 0], [0, 1e-9, -800, 800]])
    compare("logcumsumexp", {}, x.shape, -1, "float64", x)
    model = Model("infinite", dtype="float64")
    y = layers.logcumsumexp(model.input("x", 2, 3), name="y")
    values = {"x": np.array([[-np.inf, -np.inf, 1], [1, -np.inf, -np.inf]])}
    found = predicted(model, y, values)
    np.testing.assert_array_equal(found, [[-np.inf, -np.inf, 1], [1, 1, 1]])


def test_a_tie_of_maxima_shares_the_derivative() -> None:
    model = Model("tie", dtype="float64")
    x = model.parameter("x", 3, init=np.array([2.0, 1.0, 2.0]))
    y = layers.cummax(x, name="y")
    model.minimize(y[0] + 10 * y[1] + 100 * y[2])
    module = execute(module_text(model, model.dtype or "float64"))
    _, gradient = module.loss_and_gradient(module.initial_parameters())
    np.testing.assert_array_equal(gradient, [61, 0, 50])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_run_time_axes(name: str, options: dict[str, bool], dtype: str) -> None:
    """Along time and along the rows, one after the other, of a computed tensor."""

    def declare(model: Model) -> sp.Expr:
        N, T = model.batch("N"), model.batch("T")
        n, t = model.indices(n=N, t=T)
        x, w = model.input("x", N, T), model.parameter("w", init=0.7)
        y = layers.__dict__[name](model.let("scaled", (n, t), sp.tanh(w * x[n, t])), 1, name="y", **options)
        z = layers.__dict__[name](y, 0, name="z", **options)
        return sp.Sum(sp.exp(-z[n, t]) * x[n, t], n, t)

    def wanted(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = reference(name, torch.tanh(t["w"] * t["x"]), 1, **options)
        return (torch.exp(-reference(name, y, 0, **options)) * t["x"]).sum()

    against_torch(declare, wanted, dtype=dtype, rows=4)


# ---- the loops


def module_of(declare: Callable[[TensorSymbol], Any]) -> str:
    """The text of a module whose objective is a sum of squares of what is declared of w·x, x of shape (N, T)."""
    model = Model("loops")
    N, T = model.batch("N"), model.batch("T")
    n, t = model.indices(n=N, t=T)
    x, w = model.input("x", N, T), model.parameter("w", init=1.0)
    y = declare(model.let("scaled", (n, t), w * x[n, t]))
    at = model.local_indices(*y.shape)
    model.minimize(sp.Sum(y[at] ** 2, *at) * w)
    return module_text(model)


def flops_of(text: str) -> str:
    found = re.search(r"^cost +a step: at most (.*?) flops", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_work_is_linear_in_the_elements(name: str, options: dict[str, bool], axis: int) -> None:
    flops = flops_of(module_of(lambda x: layers.__dict__[name](x, axis, name="y", **options)))
    assert re.fullmatch(r"(\d+\*)?N\*T( \+ \d+\*[NT])*( \+ \d+)?", flops), flops


def test_work_that_is_not_linear() -> None:
    """A weighted sum is no running one: the test above would see it."""

    def declare(x: TensorSymbol) -> TensorSymbol:
        n, t, u = x.model.local_indices(*x.shape, x.shape[1])
        return x.model.let("y", (n, t), sp.Sum(x[n, u] * sp.cos(t - u), (u, 0, t)))

    assert "T**2" in flops_of(module_of(declare))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_take_two_passes(name: str) -> None:
    text = module_of(lambda x: layers.__dict__[name](x, name="y"))
    assert "T**2" not in flops_of(text)
    assert "y_backward" not in text  # nothing of it has a derivative


def test_the_text_of_a_running_sum() -> None:
    text = module_of(lambda x: layers.cumsum(x, name="y"))
    assert "y[i,j] = Σ_k scaled[i,k] if k ≤ j" in text
    assert "y[j, i] = scaled[j, i] + (y[j - 1, i] if j >= 1 else real(0))" in text


# ---- places


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places(name: str, axis: int, dtype: str) -> None:
    """Few values, so that most rows have ties, of which the first one counts."""
    x = np.random.default_rng(axis + 1).integers(-2, 3, (4, 6, 7)).astype(dtype)
    model = Model("places", dtype=dtype)
    y = layers.__dict__[name](model.input("x", model.batch("N"), model.batch("T"), 7), axis, name="y")
    expected = getattr(np, name)(x, axis)
    assert (x == getattr(np, {"argmax": "max", "argmin": "min"}[name])(x, axis, keepdims=True)).sum() > expected.size
    found = predicted(model, y, {"x": x})
    np.testing.assert_array_equal(found, expected)
    assert not np.signbit(found).any()


@pytest.mark.parametrize("values", [[3, 5, 5, 1], [-np.inf, -np.inf], [np.inf, 1, np.inf], [2]])
def test_places_in_a_vector(values: list[float]) -> None:
    for name in ("argmax", "argmin"):
        model, x = Model("vector", dtype="float64"), np.array(values, np.float64)
        place = layers.__dict__[name](model.input("x", len(values)), name="place")
        one = model.let("y", model.local_indices(1), place)
        np.testing.assert_array_equal(predicted(model, one, {"x": x}), [getattr(np, name)(x)])


def test_a_row_with_nan_has_no_place() -> None:
    model, x = Model("nan", dtype="float64"), np.array([[1, np.nan, 3], [1, 2, 3]])
    place = layers.argmax(model.input("x", model.batch("N"), 3), name="place")
    np.testing.assert_array_equal(predicted(model, place, {"x": x}), [np.inf, 2])


def test_running_sums_of_labels() -> None:
    model, ids = Model("counts", dtype="float64"), np.array([[3, 0, 2], [1, 1, 1]])
    y = layers.cumsum(model.labels("ids", model.batch("N"), 3, classes=4), name="y")
    np.testing.assert_array_equal(predicted(model, y, {"ids": ids}), ids.cumsum(1))


def test_a_place_is_a_constant_to_derivatives() -> None:
    """A product with it, and what stands there, read by a sum over the axis: the value's derivative is that of one."""

    @as_written()
    def declare(model: Model) -> sp.Expr:
        n, k = model.indices(n=5, k=4)
        x, v = model.parameter("x", 5, 4), model.parameter("v", 5, 4)
        place = layers.argmax(x, name="place")
        there = sp.Sum(sp.Piecewise((v[n, k], sp.Eq(place[n], k)), (0, True)), k)
        return sp.Sum((1 + place[n]) * x[n, 0] ** 2 + there**2, n)

    def wanted(t: dict[str, torch.Tensor]) -> torch.Tensor:
        place = t["x"].argmax(1)
        there = t["v"].gather(1, place[:, None])[:, 0]
        return ((1 + place) * t["x"][:, 0] ** 2 + there**2).sum()

    for dtype in ("float64", "float32"):
        against_torch(declare, wanted, dtype=dtype)


@pytest.mark.parametrize("classes", [None, 4, 6])
def test_one_hot(classes: int | None) -> None:
    model = Model("classes", dtype="float64")
    ids = model.labels("ids", model.batch("N"), 3, classes=4, ignore=-1)
    y = layers.one_hot(ids, classes, name="y")
    given = np.array([[0, 3, 1], [2, -1, 3]])
    expected = (given[..., None] == np.arange(classes or 4)).astype(float)
    np.testing.assert_array_equal(predicted(model, y, {"ids": given}), expected)


def test_one_hot_of_a_constant_selects() -> None:
    def declare(model: Model) -> sp.Expr:
        n, k = model.indices(n=4, k=3)
        table = layers.one_hot(model.constant("order", np.array([2, 0, 1, 2])), name="y")
        return sp.Sum(sp.Sum(table[n, k] * model.parameter("W", 3)[k], k) ** 3, n)

    against_torch(declare, lambda t: (t["W"][[2, 0, 1, 2]] ** 3).sum())


def predicted(model: Model, y: TensorSymbol, values: dict[str, np.ndarray]) -> np.ndarray:
    """What the module predicts, which the interpreter confirms."""
    at = model.local_indices(*y.shape)
    model.minimize(sp.Sum(y[at], *at) * model.parameter("unused"))
    model.predict(y)
    declared = declared_program(model)
    module = execute(module_text(model, model.dtype or "float64"))
    with np.errstate(all="ignore"):
        found = np.asarray(module.predict(module.initial_parameters(), *values.values()))
        by_formula = interpreted(declared, {**values, "unused": np.zeros(())})[y.name].astype(float)
    np.testing.assert_array_equal(found, by_formula)
    return found


# ---- mistakes

PREAMBLE = """\
from sympy import Sum
from derivgen import Model, layers

model = Model("bad")
N, T = model.batch("N"), model.batch("T")
n, t = model.indices(n=N, t=T)
x, w, ids = model.input("x", N, T), model.parameter("w"), model.labels("ids", N, classes=4)
"""
ENDING = "at = model.local_indices(*z.shape)\nmodel.minimize(Sum(z[at] ** 2, *at) * w + Sum(x[n, t], n, t))\n"
MISTAKES = {
    "no such axis": ("cumsum(x, 2, name='z')", ["cumsum: axis must be one of -2 .. 1", "found 2"]),
    "an axis in words": ("cumprod(x, 'T', name='z')", ["cumprod: axis", "'T'"]),
    "a negative axis": ("cummax(x, -3, name='z')", ["cummax: axis", "-3"]),
    "an index for an axis": ("logcumsumexp(x, t, name='z')", ["logcumsumexp: axis", "found t"]),
    "a size for an axis": ("argmax(x, T, name='z')", ["argmax: axis", "found T"]),
    "no axis": ("argmin(x, None, name='z')", ["argmin: axis", "None"]),
    "an element": ("cumsum(x[n, t], name='z')", ["cumsum expects a tensor", "x[n, t]", "let"]),
    "a scalar": ("argmax(w, name='z')", ["argmax expects a tensor", "found w"]),
    "ids that are data": ("one_hot(x, name='z')", ["one_hot", "model.labels", "x"]),
    "too few classes": ("one_hot(ids, 3, name='z')", ["num_classes", "at least 4", "found 3"]),
    "run-time classes": ("one_hot(ids, T, name='z')", ["num_classes", "found T"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, tmp_path: Path) -> None:
    call, words = MISTAKES[mistake]
    (error,) = refuse(tmp_path, PREAMBLE + f"z = layers.{call}  {MARK}\n" + ("" if "expects" in words[0] else ENDING))
    for word in words:
        assert word in error, error


def test_a_place_is_no_subscript(tmp_path: Path) -> None:
    """A let holds real numbers: the message says what a subscript may be."""
    line = f"model.minimize(Sum(x[n, z[n]] ** 2, n) * w)  {MARK}\n"
    (error,) = refuse(tmp_path, PREAMBLE + "z = layers.argmax(x, name='z')\n" + line)
    assert "has the subscript z[n], expected an integer combination" in error, error


def test_gradcheck_of_a_spec(tmp_path: Path) -> None:
    spec = tmp_path / "running.py"
    spec.write_text(
        PREAMBLE
        + "scaled = model.let('scaled', (n, t), w * x[n, t] + 1)\n"
        + "a, b = layers.cumsum(scaled, name='a', exclusive=True), layers.cumprod(scaled, 0, name='b', reverse=True)\n"
        + "c, d = layers.logcumsumexp(b, name='c'), layers.cummax(a, name='d')\n"
        + "best, marks = layers.argmax(x, name='best'), layers.one_hot(ids, name='marks')\n"
        + "model.minimize(Sum(c[n, t] * d[n, t] * (1 + best[n]) * marks[n, 0], n, t))\n",
        encoding="utf-8",
    )
    result = run("gradcheck", spec)
    assert result.exit_code == 0, result.output
