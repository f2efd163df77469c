"""Which input of a fitted curve holds the observations, and which errors they have, told by the residuals alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from module_by_hand import Input, module_of
from scipy import stats

from derivgen import runtime
from derivgen.runtime.solve import curve_picture
from derivgen.runtime.solve.objective import objective_of
from derivgen.runtime.solve.observed import observed_inputs

X = np.linspace(0.1, 4, 60)


def line(residuals: Callable[..., Any], *others: str, dtype: Any = np.float64) -> Any:
    """A line a·x + b, with residuals of the prediction f and these inputs beside x."""

    def predict(p, x):
        return p[0] * x + p[1]

    def of_inputs(p, x, **inputs):
        return residuals(predict(p, x), **inputs)

    def jacobian(p, x, **inputs):
        h = 1e-6
        columns = [(of_inputs(p + d, x, **inputs) - of_inputs(p - d, x, **inputs)) / (2 * h) for d in h * np.eye(2)]
        return np.stack(columns, 1)

    kind = str(np.dtype(dtype))
    return module_of(
        {"a": (), "b": ()},
        [Input(name, ("N",), kind) for name in ("x", *others)],
        np.ones(2, dtype),
        predict=predict,
        residuals=of_inputs,
        jacobian=jacobian,
        jacobian_vector_product=lambda p, v, x: v[0] * x + v[1],
    )


def points(dtype: Any = np.float64, **others: Any) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(2).normal(size=len(X))
    sigma = np.linspace(0.05, 0.3, len(X))
    data = {"x": X, "y": 2 * X + 1 + sigma * noise, "sigma": sigma, **others}
    return {name: np.asarray(array, dtype) for name, array in data.items()}


def weighted(dtype: Any = np.float64) -> Any:
    return line(lambda f, y, sigma: (f - y) / sigma, "y", "sigma", dtype=dtype)


def shuffled(f, y, sigma):
    return ((f - y) / sigma)[::-1]


def with_a_prior(f, y, sigma):
    return np.append((f[0] - 3) / 2, (y - f) / sigma)


@pytest.mark.parametrize("residuals", [lambda f, y, sigma: (f - y) / sigma, with_a_prior])
def test_the_input_that_is_subtracted_holds_the_observations(residuals):
    data = points()
    (observed,) = observed_inputs(objective_of(line(residuals, "y", "sigma"), data, None))
    assert observed.name == "y" and observed.is_divided
    np.testing.assert_allclose(observed.sigma, data["sigma"], rtol=1e-9)


def test_single_precision_tells_the_same():
    data = points(np.float32)
    (observed,) = observed_inputs(objective_of(weighted(np.float32), data, None))
    np.testing.assert_allclose(observed.sigma, data["sigma"], rtol=1e-4)


@pytest.mark.parametrize(
    "residuals", [lambda f, y, sigma: (np.log(f) - np.log(y)) / sigma, shuffled, lambda f, y, sigma: np.cumsum(f - y)]
)
def test_residuals_of_another_form_have_no_error_of_each_observation(residuals):
    (observed,) = observed_inputs(objective_of(line(residuals, "y", "sigma"), points(), None))
    assert observed.name == "y" and observed.sigma is None and not observed.is_plain


@pytest.mark.parametrize("residuals", [lambda f, y, sigma: f / sigma - y, lambda f, y, sigma: f - y - sigma])
def test_an_input_that_is_not_what_predict_gives_is_none(residuals):
    assert observed_inputs(objective_of(line(residuals, "y", "sigma"), points(), None)) == []


def test_residuals_that_are_not_divided_are_plain():
    data = points()
    del data["sigma"]
    (observed,) = observed_inputs(objective_of(line(lambda f, y: f - y, "y"), data, None))
    assert observed.is_plain and not observed.is_divided


# ---- bands of new observations


def test_a_band_of_new_observations_needs_their_sigma_where_residuals_are_divided():
    data = points()
    fit = runtime.fit_curve(weighted(), data)
    with pytest.raises(ValueError, match="the error of a new observation is not known: give it as sigma"):
        fit.band({"x": X}, prediction=True)
    lower, middle, upper = fit.band({"x": X}, prediction=True, sigma=0.1)
    curve = (fit.band({"x": X})[2] - middle) / stats.t.ppf(0.975, 58)
    half = stats.t.ppf(0.975, 58) * np.sqrt(curve**2 + (0.1 * fit.residual_deviation) ** 2)
    np.testing.assert_allclose([middle - lower, upper - middle], [half, half], rtol=1e-9)


# ---- pictures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def axes(fit: runtime.CurveFit, **arguments: Any) -> Any:
        figure = Figure()
        monkeypatch.setattr(curve_picture, "write_picture", lambda path, size, draw: draw(figure))
        fit.plot(Path("picture.svg"), **arguments)
        return figure.axes

    return axes


def test_the_picture_of_weighted_residuals_has_error_bars(drawn):
    data = points()
    fit = runtime.fit_curve(weighted(), data)
    main, below = drawn(fit)
    assert main.get_ylabel() == "y" and below.get_ylabel() == "(data - fit) / sigma"
    bars = next(c for c in main.collections if len(c.get_segments() if hasattr(c, "get_segments") else []) == len(X))
    ends = np.array(bars.get_segments())[:, :, 1]
    np.testing.assert_allclose(ends, np.stack([data["y"] - data["sigma"], data["y"] + data["sigma"]], 1), rtol=1e-9)
    np.testing.assert_allclose(below.lines[1].get_ydata(), -fit.objective.module.residuals(fit.parameters, **data))


def test_the_picture_of_plain_residuals_has_no_error_bars(drawn):
    data = points()
    del data["sigma"]
    main, below = drawn(runtime.fit_curve(line(lambda f, y: f - y, "y"), data))
    assert below.get_ylabel() == "data - fit" and not any(hasattr(c, "get_segments") for c in main.collections)


def test_what_could_be_either_is_asked_for(drawn):
    module = line(lambda f, y, z: np.append(f - y, f - z), "y", "z")
    data = points(z=2 * X + 1.1)
    del data["sigma"]
    fit = runtime.fit_curve(module, data)
    with pytest.raises(ValueError, match="y could be any of y, z: say which"):
        drawn(fit)
    assert drawn(fit, y="z")[0].get_ylabel() == "z"


def test_a_picture_without_a_band_says_what_the_spec_lacks(drawn):
    module = weighted()
    del module.jacobian_vector_product
    fit = runtime.fit_curve(module, points())
    with pytest.warns(RuntimeWarning, match=r'no band is drawn.*second_order\("jacobian_vector_product"\)') as warned:
        drawn(fit)
    assert warned[0].filename == __file__
