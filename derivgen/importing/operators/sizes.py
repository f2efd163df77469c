"""Arithmetic of sizes, some of which are symbols: what a graph computes from `Shape`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.graph import Node, Refusal
from derivgen.importing.refusals import OTHERWISE

Array = np.ndarray


def gathered(node: Node, x: Array, ids: Array) -> Array:
    return np.take(x, ids.astype(int), axis=node.get("axis", 0))


def cut(node: Node, x: Array, start: Array, end: Array, axes: Array | None = None, step: Array | None = None) -> Array:
    if x.ndim != 1:
        raise Refusal(f"sizes in {x.ndim} axes are cut: {OTHERWISE}")
    return x[int(start.flat[0]) : int(end.flat[0]) : int(step.flat[0]) if step is not None else 1]


def divided(node: Node, a: Array, b: Array) -> Array:
    """Whole quotients; of symbols, where they are known to be whole."""
    return np.asarray(np.frompyfunc(quotient, 2, 1)(a, b), object)


def quotient(a: Any, b: Any) -> Any:
    found = sp.cancel(sp.sympify(a) / b)
    return found if found.is_integer else sp.floor(found)


def reshaped(node: Node, x: Array, shape: Array) -> Array:
    return x.reshape([int(s) for s in shape])


def expanded(node: Node, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(s) for s in shape)))


def squeezed(node: Node, x: Array, axes: Array | None = None) -> Array:
    return x.reshape(()) if x.size == 1 else x


def unsqueezed(node: Node, x: Array, axes: Array) -> Array:
    return x.reshape(1) if x.ndim == 0 else np.expand_dims(x, tuple(int(a) for a in axes.reshape(-1)))


def chosen(node: Node, condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition.astype(bool), a, b)


TABLE: dict[str, Callable[..., Array]] = {
    "Add": lambda node, a, b: a + b,
    "Cast": lambda node, x: x,
    "Concat": lambda node, *xs: np.concatenate(xs),
    "Div": divided,
    "Equal": lambda node, a, b: np.asarray(np.frompyfunc(lambda p, q: bool(p == q), 2, 1)(a, b)),
    "Expand": expanded,
    "Gather": gathered,
    "Identity": lambda node, x: x,
    "Mul": lambda node, a, b: a * b,
    "ReduceProd": lambda node, x, *_: np.asarray(sp.Mul(*x.reshape(-1)), object),
    "Reshape": reshaped,
    "Slice": cut,
    "Squeeze": squeezed,
    "Sub": lambda node, a, b: a - b,
    "Unsqueeze": unsqueezed,
    "Where": chosen,
}


def tidy(array: Array) -> Array:
    """Sizes as integers where all are known."""
    array = np.asarray(array)
    if array.dtype == object and all(isinstance(v, int | np.integer | bool) or v.is_Integer for v in array.flat):
        return array.astype(np.int64)
    return array
