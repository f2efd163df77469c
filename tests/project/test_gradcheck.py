"""The gradient checker: where it has nothing to compare it says so, and it finds derivatives that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Max, Sum, log, tanh

from derivgen import Model, stages
from derivgen.errors import DerivgenError
from derivgen.oracle.differences import LARGE
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


def wide(width: int) -> Model:
    """A model of so many weights, and a bias."""
    model = Model("wide", dtype="float64")
    N, D = model.batch("N"), model.sizes(D=width)
    n, d = model.indices(n=N, d=D)
    x, w, b = model.input("x", N, D), model.parameter("w", D), model.parameter("b")
    model.minimize(Sum(tanh(Sum(x[n, d] * w[d], d) / 50 + b), n))
    return model


@pytest.mark.parametrize(
    ("width", "quick", "checked"),
    [
        (LARGE - 1, False, "9 of 1999 coordinates, 2 directions"),
        (LARGE, False, "2 of 2000 coordinates, 1 direction"),
        (LARGE, True, "1 direction through all 2000 coordinates"),
    ],
)
def test_a_large_model_is_checked_by_fewer_differences_and_says_so(width, quick, checked, monkeypatch):
    """Every element is covered still: one that is off is found, whichever it is."""
    honest, off = gradcheck.module_gradient, 1.0

    def given(*arguments):
        found = honest(*arguments)
        found["w"][width // 3] *= off
        return found

    monkeypatch.setattr(gradcheck, "module_gradient", given)
    told: list[tuple[float, float]] = []
    monkeypatch.setattr(stages.Work, "reach", lambda self, part, done=0.0, total=0.0: told.append((done, total)))
    with stages.watched("derivgen gradcheck"):
        w, b = gradcheck.gradcheck(wide(width), rows=2, quick=quick)
    assert w.checked == checked and b.checked == "the only coordinate"
    assert max(w.error, b.error) < 1e-12
    differences = {False: 11 if width < LARGE else 3, True: 1}[quick] + 1
    assert told[-1] == (differences, differences)
    off = 1 + 1e-3
    w, b = gradcheck.gradcheck(wide(width), rows=2, quick=quick)
    assert w.error > 1e-9 and b.error < 1e-12


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


# ---- Jacobians of residuals


def of_residuals(sparse: bool = False) -> Model:
    """Residuals of two lets, one of them for each row; with `sparse` each row has a parameter of its own."""
    model = Model("residual", dtype="float64")
    N = model.sizes(N=6) if sparse else model.batch("N")
    n, k = model.indices(n=N, k=2)
    x, y = model.input("x", N), model.input("y", N)
    a, b = model.parameter("a", N if sparse else 2, init="normal"), model.parameter("b", init=1)
    own = a[n] if sparse else Sum(a[k], k)
    lets = [model.let("r", n, tanh(own * x[n]) + b - y[n])]
    if not sparse:
        lets.append(model.let("prior", k, (a[k] - 1) / 3))
    model.least_squares(*lets)
    return model


@pytest.mark.parametrize("sparse", [False, True])
def test_the_jacobian_of_residuals_is_checked(sparse):
    *gradients, jacobian = gradcheck.gradcheck(of_residuals(sparse))
    assert [c.parameter for c in gradients] == ["a", "b"] and gradients[1].checked == "the only coordinate"
    assert (
        jacobian.parameter == "jacobian" and jacobian.checked == "all residuals, along 2 directions of each parameter"
    )
    assert jacobian.error <= 1e-12 and jacobian.largest > 0.01
    assert len(gradcheck.gradcheck(of_residuals(sparse), order=2)) == len(gradients)


@pytest.mark.parametrize("place", [(0, 0), (2, 1), (4, 1)])
@pytest.mark.parametrize("quick", [False, True])
def test_one_wrong_element_of_a_jacobian_is_found(place, quick, monkeypatch):
    honest = gradcheck.module_jacobian

    def wrong(*arguments):
        given = {name: J.copy() for name, J in honest(*arguments).items()}
        given["a"][place] += 1e-6
        return given

    monkeypatch.setattr(gradcheck, "module_jacobian", wrong)
    *gradients, jacobian = gradcheck.gradcheck(of_residuals(), quick=quick)
    assert jacobian.error > 1e-8 and max(c.error for c in gradients) < 1e-12


def with_a_band() -> Model:
    """A curve of two numbers, noisy in training, of which the spec asks for products with the Jacobian."""
    model = Model("band", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, y = model.input("x", N), model.input("y", N)
    a, b = model.parameter("a", init=1), model.parameter("b", init=1)
    curve = model.let("curve", n, tanh(a * x[n]) + b * (1 + model.training))
    model.least_squares(model.let("r", n, curve[n] - y[n]))
    model.predict(curve)
    model.second_order("jacobian_vector_product")
    return model


def test_the_product_by_which_a_band_is_drawn_is_checked():
    *_, jacobian, product = gradcheck.gradcheck(with_a_band())
    assert jacobian.checked == "all residuals, with respect to each parameter"
    assert (product.parameter, product.checked) == (
        "jacobian_vector_product",
        "all predictions, with respect to each parameter",
    )
    assert product.error <= 1e-12 and product.largest > 0.01
    assert len(gradcheck.gradcheck(with_a_band(), order=2)) == 2


def test_a_wrong_product_is_found(monkeypatch):
    honest = gradcheck.predicted_product

    def wrong(*arguments):
        product = honest(*arguments)
        return lambda name, v: product(name, v) + (1e-6 * v if name == "b" else 0)

    monkeypatch.setattr(gradcheck, "predicted_product", wrong)
    *others, product = gradcheck.gradcheck(with_a_band(), quick=True)
    assert product.error > 1e-8 and max(c.error for c in others) < 1e-12


# ---- gradients that are 0


def option(level: float) -> Model:
    """A payoff, 0 where all of x·a are below a level, and a parameter that no formula reads."""
    model = Model("option", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, a, idle = model.input("x", N), model.parameter("a"), model.parameter("idle")
    payoff = model.let("payoff", n, Max(x[n] * a - level, 0))
    model.minimize(Sum(payoff[n] ** 2, n) + 0 * idle)
    return model


@pytest.mark.parametrize("order", [1, 2])
def test_a_gradient_that_is_0_at_all_points_is_not_tested(order):
    a, idle = gradcheck.gradcheck(option(1000), order=order)
    assert not a.tested
    assert idle.tested  # by structure it is 0


@pytest.mark.parametrize("order", [1, 2])
def test_a_gradient_that_is_0_at_one_point_is_tested_at_another(order, monkeypatch):
    """And found, if it is wrong there."""
    seed = next(s for s in range(9) if payoffs_at(s) == 0)
    a, _ = gradcheck.gradcheck(option(1), seed=seed, order=order)
    assert a.tested and a.largest > 0 and a.error < 1e-12
    honest = gradcheck.module_gradient
    wrong = lambda *given: {name: g * (1 + 1e-6) for name, g in honest(*given).items()}  # noqa: E731
    monkeypatch.setattr(gradcheck, "module_gradient", wrong)
    a, _ = gradcheck.gradcheck(option(1), seed=seed, order=order)
    assert a.error > 1e-8


def payoffs_at(seed: int) -> float:
    values = gradcheck.random_values(gradcheck.declared_program(option(1)), "float64", 3, seed)
    return float(np.maximum(values["x"] * values["a"] - 1, 0).sum())
