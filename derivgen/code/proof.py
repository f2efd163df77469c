"""What is known at a point of code, and what follows from it: that an element is inside its array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.tree import Assign, For, Function, Let, Receive, Scratch
from derivgen.code.visit import statements_in
from derivgen.form.expressions import Conditions, Read, guarded_reads, negation, parts_of, reads_of
from derivgen.form.inside import all_nonnegative, is_inside
from derivgen.form.program import Range, Role, Tensor


@dataclass(frozen=True, slots=True)
class Point:
    """The loops around a statement, and the conditions under which it is reached."""

    around: tuple[Range, ...] = ()
    path: Conditions = ()

    def inside(self, loop: For) -> Point:
        """In the body of a loop."""
        facts = [sp.Lt(loop.index, most) for most in least_of(loop.stop) if most != loop.extent]
        facts += [sp.Ge(loop.index, least) for least in greatest_of(loop.start) if least != 0]
        return Point((*self.around, Range(loop.index, loop.extent)), (*self.path, *facts))

    def where(self, condition: Boolean) -> Point:
        """Where a condition holds."""
        return replace(self, path=(*self.path, *parts_of(condition)))

    def otherwise(self, condition: Boolean) -> Point:
        return self.where(negation(condition))


def least_of(stop: sp.Expr) -> tuple[sp.Expr, ...]:
    """Numbers none of which is less than the stop of a loop."""
    return stop.args if isinstance(stop, sp.Min) else (stop,)


def greatest_of(start: sp.Expr) -> tuple[sp.Expr, ...]:
    """Numbers none of which is more than the start of a loop."""
    return start.args if isinstance(start, sp.Max) else (start,)


class Proof:
    """Proofs about one function. What was proved once, at a point with the same loops and conditions, stays proved."""

    def __init__(self, function: Function) -> None:
        self.table = dict(function.arrays)
        self.table |= {name: local(name, False) for name in function.scalars}
        self.below = function.below
        for code in statements_in(function.body):
            if isinstance(code, Let):
                self.table[code.name] = local(code.name, code.integer)
            elif isinstance(code, Scratch):
                self.table[code.name] = Tensor(code.name, code.shape, Role.HELPER)
            elif isinstance(code, Assign | Receive) and not code.place.subscripts:
                self.table.setdefault(code.place.tensor, local(code.place.tensor, False))
        self.known: dict[tuple[Read, Point], bool] = {}

    def is_integer(self, read: Read) -> bool:
        return self.table[read.tensor].integer

    def is_local(self, read: Read) -> bool:
        return not read.subscripts

    def is_inside(self, read: Read, point: Point) -> bool:
        """Whether an element of an array is inside it."""
        if (read, point) not in self.known:
            path = (*point.path, *self.facts(read, point.path))
            self.known[read, point] = is_inside(read, path, point.around, self.shapes(read))
        return self.known[read, point]

    def shapes(self, read: Read) -> dict[str, Tensor]:
        t = self.table[read.tensor]
        return self.table if t.shape else {**self.table, read.tensor: replace(t, shape=(sp.S.One,))}

    def facts(self, *parts: object) -> list[Boolean]:
        """What is known of the indices that integers hold."""
        places = [r for e in parts for r in reads_of(*(e if isinstance(e, tuple) else (e,))) if r.tensor in self.below]
        return [fact for r in dict.fromkeys(places) for fact in (sp.Ge(r, 0), sp.Lt(r, self.below[r.tensor]))]

    def is_at_most(self, a: sp.Expr, b: sp.Expr, point: Point) -> bool:
        if isinstance(a, sp.Max) or isinstance(b, sp.Min):
            return all(self.is_at_most(x, y, point) for x in greatest_of(a) for y in least_of(b))
        if isinstance(a, sp.Min) or isinstance(b, sp.Max):
            return any(self.is_at_most(x, y, point) for x in least_of(a) for y in greatest_of(b))
        if a == b:
            return True
        path = sp.And(*point.path, *self.facts(a, b))
        return all_nonnegative((b - a,), path, point.around, self.table)

    def outside(self, e: sp.Basic, point: Point) -> Iterator[tuple[Read, Conditions]]:
        """The elements that an expression reads, and that are not proved inside: each with the conditions there."""
        for read, path, _ in guarded_reads(e, point.path):
            if read.subscripts and not self.is_inside(read, replace(point, path=path)):
                yield read, path

    def may_be_read(self, e: sp.Basic, point: Point) -> bool:
        """Whether all that an expression reads is inside its array."""
        return next(self.outside(e, point), None) is None


def local(name: str, integer: bool) -> Tensor:
    return Tensor(name, (), Role.HELPER, integer)
