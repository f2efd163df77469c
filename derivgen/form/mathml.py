"""Formulas as MathML, which browsers typeset by themselves, in pieces between which a line may break."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import TRUE, Read, alternatives
from derivgen.form.functions import root
from derivgen.form.notation import ADD, ATOM, MULTIPLY, POWER, Plain
from derivgen.form.program import Range, Statement

BREAK = "\ue000"  # where a line may break
SHORT, WIDE = 3, 33  # letters of a piece that stays with the next; of one that fits into a column
LEAST = 45  # percent to which letters shrink
TAG = re.compile("<[^>]*>")
TALL = re.compile("<(mfrac|munder|mtable)")
BAR, DOT = "_bar", "_dot"


def infix(sign: str) -> str:
    return f'{BREAK}<mo form="infix">{escape(sign)}</mo>'


def word(text: str) -> str:
    return f"<mtext>\u00a0{escape(text)}\u00a0</mtext>"


def row(fragment: str) -> str:
    """A part that no line breaks in."""
    return f"<mrow>{fragment.replace(BREAK, '')}</mrow>"


def pieces(fragment: str, wide: int = WIDE) -> str:
    """A fragment as elements for a page: what explanations put between formulas, ` = `, becomes a sign of its own."""
    whole = re.sub(r" \+= | = ", lambda found: infix(found[0].strip()), fragment)
    parts = joined([piece.strip() for piece in whole.split(BREAK) if piece.strip()])
    return "".join(element(part, wide) for part in parts)


def joined(parts: list[str]) -> list[str]:
    """The pieces, of which a short first one stays with the next: `v` with `= …`."""
    short = len(parts) > 1 and len(TAG.sub("", parts[0])) <= SHORT
    return ["".join(parts[:2]), *parts[2:]] if short else parts


def element(piece: str, wide: int) -> str:
    """A piece as an element; one that is wider than so many letters is set in smaller ones, down to LEAST percent."""
    own = width(ElementTree.fromstring(f"<math>{piece}</math>"))
    size = f' style="font-size: {max(LEAST, round(100 * wide / own))}%"' if own > wide else ""
    return f'<math displaystyle="true"{size}>{piece}</math>'


def width(e: ElementTree.Element) -> float:
    """About how many letters wide an element is."""
    inside = [width(child) for child in e]
    match e.tag:
        case "mfrac" | "munder" | "mover":
            return max(inside)
        case "msub" | "msup":
            return inside[0] + 0.7 * inside[1]
        case "mtable":
            columns = zip(*([width(cell) for cell in row] for row in e), strict=True)
            return sum(map(max, columns))
        case _:
            return sum(inside) + len(e.text or "")


class Mathml(Plain):
    """Formulas as fragments of MathML; `pieces` makes them fit for a page."""

    dot = f'<mo form="infix">·</mo>{BREAK}'
    plus, minus, negative = infix("+"), infix("−"), '<mo form="prefix">−</mo>'
    comma = f'<mo separator="true">,</mo>{BREAK}'
    symbol = "<mo>∂</mo>"
    piecewise_precedence = ADD

    def equation(self, left: str, right: str, operator: str = "=") -> str:
        return f"{left}{infix(operator)}{right}"

    def aside(self, text: str) -> str:
        return BREAK + word(text.strip().replace(" ", "\u00a0")) if text else ""

    def over(self, sign: str, ranges: tuple[Range, ...]) -> str:
        below = '<mo separator="true">,</mo>'.join(self.name(r.index.name) for r in ranges)
        return f"<munder>{sign}<mrow>{below}</mrow></munder>"

    def sum(self, ranges: tuple[Range, ...]) -> str:
        return self.over('<mo movablelimits="false">∑</mo>', ranges) if ranges else ""

    def maximum(self, ranges: tuple[Range, ...]) -> str:
        return self.over('<mo movablelimits="false">max</mo>', ranges)

    def winner(self, statement: Statement) -> str:
        return self.over('<mo movablelimits="false">arg max</mo>', statement.reduced)

    def where(self, guard: Boolean) -> str:
        return "" if guard == TRUE else f"{BREAK}{word('if')}{self.condition(guard)}"

    def parenthesized(self, text: str) -> str:
        if TALL.search(text) and text.count(BREAK) <= 1:
            return row(f"<mo>(</mo>{text}<mo>)</mo>")
        return f'<mo stretchy="false">(</mo>{text}<mo stretchy="false">)</mo>'

    def name(self, name: str) -> str:
        if name.endswith(BAR):
            return f'<mi class="bar">{escape(name[: -len(BAR)])}</mi>'
        if name.endswith(DOT):
            return f'<mover accent="true">{self.name(name[: -len(DOT)])}<mo>˙</mo></mover>'
        return f"<mi>{escape(name)}</mi>"

    def read(self, e: Read) -> str:
        name = self.name(self.named(e.tensor))
        subscripts = '<mo separator="true">,</mo>'.join(self.expression(s) for s in e.subscripts)
        return f"<msub>{name}{row(subscripts)}</msub>" if subscripts else name

    def number(self, e: sp.Basic) -> tuple[str, int]:
        if e.is_Rational and not e.is_Integer:
            above, below = (f"<mn>{abs(part)}</mn>" for part in (e.p, e.q))
            sign = self.negative if e < 0 else ""
            return f"{sign}<mfrac>{above}{below}</mfrac>", ADD if e < 0 else MULTIPLY
        text, precedence = super().number(e)
        sign = self.negative if text.startswith("-") else ""
        digits, exponent, power = text.removeprefix("-").partition("e")
        number = f"<mn>{digits}</mn>"
        if exponent:
            tens = f"<msup><mn>10</mn><mn>{str(int(power)).replace('-', '−')}</mn></msup>"
            number, precedence = (tens, POWER) if digits == "1" else (f"{number}<mo>·</mo>{tens}", MULTIPLY)
        return sign + number, ADD if sign else precedence

    def fraction(self, numerator: str, below: list[sp.Expr]) -> str:
        denominator = self.dot.join(self.expression(f, MULTIPLY if len(below) > 1 else 0) for f in below)
        return f"<mfrac>{row(numerator)}{row(denominator)}</mfrac>"

    def quotient(self, above: str, below: list[str]) -> str:
        return f"<mfrac>{row(above)}{row(self.dot.join(below))}</mfrac>"

    def power(self, e: sp.Pow) -> tuple[str, int]:
        base, exponent = e.args
        plain = exponent.is_Integer or exponent == sp.Rational(1, 2) or (exponent.is_Number and exponent.is_negative)
        if plain:
            return super().power(e)
        above = f"<mn>{exponent}</mn>" if exponent.is_Rational else row(self.expression(exponent))
        return f"<msup>{row(self.expression(base, ATOM))}{above}</msup>", POWER

    def superscript(self, base: str, exponent: str) -> str:
        return f"<msup>{row(base)}<mn>{exponent.replace('-', '−')}</mn></msup>"

    def square_root(self, base: sp.Expr) -> str:
        return f"<msqrt>{row(self.expression(base))}</msqrt>"

    def call(self, e: sp.Basic) -> str:
        if isinstance(e, root):
            return self.square_root(e.args[0])
        if isinstance(e, sp.Abs):
            return row(f"<mo>|</mo>{self.expression(e.args[0])}<mo>|</mo>")
        return f"<mi>{self.function_name(e)}</mi>{self.parenthesized(self.arguments(e))}"

    def piecewise(self, e: sp.Piecewise) -> str:
        rows = []
        for pair in e.args:
            value, condition = pair.args
            when = word("otherwise") if condition == TRUE else word("if") + self.condition(condition)
            rows.append(f"<mtr><mtd>{row(self.expression(value))}</mtd><mtd>{row(when)}</mtd></mtr>")
        return row(f'<mo form="prefix">{{</mo><mtable class="cases">{"".join(rows)}</mtable>')

    def condition(self, c: Boolean) -> str:
        if isinstance(c, sp.Or):
            return self.parenthesized(self.any_of([self.condition(p) for p in alternatives(c)]))
        if isinstance(c, sp.Not):
            return word("not") + self.parenthesized(self.condition(c.args[0]))
        return super().condition(c) if c.args else word(str(c).lower())

    def relation(self, symbol: str) -> str:
        return infix(super().relation(symbol))

    def all_of(self, parts: list[str]) -> str:
        return infix("∧").join(parts)

    def any_of(self, parts: list[str]) -> str:
        return infix("∨").join(parts)
