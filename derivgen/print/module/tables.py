"""Constants → text: by their formulas, or by digits, as the plan has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derivgen.form.tables import Formula, axis, worked_out
from derivgen.plan.tables import Table
from derivgen.print.layout import WIDTH, Bracket, Chain, Lambda, Part, Signed, line
from derivgen.print.module.initial import array_text, digits_of, is_one_number
from derivgen.print.text import tuple_text

COMPARE, SUM, TERM, UNARY, POWER, ATOM = range(6)  # precedences
NAMES: dict[type, str] = {sp.sqrt: "np.sqrt"} | {
    f: f"np.{f.__name__}" for f in (sp.sin, sp.cos, sp.tanh, sp.exp, sp.log)
}

Value = tuple[Part, int]


def constant_text(name: str, table: Table, dtype: str, names: Collection[str]) -> str:
    """The lines that make a constant; `names`: those of all constants."""
    kind, word = ("int64", "np.int64") if table.tensor.integer else (dtype, "real")
    shape = tuple_text([str(extent) for extent in table.values.shape or (1,)])
    if table.formula is not None:
        return "\n".join([*line(f"{name} = ", by_formula(table.formula, shape, word)), *by_digits(name, table, kind)])
    numbers = [digits_of(value, np.dtype(kind)) for value in table.values.reshape(-1)[:WIDTH]]
    if table.values.size > 1 and is_one_number(table.values):
        return f"{name} = np.full({shape}, {numbers[0]}, {word})"
    alone = f"{name} = np.array([{', '.join(numbers)}], {word})"
    if table.values.ndim <= 1 and len(alone) <= WIDTH:
        return alone
    digits, made = array_text(name, table.values, dtype, names)
    return "\n".join([digits, *line(f"{name} = ", f"{made}.reshape({shape})")])


def by_digits(name: str, table: Table, kind: str) -> list[str]:
    """The elements that a formula may round otherwise on another machine."""
    if not table.by_digits:
        return []
    opening = "# So near the middle between two numbers that machines may round them apart:"
    numbers = ((place, digits_of(table.values[place], np.dtype(kind))) for place in table.by_digits)
    return [opening, *(f"{name}[{', '.join(map(str, place))}] = {number}" for place, number in numbers)]


def by_formula(formula: Formula, shape: str, dtype: str) -> Part:
    """For example `np.array(np.fromfunction(lambda t, i: np.cos(t / 10000 ** (i / 8)), (64, 8)), real)`"""
    body, _ = worked_out(formula.expression, Written(formula.letters))
    made = Bracket("np.fromfunction", (Lambda(f"lambda {', '.join(formula.letters)}: ", body), shape))
    return Bracket("np.array", (made, dtype))


class Written:
    """Writes a formula for NumPy's arrays of doubles, each part with its precedence."""

    def __init__(self, letters: Sequence[str]) -> None:
        self.letters = {axis(k): letter for k, letter in enumerate(letters)}

    def number(self, value: sp.Expr) -> Value:
        if value == sp.pi:
            return "np.pi", ATOM
        return str(value) if value.is_Integer and value < 2**53 else repr(float(value)), ATOM

    def index(self, symbol: sp.Symbol) -> Value:
        return self.letters[symbol], ATOM

    def sum(self, terms: Sequence[tuple[bool, Value]]) -> Value:
        (minus, first), *rest = terms
        opening = Signed("-", within(first, UNARY)) if minus else within(first, SUM)
        return Chain(opening, tuple(("-" if m else "+", within(term, TERM)) for m, term in rest)), SUM

    def quotient(self, negative: bool, above: Sequence[Value], below: Sequence[Value]) -> Value:
        if not below and len(above) == 1:
            return (Signed("-", within(above[0], UNARY)), UNARY) if negative else above[0]
        first, *others = (within(factor, UNARY) for factor in above)
        rest = [("*", factor) for factor in others]
        under = [within(factor, UNARY) for factor in below]
        if under:
            product = Bracket("", (Chain(under[0], tuple(("*", u) for u in under[1:])),))
            rest.append(("/", product if len(under) > 1 else under[0]))
        return Chain(Signed("-", first) if negative else first, tuple(rest)), TERM

    def power(self, base: Value, exponent: Value, whole: int | None) -> Value:
        below, above = within(base, ATOM), within(exponent, POWER)
        if isinstance(below, str) and isinstance(above, str):
            return f"{below}**{above}", POWER
        return Chain(below, (("**", above),)), POWER

    def call(self, function: type, arguments: Sequence[Value]) -> Value:
        if function is sp.Mod:
            first, second = (within(argument, UNARY) for argument in arguments)
            return Chain(first, (("%", second),)), TERM
        return Bracket(NAMES[function], tuple(argument for argument, _ in arguments)), ATOM

    def choice(self, branches: Sequence[tuple[Value, Value]], default: Value) -> Value:
        for value, condition in reversed(branches):
            default = Bracket("np.where", (condition[0], value[0], default[0])), ATOM
        return default

    def compare(self, relation: str, left: Value, right: Value) -> Value:
        return Chain(within(left, SUM), ((relation, within(right, SUM)),)), COMPARE


def within(value: Value, precedence: int) -> Any:
    """A part, in parentheses where it binds less than what it stands in."""
    part, own = value
    return Bracket("", (part,)) if own < precedence else part
