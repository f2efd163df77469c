"""Branches: neighbours under one condition are one, and a condition that a loop does not change is tested before it.

if c: a = 1; if c: b = 2       →  if c: a = 1; b = 2
for j: if c[n] > 2: y[n] += x[j]  →  if c[n] > 2: for j: y[n] += x[j]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from derivgen.code.tree import Block, Code, For, Function, If
from derivgen.code.visit import indices_in, read_in, with_blocks, written_in
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


def branches_together(function: Function) -> Function:
    """Branches under one condition in a loop as one, where what stands between may as well come after them.

    if c: a = exp(x); y += 1; if c: b = exp(x)  →  if c: a = exp(x); b = exp(x); y += 1
    """

    def block(codes: Block, top: bool = False) -> Block:
        done: list[Code] = []
        for code in (with_blocks(code, block) for code in codes):
            host = None if top or not isinstance(code, If) else host_of(code, done)
            if host is None:
                done.append(code)
            else:
                own = done[host]
                assert isinstance(own, If) and isinstance(code, If)
                merged = replace(own, body=(*own.body, *code.body), otherwise=(*own.otherwise, *code.otherwise))
                done[host] = with_blocks(merged, block)
        return tuple(done)

    return function.with_body(block(function.body, top=True))


def host_of(branch: If, before: Sequence[Code]) -> int | None:
    """The position of the last branch under the same condition that this one may join.

    Not where this one reads what the other one sets: calls of that may be needed without a condition, too.
    """
    writes, reads = written_in(branch), read_in(branch)
    for position in range(len(before) - 1, -1, -1):
        code = before[position]
        if isinstance(code, If) and are_one(code, branch):
            return position if reads.isdisjoint(written_in(code)) else None
        if not (writes.isdisjoint(read_in(code) | written_in(code)) and reads.isdisjoint(written_in(code))):
            return None
    return None


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
