"""Totals over rows whose number is known at run time, added up in blocks of rows, and then over the blocks.

    s = 0; for n in range(N): s += x[n]
    →  s = 0
       for first in range(0, N, 4096):
           part = 0; for n in range(first, min(first + 4096, N)): part += x[n]
           s += part

One sum of N float32 numbers is off by as much as N roundings, a sum of blocks' sums by as many as one block has, and as
there are blocks.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.code.tree import Assign, Code, For, Function, Let
from derivgen.code.visit import statements_in, with_blocks, written_by
from derivgen.code.walk import Fresh
from derivgen.form.expressions import Read

BLOCK = 4096  # rows whose terms are added up one after another


def in_blocks(function: Function) -> Function:
    """The function with the totals that run through a whole loop over rows in blocks."""
    fresh = Fresh(function)
    totals: list[str] = []
    done: list[Code] = []
    for code in function.body:
        if isinstance(code, Let | Assign) and code.value == 0 and is_local(code):
            totals.append(str(written_by(code)))
        fresh.restart(code)
        done.append(divided(code, totals, fresh) if isinstance(code, For) else code)
    return function.with_body(tuple(done))


def is_local(code: Let | Assign) -> bool:
    return isinstance(code, Let) or not code.place.subscripts


def divided(loop: For, totals: list[str], fresh: Fresh) -> For:
    """The outermost loop over rows, in a loop or itself, as a loop over blocks of them."""
    inner = [*statements_in(loop.body)]
    made = {code.name for code in inner if isinstance(code, Let)}  # another local of that name, of each iteration
    own = [t for t in totals if t not in made and any(is_added_to(code, t) for code in inner)]
    if not own or loop.steps or loop.parallel:
        return loop
    if loop.stop.is_Integer or loop.most is not None:
        return replace(loop, body=tuple(divided(c, own, fresh) if isinstance(c, For) else c for c in loop.body))
    parts = {t: Read(fresh.name(f"{t.removesuffix('_total')}_part")) for t in own}
    body = tuple(adding_to(c, parts) for c in loop.body)
    starts = [Let(part.tensor, sp.S.Zero) for part in parts.values()]
    sums = [Assign(Read(t), "+=", part) for t, part in parts.items()]
    if loop.step != 1:  # over blocks already
        return replace(loop, body=(*starts, *body, *sums))
    first = fresh.index("first")
    rows = replace(loop, body=body, start=first, stop=sp.Min(first + BLOCK, loop.stop), most=loop.stop)
    return For(first, loop.stop, (*starts, rows, *sums), loop.start, BLOCK)


def is_added_to(code: Code, total: str) -> bool:
    return isinstance(code, Assign) and code.place == Read(total) and code.operator == "+="


def adding_to(code: Code, parts: dict[str, Read]) -> Code:
    """The statement with what it adds to totals added to their parts."""
    if isinstance(code, Assign) and not code.place.subscripts and code.operator == "+=":
        return replace(code, place=parts.get(code.place.tensor, code.place))
    return with_blocks(code, lambda block: tuple(adding_to(c, parts) for c in block))
