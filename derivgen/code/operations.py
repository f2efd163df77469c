"""Expressions as operations in order: what every printer, and the interpreter of code, has to know of an expression.

SymPy keeps operands without order. Here their order is that of declaration, a product is split into what stands above
and below a fraction, and a power is what it is computed by.

    -x[n]²/(2·s)  →  Quotient(negative, (Square(x[n]),), (2, s))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.tree import Extent
from derivgen.form.expressions import Read, alternatives, branches_of, conjuncts, is_integral, reads_of, sympy_order
from derivgen.form.functions import of_ordinal
from derivgen.form.notation import ordered_factors, ordered_terms, split_fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, as SymPy has it."""

    value: sp.Expr
    integer: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """An index or a run-time size."""

    name: str


@dataclass(frozen=True, slots=True)
class Length:
    """How long an axis of an array is."""

    array: str
    axis: int


@dataclass(frozen=True, slots=True)
class Place:
    """A local, or an element of an array; its subscripts are integers."""

    name: str
    subscripts: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class ToReal:
    """An integer as a real."""

    value: Operation


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms, each added or subtracted (True)."""

    terms: tuple[tuple[bool, Operation], ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    """A product of what stands above, over a product of what stands below, perhaps with a minus sign."""

    negative: bool
    above: tuple[Operation, ...]
    below: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one kind: a class of SymPy's or of form/functions, or one of the words below."""

    function: type | str
    arguments: tuple[Operation, ...]


