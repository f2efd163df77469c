"""Losses of independent classes: each element is a probability, or its logit, with a target from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.functions import sigmoid, softplus, xlogy
from derivgen.losses.terms import Terms


def binary_cross_entropy(
    probabilities: TensorSymbol,
    target: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-t·log(p) - (1 - t)·log(1 - p), where 0·log(0) is 0; as torch.nn.BCELoss, without its bound of 100.

    Both have the same shape; targets are from 0 to 1, or labels of two classes. label_smoothing, 0 ≤ e < 1, replaces t
    by (1 - e)·t + e/2, as in keras.losses.BinaryCrossentropy.
    """
    terms = Terms("binary_cross_entropy", probabilities=probabilities, target=target)
    p, t = terms.elements
    t = terms.smoothed(t, label_smoothing, 2)
    return terms.reduced(-xlogy(t, p) - xlogy(1 - t, 1 - p), weights, reduction, name)


def sigmoid_cross_entropy(
    logits: TensorSymbol,
    target: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    pos_weight: TensorSymbol | sp.Expr | float | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """The binary cross-entropy of sigmoid(logits), as torch.nn.BCEWithLogitsLoss.

    Otherwise as binary_cross_entropy. pos_weight multiplies the summand of t: a number, or a tensor over the last axes,
    such as (classes,).
    """
    terms = Terms("sigmoid_cross_entropy", logits=logits, target=target)
    z, t = terms.elements
    t = terms.smoothed(t, label_smoothing, 2)
    weight = 1 if pos_weight is None else terms.spread("pos_weight", pos_weight)
    return terms.reduced(weight * t * softplus(-z) + (1 - t) * softplus(z), weights, reduction, name)


def multi_label_soft_margin(
    logits: TensorSymbol,
    target: TensorSymbol,
    *,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """The mean of the binary cross-entropy of sigmoid(logits) over the classes, as torch.nn.MultiLabelSoftMarginLoss.

    Both are (…, classes); targets are from 0 to 1, or labels of two classes. class_weights (classes,) multiply each
    class's summand.
    """
    terms = Terms("multi_label_soft_margin", logits=logits, target=target)
    *rows, c = terms.indices
    z, t = terms.elements
    summand = terms.class_weights(class_weights)(c) * (t * softplus(-z) + (1 - t) * softplus(z))
    return terms.reduced(terms.added(summand, c) / logits.shape[-1], weights, reduction, name, rows)


def focal(
    logits: TensorSymbol,
    target: TensorSymbol,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-alpha·(1 - p)^gamma·log(p) where the target is 1, -(1 - alpha)·p^gamma·log(1 - p) where it is 0.

    p is sigmoid(logits); as torchvision.ops.sigmoid_focal_loss. Both have the same shape, 0 ≤ alpha ≤ 1, gamma is at
    least 0. Source: Lin et al. 2017, equation 5.
    """
    terms = Terms("focal", logits=logits, target=target)
    z, t = terms.elements
    a = terms.number("alpha", alpha, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    g = terms.not_below_0("gamma", gamma)
    hit, other = (sigmoid(-x) ** g * softplus(-x) for x in (z, -z))
    return terms.reduced(a * t * hit + (1 - a) * (1 - t) * other, weights, reduction, name)


def dice(
    probabilities: TensorSymbol,
    target: TensorSymbol,
    *,
    axis: int | Sequence[int] | None = None,
    smooth: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """1 - (2·Σ p·t + smooth)/(Σ (p + t) + smooth), over all elements, or along the axes `axis`, an integer or a tuple.

    Both have the same shape; targets are from 0 to 1, or labels of two classes. axis=(2, 3) of images is one term for
    each image and channel. smooth is at least 0; without it the term of all zeros is NaN. As keras.losses.Dice, whose
    smooth is 1e-7. Source: Milletari et al. 2016.
    """
    terms = Terms("dice", probabilities=probabilities, target=target)
    p, t = terms.elements
    (rows, over), s = terms.split(axis), terms.not_below_0("smooth", smooth)
    both, either = terms.added(p * t, *over), terms.added(p + t, *over)
    return terms.reduced(1 - (2 * both + s) / (either + s), weights, reduction, name, rows)


def tversky(
    probabilities: TensorSymbol,
    target: TensorSymbol,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: int | Sequence[int] | None = None,
    smooth: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """1 - (h + smooth)/(h + alpha·Σ (1 - t)·p + beta·Σ t·(1 - p) + smooth) with the hits h = Σ t·p.

    alpha weighs false positives, beta false negatives, both at least 0; otherwise as dice. As keras.losses.Tversky,
    whose smooth is 1e-7. Source: Salehi et al. 2017.
    """
    terms = Terms("tversky", probabilities=probabilities, target=target)
    p, t = terms.elements
    (rows, over), s = terms.split(axis), terms.not_below_0("smooth", smooth)
    a, b = terms.not_below_0("alpha", alpha), terms.not_below_0("beta", beta)
    hits, misses = terms.added(t * p, *over), terms.added(a * (1 - t) * p + b * t * (1 - p), *over)
    return terms.reduced(1 - (hits + s) / (hits + misses + s), weights, reduction, name, rows)
