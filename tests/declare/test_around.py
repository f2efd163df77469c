"""Subscripts that go round an axis: `u[(i + 1) % K]`."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import agrees_with_the_oracle

from derivgen import Model
from derivgen.errors import SpecError
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program


def ring(shift: int, extent: int | None, points: int | None = None) -> Model:
    """y[n, i] = x[n, (i + shift) % K]·k[i], for the first `points` i of the K of a fixed, or of a run-time, size."""
    model = Model("ring", dtype="float64")
    N = model.batch("N")
    K = model.batch("K") if extent is None else model.sizes(K=extent)
    n, i = model.indices(n=N, i=K if points is None else points)
    x, a = model.input("x", N, K), model.parameter("a", init="ones")
    k = model.input("k", K) if extent is None else model.parameter("k", K, init="ones")
    y = model.let("y", (n, i), x[n, (i + shift) % K] * k[(i - shift) % K] ** 2 * a)
    model.minimize(sp.Sum(sp.sin(y[n, i]), n, i))
    model.predict(y)
    return model


@pytest.mark.parametrize(
    ("shift", "extent"), [(1, 5), (-1, 5), (7, 5), (-12, 5), (0, 5), (1, 1), (1, None), (-1, None)]
)
def test_it_reads_what_numpy_rolls_there(shift: int, extent: int | None) -> None:
    model, size, rng = ring(shift, extent), extent or 4, np.random.default_rng(0)
    x, k = rng.normal(size=(3, size)), rng.normal(size=size)
    expected = np.roll(x, -shift, axis=1) * np.roll(k, shift) ** 2
    found = run(declared_program(model), {"x": x, "k": k, "a": 1.0}, {"N": 3, "K": size})["y"]
    np.testing.assert_allclose(found.astype(float), expected, rtol=1e-14)
    agrees_with_the_oracle(model, {"N": 3, "K": size})


def test_no_branch_where_the_axis_does_not_end() -> None:
    (statement, *_) = declared_program(ring(2, 9, 5)).statements
    assert [len(choice.args) for choice in statement.expression.atoms(sp.Piecewise)] == [2]  # of k, and none of x


def test_in_two_axes_and_through_a_table() -> None:
    model = Model("torus", dtype="float64")
    i, j, k = model.indices(i=4, j=3, k=6)
    u, w = model.parameter("u", 4, 3, init="normal"), model.input("w", 4)
    next_ = model.constant("after", [3, 1, 5, 0, 2, 4])
    cell = u[(i + 1) % 4, (j - 1) % 3] * u[i, j] * w[(i - 1) % 4]
    model.minimize(sp.Sum(cell, i, j) + sp.Sum(w[(next_[k] + 1) % 4] * u[0, (2 * k) % 3], k))
    agrees_with_the_oracle(model)


@pytest.mark.parametrize("subscript", ["(n * i) % 5", "n % 2", "x[n, 0] % 5"])
def test_what_is_no_subscript_of_a_ring_is_refused(subscript: str) -> None:
    model = Model("refused")
    N = model.batch("N")
    n, i, j = model.indices(n=N, i=5, j=9)
    x = model.input("x", N, 5)
    model.minimize(sp.Sum(x[n, eval(subscript)] ** 2, n, i, j))
    with pytest.raises(SpecError, match=r"has the subscript Mod\(.*\), expected an integer combination of indices, "):
        declared_program(model)
