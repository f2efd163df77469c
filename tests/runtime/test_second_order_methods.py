"""Second-order methods and curve fitting on modules written by hand: SciPy, NumPy and published figures as oracles."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from module_by_hand import Input, module_of
from scipy import optimize, sparse, stats

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.runtime.solve.marquardt import levenberg_marquardt

# ---- curves


def decay(dtype: Any = np.float64, counts: Any = None, **others: Any) -> Any:
    """y = a·exp(-b·x) + c"""
    counts = {} if counts is None else counts

    def counted(name, value):
        counts[name] = counts.get(name, 0) + 1
        return value

    def predict(p, x):
        return p[0] * np.exp(-p[1] * x) + p[2]

    def columns(p, x):
        e = np.exp(-p[1] * x)
        return np.stack([e, -p[0] * x * e, np.ones_like(x)], axis=1)

    functions = {
        "predict": predict,
        "residuals": lambda p, x, y: counted("residuals", predict(p, x) - y),
        "jacobian": lambda p, x, y: counted("jacobian", columns(p, x)),
        "jacobian_vector_product": lambda p, v, x: columns(p, x) @ v,
    }
    shapes = {"a": (), "b": (), "c": ()}
    inputs = [Input("x", ("N",)), Input("y", ("N",))]
    return module_of(shapes, inputs, np.ones(3, dtype), **{**functions, **others})


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 4, 200)
    return {"x": x, "y": 2.5 * np.exp(-1.3 * x) + 0.5 + 0.05 * rng.normal(size=len(x))}


def curve(x, a, b, c):
    return a * np.exp(-b * x) + c


@pytest.mark.parametrize("method", ["levenberg_marquardt", "lm", "trf", "dogbox"])
@pytest.mark.parametrize("absolute", [False, True])
def test_estimates_and_errors_are_those_of_scipy_s_curve_fit(points, method, absolute):
    module = decay()
    fit = runtime.fit_curve(module, points, method=method, absolute_sigma=absolute, ftol=1e-14, xtol=1e-12)
    best, covariance = optimize.curve_fit(
        curve, points["x"], points["y"], np.ones(3), absolute_sigma=absolute, ftol=1e-14, xtol=1e-12
    )
    np.testing.assert_allclose(fit.parameters, best, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-5)
    J, r = module.jacobian(fit.parameters, **points), module.residuals(fit.parameters, **points)
    exact = np.linalg.inv(J.T @ J) * (1 if absolute else r @ r / (len(r) - 3))
    np.testing.assert_allclose([*fit.standard_errors.values()], np.sqrt(np.diag(exact)), rtol=1e-12)


def test_a_problem_of_nist_has_its_certified_figures():
    """Misra1a of the Statistical Reference Datasets, both of its starts."""
    y = "10.07 14.73 17.94 23.93 29.61 35.18 40.02 44.82 50.76 55.05 61.01 66.40 75.47 81.78"
    x = "77.6 114.9 141.1 190.8 239.9 289.0 332.8 378.4 434.8 477.3 536.8 593.1 689.1 760.0"
    data = {"x": np.array(x.split(), float), "y": np.array(y.split(), float)}

    def jacobian(p, x, y):
        return np.stack([-np.expm1(-p[1] * x), p[0] * x * np.exp(-p[1] * x)], axis=1)

    for start in ([500.0, 1e-4], [250.0, 5e-4]):
        module = module_of(
            {"b": (2,)},
            [Input("x", ("N",)), Input("y", ("N",))],
            start,
            residuals=lambda p, x, y: -p[0] * np.expm1(-p[1] * x) - y,
            jacobian=jacobian,
        )
        fit = runtime.fit_curve(module, data, ftol=1e-15, gtol=1e-13)
        # A cost in double precision tells parameters apart to half of its digits.
        np.testing.assert_allclose(fit.parameters, [2.3894212918e02, 5.5015643181e-04], rtol=1e-8)
        np.testing.assert_allclose(fit.standard_errors["b"], [2.7070075241e00, 7.2668688436e-06], rtol=1e-8)
        assert fit.residual_deviation == pytest.approx(1.0187876330e-01, rel=1e-9) and fit.degrees_of_freedom == 12


def test_intervals_and_band_are_student_s(points):
    fit = runtime.fit_curve(decay(), points)
    assert [*fit.standard_errors] == ["a", "b", "c"]
    lower, upper = fit.confidence_intervals(0.9)["b"]
    margin = stats.t.ppf(0.95, 197) * fit.standard_errors["b"]
    np.testing.assert_allclose([lower, upper], fit.parameters[1] + np.array([-margin, margin]), rtol=1e-12)
    x = np.array([0.0, 1.5, 9.0])
    J = np.stack(
        [np.exp(-fit.parameters[1] * x), -fit.parameters[0] * x * np.exp(-fit.parameters[1] * x), 1 + 0 * x], 1
    )
    variance = np.einsum("np,pq,nq->n", J, fit.covariance, J)
    for prediction in (False, True):
        half = stats.t.ppf(0.975, 197) * np.sqrt(variance + prediction * fit.residual_deviation**2)
        low, middle, high = fit.band({"x": x}, prediction=prediction)
        np.testing.assert_allclose(middle, curve(x, *fit.parameters), rtol=1e-14)
        np.testing.assert_allclose([middle - low, high - middle], [half, half], rtol=1e-10)
    assert "standard error" in fit.summary() and "197 degrees of freedom" in fit.summary()


def test_the_picture_is_the_same_bytes_each_time(points, tmp_path):
    fit = runtime.fit_curve(decay(), points)
    for name in ("one.svg", "two.svg"):
        fit.plot(tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(ValueError, match="one of x, found 't'"):
        fit.plot(tmp_path / "one.svg", x="t")
    with pytest.raises(DerivgenError, match="no kind of picture"):
        fit.plot(tmp_path / "one.gif")


def test_a_start_s_residuals_and_jacobian_are_evaluated_once(points):
    for method in ("levenberg_marquardt", "trf", "dogbox"):
        counts: dict[str, int] = {}
        result = runtime.least_squares(decay(counts=counts), points, method=method)
        assert counts == {"residuals": result.nfev, "jacobian": result.njev}, method


def test_the_path_is_minpack_s(points):
    module = decay()
    own = runtime.least_squares(module, points, ftol=1e-8)
    theirs = optimize.least_squares(
        lambda p: module.residuals(p, **points),
        np.ones(3),
        lambda p: module.jacobian(p, **points),
        method="lm",
        x_scale="jac",
    )
    np.testing.assert_array_equal(own.x, own.parameters)
    np.testing.assert_allclose(own.x, theirs.x, rtol=1e-10)
    assert own.nfev == theirs.nfev and own.cost == pytest.approx(theirs.cost, rel=1e-14)


def test_levenberg_marquardt_goes_on_where_the_jacobian_has_no_full_rank():
    """Powell's singular function, whose Jacobian loses half of its rank at the minimum, and one that never has it."""

    def powell(x):
        pieces = [x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2]
        return np.array(pieces)

    def derivative(x):
        third, fourth = 2 * (x[1] - 2 * x[2]), 2 * 10**0.5 * (x[0] - x[3])
        rows = [[1, 10, 0, 0], [0, 0, 5**0.5, -(5**0.5)], [0, third, -2 * third, 0], [fourth, 0, 0, -fourth]]
        return np.array(rows, float)

    start = np.array([3.0, -1, 0, 1])
    result = levenberg_marquardt(powell, derivative, start, (powell(start), derivative(start)), ftol=1e-15, gtol=1e-12)
    assert result.success and result.cost < 1e-20
    J = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    result = levenberg_marquardt(lambda x: J @ x - 1, lambda x: J, np.zeros(2), (-np.ones(3), J))
    np.testing.assert_allclose(result.x, np.linalg.lstsq(J, np.ones(3))[0], rtol=1e-7)


