"""Mistakes in a curve fit, by its data and its calls: what was found, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from module_by_hand import Input, module_of
from scipy.optimize import OptimizeWarning

from derivgen import runtime
from derivgen.errors import DerivgenError

T = np.arange(6.0)
Y = np.array([1.0, 3.2, 4.9, 7.1, 9.0, 10.8])


def line(divided: Callable[[Any, Any], Any], start: Any = (1.0, 1.0)) -> Any:
    """A line a·t + b, with residuals of its difference to y and of sigma."""

    def residuals(p: Any, t: Any, y: Any, sigma: Any) -> Any:
        with np.errstate(all="ignore"):
            return divided(p[0] * t + p[1] - y, sigma)

    def jacobian(p: Any, t: Any, y: Any, sigma: Any) -> Any:
        h = 1e-6
        ends = ((residuals(p + d, t, y, sigma), residuals(p - d, t, y, sigma)) for d in h * np.eye(2))
        return np.stack([(up - down) / (2 * h) for up, down in ends], 1)

    inputs = [Input(name, ("N",)) for name in ("t", "y", "sigma")]
    return module_of({"a": (), "b": ()}, inputs, np.array(start), residuals=residuals, jacobian=jacobian)


QUOTIENT = line(lambda r, sigma: r / sigma)


def points(count: int = 6, **others: Any) -> dict[str, Any]:
    return {"t": T[:count], "y": Y[:count], "sigma": np.ones(count), **others}


@pytest.mark.parametrize(
    ("module", "sigma", "found"),
    [
        (QUOTIENT, [1, 1, 0, 1, 1, 1], r"r\[2\] is -?inf at the start \(1 such of 6\), because sigma\[2\] is 0 in the"),
        (line(lambda r, sigma: r / sigma[::-1]), [0, 1, 1, 1, 1, 1], r"r\[5\] .* because sigma\[0\] is 0 in the data"),
        (line(lambda r, sigma: r * np.log(sigma)), [1, -3, 1, 1, 1, 1], r"r\[1\] .* because sigma\[1\] is -3 in the"),
        (line(lambda r, sigma: r + 0 / (sigma[:1] - 1)), [1, 1, 1, 1, 1, 1], "where inputs and parameters are finite"),
    ],
)
def test_a_residual_that_is_not_finite_names_the_number_by_which_it_is(module: Any, sigma: Any, found: str) -> None:
    with pytest.raises(DerivgenError, match=found):
        runtime.fit_curve(module, points(sigma=sigma))


@pytest.mark.parametrize("function", [runtime.fit_curve, runtime.least_squares, runtime.fit])
def test_arrays_one_after_another_are_told_to_be_a_mapping(function: Any) -> None:
    written = (
        f'write {function.__name__}\\(module, {{"t": t, "y": y, "sigma": sigma}}\\), found 2 arguments by position'
    )
    with pytest.raises(TypeError, match=written):
        function(QUOTIENT, T, Y)


@pytest.mark.parametrize("absolute_sigma", [False, True])
def test_fewer_residuals_than_parameters_are_told(absolute_sigma: bool) -> None:
    with pytest.warns(OptimizeWarning, match="1 residual cannot determine 2 parameters: give more data"):
        fit = runtime.fit_curve(QUOTIENT, points(1), absolute_sigma=absolute_sigma)
    assert "1 residual for 2 parameters: no standard deviation" in fit.summary()
    assert "degrees of freedom" not in fit.summary()


def test_as_many_residuals_as_parameters_are_told() -> None:
    with pytest.warns(OptimizeWarning, match="2 residuals for 2 parameters leave no estimate of their error"):
        fit = runtime.fit_curve(QUOTIENT, points(2))
    assert "2 residuals for 2 parameters: no standard deviation" in fit.summary()


def test_the_text_of_a_fit_has_its_parameters_with_their_errors() -> None:
    fit = runtime.fit_curve(QUOTIENT, points())
    assert repr(fit) == "CurveFit(a 1.96 ± 0.0321, b 1.1 ± 0.0971; residual standard deviation 0.134)"


def test_the_text_of_a_fit_of_many_parameters_has_the_first() -> None:
    def residuals(p: Any, y: Any) -> Any:
        return np.concatenate([p - y, p - 2])

    module = module_of(
        {"W": (2, 4)},
        [Input("y", (8,))],
        np.ones(8),
        residuals=residuals,
        jacobian=lambda p, y: np.tile(np.eye(8), (2, 1)),
    )
    text = repr(runtime.fit_curve(module, {"y": np.arange(8.0)}))
    assert text.startswith("CurveFit(W[0, 0] 1 ± ") and "W[1, 1] 3.5 ± " in text and ", 2 more; residual" in text
