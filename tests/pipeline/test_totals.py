"""Totals over rows beside sums of one row that go to an element which the row names."""

from __future__ import annotations

import ast

import sympy as sp
from generated import agrees_with_the_oracle, module_text

from derivgen import Model


def gathered_and_whole() -> Model:
    """W is read at each row's label and as a whole: its gradient gets a total over rows, and a sum of each row."""
    model = Model("gathered")
    N = model.batch("N")
    n, d, c = model.indices(n=N), *model.local_indices(3, 3)
    x, y, W = model.input("x", N, 3), model.labels("y", N, classes=3), model.parameter("W", 3)
    a = model.let("a", n, sp.Sum(sp.exp(sp.tanh(x[n, y[n]] * W[y[n]] * W[d])), d))
    model.minimize(sp.Sum(sp.log(1 + sp.exp(a[n] / 2)), n) + sp.Sum(W[c] ** 2, c) / 10)
    return model


def test_the_sum_of_a_row_is_none_of_the_totals():
    model = gathered_and_whole()
    loops = [n for n in ast.walk(ast.parse(module_text(model))) if isinstance(n, ast.For)]
    assert any("W_bar[y[n]] +=" in ast.unparse(loop) for loop in loops)
    agrees_with_the_oracle(model, {"N": 4})
