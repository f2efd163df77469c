"""Loops that a guard cuts short, at their end or at their start.

for u in range(T): if u <= t: y += x[u]  →  for u in range(t + 1): y += x[u]
for u in range(T): if u > t: y += x[u]   →  for u in range(t + 1, T): y += x[u]
for u in range(T): if u ≥ t - 3 and u ≤ t: y += x[u]  →  for u in range(max(0, t - 3), t + 1): y += x[u]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.extents import SHORT
from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import blocks_of, indices_in, statements_in, with_blocks, written_in
from derivgen.code.walk import inside, is_invariant
from derivgen.form.expressions import all_of, conjuncts, is_integral
from derivgen.form.inside import limit_of

MORE = {"<": 0, "<=": 1, ">": 1, ">=": 0}  # from the limit that a condition names to a bound of a loop


def bounded(function: Function) -> Function:
    """The function with each loop between the bounds that all of its work has in common."""
    proof = Proof(function)

    def block(codes: Block, point: Point) -> Block:
        return tuple(statement(code, point) for code in codes)

    def statement(code: Code, point: Point) -> Code:
        while isinstance(code, For) and (shorter := cut_short(code, point, proof)) != code:
            code = shorter
        return inside(code, point, block)

    return function.with_body(block(function.body, Point()))


def cut_short(loop: For, point: Point, proof: Proof) -> For:
    """A loop up to, or from, the first bound that is known before it, and under which all is done that it does."""
    for bound, condition, is_start in bounds_in(loop):
        integer = is_integral(bound, proof.is_integer)
        fixed = integer and is_invariant(bound, {loop.index, *indices_in(loop.body)}, written_in(loop))
        if not fixed or not proof.may_be_read(bound, point) or not all_under(loop.body, condition):
            continue
        end = end_of(loop, bound, is_start, proof, point)
        if end is None:
            continue
        body = tuple(inner for code in loop.body for inner in without(code, condition))
        if is_start:
            return replace(loop, start=end, body=body)
        return replace(loop, stop=end, most=loop.most if end == loop.stop else loop.extent, body=body)
    return loop


def end_of(loop: For, bound: sp.Expr, is_start: bool, proof: Proof, point: Point) -> sp.Expr | None:
    """Where a loop starts, or stops, by its own end and by a bound.

    None where only an iteration could tell, in a loop so short that a compiler writes it out, with the tests.
    """
    own, tighter = (loop.start, sp.Max) if is_start else (loop.stop, sp.Min)
    low, high = (own, bound) if is_start else (bound, own)
    if proof.is_at_most(low, high, point):
        return bound
    if proof.is_at_most(high, low, point):
        return own
    return None if loop.extent.is_Integer and loop.extent < SHORT else tighter(own, bound)


def bounds_in(loop: For) -> Iterator[tuple[sp.Expr, Boolean, bool]]:
    """(bound, condition, whether it is a start): what the first branch in a loop says of its index."""
    first = next((code for code in statements_in(loop.body) if isinstance(code, If)), None)
    if first is None or loop.steps or loop.parallel:
        return
    for condition in conjuncts(first.condition):
        if found := limit_of(condition, loop.index):
            relation, limit = found
            yield limit + MORE[relation], condition, relation in (">", ">=")


def all_under(block: Block, condition: Boolean) -> bool:
    """Whether nothing is done where a condition fails, but that a local gets a value, which the loop alone reads."""
    return all(is_under(code, condition) for code in block)


def is_under(code: Code, condition: Boolean) -> bool:
    match code:
        case If():
            return not code.otherwise and condition in conjuncts(code.condition)
        case For():
            return all_under(code.body, condition)
        case Assign():
            return code.operator == "=" and not code.place.subscripts
        case _:
            return isinstance(code, Let)


def without(code: Code, condition: Boolean) -> Block:
    """The statement without the test of a condition."""
    if isinstance(code, If) and condition in conjuncts(code.condition):
        rest = all_of(*(c for c in conjuncts(code.condition) if c != condition))
        return code.body if rest == sp.true else (replace(code, condition=rest),)
    if not blocks_of(code):
        return (code,)
    return (with_blocks(code, lambda block: tuple(c for inner in block for c in without(inner, condition))),)
