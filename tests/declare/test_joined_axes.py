"""Lets whose axes are made of several indices: `model.let("y", (n, i * W + j), x[n, i, j])`."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import check_module, execute, module_text

from derivgen.declare.model import Model
from derivgen.errors import SpecError
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values


def joined(run_time: bool, middle: int) -> Model:
    """(N, 2, middle, 3) with the last three axes as one, or with the run-time axis and the next as one."""
    model = Model("joined")
    N = model.batch("N")
    H, W, C = model.sizes(H=2, W=middle, C=3)
    n, h, w, c = model.indices(n=N, h=H, w=W, c=C)
    x = model.input("x", N, H, W, C)
    k = model.parameter("k", H, W, C, init="ones")
    if run_time:
        y = model.let("y", (n * H + h, w * C + c), sp.sin(x[n, h, w, c] * k[h, w, c]))
        out = sp.Sum(y[n * H + h, w * C + c] ** 3 * (w + 1), n, h, w, c)
    else:
        y = model.let("y", (n, C * w + c + W * C * h), sp.sin(x[n, h, w, c] * k[h, w, c]))
        flat = model.indices(flat=H * W * C)
        out = sp.Sum(y[n, flat] ** 3 * (flat + 1), n, flat)
    model.minimize(out)
    model.predict(y)
    return model


@pytest.mark.parametrize("middle", [1, 4])
@pytest.mark.parametrize("run_time", [False, True])
def test_values_and_gradients(run_time: bool, middle: int) -> None:
    model = joined(run_time, middle)
    declared = declared_program(model)
    values = random_values(declared, "float64", 3, 0)
    shape = (6, middle * 3) if run_time else (3, 6 * middle)
    expected = np.sin(values["x"] * values["k"]).reshape(shape)
    np.testing.assert_allclose(run(declared, values)["y"].astype(float), expected, rtol=1e-14)
    check_module(execute(module_text(model)), declared, values)


def test_a_sum_at_joined_indices() -> None:
    """A lone sum keeps its accumulator; the second write of an element would otherwise add to the first."""
    model = Model("grouped")
    N = model.batch("N")
    n, g, o, i = model.indices(n=N, g=2, o=3, i=4)
    x, W = model.input("x", N, 8), model.parameter("W", 6, 4, init="normal")
    y = model.let("y", (n, 3 * g + o), sp.Sum(x[n, 4 * g + i] * W[3 * g + o, i], i))
    k = model.indices(k=6)
    model.minimize(sp.Sum(sp.tanh(y[n, k]), n, k))
    model.predict(y)
    declared = declared_program(model)
    values = random_values(declared, "float64", 3, 0)
    check_module(execute(module_text(model)), declared, values)
    x_, W_ = values["x"].reshape(3, 2, 4), values["W"].reshape(2, 3, 4)
    expected = np.einsum("ngi,goi->ngo", x_, W_).reshape(3, 6)
    np.testing.assert_allclose(run(declared, values)["y"].astype(float), expected, rtol=1e-13)


LEFT = {
    "a gap": lambda i, j: 2 * i + 2 * j,
    "an overlap": lambda i, j: 3 * i + j,
    "a jump": lambda i, j: 5 * i + j,
    "both of one stride": lambda i, j: i + j,
    "not from 0": lambda i, j: 4 * i + j + 1,
    "downwards": lambda i, j: 4 * i - j,
    "a product": lambda i, j: i * j,
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_what_is_no_numeral_is_refused(left: object) -> None:
    model = Model("refused")
    i, j = model.indices(i=3, j=4)
    x = model.parameter("x", 3, 4)
    y = model.let("y", (left(i, j),), x[i, j])  # type: ignore[operator]
    model.minimize(y[0])
    with pytest.raises(
        SpecError, match=r"test_joined_axes.py:\d+: let y: .* does not give each value from 0 on exactly once"
    ):
        declared_program(model)


def test_an_index_in_two_axes_is_refused() -> None:
    model = Model("refused")
    i, j = model.indices(i=3, j=4)
    y = model.let("y", (i, 4 * i + j), i + j)
    model.minimize(y[0, 0])
    with pytest.raises(SpecError, match="let y: an index stands twice on the left"):
        declared_program(model)


def test_a_run_time_stride_is_refused() -> None:
    model = Model("refused")
    N = model.batch("N")
    n, i = model.indices(n=N, i=3)
    x = model.input("x", 3, N)
    y = model.let("y", (i * N + n,), x[i, n])
    model.minimize(y[0])
    with pytest.raises(SpecError, match=r"does not give each value from 0 on exactly once"):
        declared_program(model)


def test_letters_of_library_indices() -> None:
    """Those that a layer wants are taken, unless the spec has them; the others are the usual ones."""
    model = Model("letters")
    N = model.batch("N")
    x, r = model.input("x", N, 4, 3), model.parameter("r", 3)
    n, c, i, j = model.local_indices(N, 2, 2, 3, letters="nctr")
    y = model.let("y", (n, c, i, j), x[n, 2 * c + i, j] * r[j])
    k = model.local_indices(*y.shape)
    model.minimize(sp.Sum(y[k], *k))
    statements = {s.target: s for s in declared_program(model).statements}
    assert [str(r.index) for r in statements["y"].domain] == ["n", "c", "t", "i"]
