"""Index notation: how every stage prints, in kernels' docstrings, in `explain` and in tests.

    W1_bar[d,h] += Σ_n x[n,d]·z1_bar[n,h]

`Plain` writes text, `Latex` the same formulas for Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import (
    TRUE,
    Read,
    alternatives,
    conjuncts,
    guarded,
    index_symbol,
    is_guarded,
    is_index,
    reads_of,
    substitute,
    sympy_order,
)
from derivgen.form.functions import RECORDS, difference, partial, root, stop_gradient
from derivgen.form.program import Names, Program, Range, Scan, Statement, is_plain_index
from derivgen.form.sizes import at_most

ADD, MULTIPLY, POWER, ATOM = 1, 2, 3, 4  # precedences
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
COMMANDS = {f.type: f.latex for f in RECORDS if f.latex}
NAMES = {f.type: f.name for f in RECORDS}
RELATIONS = {"==": "=", "!=": "≠", ">=": "≥", "<=": "≤", ">": ">", "<": "<"}


def term_key(term: sp.Basic, order: Mapping[str, int]) -> tuple[object, ...]:
    """Positive before negative, reads in order of declaration, numbers last: `x·W + b`, `1 - a²`."""
    negative = isinstance(term, sp.Expr) and term.could_extract_minus_sign()
    reads = reads_of(term)
    simple = all(isinstance(f, Read) or not reads_of(f) for f in sp.Mul.make_args(term))
    return (
        negative,
        not reads,
        not simple,
        term.is_number,
        min((order.get(r.tensor, len(order)) for r in reads), default=0),
        term.is_Symbol,
        sympy_order(term),
    )


def ordered_terms(expression: sp.Add, order: Mapping[str, int]) -> list[sp.Expr]:
    return sorted(expression.args, key=lambda t: term_key(t, order))


def ordered_factors(factors: list[sp.Expr], order: Mapping[str, int]) -> list[sp.Expr]:
    """Numbers, sizes and indices first, in this order, then reads in order of declaration, then compound factors."""

    def key(factor: sp.Expr) -> tuple[object, ...]:
        reads = reads_of(factor)
        base = factor.base if isinstance(factor, sp.Pow) else factor
        rank = min((order.get(r.tensor, len(order)) for r in reads), default=-1)
        return not factor.is_Number, bool(reads), not isinstance(base, Read), rank, is_index(base), sympy_order(factor)

    return sorted(factors, key=key)


def split_fraction(expression: sp.Expr) -> tuple[bool, list[sp.Expr], list[sp.Expr]]:
    """(negative, factors above, factors below) of a product; a power with a negative number as exponent goes below."""
    negative, above, below = False, [], []
    for factor in sp.Mul.make_args(expression):
        if factor.is_Rational:
            negative ^= bool(factor < 0)
            if abs(factor.p) != 1:
                above.append(sp.Integer(abs(factor.p)))
            if factor.q != 1:
                below.append(sp.Integer(factor.q))
        elif factor.is_Float and factor < 0:
            negative = not negative
            above.append(-factor)
        elif isinstance(factor, sp.Pow) and factor.exp.is_Number and factor.exp.is_negative:
            below.append(sp.Pow(factor.base, -factor.exp))
        else:
            above.append(factor)
    return negative, above, below


SYMBOLS = {sp.pi: "π", sp.E: "e"}


class Plain:
    """Formulas as text."""

    dot = "·"
    plus, minus, negative = " + ", " - ", "-"
    comma = ", "
    symbol = "∂"
    piecewise_precedence = ATOM
    stops = False  # whether it says where a derivative ends: only formulas that somebody differentiates do

    def __init__(
        self,
        order: Mapping[str, int],
        inlined: Mapping[str, Statement] | None = None,
        named: Callable[[str], str] = str,
    ) -> None:
        """`inlined`: sums that are written where they are read, instead of their names; `named`: what tensors are
        called."""
        self.order, self.inlined, self.named = order, inlined or {}, named

    # -- statements

    def statement(self, statement: Statement, operator: str = "") -> str:
        """A statement, with another operator if one is given."""
        operator = operator or ("+=" if statement.operator == "+=" else "=")
        return self.equation(self.expression(statement.write), self.value(statement), operator)

    def equation(self, left: str, right: str, operator: str = "=") -> str:
        return f"{left} {operator} {right}"

    def definition(self, statement: Statement) -> str:
        """A statement that alone makes its target: of a sum, 0 where its guard does not hold."""
        if statement.operator == "+=" and is_guarded_apart(statement):
            otherwise = self.parenthesized(self.value(statement) + self.aside(" else 0"))
            return self.equation(self.expression(statement.write), otherwise)
        return self.statement(statement, "=")

    def aside(self, text: str) -> str:
        """Words beside a formula."""
        return text

    def value(self, statement: Statement) -> str:
        """What a statement computes: its right-hand side, and where."""
        if statement.operator == "max=" and not statement.reduced:  # places come more than once
            right = self.expression(sp.Max(statement.write, statement.expression, evaluate=False))
        elif statement.operator == "max=":
            right = f"{self.maximum(statement.reduced)} {self.expression(statement.expression, MULTIPLY)}"
        elif statement.operator == "argmax=":
            right = f"{self.winner(statement)} {self.expression(statement.expression, MULTIPLY)}"
        else:
            total = self.sum(statement.reduced)
            right = f"{total} {self.expression(statement.expression, MULTIPLY)}" if total else ""
            right = right or self.expression(statement.expression)
        return right + self.where(statement.guard)

    def sum(self, ranges: tuple[Range, ...]) -> str:
        return f"Σ_{','.join(r.index.name for r in ranges)}" if ranges else ""

    def maximum(self, ranges: tuple[Range, ...]) -> str:
        return f"max_{','.join(r.index.name for r in ranges)}"

    def winner(self, statement: Statement) -> str:
        return f"({statement.winner} of) arg{self.maximum(statement.reduced)}"

    def where(self, guard: Boolean) -> str:
        return "" if guard == TRUE else f" if {self.condition(guard)}"

    def ranges(self, statement: Statement, untold: Container[Range]) -> str:
        """The ranges that no array tells: `, q < 2`."""
        own = self.written_in(statement)
        less = f" {self.relation('<')} "
        found = [r for s in own for r in s.domain if r in untold]
        said = (f"{self.comma}{self.name(r.index.name)}{less}{self.expression(r.extent)}" for r in found)
        return "".join(dict.fromkeys(said))

    def written_in(self, statement: Statement) -> list[Statement]:
        """The statement, and those whose sums are written inside it, also inside of these."""
        inner = [(r, self.inlined[r.tensor]) for r in statement.reads if r.tensor in self.inlined]
        placed = (s.at(dict(zip(s.subscripts, r.subscripts, strict=True))) for r, s in inner)
        return [statement, *(s for own in placed for s in self.written_in(own))]

    # -- expressions

    def expression(self, e: sp.Basic, precedence: int = 0) -> str:
        text, own = self._render(e)
        return self.parenthesized(text) if own < precedence else text

    def parenthesized(self, text: str) -> str:
        return f"({text})"

    def _render(self, e: sp.Basic) -> tuple[str, int]:
        if isinstance(e, Read) and e.tensor in self.inlined:
            return self.inlined_sum(e, self.inlined[e.tensor]), MULTIPLY
        if isinstance(e, Read):
            return self.read(e), ATOM
        if isinstance(e, sp.Symbol):
            return self.name(e.name), ATOM
        if e.is_Number:
            return self.number(e)
        if isinstance(e, sp.Add):
            return self.add(e), ADD
        if isinstance(e, sp.Mul):
            return self.multiply(e)
        if isinstance(e, sp.Pow):
            return self.power(e)
        if isinstance(e, sp.Piecewise):
            return self.piecewise(e), self.piecewise_precedence
        if isinstance(e, stop_gradient) and not self.stops:
            return self._render(e.args[0])
        if isinstance(e, difference):
            return f"{self.expression(e.args[0])}{self.minus}{self.expression(e.args[1], MULTIPLY)}", ADD
        if isinstance(e, partial):
            return self.partial(e), MULTIPLY
        if e in SYMBOLS:
            return self.name(SYMBOLS[e]), ATOM
        return self.call(e), ATOM

    def inlined_sum(self, e: Read, s: Statement) -> str:
        body = substitute(guarded(s.expression, s.guard), dict(zip(s.subscripts, e.subscripts, strict=True)))
        return f"{self.sum(s.reduced)} {self.expression(body, MULTIPLY)}"

    def name(self, name: str) -> str:
        return name

    def read(self, e: Read) -> str:
        name = self.named(e.tensor)
        return f"{name}[{','.join(self.expression(s) for s in e.subscripts)}]" if e.subscripts else name

    def number(self, e: sp.Basic) -> tuple[str, int]:
        if e.is_Float:
            return repr(float(e)).replace("e+", "e"), ATOM if e >= 0 else ADD
        if e.is_Rational and not e.is_Integer:
            return str(e), MULTIPLY
        return {"oo": "∞", "-oo": "-∞"}.get(str(e), str(e)), ATOM if e >= 0 else ADD

    def add(self, e: sp.Add) -> str:
        text = ""
        for term in ordered_terms(e, self.order):
            negative = term.could_extract_minus_sign()
            if not text:
                text = self.expression(term)
            else:
                sign, term = (self.minus, -term) if negative else (self.plus, term)
                text += sign + self.expression(term, MULTIPLY)
        return text

    def multiply(self, e: sp.Expr) -> tuple[str, int]:
        negative, above, below = split_fraction(e)
        if not above and not below:
            return self.number(sp.Integer(-1 if negative else 1))
        numerator = self.factors(above) or self.number(sp.Integer(1))[0]
        text = self.fraction(numerator, below) if below else numerator
        return (f"{self.negative}{text}", ADD) if negative else (text, MULTIPLY)

    def fraction(self, numerator: str, below: list[sp.Expr]) -> str:
        if len(below) == 1:
            return f"{numerator}/{self.expression(below[0], POWER)}"
        return f"{numerator}/({self.factors(below)})"

    def factors(self, factors: list[sp.Expr]) -> str:
        """A product; a sum in it comes last, since all that follows a Σ belongs to it."""
        ordered = ordered_factors(factors, self.order)
        sums = [f for f in ordered if isinstance(f, Read) and f.tensor in self.inlined]
        texts = [self.expression(f, MULTIPLY) for f in ordered if f not in sums]
        texts += [self.expression(f, MULTIPLY if len(sums) == 1 else ATOM) for f in sums]
        return self.dot.join(texts)

    def power(self, e: sp.Pow) -> tuple[str, int]:
        base, exponent = e.args
        if exponent.is_Number and exponent.is_negative:
            return self.multiply(e)
        if exponent == sp.Rational(1, 2):
            return self.square_root(base), ATOM
        if exponent.is_Integer:
            text = self.expression(base, ATOM)
            root_below = isinstance(base, root) or (isinstance(base, sp.Pow) and base.exp == sp.Rational(1, 2))
            return self.superscript(self.parenthesized(text) if root_below else text, str(exponent)), POWER
        return f"{self.expression(base, ATOM)}^{self.expression(exponent, ATOM)}", POWER

    def superscript(self, base: str, exponent: str) -> str:
        return base + exponent.translate(SUPERSCRIPTS)

    def square_root(self, base: sp.Expr) -> str:
        return f"√{self.expression(base, ATOM)}"

    def call(self, e: sp.Basic) -> str:
        if isinstance(e, root):
            return self.square_root(e.args[0])
        if isinstance(e, sp.Abs):
            inside = self.expression(e.args[0])
            return f"abs({inside})" if "|" in inside else f"|{inside}|"
        return f"{self.function_name(e)}({self.arguments(e)})"

    def function_name(self, e: sp.Basic) -> str:
        return NAMES.get(e.func) or e.func.__name__.lower()

    def arguments(self, e: sp.Basic) -> str:
        unordered = isinstance(e, sp.Max | sp.Min)
        arguments = sorted(e.args, key=lambda a: term_key(a, self.order)) if unordered else e.args
        return self.comma.join(self.expression(a) for a in arguments)

    def partial(self, e: partial) -> str:
        """∂u/∂x, ∂²u/∂x², ∂²u/(∂x·∂t)"""
        value, *variables = e.args
        powers = {x: variables.count(x) for x in variables}
        below = [self.to_power(f"{self.symbol}{self.read(x)}", k) for x, k in powers.items()]
        return self.quotient(self.to_power(self.symbol, len(variables)) + self.read(value), below)

    def to_power(self, base: str, exponent: int) -> str:
        return base if exponent == 1 else self.superscript(base, str(exponent))

    def quotient(self, above: str, below: list[str]) -> str:
        return f"{above}/{below[0]}" if len(below) == 1 else f"{above}/({self.dot.join(below)})"

    def piecewise(self, e: sp.Piecewise) -> str:
        if is_guarded(e):
            value, condition = e.args[0].args
            return f"({self.expression(value)} if {self.condition(condition)} else 0)"
        parts = []
        for pair in e.args:
            value, condition = pair.args
            parts.append(self.expression(value) + ("" if condition == TRUE else f" if {self.condition(condition)}"))
        return f"({' else '.join(parts)})"

    # -- conditions

    def condition(self, c: Boolean) -> str:
        if isinstance(c, sp.And):
            return self.all_of([self.condition(p) for p in conjuncts(c)])
        if isinstance(c, sp.Or):
            return f"({self.any_of([self.condition(p) for p in alternatives(c)])})"
        if isinstance(c, sp.ITE):
            test, then, otherwise = map(self.condition, c.args)
            return f"({then} if {test} else {otherwise})"
        if isinstance(c, sp.Not):
            text = self.condition(c.args[0])
            return f"not {text}" if isinstance(c.args[0], sp.Or) else f"not ({text})"
        if isinstance(c, sp.core.relational.Relational):
            return f"{self.expression(c.lhs)} {self.relation(c.rel_op)} {self.expression(c.rhs)}"
        return str(c).lower()

    def relation(self, symbol: str) -> str:
        return RELATIONS[symbol]

    def all_of(self, parts: list[str]) -> str:
        return " and ".join(parts)

    def any_of(self, parts: list[str]) -> str:
        return " or ".join(parts)


class Latex(Plain):
    """Formulas as LaTeX, without the dollar signs."""

    dot = r" \, "
    symbol = r"\partial "
    piecewise_precedence = ADD  # its braces open only

    def sum(self, ranges: tuple[Range, ...]) -> str:
        return rf"\sum_{{{','.join(self.name(r.index.name) for r in ranges)}}}" if ranges else ""

    def maximum(self, ranges: tuple[Range, ...]) -> str:
        return rf"\max_{{{','.join(self.name(r.index.name) for r in ranges)}}}"

    def winner(self, statement: Statement) -> str:
        return rf"\operatorname{{arg}}{self.maximum(statement.reduced)}"

    def where(self, guard: Boolean) -> str:
        return "" if guard == TRUE else rf" \quad \text{{if }} {self.condition(guard)}"

    def parenthesized(self, text: str) -> str:
        return rf"\left({text}\right)"

    def name(self, name: str) -> str:
        if name == "π":
            return r"\pi"
        if name.endswith("_bar"):
            return rf"\bar{{{self.name(name[: -len('_bar')])}}}"
        if name.endswith("_dot"):
            return rf"\dot{{{self.name(name[: -len('_dot')])}}}"
        escaped = name.replace("_", r"\_")
        return name if len(name) == 1 else rf"\mathit{{{escaped}}}"

    def read(self, e: Read) -> str:
        subscripts = ",".join(self.expression(s) for s in e.subscripts)
        return f"{self.name(e.tensor)}_{{{subscripts}}}" if subscripts else self.name(e.tensor)

    def number(self, e: sp.Basic) -> tuple[str, int]:
        text, precedence = super().number(e)
        digits, exponent, power = text.partition("e")
        if exponent:
            power = f"10^{{{int(power)}}}"
            return (power, POWER) if digits == "1" else (rf"{digits} \cdot {power}", min(precedence, MULTIPLY))
        return text.replace("∞", r"\infty "), precedence

    def fraction(self, numerator: str, below: list[sp.Expr]) -> str:
        denominator = self.dot.join(self.expression(f, MULTIPLY if len(below) > 1 else 0) for f in below)
        return rf"\frac{{{numerator}}}{{{denominator}}}"

    def quotient(self, above: str, below: list[str]) -> str:
        return rf"\frac{{{above}}}{{{self.dot.join(below)}}}"

    def power(self, e: sp.Pow) -> tuple[str, int]:
        base, exponent = e.args
        plain = exponent.is_Integer or exponent == sp.Rational(1, 2) or (exponent.is_Number and exponent.is_negative)
        if plain:
            return super().power(e)
        return f"{{{self.expression(base, ATOM)}}}^{{{self.expression(exponent)}}}", POWER

    def superscript(self, base: str, exponent: str) -> str:
        return f"{{{base}}}^{{{exponent}}}"

    def to_power(self, base: str, exponent: int) -> str:
        return base if exponent == 1 else f"{base.strip()}^{{{exponent}}}"

    def square_root(self, base: sp.Expr) -> str:
        return rf"\sqrt{{{self.expression(base)}}}"

    def call(self, e: sp.Basic) -> str:
        if isinstance(e, root):
            return self.square_root(e.args[0])
        if isinstance(e, sp.Abs):
            return rf"\left|{self.expression(e.args[0])}\right|"
        operator = COMMANDS.get(e.func) or rf"\operatorname{{{self.function_name(e)}}}"
        return rf"{operator}\left({self.arguments(e)}\right)"

    def piecewise(self, e: sp.Piecewise) -> str:
        rows = []
        for pair in e.args:
            value, condition = pair.args
            when = r"\text{otherwise}" if condition == TRUE else rf"\text{{if }} {self.condition(condition)}"
            rows.append(f"{self.expression(value)} & {when}")
        return r"\begin{cases}" + r" \\ ".join(rows) + r"\end{cases}"

    def relation(self, symbol: str) -> str:
        return {"==": "=", "!=": r"\ne", ">=": r"\ge", "<=": r"\le"}.get(symbol, symbol)

    def all_of(self, parts: list[str]) -> str:
        return r" \wedge ".join(parts)

    def any_of(self, parts: list[str]) -> str:
        return r" \vee ".join(parts)


def print_program(program: Program) -> str:
    """The program, one statement a line; those of a recurrence with the order of their steps."""
    plain = Plain(program.order)
    return "\n".join(plain.statement(s) + steps(s.scan) for s in program.statements)


def is_guarded_apart(s: Statement) -> bool:
    """Whether a guard says for which elements there is a value, not which terms a sum has."""
    return s.guard != TRUE and s.guard.free_symbols.isdisjoint(r.index for r in s.reduced)


def apart(inner: Statement, outer: Statement) -> Statement:
    """A sum that is written inside a formula, its indices under other names than the formula's own."""
    taken = {r.index.name for s in (inner, outer) for r in s.domain}
    names = Names(taken)
    new = {
        r.index: index_symbol(names.fresh(r.index.name))
        for r in inner.reduced
        if any(r.index == own.index for own in outer.domain)
    }
    domain = tuple(replace(r, index=new.get(r.index, r.index)) for r in inner.domain)
    return replace(inner.mapped(lambda e: substitute(e, new)), domain=domain) if new else inner


def untold_ranges(shown: Iterable[Statement], shapes: Mapping[str, Sequence[sp.Expr]]) -> set[Range]:
    """Those of indices that run along no whole axis of the tensors of known shapes, or along one that may be shorter.

    A reader takes the shortest axis that an index of this name runs along: Σ_q a[2·i + q] does not say how far q goes.
    """
    shown, axes = list(shown), dict[sp.Symbol, set[sp.Expr]]()
    for read in (read for s in shown for read in (s.write, *s.reads)):
        for index, axis in zip(read.subscripts, shapes.get(read.tensor, ()), strict=False):
            if is_plain_index(index):
                axes.setdefault(index, set()).add(axis)

    def told(r: Range) -> bool:
        own = axes.get(r.index, set())
        return r.extent in own and all(at_most(r.extent, axis) for axis in own)

    return {r for s in shown for r in s.domain if not told(r)}


def steps(scan: Scan | None, before: Scan | None = None) -> str:
    """The order of the steps; `then`: those of another recurrence have been taken before."""
    if scan is None:
        return ""
    word = "then " if before is not None and before.name != scan.name else ""
    return f", {word}{scan.index} = …, 1, 0" if scan.reverse else f", {word}{scan.index} = 0, 1, …"
