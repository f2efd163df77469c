"""Reductions that run in a local scalar, and are stored after their loop.

    z[n] = 0; for k: z[n] += x[n,k]·w[k]  →  z_n = 0; for k: z_n += x[n,k]·w[k]; z[n] = z_n

A store in each iteration would keep a compiler from vectorizing the loop. A maximum runs in ranks: see `ordinal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import NEUTRAL, Assign, Block, Code, For, Function, If, Kind, Let, Operator, Product
from derivgen.code.visit import indices_in, read_by, statements_in, values_of, with_blocks, written_by, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import TRUE, Read, all_of, any_of, conjuncts, reads_of
from derivgen.form.functions import of_ordinal, ordinal


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a loop adds to, or takes the maximum with, one element; `guard`: where it does so at all.

    `alone`: whether nothing else in the loop can add to that element.
    """

    place: Read
    operator: Operator
    guard: Boolean
    alone: bool = True

    def started_by(self, code: Code) -> bool:
        """Whether a statement gives the place the value that its reduction starts from."""
        return code == Assign(self.place, "=", NEUTRAL[self.operator])


def carried(function: Function) -> Function:
    """The function with each reduction in a local, from the outermost loop on that does not change its place."""
    proof = Proof(function)
    fresh = Fresh(function, proof)

    def block(codes: Block, point: Point) -> Block:
        done: list[Code] = []
        for code in codes:
            stores: list[Code] = []
            if point == Point():
                fresh.restart(code)
            if isinstance(code, For):
                locals_, found = set[str](), list(reductions(code, point, proof))
                for r in found:
                    start = start_of(r, done) if r.alone else None
                    if start is None and not can_be_stored(r, point, proof):
                        continue
                    if start is not None:
                        del done[start]
                    name = fresh.name(name_of(r), integer=r.operator == "max=")
                    locals_.add(name)
                    kind = Kind.INTEGER if r.operator == "max=" else Kind.REAL
                    done.append(Let(name, ranked(r, NEUTRAL[r.operator]), kind))
                    stores += stored(r, Read(name), first=start is not None)
                    code = replace(code, body=tuple(running_in(c, r, Read(name)) for c in code.body))
                code = replace(code, body=reductions_first(code.body, locals_))
            done += [inside(code, point, block), *stores]
        return tuple(done)

    return function.with_body(block(function.body, Point()))


def reductions(loop: For, point: Point, proof: Proof) -> Iterator[Reduction]:
    """The elements that a loop only adds to, or only takes maxima with; and real locals whose maximum it finds."""
    own, written = {loop.index, *indices_in(loop.body)}, written_in(loop)
    writes: dict[Read, list[tuple[Operator, Boolean]]] = {}
    for code, guard in under(loop.body, TRUE):
        if isinstance(code, Assign):
            writes.setdefault(code.place, []).append((code.operator, about(guard, own, written)))
    for place, found in writes.items():
        operators = {operator for operator, _ in found}
        operator = next(iter(operators))
        runs = operator in (("+=", "max=") if place.subscripts else ("max=",)) and len(operators) == 1
        fixed = all(is_invariant(i, own, written) for i in place.subscripts)
        if runs and fixed and not proof.is_integer(place):
            touched = touched_otherwise(loop, place, point, proof)
            if touched <= {operator}:
                yield Reduction(place, operator, any_of(*(guard for _, guard in found)), alone=not touched)


def touched_otherwise(loop: For, place: Read, point: Point, proof: Proof) -> set[Operator | None]:
    """How a loop writes what may be a place, elsewhere than in reductions of it; None: it reads that, or writes all."""
    found = set[Operator | None]()

    def may_be(r: Read, here: Point) -> bool:
        return r.tensor == place.tensor and not are_apart(r, place, here, proof)

    for code, here in at_points(loop.body, point.inside(loop)):
        if isinstance(code, Assign):
            reads = reads_of(code.value, *code.place.subscripts)
            found |= {code.operator} if code.place != place and may_be(code.place, here) else set()
        else:
            reads = reads_of(*values_of(code))
            all_ = written_by(code) == place.tensor or (isinstance(code, Product) and place.tensor in read_by(code))
            found |= {None} if all_ else set()
        found |= {None} if any(may_be(r, here) for r in reads) else set()
    return found


