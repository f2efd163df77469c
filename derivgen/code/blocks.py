"""Totals over rows whose number is known at run time, added up in blocks of rows, and then over the blocks.

    s = 0; for n in range(N): s += x[n]
    z[0] = s
    →  z[0] = 0
       for first in range(0, N, 4096):
           part = 0; for n in range(first, min(first + 4096, N)): part += x[n]
           z[0] += part

One sum of N float32 numbers is off by as much as N roundings, a sum of blocks' sums by as many as one block has, and as
there are blocks. A local for the sum of these, z[0] before, gains nothing: it is one store a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.tree import Assign, Code, For, Function, Let
from derivgen.code.visit import mapped, read_in, statements_in, with_blocks, written_by
from derivgen.code.walk import Fresh, names_in
from derivgen.form.expressions import Read, indices_of, substitute

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
    for total in totals:
        done = added_in_place(done, total)
    return function.with_body(tuple(done))


def added_in_place(codes: list[Code], total: str) -> list[Code]:
    """The statements with a total where it is stored at last, if all that is added to it is sums of blocks."""
    local = Read(total)
    uses = [k for k, code in enumerate(codes) if total in names_in((code,))]
    match [codes[k] for k in uses]:
        case [Let() as start, For(step=step) as loop, Assign(place, operator, value)] if step != 1 and value == local:
            block = tuple(replace(c, place=place) if c in sums_of(loop, local) else c for c in loop.body)
            first: list[Code] = [Assign(place, "=", start.value)] if operator == "=" else []
            changed: dict[int, list[Code]] = {uses[0]: first, uses[1]: [replace(loop, body=block)], uses[2]: []}
            beside = [*codes[uses[0] + 1 : uses[1]], *codes[uses[1] + 1 : uses[2]]]
            alone = place.tensor not in read_in(*beside)  # nothing finds the sum there earlier than before
            whole = alone and sums_of(loop, local) and total not in names_in(block)
            return [c for k, code in enumerate(codes) for c in changed.get(k, [code])] if whole else codes
    return codes


def sums_of(loop: For, local: Read) -> list[Code]:
    return [c for c in loop.body if isinstance(c, Assign) and c.place == local and c.operator == "+="]


def is_local(code: Let | Assign) -> bool:
    return isinstance(code, Let) or not code.place.subscripts


def divided(loop: For, totals: list[str], fresh: Fresh) -> For:
    """The outermost loop over rows, in a loop or itself, as a loop over blocks of them."""
    inner = [*statements_in(loop.body)]
    made = {code.name for code in inner if isinstance(code, Let)}  # another local of that name, of each iteration
    own = [t for t in totals if t not in made and any(is_added_to(code, t) for code in inner)]
    if not own or loop.parallel or (loop.steps and not any(adds_in_loop(loop, t) for t in own)):
        return loop
    if not loop.steps and (loop.stop.is_Integer or loop.most is not None):
        return replace(loop, body=tuple(divided(c, own, fresh) if isinstance(c, For) else c for c in loop.body))
    parts = {t: Read(fresh.name(f"{t.removesuffix('_total')}_part")) for t in own}
    body = tuple(adding_to(c, parts) for c in loop.body)
    starts = [Let(part.tensor, sp.S.Zero) for part in parts.values()]
    sums = [Assign(Read(t), "+=", part) for t, part in parts.items()]
    if loop.step != 1 or loop.steps:  # over blocks already; the rows of a step are one
        return replace(loop, body=(*starts, *body, *sums))
    first = fresh.index("first")
    rows = replace(loop, body=body, start=first, stop=sp.Min(first + BLOCK, loop.stop), most=loop.stop)
    if changes_rows(loop):
        rows = rows_of_block(loop, body, first, fresh.index("row"), BLOCK)
    return For(first, loop.stop, (*starts, rows, *sums), loop.start, BLOCK)


def rows_of_block(loop: For, body: Iterable[Code], first: sp.Symbol, row: sp.Symbol, size: int) -> For:
    """What iterations of a loop do in a block of so many of them, counted from the block's first."""
    there = partial(substitute, mapping={loop.index: first + row})
    stop = sp.Min(sp.Integer(size), loop.stop - first)
    return For(row, stop, tuple(mapped(c, there) for c in body), most=sp.Integer(size))


def changes_rows(loop: For) -> bool:
    """Whether an iteration adds to an element of its row.

    A compiler makes vectors then if it knows that no subscript is negative, and so counted from the end: it finds that
    of `first + row`, but not of an index that starts at `first` (1.6 and 10 µs for 20,000 rows of x[n] += y[n]²).
    """
    adds = (c for c in statements_in(loop.body) if isinstance(c, Assign) and c.operator == "+=")
    return any(loop.index in indices_of(c.place) for c in adds)


def adds_in_loop(loop: For, total: str) -> bool:
    """Whether loops in this one add to a total."""
    inner = [c for code in statements_in(loop.body) if isinstance(code, For) for c in statements_in(code.body)]
    return any(is_added_to(code, total) for code in inner)


def is_added_to(code: Code, total: str) -> bool:
    return isinstance(code, Assign) and code.place == Read(total) and code.operator == "+="


def adding_to(code: Code, parts: dict[str, Read]) -> Code:
    """The statement with what it adds to totals added to their parts."""
    if isinstance(code, Assign) and not code.place.subscripts and code.operator == "+=":
        return replace(code, place=parts.get(code.place.tensor, code.place))
    return with_blocks(code, lambda block: tuple(adding_to(c, parts) for c in block))
