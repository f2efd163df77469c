"""The picture of a fitted curve: the data, the curve, and its band."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from derivgen.errors import listed
from derivgen.runtime.pictures import check_picture, literal, plain, write_picture
from derivgen.runtime.predicting import predict, prediction_inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from derivgen.runtime.curves import CurveFit

Array = np.ndarray[Any, Any]
POINTS = 400  # of the curve
DATA, CURVE = "#56b4e9", "#d55e00"


def draw_fit(path: Path, fit: CurveFit, x: str | None, y: str | None, level: float) -> None:
    """What `CurveFit.plot` draws."""
    check_picture(path)
    taken = prediction_inputs(fit.objective.module)
    x = axis_input(fit, x, "x", taken)
    y = axis_input(fit, y, "y", [i.name for i in fit.objective.module.INPUTS if i.name not in taken])
    inputs = fit.objective.inputs
    grid = np.linspace(inputs[x].min(), inputs[x].max(), POINTS).astype(fit.parameters.dtype)
    data = {**{name: inputs[name] for name in taken}, x: grid}
    banded = hasattr(fit.objective.module, "jacobian_vector_product") and np.isfinite(fit.factor).all()
    if banded:
        lower, curve, upper = fit.band(data, level)
    else:
        lower = curve = upper = predict(fit.objective.module, fit.parameters, data)
    if np.shape(curve) != grid.shape:
        raise ValueError(f"plot: predict must give a value for each element of {x}, found shape {np.shape(curve)}")

    def draw(figure: Figure) -> None:
        panel = figure.subplots()
        size = float(np.clip(60 / np.sqrt(len(inputs[x])), 0.8, 5))
        panel.plot(inputs[x], inputs[y], "o", color=DATA, markersize=size, markeredgewidth=0, label="data")
        panel.plot(grid, curve, color=CURVE, linewidth=1.6, label="fit")
        if banded:
            label = f"{100 * level:g} % band"
            panel.fill_between(grid, lower, upper, color=CURVE, alpha=0.25, linewidth=0, label=label)
        panel.set_xlabel(literal(x))
        panel.set_ylabel(literal(y))
        plain(panel)

    write_picture(path, (7, 4.2), draw)


def axis_input(fit: CurveFit, name: str | None, axis: str, candidates: list[str]) -> str:
    """The input along an axis of the picture; ValueError where none, or several, could be it."""
    fitting = [
        i.name for i in fit.objective.module.INPUTS if i.name in candidates and len(i.shape) == 1 and i.classes is None
    ]
    if name is None and len(fitting) != 1:
        found = f"any of {listed(fitting)}" if fitting else "none of the inputs"
        raise ValueError(f'plot: {axis} could be {found}: say which by {axis}="name"')
    if name is not None and name not in fitting:
        raise ValueError(f"plot: {axis} must be an input of one axis, one of {listed(fitting)}, found {name!r}")
    return name or fitting[0]
