"""Loops whose first or last iterations take another way, as a loop for each way.

    for n: if n + 1 < N: y[n] = exp(x[n + 1]); else: y[n] = 0
    →  for n in range(N - 1): y[n] = exp(x[n + 1])
       for n in range(N - 1, N): y[n] = 0

With the calls of one way alone, compilers compute several iterations at once. One iteration that takes another way
stands between two loops:

    for j: if j != i: y[j] = x[j] - x[i]
    →  for j in range(i): y[j] = x[j] - x[i]
       for j in range(i + 1, N): y[j] = x[j] - x[i]

A formula with several choices by where its index is, as the adjoint of a stencil has, gets a loop of its own for the
iterations that decide all of them alike:

    for j in range(64): y[j] = x[j] + (x[j - 1] if j > 0 else 0) + (x[j + 1] if j < 63 else 0) + (z[j] if j > 1 else 0)
    →  for j in range(2): y[j] = …, the same
       for j in range(2, 63): y[j] = x[j] + x[j - 1] + x[j + 1] + z[j]
       y[63] = …, the same
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from dataclasses import replace
from functools import partial

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.share import costly_calls
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import mapped, read_in, statements_in, values_of, with_blocks, written_in
from derivgen.code.walk import inside, is_invariant
from derivgen.form.expressions import Read, is_integral, reads_of, substitute
from derivgen.form.inside import at_least_zero

MOST, READS = 8, 20  # statements of an iteration, and what is read beside the branch: more would stand there twice
CHOICES = 3  # of a formula: with fewer, what each costs in a vector is less than two more loops
MOST_TWICE, LONGEST = 12, 64  # statements around one iteration, and iterations that are too few for two loops
LONG, SHORT = 16, 8  # iterations that the loop in the middle has at least, and those around it together at most


def borders_apart(function: Function) -> Function:
    """The function with each loop in two that has one branch, with calls in it, on where its index is."""
    proof = Proof(function)

    def block(codes: Block, point: Point) -> Block:
        return tuple(part for code in codes for part in statement(code, point))

    def statement(code: Code, point: Point) -> Block:
        if not isinstance(code, For):
            return (inside(code, point, block),)
        parts: Block = apart(code, point, proof)
        if parts == (code,):
            parts = with_middle(code, proof)
        if parts == (code,):
            parts = around_one(code, point, proof)
        return tuple(inside(part, point, block) for part in parts)

    return function.with_body(block(function.body, Point()))


def apart(loop: For, point: Point, proof: Proof) -> tuple[For, ...]:
    """A loop as the one before a border and the one after it; as it is where it has none."""
    codes = list(statements_in(loop.body))
    branches = [c for c in codes if isinstance(c, If)]
    plain = all(isinstance(c, Let | Assign | If) for c in codes) and len(branches) == 1 and branches[0] in loop.body
    if not plain or not may_be_cut(loop) or len(codes) > MOST:
        return (loop,)
    branch = branches[0]
    if sum(len(reads_of(*values_of(c))) for c in loop.body if c is not branch) > READS:
        return (loop,)
    if not any(costly_calls(e) for c in statements_in((branch,)) for e in values_of(c)):
        return (loop,)
    border = border_of(branch.condition, loop.index, proof)
    fixed = border is not None and is_integral(border, proof.is_integer)
    if border is None or not fixed or not is_invariant(border, {loop.index}, written_in(loop)):
        return (loop,)
    between = proof.is_at_most(loop.start, border, point) and proof.is_at_most(border, loop.stop, point)
    if not between or not proof.may_be_read(border, point):
        return (loop,)
    first, last = (way(loop, branch, taken) for taken in ways(branch, loop, proof))
    parts = replace(loop, stop=border, most=loop.extent, body=first), replace(loop, start=border, body=last)
    return tuple(part for part in parts if part.body)


def border_of(test: Boolean, index: sp.Symbol, proof: Proof) -> sp.Expr | None:
    """The first value of an index from which a comparison has another result than before."""
    ahead = at_least_zero(test, proof.table)
    if ahead is None or abs(ahead.coeff(index)) != 1:
        return None
    rest = sp.expand(ahead - ahead.coeff(index) * index)
    # index + rest ≥ 0 from -rest on, rest - index ≥ 0 up to rest
    return -rest if ahead.coeff(index) == 1 else rest + 1


def ways(branch: If, loop: For, proof: Proof) -> tuple[Block, Block]:
    """What the branch does before the border, and after it."""
    ahead = at_least_zero(branch.condition, proof.table)
    late = ahead is not None and ahead.coeff(loop.index) == 1
    return (branch.otherwise, branch.body) if late else (branch.body, branch.otherwise)


def way(loop: For, branch: If, taken: Block) -> Block:
    return tuple(inner for code in loop.body for inner in (taken if code is branch else (code,)))


def with_middle(loop: For, proof: Proof) -> Block:
    """A loop with the iterations apart in which all choices by its index go the same way; as it is without such."""
    code = loop.body[0] if len(loop.body) == 1 else None
    known = loop.start.is_Integer and loop.stop.is_Integer and loop.step == 1
    if not isinstance(code, Assign) or not known or not may_be_cut(loop):
        return (loop,)
    choices = [tests_of(choice, loop.index) for e in values_of(code) for choice in e.atoms(sp.Piecewise)]
    borders = {test: border_of(test, loop.index, proof) for tests in choices for test in tests}
    if sum(map(bool, choices)) < CHOICES or not all(b is not None and b.is_Integer for b in borders.values()):
        return (loop,)
    cuts = sorted({loop.start, loop.stop, *(b for b in borders.values() if loop.start < b < loop.stop)})
    start, stop = max(itertools.pairwise(cuts), key=lambda pair: pair[1] - pair[0])
    if stop - start < LONG or loop.stop - loop.start - (stop - start) > SHORT:
        return (loop,)
    parts: list[Code] = []
    for a, b in itertools.pairwise((loop.start, start, stop, loop.stop)):
        decided = {test: test.subs(loop.index, a) for test, border in borders.items() if border <= a or b <= border}
        inner = mapped(code, partial(substitute, mapping=decided))
        if b - a == 1:
            parts.append(mapped(inner, partial(substitute, mapping={loop.index: a})))
        elif a != b:
            parts.append(replace(loop, start=a, stop=b, body=(inner,), shown=None))
    return tuple(parts)


def around_one(loop: For, point: Point, proof: Proof) -> Block:
    """A loop as the iterations before the one that takes another way, that one, and those after it."""
    codes = list(statements_in(loop.body))
    tests = dict.fromkeys(t for c in codes for e in values_of(c) for t in e.atoms(sp.Eq, sp.Ne) if is_of(t, loop.index))
    places = {side for test in tests for side in test.args if side != loop.index}
    short = loop.stop.is_Integer and loop.stop < LONGEST
    if len(places) != 1 or short or not may_be_cut(loop) or loop.step != 1 or len(codes) > MOST_TWICE:
        return (loop,)
    if not any(takes_work(c, tests) for c in codes):
        return (loop,)
    (place,) = places
    fixed = not reads_of(place) and is_invariant(place, {loop.index}, written_in(loop))
    if not (fixed and proof.is_at_most(loop.start, place, point) and proof.is_at_most(place + 1, loop.stop, point)):
        return (loop,)
    others, one = (
        settled(loop.body, {t: sp.sympify(isinstance(t, sp.Ne) is apart) for t in tests}) for apart in (True, False)
    )
    alone = (mapped(code, partial(substitute, mapping={loop.index: place})) for code in of_use(one))
    before = replace(loop, stop=place, most=loop.extent, body=others, shown=None)
    after = replace(loop, start=place + 1, body=others, shown=None)
    return (*((before,) if place != loop.start else ()), *alone, *((after,) if place + 1 != loop.stop else ()))


def takes_work(code: Code, tests: Container[Boolean]) -> bool:
    """Whether one of these comparisons decides about more than which of two numbers at hand a statement takes."""
    if isinstance(code, If):
        return any(test in tests for test in sp.preorder_traversal(code.condition))
    choices = [node for e in values_of(code) for node in e.atoms(sp.Piecewise)]
    own = [c for c in choices if any(test in tests for pair in c.args for test in sp.preorder_traversal(pair.args[1]))]
    return any(pair.args[0].args and not is_local(pair.args[0]) for c in own for pair in c.args)


def is_local(e: sp.Expr) -> bool:
    return isinstance(e, Read) and not e.subscripts


def of_use(block: Block) -> Block:
    """The block without values of locals that no later statement of it reads: each iteration has its own."""
    done: list[Code] = []
    for code in reversed(block):
        local = code.name if isinstance(code, Let) else None
        if isinstance(code, Assign) and code.operator == "=" and not code.place.subscripts:
            local = code.place.tensor
        if local is None or local in read_in(*done):
            done.insert(0, code)
    return tuple(done)


def is_of(test: Boolean, index: sp.Symbol) -> bool:
    """Whether a comparison is of an index with what does not speak of it."""
    return index in test.args and any(index not in side.free_symbols for side in test.args)


def settled(block: Block, known: Mapping[sp.Basic, sp.Basic]) -> Block:
    """The block where some comparisons are known."""
    done: list[Code] = []
    for code in (mapped(c, partial(substitute, mapping=known)) for c in block):
        if isinstance(code, If) and code.condition in (sp.true, sp.false):
            done += settled(code.body if code.condition == sp.true else code.otherwise, {})
        else:
            done.append(with_blocks(code, partial(settled, known={})))
    return tuple(done)


def tests_of(choice: sp.Piecewise, index: sp.Symbol) -> set[Boolean]:
    """The comparisons of an index by which a choice is made."""
    tests = (test for pair in choice.args for test in pair.args[1].atoms(sp.core.relational.Relational))
    return {test for test in tests if index in test.free_symbols}


def may_be_cut(loop: For) -> bool:
    return not (loop.steps or loop.backwards or loop.parallel)
