"""The elements of tensors as formulas: trees that replace indices, and that print as a person writes them in a spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

# How tight an operator binds: a part that binds less than its place asks for gets brackets.
CONDITION, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)

Indices = Mapping[sp.Symbol, sp.Expr]


@dataclass(eq=False)
class Tensor:
    """What a statement of the spec defines; `name` may change until the text is written."""

    name: str
    shape: tuple[sp.Expr, ...]
    statement: Any = None


class Element:
    """An element of a tensor, a formula of index symbols."""

    def replaced(self, indices: Indices) -> Element:
        raise NotImplementedError

    def text(self, names: Indices) -> tuple[str, int]:
        """(the formula with these names of indices, how tight it binds)"""
        raise NotImplementedError

    def parts(self) -> Iterable[Element]:
        return ()

    def walk(self) -> Iterable[Element]:
        yield self
        for part in self.parts():
            yield from part.walk()


@dataclass(frozen=True)
class Read(Element):
    tensor: Tensor
    subscripts: tuple[sp.Expr, ...]

    def replaced(self, indices: Indices) -> Element:
        return Read(self.tensor, tuple(sp.sympify(s).xreplace(dict(indices)) for s in self.subscripts))

    def text(self, names: Indices) -> tuple[str, int]:
        inside = ", ".join(affine_text(s, names) for s in self.subscripts)
        return (f"{self.tensor.name}[{inside}]" if self.subscripts else self.tensor.name), ATOM


@dataclass(frozen=True)
class Number(Element):
    value: float

    def replaced(self, indices: Indices) -> Element:
        return self

    def text(self, names: Indices) -> tuple[str, int]:
        return number_text(self.value)


@dataclass(frozen=True)
class Size(Element):
    """A size as a number, such as that by which a mean divides."""

    value: sp.Expr

    def replaced(self, indices: Indices) -> Element:
        return self

    def text(self, names: Indices) -> tuple[str, int]:
        return str(self.value), (ATOM if self.value.is_Atom else SUM if self.value.is_Add else PRODUCT)


@dataclass(frozen=True)
class Index(Element):
    """A number or a condition made of indices."""

    form: str
    subscripts: tuple[sp.Expr, ...]
    binds: int = CONDITION

    def replaced(self, indices: Indices) -> Element:
        return Index(self.form, tuple(sp.sympify(s).xreplace(dict(indices)) for s in self.subscripts), self.binds)

    def text(self, names: Indices) -> tuple[str, int]:
        return self.form.format(*(affine_text(s, names) for s in self.subscripts)), self.binds


@dataclass(frozen=True)
class Formula(Element):
    """A form such as `{} + {}`, how tight it binds, and how tight each of its parts must."""

    form: str
    arguments: tuple[Element, ...]
    binds: int = ATOM
    asks: tuple[int, ...] = ()

    def parts(self) -> Iterable[Element]:
        return self.arguments

    def replaced(self, indices: Indices) -> Element:
        return Formula(self.form, tuple(a.replaced(indices) for a in self.arguments), self.binds, self.asks)

    def text(self, names: Indices) -> tuple[str, int]:
        asks = self.asks or (CONDITION,) * len(self.arguments)
        given = [bracketed(a.text(names), ask) for a, ask in zip(self.arguments, asks, strict=True)]
        if self.binds == POWER and not all(part.replace(".", "").isalnum() for part in given):
            return " ** ".join(given), POWER
        return self.form.format(*given).replace("+ -", "- "), self.binds


@dataclass(frozen=True)
class Over(Element):
    """`Sum` or `MaxOver` of a body over indices."""

    function: str
    body: Element
    indices: tuple[sp.Symbol, ...]

    def parts(self) -> Iterable[Element]:
        return (self.body,)

    def replaced(self, indices: Indices) -> Element:
        bound = {i: indices[i] for i in self.indices if i in indices}
        return Over(self.function, self.body.replaced(indices), tuple(bound.get(i, i) for i in self.indices))

    def text(self, names: Indices) -> tuple[str, int]:
        over = ", ".join(str(names[i]) for i in self.indices)
        return f"{self.function}({self.body.text(names)[0]}, {over})", ATOM


def bracketed(part: tuple[str, int], asked: int) -> str:
    text, binds = part
    return text if binds >= asked else f"({text})"


def affine_text(subscript: sp.Expr, names: Indices) -> str:
    """`4*h + e + 8`: the largest factor first, the constant last."""
    constant, terms = sp.sympify(subscript).xreplace(dict(names)).as_coeff_add()
    ordered = sorted(terms, key=lambda term: -abs(float(term.as_coeff_Mul()[0])))
    texts = [spaced(str(term)) for term in ordered] + ([str(constant)] if constant or not ordered else [])
    return " + ".join(texts).replace("+ -", "- ")


def spaced(text: str) -> str:
    return text.replace("*", " * ").replace("( ", "(")


def number_text(value: float) -> tuple[str, int]:
    """The shortest text of a number; a root or a quotient where it is one to the accuracy of float32."""
    if value in (float("inf"), float("-inf")):
        return ("oo", ATOM) if value > 0 else ("-oo", SIGN)
    simple = simple_text(abs(value))
    text, binds = simple or (plain(abs(value)), ATOM)
    return (text, binds) if value >= 0 else (f"-{text}", min(binds, SIGN))


def plain(value: float) -> str:
    import numpy as np

    digits = str(np.float32(value)) if float(np.float32(value)) == value else repr(value)
    return digits.removesuffix(".0")


def simple_text(value: float) -> tuple[str, int] | None:
    """A whole number, a root of one, or 1 over one of these."""
    if value == 0 or round(value, 4) == value:
        return None
    forms: list[tuple[float, Callable[[int], str], int]] = [
        (value, lambda k: f"{k}", ATOM),
        (1 / value, lambda k: f"1 / {k}", PRODUCT),
        (value**2, lambda k: f"sqrt({k})", ATOM),
        (1 / value**2, lambda k: f"1 / sqrt({k})", PRODUCT),
    ]
    for found, form, binds in forms:
        k = round(found)
        if 0 < k < 10**5 and abs(found / k - 1) < 3e-7:
            return form(k), binds
    return None


# ---- arithmetic


def added(a: Element, b: Element) -> Element:
    if is_number(a, 0) or is_number(b, 0):
        return b if is_number(a, 0) else a
    return Formula("{} + {}", (a, b), SUM, (SUM, SUM))


def subtracted(a: Element, b: Element) -> Element:
    if is_number(b, 0):
        return a
    return negated(b) if is_number(a, 0) else Formula("{} - {}", (a, b), SUM, (SUM, PRODUCT))


def multiplied(a: Element, b: Element) -> Element:
    (a, p), (b, q) = factored(a), factored(b)
    if is_number(a, 1) or is_number(b, 1):
        return scaled(p * q, b if is_number(a, 1) else a)
    return scaled(p * q, Formula("{} * {}", (a, b), PRODUCT, (PRODUCT, SIGN)))


def divided(a: Element, b: Element) -> Element:
    if isinstance(b, Number) and not isinstance(a, Number) and b.value:
        (a, p) = factored(a)
        return scaled(p / b.value, a)
    return Formula("{} / {}", (a, b), PRODUCT, (PRODUCT, SIGN))


def scaled(factor: float, a: Element) -> Element:
    """factor * a, or a / k where the factor is 1/k."""
    if is_number(a, 1) or factor == 0:
        return Number(factor)
    if abs(factor - 1) < 3e-7:
        return a
    text, _ = number_text(factor)
    if text.startswith("1 / ") or abs(round(1 / factor) * factor - 1) < 3e-7:
        return Formula("{} / {}", (a, Number(1 / factor)), PRODUCT, (PRODUCT, SIGN))
    return Formula("{} * {}", (Number(factor), a), PRODUCT, (PRODUCT, SIGN))


def factored(a: Element) -> tuple[Element, float]:
    """(the rest, the number that it is multiplied by)"""
    match a:
        case Number(value):
            return Number(1), value
        case Formula("{} * {}", (Number(value), rest)):
            return rest, value
        case Formula("{} / {}", (rest, Number(value))):
            return rest, 1 / value
    return a, 1.0


def negated(a: Element) -> Element:
    return Number(-a.value) if isinstance(a, Number) else Formula("-{}", (a,), SIGN, (SIGN,))


def power(a: Element, b: Element) -> Element:
    if is_number(b, 0.5):
        return call("sqrt", a)
    return Formula("{}**{}", (a, b), POWER, (ATOM, ATOM))


def call(function: str, *arguments: Element, options: str = "") -> Element:
    return Formula(f"{function}({', '.join('{}' for _ in arguments)}{options})", arguments)


def piecewise(value: Element, condition: Element, other: Element) -> Element:
    return call("Piecewise", Formula("({}, {})", (value, condition)), Formula("({}, True)", (other,)))


def is_condition(a: Element) -> bool:
    return isinstance(a, Formula | Index) and a.binds == CONDITION


def is_number(a: Element, value: float) -> bool:
    return isinstance(a, Number) and a.value == value


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: the index symbols of each axis, outermost first, and its element.

    An axis of one element has no index. `alone`: nobody else reads what this one is a view of. `name`: that of a let of
    it, if it becomes one.
    """

    axes: tuple[tuple[sp.Symbol, ...], ...]
    element: Element
    alone: bool = field(default=False, compare=False)
    name: str = field(default="", compare=False)

    @property
    def indices(self) -> tuple[sp.Symbol, ...]:
        return tuple(i for axis in self.axes for i in axis)
