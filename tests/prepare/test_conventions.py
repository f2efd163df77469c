"""Textbook formulas stay finite and exact; kinks and branches follow the table of the docs."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import MaxOver, Model, runtime, stop_gradient
from derivgen.form.as_written import as_written
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program

FLOAT32 = float(np.finfo(np.float32).eps)


def pointwise(formula, x, dtype="float64"):
    """(values, gradients) of Σ formula(w[i]) at w = x, element by element."""
    with as_written():
        model = Model("pointwise")
        i = model.indices(i=len(x))
        w = model.parameter("w", len(x), init=np.asarray(x, float))
        f = model.let("f", i, formula(w[i]))
        model.minimize(sp.Sum(f[i], i))
        model.predict(f)
    module = execute(module_text(model, dtype))
    parameters = module.initial_parameters()
    with np.errstate(all="ignore"):
        return module.predict(parameters), module.loss_and_gradient(parameters)[1]


# ---- stability, in float32


@pytest.fixture(scope="module")
def naive_classifier(tmp_path_factory):
    """exp(z) / Σ exp(z) and -log of it, as typed from a textbook; the logits are the parameters."""
    model = Model("naive")
    N, C = model.batch("N"), model.sizes(C=4)
    n, c = model.indices(n=N, c=C)
    y = model.labels("y", N, classes=C)
    x = model.input("x", N, C)
    w = model.parameter("w", C)
    z = model.let("z", (n, c), x[n, c] + w[c])
    p = model.let("p", (n, c), sp.exp(z[n, c]) / sp.Sum(sp.exp(z[n, c]), c))
    model.minimize(sp.Sum(-sp.log(p[n, y[n]]), n) / N)
    model.predict(p)
    path = tmp_path_factory.mktemp("naive") / "naive_kernels.py"
    path.write_text(module_text(model, "float32"))
    return runtime.load(path), declared_program(model)


LOGITS = {
    "far apart": [1e4, -1e4, 0, 10],
    "equal and large": [1e4, 1e4, -1e4, -1e4],
    "close and large": [1e4, 1e4 - 1, 1e4 - 2, -1e4],
    "all very negative": [-1e4, -1e4 + 1, -1e4 + 2, -1e4 + 3],
    "small": [0.1, -0.2, 0.3, 0],
}


@pytest.mark.parametrize("label", range(4))
@pytest.mark.parametrize("case", LOGITS)
def test_naive_softmax_cross_entropy(naive_classifier, case, label):
    module, program = naive_classifier
    x, y = np.array([LOGITS[case]], np.float32), np.array([label])
    parameters = module.initial_parameters()
    wanted = run(program, {"x": x, "y": y, "w": parameters}, digits=9000)
    loss, gradient = module.loss_and_gradient(parameters, x=x, y=y)
    p = np.array([float(v) for v in wanted["p"][0]])
    assert np.isfinite(loss)
    assert loss == pytest.approx(float(wanted["loss"][()]), rel=8 * FLOAT32, abs=8 * FLOAT32)
    np.testing.assert_allclose(gradient, p - np.eye(4)[label], rtol=0, atol=8 * FLOAT32)
    np.testing.assert_allclose(module.predict(parameters, x)[0], p, rtol=16 * FLOAT32, atol=1e-30)


def logistic(x):
    return 1 / (1 + sp.exp(-x))


STABLE = {
    # name: (formula, points, values, derivatives); closed forms where doubles overflow or cancel
    "log sigmoid": (lambda x: sp.log(logistic(x)), [1e3, -1e3, 0], [0, -1e3, -np.log(2)], [0, 1, 0.5]),
    "log(1 + exp)": (lambda x: sp.log(1 + sp.exp(x)), [1e3, -1e3, 0], [1e3, 0, np.log(2)], [1, 0, 0.5]),
    "sigmoid": (logistic, [1e3, -1e3, 0], [1, 0, 0.5], [0, 0, 0.25]),
    "exp over 1 + exp": (lambda x: sp.exp(x) / (1 + sp.exp(x)), [1e3, -1e3], [1, 0], [0, 0]),
    "log(1 - sigmoid)": (lambda x: sp.log(1 - logistic(x)), [1e3, -1e3], [-1e3, 0], [-1, 0]),
    "tanh by exponentials": (
        lambda x: (sp.exp(x) - sp.exp(-x)) / (sp.exp(x) + sp.exp(-x)),
        [1e3, -1e3, 0],
        [1, -1, 0],
        [0, 0, 1],
    ),
    "x log x": (lambda x: x * sp.log(x), [0, 1], [0, 0], [-np.inf, 1]),
    "exp - 1": (lambda x: sp.exp(x) - 1, [1e-6], [1e-6 + 5e-13], [1 + 1e-6 + 5e-13]),
    "log(1 + x)": (lambda x: sp.log(1 + x), [1e-6], [1e-6 - 5e-13], [1 / (1 + 1e-6)]),
    "log cosh": (
        lambda x: sp.log(sp.cosh(x)),
        [1e3, -1e3, 0, 1e-4],
        [1e3 - np.log(2), 1e3 - np.log(2), 0, 5e-9 - 1e-16 / 12],
        [1, -1, 0, np.tanh(1e-4)],
    ),
    "log(exp + exp)": (lambda x: sp.log(sp.exp(x) + sp.exp(2 * x)), [1e3, -1e3], [2e3, -1e3], [2, 1]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", STABLE)
def test_stable_forms(case, dtype):
    formula, points, values, derivatives = STABLE[case]
    found, gradient = pointwise(formula, points, dtype)
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, values, rtol=max(tolerance, 1e-12), atol=1e-40)
    np.testing.assert_allclose(gradient, derivatives, rtol=max(tolerance, 1e-12), atol=1e-40)


NUMBERS = {
    "sigmoid": lambda x: 1 / (1 + sp.exp(-x)),
    "softplus": lambda x: sp.log(1 + sp.exp(x)),
    "exp - 1": lambda x: sp.exp(x) - 1,
    "1 - erf": lambda x: 1 - sp.erf(x),
    "x log x": lambda x: x * sp.log(x + 301),
    "logaddexp": lambda x: sp.log(sp.exp(x) + sp.exp(2 * x)),
    "norm": lambda x: sp.sqrt(x**2 + 1),
}


@pytest.mark.parametrize("x", [sp.Integer(-300), sp.Integer(-100), sp.Rational(1, 3), sp.Integer(0)], ids=str)
@pytest.mark.parametrize("case", NUMBERS)
def test_a_stable_form_of_numbers_is_a_number(case, x):
    """Where a sum is empty, say, or a weight is written as a formula."""
    formula = NUMBERS[case]
    model = Model("m")
    k, w = model.indices(k=1), model.parameter("w")
    empty = sp.Sum(w, (k, 1, 0))  # 0, as the model finds out only after the stable forms
    model.minimize(w * formula(x) + w * formula(x + empty))
    with mpmath.workdps(300):
        wanted = float(2 * sp.lambdify((), formula(x), "mpmath")())
    loss, gradient = execute(module_text(model)).loss_and_gradient(np.ones(1))
    np.testing.assert_allclose([loss, gradient[0]], [wanted, wanted], rtol=1e-15)


# ---- kinks

KINKS = {
    # name: (formula, points, derivatives by the docs' table)
    "relu": (lambda x: sp.Max(x, 0), [-1, 0, 2], [0, 0, 1]),
    "a constant wins a tie": (lambda x: sp.Max(x, 3), [2, 3, 4], [0, 0, 1]),
    "minimum": (lambda x: sp.Min(x, 1), [0, 1, 2], [1, 0, 0]),
    "tied variables share": (lambda x: sp.Max(x, 2 * x, -x), [0, 1, -1], [2 / 3, 2, -1]),
    "absolute value": (lambda x: sp.Abs(x), [-2, 0, 3], [-1, 0, 1]),
    "floor": (lambda x: sp.floor(x) * x, [1.5, 2], [1, 2]),
    "sign": (lambda x: sp.sign(x) * x, [-1.5, 0, 2], [-1, 0, 1]),
    "mod": (lambda x: sp.Mod(x, 3), [1, 3, 4.5, -1], [1, 0, 1, 1]),
    "branch not taken": (lambda x: sp.Piecewise((sp.sqrt(x), x > 0), (0, True)), [0, 4, -1], [0, 0.25, 0]),
    "branch under a root": (lambda x: sp.sqrt(sp.Piecewise((x, x > 0), (0, True))), [0, 4, -1], [0, 0.25, 0]),
    "root of relu": (lambda x: sp.sqrt(sp.Max(x, 0)), [0, 4, -1], [0, 0.25, 0]),
    "root of squares": (lambda x: sp.sqrt(x**2 + (2 * x) ** 2), [0, 1, -1], [0, np.sqrt(5), -np.sqrt(5)]),
    "power of a constant": (lambda x: sp.Integer(2) ** x, [0, 1], [np.log(2), 2 * np.log(2)]),
    "exponent at base 0": (lambda x: x ** (x + 2), [0.0, 1.0], [0, 3]),
    "stopped": (lambda x: stop_gradient(x) * x, [3], [3]),
}


@pytest.mark.parametrize("case", KINKS)
def test_kinks(case):
    formula, points, wanted = KINKS[case]
    _, gradient = pointwise(formula, points)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-14, atol=0)


def test_a_maximum_gives_all_to_the_first_on_a_tie():
    model = Model("maximum")
    i, k = model.indices(i=2, k=3)
    w = model.parameter("w", 2, 3, init=np.array([[1.0, 5.0, 5.0], [2.0, 2.0, 2.0]]))
    m = model.let("m", i, MaxOver(w[i, k], k))
    model.minimize(sp.Sum((i + 1) * m[i], i))
    module = execute(module_text(model))
    loss, gradient = module.loss_and_gradient(module.initial_parameters())
    assert loss == 5 + 2 * 2
    assert gradient.tolist() == [0, 1, 0, 2, 0, 0]


def test_a_let_read_under_a_guard_is_differentiated_under_it():
    """theta = sqrt(sq), used where sq > 0: no 0·∞ at 0."""
    model = Model("angle")
    n, d = model.indices(n=2, d=3)
    w = model.parameter("w", 2, 3, init=np.array([[0.0, 0, 0], [3, 0, 4]]))
    sq = model.let("sq", n, sp.Sum(w[n, d] * w[n, d], d))
    theta = model.let("theta", n, sp.log(sq[n]) / 2)
    model.minimize(sp.Sum(sp.Piecewise((theta[n], sq[n] > 0), (0, True)), n))
    module = execute(module_text(model))
    loss, gradient = module.loss_and_gradient(module.initial_parameters())
    assert loss == pytest.approx(np.log(5), rel=1e-15)
    np.testing.assert_allclose(gradient, [0, 0, 0, 3 / 25, 0, 4 / 25], rtol=1e-15)


NOT_A_NUMBER = {
    "relu": lambda x: sp.Max(x, 0),
    "minimum": lambda x: sp.Min(1, x),
    "abs": sp.Abs,
    "tanh": sp.tanh,
    "sigmoid": logistic,
    "softplus": lambda x: sp.log(1 + sp.exp(x)),
    "sign": lambda x: sp.sign(x),
    "x log x": lambda x: x * sp.log(x),
    "mod": lambda x: sp.Mod(x, 3),
    "power": lambda x: x**2,
    "log of exponentials": lambda x: sp.log(sp.exp(x) + sp.exp(-x)),
}


@pytest.mark.parametrize("case", NOT_A_NUMBER)
def test_nan_passes_through(case):
    values, _ = pointwise(NOT_A_NUMBER[case], [np.nan, 1.0])
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


def test_integer_powers_are_products():
    """x**k for an index k, at negative x and at 0."""
    model = Model("polynomial")
    k = model.indices(k=4)
    x = model.parameter("x", init=np.array(-2.0))
    c = model.constant("c", np.array([1.0, 2.0, 3.0, 4.0]))
    model.minimize(sp.Sum(c[k] * x**k, k))
    module = execute(module_text(model))
    for point in (-2.0, 0.0, 1.5):
        loss, gradient = module.loss_and_gradient(np.array([point]))
        assert loss == pytest.approx(np.polynomial.polynomial.polyval(point, [1, 2, 3, 4]), rel=1e-15)
        assert gradient[0] == pytest.approx(np.polynomial.polynomial.polyval(point, [2, 6, 12]), rel=1e-15)


NEAR_0 = {
    "(exp(a) - 1)/2": lambda f, a: f.expm1(a) / 2,
    "3 - 3*exp(a) + a": lambda f, a: a - 3 * f.expm1(a),
    "(exp(a) - exp(-a))/2": lambda f, a: f.sinh(a),
    "(exp(a) - exp(-a))/(exp(a) + exp(-a))": lambda f, a: f.tanh(a),
    "((exp(a) - exp(-a))/(exp(a) + exp(-a)))**3": lambda f, a: f.tanh(a) ** 3,
    "((exp(a) + exp(-a))/(exp(a) - exp(-a)))**2": lambda f, a: f.tanh(a) ** -2,
    "((exp(a) - exp(-a))/3)**2/((exp(a) + exp(-a))/2)**2": lambda f, a: f.tanh(a) ** 2 * 4 / 9,
}


@pytest.mark.parametrize("formula", NEAR_0)
def test_differences_of_exponentials_keep_their_digits_near_0(formula: str) -> None:
    """exp(a) - exp(-a) has 5 digits at 1e-11."""
    point = np.array([1e-11, -3e-6, 0.5])
    found, slopes = pointwise(lambda a: sp.sympify(formula, {"a": a}), point)
    with mpmath.workdps(40):
        for k, at in enumerate(map(mpmath.mpf, point)):
            slope = mpmath.diff(lambda a: NEAR_0[formula](mpmath, a), at, h=mpmath.mpf(10) ** -25)
            assert abs(found[k] / NEAR_0[formula](mpmath, at) - 1) <= 1e-15
            assert abs(slopes[k] / slope - 1) <= 1e-14


def test_the_real_part_that_sympy_takes_is_the_number_itself() -> None:
    """Of Abs(exp(asin(u))) it makes exp(re(asin(u)))."""
    found, _ = pointwise(lambda a: sp.Abs(sp.exp(sp.asin(a))), np.array([0.25]))
    assert found[0] == pytest.approx(math.exp(math.asin(0.25)), rel=1e-15)
