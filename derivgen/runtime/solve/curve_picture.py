"""The picture of a fitted curve: the data, the curve with its band, and the residuals."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from derivgen.errors import listed
from derivgen.runtime.pictures import SKY, VERMILION, check_picture, literal, plain, write_picture
from derivgen.runtime.predicting import mixed_inputs, predict, prediction_inputs
from derivgen.runtime.solve.objective import Objective
from derivgen.runtime.solve.observed import observed_inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
POINTS = 400  # of the curve
DATA, CURVE = SKY, VERMILION


class Fit(Protocol):
    """What the picture needs of a fitted curve."""

    @property
    def objective(self) -> Objective: ...
    @property
    def parameters(self) -> Array: ...
    @property
    def factor(self) -> Array: ...
    def band(self, data: Mapping[str, Array], level: float) -> tuple[Array, Array, Array]: ...


def draw_fit(path: Path, fit: Fit, x: str | None, y: str | None, level: float) -> None:
    """What `CurveFit.plot` draws."""
    check_picture(path)
    module, inputs = fit.objective.module, fit.objective.inputs
    taken, observed = prediction_inputs(module), {o.name: o for o in observed_inputs(fit.objective)}
    x = axis_input(fit, x, "x", taken)
    y = axis_input(fit, y, "y", [i.name for i in module.INPUTS if i.name not in taken], observed)
    predicted = np.asarray(predict(module, fit.parameters, inputs), np.float64)
    if predicted.shape != np.shape(inputs[x]):
        raise ValueError(f"plot: predict must give a value for each element of {x}, found shape {predicted.shape}")
    differentiated = hasattr(module, "jacobian_vector_product")
    if not differentiated:
        warnings.warn(
            'plot: no band is drawn, for which the module needs model.second_order("jacobian_vector_product") in the '
            "spec",
            RuntimeWarning,
            stacklevel=3,
        )
    banded = differentiated and bool(np.isfinite(fit.factor).all())
    own = has_own_rows(module, x)
    data, order = dict(inputs), np.argsort(inputs[x], kind="stable")
    free = is_free(module, x)
    if free:
        grid = np.linspace(inputs[x].min(), inputs[x].max(), POINTS)
        data, order = {**inputs, x: grid.astype(fit.parameters.dtype)}, np.arange(POINTS)
    band = fit.band(data, level) if banded else (predict(module, fit.parameters, data),) * 3
    lower, value, upper = (np.asarray(line)[order] for line in band)
    curve = Curve(np.asarray(data[x])[order], lower, value, upper, banded, level, free)
    sigma = observed[y].sigma if y in observed and observed[y].is_divided else None
    off = (inputs[y] - predicted) / (1.0 if sigma is None else sigma)

    def draw(figure: Figure) -> None:
        main, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        points: dict[str, Any] = {
            "color": DATA,
            "markersize": mark_size(inputs[x], 5),
            "markeredgewidth": 0,
            "linestyle": "none",
            "marker": "o",
        }
        main.plot(inputs[x], inputs[y], label="data" if sigma is None else "data ± sigma", **points)
        if sigma is not None:
            main.errorbar(inputs[x], inputs[y], sigma, fmt="none", ecolor=DATA, elinewidth=1)
        (draw_line if own else draw_points)(main, curve)
        below.axhline(0, color=CURVE, linewidth=1)
        below.plot(inputs[x], off, **points)
        largest = float(np.max(np.abs(off)))
        if np.isfinite(largest) and largest > 0:
            below.set_ylim(-1.15 * largest, 1.15 * largest)
        below.set_xlabel(literal(x))
        main.set_ylabel(literal(y))
        below.set_ylabel("data - fit" if sigma is None else "(data - fit) / sigma")
        for panel in (main, below):
            plain(panel)
        figure.align_ylabels()

    write_picture(path, (7, 5.2), draw)


class Curve(NamedTuple):
    """The fit at places along x, in its order."""

    x: Array
    lower: Array
    value: Array
    upper: Array
    banded: bool
    level: float
    free: bool  # whether it is known between the data too

    @property
    def label(self) -> str:
        return f"{100 * self.level:g} % band"


def draw_line(panel: Axes, curve: Curve) -> None:
    """The fit as a line, with the band around it; what is known at the data's rows alone is marked there."""
    marks: dict[str, Any] = {} if curve.free else {"marker": "o", "markersize": mark_size(curve.x, 3.5)}
    panel.plot(curve.x, curve.value, color=CURVE, linewidth=1.6, label="fit", **marks)
    if curve.banded:
        panel.fill_between(curve.x, curve.lower, curve.upper, color=CURVE, alpha=0.25, linewidth=0, label=curve.label)


def draw_points(panel: Axes, curve: Curve) -> None:
    """The fit as a point a row, with the band as a bar: between rows, where other inputs change too, there is none."""
    if curve.banded:
        panel.vlines(curve.x, curve.lower, curve.upper, color=CURVE, alpha=0.5, linewidth=1.6, label=curve.label)
    panel.plot(
        curve.x, curve.value, "_", color=CURVE, markersize=mark_size(curve.x, 9), markeredgewidth=1.6, label="fit"
    )


def mark_size(places: Array, largest: float) -> float:
    """The size of a mark at each of these places, smaller where they are many."""
    return float(np.clip(60 / np.sqrt(len(places)), 0.8, largest))


def is_free(module: ModuleType, x: str) -> bool:
    """Whether x may have other values than the data's: as many as one likes, and each row by itself."""
    (extent,) = next(i.shape for i in module.INPUTS if i.name == x)
    return isinstance(extent, str) and x not in mixed_inputs(module) and has_own_rows(module, x)


def has_own_rows(module: ModuleType, x: str) -> bool:
    """Whether x is the only input of `predict` that changes from row to row, so that its values say the others."""
    (extent,) = next(i.shape for i in module.INPUTS if i.name == x)
    taken = prediction_inputs(module)
    return not any(i.name in taken and i.name != x and extent in i.shape for i in module.INPUTS)


def axis_input(fit: Fit, name: str | None, axis: str, candidates: Collection[str], likely: Collection[str] = ()) -> str:
    """The input along an axis of the picture: of several candidates the likely one.

    Raises ValueError where none, or several, could be it.
    """
    fitting = [
        i.name for i in fit.objective.module.INPUTS if i.name in candidates and len(i.shape) == 1 and i.classes is None
    ]
    best = [other for other in fitting if other in likely]
    if name is None and len(best) == 1:
        return best[0]
    if name is None and len(fitting) != 1:
        found = f"any of {listed(fitting)}" if fitting else "none of the inputs"
        raise ValueError(f'plot: {axis} could be {found}: say which by {axis}="name"')
    if name is not None and name not in fitting:
        raise ValueError(f"plot: {axis} must be an input of one axis, one of {listed(fitting)}, found {name!r}")
    return name or fitting[0]
