"""Sizes: numbers of elements, comparisons, and the number that stands for a size known only at run time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import sympy as sp

from derivgen.form.program import Program, Statement, Tensor

REMEMBERED = 4096  # answers on sizes, of which a model has few that are asked for again and again


def element_count(t: Tensor) -> sp.Expr:
    return count_of(t.shape)


@lru_cache(REMEMBERED)
def count_of(shape: tuple[sp.Expr, ...]) -> sp.Expr:
    return sp.expand(sp.Mul(*shape))


def coefficients(size: sp.Expr) -> list[sp.Expr]:
    return [term.as_coeff_Mul()[0] for term in sp.Add.make_args(size)]


@lru_cache(REMEMBERED)
def at_most(a: sp.Expr, b: sp.Expr) -> bool:
    """Whether a ≤ b whatever the run-time sizes, which are at least 1."""
    if isinstance(a, sp.Integer) and isinstance(b, sp.Integer):
        return bool(a <= b)
    difference = sp.expand(b - a)
    if has_no_negative(difference):
        return True
    # With no negative coefficient in size - 1, the difference is nowhere negative either.
    sizes = difference.free_symbols
    return bool(sizes) and has_no_negative(sp.expand(difference.xreplace({s: s + 1 for s in sizes})))


def has_no_negative(size: sp.Expr) -> bool:
    return all(c >= 0 for c in coefficients(size))


def is_multiple(size: sp.Expr, of: int) -> bool:
    return all(c.is_Integer and c % of == 0 for c in coefficients(size))


TYPICAL_SIZE = 32  # stands for each run-time size where a choice depends on one
SMALL_UPDATE = 4096  # parameters: updates of fewer ones cost next to nothing, and their text stays plain


def typical_size(s: Statement, indices: Iterable[sp.Expr]) -> int:
    """The number of points of some of a statement's indices, run-time sizes taken as typical."""
    extents = {r.index: r.extent for r in s.domain}
    return int(typical(sp.Mul(*(extents[i] for i in indices))))


@lru_cache(REMEMBERED)
def typical(size: sp.Expr) -> sp.Expr:
    """A size where those at run time are typical ones."""
    return size.subs(dict.fromkeys(size.free_symbols, TYPICAL_SIZE))


def flat_size(program: Program) -> int:
    """The length of the flat vector."""
    return sum(int(element_count(t)) for t in program.vector)


def offsets(program: Program) -> dict[str, int]:
    """Where each tensor starts in the flat vector."""
    starts, start = {}, 0
    for t in program.vector:
        starts[t.name] = start
        start += int(element_count(t))
    return starts


def row_major(subscripts: Sequence[sp.Expr], shape: Sequence[sp.Expr]) -> sp.Expr:
    """The position of an element in a tensor's memory."""
    position: sp.Expr = sp.Integer(0)
    for i, extent in zip(subscripts, shape, strict=True):
        position = sp.expand(position * extent + i)
    return position
