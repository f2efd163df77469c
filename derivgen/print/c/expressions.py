"""Expressions of the texts of elementary functions → C99: see `translate.py`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise

import numpy as np

from derivgen.print.layout import Bracket, Chain, Part, Signed

# Types; the others are numpy's integers. A number is a literal, which gets the type of what it stands with.
REAL, CONDITION, NUMBER = "real", "condition", "number"
BITS = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
INTEGER = {"float32": "int32", "float64": "int64"}
PREFIX = {"float32": "f32", "float64": "f64"}
C_REAL = {"float32": "float", "float64": "double"}

OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
OPERATORS |= {ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"}
OPERATORS |= {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
OPERATORS |= {ast.And: "&&", ast.Or: "||"}

# What an expression is by its last operator. A chain goes on without parentheses: a + b - c.
SIGN, CHOICE, COMPARISON, SHIFT = "sign", "choice", "comparison", "shift"
CHAINS = {"+": "sum", "-": "sum", "*": "product", "/": "product"} | {o: o for o in ("&", "|", "^", "&&", "||")}


@dataclass(frozen=True, slots=True)
class Value:
    """An expression in C, and of an integer the interval that it lies in."""

    part: Part
    type: str
    kind: str = ""  # by its last operator; a name, a literal and a call have none
    least: int = 0
    most: int = 0
    signed: Part | None = None  # of an integer whose type in C has a sign


@dataclass(frozen=True, slots=True)
class Definition:
    """A function in C and those that it calls; or a table, which stands in the functions that read it."""

    name: str
    text: str
    prototype: str = ""
    results: tuple[str, ...] = (REAL,)
    called: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


def c_type(type_: str, dtype: str) -> str:
    return {REAL: C_REAL[dtype], CONDITION: "_Bool"}.get(type_) or f"uint{BITS[type_]}_t"


def limits(type_: str) -> tuple[int, int]:
    """The least and the largest integer of a type."""
    count = 1 << BITS[type_]
    return (0, count - 1) if type_.startswith("u") else (-count // 2, count // 2 - 1)


def integer(part: Part, type_: str, kind: str = "", within: tuple[int, int] | None = None) -> Value:
    """An integer; it may be any one of its type if `within` is not known, or is more than the type holds."""
    low, high = limits(type_)
    return Value(part, type_, kind, *(within if within and low <= within[0] and within[1] <= high else (low, high)))


def combined(o: str, a: Value, b: Value) -> tuple[int, int] | None:
    """The interval that a ∘ b lies in, before it wraps around."""
    match o:
        case "+":
            return a.least + b.least, a.most + b.most
        case "-":
            return a.least - b.most, a.most - b.least
        case "*":
            products = [x * y for x in (a.least, a.most) for y in (b.least, b.most)]
            return min(products), max(products)
        case "&" if max(a.least, b.least) >= 0:
            return 0, min(v.most for v in (a, b) if v.least >= 0)
        case "|" | "^" if min(a.least, b.least) >= 0:
            return 0, (1 << max(a.most, b.most).bit_length()) - 1
        case ">>" if min(a.least, b.least) >= 0:
            return 0, a.most >> b.least
    return None


def operand(v: Value, after: str = "") -> Part:
    """A value beside an operator, in parentheses if it has one itself; a sign has none but after + and -."""
    bare = not v.kind or (v.kind == SIGN and after not in ("+", "-"))
    return v.part if bare else Bracket("", (v.part,))


def chain(a: Value, o: str, b: Value) -> Part:
    """a ∘ b, where a chain goes on to its right."""
    if o in ("+", "-") and isinstance(b.part, str) and b.part.startswith("-"):  # a literal
        o, b = "+-"[o == "+"], Value(b.part[1:], b.type)
    if isinstance(a.part, Chain) and a.kind == CHAINS.get(o):
        return Chain(a.part.first, (*a.part.rest, (o, operand(b, o))))
    return Chain(operand(a), ((o, operand(b, o)),))


def choice(condition: Value, a: Part, b: Part) -> Part:
    return Chain(operand(condition), (("?", a), (":", b)))


def joined(a: Value, o: str, b: Value) -> Value:
    return Value(chain(a, o, b), CONDITION, CHAINS[o])


def literal(n: int, text: str, width: int, beside: bool) -> str:
    """The bits of an integer, without a sign, as the text has it; if it fits, beside an operand of 64 bits in 32."""
    bits = n % (1 << width)
    shown = f"0x{bits:X}" if text.startswith("0x") or n < 0 else text
    return f"{shown}U" if width == 32 or (beside and bits < 1 << 32) else f"{shown}ULL"


class Expressions:
    """Translates expressions, and notes which functions they call."""

    def __init__(self, text: str, dtype: str, known: Callable[[str], Definition]) -> None:
        self.text, self.dtype, self.known = text, dtype, known
        self.names: dict[str, Value] = {}
        self.called: dict[str, None] = {}  # in the order of their first calls
        self.tables: dict[str, str] = {}

    def value(self, e: ast.expr) -> Value:
        match e:
            case ast.Name(id=name):
                return self.names[name]
            case ast.Constant(value=int(n)):
                return Value(ast.get_source_segment(self.text, e) or "", NUMBER, "", n, n)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                v = self.value(inner)
                if v.type == NUMBER:
                    return Value(f"-{v.part}", NUMBER, "", -v.most, -v.most)
                return Value(Signed("-", operand(v, "-")), v.type, SIGN)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return Value(Signed("!", operand(self.condition(inner))), CONDITION, SIGN)
            case ast.BinOp(left=left, op=o, right=right):
                a = self.value(left)
                if a.kind and left.col_offset > e.col_offset:  # in parentheses, which show what is rounded first
                    a = replace(a, part=Bracket("", (a.part,)), kind="")
                return self.operation(a, OPERATORS[type(o)], self.value(right))
            case ast.BoolOp(op=o, values=values):
                return reduce(lambda a, b: joined(a, OPERATORS[type(o)], b), map(self.condition, values))
            case ast.Compare(left=left, ops=ops, comparators=others):
                pairs = zip(ops, pairwise(map(self.value, (left, *others))), strict=True)
                compared = [self.comparison(a, OPERATORS[type(o)], b) for o, (a, b) in pairs]
                return reduce(lambda a, b: joined(a, "&&", b), compared)
            case ast.IfExp(test=test, body=body, orelse=other):
                a, b = self.alike(self.value(body), self.value(other))
                part = choice(self.condition(test), operand(a), operand(b))
                return Value(part, a.type, CHOICE, min(a.least, b.least), max(a.most, b.most))
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return self.element(self.known(name), self.value(index))
            case ast.Call(func=ast.Attribute(value=inner, attr="view"), args=[to]):
                name = "of_bits" if ast.unparse(to) == "real" else "bits"
                return self.call(name, (self.value(inner),))
            case ast.Call(func=called, args=arguments):
                return self.called_by_name(ast.unparse(called), arguments)
        raise NotImplementedError(ast.unparse(e))

    # ---- operators

    def operation(self, a: Value, o: str, b: Value) -> Value:
        if o in ("<<", ">>"):
            b = self.typed(b, a.type, beside=True)
        else:
            a, b = self.alike(a, b, beside=True)
        kind = CHAINS.get(o, SHIFT)
        if a.type == REAL:
            return Value(chain(a, o, b), REAL, kind)
        if o == ">>" and a.least < 0:  # the sign bit fills the places that become free
            return integer(self.call("shift_right", (a, b)).part, a.type)
        return integer(chain(a, o, b), a.type, kind, combined(o, a, b))

    def comparison(self, a: Value, o: str, b: Value) -> Value:
        a, b = self.alike(a, b, beside=True)
        if o not in ("==", "!=") and min(a.least, b.least) < 0:
            a, b = (Value(self.signed(v), v.type) for v in (a, b))
        return Value(chain(a, o, b), CONDITION, COMPARISON)

    def condition(self, e: ast.expr) -> Value:
        """A condition; an integer is one as in Python."""
        v = self.value(e)
        return v if v.type == CONDITION else Value(chain(v, "!=", Value("0U", v.type)), CONDITION, COMPARISON)

    # ---- integers

    def typed(self, v: Value, type_: str, beside: bool = False) -> Value:
        """A number as an integer of a type; `beside` an operand of that type."""
        if v.type != NUMBER:
            return v
        return Value(literal(v.most, str(v.part), BITS[type_], beside), type_, "", v.least, v.most, str(v.most))

    def alike(self, a: Value, b: Value, beside: bool = False) -> tuple[Value, Value]:
        """Two values of one type."""
        type_ = b.type if a.type == NUMBER else a.type
        if type_ in BITS:
            a, b = self.typed(a, type_, beside), self.typed(b, type_, beside)
        assert a.type == b.type, (a, b)
        return a, b

    def signed(self, v: Value) -> Part:
        return v.signed or self.call("signed", (v,)).part

    def cast(self, e: ast.expr, type_: str) -> Value:
        """An expression as an integer of a type: the same bits, or as many of the last ones as there is place for."""
        v = self.upper_bits(e, BITS[type_]) or self.value(e)
        if v.type == NUMBER:
            return self.typed(v, type_)
        within = v.least, v.most
        if BITS[type_] == BITS[v.type]:
            return integer(v.part, type_, v.kind, within)
        assert BITS[type_] < BITS[v.type] or v.least >= 0, ast.unparse(e)
        return integer(Signed(f"({c_type(type_, self.dtype)})", operand(v)), type_, "", within)

    def upper_bits(self, e: ast.expr, width: int) -> Value | None:
        """a >> b, of which no more bits are needed than are left without those that the sign fills."""
        if not isinstance(e, ast.BinOp) or not isinstance(e.op, ast.RShift):
            return None
        a, b = self.value(e.left), self.value(e.right)
        if a.type not in BITS or b.type != NUMBER or width + b.most > BITS[a.type]:
            return None
        return integer(chain(a, ">>", self.typed(b, a.type, beside=True)), a.type, SHIFT)

    def element(self, table: Definition, index: Value) -> Value:
        assert index.least >= 0 and index.most < len(table.numbers), "an element outside of its table"
        self.tables[table.name] = table.text
        part = Bracket(table.name.lower(), (index.part,), "[]")
        return integer(part, "int64", "", (min(table.numbers), max(table.numbers)))

    # ---- calls

    def called_by_name(self, name: str, arguments: list[ast.expr]) -> Value:
        if name == "real" and not any(isinstance(n, ast.Name) and n.id != "np" for n in ast.walk(arguments[0])):
            return self.constant(arguments[0])
        if name.removeprefix("np.") in BITS:
            return self.cast(arguments[0], name.removeprefix("np."))
        values = tuple(map(self.value, arguments))
        if name == "real":
            return self.real(values[0])
        if name in ("abs", "min", "max") and values[0].type != REAL:
            return self.absolute(values[0]) if name == "abs" else self.extreme(name, *self.alike(values[0], values[1]))
        return self.call(name, values)

    def real(self, v: Value) -> Value:
        if v.type == REAL:
            return v
        part = v.part if v.type.startswith("u") else self.signed(v)
        return Value(Signed(f"({C_REAL[self.dtype]})", part), REAL)

    def constant(self, e: ast.expr) -> Value:
        """real(…) of a number."""
        number = getattr(np, self.dtype)(eval(ast.unparse(e), {"np": np}))
        if not np.isfinite(number):
            v = self.call("nan" if np.isnan(number) else "infinity", ())
            return Value(Signed("-", v.part), REAL, SIGN) if number < 0 else v
        shown = ast.unparse(e)
        if shown.startswith("2.0 ** "):
            shown = f"0x1p{np.frexp(number)[1] - 1}"
        elif shown.lstrip("-").isdigit():
            shown += ".0"
        return Value(shown + "f" * (self.dtype == "float32"), REAL, SIGN if number < 0 else "")

    def absolute(self, v: Value) -> Value:
        negative = self.comparison(v, "<", Value("0", NUMBER))
        part = choice(negative, Bracket("", (Chain("0U", (("-", v.part),)),)), v.part)
        return integer(part, f"uint{BITS[v.type]}", CHOICE)

    def extreme(self, name: str, a: Value, b: Value) -> Value:
        """The larger or the smaller one of two integers."""
        of_two = max if name == "max" else min
        within = of_two(a.least, b.least), of_two(a.most, b.most)
        if name == "max" and b.part in ("0U", "0ULL"):
            return integer(self.call("positive_part", (a,)).part, a.type, "", within)
        test = self.comparison(a, "<" if name == "max" else ">", b)
        return integer(choice(test, operand(b), operand(a)), a.type, CHOICE, within)

    def function(self, name: str) -> Definition:
        definition = self.known(name)
        self.called[definition.name] = None
        return definition

    def call(self, name: str, arguments: tuple[Value, ...]) -> Value:
        definition = self.function(name)
        part = Bracket(self.c_name(definition.name), tuple(a.part for a in arguments))
        type_ = definition.results[0]
        return integer(part, type_) if type_ in BITS else Value(part, type_)

    def c_name(self, name: str) -> str:
        return f"{PREFIX[self.dtype]}_{name}"
