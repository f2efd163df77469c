"""Losses of distributions: negative logarithms of a likelihood, and the distance of two distributions."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import guarded
from derivgen.form.functions import loggamma, softplus, stop_gradient, xlogy
from derivgen.losses.terms import Terms, total


def gaussian_negative_log_likelihood(
    mean: TensorSymbol,
    target: TensorSymbol,
    variance: TensorSymbol,
    *,
    full: bool = False,
    epsilon: float = 0.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """(log(variance) + (target - mean)²/variance)/2, plus log(2π)/2 if `full`.

    As torch.nn.GaussianNLLLoss. All have the same shape; the variance is above 0, for example exp(…) or softplus(…). A
    variance below epsilon counts as epsilon; as there, the derivative does not know of this bound.
    """
    terms = Terms("gaussian_negative_log_likelihood", mean=mean, target=target, variance=variance)
    m, t, v = terms.elements
    least = terms.not_below_0("epsilon", epsilon)
    v = v if least == 0 else v + stop_gradient(sp.Max(least - v, 0))
    constant = sp.log(2 * sp.pi) / 2 if full else 0
    return terms.reduced((sp.log(v) + (t - m) ** 2 / v) / 2 + constant, weights, reduction, name)


def poisson_negative_log_likelihood(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    log_input: bool = True,
    full: bool = False,
    epsilon: float = 0.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """exp(z) - target·z, where the prediction z is the logarithm of the rate.

    Without `log_input` the prediction z is the rate: z - target·log(z + epsilon). `full` adds Stirling's formula for
    log(target!) where the target is above 1. As torch.nn.PoissonNLLLoss. Both have the same shape.
    """
    terms = Terms("poisson_negative_log_likelihood", prediction=prediction, target=target)
    z, t = terms.elements
    term = sp.exp(z) - t * z if log_input else z - xlogy(t, z + terms.not_below_0("epsilon", epsilon))
    stirling = guarded(xlogy(t, t) - t + sp.log(2 * sp.pi * t) / 2, t > 1)
    return terms.reduced(term + stirling if full else term, weights, reduction, name)


def negative_binomial_negative_log_likelihood(
    prediction: TensorSymbol,
    target: TensorSymbol,
    total_count: TensorSymbol | sp.Expr | float,
    *,
    log_input: bool = True,
    full: bool = False,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-log of the probability of a count with mean exp(prediction) and variance mean + mean²/total_count.

    Without `log_input` the prediction is the mean itself, above 0. `full` adds log(target!), which has no parameter.
    The target has the prediction's shape; total_count, above 0, is a number, a parameter, or a tensor over the last
    axes. As PyTorch's distribution NegativeBinomial with logits = log(mean/total_count).
    """
    terms = Terms("negative_binomial_negative_log_likelihood", prediction=prediction, target=target)
    (z, t), r = terms.elements, terms.spread("total_count", total_count)
    odds = (z if log_input else sp.log(z)) - sp.log(r)
    choices = loggamma(r) - loggamma(r + t) + (loggamma(t + 1) if full else 0)
    return terms.reduced(r * softplus(odds) + t * softplus(-odds) + choices, weights, reduction, name)


def kullback_leibler(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """Σ t·log(t/p) along the last axis, where 0·log(0) is 0.

    As keras.losses.KLDivergence, and as torch.nn.KLDivLoss with "batchmean", which receives log(p). Both are
    distributions of the same shape.
    """
    terms = Terms("kullback_leibler", prediction=prediction, target=target)
    *rows, i = terms.indices
    p, t = terms.elements
    return terms.reduced(total(xlogy(t, t) - xlogy(t, p), i), weights, reduction, name, rows)