# How powers are computed, and maxima that keep NaN.
ROOT, SQUARE, CUBE, INTEGER_POWER, POWER, MAXIMUM, MINIMUM = (
    "root",
    "square",
    "cube",
    "integer_power",
    "power",
    "maximum",
    "minimum",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The first value whose condition holds, else the default."""

    branches: tuple[tuple[Operation, Operation], ...]  # (value, condition)
    default: Operation


@dataclass(frozen=True, slots=True)
class Comparison:
    left: Operation
    relation: str
    right: Operation


@dataclass(frozen=True, slots=True)
class All:
    """Conditions tested in order, until one fails; `Any`: until one holds."""

    parts: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Operation


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool


Value = Number | Name | Length | Place | ToReal | Sum | Quotient | Call | Choice
Operation = Value | Comparison | All | Any | Not | Truth


class Operations:
    """Expressions of one function → operations; what one expression holds twice is made once, and kept."""

    def __init__(self, order: Mapping[str, int], is_integer: Callable[[Read], bool]) -> None:
        self.order, self.is_integer = order, is_integer
        self.reals: dict[sp.Expr, Operation] = {}

    # ---- reals

    def real(self, e: sp.Expr) -> Operation:
        if e not in self.reals:
            self.reals[e] = self._real(e)
        return self.reals[e]

    def _real(self, e: sp.Expr) -> Operation:
        if isinstance(e, Read) and not self.is_integer(e):
            return self.place(e)
        if e.is_number:
            return Number(e)
        if self.is_whole(e):
            return ToReal(self.integer(e))
        match e:
            case sp.Add():
                return self.sum(e, self.real)
            case sp.Mul():
                return self.quotient(e)
            case sp.Pow():
                return self.quotient(e) if e.exp.is_Number and e.exp.is_negative else self.power(e.base, e.exp)
            case sp.Piecewise():
                branches, default = branches_of(e)
                pairs = tuple((self.real(value), self.condition(c)) for value, c in branches)
                return Choice(pairs, self.real(default)) if pairs else self.real(default)
            case sp.Max() | sp.Min():
                return self.extremum(e)
            case of_ordinal():
                return Call(of_ordinal, (self.integer(e.args[0]),))
            case _:
                return Call(e.func, tuple(map(self.real, e.args)))

    def place(self, read: Read) -> Place:
        return Place(read.tensor, tuple(map(self.integer, read.subscripts)))

    def sum(self, e: sp.Add, write: Callable[[sp.Expr], Operation]) -> Operation:
        """Terms that are written with a minus sign are subtracted, except for the first."""
        first, *others = ordered_terms(e, self.order)
        signs = [(t.could_extract_minus_sign(), t) for t in others]
        return Sum(((False, write(first)), *((minus, write(-t if minus else t)) for minus, t in signs)))

    def quotient(self, e: sp.Expr) -> Operation:
        negative, above, below = split_fraction(e)
        coefficient = sp.Mul(*(f for f in above if f.is_number)) / sp.Mul(*(f for f in below if f.is_number))
        above = [f for f in above if not f.is_number]
        below = [f for f in below if not f.is_number]
        if negative and coefficient != 1:
            coefficient, negative = -coefficient, False
        numbers = [coefficient] if coefficient != 1 or not above else []
        factors = tuple(map(self.real, [*numbers, *ordered_factors(above, self.order)]))
        return Quotient(negative, factors, tuple(map(self.real, ordered_factors(below, self.order))))

    def power(self, base: sp.Expr, exponent: sp.Expr) -> Operation:
        if exponent == sp.Rational(1, 2):
            return Call(ROOT, (self.real(base),))
        if exponent in (2, 3) and isinstance(base, Read):
            return Quotient(False, (self.real(base),) * int(exponent))
        if exponent in (2, 3):
            return Call(SQUARE if exponent == 2 else CUBE, (self.real(base),))
        if is_integral(exponent, self.is_integer):
            return Call(INTEGER_POWER, (self.real(base), self.integer(exponent)))
        if exponent.is_Rational and exponent.q == 2 and isinstance(base, Read):
            whole = self.real(sp.Pow(base, exponent - sp.Rational(1, 2)))
            return Quotient(False, (whole, Call(ROOT, (self.real(base),))))
        return Call(POWER, (self.real(base), self.real(exponent)))

    def extremum(self, e: sp.Expr) -> Operation:
        """Calls of two arguments, the numbers first."""
        first, *others = sorted(e.args, key=lambda a: (not a.is_Number, sympy_order(a)))
        found = self.real(first)
        for argument in others:
            found = Call(MAXIMUM if isinstance(e, sp.Max) else MINIMUM, (found, self.real(argument)))
        return found

    # ---- integers

    def is_whole(self, e: sp.Expr) -> bool:
        """Whether it is an integer combination, also of remainders of such as are not negative: there `%` is one."""
        match e:
            case sp.Mod(args=(sp.Expr() as value, sp.Integer() as period)):
                coefficients = (sp.sympify(term.as_coeff_Mul()[0]) for term in sp.Add.make_args(value))
                counts = period > 0 and not reads_of(value) and all(c > 0 for c in coefficients)
                return counts and is_integral(value, self.is_integer)
            case sp.Add() | sp.Mul():
                return all(map(self.is_whole, e.args))
        return is_integral(e, self.is_integer)

    def integer(self, e: sp.Expr) -> Operation:
        match e:
            case Read():
                return self.place(e)
            case Extent():
                return Length(e.array, e.axis)
            case sp.Symbol():
                return Name(e.name)
            case sp.Integer():
                return Number(e, integer=True)
            case sp.Add():
                return self.sum(e, self.integer)
            case sp.Mul() | sp.Pow():
                negative, above, _ = split_fraction(e)
                factors = [f for power in ordered_factors(above, self.order) for f in repeated_factors(power)]
                return Quotient(negative, tuple(map(self.integer, factors)))
            case _:  # the least of several bounds, the rank of a real
                if isinstance(e, sp.Min | sp.Max):
                    return Call(e.func, tuple(map(self.integer, sorted(e.args, key=lambda a: a.is_Symbol))))
                if isinstance(e, sp.Mod):
                    return Call(e.func, tuple(map(self.integer, e.args)))
                return Call(e.func, tuple(map(self.real, e.args)))

    # ---- conditions

    def condition(self, c: Boolean) -> Operation:
        match c:
            case sp.And():
                return All(tuple(map(self.condition, conjuncts(c))))
            case sp.Or():
                return Any(tuple(map(self.condition, alternatives(c))))
            case sp.Not():
                return Not(self.condition(c.args[0]))
            case sp.Symbol():
                return Name(c.name)
            case sp.core.relational.Relational():
                whole = self.is_whole(c.lhs) and self.is_whole(c.rhs)
                write = self.integer if whole else self.real
                return Comparison(write(c.lhs), c.rel_op, write(c.rhs))
        if c not in (sp.true, sp.false):
            raise AssertionError(f"{c} is no condition of a program")
        return Truth(bool(c))


def repeated_factors(power: sp.Expr) -> list[sp.Expr]:
    """N**2 as N, N."""
    base, exponent = power.as_base_exp()
    return [base] * int(exponent)
