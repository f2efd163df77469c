"""Losses of embeddings: vectors along the last axis that should be near each other, or apart."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.declare.model import TensorSymbol
from derivgen.form.functions import root
from derivgen.losses.terms import Terms, text, total


def cosine(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    epsilon: float = 1e-8,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """1 - the cosine of prediction and target along the last axis, where each norm is at least epsilon.

    As 1 minus torch.nn.CosineSimilarity. Both have the same shape; epsilon is above 0.
    """
    terms = Terms("cosine", prediction=prediction, target=target)
    rows = terms.indices[:-1]
    return terms.reduced(1 - cosine_of(terms, epsilon), weights, reduction, name, rows)


def cosine_embedding(
    input1: TensorSymbol,
    input2: TensorSymbol,
    target: TensorSymbol,
    *,
    margin: float = 0.0,
    epsilon: float = 1e-8,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """1 - cosine where the target is 1, max(cosine - margin, 0) where it is -1; as torch.nn.CosineEmbeddingLoss.

    The cosine is that of input1 and input2 along the last axis, with epsilon as in cosine; the target has no such axis.
    The derivative is 0 where the maximum is 0.
    """
    terms = Terms("cosine_embedding", input1=input1, input2=input2)
    rows, near = terms.indices[:-1], cosine_of(terms, epsilon)
    t, m = terms.of_row("target", target, rows), terms.any_number("margin", margin)
    # The sums of the cosine are computed once, since they stand in no branch.
    term = (1 + t) / 2 * (1 - near) + (1 - t) / 2 * sp.Max(near - m, 0)
    return terms.reduced(term, weights, reduction, name, rows)


def cosine_of(terms: Terms, epsilon: float) -> sp.Expr:
    """The cosine of two tensors along the last axis."""
    (p, t), i, least = terms.elements, terms.indices[-1], terms.above_0("epsilon", epsilon)
    p_norm, t_norm = (sp.Max(sp.sqrt(total(x**2, i)), least) for x in (p, t))
    return total(p * t, i) / (p_norm * t_norm)


def triplet(
    anchor: TensorSymbol,
    positive: TensorSymbol,
    negative: TensorSymbol,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    epsilon: float = 0.0,
    swap: bool = False,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """max(|anchor - positive| - |anchor - negative| + margin, 0), with distances along the last axis.

    The derivative is 0 where it is 0. As torch.nn.TripletMarginLoss: p ≥ 1 is that of the norm, epsilon is added to
    each difference, `swap` replaces the second distance by that of positive and negative where that is smaller. All
    have the same shape; margin is above 0.
    """
    terms = Terms("triplet", anchor=anchor, positive=positive, negative=negative)
    *rows, i = terms.indices
    (a, b, c), e = terms.elements, terms.not_below_0("epsilon", epsilon)
    power = terms.number("p", p, "a number of at least 1", lambda value: value >= 1)
    near, far, other = (norm(x - y + e, i, power) for x, y in ((a, b), (a, c), (b, c)))
    excess = near - (sp.Min(far, other) if swap else far) + terms.above_0("margin", margin)
    return terms.reduced(sp.Max(excess, 0), weights, reduction, name, rows)


def norm(u: sp.Expr, i: Idx, p: sp.Expr) -> sp.Expr:
    """(Σ |u|^p)^(1/p), with derivative 0 at 0, which is that of root."""
    if p == 2:
        return sp.sqrt(total(u**2, i))
    added = total(sp.Abs(u) ** p, i)
    return added if p == 1 else root(added) ** (2 / p)


def contrastive(
    prediction: TensorSymbol,
    target: TensorSymbol,
    *,
    margin: float = 1.0,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Any:
    """target·d² + (1 - target)·max(margin - d, 0)² of the prediction d, the distance of a pair.

    The target is 1 for a pair that belongs together, else 0. Both have the same shape; margin is above 0. Source:
    Hadsell et al. 2006, without its factor 1/2.
    """
    terms = Terms("contrastive", prediction=prediction, target=target)
    d, t = terms.elements
    apart = sp.Max(terms.above_0("margin", margin) - d, 0)
    return terms.reduced(t * d**2 + (1 - t) * apart**2, weights, reduction, name)


def info_nce(
    query: TensorSymbol,
    key: TensorSymbol,
    *,
    temperature: float = 0.1,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str = "info_nce",
) -> Any:
    """-log softmax(query[n]·key[m]/temperature)[n] over all m: the key of each query is that of its own row.

    Both are (batch, features); normalize them before for cosines. The products are the let `<name>_scores`, the softmax
    `<name>_probabilities`; with reduction "none" the terms are the let `name`. Source: van den Oord et al. 2018.
    """
    terms, let = Terms("info_nce", query=query, key=key), name if reduction == "none" else None
    found = f"{query.name} of shape ({text(query.shape)})"
    terms.require(len(query.shape) == 2, f"expected a query (batch, features), found {found}")
    if not terms.accepted:
        return terms.reduced(sp.Integer(0), weights, reduction, let, terms.indices[:1])
    (n, i), (m,) = terms.indices, query.model.local_indices(query.shape[0])
    scores = query.model.let(f"{name}_scores", (n, m), total(query[n, i] * key[m, i], i))
    powers = sp.exp(scores[n, m] / terms.above_0("temperature", temperature))
    p = query.model.let(f"{name}_probabilities", (n, m), powers / sp.Sum(powers, m))
    return terms.reduced(-sp.log(p[n, n]), weights, reduction, let, (n,))