def test_bounds_by_name_and_losses_are_scipy_s(points):
    module = decay()
    spoiled = {**points, "y": points["y"].copy()}
    spoiled["y"][::20] += 5
    for data, loss in ((points, "linear"), (spoiled, "soft_l1")):
        own = runtime.least_squares(module, data, bounds={"b": (0, 1.1), "c": (0.2, np.inf)}, loss=loss, f_scale=0.1)
        theirs = optimize.least_squares(
            lambda p, data=data: module.residuals(p, **data),
            np.ones(3),
            lambda p, data=data: module.jacobian(p, **data),
            bounds=([-np.inf, 0, 0.2], [np.inf, 1.1, np.inf]),
            loss=loss,
            f_scale=0.1,
        )
        np.testing.assert_allclose(own.x, theirs.x, rtol=1e-9)
    assert abs(runtime.fit_curve(module, spoiled, loss="cauchy", f_scale=0.1).views["a"] - 2.5) < 0.1


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("bounds", "value"), [((0, 1.0), 1.0), ((1.6, 5), 1.6)])
def test_a_parameter_on_its_bound_is_told_of(points, bounds, value, scale):
    """In any unit of the parameters."""
    unit = np.array([1, scale, 1])
    module = decay(
        predict=lambda p, x: curve(x, *(p / unit)),
        residuals=lambda p, x, y: curve(x, *(p / unit)) - y,
        jacobian=lambda p, x, y: decay().jacobian(p / unit, x, y) / unit,
    )
    start, bounds = unit * [1, 1 if value == 1 else 2, 1], {"b": tuple(scale * end for end in bounds)}
    start[1] -= scale / 2 if value == 1 else 0
    with pytest.warns(optimize.OptimizeWarning, match=r"b lies on its bound.*widen the bounds") as warned:
        fit = runtime.fit_curve(module, points, parameters=start, bounds=bounds)
    assert warned[0].filename == __file__
    assert fit.views["b"] == pytest.approx(value * scale, rel=1e-6) and fit.at_bounds == ("b",)
    (marked,) = (line for line in fit.summary().splitlines() if "at its bound" in line)
    assert marked.startswith("b ")


