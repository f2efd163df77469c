"""Logarithms of sums of exponentials that all are exp(-oo): paths and states of probability 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import Model
from derivgen.functions import logaddexp, xlogy

STEPS, STATES = 6, 4
START, ALLOWED = np.eye(STATES)[0], np.triu(np.ones((STATES, STATES))) - np.triu(np.ones((STATES, STATES)), 2)


def sums(f: sp.IndexedBase, at: tuple[sp.Symbol, ...]) -> sp.Expr:
    """From one step to the next by a table of logarithms."""
    t, j, k = at
    table = sp.Piecewise((0, sp.Or(sp.Eq(j, k), sp.Eq(j + 1, k))), (-sp.oo, True))
    return sp.log(sp.Sum(sp.exp(f[t - 1, j] + table), j))


def two_terms(f: sp.IndexedBase, at: tuple[sp.Symbol, ...]) -> sp.Expr:
    t, _, k = at
    return sp.log(sp.exp(f[t - 1, k]) + sp.exp(entering(f[t - 1, k - 1], k)))


def by_logaddexp(f: sp.IndexedBase, at: tuple[sp.Symbol, ...]) -> sp.Expr:
    t, _, k = at
    return logaddexp(f[t - 1, k], entering(f[t - 1, k - 1], k))


def three_terms(f: sp.IndexedBase, at: tuple[sp.Symbol, ...]) -> sp.Expr:
    t, _, k = at
    never = sp.Piecewise((f[t - 1, k], k > STATES), (-sp.oo, True))
    return sp.log(sp.exp(f[t - 1, k]) + sp.exp(entering(f[t - 1, k - 1], k)) + sp.exp(never))


def terms_that_may_be_zero(f: sp.IndexedBase, at: tuple[sp.Symbol, ...]) -> sp.Expr:
    t, _, k = at
    enters = sp.Piecewise((sp.exp(f[t - 1, k - 1]), k > 0), (0, True))
    return sp.log(sp.exp(f[t - 1, k]) + enters + sp.Piecewise((sp.exp(f[t - 1, k]), k > STATES), (0, True)))


def entering(value: sp.Expr, k: sp.Symbol) -> sp.Expr:
    return sp.Piecewise((value, k > 0), (-sp.oo, True))


FORMS = {f.__name__: f for f in (sums, two_terms, by_logaddexp, three_terms, terms_that_may_be_zero)}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def left_to_right(form: Callable[..., sp.Expr], steps: int = STEPS) -> Model:
    """A hidden Markov model that starts in the first state, and goes on by one state at most a step."""
    model = Model("left_to_right", dtype="float64")
    T, K = model.sizes(T=steps, K=STATES)
    at = model.indices(t=T, j=K, k=K)
    t, k = at[0], at[2]
    y, mu = model.input("y", T), model.parameter("mu", K, init="normal")
    score = model.let("score", (t, k), -((y[t] - mu[k]) ** 2) / 2)
    first = sp.Piecewise((0, sp.Eq(k, 0)), (-sp.oo, True))
    f = model.recur("f", (t, k), lambda f: score[t, k] + sp.Piecewise((form(f, at), t > 0), (first, True)))
    model.predict(model.let("states", (t, k), f[t, k]))
    model.minimize(-f[T - 1, K - 1])
    return model


def of_paths(mu: np.ndarray, y: np.ndarray) -> complex:
    """-log of the probabilities themselves."""
    alpha = START * np.exp(-((y[0] - mu) ** 2) / 2)
    for value in y[1:]:
        alpha = (alpha @ ALLOWED) * np.exp(-((value - mu) ** 2) / 2)
    return -np.log(alpha[-1])


def slopes(mu: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([of_paths(mu + 1e-30j * e, y).imag / 1e-30 for e in np.eye(STATES)])


@forms
def test_the_gradient_is_that_of_the_probabilities(form: Callable[..., sp.Expr]) -> None:
    rng = np.random.default_rng(3)
    mu, y = rng.normal(size=STATES), rng.normal(size=STEPS)
    loss, gradient = execute(module_text(left_to_right(form))).loss_and_gradient(mu, y)
    np.testing.assert_allclose(loss, of_paths(mu, y).real, rtol=1e-13)
    np.testing.assert_allclose(gradient, slopes(mu, y), rtol=1e-12, atol=1e-14)


@forms
def test_what_no_path_reaches_is_minus_infinity(form: Callable[..., sp.Expr]) -> None:
    states = execute(module_text(left_to_right(form))).predict(np.zeros(STATES), np.zeros(STEPS))
    reached = np.arange(STATES) <= np.arange(STEPS)[:, None]
    assert (states[~reached] == -np.inf).all()
    assert np.isfinite(states[reached]).all()


@forms
def test_an_objective_that_is_infinite_has_no_slope(form: Callable[..., sp.Expr]) -> None:
    module = execute(module_text(left_to_right(form, steps=STATES - 1)))
    loss, gradient = module.loss_and_gradient(np.zeros(STATES), np.zeros(STATES - 1))
    assert loss == np.inf
    assert (gradient == 0).all()


def test_zeros_of_the_data_are_impossible_too() -> None:
    """log(A[j,k]) of an input, where the sum over j is one of products."""
    model = Model("data", dtype="float64")
    T, K = model.sizes(T=STEPS, K=STATES)
    t, j, k = model.indices(t=T, j=K, k=K)
    y, start, A = model.input("y", T), model.input("start", K), model.input("A", K, K)
    mu = model.parameter("mu", K, init="normal")

    def step(f: sp.IndexedBase) -> sp.Expr:
        goes_on = sp.log(sp.Sum(sp.exp(f[t - 1, j] + sp.log(A[j, k])), j))
        return -((y[t] - mu[k]) ** 2) / 2 + sp.Piecewise((goes_on, t > 0), (sp.log(start[k]), True))

    f = model.recur("f", (t, k), step)
    model.minimize(-f[T - 1, K - 1])
    rng = np.random.default_rng(3)
    mu, y = rng.normal(size=STATES), rng.normal(size=STEPS)
    with np.errstate(divide="ignore"):
        loss, gradient = execute(module_text(model)).loss_and_gradient(mu, y, START, ALLOWED)
    np.testing.assert_allclose(loss, of_paths(mu, y).real, rtol=1e-13)
    np.testing.assert_allclose(gradient, slopes(mu, y), rtol=1e-12, atol=1e-14)


def test_a_sum_that_is_separated_may_be_empty() -> None:
    """Σ_j exp(f[n,j] + A[j,k]) is computed as a product of matrices, or as it stands where that vanishes."""
    model = Model("separated", dtype="float64")
    N, J, K = model.sizes(N=3, J=4, K=5)
    n, j, k = model.indices(n=N, j=J, k=K)
    keep, A = model.input("keep", N), model.parameter("A", J, K, init="normal")
    f = model.let("f", (n, j), sp.Piecewise((j * keep[n], keep[n] > 0), (-sp.oo, True)))
    total = model.let("total", (n, k), sp.log(sp.Sum(sp.exp(f[n, j] + A[j, k]), j)))
    model.minimize(sp.Sum(sp.exp(total[n, k]) * (k + 1), n, k))
    a = np.random.default_rng(5).normal(size=(4, 5))
    loss, gradient = execute(module_text(model)).loss_and_gradient(a.ravel(), np.array([0.5, 0.0, 0.25]))
    weights = np.exp(np.arange(4)[:, None] * 0.5) + np.exp(np.arange(4)[:, None] * 0.25)
    terms = weights * np.exp(a) * np.arange(1, 6)
    np.testing.assert_allclose(loss, terms.sum(), rtol=1e-13)
    np.testing.assert_allclose(gradient, terms.ravel(), rtol=1e-13)


@pytest.mark.parametrize("terms", ["sum", "two", "three"])
def test_a_weight_of_0_needs_no_possible_path(terms: str) -> None:
    """w·log(S), which is 0 where w and S are, has the slope w/S by S elsewhere."""
    model = Model("weighted", dtype="float64")
    N, J = model.sizes(N=4, J=3)
    n, j = model.indices(n=N, j=J)
    keep, w, a = model.input("keep", N), model.input("w", N), model.parameter("a", J, init="normal")
    f = model.let("f", (n, j), sp.Piecewise((a[j], keep[n] > 0), (-sp.oo, True)))
    count = {"sum": 3, "two": 2, "three": 3}[terms]
    each = sp.Sum(sp.exp(f[n, j]), j) if terms == "sum" else sp.Add(*(sp.exp(f[n, i]) for i in range(count)))
    model.predict(model.let("logarithm", n, xlogy(w[n], each)))
    model.minimize(sp.Sum(xlogy(w[n], each), n))
    module, a = execute(module_text(model)), np.array([0.5, -1.0, 2.0])
    keep, w = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.0, 0.0, 2.0])
    loss, gradient = module.loss_and_gradient(a, keep, w)
    power = np.exp(a[:count])
    np.testing.assert_allclose(loss, 2.5 * np.log(power.sum()), rtol=1e-14)
    np.testing.assert_allclose(gradient[:count], 2.5 * power / power.sum(), rtol=1e-14)
    assert module.predict(a, 0 * keep, w).tolist() == [-np.inf, 0, 0, -np.inf]


def test_other_sums_are_not_guarded() -> None:
    """No sum of exponentials of a network's outputs can be empty: its text says nothing of it."""
    model = Model("classes", dtype="float64")
    N, C = model.sizes(N=3, C=4)
    n, c = model.indices(n=N, c=C)
    z = model.parameter("z", N, C, init="normal")
    model.minimize(sp.Sum(sp.log(sp.Sum(sp.exp(z[n, c]), c)) + sp.log(sp.exp(z[n, 0]) + sp.exp(z[n, 1]) + 1), n))
    assert "e38" not in module_text(model)


