"""Curve fits of NIST's nonlinear regressions by the defaults, and searches that end elsewhere than at a minimum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from module_by_hand import module_of
from nist_problems import digits, problems
from scipy.optimize import OptimizeWarning

from derivgen import generate, runtime

PROBLEMS = problems()
# Evaluations from each start with MINPACK's defaults: 100 for each parameter, tolerances of 1e-8, and a first step of
# at most a hundred times the parameters. Bennett5 was stopped by the first of these.
MINPACK = """
    Bennett5 inf inf  BoxBOD 4 9  Chwirut1 10 6  Chwirut2 10 6  DanWood 6 5  Eckerle4 18 7  ENSO 21 19  Gauss1 5 6
    Gauss2 6 6  Gauss3 7 8  Hahn1 16 12  Kirby2 8 6  Lanczos1 83 9  Lanczos2 77 9  Lanczos3 132 9  MGH09 393 18
    MGH10 275 215  MGH17 452 18  Misra1a 20 5  Misra1b 20 6  Misra1c 7 5  Misra1d 8 4  Nelson 69 17  Rat42 10 6
    Rat43 26 7  Roszman1 5 4  Thurber 29 19
"""
BEFORE = {name: (float(one), float(two)) for name, one, two in zip(*[iter(MINPACK.split())] * 3, strict=True)}
# Residuals of 9e-14: where the data are rounded to double precision, their standard deviation has three digits.
ROUNDED = {"Lanczos1": 3}


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", PROBLEMS)
def test_certified_figures_by_the_defaults(name: str, start: int) -> None:
    problem = PROBLEMS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = runtime.fit_curve(problem.module(problem.starts[start]), problem.data)
    assert fit.success, fit.message
    assert digits(fit.parameters, problem.parameters) >= 6
    assert digits(fit.standard_errors["b"], problem.standard_errors) >= ROUNDED.get(name, 6)
    assert digits(fit.residual_deviation, np.array(problem.residual_deviation)) >= ROUNDED.get(name, 9)
    assert fit.evaluations <= BEFORE[name][start] + 30


@pytest.mark.parametrize("name", ["BoxBOD", "Roszman1"])
def test_certified_figures_of_generated_modules(name: str, tmp_path) -> None:
    problem = PROBLEMS[name]
    module = runtime.load(generate(problem.model(), tmp_path / f"{name.lower()}_kernels.py"))
    for start in problem.starts:
        fit = runtime.fit_curve(module, problem.data, parameters=start)
        assert fit.success
        assert digits(fit.parameters, problem.parameters) >= 6
        assert digits([*fit.standard_errors.values()], problem.standard_errors) >= 6


@pytest.mark.parametrize(
    ("name", "start", "method", "undetermined"),
    [
        ("BoxBOD", [1, 100], "levenberg_marquardt", ["b[1]"]),  # exp(-100·x) is 0 for each x
        ("BoxBOD", [1, 1], "lm", ["b[1]"]),  # there a step ends so
        ("BoxBOD", [1, 100], "trf", ["b[1]"]),
        ("Eckerle4", [1, 10, 850], "levenberg_marquardt", ["b[0]", "b[1]", "b[2]"]),  # a peak beside the data:
        ("Eckerle4", [0.3, 10, 768], "levenberg_marquardt", ["b[0]", "b[1]", "b[2]"]),  # slopes of 1e-142
        ("MGH17", [50, 150, -100, 10, 20], "levenberg_marquardt", ["b[3]", "b[4]"]),
        # Two of three exponentials become one, a saddle point.
        ("Lanczos3", [1.6, 0.5, 1.36, 1.35, 6.1, 2.2], "levenberg_marquardt", ["b[0]", "b[2]"]),
    ],
)
def test_a_plateau_is_no_success(name: str, start: list[float], method: str, undetermined: list[str]) -> None:
    problem = PROBLEMS[name]
    module = problem.module(start)
    with np.errstate(over="ignore"):
        result = runtime.least_squares(module, problem.data, method=method)
    assert not result.success and result.status == -3 and result.undetermined == undetermined
    assert "start elsewhere by parameters=..." in result.message
    with pytest.warns(OptimizeWarning) as warned, np.errstate(over="ignore"):
        fit = runtime.fit_curve(module, problem.data, method=method)
    assert len(warned) == 1
    assert f"did not converge: the residuals don't determine {', '.join(undetermined)}: " in str(warned[0].message)
    assert not fit.success and np.isinf(fit.standard_errors["b"]).all()
    assert f"not converged: {fit.message}" in fit.summary()


def michaelis_menten(start: Any) -> Any:
    """v = V·s / (K + s), for data that curve the other way: V and K grow without end."""
    s = np.linspace(0.1, 5, 40)
    v = 2 * s + 0.1 * s**2
    return module_of(
        {"V": (), "K": ()},
        [],
        start,
        residuals=lambda p: p[0] * s / (p[1] + s) - v,
        jacobian=lambda p: np.stack([s / (p[1] + s), -p[0] * s / (p[1] + s) ** 2], axis=1),
    )


def test_parameters_that_run_off_to_infinity_are_no_success() -> None:
    with pytest.warns(OptimizeWarning, match="stopped before a minimum.* the cost can still fall by .* %"):
        fit = runtime.fit_curve(michaelis_menten(np.array([5.0, 2.0])), {})
    assert not fit.success and fit.views["K"] > 1e6


def test_a_start_of_another_order_of_size_is_no_success() -> None:
    """1.8⁷⁴ is 1e19: the first step makes b₁ so small that b₂ has no slope in comparison with what it had."""
    problem = PROBLEMS["DanWood"]
    result = runtime.least_squares(problem.module([1, 74]), problem.data)
    assert not result.success and "stopped before a minimum" in result.message and not result.undetermined


def test_what_meets_a_loose_tolerance_is_a_success() -> None:
    problem = PROBLEMS["Thurber"]
    for loose in ({"ftol": 1e-3, "xtol": 0}, {"ftol": 0, "xtol": 1e-2}, {"gtol": 0.1}):
        result = runtime.least_squares(problem.module(problem.starts[0]), problem.data, **loose)
        assert result.success and result.nfev < 25, loose


def line(slopes: Any, start: Any = (0.0, 0.0)) -> Any:
    """r = slopes·p - 1"""
    matrix = np.asarray(slopes, float)
    start = np.asarray(start, float)
    return module_of({"p": (2,)}, [], start, residuals=lambda p: matrix @ p - 1, jacobian=lambda p: matrix)


def test_what_was_not_determined_from_the_start() -> None:
    """Parameters that add up leave the cost at its minimum; one without influence stays where it was."""
    sums = runtime.least_squares(line([[1, 1], [2, 2], [3, 3]]))
    assert sums.success and sums.undetermined == []
    with pytest.warns(OptimizeWarning, match=r"determine p\[0\], p\[1\]"):
        assert runtime.fit_curve(line([[1, 1], [2, 2], [3, 3]]), {}).success
    idle = runtime.least_squares(line([[1, 0], [2, 0], [3, 0]], (0.0, 7.0)))
    assert not idle.success and idle.undetermined == ["p[1]"]
    np.testing.assert_allclose(idle.x, [6 / 14, 7])


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_a_start_at_zero_reaches_data_of_any_size(size: float) -> None:
    x = np.linspace(0, 4, 200)
    y = size * (2.5 * np.exp(-1.3 * x) + 0.5 + 0.05 * np.random.default_rng(0).normal(size=200))
    module = module_of(
        {"a": (), "b": (), "c": ()},
        [],
        np.array([0.0, 1.0, 0.0]),
        residuals=lambda p: p[0] * np.exp(-p[1] * x) + p[2] - y,
        jacobian=lambda p: np.stack([np.exp(-p[1] * x), -p[0] * x * np.exp(-p[1] * x), np.ones(200)], axis=1),
    )
    result = runtime.least_squares(module)
    assert result.success and result.nfev <= 10
    np.testing.assert_allclose(result.x, [2.5 * size, 1.3, 0.5 * size], rtol=0.1)


def test_residuals_that_vanish_end_the_search() -> None:
    """p², whose Jacobian vanishes with it."""
    square = module_of({"p": ()}, [], [1.0], residuals=lambda p: p**2, jacobian=lambda p: np.array([[2 * p[0]]]))
    assert runtime.least_squares(square).success
