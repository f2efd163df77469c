"""Which input holds the observations of what `predict` gives, and by which errors the residuals divide them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivgen.runtime.predicting import predict, prediction_inputs
from derivgen.runtime.solve.objective import Objective, needed

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """An input y with which the residuals are 0 where it equals the prediction.

    `sigma` has y's shape, float64, where the residuals are ±(prediction - y) / sigma, one for each element; it is None
    where they have another form, as log f - log y.
    """

    name: str
    sigma: Array | None
    tolerance: float

    @property
    def is_divided(self) -> bool:
        """Whether there is a sigma that is not 1 everywhere."""
        return self.sigma is not None and not np.allclose(self.sigma, 1, rtol=self.tolerance)

    @property
    def is_plain(self) -> bool:
        """Whether the residuals are ±(prediction - y)."""
        return self.sigma is not None and not self.is_divided


def observed_inputs(objective: Objective) -> list[Observed]:
    """The inputs that hold observations of the prediction, found by the residuals at the objective's start.

    An input that `predict` does not take, of the prediction's shape, is one if the residuals that depend on it are 0 to
    rounding with the prediction in its place. A sigma or a weight in that place leaves them as large as they are.
    """
    module, inputs = objective.module, objective.inputs
    taken = prediction_inputs(module)
    predicted = np.asarray(predict(module, objective.start, inputs), np.float64)
    if not predicted.any():  # then 0 in the place of a weight would make all residuals 0
        return []
    shaped = [i for i in module.INPUTS if i.name not in taken and np.shape(inputs[i.name]) == predicted.shape]
    found = (as_observed(objective, i.name, predicted) for i in shaped if np.dtype(i.dtype).kind == "f")
    return [observed for observed in found if observed is not None]


def as_observed(objective: Objective, name: str, predicted: Array) -> Observed | None:
    """The input as one that holds observations, if it does."""
    residuals, keywords = needed(objective.module, "residuals"), {**objective.inputs, **objective.draws}
    real, step = objective.module.real, float(np.max(np.abs(predicted)))
    tolerance = math.sqrt(float(np.finfo(real).eps))

    def at(shift: Any) -> Array:
        with np.errstate(all="ignore"):
            given = np.ascontiguousarray(predicted + shift, real)
            return np.asarray(residuals(objective.start, **{**keywords, name: given}), np.float64)

    none, up, down = at(0.0), at(step), at(-step)
    own = np.flatnonzero(none != up)
    none, up, down = none[own], up[own], down[own]
    allowed = tolerance * np.abs(up)
    if not own.size or not (np.abs(none) <= allowed).all():
        return None
    # Each residual is its element's alone if a shift of some elements changes just theirs.
    some = np.random.default_rng(0).integers(0, 2, predicted.shape).astype(bool)
    if len(own) != predicted.size or not (np.abs(up + down) <= 4 * allowed).all():
        return Observed(name, None, tolerance)
    if not (np.abs(at(step * some)[own] - np.where(some.ravel(), up, none)) <= allowed).all():
        return Observed(name, None, tolerance)
    return Observed(name, step / np.abs(up - none).reshape(predicted.shape), tolerance)
