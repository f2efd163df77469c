"""The loss and the metrics of a module on a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.data.given import Data, named_inputs
from derivgen.runtime.data.rows import Feed, check_complete, count_rows, sample_inputs
from derivgen.runtime.nonfinite import bad_input, bad_tensor
from derivgen.runtime.predicting import mixes_rows
from derivgen.runtime.train.evaluation import metrics_of
from derivgen.runtime.train.metrics import Metrics

Array = np.ndarray[Any, Any]


def evaluate(
    module: ModuleType,
    parameters: Array,
    data: Data,
    metrics: Metrics = (),
    target: str | None = None,
) -> dict[str, float]:
    """The loss over all the data under "loss", then each metric under its name.

    The loss is that of the module's `loss`: it is computed in evaluation mode (dropout off, running statistics).

    - `parameters`: flat, shape (P,); `data`: the inputs by name, or a frame of their columns, as for `fit`.
    - `metrics`, `target`: as for `fit`; the metrics are computed from the predictions of all rows.

    Raises ValueError or TypeError if the data or the metrics do not fit the module, and DerivgenError, with the place,
    if the loss is not finite.
    """
    data = named_inputs(module, data)
    check_complete(module, data)
    rows = np.arange(count_rows(module, data)) if sample_inputs(module) else None
    measure = metrics_of(module, metrics, target) if metrics else None
    feed = Feed(module, data)
    loss = float(module.loss(parameters, **feed.data))
    if not math.isfinite(loss):
        raise DerivgenError(f"the loss is {loss}: {why_not_finite(module, parameters, feed.data)}")
    if measure is None:
        return {"loss": loss}
    # A part of the rows has another prediction where rows depend on one another.
    whole = rows is None or mixes_rows(module)
    return {"loss": loss, **measure(parameters, feed, None if whole else rows)}


def why_not_finite(module: ModuleType, parameters: Array, data: Mapping[str, Array]) -> str:
    """Where a loss that is not finite comes from, in words."""
    if found := bad_input(module, data, None):
        name, where, count = found
        return f"{where} ({count} such): clean the data, or leave out those rows"
    if bad := bad_tensor(module, parameters):
        name, value, where = bad
        return f"the parameter {name} holds {value} at {where}: train again, or give other parameters"
    return "inputs and parameters are finite, so a function in the model left its range (log of 0, exp of much)"
