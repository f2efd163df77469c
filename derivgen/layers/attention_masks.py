"""Pairs of a query and a key: their subscripts, which pairs are seen, and what is added to their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import are_lengths, number, positive, shape_among, whole_number

Axis = tuple[Any, Any]  # its size, and the subscript along it


@dataclass(frozen=True, slots=True)
class Pairs:
    """The axes of pairs of a query and a key; `past` is the step of query 0 among the keys."""

    row: Axis
    heads: tuple[Axis, ...]
    time: Axis
    step: Axis
    past: Any

    @property
    def scores(self) -> tuple[Any, ...]:
        """The subscripts of a pair's score."""
        return (self.row[1], *(h for _, h in self.heads), self.time[1], self.step[1])

    def query(self, feature: Any) -> tuple[Any, ...]:
        return (self.row[1], self.time[1], *(h for _, h in self.heads), feature)

    def key(self, feature: Any) -> tuple[Any, ...]:
        return (self.row[1], self.step[1], *(h for _, h in self.heads), feature)

    def shapes(self) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The shapes that a tensor of pairs may have, with the subscripts of a pair; the first that fits counts."""
        row, heads, time, step = self.row, self.heads, self.time, self.step
        kinds = ((row, step), (time, step), (row, time, step), (*heads, time, step), (row, *heads, time, step))
        shapes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for axes in kinds:
            shapes.setdefault(tuple(size for size, _ in axes), tuple(at for _, at in axes))
        return shapes


def pairs_of(query: TensorSymbol, key: TensorSymbol, past: Any) -> Pairs:
    """The pairs of queries and keys with as many heads; `past` of the keys come before those of the queries' steps."""
    (batch, time, *heads, _), steps = query.shape, key.shape[1]
    letters = "ntuh" if len(heads) == 1 else "ntu"
    n, t, u, *h = query.model.local_indices(batch, time, steps, *heads, letters=letters)
    return Pairs((batch, n), tuple(zip(heads, h, strict=True)), (time, t), (steps, u), past)


def seen_keys(layer: str, model: Model, pairs: Pairs, causal: bool, window: Any, mask: Any, lengths: Any) -> list[Any]:
    """The conditions under which a query sees a key; what does not fit is noted, and left out."""
    (_, n), (_, t), (_, u) = pairs.row, pairs.time, pairs.step
    seen = [u <= t + pairs.past] if causal else []
    if window is not None:
        reach = whole_number(model, layer, "window", window)
        seen += [u > t + pairs.past - reach, *([] if causal else [u < t + pairs.past + reach])]
    if (element := element_of(layer, model, "mask", mask, pairs.shapes())) is not None:
        seen.append(element > 0)
    if lengths is not None and are_lengths(model, layer, lengths, pairs.row[0]):
        seen.append(u < lengths[n])
    return seen


def element_of(layer: str, model: Model, word: str, tensor: Any, shapes: dict[tuple[Any, ...], tuple[Any, ...]]) -> Any:
    """The element of a tensor of one of these shapes; None where there is no tensor, or another one, which is noted."""
    if tensor is None:
        return None
    shape = shape_among(model, layer, word, tensor, shapes, ": leave out the axes along which it is the same")
    return None if shape is None else tensor[shapes[shape]]


def scored(layer: str, model: Model, product: Any, features: Any, scale: Any, softcap: Any) -> Any:
    """The score of a pair by the product of its query and its key."""
    if scale is None:
        scores = product / sp.sqrt(features)
    elif isinstance(scale, sp.Expr) and not isinstance(scale, sp.Number | sp.IndexedBase):
        scores = product * scale
    else:
        expected = "a number, or an expression such as that of a parameter without axes"
        scores = product * number(model, layer, "scale", scale, expected, lambda v: abs(v) < sp.oo, 1)
    if softcap is None:
        return scores
    cap = positive(model, layer, "softcap", softcap)
    return cap * sp.tanh(scores / cap)
