"""`named`: parts of formulas by names, which stand in kernels and docstrings."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sympy as sp
from generated import agrees_with_the_oracle, module_text
from sympy import Piecewise, Sum, cos, exp, log, sin, sqrt, tanh

from derivgen import Model, named
from derivgen.errors import SpecError


def model_of(formula: Any) -> Model:
    """A model whose objective is the mean of a formula of x, y, w, c and the model."""
    model = Model("m")
    N, D = model.batch("N"), model.sizes(D=3)
    n, d = model.indices(n=N, d=D)
    x, y = model.input("x", N, D), model.input("y", N)
    w, c = model.parameter("w", D, init="normal"), model.parameter("c", init=1.5)
    model.minimize(Sum(formula(model, x, y, w, c, n, d), n) / N)
    return model


def shared(model: Model, x: Any, y: Any, w: Any, c: Any, n: Any, d: Any) -> Any:
    """One part in two lets, in a variable."""
    scale = named("scale", exp(-c) / (1 + c**2))
    a = model.let("a", n, scale * sin(y[n]))
    b = model.let("b", n, a[n] + scale * cos(y[n]) * c)
    return (a[n] - b[n] * scale) ** 2


def of_rows(model: Model, x: Any, y: Any, w: Any, c: Any, n: Any, d: Any) -> Any:
    score = named("score", Sum(x[n, d] * w[d], d) * c)
    return log(1 + exp(-y[n] * score)) + named("penalty", tanh(named("inner", score**2 + c))) ** 2


def of_bound_indices(model: Model, x: Any, y: Any, w: Any, c: Any, n: Any, d: Any) -> Any:
    return Sum(named("term", sin(x[n, d] * w[d])) ** 2 * y[n] + named("term", sin(x[n, d] * w[d])) * c, d)


def in_branches(model: Model, x: Any, y: Any, w: Any, c: Any, n: Any, d: Any) -> Any:
    """A root that exists in one branch alone, and a row before the first."""
    root = named("root", sqrt(y[n] - 1))
    before = named("before", y[n - 1] * c)
    return Piecewise((root * c, y[n] > 1), (c**2, True)) + Piecewise((before**2, n > 0), (0, True))


def in_a_recurrence(model: Model, x: Any, y: Any, w: Any, c: Any, n: Any, d: Any) -> Any:
    t = model.indices(t=4)
    h = model.recur("h", (n, t), lambda h: named("fed", tanh(c * h[n, t - 1] + y[n])) * c, 0)
    return h[n, 3] ** 2


FORMULAS = (shared, of_rows, of_bound_indices, in_branches, in_a_recurrence)


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_gradients_agree_with_the_oracle(formula: Any) -> None:
    agrees_with_the_oracle(model_of(formula), {"N": 4})


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        (shared, ["scale"]),
        (of_rows, ["score", "penalty", "inner"]),
        (of_bound_indices, ["term"]),
        (in_branches, ["root"]),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_names_stand_in_kernels_and_docstrings(formula: Any, names: list[str]) -> None:
    text = module_text(model_of(formula))
    kernels = text.partition("# ---- what the model has")[0]
    for name in names:
        assert re.search(rf"^#     {name}(\[[\w,]+\])? = ", text, re.MULTILINE)
        assert re.search(rf'^    (""")?{name}(\[[\w,]+\])? = ', kernels, re.MULTILINE)
        assert re.search(rf"^ +{name}(\[[\w, ]+\])? = ", kernels, re.MULTILINE)


def test_a_part_of_a_row_is_a_local() -> None:
    """It has no array: neither among the kernel's arguments nor in the workspace."""
    text = module_text(model_of(lambda model, x, y, w, c, n, d: named("gap", y[n] - c * sin(y[n])) ** 2))
    assert re.search(r"^ {8,}gap = ", text, re.MULTILINE)
    assert not re.search(r"^ +gap: (Real|np)", text, re.MULTILINE)


REFUSED = {
    "taken by a parameter": (lambda x, c: named("w", x + c), "the name w is used twice: it is a parameter already"),
    "no name": (lambda x, c: named("two words", x + c), "'two words' is no identifier"),
    "no text": (lambda x, c: named(3, x + c), "'3' is no identifier"),
    "of two parts": (lambda x, c: named("a", x + c) * named("a", x * c), "a is the name of two parts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_that_cannot_be_are_refused_at_the_line_of_their_let(case: str) -> None:
    formula, words = REFUSED[case]
    model = model_of(lambda model, x, y, w, c, n, d: formula(y[n], c))
    with pytest.raises(SpecError) as found:
        module_text(model)
    assert words in str(found.value) and re.search(r"test_named_parts\.py:\d+", str(found.value))


def test_it_is_part_of_the_language_of_specs_alone() -> None:
    """As a table's formula, or as a number, it has no meaning: no model gives it one."""
    model = Model("m")
    t = model.indices(t=3)
    model.constant("k", t, named("part", sp.sin(t)))
    assert [p for p in model.problems if "has no value in a table" in p.message]
