"""Mistakes in the spec of a first curve fit: one error each, at its line, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse

HEAD = "import math\nfrom sympy import exp\n\nfrom derivgen import Model\n\n"
# A spec without a mistake, a line a name.
LINES = {
    "model": 'model = Model("coffee", dtype="float64")',
    "N": 'N = model.batch("N")',
    "n": "n = model.indices(n=N)",
    "t": 't = model.input("t", N)',
    "y": 'y = model.input("y", N)',
    "room": 'room = model.parameter("room", init=20)',
    "excess": 'excess = model.parameter("excess", init=50)',
    "rate": 'rate = model.parameter("rate", init=0.1)',
    "curve": 'curve = model.let("curve", n, room + excess * exp(-rate * t[n]))',
    "r": 'r = model.let("r", n, curve[n] - y[n])',
    "fit": "model.least_squares(r)",
    "predict": "model.predict(curve)",
    "band": 'model.second_order("jacobian_vector_product")',
}


def spec(at: str, **lines: str) -> str:
    """The spec with other lines, and an error expected at the line `at`."""
    named = {name: f"{line}  {MARK}" if name == at else line for name, line in {**LINES, **lines}.items()}
    return HEAD + "\n".join(named.values()) + "\n"


def written(at: str, right: str, wrong: str) -> str:
    """The spec with a mistake in one line."""
    return spec(at, **{at: LINES[at].replace(right, wrong, 1)})


def curve(formula: str) -> str:
    return spec("curve", curve=f'curve = model.let("curve", n, {formula})')


POWER = ("powers are written with **", "write u**2 for u ^ 2")
# A spec with a mistake, and words of its only error.
MISTAKES = {
    "no objective": (spec("model", fit=""), ("call model.minimize(...), or model.least_squares(...) for a fit",)),
    # functions
    "a function of math": (curve("math.exp(-rate)"), ("math.exp accepts only numbers", "write sympy.exp,")),
    "another name of it": (curve("math.pow(rate, 2)"), ("math.pow accepts only numbers", "write u**v,")),
    "a number of a formula": (curve("float(rate)"), ("a formula is no float", "leave it a formula")),
    # names
    "no size": (spec("n", N=""), ('by N = model.batch("N") if the data decide it', "N = model.sizes(N=3)")),
    "no size of an array": (written("t", "N", "M"), ('by M = model.batch("M") if the data decide it',)),
    "another index": (written("r", "y[n]", "y[m]"), ("by m = model.indices(m=N), where N is its size",)),
    "no function": (curve("Sum(t[n], k)"), ("Sum is not defined: write from sympy import Sum",)),
    "a name misspelt": (written("r", "curve", "curv"), ("curv is not defined here; did you mean curve?",)),
    "a letter of SymPy's": (curve("E**room"), ("E is not defined here: define it above this line",)),
    "a let before it exists": (
        spec("y", y=f"{LINES['y']}; late = r[n]"),
        ("r is not defined yet, only at line 15: move that line above this one",),
    ),
    # subscripts and calls
    "data of one number": (
        spec("r", y='y = model.input("y")'),
        ("y is a single number: write y without", 'or declare it as an array, model.input("y", N)'),
    ),
    "a parameter at indices": (curve("rate[n] * t[n]"), ("rate is a single number: write rate without subscripts",)),
    "an element in parentheses": (curve("rate * t(n)"), ("by brackets: write t[n] for t(n)",)),
    "a product without its sign": (curve("excess(t[n] + 1)"), ("a product is meant, write excess*(t[n] + 1)",)),
    "a product of sums": (curve("(room + t[n])(rate)"), ("a product is meant, write (room + t[n])*(rate)",)),
    "indices by position": (written("n", "n=N", '"n", N'), ("by keyword", "write n = model.indices(n=N)")),
    "sizes by position": (written("N", "batch(", "sizes(3, "), ("by keyword", "write D = model.sizes(D=3)")),
    "too many arguments": (written("curve", "n,", "n, 1, 2, 3,"), ("let takes at most 4 arguments", "found 6")),
    # powers
    "a power of an element": (curve("exp(rate * t[n]^2)"), POWER),
    "a power of a parameter": (curve("exp(rate ^ t[n])"), POWER),
    "a power of two parameters": (curve("room + excess * (rate ^ excess)"), POWER),
    "a power by itself": (curve("rate ^ excess"), ("found Xor: write powers as u**v",)),
    # a name used twice, after which nothing else is said
    "a let like a parameter": (written("curve", '"curve"', '"room"'), ("room is used twice: it is a parameter",)),
    "a let like an input": (written("r", '"r"', '"y"'), ("y is used twice: it is an input",)),
    "a parameter like an input": (written("rate", '"rate"', '"t"'), ("t is used twice: it is an input",)),
    "a recurrence like an input": (
        spec("curve", curve='curve = model.recur("t", [n], lambda u: rate * u[n - 1] + t[n])'),
        ("t is used twice: it is an input",),
    ),
    "a let like a keyword": (written("curve", '"curve"', '"lambda"'), ("'lambda' is a keyword of Python",)),
    "the only input like a keyword": (
        spec("t", t='t = y = model.input("lambda", N)', y=""),
        ("'lambda' is a keyword of Python",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_one_error_with_what_to_write(mistake: str, tmp_path: Path) -> None:
    text, words = MISTAKES[mistake]
    (error,) = refuse(tmp_path, text)
    assert [word for word in words if word not in error] == [], error