def test_bounds_that_are_not_reached_are_no_matter(points):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = runtime.fit_curve(decay(), points, bounds={"b": (0, 5), "c": (-1, 1)})
    assert fit.at_bounds == () and "bound" not in fit.summary()


def test_a_sparse_jacobian_and_running_tensors(points):
    dense = decay()
    others = {"jacobian": lambda p, x, y: sparse.csr_array(np.hstack([dense.jacobian(p, x, y), np.zeros((len(x), 1))]))}
    functions = {name: getattr(dense, name) for name in ("residuals", "predict", "jacobian_vector_product")}
    shapes = {"a": (), "b": (), "c": (), "mean": ()}
    inputs = [Input("x", ("N",)), Input("y", ("N",))]
    module = module_of(shapes, inputs, [1.0, 1, 1, 7], ("mean",), **{**functions, **others})
    fit, wanted = runtime.fit_curve(module, points, ftol=1e-13), runtime.fit_curve(dense, points, ftol=1e-13)
    np.testing.assert_allclose(fit.parameters, [*wanted.parameters, 7], rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, wanted.covariance, rtol=1e-5)
    with pytest.raises(ValueError, match="lm does not support a sparse Jacobian"):
        runtime.least_squares(module, points, method="lm")


def test_single_precision_is_fitted_in_double(points):
    single = {name: array.astype(np.float32) for name, array in points.items()}
    fit = runtime.fit_curve(decay(np.float32), single)
    assert fit.parameters.dtype == np.float32 and fit.covariance.dtype == np.float64
    wanted = runtime.fit_curve(decay(), points)
    np.testing.assert_allclose(fit.parameters, wanted.parameters, rtol=1e-4)
    np.testing.assert_allclose(fit.covariance, wanted.covariance, rtol=1e-3)


