"""Branches: neighbours under one condition are one, and a condition that a loop does not change is tested before it.

if c: a = 1; if c: b = 2       →  if c: a = 1; b = 2
for j: if c[n] > 2: y[n] += x[j]  →  if c[n] > 2: for j: y[n] += x[j]
"""

from __future__ import annotations

from dataclasses import replace

from derivgen.code.tree import Block, Code, For, Function, If
from derivgen.code.visit import indices_in, with_blocks, written_in
from derivgen.code.walk import is_invariant
from derivgen.form.expressions import reads_of


def joined(function: Function) -> Function:
    """Neighbouring branches under one condition, which the first one does not change, as one.

    What stands at the top of a function under a condition of data stays apart, as its statements are.
    """

    def block(codes: Block, top: bool = False) -> Block:
        done: list[Code] = []
        for code in codes:
            last = done[-1] if done else None
            apart = top and isinstance(code, If) and bool(reads_of(code.condition))
            if isinstance(code, If) and isinstance(last, If) and are_one(last, code) and not apart:
                done[-1] = replace(last, body=(*last.body, *code.body), otherwise=(*last.otherwise, *code.otherwise))
            else:
                done.append(code)
        return tuple(with_blocks(code, block) for code in done)

    return function.with_body(block(function.body, top=True))


def are_one(a: If, b: If) -> bool:
    """Whether two branches after one another have one condition, which the first one does not change."""
    return a.condition == b.condition and {r.tensor for r in reads_of(a.condition)}.isdisjoint(written_in(a))


def guarded_once(function: Function) -> Function:
    """Each condition under which all is done that a loop does, and that it does not change, before the loop."""

    def block(codes: Block) -> Block:
        return tuple(out_of_loop(with_blocks(code, block)) for code in codes)

    return function.with_body(block(function.body))


def out_of_loop(code: Code) -> Code:
    if isinstance(code, For) and len(code.body) == 1 and isinstance(code.body[0], If):
        inner = code.body[0]
        fixed = is_invariant(inner.condition, {code.index, *indices_in(code.body)}, written_in(code))
        if fixed and not inner.otherwise and not code.parallel:
            return replace(inner, body=(replace(code, body=inner.body),))
    return code
