"""The runtime's methods on generated modules, compiled once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sympy import Sum, exp, log, tanh

from derivgen import Model, generate, runtime
from derivgen.errors import DerivgenError

ROWS = 40


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A small network with a penalty, in float64."""
    model = Model("small", dtype="float64")
    N = model.batch("N")
    D, H, C = model.sizes(D=3, H=4, C=3)
    n, d, h, c = model.indices(n=N, d=D, h=H, c=C)
    x, y = model.input("x", N, D), model.labels("y", N, classes=C)
    W1, b1 = model.parameter("W1", D, H, init="glorot_uniform"), model.parameter("b1", H)
    W2 = model.parameter("W2", H, C, init="glorot_uniform")
    a = model.let("a", (n, h), tanh(Sum(x[n, d] * W1[d, h], d) + b1[h]))
    z = model.let("z", (n, c), Sum(a[n, h] * W2[h, c], h))
    cross_entropy = Sum(log(Sum(exp(z[n, c]), c)) - z[n, y[n]], n) / N
    model.minimize(cross_entropy + (Sum(W1[d, h] ** 2, d, h) + Sum(W2[h, c] ** 2, h, c)) / 100)
    model.second_order(
        *("hessian", "hessian_vector_product", "gauss_newton_vector_product", "per_sample_gradients"),
    )
    return runtime.load(generate(model, tmp_path_factory.mktemp("module") / "small_kernels.py"))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 3))
    return {"x": x, "y": np.argmax(x @ rng.standard_normal((3, 3)), axis=1)}


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact"])
def test_second_derivatives_lead_to_a_minimum(classifier, data, method):
    """The gradient is 0 there, the Hessian positive, and a quasi-Newton search from the same start takes longer."""
    start = classifier.initial_parameters(1)
    options = {"xtol": 1e-10} if method == "Newton-CG" else {"gtol": 1e-6, "maxiter": 500}
    found = runtime.minimize(classifier, data, method=method, seed=1, options=options)
    loss, gradient = classifier.loss_and_gradient(found.parameters, **data)
    assert loss == found.fun
    assert np.abs(gradient).max() <= 1e-6
    assert np.linalg.eigvalsh(classifier.hessian(found.parameters, **data))[0] >= -1e-9
    quasi = scipy_minimize(
        lambda p: classifier.loss_and_gradient(p, **data), start, jac=True, method="BFGS", options={"gtol": 1e-8}
    )
    assert found.nit < quasi.nit


def test_other_curvatures_and_newtons_steps(classifier, data):
    convex = runtime.minimize(
        classifier, data, method="trust-ncg", products="gauss_newton", seed=1, options={"gtol": 1e-5, "maxiter": 500}
    )
    assert np.abs(convex.jac).max() <= 1e-5
    found = runtime.minimize(classifier, data, method="newton", parameters=convex.x)
    assert found.nit <= 6
    assert np.abs(found.jac).max() <= 1e-12


def test_natural_gradients_descend(classifier, data):
    start = classifier.initial_parameters(1)
    plain = classifier.loss(start, **data)
    found = runtime.minimize(
        classifier,
        data,
        method="natural_gradient",
        products="gauss_newton",
        seed=1,
        options={"damping": 1e-2, "maxiter": 1000},
    )
    assert found.fun < 0.5 * plain
    assert np.abs(found.jac).max() <= 1e-5


def test_curvature_gives_the_eigenvalues_of_the_hessian(classifier, data):
    parameters = classifier.initial_parameters(3)
    eigenvalues = np.linalg.eigvalsh(classifier.hessian(parameters, **data))
    report = runtime.curvature(classifier, data, parameters, k=2, smallest=1)
    assert np.allclose(report.largest, eigenvalues[::-1][:2], rtol=1e-9)
    assert np.allclose(report.smallest, eigenvalues[:1], rtol=1e-9)
    products = np.array(
        [classifier.gauss_newton_vector_product(parameters, e, **data) for e in np.eye(len(parameters))]
    )
    convex = runtime.curvature(classifier, data, parameters, k=1, smallest=1, products="gauss_newton")
    assert np.allclose(convex.largest, np.linalg.eigvalsh(products)[-1], rtol=1e-9)
    assert convex.smallest[0] >= -1e-12


def test_the_fishers_diagonal_is_the_mean_of_squares_in_parts_too(classifier, data):
    parameters = classifier.initial_parameters(3)
    rows = [
        classifier.loss_and_gradient(parameters, **{name: a[k : k + 1] for name, a in data.items()})[1]
        for k in range(ROWS)
    ]
    expected = np.mean(np.square(rows), axis=0)
    for batch_size in (None, 7):
        found = runtime.fisher_diagonal(classifier, data, parameters, batch_size=batch_size)
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-16)


def test_what_the_module_lacks_is_said(classifier, data):
    with pytest.raises(
        DerivgenError, match=r"the module has no residuals: state the objective by model\.least_squares"
    ):
        runtime.least_squares(classifier, data)
    with pytest.raises(TypeError, match="v: expected a numpy array of dtype float64, found float32"):
        classifier.hessian_vector_product(
            classifier.initial_parameters(), np.zeros(classifier.initial_parameters().size, np.float32), **data
        )
    with pytest.raises(ValueError, match=r"v: expected shape \(28,\), found \(3,\)"):
        classifier.hessian_vector_product(classifier.initial_parameters(), np.zeros(3), **data)


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-ncg", "newton", "natural_gradient"])
def test_a_start_that_is_not_finite_is_refused(classifier, data, method):
    spoilt = {**data, "x": np.where(data["x"] > 1, np.nan, data["x"])}
    with pytest.raises(DerivgenError, match="the objective is nan where the search starts"):
        runtime.minimize(classifier, spoilt, method=method)
