"""The functions of derivgen.functions: those that docs/spec.md names, with the values of SciPy's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import sympy as sp
from generated import execute, module_text

from derivgen import Model, functions

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"
SCIPY = {
    "sigmoid": scipy.special.expit,
    "softplus": lambda u: np.logaddexp(0, u),
    "loggamma": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "trigamma": lambda u: scipy.special.polygamma(1, u),
    "root": np.sqrt,
    "logaddexp": np.logaddexp,
    **{name: getattr(scipy.special, name) for name in ("log1p", "expm1", "xlogy", "erfc")},
}


def test_all_that_the_table_names_from_sigmoid_on_is_there() -> None:
    rows = PAGE.read_text().partition("\n| `sigmoid` |")[2].partition("\n\n")[0]
    named = {
        "sigmoid",
        *(name for row in rows.splitlines()[1:] for name in re.findall(r"`(\w+)", row.split(" = ")[0].split("|")[1])),
    }
    assert named | {"erfc", "stop_gradient"} == {*functions.__all__}


@pytest.mark.parametrize("name", SCIPY)
def test_a_function_in_a_formula(name: str) -> None:
    model = Model("functions", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, y, w = model.input("x", N), model.input("y", N), model.parameter("w")
    function, binary = getattr(functions, name), name in ("logaddexp", "xlogy")
    value = function(x[n], y[n]) if binary else function(x[n])
    model.minimize(w * sp.Sum(value * y[n], n))
    u, v = np.random.default_rng(0).uniform(0.1, 4, (2, 9))
    expected = np.sum((SCIPY[name](u, v) if binary else SCIPY[name](u)) * v)
    found = execute(module_text(model)).loss_and_gradient(np.array([2.0]), u, v)
    assert np.allclose([found[0], *found[1]], [2 * expected, expected], rtol=1e-13)
