"""Operations → C: reals of one dtype, integers as `ptrdiff_t`, elements of arrays by their place in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.code import operations as op
from derivgen.form.functions import of_ordinal, ordinal
from derivgen.print.c.words import INDEX, OF_INTEGERS, PREFIX, REAL, TRUTH_VALUE, function_name
from derivgen.print.layout import Bracket, Chain, Part, Signed
from derivgen.print.scalar import EXACT, chained, digits, signed

TERNARY, OR, AND, EQUALITY, COMPARE, SUM, TERM, UNARY, ATOM = range(9)  # precedences

OPERATORS = {"==": EQUALITY, "!=": EQUALITY}
EXACT_IN = {"float32": 2**24, "float64": EXACT}  # up to which whole numbers are reals of a dtype


@dataclass(frozen=True, slots=True)
class Variable:
    """What a name stands for: a local or an array, by the text of both.

    `type`: of its value or its elements. `base`, `offset`: the pointer, and the element of it that is the array's first
    one; `shape`: operations, None for a local.
    """

    base: str
    type: str
    shape: tuple[op.Operation, ...] | None = None
    offset: op.Operation | str | None = None


Look = Callable[[str], Variable]


class Scalar:
    """Writes operations in one dtype, and notes in `used` which functions it calls, in `sizes` which sizes it names.

    `look`: what a name stands for; `rename`: how C's text writes an index or a size.
    """

    def __init__(self, dtype: str, look: Look, rename: Callable[[str], str]) -> None:
        self.dtype, self.look, self.rename = dtype, look, rename
        self.used: set[tuple[str, str]] = set()  # (function's name, dtype)
        self.names: set[str] = set()
        self.suffix = "f" if dtype == "float32" else ""

    def in_dtype(self, dtype: str) -> Scalar:
        """The same, for values of another dtype."""
        if dtype == self.dtype:
            return self
        other = Scalar(dtype, self.look, self.rename)
        other.used, other.names = self.used, self.names
        return other

    # ---- reals and conditions

    def part(self, o: op.Operation, precedence: int = TERNARY) -> Part:
        """An operation, in parentheses where it binds less than what it stands in."""
        found, own = self.written(o)
        return Bracket("", (found,)) if own < precedence else found

    def written(self, o: op.Operation) -> tuple[Part, int]:
        match o:
            case op.Number():
                return self.number(o)
            case op.Name():
                self.names.add(o.name)
                name = self.rename(o.name)
                return (name, ATOM) if self.look(o.name).type != TRUTH_VALUE else (f"{name} != 0", EQUALITY)
            case op.Place():
                return self.converted(*self.place(o))
            case op.ToReal():
                return Signed(f"({REAL[self.dtype]})", self.integer(o.value, UNARY)), UNARY
            case op.Sum():
                return self.sum(o, self.part), SUM
            case op.Quotient():
                return self.quotient(o, self.part)
            case op.Call():
                return self.call(o), ATOM
            case op.Choice():
                return self.choice(o), TERNARY
            case op.Comparison():
                return self.comparison(o), OPERATORS.get(o.relation, COMPARE)
            case op.All():
                return chained("&&", [self.part(p, EQUALITY) for p in o.parts]), AND
            case op.Any():
                return chained("||", [self.part(p, EQUALITY) for p in o.parts]), OR
            case op.Not():
                return Signed("!", self.part(o.part, ATOM)), UNARY
            case op.Truth():
                return str(int(o.value)), ATOM
        raise AssertionError(f"{o} is no real")

    def number(self, n: op.Number) -> tuple[Part, int]:
        value = n.value
        if value in (sp.oo, -sp.oo):
            self.used.add(("infinity", self.dtype))
            call = f"{PREFIX[self.dtype]}_infinity()"
            return (call, ATOM) if value == sp.oo else (f"-{call}", UNARY)
        text = digits(value)
        if "/" in text and max(abs(value.p), value.q) <= EXACT_IN[self.dtype]:
            return Chain(self.literal(value.p), (("/", self.literal(value.q)),)), TERM
        return self.literal(float(value)), UNARY if value < 0 else ATOM

    def literal(self, value: sp.Integer | float) -> str:
        text = repr(float(value)).replace("e+", "e")
        return text + self.suffix

    def converted(self, text: Part, type_: str) -> tuple[Part, int]:
        """A variable as a real of this dtype."""
        wanted = REAL[self.dtype]
        return (text, ATOM) if type_ == wanted else (Signed(f"({wanted})", text), UNARY)

    def comparison(self, o: op.Comparison) -> Part:
        """An element of an integer array is compared as it is: no cast may hide that it is too large for an index."""
        if not (is_integer(o.left, self.look) and is_integer(o.right, self.look)):
            return Chain(self.part(o.left, SUM), ((o.relation, self.part(o.right, SUM)),))
        left, right = (self.place(p)[0] if isinstance(p, op.Place) else self.integer(p, SUM) for p in (o.left, o.right))
        return Chain(left, ((o.relation, right),))

    def call(self, o: op.Call) -> Part:
        if o.function is of_ordinal:
            return self.named(o.function, (self.rank(o.arguments[0]),))
        if o.function == op.INTEGER_POWER:
            return self.named(o.function, (self.part(o.arguments[0]), self.integer(o.arguments[1])))
        return self.named(o.function, tuple(map(self.part, o.arguments)))

    def named(self, function: type | str, arguments: tuple[Part, ...]) -> Part:
        name = function_name(function, self.dtype)
        self.used.add((name.partition("_")[2], self.dtype))
        return Bracket(name, arguments)

    def rank(self, o: op.Operation) -> Part:
        """The rank of a real: a local that holds one, or the call that finds it."""
        if isinstance(o, op.Call) and o.function is ordinal:
            return self.named(ordinal, tuple(map(self.part, o.arguments)))
        assert isinstance(o, op.Place)
        return self.place(o)[0]

    def choice(self, o: op.Choice) -> Part:
        """The branches one in the other; each condition in parentheses unless it is a call or a comparison."""
        found = self.part(o.default, TERNARY if len(o.branches) == 1 else OR)
        for k, (value, condition) in enumerate(reversed(o.branches)):
            rest: Part = Bracket("", (found,)) if k else found
            found = Chain(
                Bracket("", (self.part(condition),)), (("?", self.part(value, OR)), (":", rest if k else found))
            )
        return found

    # ---- what reals and integers have in common

    def sum(self, o: op.Sum, write: Callable[[op.Operation, int], Part]) -> Part:
        rest = tuple(("-" if minus else "+", write(term, TERM)) for minus, term in o.terms[1:])
        return Chain(write(o.terms[0][1], SUM), rest)

    def quotient(self, o: op.Quotient, write: Callable[[op.Operation, int], Part]) -> tuple[Part, int]:
        above = [write(f, UNARY) for f in o.above]
        text: Part = chained("*", above)
        if o.below:
            below = [write(f, UNARY) for f in o.below]
            under = below[0] if len(below) == 1 else Bracket("", (chained("*", below),))
            text = Chain(above[0], (*(("*", f) for f in above[1:]), ("/", under)))
        lone = len(above) == 1 and not o.below
        return (signed(text) if o.negative else text), UNARY if lone else TERM

    # ---- integers

    def integer(self, o: op.Operation, precedence: int = TERNARY) -> Part:
        """An index or a size, in parentheses where it binds less than what it stands in."""
        found, own = self.index(o)
        return Bracket("", (found,)) if own < precedence else found

    def index(self, o: op.Operation) -> tuple[Part, int]:
        match o:
            case op.Number():
                return str(int(o.value)), ATOM if o.value >= 0 else UNARY
            case op.Place():
                text, type_ = self.place(o)
                return (text, ATOM) if type_ == INDEX else (Signed(f"({INDEX})", text), UNARY)
            case op.Length():
                shape = self.look(o.array).shape
                assert shape is not None
                return self.index(shape[o.axis])
            case op.Sum():
                return self.sum(o, self.integer), SUM
            case op.Quotient():
                return self.quotient(o, self.integer)
            case op.Call() if o.function in OF_INTEGERS:
                name, (first, *others) = OF_INTEGERS[o.function], map(self.integer, o.arguments)
                self.used.add((name, ""))
                for other in others:
                    first = Bracket(name, (first, other))
                return first, ATOM
            case op.Call() if o.function is ordinal:
                return self.rank(o), ATOM
            case op.Call():  # floor and ceiling, whose values are whole
                return Signed(f"({INDEX})", self.call(o)), UNARY
        return self.written(o)

    def integer_as(self, o: op.Operation, type_: str) -> Part:
        """An integer as an element of an integer array, or as an index."""
        if type_ == INDEX or isinstance(o, op.Number):
            return self.integer(o)
        text, own = self.place(o) if isinstance(o, op.Place) else (self.integer(o), INDEX)
        return text if own == type_ else Signed(f"({type_})", text if isinstance(text, str) else Bracket("", (text,)))

    # ---- places

    def place(self, o: op.Place) -> tuple[Part, str]:
        """A local or an element, and its type."""
        variable = self.look(o.name)
        if variable.shape is None:
            return variable.base, variable.type
        return self.element(variable, o.subscripts), variable.type

    def element(self, variable: Variable, subscripts: Sequence[op.Operation]) -> Part:
        assert variable.shape is not None
        place = self.integer(position(subscripts, variable.shape))
        match variable.offset:
            case None:
                return Bracket(variable.base, (place,), "[]")
            case str() as start:
                shown: Part = start
            case start:
                shown = self.integer(start)
        if place == "0":
            return Bracket(variable.base, (shown,), "[]")
        return Bracket(variable.base, (shown if shown == "0" else Chain(shown, (("+", place),)),), "[]")

    def pointer(self, variable: Variable, subscripts: Sequence[op.Operation] = ()) -> Part:
        """The address of an array's element, the first one if no subscripts are given."""
        assert variable.shape is not None
        subscripts = subscripts or [ZERO] * max(1, len(variable.shape))
        if variable.offset is None and all(s == ZERO for s in subscripts):
            return variable.base
        return Signed("&", self.element(variable, subscripts))


