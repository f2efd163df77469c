"""Explanations of second derivatives: what the blocks are, and formulas that one can check by hand."""

from __future__ import annotations

from sympy import Sum, exp

from derivgen import Model
from derivgen.explain.hessian import explain_hessian


def linear_model() -> Model:
    """A straight line by least squares, and a parameter apart from it."""
    model = Model("line")
    N = model.batch("N")
    n = model.indices(n=N)
    x, y = model.input("x", N), model.input("y", N)
    w, b, apart = model.parameter("w"), model.parameter("b"), model.parameter("apart")
    model.minimize(Sum((w * x[n] + b - y[n]) ** 2, n) + 3 * apart**2)
    return model


def test_a_linear_model_has_a_constant_hessian():
    text = explain_hessian(linear_model())
    table = text.split("-\n\n", 1)[1].split("\n\n", 1)[0]
    rows = {tuple(line.split()[:2]): line.split(maxsplit=2)[2] for line in table.splitlines()}
    assert rows == {
        ("w", "w"): "w_bar_by_w, constant",
        ("w", "b"): "w_bar_by_b, constant",
        ("w", "apart"): "0, by the structure of the program",
        ("b", "b"): "b_bar_by_b, constant",
        ("b", "apart"): "0, by the structure of the program",
        ("apart", "apart"): "apart_bar_by_apart, constant",
    }
    assert "2 of 6 blocks are 0 by the structure of the program" in text
    assert "The Hessian depends on no parameter: loss is quadratic" in text
    formulas = [line.strip() for line in text.splitlines()]
    assert "w_bar_by_w += Σ_n 2·x[n]²" in formulas
    assert "w_bar_by_b += Σ_n 2·x[n]" in formulas
    assert "b_bar_by_b = 2·N" in formulas
    assert "apart_bar_by_apart = 6" in formulas


def test_a_model_that_is_not_linear_has_none():
    model = Model("decay")
    N = model.batch("N")
    n = model.indices(n=N)
    t, y = model.input("t", N), model.input("y", N)
    a, k = model.parameter("a"), model.parameter("k")
    f = model.let("f", n, a * exp(-k * t[n]))
    model.least_squares(model.let("r", n, f[n] - y[n]))
    text = explain_hessian(model)
    assert "constant" not in text
    assert "depends on no parameter" not in text
    assert "0 of 3 blocks are 0" in text


def test_markdown_has_the_formulas_in_latex():
    text = explain_hessian(linear_model(), "markdown")
    assert "## Blocks of the Hessian" in text
    assert r"\sum_{n}" in text