def test_a_soft_minimum_takes_no_infinite_cost() -> None:
    """Soft dynamic time warping along antidiagonals: what lies outside of the table costs oo."""
    length = 6
    model = Model("soft_dtw", dtype="float64")
    T = model.sizes(T=length)
    k, i = model.indices(k=2 * T - 1, i=T)
    x, y, gamma = model.input("x", T), model.parameter("y", T), model.input("gamma")

    def step(R: sp.IndexedBase) -> sp.Expr:
        up = sp.Piecewise((R[k - 1, i - 1], i > 0), (sp.oo, True))
        diagonal = sp.Piecewise((R[k - 2, i - 1], i > 0), (0, k < 1), (sp.oo, True))
        terms = (sp.exp(-cost / gamma) for cost in (R[k - 1, i], up, diagonal))
        inside = sp.And(k - i >= 0, k - i < T)
        return sp.Piecewise(((x[i] - y[k - i]) ** 2 - gamma * sp.log(sp.Add(*terms)), inside), (sp.oo, True))

    R = model.recur("R", (k, i), step, initial=[sp.oo, sp.oo])
    model.minimize(R[2 * T - 2, T - 1])

    def directly(at: np.ndarray, y: np.ndarray) -> complex:
        """In weights exp(-R/gamma), by rows."""
        weight = np.zeros((length + 1, length + 1), complex)
        weight[0, 0] = 1
        for a, b in np.ndindex(length, length):
            own = np.exp(-((at[a] - y[b]) ** 2) / 0.5)
            weight[a + 1, b + 1] = own * (weight[a, b] + weight[a + 1, b] + weight[a, b + 1])
        return -0.5 * np.log(weight[-1, -1])

    rng = np.random.default_rng(7)
    given, own = rng.normal(size=length), rng.normal(size=length)
    loss, gradient = execute(module_text(model)).loss_and_gradient(own, given, np.array(0.5))
    wanted = [directly(given, own + 1e-30j * e).imag / 1e-30 for e in np.eye(length)]
    np.testing.assert_allclose(loss, directly(given, own).real, rtol=1e-13)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-14)
