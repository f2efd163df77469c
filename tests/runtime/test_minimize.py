"""SciPy's minimizers on generated modules, and the rules that converge on a convex problem."""

from __future__ import annotations

import convergence
import numpy as np
import pytest
from scipy.optimize import _minimize as scipy_minimizers

from derivgen import generate, optimizers, runtime, schedules
from derivgen.runtime.solve import minimizing


@pytest.fixture(scope="module")
def problem():
    return convergence.problem()


@pytest.fixture(scope="module")
def module(tmp_path_factory, problem):
    """Robbins-Monro's rates, one sample a step."""
    folder = tmp_path_factory.mktemp("convex")
    return convergence.load(convergence.RULES["Robbins-Monro"], problem[0]["x"].shape[1], folder)


def test_scipy_reaches_scikit_learn_s_optimum(module, problem):
    data, best = problem
    result = runtime.minimize(module, data, options={"ftol": 1e-15, "gtol": 1e-9})
    assert result.success and result.fun == pytest.approx(module.loss(best, **data), rel=1e-12)
    np.testing.assert_allclose(result.views["w"], best, atol=1e-5)
    by_parts = runtime.minimize(module, data, batch_size=100, options={"ftol": 1e-15, "gtol": 1e-9})
    np.testing.assert_allclose(by_parts.parameters, result.parameters, atol=1e-6)
    bounded = runtime.minimize(module, data, bounds=[(-0.1, 0.1)] * len(best))
    assert np.abs(bounded.x).max() <= 0.1 and bounded.fun > result.fun


def test_single_precision_is_told_to_scipy_in_double(tmp_path):
    model = convergence.logistic(optimizers.gradient_descent(), 2)
    single = runtime.load(generate(model, tmp_path / "single_kernels.py", dtype="float32"))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(30, 2)).astype(np.float32), "y": np.sign(rng.normal(size=30)).astype(np.float32)}
    result = runtime.minimize(single, data, method="BFGS")
    assert (result.x.dtype, result.parameters.dtype) == (np.float64, np.float32)
    gradient = single.loss_and_gradient(result.parameters, **data)[1]
    assert np.abs(gradient).max() < 1e-4
    doubled = runtime.minimize(single, {**data, "x": data["x"].astype(float)}, method="BFGS")
    assert doubled.x.tobytes() == result.x.tobytes()
    with pytest.raises(TypeError, match=r"x: expected dtype float32, found bool: convert it by x\.astype"):
        runtime.minimize(single, {**data, "x": data["x"] > 0})
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        runtime.minimize(single, data, batch_size=0)
    with pytest.raises(ValueError, match="shape"):
        runtime.minimize(single, data, parameters=np.zeros(3, np.float32))


def test_robbins_monro_converges(module, problem):
    """The regret of the first 64 passes grows as log T: each fourfold of the steps adds about the same."""
    data, best = problem
    regrets, above = convergence.regrets(module, data, best, epochs=64)
    assert above < 1e-6
    first, second = regrets[15] - regrets[3], regrets[63] - regrets[15]
    assert 0 < second < 1.2 * first


def test_adagrad_converges(problem, tmp_path):
    """The regret grows as √T at most: a fourfold of the steps doubles it at most."""
    data, best = problem
    module = convergence.load(convergence.RULES["AdaGrad"], data["x"].shape[1], tmp_path)
    regrets, above = convergence.regrets(module, data, best, epochs=64)
    assert above < 2e-4
    for early, late in ((3, 15), (15, 63)):
        assert regrets[late] < 2 * regrets[early]


def test_a_constant_rate_does_not_converge(problem, tmp_path):
    """What the tests above would see of rates that are not Robbins and Monro's."""
    data, best = problem
    rule = optimizers.gradient_descent(schedules.constant(0.1))
    regrets, above = convergence.regrets(convergence.load(rule, data["x"].shape[1], tmp_path), data, best, epochs=64)
    assert above > 1e-5
    assert regrets[63] - regrets[15] > 2 * (regrets[15] - regrets[3])


@pytest.mark.parametrize(
    ("method", "near"),
    [("lbfgs", "L-BFGS-B"), ("newton_cg", "Newton-CG"), ("Newton", "newton"), ("natural", "natural_")],
)
def test_a_method_that_is_unknown_is_named_with_those_that_there_are(method, near):
    with pytest.raises(ValueError, match=f"no method '{method}'; did you mean {near}.*\\? there are newton, .*, SLSQP"):
        runtime.minimize(None, method=method)


def test_all_of_scipys_methods_are_known():
    assert {method.lower() for method in minimizing.METHODS} >= {*scipy_minimizers.MINIMIZE_METHODS}
