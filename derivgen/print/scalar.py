"""Operations → Python for numba.

Every literal, index and size in a real expression is wrapped in `real(…)`: a bare `0.5` or `2 * x` is float64 to
numba, and would drag a float32 loop up with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.code import operations as op
from derivgen.form.functions import difference, erfc, of_ordinal, ordinal, sigmoid, softplus, xlogy
from derivgen.print.elementary import (
    CUBE,
    FUNCTIONS,
    INTEGER_POWER,
    MAXIMUM,
    MINIMUM,
    OF_ORDINAL,
    ORDINAL,
    POWER,
    SQUARE,
    defined,
)
from derivgen.print.layout import Bracket, Chain, Part, Signed

TERNARY, OR, AND, NOT, COMPARE, SUM, TERM, UNARY, ATOM = range(9)  # precedences

NAMES: dict[type | str, str] = dict(FUNCTIONS) | {
    op.ROOT: "np.sqrt",
    op.SQUARE: SQUARE,
    op.CUBE: CUBE,
    op.INTEGER_POWER: INTEGER_POWER,
    op.POWER: POWER,
    op.MAXIMUM: MAXIMUM,
    op.MINIMUM: MINIMUM,
    ordinal: ORDINAL,
    of_ordinal: OF_ORDINAL,
    sp.Min: "min",
    sp.Max: "max",
}


SHORT = 4  # characters of a decimal number, but for its sign, that stands in place of a fraction, as 0.25
EXACT = 2**53  # up to which whole numbers are numbers of double precision


def digits(number: sp.Expr) -> str:
    """A number as its formula has it: `1 / 64`, which Python divides when it compiles, and not `0.015625`."""
    if number.is_Integer:
        return str(number)
    decimal = repr(float(number)).replace("e+", "e")
    if not number.is_Rational or len(decimal.lstrip("-")) <= SHORT or max(abs(number.p), number.q) > EXACT:
        return decimal
    return f"{number.p} / {number.q}"


class Scalar:
    """Writes operations, and notes in `used` which functions of the module they call."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def part(self, o: op.Operation, precedence: int = TERNARY) -> Part:
        """An operation, in parentheses where it binds less than what it stands in."""
        found, own = self.written(o)
        return Bracket("", (found,)) if own < precedence else found

    def written(self, o: op.Operation) -> tuple[Part, int]:
        match o:
            case op.Number():
                return self.number(o)
            case op.Name():
                return o.name, ATOM
            case op.Length():
                return f"{o.array}.shape[{o.axis}]", ATOM
            case op.Call() if o.function is sp.Mod:
                first, second = (self.part(a, UNARY) for a in o.arguments)
                return Chain(first, (("%", second),)), TERM
            case op.Place():
                return self.place(o), ATOM
            case op.ToReal():
                return self.to_real(o), ATOM
            case op.Sum():
                terms = [("-" if minus else "+", term) for minus, term in o.terms]
                rest = tuple((sign, self.part(term, TERM)) for sign, term in terms[1:])
                return Chain(self.part(terms[0][1], SUM), rest), SUM
            case op.Quotient():
                return self.quotient(o)
            case op.Call():
                return self.call(o), ATOM
            case op.Choice():
                return self.choice(o), TERNARY
            case op.Comparison():
                return Chain(self.part(o.left, SUM), ((o.relation, self.part(o.right, SUM)),)), COMPARE
            case op.All():
                return chained("and", [self.part(p, NOT) for p in unchained(o.parts)]), AND
            case op.Any():
                return chained("or", [self.part(p, AND) for p in o.parts]), OR
            case op.Not():
                return Signed("not ", self.part(o.part, COMPARE + 1)), NOT
            case op.Truth():
                return str(o.value), ATOM

    def number(self, n: op.Number) -> tuple[Part, int]:
        if n.integer:
            return str(n.value), ATOM if n.value >= 0 else UNARY
        if n.value in (sp.oo, -sp.oo):
            return Bracket("real", ("np.inf" if n.value == sp.oo else "-np.inf",)), ATOM
        return Bracket("real", (digits(n.value),)), ATOM

    def to_real(self, o: op.ToReal) -> Part:
        return Bracket("real", (self.part(o.value),))

    def place(self, o: op.Place) -> Part:
        return Bracket(o.name, tuple(map(self.part, o.subscripts)), "[]") if o.subscripts else o.name

    def quotient(self, o: op.Quotient) -> tuple[Part, int]:
        above = [self.part(f, UNARY) for f in o.above]
        text = chained("*", above)
        if o.below:
            below = [self.part(f, UNARY) for f in o.below]
            under = below[0] if len(below) == 1 else Bracket("", (chained("*", below),))
            text = Chain(above[0], (*(("*", f) for f in above[1:]), ("/", under)))
        lone = len(above) == 1 and not o.below
        if o.negative:
            return signed(text), UNARY if lone else TERM
        return text, UNARY if lone else TERM

    def call(self, o: op.Call) -> Part:
        return self.named(NAMES[o.function], tuple(map(self.part, o.arguments)))

    def named(self, function: str, arguments: tuple[Part, ...]) -> Bracket:
        if function in defined():
            self.used.add(function)
        return Bracket(function, arguments)

    def choice(self, o: op.Choice) -> Part:
        (value, condition), *others = o.branches
        if (
            not others
            and isinstance(condition, op.Comparison)
            and {value, o.default} == {condition.left, condition.right}
        ):
            # As `u if u > v else v` a linter takes it for a maximum, which it is not at NaN.
            test = Signed("not ", self.part(condition, NOT))
            return Chain(self.part(o.default, OR), (("if", test), ("else", self.part(value))))
        parts: list[tuple[str, Part]] = [("if", self.part(condition, OR))]
        for value_, condition_ in others:
            parts += [("else", self.part(value_, OR)), ("if", self.part(condition_, OR))]
        return Chain(self.part(value, OR), (*parts, ("else", self.part(o.default))))


