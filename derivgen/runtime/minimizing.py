"""SciPy's minimizers on a generated module."""

from __future__ import annotations

from collections.abc import Mapping
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

    Its `x` is the flat vector in float64, `parameters` the same in the module's dtype, shape (P,), `views` that by name.
    `batch_size`: the rows that are in memory at once, for losses that are means over rows. A model of float32 is
    evaluated in float32, which ends a search some digits earlier. Running tensors keep their values. `arguments` are
    scipy.optimize.minimize's (bounds, options, callback, …). Raises ValueError or TypeError where the data don't fit.
    """
    from scipy.optimize import minimize as scipy_minimize

    given = dict(data or {})
    start = module.initial_parameters(seed) if parameters is None else np.array(parameters)
    module.views(start)  # refuses what is no vector of the module's
    draws = {"seed": seed} if getattr(module, "RANDOM", ()) else {}

    if batch_size is None:

        def value_and_gradient(vector: Array) -> tuple[float, Array]:
            loss, gradient = module.loss_and_gradient(vector.astype(start.dtype), **given, **draws)
            return loss, gradient.astype(np.float64)

    else:
        rows = np.arange(count_rows(module, given))
        feed = Feed(module, given)

        def value_and_gradient(vector: Array) -> tuple[float, Array]:
            inside = vector.astype(start.dtype)
            total, mean, seen = np.zeros(len(vector)), 0.0, 0
            for part, inputs in feed.parts(rows, most=batch_size * max(1, 2**20 // batch_size)):
                order = np.arange(len(part))
                loss, gradient = module.mean_gradient(inside.copy(), order, batch_size, **inputs, **draws)
                seen += len(part)
                mean += (loss - mean) * len(part) / seen
                total += (gradient - total) * len(part) / seen
            return mean, total

    result = scipy_minimize(value_and_gradient, start.astype(np.float64), jac=True, method=method, **arguments)
    result.parameters = result.x.astype(start.dtype)
    result.views = module.views(result.parameters)
    return result
