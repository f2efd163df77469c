"""SciPy's minimizers on a generated module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.rows import Feed, count_rows

Array = np.ndarray[Any, Any]


def minimize(
    module: ModuleType,
    data: Mapping[str, Array] | None = None,
    *,
    method: str = "L-BFGS-B",
    parameters: Array | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    **arguments: Any,
) -> Any:
    """The result of scipy.optimize.minimize for the module's loss and gradient on all the data.

    Its `x` is the trained part of the flat vector in float64, `parameters` the flat vector in the module's dtype, shape
    (P,), `views` that by name.
    `batch_size`: the rows that are in memory at once, for losses that are means over rows. A model of float32 is
    evaluated in float32, which ends a search some digits earlier. Running tensors keep their values. `arguments` are
    scipy.optimize.minimize's (bounds, options, callback, …). Raises ValueError or TypeError where the data don't fit.
    """
    from scipy.optimize import minimize as scipy_minimize

    given = dict(data or {})
    start = module.initial_parameters(seed) if parameters is None else np.array(parameters)
    module.views(start)  # refuses what is no vector of the module's
    trained = sum(math.prod(p.shape) for p in module.PARAMETERS if getattr(p, "trained", True))
    draws = {"seed": seed} if getattr(module, "RANDOM", ()) else {}
    gradient_of = (
        whole_gradient(module, given, draws)
        if batch_size is None
        else gradient_in_parts(module, given, draws, batch_size)
    )

    def value_and_gradient(vector: Array) -> tuple[float, Array]:
        inside = start.copy()  # which steps in parts change where there are running tensors
        inside[:trained] = vector
        loss, gradient = gradient_of(inside)
        return loss, gradient[:trained].astype(np.float64)

    result = scipy_minimize(
        value_and_gradient, start[:trained].astype(np.float64), jac=True, method=method, **arguments
    )
    result.parameters = start.copy()
    result.parameters[:trained] = result.x
    result.views = module.views(result.parameters)
    return result


Gradient = Callable[[Array], tuple[float, Array]]


def whole_gradient(module: ModuleType, data: Mapping[str, Array], draws: Mapping[str, int]) -> Gradient:
    return lambda parameters: module.loss_and_gradient(parameters, **data, **draws)


def gradient_in_parts(
    module: ModuleType, data: Mapping[str, Array], draws: Mapping[str, int], batch_size: int
) -> Gradient:
    """The mean of the losses and gradients of all batches, weighted by rows."""
    if not hasattr(module, "mean_gradient"):
        raise ValueError("batch_size: the model has no sample axis, so there are no batches")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    rows, feed = np.arange(count_rows(module, data)), Feed(module, data)

    def in_parts(parameters: Array) -> tuple[float, Array]:
        total, mean, seen = np.zeros(len(parameters)), 0.0, 0
        for part, inputs in feed.parts(rows, batch_size):
            step = {"first_step": seen // batch_size} if draws else {}
            order = np.arange(len(part))
            loss, gradient = module.mean_gradient(parameters, order, batch_size, **inputs, **draws, **step)
            seen += len(part)
            mean += (loss - mean) * len(part) / seen
            total += (gradient - total) * len(part) / seen
        return mean, total

    return in_parts
