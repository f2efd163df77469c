"""Losses: scalar expressions for `model.minimize`. Each is a formula, and none has a derivative.

A loss has terms: one for each element, or one for each row if it sums over the last axis. `reduction` is "mean", the
mean over the terms, or "sum". `weights` is a tensor over the first axes of the terms, for example (N,) for one weight
per row: each term is multiplied by its weight. The mean still divides by the number of terms, as with Keras's
sample_weight. Labels that do not count (`ignore`) are left out, also of the number of terms.

Wrong shapes and options out of their range are noted as problems at the user's line; an argument that is not a tensor
raises ValueError.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.activations import exact, option, softmax, tensor
from derivgen.declare.model import TensorSymbol
from derivgen.form.as_written import as_written
from derivgen.form.expressions import guarded, indicator
from derivgen.form.functions import sigmoid, softplus, xlogy

# ---- regression


def mean_squared_error(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """(prediction - target)², as torch.nn.MSELoss. Both have the same shape."""
    terms = Terms("mean_squared_error", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced((p - t) ** 2, weights, reduction)


def mean_absolute_error(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """|prediction - target|, with derivative 0 at 0; as torch.nn.L1Loss. Both have the same shape."""
    terms = Terms("mean_absolute_error", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Abs(p - t), weights, reduction)


def huber(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    delta: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """u²/2 where |u| ≤ delta, else delta·(|u| - delta/2), with u = prediction - target; as torch.nn.HuberLoss.

    Both have the same shape; delta is above 0.
    """
    terms = Terms("huber", prediction=prediction, target=target)
    p, t = terms.elements
    bound, size = terms.above_0("delta", delta), sp.Abs(p - t)
    piece = sp.Piecewise(((p - t) ** 2 / 2, size <= bound), (bound * (size - bound / 2), True))
    return terms.reduced(piece, weights, reduction)


def log_cosh(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """log(cosh(prediction - target)), as keras.losses.LogCosh. Both have the same shape."""
    terms = Terms("log_cosh", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.log(sp.cosh(p - t)), weights, reduction)


def quantile(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    q: float = 0.5,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """q·u where u = target - prediction is above 0, else (q - 1)·u, with derivative 0 at 0.

    It is smallest at the q-quantile, 0 < q < 1; also called pinball loss. Both have the same shape. Source: Koenker and
    Bassett 1978.
    """
    terms = Terms("quantile", prediction=prediction, target=target)
    p, t = terms.elements
    share = terms.number("q", q, "a number above 0 and below 1", lambda value: 0 < value < 1)
    return terms.reduced(share * sp.Max(t - p, 0) + (1 - share) * sp.Max(p - t, 0), weights, reduction)


# ---- classification


def binary_cross_entropy(
    probabilities: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """-t·log(p) - (1 - t)·log(1 - p), where 0·log(0) is 0; as torch.nn.BCELoss, without its bound of 100.

    Both have the same shape; targets are from 0 to 1, or labels of two classes.
    """
    terms = Terms("binary_cross_entropy", probabilities=probabilities, target=target)
    p, t = terms.elements
    return terms.reduced(-xlogy(t, p) - xlogy(1 - t, 1 - p), weights, reduction)


def sigmoid_cross_entropy(
    logits: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """The binary cross-entropy of sigmoid(logits), as torch.nn.BCEWithLogitsLoss.

    Both have the same shape; targets are from 0 to 1, or labels of two classes.
    """
    terms = Terms("sigmoid_cross_entropy", logits=logits, target=target)
    z, t = terms.elements
    return terms.reduced(t * softplus(-z) + (1 - t) * softplus(z), weights, reduction)


def focal(
    logits: TensorSymbol,
    target: TensorSymbol,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """-alpha·(1 - p)^gamma·log(p) where the target is 1, -(1 - alpha)·p^gamma·log(1 - p) where it is 0.

    p is sigmoid(logits); as torchvision.ops.sigmoid_focal_loss. Both have the same shape, 0 ≤ alpha ≤ 1, gamma is at
    least 0. Source: Lin et al. 2017, equation 5.
    """
    terms = Terms("focal", logits=logits, target=target)
    z, t = terms.elements
    a = terms.number("alpha", alpha, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    g = terms.number("gamma", gamma, "a number of at least 0", lambda value: value >= 0)
    hit, other = (sigmoid(-x) ** g * softplus(-x) for x in (z, -z))
    return terms.reduced(a * t * hit + (1 - a) * (1 - t) * other, weights, reduction)


def softmax_cross_entropy(
    logits: TensorSymbol,
    labels: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str = "probabilities",
) -> sp.Expr:
    """-log softmax(logits)[label], classes last, as torch.nn.CrossEntropyLoss; the softmax is the let `name`.

    Otherwise as categorical_cross_entropy.
    """
    p = softmax(tensor("softmax_cross_entropy", logits, "logits"), name=name)
    terms = Terms("softmax_cross_entropy", logits=p)
    return cross_entropy(terms, p, labels, label_smoothing, class_weights, weights, reduction)


def categorical_cross_entropy(
    probabilities: TensorSymbol,
    labels: TensorSymbol,
    *,
    label_smoothing: float = 0.0,
    class_weights: TensorSymbol | None = None,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """-log(probabilities[label]), classes last, as keras.losses.CategoricalCrossentropy and its sparse form.

    probabilities (…, classes) with labels (…), or with a distribution (…, classes): -Σ t·log(p). label_smoothing, 0 ≤ e
    < 1, replaces t by (1 - e)·t + e/classes. class_weights (classes,) multiply each class's summand; the mean over
    labels then divides by the sum of their weights, as in torch.nn.CrossEntropyLoss.
    """
    terms = Terms("categorical_cross_entropy", probabilities=probabilities)
    return cross_entropy(terms, probabilities, labels, label_smoothing, class_weights, weights, reduction)


def cross_entropy(
    terms: Terms,
    p: TensorSymbol,
    target: TensorSymbol,
    label_smoothing: float,
    class_weights: TensorSymbol | None,
    weights: TensorSymbol | None,
    reduction: str,
) -> sp.Expr:
    """The cross-entropy of probabilities with labels or with a distribution."""
    *rows, c = terms.indices
    e = terms.number("label_smoothing", label_smoothing, "a number of at least 0 and below 1", lambda v: 0 <= v < 1)
    weigh, classes = terms.class_weights(class_weights), p.shape[-1]
    if not terms.is_integer(target):
        terms.require_shape("labels", target, p.shape)
        summand = xlogy((1 - e) * target[(*rows, c)] + e / classes, p[(*rows, c)])
        return terms.reduced(total(-weigh(c) * summand, c), weights, reduction, rows)
    y = terms.label(target, rows)
    smooth = total(-weigh(c) * sp.log(p[(*rows, c)]), c) / classes
    term = (1 - e) * -weigh(y) * sp.log(p[(*rows, y)]) + e * smooth
    return terms.reduced(term, weights, reduction, rows, None if class_weights is None else weigh(y))


def hinge(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """max(1 - target·prediction, 0), with derivative 0 where the product is 1; as keras.losses.Hinge.

    Both have the same shape; targets are -1 or 1.
    """
    terms = Terms("hinge", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Max(1 - t * p, 0), weights, reduction)


def squared_hinge(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """max(1 - target·prediction, 0)², as keras.losses.SquaredHinge.

    Both have the same shape; targets are -1 or 1.
    """
    terms = Terms("squared_hinge", prediction=prediction, target=target)
    p, t = terms.elements
    return terms.reduced(sp.Max(1 - t * p, 0) ** 2, weights, reduction)


def multi_class_hinge(
    scores: TensorSymbol,
    labels: TensorSymbol,
    *,
    p: int = 1,
    margin: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """Σ max(margin - score[label] + score, 0)^p / classes over the other classes, with derivative 0 where a summand is
    0.

    As torch.nn.MultiMarginLoss. Scores (…, classes), labels (…); p is 1 or 2.
    """
    terms = Terms("multi_class_hinge", scores=scores)
    *rows, c = terms.indices
    y = terms.label(labels, rows)
    m = terms.number("margin", margin, "a number", lambda value: True)
    power = terms.number("p", p, "1 or 2", lambda value: value in (1, 2))
    excess = sp.Max(m - scores[(*rows, y)] + scores[(*rows, c)], 0)
    term = total(guarded(excess**power, sp.Ne(c, y)), c) / scores.shape[-1]
    return terms.reduced(term, weights, reduction, rows)


# ---- distributions


def gaussian_negative_log_likelihood(
    mean: TensorSymbol,
    target: TensorSymbol,
    variance: TensorSymbol,
    *,
    full: bool = False,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """(log(variance) + (target - mean)²/variance)/2, plus log(2π)/2 if `full`.

    As torch.nn.GaussianNLLLoss, without its eps. All have the same shape; the variance is above 0, for example exp(…)
    or softplus(…).
    """
    terms = Terms("gaussian_negative_log_likelihood", mean=mean, target=target, variance=variance)
    m, t, v = terms.elements
    constant = sp.log(2 * sp.pi) / 2 if full else 0
    return terms.reduced((sp.log(v) + (t - m) ** 2 / v) / 2 + constant, weights, reduction)


def poisson_negative_log_likelihood(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    log_input: bool = True,
    full: bool = False,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """exp(z) - target·z, where the prediction z is the logarithm of the rate.

    Without `log_input` the prediction z is the rate: z - target·log(z). `full` adds Stirling's formula for log(target!)
    where the target is above 1. As torch.nn.PoissonNLLLoss, without its eps. Both have the same shape.
    """
    terms = Terms("poisson_negative_log_likelihood", prediction=prediction, target=target)
    z, t = terms.elements
    term = sp.exp(z) - t * z if log_input else z - xlogy(t, z)
    stirling = guarded(xlogy(t, t) - t + sp.log(2 * sp.pi * t) / 2, t > 1)
    return terms.reduced(term + stirling if full else term, weights, reduction)


def kullback_leibler(
    prediction: TensorSymbol, target: TensorSymbol, *, weights: TensorSymbol | None = None, reduction: str = "mean"
) -> sp.Expr:
    """Σ t·log(t/p) along the last axis, where 0·log(0) is 0.

    As keras.losses.KLDivergence, and as torch.nn.KLDivLoss with "batchmean", which receives log(p). Both are
    distributions of the same shape.
    """
    terms = Terms("kullback_leibler", prediction=prediction, target=target)
    *rows, i = terms.indices
    p, t = terms.elements
    return terms.reduced(total(xlogy(t, t) - xlogy(t, p), i), weights, reduction, rows)


# ---- embeddings


def cosine(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    epsilon: float = 1e-8,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """1 - the cosine of prediction and target along the last axis, where each norm is at least epsilon.

    As 1 minus torch.nn.CosineSimilarity. Both have the same shape; epsilon is above 0.
    """
    terms = Terms("cosine", prediction=prediction, target=target)
    *rows, i = terms.indices
    p, t = terms.elements
    least = terms.above_0("epsilon", epsilon)
    p_norm, t_norm = (sp.Max(sp.sqrt(total(x**2, i)), least) for x in (p, t))
    return terms.reduced(1 - total(p * t, i) / (p_norm * t_norm), weights, reduction, rows)


def triplet(
    anchor: TensorSymbol,
    positive: TensorSymbol,
    negative: TensorSymbol,
    *,
    margin: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
) -> sp.Expr:
    """max(|anchor - positive| - |anchor - negative| + margin, 0), with distances along the last axis.

    The derivative is 0 where it is 0. As torch.nn.TripletMarginLoss with p=2, without its eps. All have the same shape;
    margin is above 0.
    """
    terms = Terms("triplet", anchor=anchor, positive=positive, negative=negative)
    *rows, i = terms.indices
    a, p, n = terms.elements
    near, far = (sp.sqrt(total((a - x) ** 2, i)) for x in (p, n))
    return terms.reduced(sp.Max(near - far + terms.above_0("margin", margin), 0), weights, reduction, rows)


# ---- penalties


def l1_penalty(parameter: TensorSymbol | sp.Symbol, factor: float = 0.01) -> sp.Expr:
    """factor·Σ|w|, with derivative 0 at 0; as keras.regularizers.L1. Add it to a loss."""
    return penalty("l1_penalty", parameter, factor, sp.Abs)


def l2_penalty(parameter: TensorSymbol | sp.Symbol, factor: float = 0.01) -> sp.Expr:
    """factor·Σw², as keras.regularizers.L2. Add it to a loss."""
    return penalty("l2_penalty", parameter, factor, lambda w: w**2)


def penalty(
    function: str, parameter: TensorSymbol | sp.Symbol, factor: float, of: Callable[[sp.Expr], sp.Expr]
) -> sp.Expr:
    """factor·Σ of(w) over the elements of a tensor; a parameter without axes has one element."""
    if isinstance(parameter, sp.Symbol):
        return option(function, "factor", factor) * of(parameter)
    terms = Terms(function, parameter=parameter)
    scale = terms.number("factor", factor, "a number", lambda value: True)
    return scale * terms.reduced(of(*terms.elements), None, "sum")


# ---- what losses are made of


@as_written()
def total(summand: sp.Expr, *indices: Idx) -> sp.Expr:
    """The sum over these indices, the summand itself over none."""
    return sp.Sum(summand, *indices) if indices else summand


class Terms:
    """The terms of a loss: the indices of its first tensor, and whether the arguments were accepted so far."""

    def __init__(self, loss: str, **tensors: TensorSymbol) -> None:
        (name, first), *others = tensors.items()
        self.loss, self.model = loss, tensor(loss, first, name).model
        self.accepted = True
        self.present: sp.Basic = sp.true  # where no label is the ignored one
        self.indices = self.model.local_indices(*first.shape)
        for other, value in others:
            self.require_shape(other, tensor(loss, value, other), first.shape)
        self.elements = [self.element(t, self.indices) for t in tensors.values()]

    def element(self, t: TensorSymbol, indices: Sequence[Idx]) -> sp.Expr:
        """The element at these indices; labels that count as absent leave the loss."""
        declaration = self.model.declarations.get(t.name)
        read = t[tuple(indices)]
        if declaration is not None and declaration.ignore is not None:
            self.present = sp.And(self.present, sp.Ne(read, declaration.ignore))
        return read

    def reduced(
        self,
        term: sp.Expr,
        weights: TensorSymbol | None,
        reduction: str,
        rows: Sequence[Idx] | None = None,
        share: sp.Expr | None = None,
    ) -> sp.Expr:
        """The mean or sum of a term over the rows (over all indices if omitted); each counts as its share, 1 if
        omitted.
        """
        over = self.indices if rows is None else tuple(rows)
        self.require(reduction in ("mean", "sum"), f'expected reduction "mean" or "sum", found {reduction!r}')
        weighted = term if weights is None else self.weight(weights, over) * term
        if not self.accepted:
            return sp.Integer(0)
        added = total(guarded(weighted, self.present), *over)
        if reduction == "sum":
            return added
        if share is None and self.present == sp.true:
            return added / sp.Mul(*(i.upper + 1 for i in over))
        return added / total(indicator(self.present) if share is None else guarded(share, self.present), *over)

    def weight(self, weights: Any, over: Sequence[Idx]) -> sp.Expr:
        """The weight of a term: weights are a tensor over its first axes."""
        found = tensor(self.loss, weights, "weights")
        axes = min(len(found.shape), len(over))
        self.require_shape("weights", found, [i.upper + 1 for i in over[:axes]])
        return found[tuple(over[:axes])]

    def label(self, labels: Any, rows: Sequence[Idx]) -> sp.Expr:
        """The label of a row, an integer below the size of the last axis."""
        found = tensor(self.loss, labels, "labels")
        self.require_shape("labels", found, [i.upper + 1 for i in rows])
        self.require(self.is_integer(found), f"expected integers as labels, found {found.name}: use model.labels(...)")
        return self.element(found, rows)

    def class_weights(self, weights: Any) -> Callable[[sp.Expr], sp.Expr]:
        """The weight of a class; 1 where there are none."""
        if weights is None:
            return lambda c: sp.Integer(1)
        found = tensor(self.loss, weights, "class_weights")
        self.require_shape("class_weights", found, [self.indices[-1].upper + 1])
        return lambda c: found[c]

    def is_integer(self, t: Any) -> bool:
        return bool(tensor(self.loss, t, "labels").is_integer)

    def number(self, name: str, value: Any, expected: str, holds: Callable[[Any], bool]) -> sp.Expr:
        """An option as a number of SymPy; 1 after a mistake."""
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        fits = is_number and holds(value)
        self.require(fits, f"expected {expected} as {name}, found {value!r}")
        return exact(value) if fits else sp.Integer(1)

    def above_0(self, name: str, value: Any) -> sp.Expr:
        return self.number(name, value, "a number above 0", lambda v: v > 0)

    def require_shape(self, name: str, t: TensorSymbol, shape: Sequence[sp.Expr]) -> None:
        """Note a problem where a tensor has another shape: fixed sizes are compared by value."""
        found, expected = ([sp.sympify(s).subs(self.model.fixed_sizes) for s in sizes] for sizes in (t.shape, shape))
        same = found == expected
        self.require(same, f"expected {name} of shape ({text(shape)}), found {t.name} of shape ({text(t.shape)})")

    def require(self, holds: bool, message: str) -> None:
        """Note a problem at the user's line where this does not hold."""
        if not holds:
            self.model.problem(f"{self.loss}: {message}")
            self.accepted = False


def text(shape: Sequence[sp.Expr]) -> str:
    return ", ".join(map(str, shape))
