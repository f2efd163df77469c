"""What messages suggest to write: reads of a spec's tensors at its own indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx, IndexedBase


def subscript_text(subscript: Any) -> str:
    """A subscript as it is written: `:` for a slice, `...` for an Ellipsis."""
    if isinstance(subscript, slice):
        ends = ("" if end is None else str(end) for end in (subscript.start, subscript.stop))
        return ":".join(ends) + ("" if subscript.step is None else f":{subscript.step}")
    if subscript is Ellipsis:
        return "..."
    return repr(subscript) if isinstance(subscript, str) else str(subscript)


def indices_for(shape: Sequence[sp.Expr], declared: Iterable[Idx]) -> list[str]:
    """For each axis the first of the declared indices that has its size and is not taken yet, else `i0`, `i1`, …"""
    left, found = list(declared), []
    for axis, size in enumerate(shape):
        index = next((i for i in left if i.upper is not None and i.upper + 1 == size), None)
        found.append(f"i{axis}" if index is None else str(index))
        left = [i for i in left if i is not index]
    return found


def at_indices(tensor: IndexedBase, declared: Iterable[Idx]) -> str:
    """`x[n, d]`."""
    return f"{tensor.name}[{', '.join(indices_for(tensor.shape or (sp.S.One,), declared))}]"


def product_text(left: Any, right: Any, declared: Iterable[Idx]) -> str:
    """`Sum(x[n, d]*W[d, h], d)` for `x @ W`; that as an example, where the two are no such tensors."""
    if not all(isinstance(t, IndexedBase) for t in (left, right)) or left.shape[-1] != right.shape[0]:
        return "Sum(x[n, d]*W[d, h], d)"
    names, rank = indices_for((*left.shape, *right.shape[1:]), declared), len(left.shape)
    summed = names[rank - 1]
    others = ", ".join([summed, *names[rank:]])
    return f"Sum({left.name}[{', '.join(names[:rank])}]*{right.name}[{others}], {summed})"
