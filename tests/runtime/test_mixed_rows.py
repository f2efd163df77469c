"""Predictions whose rows depend on one another: found at generation; drawn and banded at the data's rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import execute, module_text
from matplotlib.figure import Figure
from scipy import stats
from sympy import Max, Piecewise, Sum, exp, sin

from derivgen import Model, layers, runtime
from derivgen.form.as_written import as_written
from derivgen.pipeline import declared_program, plan_module
from derivgen.runtime import predicting
from derivgen.runtime.data import rows
from derivgen.runtime.solve import curve_picture

pytestmark = pytest.mark.filterwarnings("ignore:overflow")  # of integers in kernels that are not compiled
STEP = 0.1
Drawn = list[np.ndarray]


def pendulum() -> Model:
    """θ'' = -k·sin θ from rest by leapfrog steps, one a row; the time itself is only shown."""
    model = Model("pendulum", dtype="float64")
    n = model.indices(n=(N := model.batch("N")))
    model.input("time", N)
    y = model.input("y", N)
    k, start = model.parameter("k", init=9.0), model.parameter("start", init=1.0)
    _, angle = model.recur(
        ["speed", "angle"],
        [n, n],
        lambda speed, angle: (
            speed[n - 1] - STEP * k * sin(angle[n - 1]),
            angle[n - 1] + STEP * speed[n],
        ),
        initial=[0, start],
    )
    model.least_squares(model.let("r", n, angle[n] - y[n]))
    model.predict(angle)
    model.second_order("jacobian_vector_product")
    return model


def swing(k: float, start: float, count: int) -> np.ndarray:
    """The same by hand."""
    angles, angle, speed = [], start, 0.0
    for _ in range(count):
        speed -= STEP * k * np.sin(angle)
        angle += STEP * speed
        angles.append(angle)
    return np.array(angles)


def centred() -> Model:
    """A line through the mean of the rows."""
    model = Model("centred", dtype="float64")
    n, m = model.indices(n=(N := model.batch("N")), m=N)
    x, y = model.input("x", N), model.input("y", N)
    slope, height = model.parameter("slope", init=1.0), model.parameter("height")
    f = model.let("f", n, slope * (x[n] - Sum(x[m], m) / N) + height)
    model.least_squares(model.let("r", n, f[n] - y[n]))
    model.predict(f)
    model.second_order("jacobian_vector_product")
    return model


def module_of(model: Model) -> Any:
    return execute(module_text(model))


@pytest.fixture(scope="module")
def swinging() -> tuple[Any, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    time = STEP * np.arange(1, 61)
    return module_of(pendulum()), {"time": time, "y": swing(8.5, 1.2, 60) + 0.02 * rng.normal(size=60)}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[runtime.CurveFit], Drawn]:
    """What `plot` draws, as arrays of points: the data, the curve, the outline of the band."""

    def lines(fit: runtime.CurveFit) -> Drawn:
        figure = Figure()
        monkeypatch.setattr(curve_picture, "write_picture", lambda path, size, draw: draw(figure))
        fit.plot(Path("picture.svg"))
        panel, _ = figure.axes
        outlines = [path.vertices for band in panel.collections for path in band.get_paths()]
        return [*(line.get_xydata() for line in panel.lines), *outlines]

    return lines


def test_a_recurrence_over_time_is_drawn_at_its_own_steps(swinging, drawn) -> None:
    module, data = swinging
    assert module.MIXED_AXES == ("N",)
    fit = runtime.fit_curve(module, data)
    _, curve, outline = drawn(fit)
    np.testing.assert_array_equal(curve[:, 0], data["time"])
    np.testing.assert_allclose(curve[:, 1], swing(*fit.parameters, 60), rtol=1e-9)
    assert set(outline[:, 0]) == set(data["time"])


def test_the_band_of_a_recurrence_is_that_of_the_data_s_rows(swinging) -> None:
    module, data = swinging
    fit = runtime.fit_curve(module, data)
    lower, middle, upper = fit.band(level=0.9)
    h = 1e-6
    J = (
        np.stack([swing(*(fit.parameters + d), 60) - swing(*(fit.parameters - d), 60) for d in h * np.eye(2)], 1)
        / 2
        / h
    )
    half = stats.t.ppf(0.95, 58) * np.sqrt(np.einsum("np,pq,nq->n", J, fit.covariance, J))
    np.testing.assert_allclose(middle, swing(*fit.parameters, 60), rtol=1e-9)
    np.testing.assert_allclose([middle - lower, upper - middle], [half, half], rtol=1e-5)
    np.testing.assert_array_equal(fit.band({"time": data["time"]}, level=0.9)[0], lower)
    for other in (np.linspace(0.1, 6, 400), data["time"] / 2):
        with pytest.raises(ValueError, match=r"depend on one another along N.* leave the data out"):
            fit.band({"time": other})


def test_a_mean_over_the_rows_is_that_of_the_data(drawn) -> None:
    module, rng = module_of(centred()), np.random.default_rng(1)
    x = rng.exponential(size=50)  # whose mean is not that of a grid, and in no order
    fit = runtime.fit_curve(module, {"x": x, "y": 3 * x + 0.1 * rng.normal(size=50)})
    points, curve, outline = drawn(fit)
    np.testing.assert_array_equal(points[:, 0], x)
    np.testing.assert_array_equal(curve[:, 0], np.sort(x))
    slope, height = fit.parameters
    np.testing.assert_allclose(curve[:, 1], slope * (np.sort(x) - x.mean()) + height, rtol=1e-9)
    lower, _, upper = fit.band()
    for line in (lower, upper):
        np.testing.assert_array_equal(np.isin(line, outline[:, 1]), True)


def test_rows_that_are_alone_are_drawn_on_a_grid(drawn) -> None:
    model = Model("line", dtype="float64")
    n = model.indices(n=(N := model.batch("N")))
    x, y, slope = model.input("x", N), model.input("y", N), model.parameter("slope")
    model.least_squares(model.let("r", n, slope * x[n] - y[n]))
    model.predict(model.let("f", n, slope * x[n]))
    module = module_of(model)
    assert not hasattr(module, "MIXED_AXES")
    fit = runtime.fit_curve(module, {"x": np.array([0.0, 1, 4]), "y": np.array([0.0, 2, 8])})
    with pytest.warns(RuntimeWarning, match="no band"):
        _, curve = drawn(fit)
    np.testing.assert_allclose(curve, np.stack([np.linspace(0, 4, 400), np.linspace(0, 8, 400)], 1), atol=1e-12)


def test_predictions_of_many_rows_are_not_taken_in_parts(swinging, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = swinging
    monkeypatch.setattr(rows, "CHUNK", 64)  # a few rows
    parameters = np.array([8.0, 1.0])
    found = predicting.predict(module, parameters, data)
    np.testing.assert_allclose(found, swing(8.0, 1.0, 60), rtol=1e-9)


# ---- what is found at generation


def rowwise(model: Model, N: Any, x: Any) -> Any:
    n, d, e = model.indices(n=N, d=3, e=3)
    W, kind = model.parameter("W", 3, 3), model.labels("kind", N, classes=3)
    a = model.let("a", (n, e), exp(Sum(x[n, d] * W[d, e], d)) + W[kind[n], e])
    return model.let("f", (n, e), Piecewise((a[n, e] / Sum(a[n, d], d), a[n, e] > 0), (Max(a[n, e], -1), True)))


def recurrence_in_a_row(model: Model, N: Any, x: Any) -> Any:
    n, t = model.indices(n=N, t=3)
    w = model.parameter("w")
    return model.recur("f", (n, t), lambda f: x[n, t] + w * f[n, t - 1])


def mean(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    centre = model.let("centre", d, Sum(x[n, d], n) / N)
    return model.let("f", (n, d), x[n, d] - centre[d])


def shift(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    return model.let("f", (n, d), x[n, d] + Piecewise((x[n - 1, d], n > 0), (0, True)))


def shift_in_a_condition(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    before = model.let("before", n, Piecewise((x[n - 1, 0], n > 0), (0, True)))
    return model.let("f", (n, d), Piecewise((x[n, d], before[n] > 0), (0, True)))


def number_of_the_row(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    return model.let("f", (n, d), x[n, d] + n)


def count_of_rows(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    return model.let("f", (n, d), x[n, d] / N)


def first_row(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    return model.let("f", (n, d), x[n, d] - x[0, d])


def all_pairs(model: Model, N: Any, x: Any) -> Any:
    n, m = model.indices(n=N, m=N)
    return model.let("f", (n, m), x[n, 0] * x[m, 1])


def total(model: Model, N: Any, x: Any) -> Any:
    n, d = model.indices(n=N, d=3)
    return model.let("f", (), Sum(x[n, d], n, d))


def batch_normalization(model: Model, N: Any, x: Any) -> Any:
    return layers.batch_norm(x, name="f")


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        (rowwise, ()),
        (recurrence_in_a_row, ()),
        (batch_normalization, ()),  # in evaluation, by its running statistics
        *((mixing, ("N",)) for mixing in (mean, shift, shift_in_a_condition, number_of_the_row, count_of_rows)),
        *((mixing, ("N",)) for mixing in (first_row, all_pairs, total)),
    ],
)
def test_rows_that_depend_on_others_are_found(prediction: Callable[..., Any], found: tuple[str, ...]) -> None:
    model = Model("rows")
    N = model.batch("N")
    x, v = model.input("x", N, 3), model.parameter("v")
    f = prediction(model, N, x)
    model.minimize(v**2)
    model.predict(f)
    with as_written():
        plan = plan_module(model, declared_program(model), "float64")
    assert plan.mixed_axes == found
