"""What a step of a recurrence hands to the next one, in a local.

    for t: s[t] = (a·s[t - 1] if t ≥ 1 else 0) + x[t]
    →  s_last = 0
       for t: s_t = (a·s_last if t ≥ 1 else 0) + x[t]; s[t] = s_t; s_last = s_t

    for t, last step first: if t ≥ 1: s_bar[t - 1] += a·s_bar[t]
    →  s_bar_t = s_bar[T - 1]
       for t, last step first: if t ≥ 1: s_bar_next = s_bar[t - 1] + a·s_bar_t; s_bar[t - 1] = s_bar_next; …

Each step waits for the one before it. Through memory it waits several times as long: for a store, and for the load of
what was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeGuard

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import indices_in, mapped, places_of, statements_in, values_of, written_by, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import Read, reads_of, substitute
from derivgen.form.inside import at_least_zero

FARTHEST = 2  # steps back


def last_values_in_locals(function: Function) -> Function:
    """The function with the elements that a step takes over from those before it in locals."""
    proof = Proof(function)
    fresh = Fresh(function, proof)

    def block(codes: Block, point: Point) -> Block:
        done: list[Code] = []
        for code in codes:
            if point == Point():
                fresh.restart(code)
            if isinstance(code, For) and code.steps:
                written = written_in(code)
                for array in [name for name in function.arrays if name in written]:
                    before, code = Chain(code, array, fresh, proof).in_locals(point)
                    done += before
            done.append(inside(code, point, block))
        return tuple(done)

    return function.with_body(block(function.body, Point()))


class Chain:
    """The elements of an array that the steps of a loop touch, by how many steps before its own each belongs to."""

    def __init__(self, loop: For, array: str, fresh: Fresh, proof: Proof) -> None:
        self.loop, self.array, self.fresh, self.proof = loop, array, fresh, proof
        places = [r for c in statements_in(loop.body) for r in places_of(c) if r.tensor == array]
        self.steps = {place: self.steps_back(place, places[0]) for place in places}

    def steps_back(self, place: Read, other: Read) -> int | None:
        """None where an element is none of one axis along which the loop runs, at a fixed place of the others."""
        fixed: list[tuple[sp.Expr, sp.Expr, sp.Expr]] = []
        own: list[tuple[sp.Expr, sp.Expr, sp.Expr]] = []
        for i, j in zip(place.subscripts, other.subscripts, strict=True):
            distance = sp.expand(i - self.loop.index)
            (own if distance.is_Integer else fixed).append((i, j, distance))
        alike = all(i == j and is_invariant(i, self.indices(), written_in(self.loop)) for i, j, _ in fixed)
        if len(own) != 1 or not alike or not sp.expand(own[0][1] - self.loop.index).is_Integer:
            return None
        return int(own[0][2]) if self.loop.backwards else -int(own[0][2])

    def indices(self) -> set[sp.Symbol]:
        return {self.loop.index, *indices_in(self.loop.body)}

    def at(self, steps: int) -> Read:
        return next(place for place, own in self.steps.items() if own == steps)

    def in_locals(self, point: Point) -> tuple[list[Code], For]:
        """What comes before the loop, and the loop."""
        codes = list(statements_in(self.loop.body))
        whole = any(written_by(c) == self.array and not isinstance(c, Assign) for c in codes)
        if whole or None in self.steps.values() or self.proof.table[self.array].integer:
            return [], self.loop
        writes = [c for c in codes if isinstance(c, Assign) and c.place.tensor == self.array]
        if len(writes) == 1 and self.steps[writes[0].place] == 0:
            return self.read_back(writes[0])
        if {*self.steps.values()} == {0, -1}:
            return self.added_ahead(point)
        return [], self.loop

    # ---- values: each step writes its own, and reads those of the steps before

    def read_back(self, write: Assign) -> tuple[list[Code], For]:
        body, loop = self.loop.body, self.loop
        steps = [own for own in self.steps.values() if own is not None]
        far = not 1 <= max(steps) <= FARTHEST or min(steps) < 0
        if far or write not in body or write.operator != "=" or not self.starts_at_an_end():
            return [], loop
        position, farthest = body.index(write), max(steps)
        if any(write.place in reads_of(*values_of(s)) for s in statements_in(body[: position + 1])):
            return [], loop
        last = [Read(self.fresh.name(f"{self.array}_last")) for _ in range(farthest)]
        later = {r for s in statements_in(body[position + 1 :]) for r in reads_of(*values_of(s))}
        alone = not any(self.steps.get(r, 0) for r in later)  # no one reads an earlier value after the new one is there
        now = last[0] if alone and farthest == 1 else Read(self.fresh.name(f"{self.array}_now"))
        names = {
            place: now if steps == 0 else last[steps - 1] for place, steps in self.steps.items() if steps is not None
        }
        read = partial(substitute, mapping=names)
        value = read(write.value)
        new = [Assign(now, "=", value) if now in last else Let(now.tensor, value), replace(write, value=now)]
        shifts = [Assign(to, "=", of) for of, to in reversed([*zip((now, *last), last, strict=False)]) if to != of]
        done = (*map_all(body[:position], read), *new, *map_all(body[position + 1 :], read), *shifts)
        return [Let(local.tensor, sp.S.Zero) for local in last], replace(loop, body=done)

    def starts_at_an_end(self) -> bool:
        """Whether no element lies before that of the first step, so that this step reads none."""
        if not self.loop.backwards:
            return bool(self.loop.start == 0)
        own, shape = self.at(0).subscripts, self.proof.table[self.array].shape
        return any(i == self.loop.index and extent == self.loop.stop for i, extent in zip(own, shape, strict=True))

    # ---- adjoints: each step reads its own, and adds to that of the next step

    def added_ahead(self, point: Point) -> tuple[list[Code], For]:
        loop, own, ahead = self.loop, self.at(0), self.at(-1)
        start = substitute(own, {loop.index: loop.stop - 1 if loop.backwards else loop.start})
        branches = [c for c in loop.body if any(ahead in places_of(s) for s in statements_in((c,)))]
        inner = [s for c in loop.body if isinstance(c, For) for s in statements_in((c,))]
        if len(branches) != 1 or any(own in places_of(s) for s in inner) or not self.proof.may_be_read(start, point):
            return [], loop
        branch = branches[0]
        if not isinstance(branch, If) or branch.otherwise or not self.has_next(branch):
            return [], loop
        if any(ahead in places_of(s) for c in branch.body if not is_store(c, ahead) for s in statements_in((c,))):
            return [], loop
        rest_of_step = statements_in(loop.body[loop.body.index(branch) + 1 :])
        if any(own in places_of(s) for s in rest_of_step):  # the local has what the next step reads by then
            return [], loop
        now, coming = (Read(self.fresh.name(f"{self.array}_{word}")) for word in ("now", "next"))
        read = partial(substitute, mapping={own: now})

        def done(code: Code) -> Block:
            """A statement with its own element in a local, too."""
            if is_store(code, own):
                return Assign(now, code.operator, read(code.value)), Assign(own, "=", now)
            if is_store(code, ahead):
                return (Assign(coming, code.operator, read(code.value)),)
            if isinstance(code, If):
                both = (tuple(s for c in codes for s in done(c)) for codes in (code.body, code.otherwise))
                return (If(read(code.condition), *both),)
            return (mapped(code, read),)

        first, *rest = (s for c in branch.body for s in done(c))
        begin: Block = (Let(coming.tensor, ahead), first)
        if is_store(first, coming) and first.operator == "+=":
            begin = (Let(coming.tensor, ahead + first.value),)
        passed = If(branch.condition, (*begin, *rest, Assign(ahead, "=", coming), Assign(now, "=", coming)))
        others = [(passed,) if code is branch else done(code) for code in loop.body]
        return [Let(now.tensor, start)], replace(loop, body=tuple(s for codes in others for s in codes))

    def has_next(self, branch: If) -> bool:
        """Whether a branch is taken in each step but the last one."""
        ahead = at_least_zero(branch.condition, self.proof.table)
        left = self.loop.index - 1 if self.loop.backwards else self.loop.stop - 2 - self.loop.index
        return ahead is not None and self.loop.start == 0 and sp.expand(ahead - left) == 0


def map_all(codes: Block, change: Callable[[sp.Basic], sp.Basic]) -> Block:
    return tuple(mapped(code, change) for code in codes)


def is_store(code: Code, place: Read) -> TypeGuard[Assign]:
    return isinstance(code, Assign) and code.place == place
