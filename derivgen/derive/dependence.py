"""Which tensors come from a tensor x, and along which of their axes they keep elements of x apart.

A tensor is apart along an axis of x if one of its own axes runs with it: A[…, i, …] comes from x[…, i, …] alone. Rows
of data are such as long as nothing mixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, all_of
from derivgen.form.functions import derivative
from derivgen.form.program import Statement, differentiable_reads, is_plain_index, reached


@lru_cache(maxsize=4096)
def local_derivatives(s: Statement) -> tuple[tuple[Read, Boolean, sp.Expr], ...]:
    """(read, the condition under which it is evaluated, ∂f/∂read) wherever that is not 0."""
    found = ((read, where, derivative(s.expression, read)) for read, where in differentiable_reads(s).items())
    return tuple(
        (read, where, local) for read, where, local in found if local != 0 and all_of(s.guard, where) != sp.false
    )


@dataclass(frozen=True, slots=True)
class Dependence:
    """The tensors that come from a tensor x, and for each axis of x the axes along which each of them is apart."""

    reached: frozenset[str]
    apart: tuple[dict[str, tuple[int, ...]], ...]


def dependence(x: str, rank: int, statements: Sequence[Statement], integer: frozenset[str]) -> Dependence:
    """How the targets of these statements, except `integer` tensors, come from x, which no statement writes."""
    smooth = [s for s in statements if s.target not in integer and s.target != x]
    names = reached([x], smooth, lambda s: {read.tensor for read, _, _ in local_derivatives(s)})
    between = [s for s in smooth if s.target in names]
    return Dependence(frozenset(names), tuple(kept_apart(x, axis, between) for axis in range(rank)))


def kept_apart(x: str, axis: int, statements: Sequence[Statement]) -> dict[str, tuple[int, ...]]:
    """For each target, its axes that run with this axis of x: assumed of all, then struck off until nothing changes.

    By induction over the order of execution what is left is true, in recurrences too.
    """
    found = {s.target: tuple(range(len(s.subscripts))) for s in statements} | {x: (axis,)}
    changed = True
    while changed:
        changed = False
        for s in statements:
            left = tuple(a for a in found[s.target] if runs_with(s, s.subscripts[a], found))
            changed |= left != found[s.target]
            found[s.target] = left
    return found


def runs_with(s: Statement, subscript: sp.Expr, apart: dict[str, tuple[int, ...]]) -> bool:
    """Whether all that a statement reads of x is read at this subscript of its target."""
    reads = [read for read, _, _ in local_derivatives(s) if read.tensor in apart]
    return is_plain_index(subscript) and all(
        any(read.subscripts[axis] == subscript for axis in apart[read.tensor]) for read in reads
    )
