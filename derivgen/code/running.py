"""Sums of the iterations up to each one, or from each one on, as one sum that runs along.

    for i: S[i] = 0; for j in range(i + 1): S[i] += x[j]  →  so_far = 0; for i: so_far += x[i]; S[i] = so_far
    for i: S[i] = 0; for j in range(i, L): S[i] += x[j]   →  so_far = 0; for i, last first: so_far += x[i]; …
    for i: for j in range(i + 1): S[j] += x[i]            →  so_far = 0; for j, last first: so_far += x[j]; …

In a program a recurrence has no other one inside; what a step of it computes may still run along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.scratch import renamed
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let, Scratch
from derivgen.code.visit import places_of, statements_in, written_in
from derivgen.code.walk import Fresh, inside
from derivgen.form.expressions import TRUE, Read, reads_of, substitute
from derivgen.form.program import Role, Tensor

MOST = 4096  # elements of an array that a function has to itself


@dataclass(frozen=True, slots=True)
class Running:
    """What a loop adds to the place of each iteration: the terms of those before it, or after it, and its own.

    `inner`, at a `position` in the loop: the loop that does so; `starts`: whether the place gets 0 right before it;
    `guard`: of the terms; `strict`: without the iteration's own term.
    """

    position: int
    inner: For
    starts: bool
    place: Read
    term: sp.Expr
    guard: Boolean
    after: bool
    strict: bool


def with_running_sums(function: Function) -> Function:
    """The function with one addition an iteration, where a loop adds up the same terms for each one of another loop."""
    proof = Proof(function)
    fresh = Fresh(function, proof)
    scratch: list[Scratch] = []

    def block(codes: Block, point: Point) -> Block:
        done: list[Code] = []
        left = list(codes)
        while left:
            code = left.pop(0)
            if point == Point() and code in codes:
                fresh.restart(code)
            running = running_in(code, point, proof, function) if isinstance(code, For) else None
            if running is None or not isinstance(code, For):
                done.append(inside(code, point, block))
                continue
            if not running.place.subscripts and (parts := in_array(code, running.place, function)) is not None:
                scratch.append(Scratch(running.place.tensor, (sp.S.One, code.stop)))
                proof.table[running.place.tensor] = Tensor(running.place.tensor, scratch[-1].shape, Role.HELPER)
                left = [parts, *left]
                continue
            so_far = Read(fresh.name(f"{running.place.tensor}_so_far"))
            before, along, after = apart(code, running)
            done += [inside(c, point, block) for c in before]
            done += [Let(so_far.tensor, sp.S.Zero), inside(run_along(along, running, so_far), point, block)]
            left = [*after, *left]
        return tuple(done)

    body = block(function.body, Point())
    return function.with_body((*scratch, *body))


def running_in(loop: For, point: Point, proof: Proof, function: Function) -> Running | None:
    """The first sum in a loop that may run along with it."""
    for position, code in enumerate(loop.body):
        found = sum_in(loop, position, code) if isinstance(code, For) else None
        if found is None:
            continue
        own = sp.Tuple(found.term, found.guard)
        fixed = written_in(loop).isdisjoint(r.tensor for r in reads_of(own, *found.place.subscripts))
        if found.place.subscripts:
            free = len(loop.body) == 1 or may_be_apart(loop)
        else:
            free = in_array(loop, found.place, function) is not None
        if fixed and (free or not found.after) and proof.may_be_read(own, point.inside(loop)):
            return found
    return None


def sum_in(loop: For, position: int, inner: For) -> Running | None:
    """What a loop inside adds up over the iterations of the one around it, up to each one or from it on."""
    here, there = loop.index, inner.index
    ends = {(sp.S.Zero, here + 1): (False, False), (sp.S.Zero, here): (False, True)}
    ends |= {(here, loop.stop): (True, False), (here + 1, loop.stop): (True, True)}
    whole = loop.start == 0 and is_plain(loop) and is_plain(inner)
    if not whole or (inner.start, inner.stop) not in ends or (added := added_in(inner)) is None:
        return None
    after, strict = ends[inner.start, inner.stop]
    place, term, guard = added
    of_place, of_term = (indices_in(parts, {here, there}) for parts in (place.subscripts, (term, guard)))
    starts = position > 0 and loop.body[position - 1] == Assign(place, "=", sp.S.Zero)
    if (of_place or ({here} if starts else set()), of_term) == ({here}, {there}):
        term, guard = (substitute(e, {there: here}) for e in (term, guard))
    elif (of_place, of_term) == ({there}, {here}) and len(loop.body) == 1:
        place, after = substitute(place, {there: here}), not after
    else:
        return None
    return Running(position, inner, starts, place, term, guard, after, strict)


def is_plain(loop: For) -> bool:
    return loop.step == 1 and not (loop.steps or loop.parallel or loop.backwards)


def added_in(loop: For) -> tuple[Read, sp.Expr, Boolean] | None:
    """(place, term, condition) of a loop that does nothing but to add it."""
    code = loop.body[0] if len(loop.body) == 1 else None
    guard = TRUE
    if isinstance(code, If) and len(code.body) == 1 and not code.otherwise:
        guard, code = code.condition, code.body[0]
    if not isinstance(code, Assign) or code.operator != "+=" or code.double:
        return None
    return code.place, code.value, guard


def indices_in(parts: tuple[sp.Basic, ...], of: set[sp.Symbol]) -> set[sp.Symbol]:
    return {i for e in parts for i in e.free_symbols if i in of}


def in_array(loop: For, local: Read, function: Function) -> For | None:
    """A loop of a fixed length with a local of its own as an array, an element an iteration, if it is apart then."""

    def uses(block: Block) -> int:
        return sum(local in places_of(code) for code in statements_in(block))

    if not (loop.stop.is_Integer and loop.stop <= MOST) or uses((loop,)) < uses(function.body):
        return None
    (parts,) = renamed((loop,), {local: Read(local.tensor, 0, loop.index)})
    return parts if isinstance(parts, For) and may_be_apart(parts) else None


def may_be_apart(loop: For) -> bool:
    """Whether a loop for each of its statements does the same, in any order of iterations.

    So it is where each iteration touches elements of its own alone, of all that the loop writes.
    """
    codes = list(statements_in(loop.body))
    plain = all(isinstance(c, Assign | If | For) for c in codes)
    written = written_in(loop)
    places = [r for c in codes for r in places_of(c) if r.tensor in written]
    axes = {name: [own_axes(r, loop.index) for r in places if r.tensor == name] for name in written}
    return plain and all(set.intersection(*own) for own in axes.values())


def own_axes(r: Read, index: sp.Symbol) -> set[int]:
    """The axes along which an element is that of an iteration."""
    return {axis for axis, i in enumerate(r.subscripts) if i == index}


def apart(loop: For, running: Running) -> tuple[list[For], For, list[For]]:
    """A loop as those before a sum, the one of the sum with what it starts from, and those after it."""
    if not may_be_apart(loop):
        return [], loop, []
    start = running.position - int(running.starts)
    parts = loop.body[:start], loop.body[start : running.position + 1], loop.body[running.position + 1 :]
    before, own, after = ([replace(loop, body=body)] if body else [] for body in parts)
    return before, own[0], after


def run_along(loop: For, running: Running, so_far: Read) -> For:
    """The loop with a sum that runs along."""
    position = loop.body.index(running.inner)
    before, after = loop.body[: position - int(running.starts)], loop.body[position + 1 :]
    store = Assign(running.place, "=" if running.starts else "+=", so_far)
    add: Code = Assign(so_far, "+=", running.term)
    add = add if running.guard == TRUE else If(running.guard, (add,))
    steps = (store, add) if running.strict else (add, store)
    return replace(loop, body=(*before, *steps, *after), backwards=running.after, steps=True)
