"""Divisions and calls that leave the loops that do not change them.

    for i: y[i] = x[i]/s[0]  →  reciprocal = 1/s[0]; for i: y[i] = x[i]·reciprocal

A compiler can't do that: a quotient is not a product with a reciprocal, and the stores of the loop might change what is
divided by. A call leaves the branches of a condition, too, that differs between iterations: what such a condition is
about is not the call's operand. A division stays there, where the condition may be that it is not by zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.share import is_costly, word_for
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import indices_in, mapped, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import Read, is_division, reads_of, substitute


def hoisted(function: Function) -> Function:
    """The function with each division and call that a loop does not change before the outermost such loop."""
    proof = Proof(function)
    fresh = Fresh(function, proof)

    def block(codes: Block, point: Point) -> Block:
        done: list[Code] = []
        for code in codes:
            if point == Point():
                fresh.restart(code)
            if isinstance(code, For):
                names = {part: Read(name_of(part, fresh)) for part in fixed_in(code, point, proof)}
                done += [Let(local.tensor, part) for part, local in names.items()]
                code = mapped(code, partial(substitute, mapping=names)) if names else code
            done.append(inside(code, point, block))
        return tuple(done)

    return function.with_body(block(function.body, Point()))


def name_of(part: sp.Expr, fresh: Fresh) -> str:
    if not is_division(part):
        return fresh.numbered(word_for(part))
    return fresh.name("reciprocal") if "reciprocal" not in fresh.taken else fresh.numbered("reciprocal", 2)


def fixed_in(loop: For, point: Point, proof: Proof) -> list[sp.Expr]:
    """The largest divisions and calls that are made in iterations of a loop, and mean the same before it."""
    own, written = {loop.index, *indices_in(loop.body)}, written_in(loop)

    def fixed(e: sp.Basic, calls_alone: bool) -> Iterator[sp.Expr]:
        if isinstance(e, Read) or not isinstance(e, sp.Expr) or not reads_of(e):
            return
        if isinstance(e, sp.Piecewise):
            if not any(is_invariant(pair.cond, own, written) for pair in e.args[:-1]):
                for pair in e.args:
                    yield from fixed(pair.expr, True)
            return
        takes_time = is_costly(e) or (is_division(e) and not calls_alone)
        if takes_time and is_invariant(e, own, written) and proof.may_be_read(e, point):
            yield e
        else:
            for argument in e.args:
                yield from fixed(argument, calls_alone)

    def values(block: Block, calls_alone: bool = False) -> Iterator[sp.Expr]:
        """The parts in a block; an inner loop is taken to have an iteration, and some iteration to take each branch."""
        for code in block:
            match code:
                case Let() | Assign():
                    yield from fixed(code.value, calls_alone)
                case For():
                    yield from values(code.body, calls_alone)
                case If() if not is_invariant(code.condition, own, written):
                    yield from values((*code.body, *code.otherwise), True)

    return list(dict.fromkeys(values(loop.body)))
