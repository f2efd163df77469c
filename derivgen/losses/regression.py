"""Losses of regression: each element of a prediction with its target."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.functions import log1p
from derivgen.losses.terms import Terms


def mean_squared_error(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """(prediction - target)², as torch.nn.MSELoss. Both have the same shape."""
    terms = Terms("mean_squared_error", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced((p - t) ** 2, weights, reduction, name)


def mean_absolute_error(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """|prediction - target|, with derivative 0 at 0; as torch.nn.L1Loss. Both have the same shape."""
    terms = Terms("mean_absolute_error", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Abs(p - t), weights, reduction, name)


def mean_absolute_percentage_error(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    epsilon: float = 1e-7,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """100·|prediction - target|/max(|target|, epsilon), as keras.losses.MeanAbsolutePercentageError.

    Both have the same shape; epsilon is above 0. The derivative is 0 where both are equal.
    """
    terms = Terms("mean_absolute_percentage_error", prediction=prediction, target=target)
    p, t = terms.elements
    size = sp.Max(sp.Abs(t), terms.above_0("epsilon", epsilon))
    return terms.reduced(100 * sp.Abs(p - t) / size, weights, reduction, name)


def mean_squared_logarithmic_error(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """(log(1 + prediction) - log(1 + target))², where what is below 0 counts as 0.

    As keras.losses.MeanSquaredLogarithmicError, whose bound is 1e-7. Both have the same shape.
    """
    terms = Terms("mean_squared_logarithmic_error", prediction=prediction, target=target)
    p, t = (log1p(sp.Max(x, 0)) for x in terms.elements)
    return terms.reduced((p - t) ** 2, weights, reduction, name)


def huber(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    delta: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """u²/2 where |u| ≤ delta, else delta·(|u| - delta/2), with u = prediction - target; as torch.nn.HuberLoss.

    Both have the same shape; delta is above 0.
    """
    terms = Terms("huber", prediction=prediction, target=target)
    p, t = terms.elements
    bound, size = terms.above_0("delta", delta), sp.Abs(p - t)
    piece = sp.Piecewise(((p - t) ** 2 / 2, size <= bound), (bound * (size - bound / 2), True))
    return terms.reduced(piece, weights, reduction, name)


def smooth_l1(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    beta: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """u²/(2·beta) where |u| ≤ beta, else |u| - beta/2, with u = prediction - target; as torch.nn.SmoothL1Loss.

    Both have the same shape; beta is above 0.
    """
    terms = Terms("smooth_l1", prediction=prediction, target=target)
    p, t = terms.elements
    bound, size = terms.above_0("beta", beta), sp.Abs(p - t)
    piece = sp.Piecewise(((p - t) ** 2 / (2 * bound), size <= bound), (size - bound / 2, True))
    return terms.reduced(piece, weights, reduction, name)


def log_cosh(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """log(cosh(prediction - target)), as keras.losses.LogCosh. Both have the same shape."""
    terms = Terms("log_cosh", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.log(sp.cosh(p - t)), weights, reduction, name)


def quantile(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    q: float = 0.5,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """q·u where u = target - prediction is above 0, else (q - 1)·u, with derivative 0 at 0.

    It is smallest at the q-quantile, 0 < q < 1; also called pinball loss. Both have the same shape. Source: Koenker and
    Bassett 1978.
    """
    terms = Terms("quantile", prediction=prediction, target=target)
    p, t = terms.elements
    share = terms.number("q", q, "a number above 0 and below 1", lambda value: 0 < value < 1)
    return terms.reduced(share * sp.Max(t - p, 0) + (1 - share) * sp.Max(p - t, 0), weights, reduction, name)
