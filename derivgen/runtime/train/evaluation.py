"""The validation loss and the metrics of a training, of parts of the rows that fit into memory."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.data.rows import Feed, draws_of, sample_inputs
from derivgen.runtime.train.metrics import Metrics, evaluate_metrics, prediction_of, resolve_metrics, target_of

Array = np.ndarray[Any, Any]
COMPARED = 256  # rows whose losses before and after a training are compared


class ValidationError(Exception):
    """A validation loss that is not finite: of which inputs, and which of the data's rows they are."""

    def __init__(self, loss: float, inputs: dict[str, Array], rows: Array | None) -> None:
        super().__init__(f"validation loss {loss}")
        self.loss, self.inputs, self.rows = loss, inputs, rows


def validation_loss(module: ModuleType, parameters: Array, feed: Feed, rows: Array | None) -> float:
    """The loss of these rows, the mean of its parts weighted by rows; that of all the data where rows is None."""
    losses, counts = [], []
    parts = [(None, feed.data)] if rows is None else feed.parts(rows)
    for k, (part, inputs) in enumerate(parts):
        loss = float(module.loss(parameters, **inputs, **draws_of(module.loss, k)))
        if not math.isfinite(loss):
            raise ValidationError(loss, inputs, part)
        losses.append(loss)
        counts.append(1 if part is None else len(part))
    return losses[0] if len(losses) == 1 else float(np.average(losses, weights=counts))


def rise(module: ModuleType, before: Array, after: Array, feed: Feed, rows: Array | None) -> str:
    """That a training made the loss of some rows far larger, in words; empty where it did not, or where it is unknown.

    Both losses are those of the same first rows, in evaluation, so that neither dropout nor the choice of rows counts.
    """
    some = None if rows is None else rows[:COMPARED]
    try:
        first, last = (validation_loss(module, parameters, feed, some) for parameters in (before, after))
    except ValidationError:
        return ""
    if last - first <= abs(first):
        return ""
    whose = "" if some is None else f" of the first {len(some)} rows"
    return f"the loss{whose} rose from {first:.4g} to {last:.4g}: the training diverged, so use a smaller learning rate"


def joined(predictions: Sequence[Array], rows: int) -> Array:
    """The predictions of parts of the rows. Raises ValueError where they are not rows of one array."""
    if len(predictions) == 1:
        return predictions[0]
    counts = [len(p) if p.ndim else 0 for p in predictions]
    if sum(counts) != rows:
        shape = predictions[0].shape
        raise ValueError(
            f"the prediction of {rows} rows does not fit into memory at once, and has no first axis of rows to join "
            f"parts of it by (a part has shape {shape}): predict fewer rows, or a tensor whose first axis is the "
            "sample axis"
        )
    return np.concatenate(predictions)


def metrics_of(module: ModuleType, metrics: Metrics, target: str | None) -> Callable[..., dict[str, float]]:
    """A function of (parameters, feed, rows) that gives the metrics.

    Raises ValueError where the model lacks what they need.
    """
    resolved = resolve_metrics(module, metrics)
    entries = {i.name: i for i in module.INPUTS}
    if target is not None and target not in entries:
        raise ValueError(f"target: the model has no input {target}: it has {', '.join(entries)}")
    entry = target_of(module) if target is None else entries[target]
    predict = prediction_of(module)
    needed = [name for name in entries if name in inspect.signature(predict).parameters]

    def measured(parameters: Array, feed: Feed, rows: Array | None) -> dict[str, float]:
        predictions, targets = [], []
        parts = [(None, feed.data)] if rows is None else feed.parts(rows)
        for k, (_, inputs) in enumerate(parts):
            given = {name: inputs[name] for name in needed}
            predictions.append(np.asarray(predict(parameters, **given, **draws_of(predict, k))))
            targets.append(np.asarray(inputs[entry.name]))
        whole = len(targets) == 1 or entry.name not in sample_inputs(module)
        prediction = joined(predictions, 0 if rows is None else len(rows))
        return evaluate_metrics(resolved, entry, targets[0] if whole else np.concatenate(targets), prediction)

    return measured
