"""Functions that call others: what they are given and give, and the types of all that they name.

work = buffers(memory, N) gives work.h the shape (N, 32), since `buffers` lays out h of the shape (N, 32)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Proof
from derivgen.code.tree import (
    Arrays,
    Bind,
    Block,
    Borrowed,
    Bundle,
    Call,
    Copied,
    Extent,
    Function,
    Item,
    Kind,
    Number,
    Product,
    RowsOf,
    Scale,
    View,
)
from derivgen.code.visit import mapped, statements_in
from derivgen.form.expressions import is_size, size_symbol, substitute
from derivgen.form.program import InvariantError, Role, Tensor

FACTORS = "alpha_beta"  # what the factors of products are called
ASSIGN = "ASSIGN"  # those by which a product takes its target's place, which every function knows
TRUTH, ANY, SIZE = "true or false", "any array", "a size"  # types of arguments


class Linkage(Enum):
    """Who calls a function, and how it becomes part of them."""

    PUBLIC = "public"  # callers outside, too
    INTERNAL = "internal"  # compiled functions alone
    PASTED = "pasted"  # part of those that call it
    LAYOUT = "layout"  # it gives views by names, of which callers take those that they name


@dataclass(frozen=True)
class Group:
    """The type of a bundle. `loose`: its arrays are at least as long as these; who makes them sees to it."""

    kind: str
    fields: Mapping[str, Tensor]
    loose: bool = False


Type = Tensor | Group | Kind | str  # an array, arrays together, a number, TRUTH, ANY or SIZE


@dataclass(frozen=True)
class Signature:
    """What a function is given, in order, and what it gives.

    `given`: what callers guarantee of numbers that they pass; `below`: what all elements of an array are below, from 0.
    `instances`: the integers that callers pass for some sizes, if only these. `loose`: arrays that are at least as long
    as they are here; who makes them sees to it.
    """

    arguments: Mapping[str, Type]
    result: Tensor | Group | None = None
    given: tuple[Boolean, ...] = ()
    below: Mapping[str, sp.Expr] = field(default_factory=dict)
    instances: tuple[Mapping[str, int], ...] = ()
    loose: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Routine:
    """A function that calls others.

    `order`, `below`, `given`: as of a `Function`; `words`: what it does, for readers, a paragraph an item; `loose`: as
    of a `Signature`.
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
    loose: frozenset[str] = frozenset()

    @property
    def signature(self) -> Signature:
        return Signature(self.arguments, self.result, self.given, self.below, loose=self.loose)


def signature_of(kernel: Function) -> Signature:
    """What a kernel is given: its arrays, the factors of products, sizes that none of its arrays shows."""
    arguments: dict[str, Type] = dict(kernel.arrays)
    if is_scaled(kernel):
        arguments[FACTORS] = array(FACTORS, 2)
    return Signature(arguments | dict.fromkeys(unknown_sizes(kernel), SIZE), instances=kernel.instances)


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
            case RowsOf():
                whole = self.array(a.array)
                return replace(whole, shape=(a.count, *whole.shape[1:]))
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
            if isinstance(argument, Number) != (isinstance(wanted, Kind) or wanted in (SIZE, TRUTH)):
                raise self.fault(f"{call.function} takes {wanted} as {name}, not {argument}")
            if isinstance(argument, Number) and wanted == SIZE:
                sizes[size_symbol(name)] = self.resolved(argument.value)
        bound = [(own, a) for own, a in pairs if own[0] not in signature.loose]
        arrays = [own for (name, wanted), a in bound for own in self.pairs(call.function, name, wanted, a)]
        for _, one, other in arrays:
            for extent, passed in zip(one.shape, map(self.resolved, other.shape), strict=False):
                if is_size(extent):
                    sizes.setdefault(extent, passed)
        for what, one, other in arrays:
            self.match(f"{what} of {call.function}", one, other, sizes)
        return sizes

    def pairs(
        self, function: str, name: str, wanted: Type, passed: Arrays | Number
    ) -> list[tuple[str, Tensor, Tensor]]:
        """The arrays of an argument, each by name with the one that is passed."""
        found = None if isinstance(passed, Number) else self.of(passed)
        if found is None or (wanted == ANY and isinstance(found, Tensor)):
            return []
        if isinstance(wanted, Group) and isinstance(found, Group) and wanted.fields.keys() == found.fields.keys():
            parts = () if wanted.loose else wanted.fields.items()
            return [(f"{name}.{part}", own, found.fields[part]) for part, own in parts]
        if isinstance(wanted, Tensor) and isinstance(found, Tensor):
            return [(name, wanted, found)]
        raise self.fault(f"{function} takes {wanted} as {name}, not {found}")

    def match(self, what: str, wanted: Tensor, found: Tensor, sizes: Mapping[sp.Symbol, sp.Expr]) -> None:
        """The shapes are the same where the sizes that one of them speaks of are those that the other one has."""
        shapes = wanted.shape or (sp.S.One,), tuple(map(self.resolved, found.shape or (sp.S.One,)))
        fits = len(shapes[0]) == len(shapes[1]) and wanted.integer == found.integer
        for a, b in zip(*shapes, strict=False):
            own = substitute(a, sizes)
            fits = fits and (own == b or sp.expand(own - b) == 0)
        if not fits:
            raise self.fault(f"{what} has the shape {shapes[0]}, where {shapes[1]} is passed, with {sizes}")

    def resolved(self, e: sp.Basic) -> sp.Basic:
        """An expression with the lengths of axes as the shapes of their arrays have them."""
        known = {s: self.array(s.array).shape[s.axis] for s in e.free_symbols if isinstance(s, Extent)}
        return substitute(e, known) if known else e


def in_terms_of(t: Tensor, sizes: Mapping[sp.Symbol, sp.Expr]) -> Tensor:
    return replace(t, shape=tuple(substitute(e, sizes) for e in t.shape))


# ---- as functions


def as_function(routine: Routine, known: Mapping[str, Signature]) -> Function:
    """The routine as one function on all the arrays that it names, the lengths of axes resolved."""
    types = Types(routine, known)
    for code in statements_in(routine.body):
        if isinstance(code, Bind):
            types.bind(code)
    body = tuple(mapped(code, types.resolved) for code in routine.body)
    scalars = tuple(name for name, t in routine.arguments.items() if isinstance(t, Kind))
    return Function(
        routine.name, types.arrays, body, routine.order, routine.below, scalars=scalars, given=routine.given
    )


def proof_of(routine: Routine, function: Function) -> Proof:
    """The proof about a routine's function, which knows which of its arguments are integers."""
    proof = Proof(function)
    for name, t in routine.arguments.items():
        if t is Kind.INTEGER:
            proof.table[name] = replace(proof.table[name], integer=True)
    return proof