def test_what_the_data_do_not_determine_is_named(points):
    def twice(p, x, y):
        return np.stack([np.exp(-p[1] * x), -p[0] * x * np.exp(-p[1] * x), 0 * x], axis=1)

    module = decay(jacobian=twice, residuals=lambda p, x, y: p[0] * np.exp(-p[1] * x) - y)
    with pytest.warns(optimize.OptimizeWarning, match="don't determine c"):
        fit = runtime.fit_curve(module, points)
    assert fit.undetermined == ("c",) and runtime.fit_curve(decay(), points).undetermined == ()
    assert np.isinf(fit.covariance).all() and np.isinf(fit.confidence_intervals()["a"]).all()
    with pytest.raises(DerivgenError, match="covariance is infinite"):
        fit.band(points)
    three = {name: array[::80] for name, array in points.items()}
    with pytest.warns(optimize.OptimizeWarning, match="3 residuals for 3 parameters"):
        assert np.isinf(runtime.fit_curve(decay(), three).standard_errors["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(runtime.fit_curve(decay(), three, absolute_sigma=True).standard_errors["a"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounds": {"beta": (0, 1)}}, r"bounds speak of beta, .*expected a, b, c"),
        ({"bounds": {"b": 3}}, r"bounds of b must be a pair"),
        ({"bounds": {"b": (0, [1.0, 2.0])}}, r"bounds of b must be numbers or of shape \(\), .*found shape \(2,\)"),
        ({"bounds": {"b": (2, 1)}}, r"bounds of b: the lower one must be below the upper"),
        ({"bounds": {"b": (2, 3)}}, r"bounds of b: the search starts at 1, outside 2 .. 3"),
        ({"method": "lm", "bounds": (0, 9)}, "lm does not support bounds"),
        ({"method": "levenberg_marquardt", "loss": "huber"}, 'does not support loss="huber"'),
        ({"method": "leven"}, "method must be one of levenberg_marquardt"),
        ({"method": "levenberg_marquardt", "gtoll": 0.1}, "did you mean gtol"),
        ({"parameters": np.array([1.0, np.nan, 1.0])}, "starts with nan at b"),
        ({"parameters": np.ones(4)}, "expected float64"),
        ({"parameters": {"bb": 1.0}}, r"parameters speak of bb, .*did you mean b\?.*expected a, b, c"),
        ({"parameters": {"b": [1.0, 2.0]}}, r"parameters of b must be numbers or of shape \(\).*found shape \(2,\)"),
        ({"p0": [1, 1, 1]}, r"least_squares has no p0: the start is parameters=\.\.\., or init= in the spec"),
        ({"x0": [1, 1, 1]}, "least_squares has no x0: the start is parameters="),
        ({"sigma": np.ones(200)}, "has no sigma: divide the residual by it in the spec.*absolute_sigma=True"),
        ({"xtoll": 1}, "least_squares has no xtoll; did you mean xtol"),
        ({"method": "trf", "qqq": 1}, "least_squares has no qqq; it has parameters, .* xtol"),
    ],
)
def test_what_least_squares_refuses(points, arguments, message):
    with pytest.raises((ValueError, TypeError, DerivgenError), match=message):
        runtime.least_squares(decay(), points, **arguments)


def test_fit_curve_names_itself(points):
    with pytest.raises(TypeError, match="fit_curve has no p0"):
        runtime.fit_curve(decay(), points, p0=[1, 1, 1])


def test_a_start_by_names_is_that_of_a_vector(points):
    start = np.array([1.0, 1.4, 1.0])
    wanted = runtime.least_squares(decay(), points, parameters=start)
    assert wanted.nfev != runtime.least_squares(decay(), points).nfev
    for parameters in ({"b": 1.4}, {"b": np.array(1.4)}, start.tolist()):
        result = runtime.least_squares(decay(), points, parameters=parameters)
        np.testing.assert_array_equal(result.x, wanted.x)
        assert result.nfev == wanted.nfev
    assert runtime.least_squares(decay(), points, parameters=[1, 2, 1]).success


def test_values_by_name_are_broadcast():
    """As of angles, one pair of bounds for each joint and all poses."""
    target = np.arange(6.0).reshape(3, 2)
    module = module_of(
        {"angle": (3, 2)},
        [],
        np.zeros(6),
        residuals=lambda p: p - target.ravel(),
        jacobian=lambda p: np.eye(6),
    )
    upper = np.array([1.5, 10.0])
    result = runtime.least_squares(module, parameters={"angle": [1.0, 2.0]}, bounds={"angle": (-1.0, upper)})
    np.testing.assert_allclose(result.views["angle"], np.minimum(target, upper), atol=1e-6)


def test_what_is_not_finite_is_named(points):
    spoiled = {**points, "y": points["y"].copy()}
    spoiled["y"][17] = np.nan
    with pytest.raises(DerivgenError, match=r"the input y holds nan at y\[17\]"):
        runtime.least_squares(decay(), spoiled)
    module = decay(residuals=lambda p, x, y: np.log(x - 0.01) - p[0])
    with (
        pytest.raises(DerivgenError, match=r"the residual r\[0\] is nan at the start \(1 such of 200\)"),
        np.errstate(invalid="ignore"),
    ):
        runtime.least_squares(module, points)
    module = decay(jacobian=lambda p, x, y: np.stack([x, x, x / np.where(x > 1, 1, 0)], 1))
    with (
        pytest.raises(DerivgenError, match=r"residual r\[0\] with respect to c is not finite"),
        np.errstate(all="ignore"),
    ):
        runtime.least_squares(module, points)


