"""How an objective follows from those of blocks of rows: which do, and with a step on each the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
from generated import execute, module_text, predict
from random_specs import IMPORTS, Spec

from derivgen.declare.model import Model
from derivgen.derive.over_rows import over_rows
from derivgen.form.expressions import size_symbol
from derivgen.pipeline import declared_program, stable_program
from derivgen.prepare.modes import in_training

ROWS = 13
HEAD = """
model = Model("rows")
N = model.batch("N")
T = model.batch("T")
K, S = model.sizes(K=3, S=4)
n, k, s, m, t = model.indices(n=N, k=K, s=S, m=N, t=T)
x, y, g = model.input("x", N, K), model.input("y", N), model.labels("g", N, classes=K)
extra = model.input("extra", T)
w, u, v = model.parameter("w", K), model.parameter("u", K), model.parameter("v")
z = model.let("z", (n,), Sum(x[n, k]*w[k], k) + u[g[n]])
"""
CASES = {
    "squares": ("model.minimize(Sum((z[n] - y[n])**2, n))", "sum"),
    "their mean": ("model.minimize(Sum((z[n] - y[n])**2, n)/N)", "mean"),
    "a mean of parts": ("model.minimize(Sum(z[n]/N - y[n]*z[n]/N, n) + exp(v))", "mean"),
    "a mean with a penalty": ("model.minimize(Sum(sin(z[n]), n)/N + Sum(w[k]**2, k)/2)", "mean"),
    "a sum with a penalty": ("model.minimize(Sum(sin(z[n]), n) + exp(v)*Sum(w[k]**2, k)/2 + v**2)", "share"),
    "a term for each row": ("model.minimize(N*log(1 + Sum(w[k]**2, k)) - Sum(sin(z[n]), n))", "sum"),
    "totals by label": (
        'total = model.let("total", (k,), Sum(Piecewise((z[n], Eq(g[n], k)), (0, True)), n))\n'
        "model.minimize(Sum(total[k]*u[k], k))",
        "sum",
    ),
    "totals by label and a prior": (
        'total = model.let("total", (k,), Sum(Piecewise((z[n], Eq(g[n], k)), (0, True)), n) + w[k])\n'
        "model.minimize(v*Sum(total[k]*u[k], k))",
        "share",
    ),
    "a recurrence within each row": (
        'h = model.recur("h", (n, s), lambda h: tanh(h[n, s - 1]*v + z[n]))\n'
        "model.minimize(Sum(h[n, S - 1]*y[n], n)/N)",
        "mean",
    ),
    "the largest of each row": ("model.minimize(Sum(MaxOver(x[n, k]*w[k], k)*y[n], n)/N)", "mean"),
    "a square of a sum": ("model.minimize(Sum(z[n], n)**2)", None),
    "a product of sums": ("model.minimize(Sum(z[n], n)*Sum(y[n]*w[0], n))", None),
    "a sum and a mean": ("model.minimize(Sum(z[n], n)/N + Sum(y[n]*w[0], n))", None),
    "a penalty by the number of rows": ("model.minimize(Sum(z[n], n)/N + v**2/N)", None),
    "rows less their mean": (
        'c = model.let("c", (n,), z[n] - Sum(z[m], m)/N)\nmodel.minimize(Sum(c[n]**2, n)/N)',
        None,
    ),
    "pairs of rows": ("model.minimize(Sum((z[n] - z[m])**2, n, m))", None),
    "the row before": ("model.minimize(Sum(Piecewise(((z[n] - z[n - 1])**2, n > 0), (z[n]**2, True)), n))", None),
    "the number of a row": ("model.minimize(Sum(n*z[n], n)/N)", None),
    "one row alone": ("model.minimize(Sum(z[n], n) + z[0])", None),
    "the largest row": ("model.minimize(MaxOver(z[n], n) + Sum(z[n], n))", None),
    "a recurrence over rows": (
        'h = model.recur("h", (n,), lambda h: h[n - 1]*v + z[n])\nmodel.minimize(Sum(h[n]**2, n)/N)',
        None,
    ),
    "much that is of no row": ("model.minimize(Sum(z[n], n) + Sum(sin(extra[t]*v), t))", None),
}


def model_of(lines: str) -> Model:
    return Spec(IMPORTS + HEAD + lines, (), 0).model()


@pytest.mark.parametrize("case", CASES)
def test_objectives_that_follow_from_those_of_blocks(case: str) -> None:
    lines, expected = CASES[case]
    assert over_rows(stable_program(in_training(declared_program(model_of(lines)))), size_symbol("N")) == expected


@pytest.mark.parametrize("case", [case for case, (_, expected) in CASES.items() if expected])
@pytest.mark.parametrize("block", [1, 4])
def test_blocks_give_what_all_rows_give(case: str, block: int) -> None:
    """Compared with a step on all rows at once; three leaves, the last of which is shorter."""
    model = model_of(CASES[case][0] + "\nmodel.predict(z)")
    module = execute(module_text(model))
    rng = np.random.default_rng(0)
    data = {
        "x": rng.normal(size=(ROWS, 3)),
        "y": rng.normal(size=ROWS),
        "g": rng.integers(0, 3, ROWS),
        "extra": rng.normal(size=5),
    }
    flat = rng.normal(size=module.COUNT)
    given = {name: data[name] for name in (entry.name for entry in module.INPUTS)}
    module.BLOCK = ROWS
    whole = [module.loss(flat, **given), *module.loss_and_gradient(flat, **given), predict(module, flat, given)]
    module.BLOCK, module.LEAVES = block, 3
    found = [module.loss(flat, **given), *module.loss_and_gradient(flat, **given), predict(module, flat, given)]
    for blocks, once in zip(found, whole, strict=True):
        np.testing.assert_allclose(blocks, once, rtol=1e-13, atol=1e-13)