# What stands for functions of the module in double precision; others are NumPy's, or Python's.
DOUBLE: dict[type | str, str] = {
    sp.acosh: "np.arccosh",
    sp.asinh: "np.arcsinh",
    sp.atan2: "np.arctan2",
    sp.erf: "math.erf",
    sp.erfc: "math.erfc",
    erfc: "math.erfc",
    difference: "np.subtract",
    sp.Abs: "abs",
    op.INTEGER_POWER: "np.power",
    op.POWER: "np.power",
}


class Double(Scalar):
    """Writes operations in double precision, whatever the module's dtype: literals are bare, functions are NumPy's."""

    def number(self, n: op.Number) -> tuple[Part, int]:
        if n.value in (sp.oo, -sp.oo):
            return ("np.inf", ATOM) if n.value == sp.oo else ("-np.inf", UNARY)
        if n.value == sp.pi:
            return "math.pi", ATOM
        return str(n.value) if n.value.is_Integer else repr(float(n.value)), ATOM

    def to_real(self, o: op.ToReal) -> Part:
        return Bracket("float", (self.part(o.value),))

    def call(self, o: op.Call) -> Part:
        arguments = tuple(map(self.part, o.arguments))
        if o.function is sigmoid:
            return Bracket(
                "np.exp", (Signed("-", Bracket("np.logaddexp", ("0", signed(self.part(o.arguments[0], TERM))))),)
            )
        if o.function is softplus:
            return Bracket("np.logaddexp", ("0", *arguments))
        if o.function is op.CUBE:
            return Bracket("np.power", (*arguments, "3"))
        if o.function is xlogy:
            factor, base = arguments
            product = chained("*", [self.part(o.arguments[0], UNARY), Bracket("np.log", (base,))])
            return Bracket("", (Chain(product, (("if", Chain(factor, (("!=", "0"),))), ("else", "0.0"))),))
        name = DOUBLE.get(o.function) or NAMES[o.function]
        return Bracket(name if "." in name or name == "abs" else f"np.{name}", arguments)


REVERSED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def unchained(parts: Sequence[op.Operation]) -> list[op.Operation]:
    """Comparisons such that none ends in what the next one starts with: linters of Python would chain those."""
    turned: list[op.Operation] = []
    for part in parts:
        for position, before in enumerate(turned):
            if chain(before, part):
                turned[position] = reversed_(before)
        turned.append(part)
    for position in range(1, len(turned)):  # one that was turned may start in what the one before ends with
        if chain(turned[position - 1], turned[position]):
            turned[position] = reversed_(turned[position])
    return turned


def chain(a: op.Operation, b: op.Operation) -> bool:
    return isinstance(a, op.Comparison) and isinstance(b, op.Comparison) and a.right == b.left


def reversed_(o: op.Operation) -> op.Operation:
    return op.Comparison(o.right, REVERSED[o.relation], o.left) if isinstance(o, op.Comparison) else o


def chained(operator: str, parts: list[Part]) -> Part:
    first, *others = parts
    return Chain(first, tuple((operator, p) for p in others)) if others else first


def signed(part: Part) -> Part:
    """The part with a minus sign, which belongs to its first operand."""
    return Chain(Signed("-", part.first), part.rest) if isinstance(part, Chain) else Signed("-", part)
