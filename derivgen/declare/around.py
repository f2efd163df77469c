"""Subscripts that go round an axis, as of a ring: x[(i + 1) % W] is x[i + 1] where i + 1 < W, and x[i + 1 - W] else."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp
from sympy.logic.boolalg import Boolean
from sympy.tensor.indexed import Indexed

from derivgen.form.inside import all_nonnegative
from derivgen.form.program import Range, Tensor

MOST = 4  # turns that are told apart, each by a branch
FARTHEST = 16  # turns from the first one on, in either direction


def part_around(e: Indexed) -> sp.Mod | None:
    """The first part of a subscript that goes round."""
    parts = (p for subscript in e.indices for p in sp.preorder_traversal(subscript))
    return next((p for p in parts if isinstance(p, sp.Mod)), None)


def turns(
    value: sp.Expr, period: sp.Expr, path: Boolean, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]
) -> range | None:
    """The numbers k that there may be with k·period ≤ value < (k + 1)·period; None where they are too many."""

    def holds(claim: sp.Expr) -> bool:
        return all_nonnegative((sp.expand(claim),), path, domain, tensors)

    first = next((k for k in range(FARTHEST, -FARTHEST - 1, -1) if holds(value - k * period)), None)
    if first is None:
        return None
    last = next((k for k in range(first, first + MOST) if holds((k + 1) * period - 1 - value)), None)
    return None if last is None else range(first, last + 1)
