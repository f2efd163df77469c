"""How good predictions are, by name: scikit-learn's definitions, and functions of the caller's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import nearest

Array = np.ndarray[Any, Any]
Function = Callable[[Array, Array], float]
# Called with (name, the target's entry in INPUTS, target, prediction).
Arrange = Callable[[str, Any, Array, Array], tuple[Array, Array]]
Metrics = str | Function | Mapping[str, Function] | Sequence[str | Function | Mapping[str, Function]]


# ---- how target and prediction come to a function


def as_given(name: str, entry: Any, target: Array, prediction: Array) -> tuple[Array, Array]:
    """Both as they are: for functions of the caller's own."""
    return target, prediction


def as_labels(name: str, entry: Any, target: Array, prediction: Array) -> tuple[Array, Array]:
    """(labels, shape (M,), class scores, shape (M, C)) of the rows whose label is not the one to ignore.

    Raises ValueError where the target holds no labels, the prediction no class scores, or nothing is left.
    """
    if entry.classes is None:
        raise ValueError(
            f"{name} compares labels, and the input {entry.name} holds numbers: declare it by model.labels, or give a "
            f'custom function, {{"{name}": lambda target, prediction: ...}}'
        )
    expected = (*target.shape, entry.classes)
    if prediction.shape != expected:
        axes = ", ".join(map(str, (*entry.shape, "C")))
        raise ValueError(
            f"{name} needs a prediction of shape {expected}, found {prediction.shape}: give class scores ({axes}), or "
            "a custom function"
        )
    labels, scores = target.ravel(), prediction.reshape(-1, entry.classes)
    ignore = getattr(entry, "ignore", None)
    if ignore is not None:
        kept = labels != ignore
        labels, scores = labels[kept], scores[kept]
    if not len(labels):
        raise ValueError(f"{name} has nothing to compare: {entry.name} has no row with a label that counts")
    return labels.astype(np.int64), scores


def as_numbers(name: str, entry: Any, target: Array, prediction: Array) -> tuple[Array, Array]:
    """Both in float64, shape (rows, outputs): a single axis counts as one output.

    Raises ValueError where the target holds labels or the shapes differ, which NumPy would broadcast.
    """
    if entry.classes is not None:
        raise ValueError(
            f"{name} compares numbers, and the input {entry.name} holds labels: ask for accuracy, or give a custom "
            "function"
        )
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name} needs a prediction of the shape of {entry.name}, {target.shape}, found {prediction.shape}: let "
            "the model predict that shape, or give a custom function"
        )
    rows = len(target) if target.ndim else 1
    return target.astype(np.float64).reshape(rows, -1), prediction.astype(np.float64).reshape(rows, -1)


# ---- the functions


def accuracy(labels: Array, scores: Array) -> float:
    return float(np.mean(scores.argmax(1) == labels))


def top_5_accuracy(labels: Array, scores: Array) -> float:
    """How often fewer than five classes score higher; of equal scores the later class counts as higher."""
    classes = scores.shape[1]
    if classes <= 5:
        raise ValueError(f"top_5_accuracy of {classes} classes is always 1: leave it out")
    own = np.take_along_axis(scores, labels[:, None], 1)
    higher = (scores > own) | ((scores == own) & (np.arange(classes) > labels[:, None]))
    return float(np.mean(np.count_nonzero(higher, 1) < 5))