def are_apart(a: Read, b: Read, point: Point, proof: Proof) -> bool:
    """Whether two elements of an array are never the same: along some axis one is known to lie before the other."""
    return any(is_before(i, j, point, proof) or is_before(j, i, point, proof) for i, j in pairs(a, b) if i != j)


def is_before(i: sp.Expr, j: sp.Expr, point: Point, proof: Proof) -> bool:
    return bool(i < j) if i.is_Integer and j.is_Integer else proof.is_at_most(i + 1, j, point)


def pairs(a: Read, b: Read) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    return zip(a.subscripts, b.subscripts, strict=True)


def at_points(block: Block, point: Point) -> Iterator[tuple[Code, Point]]:
    """Each statement of a block, with what is known where it stands."""
    for code in block:
        yield code, point
        match code:
            case If():
                yield from at_points(code.body, point.where(code.condition))
                yield from at_points(code.otherwise, point.otherwise(code.condition))
            case For():
                yield from at_points(code.body, point.inside(code))


def under(block: Block, guard: Boolean) -> Iterator[tuple[Code, Boolean]]:
    """Each statement of a block, with the condition of the branches around it."""
    for code in block:
        yield code, guard
        if isinstance(code, If):
            yield from under(code.body, all_of(guard, code.condition))
            yield from under(code.otherwise, guard)
        elif isinstance(code, For):
            yield from under(code.body, guard)


def about(guard: Boolean, indices: set[sp.Symbol], written: set[str]) -> Boolean:
    """What a condition says of what a loop does not change."""
    return all_of(*(c for c in conjuncts(guard) if is_invariant(c, indices, written)))


def start_of(r: Reduction, done: Sequence[Code]) -> int | None:
    """The position of the statement, before a loop, that gives a reduction its start; nothing has read that since."""
    for position in range(len(done) - 1, -1, -1):
        code = done[position]
        if r.started_by(code):
            return position
        touched = {name for c in statements_in((code,)) for name in (*read_by(c), written_by(c))}
        if r.place.tensor in touched or {i.tensor for i in reads_of(*r.place.subscripts)} & written_in(code):
            return None
    return None


def can_be_stored(r: Reduction, point: Point, proof: Proof) -> bool:
    """Whether the element is inside its array after the loop too, where the guard holds."""
    here = point.where(r.guard)
    return not r.place.subscripts or (proof.may_be_read(r.guard, point) and proof.may_be_read(r.place, here))


def name_of(r: Reduction) -> str:
    array, subscripts = r.place.tensor, r.place.subscripts
    if r.operator == "max=":
        return f"{array}_ordinal"
    plain = subscripts != (0,) and all(i.is_Symbol or i.is_Integer for i in subscripts)
    return "_".join((array, *map(str, subscripts))) if plain else f"{array}_total"


def ranked(r: Reduction, value: sp.Expr) -> sp.Expr:
    return ordinal(value) if r.operator == "max=" else value


def running_in(code: Code, r: Reduction, local: Read) -> Code:
    """The statement with its part of a reduction in a local."""
    if isinstance(code, Assign) and code.place == r.place:
        return Assign(local, code.operator, ranked(r, code.value))
    return with_blocks(code, lambda block: tuple(running_in(c, r, local) for c in block))


def stored(r: Reduction, local: Read, first: bool) -> list[Code]:
    """The end of a reduction: its place gets the local's value, or that of both where it had one."""
    value = of_ordinal(local) if r.operator == "max=" else local
    store = Assign(r.place, "=" if first else r.operator, value)
    return [store] if first or r.guard == TRUE else [If(r.guard, (store,))]


def reductions_first(block: Block, locals_: set[str]) -> Block:
    """The block with what runs in these locals before what is stored, there or further in, unless it reads that.

    LLVM does not vectorize a reduction that reads, after a store, what the loop does not change: the two may overlap.
    """

    def runs(code: Code) -> bool:
        return bool(written_in(code)) and written_in(code) <= locals_ and not isinstance(code, For)

    stores = written_in(*(code for code in block if not runs(code)))
    early = [c for c in block if runs(c) and stores.isdisjoint(n for s in statements_in((c,)) for n in read_by(s))]
    return (*early, *(code for code in block if code not in early))