ZERO = op.Number(sp.S.Zero, integer=True)
ONE = op.Number(sp.S.One, integer=True)


def position(subscripts: Sequence[op.Operation], shape: Sequence[op.Operation]) -> op.Operation:
    """Where an element lies in an array, by rows: [n, t, d] of (N, T, D) at D·(T·n + t) + d."""
    found = subscripts[0] if subscripts else ZERO
    for subscript, extent in zip(subscripts[1:], shape[1:], strict=True):
        found = plus(times(extent, found), subscript)
    return found


def times(a: op.Operation, b: op.Operation) -> op.Operation:
    if ZERO in (a, b):
        return ZERO
    if isinstance(a, op.Number) and isinstance(b, op.Number):
        return op.Number(a.value * b.value, integer=True)
    return b if a == ONE else a if b == ONE else op.Quotient(False, (a, b))


def plus(a: op.Operation, b: op.Operation) -> op.Operation:
    if isinstance(a, op.Number) and isinstance(b, op.Number):
        return op.Number(a.value + b.value, integer=True)
    if a == ZERO or b == ZERO:
        return b if a == ZERO else a
    if isinstance(b, op.Sum) and not b.terms[0][0]:
        return op.Sum(((False, a), *b.terms))
    return op.Sum(((False, a), (False, b)))


def less(a: op.Operation, b: op.Operation) -> op.Operation:
    if isinstance(a, op.Number) and isinstance(b, op.Number):
        return op.Number(a.value - b.value, integer=True)
    return a if b == ZERO else op.Sum(((False, a), (True, b)))


def is_integer(o: op.Operation, look: Look) -> bool:
    """Whether an operation of a comparison is an index or a size."""
    match o:
        case op.Number():
            return o.integer
        case op.Name() | op.Length():
            return True
        case op.Place():
            return look(o.name).type not in REAL.values()
        case op.Sum():
            return all(is_integer(term, look) for _, term in o.terms)
        case op.Quotient():
            return not o.below and all(is_integer(f, look) for f in o.above)
        case op.Call():
            return o.function in OF_INTEGERS
        case _:
            return False
