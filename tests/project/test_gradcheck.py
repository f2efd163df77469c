"""The gradient checker: where it has nothing to compare it says so, and it finds derivatives that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Sum, log, tanh

from derivgen import Model
from derivgen.errors import DerivgenError
from derivgen.project import gradcheck


def model_of(objective) -> Model:
    """A model of one parameter and one input."""
    model = Model("checked", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, w = model.input("x", N), model.parameter("w", 2)
    model.minimize(Sum(objective(x[n], w[0], w[1]), n))
    return model


@pytest.mark.parametrize("order", [1, 2])
def test_points_are_where_logarithms_are(order):
    (compared,) = gradcheck.gradcheck(model_of(lambda x, a, b: log(x * a) * b**2), order=order)
    assert 0 < compared.largest < np.inf
    assert compared.error <= 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_an_objective_that_is_nowhere_finite_is_not_passed(order):
    with pytest.raises(DerivgenError, match="the objective is not finite at random values"):
        gradcheck.gradcheck(model_of(lambda x, a, b: log(-1 - (x * a * b) ** 2)), order=order)


@pytest.mark.parametrize("order", [1, 2])
def test_wrong_derivatives_are_found(order, monkeypatch):
    """One element of what the module gives is off by a millionth of itself."""
    honest = gradcheck.module_gradient

    def wrong(*arguments):
        given = honest(*arguments)
        given["w"][1] *= 1 + 1e-6
        return given

    monkeypatch.setattr(gradcheck, "module_gradient", wrong)
    (compared,) = gradcheck.gradcheck(model_of(lambda x, a, b: tanh(x * a + b) ** 2), order=order)
    assert compared.error > 1e-8


def test_the_hessian_is_checked_where_it_is_asked_for(monkeypatch):
    model = model_of(lambda x, a, b: tanh(x * a + b) ** 2)
    (product,) = gradcheck.gradcheck(model, order=2)
    model.second_order("hessian")
    found = gradcheck.gradcheck(model, order=2)
    assert [c.parameter for c in found] == [product.parameter, f"{product.parameter}, by hessian"]
    assert max(c.error for c in found) <= 1e-12
    load = gradcheck.load

    def off(path):
        module = load(path)
        honest = module.hessian
        module.hessian = lambda *arguments, **inputs: honest(*arguments, **inputs) * (1 + 1e-6)
        return module

    monkeypatch.setattr(gradcheck, "load", off)
    right, wrong = gradcheck.gradcheck(model, order=2)
    assert right.error <= 1e-12 < 1e-8 < wrong.error