def counts(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """How often each class, shape (C,), is (label and prediction, label, prediction)."""
    classes, predicted = scores.shape[1], scores.argmax(1)
    both, label, prediction = (
        np.bincount(values, minlength=classes) for values in (labels[labels == predicted], labels, predicted)
    )
    return both, label, prediction


def balanced_accuracy(labels: Array, scores: Array) -> float:
    """The mean, over the classes that occur, of how often that class is recognized."""
    both, label, _ = counts(labels, scores)
    return float(np.mean(both[label > 0] / label[label > 0]))


def of_classes(score: Callable[[Array, Array, Array], Array]) -> Function:
    """The mean of a score of each class (macro), over those that are a label or are predicted somewhere."""

    def mean(labels: Array, scores: Array) -> float:
        found = np.stack(counts(labels, scores))
        both, label, prediction = found[:, found[1] + found[2] > 0]
        return float(np.mean(score(both, label, prediction)))

    return mean


# The precision is 0 of a class that is never predicted, the recall of one that never occurs.
precision = of_classes(lambda both, label, prediction: both / np.maximum(prediction, 1))
recall = of_classes(lambda both, label, prediction: both / np.maximum(label, 1))
f1 = of_classes(lambda both, label, prediction: 2 * both / (label + prediction))


def mean_squared_error(target: Array, prediction: Array) -> float:
    return float(np.mean((target - prediction) ** 2))


def root_mean_squared_error(target: Array, prediction: Array) -> float:
    """The mean of the outputs' roots."""
    return float(np.mean(np.sqrt(np.mean((target - prediction) ** 2, 0))))


def mean_absolute_error(target: Array, prediction: Array) -> float:
    return float(np.mean(np.abs(target - prediction)))


def spread(values: Array) -> Array:
    """The sum of squares around the mean of each output."""
    # Around the first row, so that what is constant spreads by exactly 0, whatever the rounding of its mean.
    values = values - values[0]
    squares: Array = np.sum((values - values.mean(0)) ** 2, 0)
    return squares


def explained(unexplained: Array, total: Array) -> float:
    """The outputs' mean of 1 - unexplained/total; of a constant target 1 if predicted exactly, else 0."""
    score = np.where(unexplained == 0, 1.0, 0.0)
    plain = (unexplained != 0) & (total != 0)
    score[plain] = 1 - unexplained[plain] / total[plain]
    return float(score.mean())


def r2(target: Array, prediction: Array) -> float:
    if len(target) < 2:
        raise ValueError("r2 needs at least two rows: leave it out, or hold out more rows")
    return explained(np.sum((target - prediction) ** 2, 0), spread(target))


def explained_variance(target: Array, prediction: Array) -> float:
    return explained(spread(target - prediction), spread(target))


@dataclass(frozen=True, slots=True)
class Metric:
    """A function of (target, prediction), and what brings both into its form, or refuses them."""

    function: Function
    arrange: Arrange = as_given


OF_LABELS = (accuracy, balanced_accuracy, top_5_accuracy)
OF_CLASSES = {"precision": precision, "recall": recall, "f1": f1}
OF_NUMBERS = (r2, explained_variance, mean_squared_error, root_mean_squared_error, mean_absolute_error)
METRICS: Mapping[str, Metric] = {
    **{f.__name__: Metric(f, as_labels) for f in OF_LABELS},
    **{name: Metric(f, as_labels) for name, f in OF_CLASSES.items()},
    **{f.__name__: Metric(f, as_numbers) for f in OF_NUMBERS},
}


# ---- what training calls


def resolve_metrics(module: ModuleType, metrics: Metrics) -> Mapping[str, Metric]:
    """The metrics by name: from names of METRICS, functions (target, prediction), and mappings to such functions.

    Raises ValueError for an unknown or repeated name and for a model that predicts nothing, TypeError for what is
    none of these.
    """
    found: dict[str, Metric] = {}
    for name, metric in named(metrics):
        if name in found:
            raise ValueError(f"metrics: {name} is given twice: leave one out, or rename it")
        found[name] = metric
    if found:
        prediction_of(module)
    return found


def named(metrics: Metrics) -> Iterator[tuple[str, Metric]]:
    items = metrics if isinstance(metrics, Sequence) and not isinstance(metrics, str) else (metrics,)
    for item in items:
        if isinstance(item, str):
            yield item, of_name(item)
        elif isinstance(item, Mapping):
            yield from ((name, of_function(name, function)) for name, function in item.items())
        elif callable(item) and hasattr(item, "__name__"):
            yield item.__name__, of_function(item.__name__, item)
        else:
            raise TypeError(
                f"metrics expects names, functions, and mappings from a name to a function, found {item!r}: write "
                '("accuracy", {"mine": function})'
            )


def of_name(name: str) -> Metric:
    if name in METRICS:
        return METRICS[name]
    raise ValueError(
        f"metrics: there is no {name!r}{nearest(name, METRICS) or '.'} There are {', '.join(METRICS)}, and custom "
        f'functions: {{"{name}": '
        "lambda target, prediction: ...}"
    )


def of_function(name: object, function: object) -> Metric:
    if not isinstance(name, str) or not name:
        raise TypeError(f"metrics: the name of a metric must be a string, found {name!r}")
    if not callable(function):
        raise TypeError(f"metrics: {name} must be a function of (target, prediction), found {type(function).__name__}")
    return Metric(function)


def prediction_of(module: ModuleType) -> Callable[..., Array]:
    """The module's `predict`. Raises ValueError where it has none."""
    predict: Callable[..., Array] | None = getattr(module, "predict", None)
    if predict is None:
        raise ValueError("metrics: the model predicts nothing: add model.predict(...) to its spec, or leave them out")
    return predict


def target_of(module: ModuleType) -> Any:
    """The entry in INPUTS that predictions are compared with: the one that `predict` does not take.

    If there are several, the one whose first axis is the sample axis. Raises ValueError where that leaves none or
    several, and where the model predicts nothing.
    """
    taken = inspect.signature(prediction_of(module)).parameters
    rest = [entry for entry in module.INPUTS if entry.name not in taken]
    candidates = rest if len(rest) < 2 else [e for e in rest if e.shape and e.shape[0] == module.SAMPLE_AXIS]
    if len(candidates) == 1:
        return candidates[0]
    names = ", ".join(entry.name for entry in candidates or rest or module.INPUTS)
    reason = f"could be any of {names}" if rest else "is not known, since predict takes every input"
    raise ValueError(f'metrics: what predictions are compared with {reason}: say which by target="name"')


def evaluate_metrics(
    metrics: Mapping[str, Metric], target_entry: Any, target: Array, prediction: Array
) -> dict[str, float]:
    """The value of each metric; `target_entry` is the target's entry in INPUTS.

    Raises ValueError where target or prediction do not suit a metric and where a value is not finite, TypeError where
    a function gives no number.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    return {
        name: finite(name, metric.function(*metric.arrange(name, target_entry, target, prediction)))
        for name, metric in metrics.items()
    }


def finite(name: str, value: Any) -> float:
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "fiub":
        raise TypeError(f"the metric {name} must give a number, found {type(value).__name__}")
    if not np.isfinite(number):
        raise ValueError(f"the metric {name} gave {number}, expected a finite number: give one where it is undefined")
    return float(number)
