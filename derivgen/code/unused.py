"""Locals that nobody reads, and loops and branches in which nothing is left.

for n: a = exp(x[n]); b = 2·a; y[n] = x[n]  →  for n: y[n] = x[n]
"""

from __future__ import annotations

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import statements_in, values_of, with_blocks
from derivgen.form.expressions import negation, reads_of


def without_unused(function: Function) -> Function:
    """The function without what only gives values to locals that are not read."""
    while (shorter := without(function)) != function:
        function = shorter
    return function


def without(function: Function) -> Function:
    read = {r.tensor for code in statements_in(function.body) for r in reads_of(*values_read(code))}

    def block(codes: Block) -> Block:
        return tuple(kept for code in codes for kept in statement(code))

    def statement(code: Code) -> Block:
        match code:
            case Let() if code.name not in read:
                return ()
            case Assign() if not code.place.subscripts and code.place.tensor not in read:
                return ()
            case For() | If():
                return filled(with_blocks(code, block))
            case _:
                return (code,)

    return function.with_body(block(function.body))


def values_read(code: Code) -> list[sp.Basic]:
    """What a statement evaluates, except for the place that it adds to."""
    return [e for e in values_of(code) if not (isinstance(code, Assign) and e == code.place)]


def filled(code: Code) -> Block:
    """A loop or a branch; nothing where it does nothing."""
    if isinstance(code, If) and not code.body and code.otherwise:
        return (If(negation(code.condition), code.otherwise),)
    return (code,) if isinstance(code, For | If) and code.body else ()
