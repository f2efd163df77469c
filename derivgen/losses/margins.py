"""Losses with a margin: scores with targets -1 and 1, or with several classes at once."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.functions import softplus
from derivgen.losses.terms import Terms, total


def hinge(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """max(1 - target·prediction, 0), with derivative 0 where the product is 1; as keras.losses.Hinge.

    Both have the same shape; targets are -1 or 1.
    """
    terms = Terms("hinge", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Max(1 - t * p, 0), weights, reduction, name)


def squared_hinge(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """max(1 - target·prediction, 0)², as keras.losses.SquaredHinge.

    Both have the same shape; targets are -1 or 1.
    """
    terms = Terms("squared_hinge", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Max(1 - t * p, 0) ** 2, weights, reduction, name)


def soft_margin(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """log(1 + exp(-target·prediction)), as torch.nn.SoftMarginLoss.

    Both have the same shape; targets are -1 or 1.
    """
    terms = Terms("soft_margin", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(softplus(-t * p), weights, reduction, name)


def hinge_embedding(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    margin: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """The prediction, a distance, where the target is 1; max(margin - prediction, 0) where it is -1.

    As torch.nn.HingeEmbeddingLoss, with derivative 0 where the maximum is 0. Both have the same shape.
    """
    terms = Terms("hinge_embedding", prediction=prediction, target=target)
    p, t = terms.elements
    apart = sp.Max(terms.any_number("margin", margin) - p, 0)
    return terms.reduced(sp.Piecewise((p, t > 0), (apart, True)), weights, reduction, name)


def margin_ranking(
    input1: TensorSymbol,
    input2: TensorSymbol,
    target: TensorSymbol,
    *,
    margin: float = 0.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """max(-target·(input1 - input2) + margin, 0), with derivative 0 where it is 0; as torch.nn.MarginRankingLoss.

    All have the same shape; the target is 1 where input1 should be the larger one, else -1.
    """
    terms = Terms("margin_ranking", input1=input1, input2=input2, target=target)
    a, b, t = terms.elements
    return terms.reduced(sp.Max(terms.any_number("margin", margin) - t * (a - b), 0), weights, reduction, name)


def multi_label_margin(
    scores: TensorSymbol,
    target: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """Σ max(1 - score[j] + score[i], 0) / classes over the pairs of a true class j and another class i.

    Both are (…, classes); the target is 1 at the true classes, else 0. As torch.nn.MultiLabelMarginLoss, which receives
    lists of classes. The derivative is 0 where a summand is 0.
    """
    terms = Terms("multi_label_margin", scores=scores, target=target)
    *rows, i = terms.indices
    (j,) = terms.model.local_indices(scores.shape[-1])
    excess = sp.Max(1 - scores[(*rows, j)] + scores[(*rows, i)], 0)
    pair = target[(*rows, j)] * (1 - target[(*rows, i)])
    return terms.reduced(total(pair * excess, j, i) / scores.shape[-1], weights, reduction, name, rows)
