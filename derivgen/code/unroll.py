"""Loops of a few iterations between other statements of a row, written out.

    for n: s = 0; for x in range(3): s += a[n,x]²; y[n] = 2·s  →  for n: s = a[n,0]² + a[n,1]² + a[n,2]²; y[n] = 2·s

What all statements of a row read is then read once, what a row adds up stays in locals, and nothing keeps a compiler
from computing several rows at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, For, Function, If
from derivgen.code.visit import mapped, with_blocks
from derivgen.code.walk import Fresh
from derivgen.form.expressions import Read, substitute

MOST, LINES = 4, 12  # iterations of a loop that is written out, and the statements that become of it


def unrolled(function: Function) -> Function:
    """The function with the innermost loops of a few iterations written out that are not all that a row does."""

    fresh = Fresh(function)

    def block(codes: Block, around: Code | None = None) -> Block:
        done: list[Code] = []
        for code in codes:
            if around is None:
                fresh.restart(code)
            code = with_blocks(code, partial(block, around=code))
            if isinstance(code, For) and is_short(code) and is_beside_others(around):
                done += written_out(code, done, fresh)
            else:
                done.append(code)
        return tuple(done)

    return function.with_body(block(function.body))


def is_set(code: Assign) -> bool:
    """Whether a local gets a value, which lives in one iteration."""
    return code.operator == "=" and not code.place.subscripts


def is_beside_others(around: Code | None) -> bool:
    """Whether what stands there is not all that a row does."""
    return isinstance(around, If) or (isinstance(around, For) and len(around.body) > 1)


def is_short(loop: For) -> bool:
    few = loop.stop.is_Integer and loop.stop <= MOST and len(loop.body) * loop.stop <= LINES
    plain = loop.start == 0 and loop.step == 1 and not (loop.steps or loop.backwards or loop.parallel)
    return bool(few) and plain and all(isinstance(code, Assign) for code in loop.body)


def written_out(loop: For, before: list[Code], fresh: Fresh) -> Block:
    """The iterations of a loop one after another; a sum into one place at once, with what it starts from."""
    rounds: list[Code] = []
    locals_ = {c.place.tensor for c in loop.body if isinstance(c, Assign) and is_set(c)}
    for k in range(int(loop.stop)):
        names: dict[sp.Expr, sp.Expr] = {Read(name): Read(fresh.name(f"{name}_{k}")) for name in sorted(locals_)}
        change = partial(substitute, mapping={loop.index: sp.Integer(k), **names})
        for code in (mapped(code, change) for code in loop.body):
            own = isinstance(code, Assign) and code.place in names
            rounds.append(replace(code, place=names[code.place]) if own and isinstance(code, Assign) else code)
    first = rounds[0]
    alone = len(loop.body) == 1 and isinstance(first, Assign) and first.operator == "+="
    if (
        not alone
        or not isinstance(first, Assign)
        or any(isinstance(c, Assign) and c.place != first.place for c in rounds)
    ):
        return tuple(rounds)
    total = replace(first, value=sp.Add(*(code.value for code in rounds if isinstance(code, Assign))))
    if before and before[-1] == Assign(first.place, "=", sp.S.Zero):
        before.pop()
        total = replace(total, operator="=")
    return (total,)