def test_what_a_module_lacks_is_said_with_the_call_that_adds_it(points):
    bare = module_of({"a": ()}, [], [1.0], loss_and_gradient=lambda p: (float(p[0] ** 2), 2 * p))
    for call, message in (
        (lambda: runtime.least_squares(bare), r"no residuals: .*model.least_squares\(r\)"),
        (lambda: runtime.curvature(bare, None, np.ones(1)), r'model.second_order\("hessian_vector_product"\)'),
        (lambda: runtime.minimize(bare, method="newton"), r'model.second_order\("hessian"\)'),
        (lambda: runtime.minimize(bare, method="trust-ncg"), r'model.second_order\("hessian_vector_product"\)'),
        (lambda: runtime.minimize(bare, method="trust-exact"), r'model.second_order\("hessian"\)'),
        (lambda: runtime.minimize(bare, method="Newton-CG", products="gauss_newton"), "gauss_newton_vector_product"),
        (lambda: runtime.minimize(bare, method="natural_gradient"), "per_sample_gradients"),
    ):
        with pytest.raises(DerivgenError, match=message):
            call()
    module = decay()
    del module.jacobian_vector_product
    with pytest.raises(DerivgenError, match=r'model.second_order\("jacobian_vector_product"\)'):
        runtime.fit_curve(module, points).band(points)


# ---- minimizers


def logistic(dtype: Any = np.float64) -> Any:
    """The mean of log(1 + exp(-y·x·w)) + c·w²/2 over the rows."""

    def parts(w, x, y):
        margin = y * (x @ w)
        s = 1 / (1 + np.exp(margin))
        return margin, s

    def loss_and_gradient(w, x, y, c):
        margin, s = parts(w, x, y)
        return float(np.mean(np.logaddexp(0, -margin)) + c * (w @ w) / 2), x.T @ (-y * s) / dtype(len(y)) + c * w

    def product(w, v, x, y, c):
        s = parts(w, x, y)[1]
        return x.T @ (s * (1 - s) * (x @ v)) / dtype(len(y)) + c * v

    size = 30
    return module_of(
        {"w": (size,)},
        [Input("x", ("N", size), str(np.dtype(dtype))), Input("y", ("N",)), Input("c", ())],
        np.zeros(size, dtype),
        loss_and_gradient=loss_and_gradient,
        mean_gradient=lambda w, order, batch_size, x, y, c: loss_and_gradient(w, x[order], y[order], c),
        hessian_vector_product=product,
        gauss_newton_vector_product=product,
        hessian=lambda w, x, y, c: np.stack([product(w, unit, x, y, c) for unit in np.eye(size, dtype=dtype)]),
        per_sample_gradients=lambda w, x, y, c: (-y * parts(w, x, y)[1])[:, None] * x + c * w,
    )


@pytest.fixture(scope="module")
def cancer():
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return {"x": (x - x.mean(0)) / x.std(0), "y": 2.0 * y - 1, "c": 1 / len(y)}


