"""The picture of a fitted curve: the data, the curve, and its band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from derivgen.errors import listed
from derivgen.runtime.pictures import check_picture, literal, plain, write_picture
from derivgen.runtime.predicting import mixed_inputs, predict, prediction_inputs
from derivgen.runtime.solve.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
POINTS = 400  # of the curve
DATA, CURVE = "#56b4e9", "#d55e00"


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
    taken = prediction_inputs(fit.objective.module)
    x = axis_input(fit, x, "x", taken)
    y = axis_input(fit, y, "y", [i.name for i in fit.objective.module.INPUTS if i.name not in taken])
    inputs = fit.objective.inputs
    data, order = dict(inputs), np.argsort(inputs[x], kind="stable")
    if is_free(fit.objective.module, x):
        grid = np.linspace(inputs[x].min(), inputs[x].max(), POINTS)
        data, order = {**inputs, x: grid.astype(fit.parameters.dtype)}, np.arange(POINTS)
    at = data[x][order]
    banded = hasattr(fit.objective.module, "jacobian_vector_product") and np.isfinite(fit.factor).all()
    band = fit.band(data, level) if banded else (predict(fit.objective.module, fit.parameters, data),) * 3
    if np.shape(band[0]) != at.shape:
        raise ValueError(f"plot: predict must give a value for each element of {x}, found shape {np.shape(band[0])}")
    lower, curve, upper = (line[order] for line in band)

    def draw(figure: Figure) -> None:
        panel = figure.subplots()
        size = float(np.clip(60 / np.sqrt(len(inputs[x])), 0.8, 5))
        panel.plot(inputs[x], inputs[y], "o", color=DATA, markersize=size, markeredgewidth=0, label="data")
        panel.plot(at, curve, color=CURVE, linewidth=1.6, label="fit")
        if banded:
            label = f"{100 * level:g} % band"
            panel.fill_between(at, lower, upper, color=CURVE, alpha=0.25, linewidth=0, label=label)
        panel.set_xlabel(literal(x))
        panel.set_ylabel(literal(y))
        plain(panel)

    write_picture(path, (7, 4.2), draw)


def is_free(module: ModuleType, x: str) -> bool:
    """Whether x may have other values than the data's: as many as one likes, and each row by itself."""
    (extent,) = next(i.shape for i in module.INPUTS if i.name == x)
    return isinstance(extent, str) and x not in mixed_inputs(module)


def axis_input(fit: Fit, name: str | None, axis: str, candidates: list[str]) -> str:
    """The input along an axis of the picture. Raises ValueError where none, or several, could be it."""
    fitting = [
        i.name for i in fit.objective.module.INPUTS if i.name in candidates and len(i.shape) == 1 and i.classes is None
    ]
    if name is None and len(fitting) != 1:
        found = f"any of {listed(fitting)}" if fitting else "none of the inputs"
        raise ValueError(f'plot: {axis} could be {found}: say which by {axis}="name"')
    if name is not None and name not in fitting:
        raise ValueError(f"plot: {axis} must be an input of one axis, one of {listed(fitting)}, found {name!r}")
    return name or fitting[0]
