"""Tables that a formula of their indices makes: `cos(t / 10000**(i / 8))` over t and i.

`worked_out` goes through a formula in one order, in which it is computed exactly (`exact_table`), in double precision
with a bound of every machine's error (`uncertain`), and written (`print/module/tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import sympy as sp
from mpmath import MPContext

from derivgen.form.functions import FUNCTIONS, log_total

PRECISION = 120  # bits
WHOLE = 2**53  # up to which doubles are all whole numbers


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression of the axes' indices, `axis(0)`, `axis(1)`, …; `letters` are what the text calls them."""

    letters: tuple[str, ...]
    shape: tuple[int, ...]
    expression: sp.Expr


def axis(number: int) -> sp.Symbol:
    return sp.Symbol(f"axis{number}", integer=True)


class NoFormula(Exception):
    """A formula that an arithmetic has no answer for."""


class Arithmetic(Protocol):
    """What `worked_out` asks for; values are of any type. A factor of `quotient` may be missing above."""

    def number(self, value: sp.Expr) -> Any: ...
    def index(self, symbol: sp.Symbol) -> Any: ...
    def sum(self, terms: Sequence[tuple[bool, Any]]) -> Any: ...
    def quotient(self, negative: bool, above: Sequence[Any], below: Sequence[Any]) -> Any: ...
    def power(self, base: Any, exponent: Any, whole: int | None) -> Any: ...
    def call(self, function: type, arguments: Sequence[Any]) -> Any: ...
    def choice(self, branches: Sequence[tuple[Any, Any]], default: Any) -> Any: ...
    def compare(self, relation: str, left: Any, right: Any) -> Any: ...


def worked_out(e: sp.Basic, by: Arithmetic) -> Any:
    """The value of an expression, operation by operation."""

    def value(part: sp.Basic) -> Any:
        return worked_out(part, by)

    match e:
        case sp.Symbol():
            return by.index(e)
        case sp.Rational(q=1) | sp.Float() | sp.NumberSymbol():
            return by.quotient(True, [by.number(-e)], []) if e.is_negative else by.number(e)
        case sp.Add():
            minus = [term.could_extract_minus_sign() for term in e.args]
            terms = [(m, -term if m else term) for m, term in zip(minus, e.args, strict=True)]
            return by.sum([(m, value(term)) for m, term in sorted(terms, key=lambda t: (t[0], t[1].is_number))])
        case sp.Mul() | sp.Rational():
            return quotient(e, by)
        case sp.Pow(base=base, exp=sp.Rational(p=1, q=2)):
            return by.call(sp.sqrt, [value(base)])
        case sp.Pow(base=base, exp=exponent):
            if exponent.could_extract_minus_sign():
                return quotient(e, by)
            return by.power(value(base), value(exponent), int(exponent) if exponent.is_Integer else None)
        case sp.Piecewise() if e.args[-1].args[1] == sp.true:
            *branches, last = e.args
            return by.choice([(value(b.args[0]), value(b.args[1])) for b in branches], value(last.args[0]))
        case sp.core.relational.Relational():
            return by.compare(e.rel_op, value(e.lhs), value(e.rhs))
        case _ if e.func in FUNCTIONS:
            return by.call(e.func, list(map(value, e.args)))
    raise NoFormula(f"{e}")


def quotient(e: sp.Expr, by: Arithmetic) -> Any:
    """A product, its factors with negative exponents below: t·10000^(-i/8) is t / 10000^(i/8)."""
    above: list[sp.Expr] = []
    below: list[sp.Expr] = []
    number, rest = e.as_coeff_Mul()
    for factor in sp.Mul.make_args(rest):
        if factor.is_Pow and factor.exp.could_extract_minus_sign():
            below.append(sp.Pow(factor.base, -factor.exp))
        elif factor != 1:
            above.append(factor)
    if not number.is_Rational:
        above.insert(0, abs(number))
    elif abs(number.p) != 1 or not above:
        above.insert(0, sp.Integer(abs(number.p)))
    if number.is_Rational and number.q != 1:
        below.append(sp.Integer(number.q))
    parts = [[worked_out(f, by) for f in factors] for factors in (above, below)]
    return by.quotient(bool(number.is_negative), *parts)


