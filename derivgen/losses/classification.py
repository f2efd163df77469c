"""Losses of one class among several: scores or probabilities (…, classes) with labels (…)."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.activations.along_axis import softmax
from derivgen.activations.checks import tensor
from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import MaxOver, guarded
from derivgen.form.functions import xlogy
from derivgen.losses.terms import Terms, total


def softmax_cross_entropy(
    logits: TensorSymbol,
    labels: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-log softmax(logits)[label], classes last, as torch.nn.CrossEntropyLoss.

    The softmax is the let `name`, "probabilities" if omitted; with reduction "none" `name` is the let of the terms, and
    the softmax `<name>_probabilities`. Otherwise as categorical_cross_entropy.
    """
    of_terms = name if reduction == "none" else None
    let = f"{name}_probabilities" if of_terms else name or "probabilities"
    p = softmax(tensor("softmax_cross_entropy", logits, "logits"), name=let)
    terms = Terms("softmax_cross_entropy", logits=p)
    return cross_entropy(terms, p, labels, label_smoothing, class_weights, weights, reduction, of_terms)


def categorical_cross_entropy(
    probabilities: TensorSymbol,
    labels: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-log(probabilities[label]), classes last, as keras.losses.CategoricalCrossentropy and its sparse form.

    probabilities (…, classes) with labels (…), or with a distribution (…, classes): -Σ t·log(p). label_smoothing, 0 ≤ e
    < 1, replaces t by (1 - e)·t + e/classes. class_weights (classes,) multiply each class's summand; the mean over
    labels then divides by the sum of their weights, as in torch.nn.CrossEntropyLoss.
    """
    terms = Terms("categorical_cross_entropy", probabilities=probabilities)
    return cross_entropy(terms, probabilities, labels, label_smoothing, class_weights, weights, reduction, name)


def cross_entropy(
    terms: Terms,
    p: TensorSymbol,
    target: TensorSymbol,
    label_smoothing: float,
    class_weights: TensorSymbol | None,
    weights: TensorSymbol | None,
    reduction: str,
    name: str | None,
) -> Any:
    """The cross-entropy of probabilities with labels or with a distribution."""
    *rows, c = terms.indices
    e, weigh, classes = terms.smoothing(label_smoothing), terms.class_weights(class_weights), p.shape[-1]
    if not terms.is_integer(target):
        terms.require_shape("labels", target, p.shape)
        summand = xlogy((1 - e) * target[(*rows, c)] + e / classes, p[(*rows, c)])
        return terms.reduced(total(-weigh(c) * summand, c), weights, reduction, name, rows)
    y = terms.label(target, rows)
    smooth = total(-weigh(c) * sp.log(p[(*rows, c)]), c) / classes
    term = (1 - e) * -weigh(y) * sp.log(p[(*rows, y)]) + e * smooth
    return terms.reduced(term, weights, reduction, name, rows, None if class_weights is None else weigh(y))


def negative_log_likelihood(
    log_probabilities: TensorSymbol,
    labels: TensorSymbol,
    *,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-log_probabilities[label], classes last, as torch.nn.NLLLoss: of a log_softmax, it is softmax_cross_entropy.

    log_probabilities (…, classes) with labels (…). class_weights are as of categorical_cross_entropy.
    """
    terms = Terms("negative_log_likelihood", log_probabilities=log_probabilities)
    *rows, _ = terms.indices
    y, weigh = terms.label(labels, rows), terms.class_weights(class_weights)
    share = None if class_weights is None else weigh(y)
    return terms.reduced(-weigh(y) * log_probabilities[(*rows, y)], weights, reduction, name, rows, share)


def categorical_focal(
    probabilities: TensorSymbol,
    labels: TensorSymbol,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """-alpha·(1 - p)^gamma·log(p) with p = probabilities[label], as keras.losses.CategoricalFocalCrossentropy.

    probabilities (…, classes), for example of activations.softmax, with labels (…). alpha is above 0; gamma is 0, or at
    least 1, since the derivative is infinite at p = 1 otherwise.
    """
    terms = Terms("categorical_focal", probabilities=probabilities)
    *rows, _ = terms.indices
    a = terms.above_0("alpha", alpha)
    g = terms.number("gamma", gamma, "0, or a number of at least 1,", lambda value: value == 0 or value >= 1)
    p = probabilities[(*rows, terms.label(labels, rows))]
    return terms.reduced(-a * (1 - p) ** g * sp.log(p), weights, reduction, name, rows)


def multi_class_hinge(
    scores: TensorSymbol,
    labels: TensorSymbol,
    *,
    p: int = 1,
    margin: float = 1.0,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """Σ max(margin - score[label] + score, 0)^p / classes over the other classes, with derivative 0 where a summand is
    0.

    As torch.nn.MultiMarginLoss. Scores (…, classes), labels (…); p is 1 or 2. class_weights (classes,) multiply a term
    by the weight of its label.
    """
    terms = Terms("multi_class_hinge", scores=scores)
    *rows, c = terms.indices
    y, m = terms.label(labels, rows), terms.any_number("margin", margin)
    power = terms.number("p", p, "1 or 2", lambda value: value in (1, 2))
    excess = sp.Max(m - scores[(*rows, y)] + scores[(*rows, c)], 0)
    term = total(guarded(excess**power, sp.Ne(c, y)), c) / scores.shape[-1]
    return terms.reduced(terms.class_weights(class_weights)(y) * term, weights, reduction, name, rows)


def categorical_hinge(
    scores: TensorSymbol,
    labels: TensorSymbol,
    *,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """max(1 - score[label] + the largest other score, 0), where that counts as 0 at least.

    As keras.losses.CategoricalHinge. Scores (…, classes), labels (…). The derivative is 0 where the term is 0; of equal
    scores the first has it.
    """
    terms = Terms("categorical_hinge", scores=scores)
    *rows, c = terms.indices
    y = terms.label(labels, rows)
    other = MaxOver(guarded(scores[(*rows, c)], sp.Ne(c, y)), c)
    return terms.reduced(sp.Max(1 - scores[(*rows, y)] + other, 0), weights, reduction, name, rows)