@pytest.fixture(scope="module")
def optimum(cancer):
    """scikit-learn's, polished by nothing of derivgen's."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, fit_intercept=False, solver="newton-cholesky", tol=1e-13, max_iter=100)
    return model.fit(cancer["x"], cancer["y"]).coef_[0]


def test_newton_reaches_the_optimum_of_a_logistic_regression(cancer, optimum):
    result = runtime.minimize(logistic(), cancer, method="newton")
    assert result.success and result.nit <= 12
    np.testing.assert_allclose(result.x, optimum, rtol=0, atol=1e-10)
    by_parts = runtime.minimize(logistic(), cancer, method="newton", batch_size=100)
    np.testing.assert_allclose(by_parts.x, optimum, rtol=0, atol=1e-10)
    single = {"x": cancer["x"].astype(np.float32), "y": cancer["y"].astype(np.float32), "c": np.float32(cancer["c"])}
    rounded = runtime.minimize(logistic(np.float32), single, method="newton")
    assert rounded.success and rounded.parameters.dtype == np.float32
    np.testing.assert_allclose(rounded.x, optimum, atol=1e-4)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr", "trust-exact", "dogleg"])
@pytest.mark.parametrize("batch_size", [None, 100])
def test_scipy_s_second_order_methods_get_the_module_s_second_derivatives(cancer, optimum, method, batch_size):
    module, calls = logistic(), []
    used, unused = ("hessian_vector_product", "hessian")[:: -1 if method in ("trust-exact", "dogleg") else 1]
    second = getattr(module, used)
    setattr(module, used, lambda *arguments, **inputs: calls.append(used) or second(*arguments, **inputs))
    delattr(module, unused)
    result = runtime.minimize(module, cancer, method=method, batch_size=batch_size, tol=1e-10)
    gradient = np.linalg.norm(module.loss_and_gradient(result.x, **cancer)[1])
    assert calls and gradient < 1e-6
    # The objective less c·w²/2 is convex, so that the gradient bounds the distance.
    assert np.linalg.norm(result.x - optimum) <= gradient / cancer["c"] + 1e-10


def test_newton_descends_from_where_the_hessian_is_not_positive_definite():
    """Himmelblau's function, from its maximum's surroundings."""

    def loss_and_gradient(p):
        u, v = p[0] ** 2 + p[1] - 11, p[0] + p[1] ** 2 - 7
        return float(u * u + v * v), np.array([4 * p[0] * u + 2 * v, 2 * u + 4 * p[1] * v])

    def hessian(p):
        cross = 4 * (p[0] + p[1])
        return np.array([[12 * p[0] ** 2 + 4 * p[1] - 42, cross], [cross, 12 * p[1] ** 2 + 4 * p[0] - 26]])

    module = module_of({"p": (2,)}, [], [-0.2, -0.9], loss_and_gradient=loss_and_gradient, hessian=hessian)
    assert np.linalg.eigvalsh(hessian(np.array([-0.2, -0.9]))).max() < 0
    result = runtime.minimize(module, method="newton")
    assert result.success and result.fun < 1e-20
    with pytest.raises(TypeError, match="newton has no option maxit; did you mean maxiter"):
        runtime.minimize(module, method="newton", options={"maxit": 3})
    with pytest.raises(ValueError, match="bounds: newton does not support them"):
        runtime.minimize(module, method="newton", bounds=[(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="products: l-bfgs-b does not use them"):
        runtime.minimize(module, products="gauss_newton")
    with pytest.raises(ValueError, match="hess: newton uses the module's: leave it out"):
        runtime.minimize(module, method="newton", hess=np.eye)
    with pytest.raises(ValueError, match="products: hessp is given too"):
        runtime.minimize(module, method="Newton-CG", hessp=np.dot, products="hessian")


@pytest.mark.parametrize("products", [None, "gauss_newton"])
def test_natural_gradients_reach_the_optimum(cancer, optimum, products):
    result = runtime.minimize(
        logistic(), cancer, method="natural_gradient", products=products, options={"gtol": 1e-7, "maxiter": 1000}
    )
    assert result.success and np.abs(result.x - optimum).max() < 1e-3
    module = logistic()
    whole = module.loss_and_gradient
    module.loss_and_gradient = lambda w, x, y, c: tuple(len(y) * part for part in whole(w, x, y, c))
    if products is None:
        with pytest.raises(ValueError, match="the objective is no mean over rows"):
            runtime.minimize(module, cancer, method="natural_gradient")


# ---- curvature


@pytest.mark.parametrize("size", [10, 200])
def test_eigenvalues_are_those_of_the_matrix(size):
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(size, size)))
    values = np.sort(np.append(rng.uniform(0.1, 5, size - 3), [40.0, 20.0, -3.0]))[::-1]
    matrix = (axes * values) @ axes.T
    module = module_of({"p": (size,)}, [], np.zeros(size), hessian_vector_product=lambda p, v: matrix @ v)
    report = runtime.curvature(module, None, np.zeros(size), k=3, smallest=1)
    np.testing.assert_allclose(report.largest, values[:3], rtol=1e-10)
    np.testing.assert_allclose(report.smallest, values[-1:], rtol=1e-10)
    assert report.negative and math.isinf(report.condition)
    assert report.largest_stable_rate == pytest.approx(0.05) and report.suggested_rate == pytest.approx(0.025)
    assert "seen: no minimum here" in str(report)
    again = runtime.curvature(module, None, np.zeros(size), k=3)
    assert again.largest.tobytes() == report.largest.tobytes() and "not looked for" in str(again)
    with pytest.raises(ValueError, match="k must be at least 1, found 0"):
        runtime.curvature(module, None, np.zeros(size), k=0)
    with pytest.raises(ValueError, match="products must be hessian or gauss_newton"):
        runtime.curvature(module, None, np.zeros(size), products="fisher")


def test_the_fisher_diagonal_is_the_mean_of_squares(cancer):
    module, w = logistic(), np.full(30, 0.1)
    wanted = np.mean(module.per_sample_gradients(w, **cancer) ** 2, axis=0)
    for batch_size in (None, 100):
        np.testing.assert_allclose(
            runtime.fisher_diagonal(module, cancer, w, batch_size=batch_size), wanted, rtol=1e-12
        )