def grid(shape: tuple[int, ...], kind: Any) -> list[np.ndarray]:
    """For each axis its indices, as an array that broadcasts along the others."""
    count = len(shape)
    return [np.arange(n).astype(kind).reshape([-1 if k == a else 1 for k in range(count)]) for a, n in enumerate(shape)]


COMPARED: dict[str, Callable[..., Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


class Exact:
    """Numbers of 120 bits, in arrays that broadcast: what no index changes is computed once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mp = MPContext()
        self.mp.prec = PRECISION
        self.grid = {axis(k): self.each(self.mp.mpf, line) for k, line in enumerate(grid(shape, object))}

    def each(self, function: Callable[..., Any], *arrays: Any) -> np.ndarray:
        return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), object)

    def number(self, value: sp.Expr) -> Any:
        return self.mp.mpf(value._to_mpmath(PRECISION))

    def index(self, symbol: sp.Symbol) -> Any:
        return self.grid[symbol]

    def sum(self, terms: Sequence[tuple[bool, Any]]) -> Any:
        return sum((-term if minus else term for minus, term in terms), self.mp.mpf(0))

    def quotient(self, negative: bool, above: Sequence[Any], below: Sequence[Any]) -> Any:
        result = self.mp.mpf(-1 if negative else 1)
        for factor in above:
            result = result * factor
        for factor in below:
            result = self.each(lambda u, v: u / v if v else self.mp.nan, result, factor)
        return result

    def power(self, base: Any, exponent: Any, whole: int | None) -> Any:
        return self.each(self.real(self.mp.power), base, exponent)

    def call(self, function: type, arguments: Sequence[Any]) -> Any:
        if function is sp.sqrt:
            return self.each(self.real(self.mp.sqrt), *arguments)
        return self.each(lambda *u: FUNCTIONS[function].real(self.mp, *u), *arguments)

    def real(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def value(*arguments: Any) -> Any:
            found = function(*arguments)
            return found if isinstance(found, self.mp.mpf) else self.mp.nan

        return value

    def choice(self, branches: Sequence[tuple[Any, Any]], default: Any) -> Any:
        for value, condition in reversed(branches):
            default = np.where(condition, value, default)
        return default

    def compare(self, relation: str, left: Any, right: Any) -> Any:
        return COMPARED[relation](left, right).astype(bool)


def exact_table(formula: Formula) -> np.ndarray:
    """The float64 next to each value; NaN where there is none, and NoFormula where a part of it is no function here."""
    values = worked_out(formula.expression, Exact(formula.shape))
    return np.array(np.broadcast_to(np.asarray(values, object), formula.shape), np.float64)


# ---- the error of double precision

UNIT = 2.0**-52  # what rounding one operation changes, relative to its result, is at most half of it
FUNCTION = 8 * UNIT  # likewise for a function of any C library or NumPy, whose errors are 4 units at most
LIPSCHITZ: dict[type, Callable[..., Any]] = {sp.sin: np.sin, sp.cos: np.cos, sp.tanh: np.tanh}  # slopes of at most 1


@dataclass(frozen=True, slots=True)
class Near:
    """A value in double precision, and how far another machine's, or the exact one, is from it at most."""

    value: Any
    error: Any

    @property
    def whole(self) -> Any:
        return (self.error == 0) & (self.value == np.rint(self.value)) & (np.abs(self.value) < WHOLE)


def rounded(value: Any, error: Any, *operands: Near) -> Near:
    """The result of an operation of IEEE's, exact for whole numbers that give a whole one."""
    exact = Near(value, 0).whole
    for operand in operands:
        exact = exact & operand.whole
    return Near(value, error + np.where(exact, 0, UNIT * np.abs(value)))


def at_zero(argument: Near, result: Near) -> Near:
    """cos 0, exp 0 and u^0 are 1 in every library: C's standard says so (annex F)."""
    return Near(result.value, np.where((argument.value == 0) & (argument.error == 0), 0, result.error))


class Rounded:
    """Double precision, in the order in which the text computes; NoFormula where nothing bounds the error."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.grid = {axis(k): Near(line, 0.0) for k, line in enumerate(grid(shape, np.float64))}

    def number(self, value: sp.Expr) -> Near:
        exact = value.is_Float or (value.is_Integer and abs(value) < WHOLE)
        return Near(np.float64(value), 0.0 if exact else UNIT * abs(float(value)))

    def index(self, symbol: sp.Symbol) -> Near:
        return self.grid[symbol]

    def sum(self, terms: Sequence[tuple[bool, Near]]) -> Near:
        (minus, total), *rest = terms
        total = Near(-total.value, total.error) if minus else total
        for minus, term in rest:
            value = total.value - term.value if minus else total.value + term.value
            total = rounded(value, total.error + term.error, total, term)
        return total

    def quotient(self, negative: bool, above: Sequence[Near], below: Sequence[Near]) -> Near:
        result = self.product(above)
        if below:
            under = self.product(below)
            least = np.abs(under.value) - under.error
            self.require(least > 0)
            value = result.value / under.value
            result = Near(value, (result.error + np.abs(value) * under.error) / least + UNIT * np.abs(value))
        return Near(-result.value, result.error) if negative else result

    def product(self, factors: Sequence[Near]) -> Near:
        a, *rest = factors
        for b in rest:
            error = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
            a = rounded(a.value * b.value, error, a, b)
        return a

    def power(self, base: Near, exponent: Near, whole: int | None) -> Near:
        if whole == 2:  # NumPy's square
            return self.product([base, base])
        if whole is not None:
            size = np.abs(base.value)
            most = (size + base.error) ** whole
            return Near(base.value**whole, most - size**whole + FUNCTION * most)
        off = self.logarithm_off(base)
        spread = np.abs(np.log(base.value)) * exponent.error + (np.abs(exponent.value) + exponent.error) * off
        value = base.value**exponent.value
        return at_zero(exponent, Near(value, value * (np.expm1(spread) + FUNCTION * np.exp(spread))))

    def logarithm_off(self, a: Near) -> Any:
        """How far log a is off."""
        self.require(a.value > a.error)
        return -np.log1p(-a.error / a.value)

    def call(self, function: type, arguments: Sequence[Near]) -> Near:
        a, *others = arguments
        if function is sp.Mod and a.whole.all() and others[0].whole.all() and (others[0].value > 0).all():
            return Near(a.value % others[0].value, 0.0)
        if function in LIPSCHITZ:
            value = LIPSCHITZ[function](a.value)
            return at_zero(a, Near(value, a.error + FUNCTION * (np.abs(value) + a.error)))
        if function is sp.exp:
            value = np.exp(a.value)
            return at_zero(a, Near(value, value * (np.expm1(a.error) + FUNCTION * np.exp(a.error))))
        if function in (sp.log, log_total):
            value, off = np.log(a.value), self.logarithm_off(a)
            return Near(value, off + FUNCTION * (np.abs(value) + off))
        if function is sp.sqrt:
            value, off = np.sqrt(a.value), self.logarithm_off(a)
            return Near(value, value * np.expm1(off) + UNIT * value)
        raise NoFormula(function.__name__)

    def choice(self, branches: Sequence[tuple[Near, Any]], default: Near) -> Near:
        for chosen, condition in reversed(branches):
            pairs = (chosen.value, default.value), (chosen.error, default.error)
            default = Near(*(np.where(condition, a, b) for a, b in pairs))
        return default

    def compare(self, relation: str, left: Near, right: Near) -> Any:
        self.require(left.whole & right.whole)
        return COMPARED[relation](left.value, right.value)

    def require(self, holds: Any) -> None:
        if not np.all(holds):
            raise NoFormula("the error has no bound")


def uncertain(formula: Formula, table: np.ndarray, dtype: str) -> np.ndarray:
    """Where two machines that compute a formula in double precision may round it to two numbers of a dtype.

    They do not where one number of it is the nearest to all that are within the bound of the error, and once more that
    for what the bound itself is rounded by, of the exact value; and it is the table's.
    """
    everywhere = np.ones(table.shape, bool)
    if not formula.expression.free_symbols:  # the text would make a number, and no array
        return everywhere
    with np.errstate(all="ignore"):
        try:
            near = worked_out(formula.expression, Rounded(formula.shape))
        except NoFormula:
            return everywhere
        margin = np.where(near.error > 0, 2 * (near.error + UNIT * np.abs(table)), 0)
        value = np.broadcast_to(near.value, formula.shape)
        own, computed, least, most = (a.astype(dtype) for a in (table, value, table - margin, table + margin))
        agree = (computed == own) & (np.signbit(computed) == np.signbit(own)) & np.isfinite(computed)
        return ~agree | (least != most)
