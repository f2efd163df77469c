"""Loops whose first or last iterations take another way, as a loop for each way.

    for n: if n + 1 < N: y[n] = exp(x[n + 1]); else: y[n] = 0
    →  for n in range(N - 1): y[n] = exp(x[n + 1])
       for n in range(N - 1, N): y[n] = 0

With the calls of one way alone, compilers compute several iterations at once.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.share import costly_calls
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import statements_in, values_of, written_in
from derivgen.code.walk import inside, is_invariant
from derivgen.form.expressions import is_integral, parts_of
from derivgen.form.inside import at_least_zero

MOST = 8  # statements of an iteration: a longer one would stand there twice


def borders_apart(function: Function) -> Function:
    """The function with each loop in two that has one branch, with calls in it, on where its index is."""
    proof = Proof(function)

    def block(codes: Block, point: Point) -> Block:
        return tuple(part for code in codes for part in statement(code, point))

    def statement(code: Code, point: Point) -> Block:
        parts = apart(code, point, proof) if isinstance(code, For) else (code,)
        return tuple(inside(part, point, block) for part in parts)

    return function.with_body(block(function.body, Point()))


def apart(loop: For, point: Point, proof: Proof) -> tuple[For, ...]:
    """A loop as the one before a border and the one after it; as it is where it has none."""
    codes = list(statements_in(loop.body))
    branches = [c for c in codes if isinstance(c, If)]
    plain = all(isinstance(c, Let | Assign | If) for c in codes) and len(branches) == 1 and branches[0] in loop.body
    if not plain or loop.steps or loop.backwards or loop.parallel or len(codes) > MOST:
        return (loop,)
    branch = branches[0]
    if not any(costly_calls(e) for c in statements_in((branch,)) for e in values_of(c)):
        return (loop,)
    border = border_of(branch, loop, proof)
    fixed = border is not None and is_integral(border, proof.is_integer)
    if border is None or not fixed or not is_invariant(border, {loop.index}, written_in(loop)):
        return (loop,)
    between = proof.is_at_most(loop.start, border, point) and proof.is_at_most(border, loop.stop, point)
    if not between or not proof.may_be_read(border, point):
        return (loop,)
    first, last = (way(loop, branch, taken) for taken in ways(branch, loop, proof))
    parts = replace(loop, stop=border, most=loop.extent, body=first), replace(loop, start=border, body=last)
    return tuple(part for part in parts if part.body)


def border_of(branch: If, loop: For, proof: Proof) -> sp.Expr | None:
    """The first iteration after the border."""
    ahead = at_least_zero(branch.condition, proof.table) if len(parts_of(branch.condition)) == 1 else None
    if ahead is None or abs(ahead.coeff(loop.index)) != 1:
        return None
    rest = sp.expand(ahead - ahead.coeff(loop.index) * loop.index)
    # index + rest ≥ 0 from -rest on, rest - index ≥ 0 up to rest
    return -rest if ahead.coeff(loop.index) == 1 else rest + 1


def ways(branch: If, loop: For, proof: Proof) -> tuple[Block, Block]:
    """What the branch does before the border, and after it."""
    ahead = at_least_zero(branch.condition, proof.table)
    late = ahead is not None and ahead.coeff(loop.index) == 1
    return (branch.otherwise, branch.body) if late else (branch.body, branch.otherwise)


def way(loop: For, branch: If, taken: Block) -> Block:
    return tuple(inner for code in loop.body for inner in (taken if code is branch else (code,)))
