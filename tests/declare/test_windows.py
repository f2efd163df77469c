"""Sums over a window of an axis: `Sum(Piecewise((…, Abs(i - j) <= 3), (0, True)), j)`."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import agrees_with_the_oracle, execute, module_text
from sampled import some

from derivgen import Model
from derivgen.pipeline import declared_program, module_codes, plan_module
from derivgen.plan.cost_report import cost_report

WINDOWS = {
    "a distance": (lambda i, j: sp.Abs(i - j) <= 3, lambda i, j: abs(i - j) <= 3),
    "a distance on the right": (lambda i, j: sp.Gt(3, sp.Abs(j - i)), lambda i, j: abs(i - j) < 3),
    "both sides": (lambda i, j: sp.And(j - i <= 2, i - j < 4), lambda i, j: (j - i <= 2) & (i - j < 4)),
    "the past": (lambda i, j: sp.And(j <= i, i - j < 4), lambda i, j: (j <= i) & (i - j < 4)),
    "no iteration for some": (lambda i, j: sp.And(j >= i + 12, j < i + 14), lambda i, j: (j >= i + 12) & (j < i + 14)),
    "what is far": (lambda i, j: sp.Abs(i - j) > 3, lambda i, j: abs(i - j) > 3),
    "twice the distance": (lambda i, j: sp.Abs(2 * i - 2 * j) <= 5, lambda i, j: abs(i - j) <= 2),
}


def smoother(window, extent: int | None) -> Model:
    """m[n, i] = Σ_j exp(-h·(i - j)²)·x[n, j] over a window of a fixed, or of a run-time, size."""
    model = Model("smoother", dtype="float64")
    K = model.batch("K") if extent is None else model.sizes(K=extent)
    N = model.batch("N") if extent is not None else model.sizes(N=2)
    n, i, j = model.indices(n=N, i=K, j=K)
    x, h = model.input("x", N, K), model.parameter("h", init="ones")
    term = sp.exp(-h * (i - j) ** 2 / 9) * x[n, j]
    m = model.let("m", (n, i), sp.Sum(sp.Piecewise((term, window(i, j)), (0, True)), j))
    model.minimize(sp.Sum(m[n, i] ** 2 + sp.sin(m[n, i]), n, i))
    model.predict(m)
    return model


@pytest.mark.parametrize("extent", [15, None])
@pytest.mark.parametrize("name", some(WINDOWS))
def test_it_is_a_matrix_with_a_band(name: str, extent: int | None) -> None:
    symbolic, numeric = WINDOWS[name]
    model = smoother(symbolic, extent)
    module = execute(module_text(model))
    at = np.arange(extent or 11)
    distance = at[:, None] - at
    band = np.where(numeric(at[:, None], at), np.exp(-0.7 * distance**2 / 9), 0)
    x = np.random.default_rng(1).normal(size=(2, len(at)))
    np.testing.assert_allclose(module.predict(np.array([0.7]), x), x @ band.T, rtol=1e-13, atol=1e-15)
    agrees_with_the_oracle(model, {"N": 2, "K": len(at)})


@pytest.mark.parametrize("name", ["a distance", "a distance on the right", "both sides", "the past"])
def test_work_grows_as_the_axis_does(name: str) -> None:
    """A loop over the whole axis would take N² of everything."""
    counts = []
    for extent in (100, 200):
        plan = plan_module(model := smoother(WINDOWS[name][0], extent), declared_program(model), "float64")
        totals = cost_report(plan, module_codes(plan)).totals
        counts.append([sum(int(n) for n in row.cost.flops.as_coefficients_dict().values()) for row in totals])
    assert all(many < 2.1 * few for few, many in zip(*counts, strict=True))
