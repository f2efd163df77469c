"""What pictures of the gallery have in common: their size, their colors, and what several of them draw."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from derivgen import runtime

SIZE = (4.8, 3.0)  # inches: the style's letters are 11 px high on a card of 360 px
BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#4d4d4d"
SURPRISE = LinearSegmentedColormap.from_list("surprise", ["white", "#f6c48c", "#e0812f"])


def trained(run: ModuleType, module: ModuleType, data: Mapping[str, Any], **options: Any) -> runtime.Fit:
    """The training of an example by its own settings; options take their places."""
    own = {"epochs": run.EPOCHS, "batch_size": run.BATCH_SIZE}
    own |= {"learning_rate": run.LEARNING_RATE} if hasattr(run, "LEARNING_RATE") else {}
    return runtime.fit(module, data, **(own | options))


def grid(rows: int, columns: int, **options: Any) -> np.ndarray:
    return plt.subplots(rows, columns, figsize=SIZE, squeeze=False, **options)[1]


def plain(axes: plt.Axes) -> plt.Axes:
    """Axes without a frame."""
    axes.set_axis_off()
    return axes


def image(axes: plt.Axes, values: np.ndarray, **options: Any) -> Any:
    """Each value as a square with sharp edges: light is 0, dark is 1, unless options say otherwise."""
    return plain(axes).imshow(values, **({"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "none"} | options))


def weights(axes: plt.Axes, values: np.ndarray, largest: float) -> None:
    """Squares of the weights' sizes: blue is positive, orange negative."""
    for (row, column), value in np.ndenumerate(values):
        side = 0.92 * np.sqrt(abs(value) / largest)
        place = (column - side / 2, row - side / 2)
        axes.add_patch(plt.Rectangle(place, side, side, color=BLUE if value > 0 else ORANGE, linewidth=0))
    axes.set(xlim=(-0.6, values.shape[1] - 0.4), ylim=(values.shape[0] - 0.4, -0.6), aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def read_text(text: str, probabilities: np.ndarray, columns: int = 46, rows: int = 14) -> None:
    """A text, each character on a ground as dark as the model found it improbable."""
    ground, lines = np.zeros((rows, columns)), [""]
    for character, p in zip(text, probabilities, strict=True):
        if character == "\n" or len(lines[-1]) == columns:
            lines.append("")
        if len(lines) > rows:
            break
        if character != "\n":
            ground[len(lines) - 1, len(lines[-1])] = min(-np.log2(p), 8)
            lines[-1] += character
    axes = plain(plt.figure(figsize=SIZE, layout="none").add_axes((0.02, 0.02, 0.96, 0.96)))
    axes.imshow(ground, cmap=SURPRISE, interpolation="none", extent=(0, columns, rows, 0), aspect="auto")
    size = 72 * 0.96 * SIZE[0] / columns / 0.602  # the letters of DejaVu Sans Mono are 0.602 of their height wide
    for row, line in enumerate(lines[:rows]):
        axes.text(0, row + 0.52, line, family="DejaVu Sans Mono", size=size, va="center_baseline", parse_math=False)
