"""Functions that call others: what they are given, and the proof that what they pass is what the others work on.

A kernel is proved to stay inside arrays of the shapes that it declares. Here each call is held to these shapes, each
view to the array that it is a part of, and each element that such a function reaches itself to its own array.

    buffers(memory, N) gives h of the shape (N, 32); h_forward(x: (N, 64), h: (N, 32)) may be called with it where x
    has as many rows as `buffers` was told
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.check import Check, Defined, forgotten
from derivgen.code.proof import Point, Proof
from derivgen.code.tree import (
    Arrays,
    Bind,
    Block,
    Borrowed,
    Break,
    Bundle,
    Call,
    Code,
    Copied,
    Extent,
    Fill,
    For,
    Function,
    If,
    Item,
    Kind,
    Let,
    Number,
    Product,
    Receive,
    Return,
    Scale,
    View,
    mapped,
    statements_in,
    written_in,
)
from derivgen.form.expressions import Read, is_size, replace_reads, size_symbol, substitute
from derivgen.form.program import InvariantError, Role, Tensor
from derivgen.form.sizes import at_most, element_count

FACTORS = "alpha_beta"  # what the factors of products are called
ASSIGN = "ASSIGN"  # those by which a product takes its target's place, which every function knows
TRUTH, ANY = "true or false", "any array"  # types of arguments


class Linkage(Enum):
    """Who calls a function, and how it becomes part of them."""

    PUBLIC = "public"  # callers outside, too
    INTERNAL = "internal"  # compiled functions alone
    PASTED = "pasted"  # part of those that call it
    PARALLEL = "parallel"  # its parallel loops run in threads


@dataclass(frozen=True)
class Group:
    """The type of a bundle. `loose`: its arrays are at least as long as these; who makes them sees to it."""

    kind: str
    fields: Mapping[str, Tensor]
    loose: bool = False


Type = Tensor | Group | Kind | str  # an array, arrays together, a number, TRUTH or ANY


@dataclass(frozen=True)
class Signature:
    """What a function is given, in order, and what it gives.

    `given`: what callers guarantee of numbers that they pass; `below`: what all elements of an array are below, from 0.
    """

    arguments: Mapping[str, Type]
    result: Tensor | Group | None = None
    given: tuple[Boolean, ...] = ()
    below: Mapping[str, sp.Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Routine:
    """A function that calls others.

    `order`, `below`, `given`: as of a `Function`; `words`: what it does, for readers, a paragraph an item.
    """

    name: str
    arguments: Mapping[str, Type]
    body: Block
    words: tuple[str, ...]
    linkage: Linkage = Linkage.PUBLIC
    result: Tensor | Group | None = None
    order: Mapping[str, int] = field(default_factory=dict)
    below: Mapping[str, sp.Expr] = field(default_factory=dict)
    given: tuple[Boolean, ...] = ()

    @property
    def signature(self) -> Signature:
        return Signature(self.arguments, self.result, self.given, self.below)


def signature_of(kernel: Function) -> Signature:
    """What a kernel is given: its arrays, the factors of products, sizes that none of its arrays shows."""
    arguments: dict[str, Type] = dict(kernel.arrays)
    if is_scaled(kernel):
        arguments[FACTORS] = array(FACTORS, 2)
    return Signature(arguments | dict.fromkeys(unknown_sizes(kernel), Kind.INTEGER))


def is_scaled(kernel: Function) -> bool:
    """Whether a kernel is given the factors of products."""
    return any(isinstance(c, Product) and c.scale is Scale.FACTORS for c in statements_in(kernel.body))


def unknown_sizes(kernel: Function) -> tuple[str, ...]:
    """The run-time sizes that a kernel is given, since none of its arrays shows them."""
    return tuple(size for size, place in kernel.sizes if place is None)


def array(name: str, *shape: sp.Expr | int, integer: bool = False) -> Tensor:
    return Tensor(name, tuple(map(sp.sympify, shape)), Role.HELPER, integer)


# ---- types


def flattened(types: Mapping[str, Type]) -> dict[str, Tensor]:
    """All arrays of these types, those in bundles by both names."""
    table = {name: t for name, t in types.items() if isinstance(t, Tensor)}
    for name, t in types.items():
        if isinstance(t, Group):
            table |= {f"{name}.{part}": own for part, own in t.fields.items()}
    return table


def shapes(t: Type) -> dict[str, tuple[sp.Expr, ...]]:
    """The shapes of an array, or of those of a bundle by their names."""
    return {name: own.shape or (sp.S.One,) for name, own in flattened({"": t}).items()}


class Types:
    """The types of all that a routine names, in the order of its statements."""

    def __init__(self, routine: Routine, known: Mapping[str, Signature]) -> None:
        self.routine, self.known = routine, known
        self.types: dict[str, Type] = dict(routine.arguments)
        self.arrays = {ASSIGN: array(ASSIGN, 2), **flattened(self.types)}

    def fault(self, what: str) -> InvariantError:
        return InvariantError(f"{self.routine.name}: {what}")

    def bind(self, code: Bind) -> None:
        found = self.of(code.value)
        before = self.types.setdefault(code.name, found)
        if shapes(before) != shapes(found):
            raise self.fault(f"{code.name} is bound to arrays of two types")
        self.arrays |= flattened({code.name: found})

    def of(self, a: Arrays) -> Tensor | Group:
        match a:
            case str() if a in self.arrays:
                return self.arrays[a]
            case str():
                found = self.types.get(a)
                if not isinstance(found, Group):
                    raise self.fault(f"{a} names no arrays here")
                return found
            case Borrowed() | Copied():
                return self.of(a.array)
            case View():
                flat = self.of(a.flat)
                assert isinstance(flat, Tensor)
                return replace(flat, shape=a.shape or (sp.S.One,), classes=None)
            case Item():
                stack = self.of(a.stack)
                assert isinstance(stack, Tensor)
                return replace(stack, shape=stack.shape[1:] or (sp.S.One,))
            case Bundle():
                return Group(a.kind, {name: self.array(part) for name, part in a.fields})
            case Call():
                return self.given_by(a)

    def array(self, a: Arrays) -> Tensor:
        found = self.of(a)
        if not isinstance(found, Tensor):
            raise self.fault(f"{a} is no single array")
        return found

    def given_by(self, call: Call) -> Tensor | Group:
        signature = self.signature(call)
        if signature.result is None:
            raise self.fault(f"{call.function} gives no arrays")
        sizes = self.sizes(call, signature)
        match signature.result:
            case Group(kind, fields):
                return Group(kind, {name: in_terms_of(t, sizes) for name, t in fields.items()})
            case Tensor():
                return in_terms_of(signature.result, sizes)

    def signature(self, call: Call) -> Signature:
        if call.function not in self.known:
            raise self.fault(f"{call.function} is no function that is known here")
        return self.known[call.function]

    def sizes(self, call: Call, signature: Signature) -> dict[sp.Symbol, sp.Expr]:
        """What the sizes in a function's types are in a call; a fault where what is passed does not fit them."""
        if len(call.arguments) != len(signature.arguments):
            raise self.fault(f"{call.function} takes {len(signature.arguments)} arguments, not {len(call.arguments)}")
        sizes: dict[sp.Symbol, sp.Expr] = {}
        pairs = list(zip(signature.arguments.items(), call.arguments, strict=True))
        for (name, wanted), argument in pairs:
            if isinstance(argument, Number) != isinstance(wanted, Kind):
                raise self.fault(f"{call.function} takes {wanted} as {name}, not {argument}")
            if isinstance(argument, Number):
                sizes[size_symbol(name)] = self.resolved(argument.value)
        for (name, wanted), argument in pairs:
            if isinstance(argument, Number):
                continue
            found = self.of(argument)
            if wanted == ANY and isinstance(found, Tensor):
                continue
            if isinstance(wanted, Group) and isinstance(found, Group) and wanted.fields.keys() == found.fields.keys():
                for part, own in wanted.fields.items() if not wanted.loose else ():
                    self.match(f"{name}.{part} of {call.function}", own, found.fields[part], sizes)
            elif isinstance(wanted, Tensor) and isinstance(found, Tensor):
                self.match(f"{name} of {call.function}", wanted, found, sizes)
            else:
                raise self.fault(f"{call.function} takes {wanted} as {name}, not {found}")
        return sizes

    def match(self, what: str, wanted: Tensor, found: Tensor, sizes: dict[sp.Symbol, sp.Expr]) -> None:
        """The shapes are the same where the sizes that one of them speaks of are those that the other one has."""
        shapes = wanted.shape or (sp.S.One,), tuple(map(self.resolved, found.shape or (sp.S.One,)))
        fits = len(shapes[0]) == len(shapes[1]) and wanted.integer == found.integer
        for a, b in zip(*shapes, strict=False):
            if is_size(a):
                b = sizes.setdefault(a, b)
        for a, b in zip(*shapes, strict=False):
            fits = fits and sp.expand(substitute(a, sizes) - b) == 0
        if not fits:
            raise self.fault(f"{what} has the shape {shapes[0]}, where {shapes[1]} is passed, with {sizes}")

    def resolved(self, e: sp.Basic) -> sp.Basic:
        """An expression with the lengths of axes as the shapes of their arrays have them."""
        known = {s: self.array(s.array).shape[s.axis] for s in e.free_symbols if isinstance(s, Extent)}
        return substitute(e, known) if known else e


