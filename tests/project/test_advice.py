"""Beginners' mistakes in a spec: what is wrong is said in the words of specs, at its line, and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse

HEAD = """\
import numpy as np
import sympy as sp
from sympy import Sum, tanh

from derivgen import Model, layers

model = Model("net")
N = model.batch("N")
D, H = model.sizes(D=3, H=2)
n, d, h = model.indices(n=N, d=D, h=H)
x, W = model.input("x", N, D), model.parameter("W", D, H)
"""
MISTAKES = {
    "a sum over nothing": ("Sum(x[n, d]*W[d, h])", "write Sum(…, d)"),
    "limits past the end": ("Sum(x[n, d]*W[d, h], (d, 0, D))", "(d, 0, D - 1)"),
    "NumPy's functions": ("np.tanh(x[n, 0] + 1)", "write sympy.tanh"),
    "NumPy's function as an activation": ('layers.dense(x, 5, np.tanh, name="a")', "write sympy.tanh"),
    "a product by @": ("x @ W", "Sum(x[n, d]*W[d, h], d) for x @ W"),
    "Python's sum": ("sum(x[n, d])", "Sum(…, d)"),
    "Python's if": ("1 if x[n, 0] > 0 else 0", "Piecewise((a, c), (b, True))"),
    "Python's max": ("max(x[n, 0], 0)", "Max(a, b) for max(a, b)"),
    "subscripts of a formula": ("(x[n, d]*W[d, h])[n]", "x[n, h]*W[n, h] for"),
    "a layer's name by position": ('layers.dense(x, 5, tanh, "h")', "give the others by name"),
    "a layer without a name": ("layers.dense(x, 5)", "dense lacks its argument name: give it by name, as name=…"),
    "a let without a name": ("model.let((n,), x[n, 0])", 'model.let("a", (n, h), …)'),
    "an activation that is not imported": ("sigmoid(x[n, 0])", "write from derivgen.activations import sigmoid"),
    "a function that is not imported": ("erf(x[n, 0])", "write from sympy import erf"),
    "what is defined later": ("later + 1", "later is not defined here: define it above this line, or import it"),
    "another library's method": ("model.loss(x[n, 0])", "did you mean minimize?"),
    "a method's name misspelt": ('model.paramter("v", D)', "did you mean parameter?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_what_to_write(mistake: str, tmp_path: Path) -> None:
    line, advice = MISTAKES[mistake]
    (error, *_) = refuse(tmp_path, f"{HEAD}z = {line}  {MARK}\n")
    assert advice in error
    assert "raised" not in error


@pytest.mark.parametrize("line", ["None[0]", "[*3]", "1/0", "{}['a']"])
def test_other_mistakes_keep_their_own_words(line: str, tmp_path: Path) -> None:
    (error, *_) = refuse(tmp_path, f"{HEAD}z = {line}  {MARK}\n")
    assert "the spec raised " in error or "not valid Python" in error
