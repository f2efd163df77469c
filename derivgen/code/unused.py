"""Locals that nobody reads, and loops and branches in which nothing is left.

for n: a = exp(x[n]); b = 2·a; y[n] = x[n]  →  for n: y[n] = x[n]
"""

from __future__ import annotations

from collections.abc import Set

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
    def block(codes: Block, later: Set[str]) -> Block:
        """What is left of statements after which these names are read."""
        kept, read = list[Code](), set(later)
        for code in reversed(codes):
            left = statement(code, read)
            read |= names_read(left)
            kept[:0] = left
        return tuple(kept)

    def statement(code: Code, later: Set[str]) -> Block:
        match code:
            case Let() if code.name not in later:
                return ()
            case Assign() if not code.place.subscripts and code.place.tensor not in later:
                return ()
            case For():
                around = later | read_first(code.body, set())[0]  # by the next iteration
                return filled(with_blocks(code, lambda codes: block(codes, around)))
            case If():
                return filled(with_blocks(code, lambda codes: block(codes, later)))
            case _:
                return (code,)

    return function.with_body(block(function.body, frozenset()))


def names_read(codes: Block) -> set[str]:
    return {r.tensor for code in statements_in(codes) for r in reads_of(*values_read(code))}


def read_first(codes: Block, written: Set[str]) -> tuple[set[str], set[str]]:
    """(what statements may read before they write it, what is written in any case after them)"""
    read, done = set[str](), set(written)
    for code in codes:
        read |= {r.tensor for r in reads_of(*values_read(code))} - done
        if isinstance(code, Let):
            done.add(code.name)
        elif isinstance(code, Assign) and not code.place.subscripts and code.operator == "=":
            done.add(code.place.tensor)
        elif isinstance(code, For):
            read |= read_first(code.body, done)[0]
        elif isinstance(code, If):
            ways = [read_first(own, done) for own in (code.body, code.otherwise)]
            read |= ways[0][0] | ways[1][0]
            done |= ways[0][1] & ways[1][1]
    return read, done


def values_read(code: Code) -> list[sp.Basic]:
    """What a statement evaluates, except for the place that it adds to."""
    return [e for e in values_of(code) if not (isinstance(code, Assign) and e == code.place)]


def filled(code: Code) -> Block:
    """A loop or a branch; nothing where it does nothing."""
    if isinstance(code, If) and not code.body and code.otherwise:
        return (If(negation(code.condition), code.otherwise),)
    return (code,) if isinstance(code, For | If) and code.body else ()
