"""Attention between dense layers, found among the formulas and made a layer of the library.

    query, key, value = dense layers, perhaps in one: in_proj
    scores[n, h, t, u] = Σ_e in_proj[n, t, E·h + e]·in_proj[n, u, E·h + e + D] / √E
    weights = softmax(scores)
    context[n, t, E·h + e] = Σ_u weights[n, h, t, u]·in_proj[n, u, E·h + e + 2·D]
    out = dense(context)

become `out = multi_head_attention(x, H)`. The bias of the keys is left out: it is the same for all keys of a query, so
that the softmax does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.draft import Draft, LayerStatement, LetStatement, Statement
from derivgen.importing.elements import Element, Formula, Index, Over, Read, factored
from derivgen.importing.tidy import read_by

ENDS = ("_out_proj", "_c_proj", "_proj", "_output", "_out")


@dataclass(frozen=True)
class Projection:
    """A part of a dense layer: its columns from `start` on."""

    layer: LayerStatement
    start: int


@dataclass(frozen=True)
class Heads:
    """What attention is made of: `inner` are the statements that it replaces, besides the projections."""

    query: Projection
    key: Projection
    value: Projection
    count: int
    causal: bool
    inner: tuple[Statement, ...]


def take_in_attention(draft: Draft) -> None:
    """Replace what is attention between dense layers, and is read by nobody else."""
    for out in list(draft.statements):
        heads = heads_before(draft, out)
        if heads is not None and isinstance(out, LayerStatement) and fits(draft, heads, out):
            replaced = {id(s): s for s in (*heads.inner, heads.query.layer, heads.key.layer, heads.value.layer)}
            made = multi_head(heads, out)
            draft.statements[draft.statements.index(out)] = made
            draft.statements = [s for s in draft.statements if id(s) not in replaced]
            made.tensor.statement = made


def multi_head(heads: Heads, out: LayerStatement) -> LayerStatement:
    x, memory = heads.query.layer.sources[0], heads.key.layer.sources[0]
    features, count = int(out.weights["_W"].shape[0]), heads.count
    split = (-1, count, features // count)
    parts = {"query": heads.query, "key": heads.key, "value": heads.value}
    weights = {f"_{w}_W": columns(p, "_W", features).reshape(split) for w, p in parts.items()}
    weights["_out_W"] = out.weights["_W"].reshape(count, features // count, -1)
    layers = (heads.query.layer, heads.value.layer, out)
    biased = any("_b" in layer.weights for layer in layers)
    if biased:
        weights |= {f"_{w}_b": columns(parts[w], "_b", features).reshape(split[1:]) for w in ("query", "value")}
        weights["_out_b"] = out.weights.get("_b", np.zeros_like(out.weights["_W"][0]))
    options = {"causal": "True"} if heads.causal else {}
    options |= {} if biased else {"bias": "False"}
    out.tensor.name = next((out.tensor.name.removesuffix(e) for e in ENDS if out.tensor.name.endswith(e)), "attention")
    tensors = {} if memory is x else {"memory": memory}
    name = "layers.multi_head_attention"
    return LayerStatement(out.tensor, name, [x], (str(count),), options, weights, tensors=tensors)


def columns(projection: Projection, ending: str, count: int) -> np.ndarray:
    """A projection's part of a layer's weights; zeros where the layer has no bias."""
    weights = projection.layer.weights
    array = weights.get(ending, np.zeros_like(weights["_W"][0]))
    return array[..., projection.start : projection.start + count]


def fits(draft: Draft, heads: Heads, out: LayerStatement) -> bool:
    """Whether the library's layer has these sizes, and nobody else reads what it replaces."""
    inner = {id(s) for s in (*heads.inner, heads.query.layer, heads.key.layer, heads.value.layer, out)}
    gone = {id(s.tensor) for s in (*heads.inner, heads.query.layer, heads.key.layer, heads.value.layer)}
    others = (tensor for s in draft.statements if id(s) not in inner for tensor in read_by(s))
    x, memory = heads.query.layer.sources[0], heads.key.layer.sources[0]
    features = out.weights["_W"].shape[0]
    same = features == out.weights["_W"].shape[1] == x.shape[-1] and heads.value.layer.sources[0] is memory
    return same and len(x.shape) == 3 and gone.isdisjoint(map(id, others))