def in_terms_of(t: Tensor, sizes: Mapping[sp.Symbol, sp.Expr]) -> Tensor:
    return replace(t, shape=tuple(substitute(e, sizes) for e in t.shape))


# ---- the check


def as_function(routine: Routine, known: Mapping[str, Signature]) -> Function:
    """The routine as one function on all the arrays that it names, the lengths of axes resolved."""
    types = Types(routine, known)
    for code in statements_in(routine.body):
        if isinstance(code, Bind):
            types.bind(code)
    body = tuple(mapped(code, types.resolved) for code in routine.body)
    scalars = tuple(name for name, t in routine.arguments.items() if isinstance(t, Kind) or t == TRUTH)
    return Function(
        routine.name, types.arrays, body, routine.order, routine.below, scalars=scalars, given=routine.given
    )


def check_routine(routine: Routine, known: Mapping[str, Signature]) -> Routine:
    """The routine itself; an InvariantError that names it where something is not proved."""
    function = as_function(routine, known)
    proof = proof_of(routine, function)
    defined: Defined = dict.fromkeys(function.scalars, ())
    types = Types(routine, known)
    CheckCalls(function, proof, types).block(function.body, Point(path=function.given), defined)
    return routine


def proof_of(routine: Routine, function: Function) -> Proof:
    """The proof about a routine's function, which knows which of its arguments are integers."""
    proof = Proof(function)
    for name, t in routine.arguments.items():
        if t is Kind.INTEGER:
            proof.table[name] = replace(proof.table[name], integer=True)
    return proof


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
        """What holds after a statement: the contrary of what ends the block; that a minimum is at most its arguments."""
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
            case Fill() | Product():
                self.types.array(code.array if isinstance(code, Fill) else code.out.array)
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
        passed = zip(signature.arguments, call.arguments, strict=True)
        values = {name: a.value for name, a in passed if isinstance(a, Number)}
        for condition in signature.given:
            here = replace_reads(substitute(condition, sizes), lambda r: values.get(r.tensor, r))
            if not self.follows(here, point):
                raise self.fault(f"{condition} is not proved for {call.function}", point)
        for name, argument in zip(signature.arguments, call.arguments, strict=True):
            if name in signature.below and self.proof.below.get(argument) != substitute(signature.below[name], sizes):
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
