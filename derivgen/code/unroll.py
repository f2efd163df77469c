"""Loops of a few iterations between other statements of a row, written out.

    for n: s = 0; for x in range(3): s += a[n,x]²; y[n] = 2·s  →  for n: s = a[n,0]² + a[n,1]² + a[n,2]²; y[n] = 2·s

What all statements of a row read is then read once, what a row adds up stays in locals, and nothing keeps a compiler
from computing several rows at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.carry import Reduction, start_of
from derivgen.code.tree import Assign, Block, Code, For, Function, If
from derivgen.code.visit import mapped, with_blocks
from derivgen.code.walk import Fresh
from derivgen.form.expressions import TRUE, Read, indices_of, reads_of, substitute

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
    return bool(few) and plain and all(isinstance(c, Assign) and c.operator != "max=" for c in loop.body)


def written_out(loop: For, before: list[Code], fresh: Fresh) -> Block:
    """The iterations of a loop one after another; a sum into one place at once, with what it starts from."""
    rounds: list[Code] = []
    locals_ = dict.fromkeys(c.place.tensor for c in loop.body if isinstance(c, Assign) and is_set(c))
    for k in range(int(loop.stop)):
        names: dict[sp.Expr, sp.Expr] = {Read(name): Read(fresh.name(f"{name}_{k}")) for name in locals_}
        change = partial(substitute, mapping={loop.index: sp.Integer(k), **names})
        for code in (mapped(code, change) for code in loop.body):
            own = isinstance(code, Assign) and code.place in names
            rounds.append(replace(code, place=names[code.place]) if own and isinstance(code, Assign) else code)
    sums = sums_in(loop)
    rest = [code for code in rounds if not (isinstance(code, Assign) and code.place in sums)]
    for place in sums:
        value = sp.Add(*(code.value for code in rounds if isinstance(code, Assign) and code.place == place))
        start = start_of(Reduction(place, "+=", TRUE), before)
        if start is not None:
            del before[start]
        rest.append(Assign(place, "+=" if start is None else "=", value))
    return tuple(rest)


def sums_in(loop: For) -> list[Read]:
    """The places to which each iteration adds, which none reads, and whose terms are the same after all iterations."""
    assigns = [c for c in loop.body if isinstance(c, Assign)]
    places = [c.place for c in assigns if c.operator == "+=" and loop.index not in indices_of(c.place)]
    read = {r.tensor for c in assigns for r in reads_of(c.value, *c.place.subscripts)}
    written = [c.place.tensor for c in assigns]

    def may_wait(k: int) -> bool:
        """Whether nothing that a statement reads gets another value later."""
        reads = [r for r in reads_of(assigns[k].value) if r.subscripts and r.tensor in written]
        before = {c.place for c in assigns[:k] if loop.index in indices_of(c.place)}
        return all(written.count(r.tensor) == 1 and r in before for r in reads)

    waiting = {c.place for k, c in enumerate(assigns) if may_wait(k)}
    return [p for p in places if p in waiting and p.tensor not in read and written.count(p.tensor) == 1]