def heads_before(draft: Draft, out: Statement) -> Heads | None:
    """The attention whose result a dense layer reads."""
    if not (is_dense(out) and isinstance(out, LayerStatement) and not out.activation):
        return None
    context = out.sources[0].statement
    product = pair_of(context.element) if isinstance(context, LetStatement) else None
    if product is None or [len(axis) for axis in context.axes] != [1, 1, 2]:
        return None
    (n,), (t,), (h, e) = context.axes
    (u,) = product.indices if len(product.indices) == 1 else (None,)
    for weights, value in (product.reads, product.reads[::-1]):
        found = softmax_of(weights, (n, h, t, u))
        if found is not None:
            scores, seen, softmax = found
            parts = projections(draft, scores, value, (n, h, t, u, e))
            if parts is not None:
                return Heads(*parts, int(draft.sizes[h]), seen, (scores.tensor.statement, softmax, context))
    return None


@dataclass(frozen=True)
class Pair:
    """factor·Σ reads[0]·reads[1] over indices."""

    factor: float
    reads: tuple[Read, Read]
    indices: tuple[sp.Symbol, ...]


def pair_of(element: Element) -> Pair | None:
    inner, factor = factored(element)
    match inner:
        case Over("Sum", Formula("{} * {}", (Read() as a, Read() as b)), indices):
            return Pair(factor, (a, b), indices)
    return None


def softmax_of(weights: Read, at: tuple[Any, ...]) -> tuple[Read, bool, Statement] | None:
    """(the scores at these indices, whether they are causal, the statement) of a softmax along the last axis."""
    softmax = weights.tensor.statement
    if weights.subscripts != at:
        return None
    if isinstance(softmax, LayerStatement) and softmax.function == "activations.softmax":
        return Read(softmax.sources[0], at), False, softmax
    if isinstance(softmax, LetStatement) and softmax.is_softmax:
        own = {axis[0]: i for axis, i in zip(softmax.axes, at, strict=True)}
        seen = [p.replaced(own) for p in softmax.element.walk() if isinstance(p, Index)]
        scores = [p.replaced(own) for p in softmax.element.walk() if isinstance(p, Read)]
        if all(s == Index("{} <= {}", (at[3], at[2])) for s in seen) and isinstance(scores[0], Read):
            return scores[0], True, softmax
    return None


def projections(
    draft: Draft, scores: Read, value: Read, at: tuple[Any, ...]
) -> tuple[Projection, Projection, Projection] | None:
    """(query, key, value), where these scores are products of queries and keys over the root of their size."""
    let, (n, h, t, u, e) = scores.tensor.statement, at
    product = pair_of(let.element) if isinstance(let, LetStatement) else None
    if product is None or len(product.indices) != 1 or any(len(axis) != 1 for axis in let.axes):
        return None
    own = {axis[0]: i for axis, i in zip(let.axes, scores.subscripts, strict=True)} | {product.indices[0]: e}
    size = draft.sizes[e]
    if draft.sizes[product.indices[0]] != size or abs(product.factor * float(sp.sqrt(size)) - 1) > 1e-6:
        return None
    for q, k in (product.reads, product.reads[::-1]):
        reads = [(q.replaced(own), t), (k.replaced(own), u), (value, u)]
        found = [projection(read, (n, step, size * h + e)) for read, step in reads]
        if None not in found:
            return tuple(found)  # type: ignore[return-value]
    return None


def projection(read: Element, at: tuple[Any, ...]) -> Projection | None:
    """The part of a dense layer that is read at (row, step, unit of a head)."""
    if not isinstance(read, Read) or len(read.subscripts) != 3 or not is_dense(read.tensor.statement):
        return None
    start = sp.expand(read.subscripts[2] - at[2])
    plain = read.subscripts[:2] == at[:2] and start.is_Integer and not read.tensor.statement.activation
    return Projection(read.tensor.statement, int(start)) if plain else None


def is_dense(statement: Any) -> bool:
    return isinstance(statement, LayerStatement) and statement.function == "layers.dense"
