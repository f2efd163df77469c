"""Divisions that leave the loops that do not change them.

    for i: y[i] = x[i]/s[0]  →  reciprocal = 1/s[0]; for i: y[i] = x[i]·reciprocal

A compiler can't do that: a quotient is not a product with a reciprocal, and the stores of the loop might change what is
divided by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, Let, indices_in, mapped, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import Read, is_division, substitute, unconditional_parts


def hoisted(function: Function) -> Function:
    """The function with each division by what a loop does not change before the outermost such loop."""
    fresh, proof = Fresh(function), Proof(function)

    def block(codes: Block, point: Point) -> Block:
        done: list[Code] = []
        for code in codes:
            if isinstance(code, For):
                names = {part: Read(name_of(fresh)) for part in divisions_before(code, point, proof)}
                done += [Let(local.tensor, part) for part, local in names.items()]
                code = mapped(code, partial(substitute, mapping=names)) if names else code
            done.append(inside(code, point, block))
        return tuple(done)

    return replace(function.with_body(block(function.body, Point())), taken=frozenset(fresh.taken))


def name_of(fresh: Fresh) -> str:
    return fresh.name("reciprocal") if "reciprocal" not in fresh.taken else fresh.numbered("reciprocal", 2)


def divisions_before(loop: For, point: Point, proof: Proof) -> list[sp.Expr]:
    """The divisions that are made in each iteration of a loop, and that have the same meaning before it."""
    own, written = {loop.index, *indices_in(loop.body)}, written_in(loop)
    found: dict[sp.Expr, None] = {}
    for value in values_always_evaluated(loop.body):
        for part in unconditional_parts(value):
            if is_division(part) and is_invariant(part, own, written) and proof.may_be_read(part, point):
                found[part] = None
    return list(found)


def values_always_evaluated(block: Block) -> Iterator[sp.Expr]:
    """The values in a block that no condition guards; an inner loop is taken to have an iteration."""
    for code in block:
        match code:
            case Let() | Assign():
                yield code.value
            case For():
                yield from values_always_evaluated(code.body)
