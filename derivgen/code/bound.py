"""Loops that a guard cuts short.

for u in range(T): if u <= t: y += x[u]  →  for u in range(t + 1): y += x[u]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import blocks_of, indices_in, statements_in, with_blocks, written_in
from derivgen.code.walk import inside, is_invariant
from derivgen.form.expressions import all_of, conjuncts, indices_of, is_integral, reads_of


def bounded(function: Function) -> Function:
    """The function with each loop up to the bound that all of its work has in common."""
    proof = Proof(function)

    def block(codes: Block, point: Point) -> Block:
        return tuple(statement(code, point) for code in codes)

    def statement(code: Code, point: Point) -> Code:
        if isinstance(code, For):
            code = cut_short(code, point, proof)
        return inside(code, point, block)

    return function.with_body(block(function.body, Point()))


def cut_short(loop: For, point: Point, proof: Proof) -> For:
    """A loop up to the first bound that is known before it, and under which all is done that is done in it."""
    for bound, condition in bounds_in(loop):
        integer = is_integral(bound, proof.is_integer)
        fixed = integer and is_invariant(bound, {loop.index, *indices_in(loop.body)}, written_in(loop))
        known = fixed and proof.may_be_read(bound, point) and proof.is_at_most(bound, loop.stop, point)
        if known and all_under(loop.body, condition):
            body = tuple(inner for code in loop.body for inner in without(code, condition))
            return replace(loop, stop=bound, most=loop.stop, body=body)
    return loop


def bounds_in(loop: For) -> Iterator[tuple[sp.Expr, Boolean]]:
    """(bound, condition): the conditions of the first branch in a loop that keep its index below something."""
    first = next((code for code in statements_in(loop.body) if isinstance(code, If)), None)
    if first is None or loop.steps or loop.parallel:
        return
    for condition in conjuncts(first.condition):
        if isinstance(condition, sp.core.relational.Relational) and loop.index in condition.free_symbols:
            form = condition if condition.lhs == loop.index else condition.reversed
            alone = form.lhs == loop.index and loop.index not in form.rhs.free_symbols and form.rel_op in ("<", "<=")
            if alone and (indices_of(form.rhs) or reads_of(form.rhs)):
                yield form.rhs + (1 if form.rel_op == "<=" else 0), condition


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
