"""Constants → text: by their formula where every machine then has the same numbers, else by digits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derivgen.form.program import Tensor
from derivgen.form.tables import Formula, NoFormula, axis, uncertain, worked_out
from derivgen.print.layout import WIDTH, Bracket, Chain, Part, Signed, flat, line
from derivgen.print.module.initial import array_text, digits_of
from derivgen.print.text import tuple_text

COMPARE, SUM, TERM, UNARY, POWER, ATOM = range(6)  # precedences
NAMES: dict[type, str] = {sp.sqrt: "np.sqrt"} | {
    f: f"np.{f.__name__}" for f in (sp.sin, sp.cos, sp.tanh, sp.exp, sp.log)
}

Value = tuple[Part, int]


RARE = 100  # a formula stands where fewer than one element in so many needs digits of its own


def constant_text(name: str, t: Tensor, dtype: str, names: Collection[str]) -> str:
    """The lines that make a constant; `names`: those of all constants."""
    assert t.value is not None
    shape = tuple_text([str(extent) for extent in t.value.shape or (1,)])
    if t.formula is not None:
        kind, word = ("int64", "np.int64") if t.integer else (dtype, "real")
        places = np.argwhere(uncertain(t.formula, t.value, kind))
        lines = line(f"{name} = ", by_formula(t.formula, shape, word))
        if RARE * len(places) < t.value.size and all(len(text) <= WIDTH for text in lines):
            return "\n".join([*lines, *by_digits(name, t.value, kind, places)])
    numbers = [digits_of(value, np.dtype("int64" if t.integer else dtype)) for value in t.value.reshape(-1)[:WIDTH]]
    alone = f"{name} = np.array([{', '.join(numbers)}], {'np.int64' if t.integer else 'real'})"
    if t.value.ndim <= 1 and len(alone) <= WIDTH:
        return alone
    digits, made = array_text(name, t.value, dtype, names)
    return "\n".join([digits, *line(f"{name} = ", f"{made}.reshape({shape})")])


def by_digits(name: str, values: np.ndarray, kind: str, places: np.ndarray) -> list[str]:
    """The elements that a formula may round otherwise on another machine."""
    opening = ["# So near the middle between two numbers that machines may round them apart:"] if len(places) else []
    numbers = (digits_of(values[tuple(place)], np.dtype(kind)) for place in places)
    texts = (f"{name}[{', '.join(map(str, place))}] = {n}" for place, n in zip(places, numbers, strict=True))
    return [*opening, *texts]


def by_formula(formula: Formula, shape: str, dtype: str) -> Part:
    """For example `np.array(np.fromfunction(lambda t, i: np.cos(t / 10000 ** (i / 8)), (64, 8)), real)`"""
    body = flat(worked_out(formula.expression, Written(formula.letters))[0])
    made = Bracket("np.fromfunction", (f"lambda {', '.join(formula.letters)}: {body}", shape))
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
        return Chain(within(base, ATOM), (("**", within(exponent, POWER)),)), POWER

    def call(self, function: type, arguments: Sequence[Value]) -> Value:
        if function is sp.Mod:
            first, second = (within(argument, UNARY) for argument in arguments)
            return Chain(first, (("%", second),)), TERM
        if function not in NAMES:
            raise NoFormula(function.__name__)
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
