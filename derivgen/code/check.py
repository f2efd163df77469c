"""The proof that code is safe to run: each name has a value where it is used, each element is inside its array.

It is about the statements that will run, under the loops and conditions that stand around them, and runs after each
pass: a guard that a pass has lost is missed here. What is not proved is a fault of derivgen's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, Fill, For, Function, If, Let, Matrix, Product
from derivgen.code.visit import statements_in, tensors_in, values_of, written_by, written_in
from derivgen.form.expressions import Conditions, Read, all_of, guarded_reads, indices_of, reads_of, substitute
from derivgen.form.program import InvariantError

Defined = Mapping[str, Conditions]  # local → the conditions under which it has a value


def check_code(function: Function, proof: Proof | None = None) -> Function:
    """The function itself; an InvariantError that names it where something is not proved."""
    defined: Defined = dict.fromkeys(function.scalars, ())
    Check(function, proof or Proof(function)).block(function.body, Point(path=function.given), defined)
    return function


class Check:
    """The check of one function."""

    def __init__(self, function: Function, proof: Proof) -> None:
        self.function, self.proof = function, proof

    @cached_property
    def elements(self) -> dict[sp.Expr, sp.Expr]:
        """The locals that hold one element of an array for good: conditions may speak of either."""
        codes = [*statements_in(self.function.body)]
        times = Counter(map(written_by, codes))
        lets = (c for c in codes if isinstance(c, Let) and isinstance(c.value, Read) and not indices_of(c.value))
        fixed = (c for c in lets if times[c.name] == 1 and not any(times[r.tensor] for r in reads_of(c.value)))
        return {Read(c.name): c.value for c in fixed}

    def spoken(self, conditions: Conditions) -> set[Boolean]:
        """The conditions, about elements of arrays where locals hold these."""
        return {substitute(c, self.elements) for c in conditions}

    def fault(self, what: str, point: Point) -> InvariantError:
        loops = ", ".join(f"{r.index} = 0 .. {r.extent - 1}" for r in point.around)
        return InvariantError(f"{self.function.name}: {what}, for {loops or 'no index'} where {all_of(*point.path)}")

    def block(self, block: Block, point: Point, defined: Defined) -> Defined:
        """What has a value after the block."""
        for code in block:
            defined = self.statement(code, point, defined)
            point, defined = forgotten(written_in(code), point, defined)
        return defined

    def statement(self, code: Code, point: Point, defined: Defined) -> Defined:
        """What has a value after a statement, and under which conditions."""
        for value in values_of(code):
            self.value(value, point, defined)
        match code:
            case Let():
                return self.written(code.name, point, defined)
            case Assign():
                if not code.place.subscripts:
                    return self.written(code.place.tensor, point, defined)
                self.value(code.place, point, defined)
            case For():
                defined = without(made_in(code.body), defined)
                self.loop(code, *forgotten(written_in(code), point, defined))
            case If():
                return self.branches(code, point, defined)
            case Product():
                self.product(code, point)
            case Fill():
                self.array(code.array, point)
        return defined

    def written(self, name: str, point: Point, defined: Defined) -> Defined:
        """A local has a value now."""
        if name in self.function.arrays:
            raise self.fault(f"{name} is an array and a local", point)
        _, kept = forgotten({name}, point, defined)
        before = defined.get(name)
        return {**kept, name: before if before is not None and set(before) <= set(point.path) else point.path}

    def loop(self, loop: For, point: Point, defined: Defined) -> None:
        """A loop, which may have no iteration: what has a value in it alone has none after it."""
        if loop.most is not None and not self.proof.is_at_most(loop.stop, loop.most, point):
            raise self.fault(f"the loop over {loop.index} is not proved to stop before {loop.most}", point)
        if loop.shown is not None and self.function.arrays[loop.shown[0]].shape[loop.shown[1]] != loop.stop:
            raise self.fault(f"the loop over {loop.index} does not stop at the extent of {loop.shown}", point)
        if any(r.index == loop.index for r in point.around):
            raise self.fault(f"two loops over {loop.index}, one in the other", point)
        self.block(loop.body, point.inside(loop), defined)

    def branches(self, code: If, point: Point, defined: Defined) -> Defined:
        inside, outside = point.where(code.condition), point.otherwise(code.condition)
        then, other = self.block(code.body, inside, defined), self.block(code.otherwise, outside, defined)
        after = {name: path for name, path in {**other, **then}.items() if path != defined.get(name)}
        one_way = made_in(code.body) ^ made_in(code.otherwise)
        for name in (defined.keys() & then.keys() & other.keys()) - one_way:
            after[name] = defined[name]
        for name in then.keys() & other.keys() - defined.keys():
            if set(then[name]) <= set(inside.path) and set(other[name]) <= set(outside.path):
                after[name] = point.path
        return after

    # ---- values

    def value(self, e: sp.Basic, point: Point, defined: Defined) -> None:
        """Each index of an expression has a loop, each local a value, each element is inside its array."""
        loose = indices_of(e) - {r.index for r in point.around}
        if loose:
            raise self.fault(f"{min(map(str, loose))} is the index of no loop", point)
        for read, path, _ in guarded_reads(e, point.path):
            here = Point(point.around, path)
            if read.subscripts:
                self.array(read.tensor, point)
                if not self.proof.is_inside(read, here):
                    shape = self.proof.table[read.tensor].shape
                    raise self.fault(f"{read} is not proved to be inside {read.tensor}, of the shape {shape}", here)
            elif read.tensor not in defined or not self.spoken(defined[read.tensor]) <= self.spoken(path):
                raise self.fault(f"{read.tensor} is used where it need not have a value", here)

    def array(self, name: str, point: Point) -> None:
        if name not in self.function.arrays and not self.proof.table[name].shape:
            raise self.fault(f"{name} is no array", point)

    # ---- products

    def product(self, p: Product, point: Point) -> None:
        """The sides of the matrices fit together, and each matrix is a part of its array."""
        for m in (p.left, p.right, p.out):
            self.matrix(m, point)
        left, right, out = (sides_of(m) for m in (p.left, p.right, p.out))
        if left[-1] != right[0] or (*left[:-1], *right[1:]) != out:
            raise self.fault(f"{p.out.array} {out} is no product of {left} and {right}", point)

    def matrix(self, m: Matrix, point: Point) -> None:
        self.array(m.array, point)
        shape = self.function.arrays[m.array].shape
        if tuple(extent for extent, i in zip(shape, m.point, strict=True) if i is None) != (*m.rows, *m.columns):
            raise self.fault(f"{m.array} of the shape {shape} is no matrix {m.rows} × {m.columns}", point)
        element = Read(m.array, *(sp.S.Zero if i is None else i for i in m.point))
        if not self.proof.is_inside(element, point):
            raise self.fault(f"{m.array} at {m.point} is not proved to be inside", point)


def sides_of(m: Matrix) -> tuple[sp.Expr, ...]:
    """The extents of a matrix, or of a vector, as it is used."""
    return m.sides[::-1] if m.transposed else m.sides


def made_in(block: Block) -> set[str]:
    """The locals that a block makes, those of its loops and branches too."""
    return {code.name for code in statements_in(block) if isinstance(code, Let)}


def without(names: set[str], defined: Defined) -> Defined:
    """What has a value but for locals of these names, which a loop that makes them leaves with other values."""
    return {name: own for name, own in defined.items() if name not in names}


def forgotten(written: set[str], point: Point, defined: Defined) -> tuple[Point, Defined]:
    """Without the conditions on what has been written since they were tested."""

    def stands(condition: Boolean) -> bool:
        return written.isdisjoint(tensors_in(condition))

    if all(map(stands, point.path)) and all(all(map(stands, own)) for own in defined.values() if own):
        return point, defined
    path = tuple(filter(stands, point.path))
    return replace(point, path=path), {name: own for name, own in defined.items() if all(map(stands, own))}
