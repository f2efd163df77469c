"""Scalar expressions → Python text for numba.

Every literal, index and size in a real expression is wrapped in `real(…)`: a bare `0.5` or `2 * x` is float64 to
numba, and would drag a float32 loop up with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.emit.kernel.elementary import CUBE, FUNCTIONS, INTEGER_POWER, MAXIMUM, MINIMUM, POWER, SQUARE, defined
from derivgen.form.expressions import Read, alternatives, branches_of, conjuncts, is_integral, sort_text
from derivgen.form.notation import ordered_factors, ordered_terms, split_fraction

TERNARY, OR, AND, NOT, COMPARE, SUM, TERM, UNARY, ATOM = range(9)  # precedences


class ScalarText:
    """Writes scalar expressions; `access` writes a read, `name` an index or a size, `used` collects the elementary functions that were needed."""

    def __init__(
        self,
        order: Mapping[str, int],
        access: Callable[[Read], str],
        name: Callable[[sp.Symbol], str],
        general_power: str = POWER,
    ) -> None:
        self.order, self.access, self.name, self.general_power = order, access, name, general_power
        self.is_integer: Callable[[Read], bool] = lambda read: False
        self.used: set[str] = set()
        self.known: dict[sp.Expr, tuple[str, int]] | None = None  # texts of reals, while they are remembered

    # ---- entry points

    def real(self, e: sp.Expr, precedence: int = TERNARY) -> str:
        found = self.known.get(e) if self.known is not None else None
        if found is None:
            found = self._real(e)
            if self.known is not None:
                self.known[e] = found
        text, own = found
        return f"({text})" if own < precedence else text

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Within this, each real is written once: what `access` writes must not change."""
        before, self.known = self.known, {}
        yield
        self.known = before

    def integer(self, e: sp.Expr, precedence: int = TERNARY) -> str:
        text, own = self._integer(e)
        return f"({text})" if own < precedence else text

    def condition(self, c: Boolean, precedence: int = TERNARY) -> str:
        text, own = self._condition(c)
        return f"({text})" if own < precedence else text

    # ---- reals

    def _real(self, e: sp.Expr) -> tuple[str, int]:
        if isinstance(e, Read) and not self.is_integer(e):
            return self.access(e), ATOM
        if e.is_number:
            return self.number(e), ATOM
        if self.is_integral(e):
            return f"real({self.integer(e)})", ATOM
        if isinstance(e, sp.Add):
            return self._terms(ordered_terms(e, self.order), self.real), SUM
        if isinstance(e, sp.Mul) or (isinstance(e, sp.Pow) and e.exp.is_Number and e.exp.is_negative):
            return self.quotient(e)
        if isinstance(e, sp.Pow):
            return self.power(e.base, e.exp)
        if isinstance(e, sp.Piecewise):
            return self.piecewise(e), TERNARY
        if isinstance(e, sp.Max | sp.Min):
            return self.extremum(e), ATOM
        return self.call(FUNCTIONS[e.func], *(self.real(a) for a in e.args)), ATOM

    def number(self, e: sp.Expr) -> str:
        if e in (sp.oo, -sp.oo):
            return "real(np.inf)" if e == sp.oo else "real(-np.inf)"
        if e.is_Integer:
            return f"real({e})"
        return f"real({float(e)!r})"

    def is_integral(self, e: sp.Expr) -> bool:
        """Whether this is an integer combination of indices, sizes and integer reads."""
        return is_integral(e, self.is_integer)

    def _terms(self, terms: list[sp.Expr], write: Callable[[sp.Expr, int], str]) -> str:
        text = write(terms[0], SUM)
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                text += f" - {write(-term, TERM)}"
            else:
                text += f" + {write(term, TERM)}"
        return text

    def quotient(self, e: sp.Expr) -> tuple[str, int]:
        negative, above, below = split_fraction(e)
        coefficient = sp.Mul(*(f for f in above if f.is_number)) / sp.Mul(*(f for f in below if f.is_number))
        above = [f for f in above if not f.is_number]
        below = [f for f in below if not f.is_number]
        if negative and coefficient != 1:
            coefficient, negative = -coefficient, False
        numbers = [coefficient] if coefficient != 1 or not above else []
        factors = [self.real(f, UNARY) for f in [*numbers, *ordered_factors(above, self.order)]]
        text = " * ".join(factors)
        if below:
            several = len(below) > 1
            under = " * ".join(self.real(f, UNARY) for f in ordered_factors(below, self.order))
            text += f" / ({under})" if several else f" / {under}"
        if negative:
            return f"-{text}", UNARY if len(factors) == 1 and not below else TERM
        return text, TERM if len(factors) > 1 or below else UNARY

    def power(self, base: sp.Expr, exponent: sp.Expr) -> tuple[str, int]:
        if exponent == sp.Rational(1, 2):
            return f"np.sqrt({self.real(base)})", ATOM
        if exponent.is_Integer and exponent in (2, 3) and isinstance(base, Read):
            return " * ".join([self.real(base, UNARY)] * int(exponent)), TERM
        if exponent.is_Integer and exponent in (2, 3):
            return self.call(SQUARE if exponent == 2 else CUBE, self.real(base)), ATOM
        if self.is_integral(exponent):
            return self.call(INTEGER_POWER, self.real(base), self.integer(exponent)), ATOM
        if exponent.is_Rational and exponent.q == 2 and isinstance(base, Read):
            whole = sp.Pow(base, exponent - sp.Rational(1, 2))
            return f"{self.real(whole, TERM)} * np.sqrt({self.real(base)})", TERM
        return self.call(self.general_power, self.real(base), self.real(exponent)), ATOM

    def call(self, function: str, *arguments: str) -> str:
        if function in defined():
            self.used.add(function)
        return f"{function}({', '.join(arguments)})"

    def extremum(self, e: sp.Expr) -> str:
        """Nested calls of two arguments, the numbers first."""
        function = MAXIMUM if isinstance(e, sp.Max) else MINIMUM
        arguments = sorted(e.args, key=lambda a: (not a.is_Number, sort_text(a)))
        text = self.real(arguments[0])
        for argument in arguments[1:]:
            text = self.call(function, text, self.real(argument))
        return text

    def piecewise(self, e: sp.Piecewise) -> str:
        value, condition = e.args[0].args
        if len(e.args) == 2 and {value, e.args[1].args[0]} == set(condition.args):
            # As `u if u > v else v` a linter takes it for a maximum, which it is not at NaN.
            return f"{self.real(e.args[1].args[0], OR)} if not {self.condition(condition, NOT)} else {self.real(value)}"
        branches, default = branches_of(e)
        text = "".join(f"{self.real(value, OR)} if {self.condition(test, OR)} else " for value, test in branches)
        return text + self.real(default, OR if not text else TERNARY)

    # ---- integers

    def _integer(self, e: sp.Expr) -> tuple[str, int]:
        if isinstance(e, Read):
            return self.access(e), ATOM
        if isinstance(e, sp.Symbol):
            return self.name(e), ATOM
        if e.is_Integer:
            return str(e), ATOM if e >= 0 else UNARY
        if isinstance(e, sp.Add):
            return self._terms(ordered_terms(e, self.order), self.integer), SUM
        negative, above, _ = split_fraction(e)
        bases = [f for power in ordered_factors(above, self.order) for f in repeated_factors(power)]
        text = " * ".join(self.integer(f, UNARY) for f in bases)
        return (f"-{text}", UNARY) if negative else (text, TERM if len(bases) > 1 else UNARY)

    # ---- conditions

    def joined(self, c: Boolean) -> tuple[str, list[Boolean], int]:
        """("and" or "or", the operands in order of evaluation, their least precedence); no operands if c joins none."""
        if isinstance(c, sp.And):
            return "and", unchained(conjuncts(c)), NOT
        if isinstance(c, sp.Or):
            return "or", [*alternatives(c)], AND
        return "", [], ATOM

    def _condition(self, c: Boolean) -> tuple[str, int]:
        joint, parts, inner = self.joined(c)
        if parts:
            return f" {joint} ".join(self.condition(p, inner) for p in parts), inner - 1
        if isinstance(c, sp.Not):
            return f"not {self.condition(c.args[0], COMPARE + 1)}", NOT
        if isinstance(c, sp.core.relational.Relational):
            write = self.integer if self.is_integral(c.lhs) and self.is_integral(c.rhs) else self.real
            return f"{write(c.lhs, SUM)} {c.rel_op} {write(c.rhs, SUM)}", COMPARE
        if c not in (sp.true, sp.false):
            raise AssertionError(f"{c} is no condition of a program")
        return str(bool(c)), ATOM


def repeated_factors(power: sp.Expr) -> list[sp.Expr]:
    """N**2 as N, N."""
    base, exponent = power.as_base_exp()
    return [base] * int(exponent)


def unchained(parts: Sequence[Boolean]) -> list[Boolean]:
    """Comparisons such that none ends in what the next one starts with: linters would chain those."""
    turned: list[Boolean] = []
    for part in parts:
        for position, before in enumerate(turned):
            if chain(before, part):
                turned[position] = before.reversed
        turned.append(part)
    for position in range(1, len(turned)):  # one that was turned may start in what the one before ends with
        if chain(turned[position - 1], turned[position]):
            turned[position] = turned[position].reversed
    return turned


def chain(a: Boolean, b: Boolean) -> bool:
    return all(isinstance(c, sp.core.relational.Relational) for c in (a, b)) and bool(a.rhs == b.lhs)
