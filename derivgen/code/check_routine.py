"""The proof that what routines pass is what the functions that they call were proved for.

A kernel is proved to stay inside arrays of the shapes that it declares. Here each call is held to these shapes, each
view to the array that it is a part of, and each element that a routine reaches itself to its own array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.check import Check, Defined, forgotten
from derivgen.code.proof import Point, Proof
from derivgen.code.routine import Routine, Signature, Types, array, as_function, proof_of
from derivgen.code.tree import (
    Arrays,
    Bind,
    Block,
    Break,
    Bundle,
    Call,
    Code,
    For,
    Function,
    If,
    Item,
    Kind,
    Let,
    Number,
    Receive,
    Return,
    RowsOf,
    View,
)
from derivgen.code.visit import written_in
from derivgen.form.expressions import Read, replace_reads, size_symbol, substitute
from derivgen.form.program import Tensor
from derivgen.form.sizes import at_most, element_count
from derivgen.schedule.memory import GAP


def check_routine(routine: Routine, known: Mapping[str, Signature]) -> Routine:
    """The routine itself; an InvariantError that names it where something is not proved."""
    function = as_function(routine, known)
    proof = proof_of(routine, function)
    defined: Defined = dict.fromkeys(function.scalars, ())
    types = Types(routine, known)
    CheckCalls(function, proof, types).block(function.body, Point(path=function.given), defined)
    return routine


def follows_slots(bundle: Bundle) -> bool:
    """Whether each view starts where its slot does, past a gap, and is at most as long as the first one there."""
    views, ends, seen = dict(bundle.fields), dict[str, sp.Expr](), list[str]()
    for flat, names in bundle.slots:
        own = [view for name in names if isinstance(view := views[name], View) and view.flat == flat]
        sizes = [element_count(array("", *view.shape)) for view in own]
        start = ends.get(flat, sp.S.Zero)
        right = all(sp.expand(view.start - start) == 0 for view in own) and all(at_most(n, sizes[0]) for n in sizes)
        if not right or len(own) < len(names):
            return False
        ends[flat] = start + sizes[0] + GAP
        seen += names
    return sorted(seen) == sorted(views)


class CheckCalls(Check):
    """The check of a routine, which learns of arrays as they get names."""

    def __init__(self, function: Function, proof: Proof, types: Types) -> None:
        super().__init__(function, proof)
        self.types = types

    def block(self, block: Block, point: Point, defined: Defined) -> Defined:
        before = self.proof.below
        for code in block:
            defined = super().block((code,), point, defined)
            written = written_in(code)
            point, defined = forgotten(written, point, defined)
            point = self.learned(code, point)
            kept = {name: e for name, e in self.proof.below.items() if name not in written}
            self.believe(kept | bounds_after(code, self.function.arrays, self.proof.below))
        self.believe(before)
        return defined

    def believe(self, below: Mapping[str, sp.Expr]) -> None:
        if below != self.proof.below:
            self.proof.below = below
            self.proof.known.clear()

    def learned(self, code: Code, point: Point) -> Point:
        """What holds after a statement: the contrary of what ended the block; a minimum is at most its arguments."""
        match code:
            case If(condition, body, ()) if isinstance(body[-1], Return | Break):
                return point.otherwise(condition)
            case Let(name, sp.Min() as least, Kind.INTEGER):
                return replace(point, path=(*point.path, *(sp.Le(Read(name), most) for most in least.args)))
        return point

    def statement(self, code: Code, point: Point, defined: Defined) -> Defined:
        after = super().statement(code, point, defined)
        match code:
            case Call():
                self.call(code, point)
            case Receive():
                self.call(code.call, point)
                if code.place.subscripts:
                    self.value(code.place, point, defined)
                else:
                    return self.written(code.place.tensor, point, defined)
            case Bind():
                self.arrays(code.value, point)
                self.types.bind(code)
            case Return():
                for result in code.results:
                    if not isinstance(result, sp.Basic):
                        self.arrays(result, point)
        return after

    def array(self, name: str, point: Point) -> None:
        super().array(name, point)
        self.types.of(name)

    def arrays(self, a: Arrays, point: Point) -> None:
        """Arrays that a statement names are there, and views are parts of theirs."""
        match a:
            case Call():
                self.call(a, point)
            case Bundle():
                for _, part in a.fields:
                    self.arrays(part, point)
                if a.slots and not follows_slots(a):
                    raise self.fault(f"{a.kind}: its views do not lie as its slots do", point)
            case View():
                size = element_count(array("", *a.shape))
                whole = self.types.array(a.flat).shape[0]
                if not self.is_part(self.types.resolved(a.start), size, self.types.resolved(whole), point):
                    raise self.fault(f"{a} is not proved to be a part of {whole} elements", point)
            case Item():
                place = Read(a.stack, a.index, *(sp.S.Zero for _ in self.types.array(a.stack).shape[1:]))
                turns = isinstance(a.index, sp.Mod) and a.index.args[1] == self.types.array(a.stack).shape[0]
                if not turns and not self.proof.is_inside(place, point):
                    raise self.fault(f"{a} is not proved to be inside", point)
            case RowsOf():
                if not self.is_part(a.start, a.count, self.types.array(a.array).shape[0], point):
                    raise self.fault(f"{a} is not proved to be rows of {a.array}", point)
            case _:
                self.types.of(a)

    def is_part(self, start: sp.Expr, size: sp.Expr, whole: sp.Expr, point: Point) -> bool:
        """Whether size elements from start on are among so many."""
        pairs = (sp.S.Zero, start), (start + size, whole)
        return all(at_most(a, b) or self.proof.is_at_most(a, b, point) for a, b in pairs)

    def call(self, call: Call, point: Point) -> None:
        signature = self.types.signature(call)
        sizes = self.types.sizes(call, signature)
        for argument in call.arguments:
            if not isinstance(argument, Number):
                self.arrays(argument, point)
        proved = [all(sizes[size_symbol(n)] == e for n, e in own.items()) for own in signature.instances]
        if proved and not any(proved):
            raise self.fault(f"{call.function} is not proved for {sizes}", point)
        passed = zip(signature.arguments, call.arguments, strict=True)
        values = {name: a.value for name, a in passed if isinstance(a, Number)}
        for condition in signature.given:
            here = replace_reads(substitute(condition, sizes), lambda r: values.get(r.tensor, r))
            if not self.follows(here, point):
                raise self.fault(f"{condition} is not proved for {call.function}", point)
        for name, argument in zip(signature.arguments, call.arguments, strict=True):
            wanted = substitute(signature.below[name], sizes) if name in signature.below else None
            if wanted is not None and self.proof.below.get(str(argument)) != wanted:
                raise self.fault(f"what {argument} holds is not proved to be in range for {call.function}", point)

    def follows(self, condition: Boolean, point: Point) -> bool:
        """Whether a comparison, a ≥ b or a ≤ b, holds here."""
        if condition in (sp.true, sp.false):
            return bool(condition)
        low, high = map(self.types.resolved, (condition.lhs, condition.rhs))
        low, high = (high, low) if isinstance(condition, sp.Ge) else (low, high)
        return self.proof.is_at_most(low, high, point)


def bounds_after(code: Code, arrays: Mapping[str, Tensor], below: Mapping[str, sp.Expr]) -> dict[str, sp.Expr]:
    """What a statement shows all elements of an array, or an integer, to be below, and not negative.

    for i: if a[i] < 0 or a[i] >= n: return  →  a: n; k = a[i]  →  k: n
    """
    match code:
        case Let(name, Read() as read, Kind.INTEGER) if read.tensor in below:
            return {name: below[read.tensor]}
        case For(index, stop, body, start=sp.S.Zero, step=1):
            tests = [c.condition for c in body if isinstance(c, If) and isinstance(c.body[-1], Return)]
            pairs = [{type(part): part for part in test.args} for test in tests if isinstance(test, sp.Or)]
            found = [(p[sp.StrictLessThan], p[sp.GreaterThan]) for p in pairs if p.keys() == ENDS]
            return {
                low.lhs.tensor: high.rhs
                for low, high in found
                if isinstance(low.lhs, Read)
                and low.lhs == high.lhs == Read(low.lhs.tensor, index)
                and low.rhs == 0
                and arrays[low.lhs.tensor].shape == (stop,)
            }
    return {}


ENDS = {sp.StrictLessThan, sp.GreaterThan}
