"""Copies of neighbouring elements, one after another, as a loop.

    rows[0, row] = x[n, 0]; rows[1, row] = x[n, 1]; rows[2, row] = x[n, 2]
    →  for k in range(3): rows[k, row] = x[n, k]

A compiler writes so short a loop out again; a reader has one line to read.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, For, Function
from derivgen.code.visit import with_blocks
from derivgen.code.walk import Fresh
from derivgen.form.expressions import Read

FEWEST, MOST = 3, 16  # copies: a loop of two is no shorter, and a longer one is not written out
Steps = tuple[tuple[int, ...], ...]  # by how much each subscript of the target moves on, and each of what is read


def rolled(function: Function) -> Function:
    """The function with runs of copies whose subscripts move on by the same steps as loops."""
    fresh = Fresh(function)
    index: sp.Symbol | None = None

    def block(codes: Block, top: bool = False) -> Block:
        nonlocal index
        rest, done = list(codes), list[Code]()
        while rest:
            if top:  # what stands there one after another has names of its own
                fresh.restart(rest[0])
                index = None
            count = run_of(rest)
            if count < FEWEST:
                done.append(with_blocks(rest.pop(0), block))
            else:
                index = index or fresh.index("k")
                done.append(as_loop(rest[:count], index))
                del rest[:count]
        return tuple(done)

    return function.with_body(block(function.body, top=True))


def run_of(codes: Sequence[Code]) -> int:
    """How many of the first statements are one run."""
    count, steps = 1, None
    for before, code in itertools.pairwise(codes[:MOST]):
        found = steps_between(before, code)
        if found is None or (steps is not None and found != steps):
            break
        count, steps = count + 1, found
    return count


def steps_between(a: Code, b: Code) -> Steps | None:
    """By how much the subscripts of a copy differ from those of the one before; None where more does."""
    if not (isinstance(a, Assign) and isinstance(b, Assign)):
        return None
    if not (isinstance(a.value, Read) and isinstance(b.value, Read)):
        return None
    if a.operator != b.operator or a.double != b.double:
        return None
    steps = []
    for before, after in ((a.place, b.place), (a.value, b.value)):
        if before.tensor != after.tensor or not before.subscripts:
            return None
        moved = [j - i for i, j in zip(before.subscripts, after.subscripts, strict=True)]
        if not all(e.is_Integer for e in moved):
            return None
        steps.append(tuple(map(int, moved)))
    return tuple(steps) if any(steps[0]) and any(steps[1]) else None


def as_loop(run: Sequence[Code], index: sp.Symbol) -> For:
    first, steps = run[0], steps_between(*run[:2])
    assert isinstance(first, Assign) and isinstance(first.value, Read) and steps is not None
    place, value = (
        Read(r.tensor, *(i + step * index for i, step in zip(r.subscripts, moved, strict=True)))
        for r, moved in zip((first.place, first.value), steps, strict=True)
    )
    return For(index, sp.Integer(len(run)), (Assign(place, first.operator, value, first.double),))
