"""The place of the largest or smallest element as a number; and the other way round, a place as zeros and a one."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import MaxOver, indicator
from derivgen.layers.checks import is_tensor, whole_number
from derivgen.layers.cumulative import ANY, axis_of


def argmax(x: TensorSymbol, axis: int = -1, *, name: str) -> Any:
    """The index of the largest element along an axis, of several the first; of x's shape without that axis.

    It is a real number whose derivative is 0, infinite where an element is NaN. As keras.ops.argmax and torch.argmax.
    """
    return place(x, "argmax", axis, name, 1)


def argmin(x: TensorSymbol, axis: int = -1, *, name: str) -> Any:
    """The index of the smallest element along an axis, of several the first; of x's shape without that axis.

    It is a real number whose derivative is 0, infinite where an element is NaN. As keras.ops.argmin and torch.argmin.
    """
    return place(x, "argmin", axis, name, -1)


def place(x: TensorSymbol, layer: str, axis: Any, name: str, sign: int) -> Any:
    """The first index at which sign·x is largest: of these, the one that is farthest from the end."""
    if not is_tensor(x, layer, ANY, "of any number"):
        return x
    model, at, along = x.model, x.model.local_indices(*x.shape), axis_of(x, layer, axis)
    k, size, rest = at[along], x.shape[along], (*at[:along], *at[along + 1 :])
    largest = model.let(f"{name}_largest", rest, MaxOver(sign * x[at], k), layer=name)
    is_largest = sign * x[at] >= (largest[rest] if rest else largest)
    return model.let(name, rest, size - MaxOver(sp.Piecewise((size - k, is_largest), (-sp.oo, True)), k))


def one_hot(ids: TensorSymbol, num_classes: int | sp.Expr | None = None, *, name: str) -> Any:
    """1 at the id and 0 elsewhere: labels (…) → (…, num_classes), by default as many as the labels have.

    The row of an ignored label is 0. As keras.ops.one_hot and torch.nn.functional.one_hot.
    """
    if not is_tensor(ids, "one_hot", ANY, "of any number"):
        return ids
    model, declared = ids.model, ids.model.declarations.get(ids.name)
    if declared is None or not declared.integer:
        model.problem(f"one_hot expects ids declared by model.labels, or an integer constant, found {ids.name}")
        return ids
    known = declared.classes or 1 if declared.value is None else int(declared.value.max()) + 1
    classes = known if num_classes is None else whole_number(model, "one_hot", "num_classes", num_classes, known)
    *rows, c = model.local_indices(*ids.shape, classes)
    return model.let(name, (*rows, c), indicator(sp.Eq(ids[tuple(rows)], c)))
