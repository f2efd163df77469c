"""Prove that a file of C computes what a Python module computes: `python verify_c.py MODULE.py FILE.c [FUNCTION]`.

Both are texts that derivgen wrote of one spec, in one dtype. This file needs Python's standard library alone, and
nothing of derivgen. It reads both texts, C as Python's syntax, and writes each function as lines of a third form:

    a1[n, h] = tanh(a1[n, h] + b1[h])                    Python's text, where a1 is Real[N, 32]
    a1[32 * n + h] = f32_tanh(a1[32 * n + h] + b1[h]);   C's text
    a1[32·%0 + %1] = f32:tanh((a1[32·%0 + %1] +f32 b1[%1]))

There a subscript is a polynomial that says where in memory an element lies; each operation says in which precision it
rounds, by the rules of its language, and so does what converts a number; numbers are as they are after rounding; locals
are numbered in the order of their first values; a call has the sizes of the arrays that it passes. If two functions
have the same lines, they compute the same and access the same elements: what `verify.py` proves of one is true of the
other. Elementary functions are run, C's and Python's, and must give the same bits at some hundred points.

It prints a line a function, `same` or the first lines that differ, and last what it does not check. With the name of a
function of Python it prints the lines of both texts. It exits with 0 if all are the same, 1 if not, 2 if it can't read.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import keyword
import math
import operator
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple


class Unclear(Exception):
    """What differs, or is not understood: it is reported, never passed over."""


SYMBOLS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "**"}
SYMBOLS |= {ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.And: "and"}
SYMBOLS |= {ast.Or: "or", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"}
BINARY: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
BINARY |= {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq}
BINARY |= {"!=": operator.ne, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift}
BINARY |= {">>": operator.rshift, "**": operator.pow}
REALS = ("f32", "f64")
MOST_STEPS = 2**53  # which an update rule counts


# ---- values of the third form --------------------------------------------------------------------


@dataclass(frozen=True)
class Poly:
    """A polynomial with whole coefficients in names of sizes and indices, and in elements of integer arrays."""

    terms: tuple[tuple[tuple[str, ...], int], ...] = ()  # (names, coefficient), in order

    @staticmethod
    def of(value: int | str | dict[tuple[str, ...], int]) -> Poly:
        terms = {(): value} if isinstance(value, int) else {(value,): 1} if isinstance(value, str) else value
        return Poly(tuple(sorted((names, c) for names, c in terms.items() if c)))

    def __add__(self, other: Poly) -> Poly:
        total = dict(self.terms)
        for names, c in other.terms:
            total[names] = total.get(names, 0) + c
        return Poly.of(total)

    def __mul__(self, other: Poly) -> Poly:
        total = dict[tuple[str, ...], int]()
        for a, c in self.terms:
            for b, d in other.terms:
                names = tuple(sorted((*a, *b)))
                total[names] = total.get(names, 0) + c * d
        return Poly.of(total)

    def __sub__(self, other: Poly) -> Poly:
        return self + Poly.of(-1) * other

    def __str__(self) -> str:
        parts = ["·".join([*([str(c)] if c != 1 or not names else []), *names]) for names, c in self.terms]
        return " + ".join(parts) or "0"

    @property
    def number(self) -> int | None:
        return 0 if not self.terms else self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    def at_most(self, other: Poly) -> bool:
        """Whether it is, for sizes from 1 on and indices from 0 on, as far as coefficients show it."""
        difference = other - self
        sizes = {name for names, _ in difference.terms for name in names if name.isidentifier()}
        return all(c >= 0 for _, c in difference.at({name: Poly.of(name) + Poly.of(1) for name in sizes}).terms)

    def at(self, values: dict[str, Poly]) -> Poly:
        """With the values of some names in their places."""
        total = Poly()
        for names, c in self.terms:
            total += product([Poly.of(c), *(values.get(name, Poly.of(name)) for name in names)])
        return total


def product(factors: Iterable[Poly]) -> Poly:
    total = Poly.of(1)
    for factor in factors:
        total *= factor
    return total


ZERO, ONE = Poly(), Poly.of(1)
GAP = Poly.of(16)  # elements between the stretches of memory that buffers share


class Value(NamedTuple):
    """A number or a condition. Types: f32, f64, i64 (whole numbers), rank (of a real among all), bool."""

    type: str
    text: str
    number: float | None = None  # of a real that is known
    whole: Poly = ZERO  # of a whole number


class Array(NamedTuple):
    """Where an array begins, and its axes, each with its extent and how far apart its elements lie; none of C's."""

    base: str
    type: str
    start: Poly = ZERO
    axes: tuple[tuple[Poly, Poly], ...] = ()
    lies: tuple[str, Poly, Poly] | None = None  # of a buffer: the memory, and where there all of it begins and ends

    @property
    def pointer(self) -> str:
        return f"&{self.base}[{self.start}]"

    @property
    def extents(self) -> list[Poly]:
        return [extent for extent, _ in self.axes]

    def shaped(self, extents: list[Poly]) -> Array:
        """The elements from the first one on in this shape, by rows."""
        steps = [product(extents[k + 1 :]) for k in range(len(extents))]
        return self._replace(axes=tuple(zip(extents, steps, strict=True)))

    def is_apart(self, other: Array) -> bool:
        """Whether two arrays share no element, if different arguments do not."""
        if self.base != other.base and self.lies and other.lies:
            (home, *ends), (other_home, *other_ends) = self.lies, other.lies
            return home != other_home or ends[1].at_most(other_ends[0]) or other_ends[1].at_most(ends[0])
        ends, other_ends = ([a.start, a.start + product(a.extents)] for a in (self, other))
        return self.base != other.base or ends[1].at_most(other_ends[0]) or other_ends[1].at_most(ends[0])

    def in_one_piece(self) -> bool:
        steps = zip(self.axes, self.shaped(self.extents).axes, strict=True)
        return all(extent == ONE or step == wanted for (extent, step), (_, wanted) in steps)


def bits_of(type_: str, number: float) -> int:
    return int.from_bytes(struct.pack("<f" if "32" in type_ else "<d", number), "little")


def of_bits(type_: str, bits: int) -> float:
    size = 4 if "32" in type_ else 8
    return float(struct.unpack("<f" if size == 4 else "<d", (bits % (1 << 8 * size)).to_bytes(size, "little"))[0])


def divided(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)


def single(value: float | Fraction) -> float:
    """The number of float32 nearest to a value, rounded once."""
    try:
        near: float = struct.unpack("f", struct.pack("f", float(value)))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    if not isinstance(value, Fraction) or not math.isfinite(near):
        return near
    if near < 0:
        return -single(-value)
    bits = bits_of("f32", near)
    around = [of_bits("f32", b) for b in (bits - 1, bits, bits + 1) if 0 <= b < 0x7F800000]
    return min(around, key=lambda f: (abs(Fraction(f) - value), bits_of("f32", f) & 1))


def rounded(type_: str, value: float | Fraction) -> float:
    return single(value) if type_ == "f32" else float(value)


def known(type_: str, number: float) -> Value:
    return Value(type_, repr(number), number)


def whole(value: Poly | str | int) -> Value:
    own = value if isinstance(value, Poly) else Poly.of(value)
    return Value("i64", str(own), None, own)


def placed(type_: str, text: str) -> Value:
    """The value of a local, an argument or an element."""
    return whole(text) if type_ == "i64" else Value(type_, text)


def to(type_: str, v: Value) -> Value:
    """A value of another type, as an assignment or a cast makes it."""
    if v.type == type_:
        return v
    if type_ in REALS and v.type in (*REALS, "i64"):
        n = v.whole.number if v.type == "i64" else v.number
        return Value(type_, f"{type_}({v.text})") if n is None else known(type_, rounded(type_, float(n)))
    if type_ == "i64" and v.type in REALS:
        return whole(f"whole({v.text})")
    raise Unclear(f"{v.text}, which is {v.type}, as {type_}")


def common(a: Value, b: Value, mixed: str) -> tuple[Value, Value]:
    """Both operands in the type in which the operation is done; `mixed`: that of a whole number and a float32."""
    if a.type == b.type:
        return a, b
    type_ = "f64" if "f64" in (a.type, b.type) else mixed
    return to(type_, a), to(type_, b)


def arithmetic(o: str, a: Value, b: Value, mixed: str) -> Value:
    a, b = common(a, b, mixed)
    if a.type == "i64" and o in "+-*":
        return whole(a.whole + b.whole if o == "+" else a.whole - b.whole if o == "-" else a.whole * b.whole)
    if a.type not in REALS:
        raise Unclear(f"{a.text} {o} {b.text}")
    if a.number is None or b.number is None:
        return Value(a.type, f"({a.text} {o}{a.type} {b.text})")
    return known(a.type, rounded(a.type, divided(a.number, b.number) if o == "/" else BINARY[o](a.number, b.number)))


def negative(v: Value) -> Value:
    if v.type == "i64":
        return whole(ZERO - v.whole)
    return Value(v.type, f"(-{v.text})") if v.number is None else known(v.type, -v.number)


def comparison(o: str, a: Value, b: Value, mixed: str) -> Value:
    """u > v is v < u, of NaN too; equal numbers have no order."""
    a, b = common(a, b, mixed)
    if o in (">", ">=") or (o in ("==", "!=") and b.text < a.text):
        a, b, o = b, a, o.replace(">", "<")
    return Value("bool", f"({a.text} {o} {b.text})")


def denied(v: Value) -> Value:
    return Value("bool", v.text[4:-1] if v.text.startswith("not(") else f"not({condition(v)})")


def condition(v: Value) -> str:
    if v.type != "bool":
        raise Unclear(f"{v.text} is no condition")
    return v.text


def joined(word: str, parts: list[Value]) -> Value:
    """Conditions one after another, until one decides."""
    texts = [text[len(word) + 1 : -1] if text.startswith(f"{word}(") else text for text in map(condition, parts)]
    return Value("bool", f"{word}({'; '.join(texts)})")


def extreme(word: str, parts: list[Value]) -> Value:
    """The least or the greatest of whole numbers or of ranks, two by two."""
    first, *others = parts
    for other in others:
        if {first.type, other.type} not in ({"i64"}, {"rank"}):
            raise Unclear(f"{word} of {first.text} and {other.text}")
        first = placed(first.type, f"{word}({first.text}, {other.text})")
    return first


def choice(test: Value, a: Value, b: Value, mixed: str) -> Value:
    if test.text.startswith("not("):
        test, a, b = denied(test), b, a
    a, b = common(a, b, mixed)
    return placed(a.type, f"({condition(test)} ? {a.text} : {b.text})")


def elementary(type_: str, name: str, arguments: list[Value]) -> Value:
    """A function of reals; a rank is that of a real."""
    if name == "integer_power":
        arguments = [to(type_, arguments[0]), to("i64", arguments[1])]
    elif name != "of_ordinal":
        arguments = [to(type_, v) for v in arguments]
    text = f"{type_}:{name}({', '.join(v.text for v in arguments)})"
    return Value("rank" if name == "ordinal" else type_, text)


def matrix_product(sides: list[Array], alpha: Value, beta: Value) -> str:
    """out = alpha·left·right + beta·out; how far apart the rows of a single row lie does not matter."""
    (m, k), (inner, n), out = (side.extents for side in sides)
    if (inner, *out) != (k, m, n):
        raise Unclear("a product of matrices that do not fit")
    words = [f"{s.pointer} by {', '.join('any' if e == ONE else str(step) for e, step in s.axes)}" for s in sides]
    return f"product {m}, {n}, {k}: {alpha.text}·({words[0]})·({words[1]}) + {beta.text}·({words[2]})"


# ---- C, read as Python's syntax ------------------------------------------------------------------

TOKEN = re.compile(
    r"(?P<skip>\s+|/\*.*?\*/|^[ ]*\#(?:[^\n\\]|\\.)*)|(?P<word>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)"
    r"|(?P<sign>->|\+\+|--|<<=|>>=|[-+*/%&|^!=<>]=|&&|\|\||<<|>>|[][(){}.,;:?~!%^&*+=|<>/-])|(?P<other>.)",
    re.DOTALL | re.MULTILINE,
)
POWERS = {"||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7}
POWERS |= {"<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10}
WORDS = {"||": "or", "&&": "and", "!": "not "}
# What C and C++ have of their own, so that no size or tensor can be called so in a header: `double_`.
OF_C = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int int16_t int32_t int64_t
int8_t linux long main mutable namespace new noexcept not not_eq NULL nullptr operator or or_eq private protected
ptrdiff_t public register reinterpret_cast requires restrict return short signed size_t sizeof static static_assert
static_cast struct switch template this thread_local throw true try typedef typeid typename typeof uint16_t uint32_t
uint64_t uint8_t union unix unsigned using virtual void volatile wchar_t while xor xor_eq
"""
RESERVED = frozenset(OF_C.split())
TYPES = {"float": "f32", "double": "f64", "ptrdiff_t": "i64", "int64_t": "i64", "_Bool": "bool", "void": "void"}
TYPES |= {"int": "bool", "int32_t": "i32", "uint32_t": "u32", "uint64_t": "u64"}
MARKS = ("IN_THREADS", "SIMD", "SIMD_SUMS")  # macros before loops
Token = tuple[str, str, int]  # kind, text, line


class Parameter(NamedTuple):
    name: str
    type: str
    is_pointer: bool
    is_constant: bool
    is_restrict: bool


class Function(NamedTuple):
    """A function of C. Its body in Python's syntax has declarations as `x: f32 = …`, `&x[i]` as `at(x[i])`."""

    name: str
    returns: str
    parameters: list[Parameter]
    body: list[ast.stmt]


def tokens(text: str) -> list[Token]:
    found, line = list[Token](), 1
    for match in TOKEN.finditer(text):
        if match.lastgroup == "other":
            raise Unclear(f"line {line} of C: {match.group()!r}")
        if match.lastgroup != "skip":
            found.append((str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
    return found


class Parser:
    """Reads what derivgen writes: no declarations of several names, pointers to pointers, goto or switch."""

    def __init__(self, own: list[Token], types: Iterable[str]) -> None:
        self.tokens, self.at = [*own, ("end", "", own[-1][2])], 0
        self.types = {*TYPES, "struct", "union", "const", *types}
        self.lines, self.origins = list[str](), [0]  # of Python, and the lines of C from which they come

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def take(self, *wanted: str) -> str:
        """The next token, which must be one of these, or any."""
        _, text, line = self.tokens[self.at]
        if wanted and text not in wanted:
            raise Unclear(f"line {line} of C: {text!r} where {' or '.join(wanted)} was expected")
        self.at += 1
        return text

    def skip(self, *texts: str) -> bool:
        found = self.text in texts
        self.at += found
        return found

    def expression(self) -> str:
        test = self.binary(1)
        if not self.skip("?"):
            return test
        value = self.expression()
        self.take(":")
        return f"({value} if {test} else {self.expression()})"

    def binary(self, power: int) -> str:
        left = self.unary()
        while POWERS.get(self.text, 0) >= power:
            o = self.take()
            left = f"({left} {WORDS.get(o, o)} {self.binary(POWERS[o] + 1)})"
        return left

    def unary(self) -> str:
        if self.skip("&"):
            return f"at({self.unary()})"
        if self.skip("*"):
            return f"{self.unary()}[0]"
        if self.text in ("-", "!", "~"):
            o = self.take()
            return f"({WORDS.get(o, o)}{self.unary()})"
        if self.text == "(" and self.tokens[self.at + 1][1] in self.types:
            self.take("(")
            type_ = TYPES[self.take()]
            self.take(")")
            return f"{type_}({self.unary()})"
        return self.postfix()

    def postfix(self) -> str:
        kind, text, line = self.tokens[self.at]
        self.at += 1
        if text == "(":
            found = self.expression()
            self.take(")")
        elif kind in ("word", "number"):
            found = number_of(text) if kind == "number" else f"{text}_" if keyword.iskeyword(text) else text
        else:
            raise Unclear(f"line {line} of C: {text!r} begins no expression")
        while self.text in ("[", "(", ".", "->"):
            o = self.take()
            if o == "[":
                found = f"{found}[{self.expression()}]"
                self.take("]")
            else:
                found = f"{found}({', '.join(self.items(')'))})" if o == "(" else f"{found}.{self.take()}"
        return found

    def items(self, closing: str) -> list[str]:
        found = list[str]()
        while not self.skip(closing):
            member = f"{self.take()}{self.take('=')}" if self.skip(".") else ""
            found.append(member + self.expression())
            if self.text != closing:
                self.take(",")
        return found

    # declarations

    def declared(self) -> Parameter:
        words = list[str]()
        while self.text in ("const", "struct", "static", "inline", "DERIVGEN_INLINED"):
            words.append(self.take())
        type_ = self.take() if "struct" in words else self.take(*self.types)
        pointer, restrict = self.skip("*"), self.skip("restrict")
        name = self.take()
        name = f"{name}_" if keyword.iskeyword(name) else name
        return Parameter(name, TYPES.get(type_, type_), pointer, "const" in words, restrict)

    def fields(self) -> dict[str, str]:
        """{ type name; … }"""
        found = dict[str, str]()
        self.take("{")
        while not self.skip("}"):
            own = self.declared()
            found[own.name] = own.type
            self.take(";")
        return found

    def function(self, with_body: bool) -> Function:
        head, parameters = self.declared(), list[Parameter]()
        self.take("(")
        while not self.skip(")"):
            if self.text != "void" or self.tokens[self.at + 1][1] != ")":
                parameters.append(self.declared())
                self.skip(",")
            else:
                self.take("void")
        if with_body:
            self.block(0)
        body = ast.parse("\n".join(self.lines)).body
        for node in (n for statement in body for n in ast.walk(statement) if hasattr(n, "lineno")):
            node.lineno = self.origins[node.lineno]
        return Function(head.name, head.type, parameters, body)

    # statements

    def write(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)
        self.origins.append(self.tokens[self.at - 1][2])

    def block(self, depth: int) -> None:
        self.take("{")
        while not self.skip("}"):
            self.statement(depth)

    def statement(self, depth: int) -> None:
        if self.text in MARKS:
            mark = self.take()
            self.write(depth, f"{mark}({', '.join(self.items(')')) if self.skip('(') else ''})")
        elif self.text in ("if", "while"):
            word = self.take()
            self.write(depth, f"{word} {self.expression()}:")
            self.body(depth + 1)
            if self.skip("else"):
                self.write(depth, "else:")
                self.statement(depth + 1) if self.text == "if" else self.body(depth + 1)
        elif self.skip("for"):
            self.loop(depth)
        else:
            if self.text in ("return", "break"):
                word = self.take()
                self.write(depth, f"{word} {self.expression() if self.text != ';' else ''}")
            else:
                self.write(depth, self.declaration() if self.text in {"static", *self.types} else self.assignment())
            self.take(";")

    def body(self, depth: int) -> None:
        """A block, which Python's syntax has no empty ones of."""
        count = len(self.lines)
        self.block(depth)
        if len(self.lines) == count:
            self.write(depth, "pass")

    def loop(self, depth: int) -> None:
        """for (ptrdiff_t i = start; i < stop; i += step), or backwards: i >= stop, i -= step"""
        self.take("(")
        name, _, start = self.declaration().partition(": i64 = ")
        self.take(";")
        found = re.fullmatch(rf"\({name} (<|>=) (.+)\)", self.expression())
        self.take(";")
        step = re.fullmatch(rf"{name} ([+-])= (.+)", self.assignment())
        self.take(")")
        if not (start and found and step and (found[1] == "<") == (step[1] == "+")):
            raise Unclear(f"line {self.tokens[self.at][2]} of C: a loop")
        stop = found[2] if found[1] == "<" else f"{found[2]} - 1"
        self.write(depth, f"for {name} in range({start}, {stop}, {step[1].replace('+', '')}{step[2]}):")
        self.body(depth + 1)

    def declaration(self) -> str:
        if self.text == "union" or self.tokens[self.at + 1][1] == "union":
            self.skip("const")
            self.take("union")
            kind = ", ".join(f"{name}={type_}" for name, type_ in self.fields().items())
            return f"{self.take()}: union({kind}){self.initial()}"
        own = self.declared()
        if self.skip("["):
            size = self.expression()
            self.take("]")
            return f"{own.name}: {own.type}[{size}]{self.initial()}"
        return f"{own.name}: {own.type}{self.initial()}"

    def initial(self) -> str:
        if not self.skip("="):
            return ""
        return f" = items({', '.join(self.items('}'))})" if self.skip("{") else f" = {self.expression()}"

    def assignment(self) -> str:
        if self.text in ("++", "--"):
            o = self.take()[0]
            return f"{self.unary()} {o}= 1"
        target = self.expression()
        return f"{target} {self.take()} {self.expression()}" if self.text.endswith("=") else target


def number_of(text: str) -> str:
    """A number of C in Python's syntax: `f32("0.5")`, `u32(0x1F)`."""
    if found := re.fullmatch(r"(0x[0-9A-Fa-f]+|\d+)(U?)(LL)?", text):
        return f"{'u' if found[2] else 'i'}{64 if found[3] else 32}({found[1]})" if found[2] or found[3] else text
    is_single = text.endswith("f")
    return f'f{32 if is_single else 64}("{text.removesuffix("f")}")'


CPLUSPLUS = re.compile(r"^#ifdef __cplusplus\n.*?^#endif", re.DOTALL | re.MULTILINE)


def newlines(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


class CFile:
    """A file of C after its header: functions, tables, structs and enumerators. Bodies are read when asked for."""

    def __init__(self, text: str, header: str) -> None:
        self.text, self.items, self.read = text, dict[str, list[Token]](), dict[str, Function]()
        self.structs, self.enumerators = dict[str, dict[str, str]](), dict[str, int]()
        self.tables = dict[str, tuple[str, list[str]]]()  # type, numbers
        self.macros = set(re.findall(r"^ *# *define +(\w+)", text + header, re.MULTILINE))
        own, start, depth = [t for part in (header, text) for t in tokens(CPLUSPLUS.sub(newlines, part))], 0, 0
        for k, (_, sign, _) in enumerate(own):
            depth += (sign in "([{") - (sign in ")]}")
            item = own[start : k + 1]
            if depth == 0 and (sign == ";" or (sign == "}" and function_name([t for _, t, _ in item]))):
                self.keep(item)
                start = k + 1
        if start < len(own):
            raise Unclear(f"line {own[start][2]} of C begins what does not end")

    def keep(self, item: list[Token]) -> None:
        words, parser = [text for _, text, _ in item], Parser(item, self.structs)
        if name := function_name(words):
            if self.items.setdefault(name, item) is not item:
                raise Unclear(f"{name} of C is defined twice")
        elif words[:2] == ["enum", "{"]:  # those that are plain numbers
            text = " ".join(words)
            self.enumerators |= {name: int(n) for name, n in re.findall(r"(\w+) = (\d+) [,}]", text)}
        elif "struct" in words[:2] and "{" in words:
            parser.at = words.index("{")
            fields = parser.fields()
            self.structs[parser.take() if words[0] == "typedef" else words[1]] = fields
        elif words[:2] == ["static", "const"] and "=" in words:
            own = parser.declared()
            parser.at = words.index("=") + 2
            self.tables[own.name] = own.type, parser.items("}")

    def head(self, name: str) -> Function:
        if name not in self.items:
            raise Unclear(f"C has no function {name}")
        return Parser(self.items[name], self.structs).function(with_body=False)

    def function(self, name: str) -> Function:
        if name not in self.read and self.head(name):
            self.read[name] = Parser(self.items[name], self.structs).function(with_body=True)
        return self.read[name]


def function_name(words: list[str]) -> str:
    """The name before the parentheses before a body; none of what has no body."""
    at = words.index("{") - 1 if "{" in words else 0
    depth = int(words[at] == ")")
    while depth > 0:
        at -= 1
        depth += (words[at] == ")") - (words[at] == "(")
    return words[at - 1] if words[at] == "(" else ""


# ---- the module: its tables ----------------------------------------------------------------------

KERNELS = ("kernel", "aliased_kernel", "parallel_kernel")
FIXED = re.compile(r"^# ==== the same in each (\w+) module of one derivgen, sha256 (\w+) =*\n", re.MULTILINE)
KINDS = {"np.int64": "i64", "np.float64": "f64", "int64": "i64"}  # of arrays whose dtype need not be the module's
VECTORS = ("theta", "bar", "into", "dot")  # flat vectors in parts


@dataclass
class Bundle:
    """Arrays by name; `passed`: as what C is given them, where not one by one: a flat vector, or a struct."""

    fields: dict[str, Array]
    passed: str = ""

    @property
    def pointers(self) -> list[str]:
        return [self.passed] if self.passed else [a.pointer for a in self.fields.values()]


Bound = Array | Bundle | Value


class Module:
    """The tables and functions of a module's text."""

    def __init__(self, text: str) -> None:
        end = FIXED.search(text)
        if end is None:
            raise Unclear("the part that all modules have is not there")
        self.text, self.real = text[: end.start()], {"float32": "f32", "float64": "f64"}[end[1]]
        self.functions, self.marks = dict[str, ast.FunctionDef](), dict[str, str]()
        self.tables, self.kinds = dict[str, Any](), dict[str, list[str]]()
        for node in ast.parse(self.text).body:
            match node:
                case ast.FunctionDef(name):
                    self.functions[name] = node
                    self.marks[name] = ast.unparse(node.decorator_list[0]) if node.decorator_list else ""
                case ast.Assign([ast.Name(name)], value):
                    self.tables[name] = value
                case ast.ClassDef(name, _, _, body):
                    self.kinds[name] = [ast.unparse(row.target) for row in body if isinstance(row, ast.AnnAssign)]
        if ast.unparse(self.tables["real"]) != f"np.{end[1]}":
            raise Unclear(f"real is another dtype than {end[1]}")
        self.sizes = [ast.literal_eval(self.tables[name.id]) for name in elements(self.tables["SIZES"])]
        rows = [[ast.literal_eval(e) for e in row.args] for row in elements(self.tables["INPUTS"])]
        self.inputs = {n: Array(n, KINDS.get(kind, self.real)).shaped(extents_of(s)) for n, s, kind, *_ in rows}
        self.labels = {
            name: (classes, ignore, len(shape)) for name, shape, _, classes, ignore in rows if classes is not None
        }
        self.parameters, self.count = dict[str, Array](), ZERO
        for row in elements(self.tables["PARAMETERS"]):
            name, shape = map(ast.literal_eval, row.args[:2])
            self.parameters[name] = Array("", self.real, self.count).shaped(extents_of(shape))
            self.count += product(self.parameters[name].extents)
        self.constants = {n.removeprefix("CONSTANT_"): v for n, v in self.tables.items() if n.startswith("CONSTANT_")}

    def parts(self, vector: Array) -> Bundle:
        """The parts of a flat vector, one after another, and it as `flat`."""
        found = {n: a._replace(base=vector.base, start=vector.start + a.start) for n, a in self.parameters.items()}
        whole_ = "flat"
        while whole_ in found:
            whole_ += "_"
        return Bundle(found | {whole_: vector}, vector.pointer)

    def made(self, function: str, kind: str, names: dict[str, Poly]) -> dict[str, Array]:
        """The arrays that a function returns in a tuple of this kind, as np.zeros and the like make them."""
        (returned,) = (n for n in ast.walk(self.functions[function]) if isinstance(n, ast.Return))
        made = zip(self.kinds[kind], returned.value.args, strict=True)  # type: ignore[union-attr]
        return {name: self.array(name, call, names | {"COUNT": self.count}) for name, call in made}

    def array(self, name: str, call: Any, names: dict[str, Poly]) -> Array:
        """np.zeros(shape, kind), np.full(shape, value, kind), aligned(count), np.empty_like(parameters)"""
        if ast.unparse(call.func).endswith("_like"):
            return Array(name, self.real).shaped([self.count])
        type_ = KINDS.get(ast.unparse(call.args[-1]), self.real)
        return Array(name, type_).shaped([polynomial(e, names) for e in elements(call.args[0])])

    def memory(self, function: str) -> dict[str, Array]:
        """The arrays that buffers lie in, as `new_memory` or `…_memory` makes them."""
        name = f"{function}_memory" if f"{function}_memory" in self.functions else "new_memory"
        arguments = [a.arg for a in self.functions[name].args.args]
        return self.made(name, "Memory", dict(zip(arguments, map(Poly.of, self.sizes), strict=False)))

    def results(self, function: str) -> dict[str, Array]:
        """The arrays that a function for callers makes for results, and those that it checks besides inputs."""
        found = dict[str, Array]()
        for node in ast.walk(self.functions[function]) if function in self.functions else ():
            match node:
                case ast.Assign([ast.Name(name)], ast.Call(ast.Attribute(ast.Name("np"))) as call):
                    found[name] = self.array(name, call, {})
                case ast.Assign([ast.Name(name)], ast.Call(ast.Name("check_input"), [ast.Call(_, row), *_])):
                    found[name] = Array(name, self.real).shaped(extents_of(ast.literal_eval(row[1])))
        return found

    def layout(self, name: str, memory: dict[str, Array], sizes: list[Poly]) -> dict[str, Array]:
        """Views of memory: those of a slot share a stretch of it, which is as long as the first of them."""
        function, found = self.functions[name], dict[str, Array]()
        names = dict(zip([a.arg for a in function.args.args[1:]], sizes, strict=True))
        (returned,) = (n for n in ast.walk(function) if isinstance(n, ast.Return))
        for part in returned.value.keywords:  # type: ignore[union-attr]
            (flat, *slots), start = part.value.args, ZERO
            for slot in slots:
                own = {k.arg: [polynomial(e, names) for e in elements(k.value)] for k in slot.keywords}
                for n, extents in own.items():
                    found[n] = memory[flat.attr]._replace(start=start).shaped(extents)
                    found[n] = found[n]._replace(lies=(flat.attr, start, start + product(extents)))
                start += product(next(iter(own.values()))) + GAP
        return found


def elements(node: ast.expr) -> list[Any]:
    return list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node]


def extents_of(shape: tuple[int | str, ...]) -> list[Poly]:
    """A shape in a table: numbers, and texts of sizes."""
    return [polynomial(ast.parse(str(extent), mode="eval").body, {}) for extent in shape or (1,)]


def polynomial(node: ast.expr, names: dict[str, Poly]) -> Poly:
    """A whole number of sizes; `sizes['N']` is N."""
    match node:
        case ast.Constant(int(n)):
            return Poly.of(n)
        case ast.Name(name):
            return names.get(name, Poly.of(name))
        case ast.Subscript(ast.Name("sizes"), ast.Constant(str(name))):
            return Poly.of(name)
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() as o, right):
            return BINARY[SYMBOLS[type(o)]](polynomial(left, names), polynomial(right, names))
    raise Unclear(f"the extent {ast.unparse(node)}")


class Formals:
    """What a function is given: `bound`, arguments of Python; `names`, what C's parameters are called there.

    C is given sizes first, then arrays one by one; constants are its own.
    """

    def __init__(self, module: Module, file: CFile, name: str, in_c: str) -> None:
        self.module, self.name, self.c, self.function = module, name, file.function(in_c), module.functions[name]
        self.in_c = {p.name: p for p in self.c.parameters}
        self.base = name.removesuffix("_kernel")
        self.state, self.memory = module.made("optimizer_state", "State", {}), module.memory(self.base)
        kernel, arguments = module.marks[name] in KERNELS, self.function.args.args
        self.bound = {a.arg: self.of_kernel(a) if kernel else self.of_routine(a.arg) for a in arguments}
        passed = [own for a in arguments for own in self.passed(a.arg)]
        given = [n for n in self.in_c if n != "result"]
        self.sizes, own = given[: len(given) - len(passed)], given[len(given) - len(passed) :]
        self.names = dict(zip(own, passed, strict=True)) | {n: self.alias.get(n, n) for n in self.sizes}
        self.check_types()

    @cached_property
    def alias(self) -> dict[str, str]:
        """The names that a kernel gives to sizes: N = x.shape[0]"""
        found = dict[str, str]()
        for node in self.function.body:
            match node:
                case ast.Assign([ast.Name(name)], ast.Subscript(ast.Attribute(ast.Name(own), "shape"), axis)):
                    found[name] = str(self.bound[own].extents[ast.literal_eval(axis)])  # type: ignore[union-attr]
        return found

    def of_kernel(self, a: ast.arg) -> Bound:
        match a.annotation:
            case ast.Subscript(ast.Name("Real" | "Integer" as kind), shape):
                own = Array(a.arg, "i64" if kind == "Integer" else self.module.real)
                return own.shaped([polynomial(e, {}) for e in elements(shape)])
        return whole(a.arg)

    def of_routine(self, name: str) -> Bound:
        """By the name: theta, data, work, state and so on are the same in every module."""
        module, plain = self.module, name.rstrip("_")
        if name in VECTORS:
            return module.parts(Array(name, module.real).shaped([module.count]))
        if name == "state":
            return Bundle({f: a._replace(base=f"state.{f}") for f, a in self.state.items()})
        if name == "data":
            kinds = (module.kinds.get(kind, []) for kind in ("Data", "PredictionData"))
            given = {name.rstrip("_") for name in self.in_c}
            fields = next(f for f in kinds if {f"data_{part.rstrip('_')}" for part in f} <= given)
            buffers = self.buffers()  # which rows are gathered into
            lies = {f: buffers[f].lies if f in buffers else None for f in fields}
            return Bundle({f: self.sized(f"data.{f}", self.given(f)._replace(lies=lies[f])) for f in fields})
        if name == "work":
            buffers = {f: a._replace(start=ZERO) for f, a in self.buffers().items()}
            return Bundle({f: self.sized(f"work.{f}", a) for f, a in buffers.items()}, "work")
        if plain in module.constants and name not in self.in_c:
            return self.given(plain)
        p = self.in_c.get(name) or self.in_c.get(f"{name}_")
        if p is None:
            raise Unclear(f"{self.c.name} of C has no {name}")
        own = self.arrays.get(name) or self.arrays.get(plain) or Array(name, p.type)
        return own._replace(base=name) if p.is_pointer else placed(p.type, name)

    def buffers(self) -> dict[str, Array]:
        if "work" not in self.in_c:
            return {}
        return self.module.layout(self.in_c["work"].type, self.memory, [Poly.of(s) for s in self.module.sizes])

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Those that may be arguments, by name; the extents of others are not known."""
        module, found = self.module, {**self.module.inputs, **self.state, "steps": self.state["step"], **self.memory}
        vector = Array("", module.real).shaped([module.count])
        found |= dict.fromkeys(("parameters", "gradient", "total", "v"), vector)
        for name, type_ in (("order", "i64"), ("losses", module.real)):
            length = f"{name}_length" if f"{name}_length" in self.in_c else f"?{name}"
            found[name] = Array("", type_).shaped([Poly.of(length)])
        found["observed"] = Array("", "f64").shaped([Poly.of("?layers"), Poly.of(2)])
        return found | module.results(self.base)

    def given(self, name: str) -> Array:
        """An input, or a constant, which is a table of C."""
        if name in self.module.inputs:
            return self.module.inputs[name]
        return constant_table(self.module, name)[0]._replace(base=f"constant_{name}")

    def sized(self, base: str, a: Array) -> Array:
        """An array of a bundle, with the names that C's function has for its extents; those without are unknown."""
        known = {n: Poly.of(n if n in self.in_c else f"?{n}") for n in self.module.sizes}
        own = [
            f"{base.rstrip('_').replace('.', '_')}_length{f'_{axis}' if axis else ''}" for axis in range(len(a.axes))
        ]
        extents = [Poly.of(n) if n in self.in_c else e.at(known) for n, e in zip(own, a.extents, strict=True)]
        return a._replace(base=base).shaped(extents)

    def passed(self, name: str) -> list[str]:
        """The names of what C is passed as an argument."""
        own = self.bound[name]
        if isinstance(own, Bundle) and not own.passed:
            return [f"{name}.{part}" for part in own.fields]
        return [] if isinstance(own, Array) and own.base.startswith("constant_") else [name]

    def check_types(self) -> None:
        """Arrays and numbers are of one type in both."""
        flat: dict[str, Any] = {**self.bound}
        flat |= {f"{n}.{f}": a for n, b in self.bound.items() if isinstance(b, Bundle) for f, a in b.fields.items()}
        for p in self.c.parameters:
            own = flat.get(self.names.get(p.name, p.name))
            fits = not isinstance(own, Array | Value) or (p.is_pointer, p.type) == (isinstance(own, Array), own.type)
            if not fits or (p.type == "f32" and not p.is_pointer):
                raise Unclear(f"{p.name} of {self.c.name} has another type than in Python")


FORMULAS = SimpleNamespace(**{name: getattr(math, name) for name in ("pi", "sin", "cos", "tanh", "exp", "log", "sqrt")})
FORMULAS.where = lambda test, a, b: a if test else b


def constant_table(module: Module, name: str) -> tuple[Array, list[float]]:
    """The shape of a constant, and its numbers, as Python's text makes them."""
    type_ = "i64" if "np.int64" in ast.unparse(module.constants[name]) else module.real
    match module.constants[name]:
        case ast.Call(ast.Attribute(ast.Call(_, [ast.Call(ast.Attribute(ast.Name(digits))), _]), "reshape"), [shape]):
            extents = ast.literal_eval(shape)
            numbers = [float(word) for word in ast.literal_eval(module.tables[digits]).split()]
        case ast.Call(ast.Attribute(_, "full"), [shape, number, _]):
            extents = ast.literal_eval(shape)
            numbers = [float(ast.literal_eval(number))] * math.prod(extents)
        case ast.Call(_, [ast.Call(_, [ast.Lambda() as formula, shape]), _]):
            extents = ast.literal_eval(shape)
            made = eval(ast.unparse(formula), {"np": FORMULAS, "__builtins__": {}})
            numbers = [float(made(*place)) for place in itertools.product(*(map(float, range(e)) for e in extents))]
        case ast.Call(_, [ast.List(items), _]):
            numbers = [float(ast.literal_eval(item)) for item in items]
            extents = (len(numbers),)
        case _:
            raise Unclear(f"the constant {name}")
    own = Array(name, type_).shaped([Poly.of(e) for e in extents])
    for place_, number in re.findall(rf"^CONSTANT_{name}\[([\d, ]+)\] = (\S+)$", module.text, re.MULTILINE):
        at = sum(int(k) * (step.number or 0) for k, (_, step) in zip(place_.split(","), own.axes, strict=True))
        numbers[at] = float(number)
    return own, [rounded(type_, n) for n in numbers]


# ---- functions in the third form -----------------------------------------------------------------

STATUS = re.compile(r"[A-Z]\w*_(OK|BAD_SIZE|OUT_OF_RANGE|BAD_SETTING)")
SCALES = {"ASSIGN": (1, 0), "ADD": (1, 1), "NEGATE": (-1, 0), "SUBTRACT": (-1, 1)}
RENAMED = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctanh": "atanh", "arccosh": "acosh"}
RENAMED |= {"arcsinh": "asinh", "arctan2": "atan2", "subtract": "difference"}
EXTREMES = {"min": "min", "max": "max", "least": "min", "greatest": "max"}
EXTREMES |= {"f32_ordinal_max": "max", "f64_ordinal_max": "max"}


class Reader:
    """Writes statements as lines of the third form. What both languages have alike is here."""

    mixed = ""  # the type in which a whole number meets a float32

    def __init__(self, module: Module) -> None:
        self.module, self.real = module, module.real
        self.lines = list[tuple[int, str]]()  # each with the line of the text
        self.numbers, self.types = dict[str, int](), dict[str, str]()  # of locals
        self.ready = set[str]()  # locals that have a value, on every way
        self.ready_if = dict[frozenset[str], set[str]]()  # those that have one where some conditions hold
        self.accesses = list[tuple[str, list[Poly | None]]]()  # arrays, each with subscripts
        self.stores = list[str]()  # to arrays
        self.names: dict[str, Any] = {"ASSIGN": Array("ASSIGN", module.real).shaped([Poly.of(2)])}

    def say(self, line: int, text: str) -> None:
        self.lines.append((line, text))

    def place(self, name: str) -> str:
        return f"%{self.numbers.setdefault(name, len(self.numbers))}"

    def write(self, line: int, name: str, v: Value) -> None:
        if self.types.setdefault(name, v.type) != v.type:
            raise Unclear(f"{name} is {self.types[name]}, and gets {v.text}, which is {v.type}")
        self.ready.add(name)
        self.forget(f"{self.place(name)}")
        self.say(line, f"{self.place(name)} = {v.text}")

    def forget(self, text: str) -> None:
        """Conditions on what becomes another value say nothing any more."""
        self.ready_if = {tests: names for tests, names in self.ready_if.items() if text not in "; ".join(tests)}

    def ready_where(self, test: str) -> set[str]:
        return self.ready.union(*(names for tests, names in self.ready_if.items() if tests <= parts_of(test)))

    # expressions

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(bool(b)):
                return Value("bool", str(b))
            case ast.Constant(int(n)):
                return whole(n)
            case ast.Constant(float(x)):
                return known("f64", x)
            case ast.Name(name):
                return self.named(name)
            case ast.UnaryOp(ast.USub(), inner):
                return negative(self.value(inner))
            case ast.UnaryOp(ast.Not(), inner):
                return denied(self.value(inner))
            case ast.BinOp(left, ast.Mod(), right) if self.mixed == "f64":  # Python's
                return whole(f"mod({self.value(left).text}, {self.value(right).text})")
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as o, right):
                return self.operation(SYMBOLS[type(o)], self.value(left), self.value(right))
            case ast.BoolOp(o, parts):
                return joined(SYMBOLS[type(o)], [self.value(p) for p in parts])
            case ast.Compare(left, [o], [right]):
                return comparison(SYMBOLS[type(o)], self.value(left), self.value(right), self.mixed)
            case ast.IfExp(test, body, other):
                holds, before = self.value(test), self.ready
                self.ready = self.ready_where(holds.text)
                value, self.ready = self.value(body), before
                return choice(holds, value, self.value(other), self.mixed)
            case ast.Subscript():
                own = self.array(node)
                return placed(own.type, f"{own.base}[{own.start}]")
            case ast.Call(function, arguments):
                return self.call(ast.unparse(function), arguments)
        raise Unclear(f"line {node.lineno}: {ast.unparse(node)}")

    def named(self, name: str) -> Value:
        if isinstance(found := self.names.get(name), Value):
            return found
        if name not in self.ready:
            raise Unclear(f"{name} may have no value")
        return placed(self.types[name], self.place(name))

    def operation(self, o: str, a: Value, b: Value) -> Value:
        return arithmetic(o, a, b, self.mixed)

    def array(self, node: ast.expr) -> Array:
        found = self.arrays(node)
        if not isinstance(found, Array):
            raise Unclear(f"{ast.unparse(node)} is no array")
        return found

    def arrays(self, node: ast.expr) -> Any:
        """The array, or the arrays, that an expression stands for; None if for none."""
        match node:
            case ast.Name(name):
                return self.names.get(name)
            case ast.Attribute(ast.Name() as owner, part) if isinstance(bundle := self.arrays(owner), Bundle):
                return bundle.fields.get(part)
            case ast.Subscript(inner, index) if isinstance(own := self.arrays(inner), Array):
                return self.item(own, elements(index))
        return None

    def item(self, own: Array, indices: list[ast.expr]) -> Array:
        """An element, or what some subscripts leave. Of C's pointers no extent is known, and elements are one apart."""
        start, axes, own_axes = own.start, list[tuple[Poly, Poly]](), own.axes or ((ONE, ONE),)
        places = [None if isinstance(index, ast.Slice) else to("i64", self.value(index)).whole for index in indices]
        for place, axis in zip(places, own_axes[: len(places)], strict=True):
            axes += [axis] if place is None else []
            start += place * axis[1] if place is not None else ZERO
        self.accesses.append((own.base, places))
        return own._replace(start=start, axes=(*axes, *own_axes[len(places) :]))

    # statements

    def block(self, body: list[ast.stmt]) -> None:
        for k, node in enumerate(body):
            self.statement(node, body[k + 1 :])

    def statement(self, node: ast.stmt, after: list[ast.stmt]) -> None:
        line = node.lineno
        match node:
            case ast.Assign([ast.Name(name)], value):
                self.assign_name(line, name, value)
            case ast.Assign([ast.Subscript() as target], value):
                self.store(line, target, self.value(value))
            case ast.AugAssign(ast.Name(name), o, value):
                new = self.operation(SYMBOLS[type(o)], self.named(name), self.value(value))
                self.write(line, name, self.as_local(name, new))
            case ast.AugAssign(ast.Subscript() as target, o, value):
                self.store(line, target, self.operation(SYMBOLS[type(o)], self.value(target), self.value(value)))
            case ast.For(ast.Name(name), ast.Call(ast.Name("range" | "prange"), bounds), body):
                extents = [self.value(b).whole for b in bounds]
                start, stop, step = [ZERO, extents[0], ONE] if len(bounds) == 1 else [*extents, ONE][:3]
                self.loop(line, name, f"from {start} to before {stop} by {step}", body)
            case ast.If(test, body, other):
                self.branches(line, condition(self.value(test)), body, other)
            case ast.Break():
                self.say(line, "break")
            case ast.Return(ast.expr() as value):
                self.returned(line, value)
            case ast.Expr(ast.Call(function, arguments)):
                self.say(line, self.standing(ast.unparse(function), arguments))
            case ast.Pass():
                pass
            case _:
                raise Unclear(f"line {line}: {ast.unparse(node)}")

    def store(self, line: int, target: ast.Subscript, v: Value) -> None:
        place = self.value(target)
        self.stores.append(self.accesses[-1][0])
        self.forget(f"{self.stores[-1]}[")
        self.say(line, f"{place.text} = {to(place.type, v).text}")

    def loop(self, line: int, name: str, words: str, body: list[ast.stmt]) -> None:
        if isinstance(self.names.get(name), Value) or name in self.ready:
            raise Unclear(f"line {line}: {name} hides another one")
        before = set(self.ready)
        self.types[name] = "i64"
        self.ready.add(name)
        self.forget(self.place(name))
        self.say(line, f"for {self.place(name)} {words}")
        self.block(body)
        self.say(line, "end")
        self.ready = before

    def branches(self, line: int, test: str, body: list[ast.stmt], other: list[ast.stmt]) -> None:
        before, self.ready = set(self.ready), self.ready_where(test)
        self.say(line, f"if {test}")
        self.block(body)
        first, self.ready = self.ready, before
        self.ready_if.setdefault(parts_of(test), set()).update(first - before)
        if other:
            self.say(line, "else")
            self.block(other)
        self.say(line, "end")
        ends = [bool(way) and isinstance(way[-1], ast.Return | ast.Break) for way in (body, other)]
        self.ready = self.ready if ends[0] else first if ends[1] else first & self.ready

    def as_local(self, name: str, v: Value) -> Value:
        return v

    # What each language has its own way for: calls for their value and for what they do, assignments, results.

    call: Callable[[str, list[ast.expr]], Value]
    standing: Callable[[str, list[ast.expr]], str]
    assign_name: Callable[[int, str, ast.expr], None]
    returned: Callable[[int, ast.expr], None]


def parts_of(test: str) -> frozenset[str]:
    return frozenset(test[4:-1].split("; ") if test.startswith("and(") else [test])


class InC(Reader):
    """A function of C."""

    mixed = "f32"

    def __init__(self, function: Function, names: dict[str, str], module: Module, file: CFile) -> None:
        """`names`: what parameters are called in Python."""
        super().__init__(module)
        self.function, self.file, self.visible = function, file, set[str]()
        self.vectors = list[int]()  # the lines with loops whose iterations may run at once
        self.names = {name: whole(n) for name, n in file.enumerators.items()}
        self.names |= {name: Array(name, type_) for name, (type_, _) in file.tables.items()}
        for p in function.parameters:
            own = names.get(p.name, p.name)
            self.names[p.name] = Array(own, p.type) if p.is_pointer else placed(p.type, own)
            if p.type in file.structs:
                self.names[p.name] = self.struct(p.type, own)
        self.block(function.body)

    def struct(self, kind: str, place: str) -> Bundle:
        return Bundle({part: Array(f"{place}.{part}", type_) for part, type_ in self.file.structs[kind].items()}, place)

    def arrays(self, node: ast.expr) -> Any:
        match node:
            case ast.Call(ast.Name("at"), [inner]):
                return self.arrays(inner)
        return super().arrays(node)

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Compare(inner, [ast.NotEq()], [ast.Constant(0)]) if (v := self.value(inner)).type == "bool":
                return v  # C has integers for what is true or false
        return super().value(node)

    def operation(self, o: str, a: Value, b: Value) -> Value:
        if o == "/" and a.type == b.type == "i64":
            raise Unclear(f"a quotient of whole numbers: {a.text} / {b.text}")
        return super().operation(o, a, b)

    def call(self, name: str, arguments: list[ast.expr]) -> Value:
        prefix, _, bare = name.partition("_")
        match name, arguments:
            case "f32" | "f64", [ast.Constant(str(digits))]:
                return known(name, rounded(name, Fraction(digits)))
            case "f32" | "f64" | "i64", [inner]:
                return to(name, self.value(inner))
            case "f32_infinity" | "f64_infinity" | "f32_nan" | "f64_nan", []:
                return known(prefix, math.inf if bare == "infinity" else math.nan)
            case "floor_mod", [a, b]:
                return whole(f"mod({self.value(a).text}, {self.value(b).text})")
        if name in EXTREMES:
            return extreme(EXTREMES[name], [self.value(a) for a in arguments])
        if prefix in REALS:
            return elementary(prefix, bare, [self.value(a) for a in arguments])
        return placed(self.file.head(name).returns, self.call_of(name, arguments))

    def call_of(self, name: str, arguments: list[ast.expr]) -> str:
        parameters, texts = self.file.head(name).parameters, list[str]()
        for p, a in zip(parameters, arguments, strict=True):
            own = self.arrays(a) if p.is_pointer else to(p.type, self.value(a)).text
            texts.append(own.passed if isinstance(own, Bundle) else own.pointer if isinstance(own, Array) else str(own))
        return f"{name}({', '.join(texts)})"

    def block(self, body: list[ast.stmt]) -> None:
        visible = set(self.visible)
        super().block(body)
        self.ready -= self.visible - visible
        self.visible = visible

    def statement(self, node: ast.stmt, after: list[ast.stmt]) -> None:
        match node:
            case ast.AnnAssign(ast.Name(name), annotation, value):
                if name in self.visible or name in self.names.keys() - self.types.keys():
                    raise Unclear(f"line {node.lineno} of C: {name} hides another one")
                self.visible.add(name)
                self.ready.discard(name)
                self.ready_if = {tests: names - {name} for tests, names in self.ready_if.items()}
                self.declare(node.lineno, name, annotation, value)
            case ast.Expr(ast.Call(ast.Name("SIMD" | "SIMD_SUMS"), totals)) if isinstance(after[0], ast.For):
                check_vectors(after[0].body, {*map(ast.unparse, totals)})
                self.vectors.append(len(self.lines))
            case ast.Expr(ast.Call(ast.Name(name))) if name in MARKS:
                raise Unclear(f"line {node.lineno} of C: {name}")
            case ast.Expr(ast.Call(ast.Name("void"))):
                pass
            case ast.Assign([ast.Subscript(ast.Name("result"))], value) if after and isinstance(after[0], ast.Return):
                self.say(node.lineno, f"return {to(self.names['result'].type, self.value(value)).text}")
            case _:
                super().statement(node, after)

    def loop(self, line: int, name: str, words: str, body: list[ast.stmt]) -> None:
        """C looks at the bound before each iteration: nothing in it may change."""
        at = len(self.lines) + 1
        super().loop(line, name, words, body)
        fixed = {self.place(name), *re.findall(r"%\d+|[\w.]+(?=\[)", words)}
        for changed, text in self.lines[at:]:
            is_call = re.match(r"\w+\(|product |fill ", text) is not None
            if fixed & {text.partition(" = ")[0], text.partition("[")[0]} or ("[" in words and is_call):
                raise Unclear(f"line {changed} of C changes what the loop of line {line} goes by")

    def declare(self, line: int, name: str, annotation: ast.expr, value: ast.expr | None) -> None:
        match annotation, value:
            case ast.Subscript(ast.Name(type_), count), None:
                self.names[name] = Array(self.place(name), type_)
                self.types[name] = "array"
                self.say(line, f"{self.place(name)} = array of {type_}, {self.value(count).text}")
            case ast.Name(kind), ast.Call(ast.Name(layout), arguments) if kind in self.file.structs:
                self.say(line, f"{self.place(name)} = {self.call_of(layout, arguments)}")
                self.names[name] = self.struct(kind, self.place(name))
                self.types[name] = "struct"
            case ast.Name(type_), _:
                own = self.value(value) if value else None
                ranks = {"f32": "i32", "f64": "i64"}[self.real]
                self.types[name] = "rank" if own and own.type == "rank" and type_ == ranks else type_
                if own:
                    self.write(line, name, self.as_local(name, own))
            case _:
                raise Unclear(f"line {line} of C: {ast.unparse(annotation)}")

    def as_local(self, name: str, v: Value) -> Value:
        return to(self.types[name], v)

    def assign_name(self, line: int, name: str, value: ast.expr) -> None:
        if name not in self.visible:
            raise Unclear(f"line {line} of C: {name} is not declared here")
        self.write(line, name, self.as_local(name, self.value(value)))

    def returned(self, line: int, value: ast.expr) -> None:
        found = STATUS.fullmatch(ast.unparse(value))
        if found is None:
            self.say(line, f"return {to(self.function.returns, self.value(value)).text}")
        elif found[1] != "OK":
            self.say(line, f"fail {found[1]}")
        elif not (self.lines and self.lines[-1][1].startswith("return ")) and self.function.body[-1].lineno != line:
            raise Unclear(f"line {line} of C: the function ends before its last line")

    def standing(self, name: str, arguments: list[ast.expr]) -> str:
        match name, arguments:
            case "f32_fill" | "f64_fill", [count, value, out]:
                return f"fill {self.array(out).pointer} {self.value(count).text} {to(name[:3], self.value(value)).text}"
            case "f32_copy" | "f64_copy", [count, values, ast.Name("result")]:
                return f"return a copy of {self.array(values).pointer} {self.value(count).text}"
            case "gemm", [m, n, k, alpha, a, a_row, a_column, b, b_row, b_column, beta, c, c_row, c_column]:
                sides = (a, m, k, a_row, a_column), (b, k, n, b_row, b_column), (c, m, n, c_row, c_column)
                found = list[Array]()
                for own, rows, columns, row, column in sides:
                    extents = [self.value(e).whole for e in (rows, row, columns, column)]
                    found.append(self.array(own)._replace(axes=((extents[0], extents[1]), (extents[2], extents[3]))))
                return matrix_product(found, *(to(self.real, self.value(scale)) for scale in (alpha, beta)))
        return self.call_of(name, arguments)


def check_vectors(body: list[ast.stmt], totals: set[str]) -> None:
    """A loop whose iterations may run at once: each has locals of its own, but for sums, which it does not read."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    own = {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)} | totals
    for node in nodes:
        match node:
            case ast.Name(name, ast.Load()) if name in totals:
                raise Unclear(f"line {node.lineno} of C: {name} is read in a loop that adds to it in parts")
            case ast.AugAssign(ast.Name(name), o) if name in totals and not isinstance(o, ast.Add | ast.Sub):
                raise Unclear(f"line {node.lineno} of C: not only added to {name}")
            case ast.Assign([ast.Name(name)]) if name not in own - totals:
                raise Unclear(f"line {node.lineno} of C: {name} is handed on to the next iteration")
            case ast.AugAssign(ast.Name(name)) if name not in own:
                raise Unclear(f"line {node.lineno} of C: {name} is handed on to the next iteration")
            case ast.For() | ast.While() | ast.Return() | ast.Break() | ast.Expr():
                raise Unclear(f"line {node.lineno} of C: not for iterations at once")


class InPython(Reader):
    """A function of the module. `before`: statements that come first; `callee`: the formals of those that it calls."""

    mixed = "f64"

    def __init__(self, formals: Formals, callee: Callable[[str], Formals], before: str, alone: bool) -> None:
        super().__init__(formals.module)
        self.formals, self.callee = formals, callee
        self.in_order = set[int]()  # the lines with loops in which an iteration may touch what another one writes
        self.names |= {n: whole(formals.names[n]) for n in formals.sizes}
        self.names |= {**formals.bound, **{n: whole(own) for n, own in formals.alias.items()}}
        self.block([ast.increment_lineno(node, -node.lineno) for node in ast.parse(before).body])
        self.block([] if alone else self.cleared(formals))

    @staticmethod
    def cleared(formals: Formals) -> list[ast.stmt]:
        """The function's statements; the sum of gradients, which Python's callers clear, after what may be refused."""
        body = formals.function.body[1 if ast.get_docstring(formals.function) else 0 :]
        if formals.name != "gradient_by_batches" or formals.c.name == formals.name:
            return body
        checks = [n for n, s in enumerate(body[:-1]) if any(isinstance(node, ast.Return) for node in ast.walk(s))]
        place = max(checks, default=-1) + 1
        fill = [ast.increment_lineno(node, -node.lineno) for node in ast.parse("total[:] = real(0)").body]
        return [*body[:place], *fill, *body[place:]]

    # expressions

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Attribute(ast.Name("math" | "np"), "pi" | "inf" | "nan" as name):
                return known("f64", float(getattr(math, name)))
            case ast.Subscript(ast.Attribute(inner, "shape"), ast.Constant(int(axis))):
                return whole(self.array(inner).axes[axis][0])
            case ast.IfExp(
                ast.Compare(a, [ast.NotEq()], [ast.Constant(0)]),
                ast.BinOp(b, ast.Mult(), ast.Call(ast.Attribute(ast.Name("np"), "log"), [base])),
                ast.Constant(0.0),
            ) if ast.dump(a) == ast.dump(b):
                return elementary("f64", "xlogy", [self.value(a), self.value(base)])
        return super().value(node)

    def operation(self, o: str, a: Value, b: Value) -> Value:
        return super().operation(o, to("f64", a), b) if o == "/" and a.type == "i64" else super().operation(o, a, b)

    def call(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "real" | "float" | "int", [inner]:
                return to({"real": self.real, "float": "f64", "int": "i64"}[name], self.value(inner))
            case "np.exp", [ast.UnaryOp(ast.USub(), ast.Call(ast.Attribute(_, "logaddexp"), [ast.Constant(0), u]))]:
                return elementary("f64", "sigmoid", [negative(self.value(u))])
            case "np.logaddexp", [ast.Constant(0), u]:
                return elementary("f64", "softplus", [self.value(u)])
            case "np.power", [u, ast.Constant(3)]:
                return elementary("f64", "cube", [self.value(u)])
            case "np.power", [u, k] if self.value(k).type == "i64":
                return elementary("f64", "integer_power", [self.value(u), self.value(k)])
            case "sum_of_squares", [vector, start, stop]:
                texts = self.array(vector).pointer, self.value(start).text, self.value(stop).text
                return Value("f64", f"{name}({', '.join(texts)})")
        if name in EXTREMES:
            return extreme(EXTREMES[name], [self.value(a) for a in arguments])
        mark = self.module.marks.get(name)
        values = [self.value(a) for a in arguments] if mark in (None, "elementary") else []
        if mark == "elementary":
            if name not in ("of_ordinal", "integer_power") and any(v.type != self.real for v in values):
                raise Unclear(f"{name} is called with another type than {self.real}")
            return elementary(self.real, name, values)
        if mark:
            return placed(self.callee(name).c.returns, self.call_of(name, arguments))
        bare = name.removeprefix("np.").removeprefix("math.")
        if bare == name != "abs":
            raise Unclear(f"the function {name}")
        type_ = "f32" if all(v.type == "f32" for v in values) else "f64"
        return elementary(type_, RENAMED.get(bare, bare), values)

    def arrays(self, node: ast.expr) -> Any:
        match node:
            case ast.Attribute(inner, "T"):
                own = self.array(inner)
                return own._replace(axes=own.axes[::-1])
            case ast.Call(ast.Attribute(inner, "reshape"), extents):
                return self.reshaped(self.array(inner), [self.value(e).whole for e in extents])
            case ast.Call(ast.Name("borrowed"), [inner]):
                return self.arrays(inner)
            case ast.Call(ast.Name("split"), [inner]):
                return self.module.parts(self.array(inner))
            case ast.Call(ast.Name("view"), [flat, start, shape]):
                own = self.item(self.array(flat), [start])
                return own.shaped([self.value(e).whole for e in elements(shape)])
            case ast.Call(ast.Name("Data" | "PredictionData" | "State" | "Memory"), [], keywords):
                return Bundle({str(k.arg): self.array(k.value) for k in keywords})
        return super().arrays(node)

    def reshaped(self, own: Array, extents: list[Poly]) -> Array:
        """A vector as a row or a column, where -1 stands, or rows and columns of an array in one piece."""
        if Poly.of(-1) in extents and len(own.axes) == 1:
            return own._replace(axes=tuple(own.axes[0] if e == Poly.of(-1) else (ONE, ONE) for e in extents))
        if not own.in_one_piece() or product(extents) != product(own.extents):
            raise Unclear(f"{own.base} in another shape")
        return own.shaped(extents)

    # calls

    def call_of(self, name: str, arguments: list[ast.expr]) -> str:
        """A call with what C passes: the sizes that arrays have, then arrays and numbers."""
        callee, sizes, texts, pairs = self.callee(name), dict[str, Poly](), list[str](), list[tuple[Array, Array]]()
        for a, argument in zip(callee.function.args.args, arguments, strict=True):
            formal = callee.bound[a.arg]
            actual: Any = self.value(argument) if isinstance(formal, Value) else self.arrays(argument)
            texts += self.passed(a.arg, formal, actual, callee)
            if isinstance(formal, Value) and formal.type == "i64":
                sizes[formal.text] = actual.whole
            elif isinstance(formal, Array):
                pairs.append((formal, actual))
            elif isinstance(formal, Bundle):
                pairs += [(own, actual.fields[part]) for part, own in formal.fields.items()]
        for formal, actual in pairs:
            for one, other in zip(formal.extents, actual.extents, strict=False):
                sizes.setdefault(str(one), other)
        for formal, actual in pairs:
            self.check_shape(name, formal, actual, sizes)
        by_name = {callee.names.get(p.name, p.name): p for p in callee.c.parameters if p.is_restrict}
        for first, second in itertools.combinations(pairs, 2):
            both = [by_name[formal.base] for formal, _ in (first, second) if formal.base in by_name]
            if both and not all(p.is_constant for p in both) and not first[1].is_apart(second[1]):
                raise Unclear(f"{name} is passed {first[1].base} and {second[1].base}, which may overlap")
        own_sizes = [str(sizes.get(callee.names[own], f"no {own}")) for own in callee.sizes]
        return f"{callee.c.name}({', '.join([*own_sizes, *texts])})"

    def passed(self, name: str, formal: Bound, actual: Any, callee: Formals) -> list[str]:
        match formal, actual:
            case Array(), Array() if not actual.axes or actual.in_one_piece():
                return [actual.pointer] if callee.passed(name) else []
            case Bundle(), Bundle():
                return actual.pointers
            case Value(), Value() if actual.type == formal.type:
                return [actual.text]
        raise Unclear(f"what {callee.name} is passed as {name}")

    def check_shape(self, name: str, formal: Array, actual: Array, sizes: dict[str, Poly]) -> None:
        if any("?" in str(e) for e in formal.extents) or not formal.axes or not actual.axes:
            return
        wanted, passed = ", ".join(str(e.at(sizes)) for e in formal.extents), ", ".join(map(str, actual.extents))
        if (wanted, formal.type) != (passed, actual.type):
            raise Unclear(f"{formal.base} of {name} has the shape {wanted}, and gets {actual.base} of {passed}")

    # statements

    def statement(self, node: ast.stmt, after: list[ast.stmt]) -> None:
        match node:
            case ast.Assign([ast.Subscript(inner, ast.Slice(first, last))], value):
                own = self.array(inner)
                start = self.value(first).whole if first else ZERO
                stop = self.value(last).whole if last else product(own.extents)
                if (first or last) and len(own.axes) > 1:
                    raise Unclear(f"line {node.lineno}: some of {own.base}")
                place = own._replace(start=own.start + start)
                self.say(node.lineno, f"fill {place.pointer} {stop - start} {to(own.type, self.value(value)).text}")
            case ast.Assign([ast.Name(name)], ast.Subscript(ast.Attribute(_, "shape"))) if name in self.formals.alias:
                pass
            case _:
                super().statement(node, after)

    def assign_name(self, line: int, name: str, value: ast.expr) -> None:
        match value:
            case ast.Call(ast.Name("scratch"), extents):
                self.names[name] = Array(self.place(name), self.real).shaped([self.value(e).whole for e in extents])
                self.say(line, f"{self.place(name)} = array of {self.real}, {product(self.names[name].extents)}")
                return
            case ast.Call(ast.Name(own), [memory, *extents]) if (
                self.module.marks.get(own) == "layout" and own != "split"
            ):
                self.lay_out(line, name, own, self.arrays(memory), [self.value(e).whole for e in extents])
                return
        found = self.arrays(value)
        if isinstance(found, Bundle) or (
            isinstance(found, Array) and (found.axes or not isinstance(value, ast.Subscript))
        ):
            self.names[name] = found
            return
        v = self.value(value)
        if self.names.get(name) != v:
            self.names.pop(name, None)  # an argument takes another value
            self.write(line, name, v)

    def loop(self, line: int, name: str, words: str, body: list[ast.stmt]) -> None:
        at, began, stored = len(self.lines), len(self.accesses), len(self.stores)
        super().loop(line, name, words, body)
        accesses, index = self.accesses[began:], Poly.of(self.place(name))
        for array in {*self.stores[stored:]}:
            axes = zip(*(places for base, places in accesses if base == array), strict=True)
            own = ((axis[0] - index) for axis in axes if axis[0] is not None and len({*axis}) == 1)
            if not any(re.search(rf"{index}\b|\[", str(rest)) is None for rest in own):
                self.in_order.add(at)

    def lay_out(self, line: int, name: str, layout: str, memory: Bundle, sizes: list[Poly]) -> None:
        place = self.place(name)
        views = self.module.layout(layout, memory.fields, sizes)
        self.names[name] = Bundle({f: a._replace(base=f"{place}.{f}", start=ZERO) for f, a in views.items()}, place)
        self.say(line, f"{place} = {layout}({', '.join([*memory.pointers, *map(str, sizes)])})")

    def returned(self, line: int, value: ast.expr) -> None:
        match value:
            case ast.Tuple([ast.Constant(True), _]):
                self.say(line, "fail OUT_OF_RANGE")
            case ast.Tuple([ast.Constant(False), inner]):
                self.say(line, f"return {self.value(inner).text}")
            case ast.Call(ast.Attribute(inner, "copy"), []):
                own = self.array(inner)
                self.say(line, f"return a copy of {own.pointer} {product(own.extents)}")
            case ast.Constant(str(status)):
                self.say(line, f"fail {status}")
            case _:
                self.say(line, f"return {self.value(value).text}")

    def standing(self, name: str, arguments: list[ast.expr]) -> str:
        match name, arguments:
            case "gemm", [left, right, scale, out]:
                return self.product(left, right, scale, out)
            case "np.dot", [left, right, out]:
                return self.product(left, right, ast.Name("ASSIGN"), out)
            case "observe", [values, rows, observed]:
                seen, count = self.array(values), self.value(rows).text
                return f"observe({seen.pointer}, {count}, {product(seen.extents)}, {self.array(observed).pointer})"
            case "uniform", [*numbers, out]:
                own = self.array(out)
                texts = [*(self.value(n).text for n in numbers), own.pointer, own.extents[0], product(own.extents[1:])]
                return f"uniform({', '.join(map(str, texts))})"
        return self.call_of(name, arguments)

    def product(self, left: ast.expr, right: ast.expr, scale: ast.expr, out: ast.expr) -> str:
        """A vector is a column, and in a product with its left side a row."""
        a, b, c = (self.array(side) for side in (left, right, out))
        if len(a.axes) == 1:
            a, c = (side._replace(axes=((ONE, ONE), *side.axes)) for side in (a, c))
        elif len(b.axes) == 1:
            b, c = (side._replace(axes=(*side.axes, (ONE, ONE))) for side in (b, c))
        own = self.arrays(scale)
        scales = SCALES.get(ast.unparse(scale))
        factors = (
            [known(self.real, float(n)) for n in scales]
            if scales
            else [Value(self.real, f"{own.base}[{own.start + Poly.of(k)}]") for k in (0, 1)]
        )
        return matrix_product([a, b, c], *factors)


# ---- elementary functions: run in both languages -------------------------------------------------

RANKS = ("bool", "i32", "u32", "i64", "u64", "f32", "f64")  # of two operands' types C takes the later one, or int
Number = tuple[str, Any]  # type, number


class Returned(Exception):
    """What a function returns."""


class Running:
    """Runs small functions of either language, number by number as machines do.

    `file`: None to run Python's, whose whole numbers have 64 bits except where they are cast. Other values than
    numbers: lists for several results, dicts for structs; a union is a dict with its bits at the key "".
    """

    def __init__(self, module: Module, file: CFile | None) -> None:
        self.module, self.file, self.real = module, file, module.real
        self.steps = list[float]()  # what the module's functions add, multiply and so on, one result after another

    def run(self, name: str, arguments: list[Any]) -> Any:
        own = self.file.function(name) if self.file else None
        body = own.body if own else self.module.functions[name].body
        names = [p.name for p in own.parameters] if own else [a.arg for a in self.module.functions[name].args.args]
        if own:
            arguments = [self.cast(p.type, a) for p, a in zip(own.parameters, arguments, strict=True)]
        before, of_module = len(self.steps), self.module.marks.get(name[4:] if own else name) == "elementary"
        try:
            self.block(body, dict(zip(names, arguments, strict=True)))
        except Returned as returned:
            found = returned.args[0]
            self.steps = self.steps if of_module else self.steps[:before]
            return self.cast(own.returns, found) if own and own.returns in RANKS else found
        raise Unclear(f"{name} returns nothing")

    def cast(self, type_: str, v: Number, wraps: bool = False) -> Number:
        own, n = v
        if type_ == "bool":
            return type_, int(n != 0)
        if type_ in REALS:
            return type_, rounded(type_, n if own in REALS else Fraction(n))
        low, count = 0 if type_[0] == "u" else -1 << (int(type_[1:]) - 1), 1 << int(type_[1:])
        if not (wraps or (type_[0] == "u" and own not in REALS) or low <= int(n) < low + count):
            raise Unclear(f"{n} does not fit into {type_}")  # which C leaves undefined
        return type_, (int(n) - low) % count + low

    # expressions

    def value(self, node: ast.expr, at: dict[str, Any]) -> Any:
        match node:
            case ast.Constant(int(n)):
                return "i32" if self.file else "i64", n
            case ast.Constant(float(x)):
                return "f64", x
            case ast.Name(name):
                return at[name]
            case ast.Attribute(ast.Name("np"), "inf" | "nan" as name):
                return "f64", float(name)
            case ast.Attribute(inner, part):
                own = self.value(inner, at)
                return self.member(own, part) if "" in own else own[part]
            case ast.Subscript(ast.Name(name), index):
                place = self.value(index, at)[1]
                return at[name][place] if name in at else self.in_table(name, place)
            case ast.UnaryOp(ast.Not(), inner):
                return "bool", int(not self.value(inner, at)[1])
            case ast.UnaryOp(o, inner):
                type_, n = self.value(inner, at)
                return self.cast(type_, (type_, -n if isinstance(o, ast.USub) else ~n))
            case ast.BinOp(left, o, right):
                return self.binary(SYMBOLS[type(o)], self.value(left, at), self.value(right, at))
            case ast.BoolOp(o, parts):
                decides = isinstance(o, ast.Or)
                return "bool", int(decides == any(bool(self.value(p, at)[1]) == decides for p in parts))
            case ast.Compare(left, operators, others):
                values = [self.value(e, at) for e in (left, *others)]
                pairs = zip(operators, values, values[1:], strict=False)
                return "bool", int(all(self.binary(SYMBOLS[type(o)], a, b)[1] for o, a, b in pairs))
            case ast.IfExp(test, body, other):
                return self.value(body if self.value(test, at)[1] else other, at)
            case ast.Tuple(parts):
                return [self.value(p, at) for p in parts]
            case ast.Call(ast.Name("items"), arguments, keywords):
                named = {str(k.arg): self.value(k.value, at) for k in keywords}
                return named or [self.value(a, at) for a in arguments]
            case ast.Call(function, arguments):
                return self.call(ast.unparse(function), function, arguments, at)
        raise Unclear(f"{ast.unparse(node)} cannot be run")

    def binary(self, o: str, a: Number, b: Number) -> Number:
        type_ = max(a[0], "i32" if self.file else "i64", a[0] if ">>" in o or "<<" in o else b[0], key=RANKS.index)
        x, y = (v[1] if ">>" in o or "<<" in o else self.cast(type_, v, not self.file)[1] for v in (a, b))
        if o in ("<", ">", "<=", ">=", "==", "!="):
            return "bool", int(BINARY[o](x, y))
        if type_ in REALS:
            found = rounded(type_, divided(x, y) if o == "/" else BINARY[o](x, y))
            self.steps += [found] if o != "**" else []
            return type_, found
        if o in ("/", "%"):
            return self.cast(type_, (type_, x // y if o == "/" else x % y if x >= 0 else -(-x % y)))
        return self.cast(type_, (type_, BINARY[o](x, y)), not self.file)

    def in_table(self, name: str, place: int) -> Number:
        if self.file is None:
            return "i64", ast.literal_eval(self.module.tables[name].args[0])[place]
        type_, numbers = self.file.tables[name]
        return self.cast(type_, self.value(ast.parse(numbers[place], mode="eval").body, {}))

    def call(self, name: str, function: ast.expr, arguments: list[ast.expr], at: dict[str, Any]) -> Any:
        if isinstance(function, ast.Attribute) and function.attr == "view":
            type_, n = self.value(function.value, at)
            bits = bits_of(type_, n) if type_ in REALS else n
            return (
                self.cast(f"i{self.real[1:]}", ("i64", bits), True)
                if type_ in REALS
                else (self.real, of_bits(self.real, n))
            )
        if name in REALS and isinstance(arguments[0], ast.Constant):
            digits = str(arguments[0].value)
            return name, rounded(name, float.fromhex(digits) if digits.startswith("0x") else Fraction(digits))
        values, bare = [self.value(a, at) for a in arguments], name.removeprefix("np.")
        if name in RANKS or name == "real":
            return self.cast(self.real if name == "real" else name, values[0])
        if self.file:
            return self.run(name, values)
        if re.fullmatch(r"u?int(32|64)", bare):
            return "i64", self.cast(bare.replace("uint", "u").replace("int", "i"), values[0], True)[1]
        if bare in ("min", "max"):
            return values[1] if self.binary("<" if bare == "min" else ">", values[1], values[0])[1] else values[0]
        if bare in ("abs", "isnan", "floor", "copysign", "sqrt"):
            type_, numbers = values[0][0], [v[1] for v in values]
            return ("bool", int(numbers[0] != numbers[0])) if bare == "isnan" else (type_, LIBRARY[bare](*numbers))
        return self.run(name, values)

    def member(self, own: dict[str, Any], part: str) -> Number:
        type_, bits = own[part], own[""]
        return (type_, of_bits(type_, bits)) if type_ in REALS else self.cast(type_, ("u64", bits), True)

    def set_member(self, own: dict[str, Any], part: str, v: Number) -> None:
        type_, n = self.cast(own[part], v)
        own[""] = bits_of(type_, n) if type_ in REALS else n % (1 << int(type_[1:]))

    # statements

    def block(self, body: list[ast.stmt], at: dict[str, Any]) -> None:
        for node in body:
            match node:
                case ast.AnnAssign(ast.Name(name), annotation, value):
                    at[name] = self.declared(annotation, self.value(value, at) if value else ("i32", 0))
                case ast.Assign([ast.Tuple(targets)], value):
                    at.update(zip(map(ast.unparse, targets), self.value(value, at), strict=True))
                case ast.Assign([target], value):
                    self.assign(target, self.value(value, at), at)
                case ast.AugAssign(target, o, value):
                    self.assign(
                        target, self.binary(SYMBOLS[type(o)], self.value(target, at), self.value(value, at)), at
                    )
                case ast.If(test, inner, other):
                    self.block(inner if self.value(test, at)[1] else other, at)
                case ast.While(test, inner):
                    while self.value(test, at)[1]:
                        self.block(inner, at)
                case ast.Return(ast.Call(ast.Name(name))) if name.startswith("__builtin_") and node is not body[-1]:
                    pass  # an instruction of some machines, in place of which others run what follows
                case ast.Return(ast.expr() as value):
                    raise Returned(self.value(value, at))
                case ast.Expr(ast.Constant()):
                    pass  # a docstring
                case _:
                    raise Unclear(f"{ast.unparse(node)} cannot be run")

    def declared(self, annotation: ast.expr, v: Any) -> Any:
        """A local of C: a union begins with its first member; a struct has what a function or a list gives."""
        match annotation:
            case ast.Call(_, _, keywords):
                own: dict[str, Any] = {"": 0} | {str(k.arg): ast.unparse(k.value) for k in keywords}
                for member, value in v.items() if isinstance(v, dict) else ():
                    self.set_member(own, member, value)
                return own
            case ast.Subscript(ast.Name(type_)):
                return [self.cast(type_, item) for item in v]
            case ast.Name(kind) if isinstance(v, list) and self.file:
                fields = self.file.structs[kind].items()
                return {name: self.cast(type_, item) for (name, type_), item in zip(fields, v, strict=True)}
        return v if isinstance(v, dict) else self.cast(ast.unparse(annotation), v)

    def assign(self, target: ast.expr, v: Any, at: dict[str, Any]) -> None:
        match target:
            case ast.Name(name):
                at[name] = self.cast(at[name][0], v) if self.file else v
            case ast.Attribute(ast.Name(name), part):
                self.set_member(at[name], part, v)


def power(u: float, v: float) -> float:
    """u^v, where Python refuses it too."""
    try:
        return math.pow(u, v)
    except ValueError:  # of a negative number, or of 0
        return math.nan if u else math.copysign(math.inf, u) if v % 2 == 1 else math.inf
    except OverflowError:
        return -math.inf if u < 0 and v % 2 == 1 else math.inf


# Functions by Python's library, where the module has no text of them, or calls NumPy's.
LIBRARY: dict[str, Callable[..., float]] = {"atan2": math.atan2, "power": power, "integer_power": power}
LIBRARY |= {"abs": abs, "copysign": math.copysign, "loggamma": math.lgamma, "difference": operator.sub}
LIBRARY |= {
    "infinity": lambda: math.inf,
    "nan": lambda: math.nan,
    "sqrt": lambda u: u if u != u or u == math.inf else math.sqrt(u) if u >= 0 else math.nan,
    "floor": lambda u: math.copysign(math.floor(u), u) if math.isfinite(u) else u,
    "ceil": lambda u: math.copysign(math.ceil(u), u) if math.isfinite(u) else u,
    "minimum": lambda u, v: math.nan if u != u or v != v else min(u, v),
    "maximum": lambda u, v: math.nan if u != u or v != v else max(u, v),
    "log": lambda u: math.log(u) if u else -math.inf,
    "square": lambda u: u * u,
    "cube": lambda u: u * u * u,
    "sign": lambda u: float((u > 0) - (u < 0)),
    "sigmoid": lambda u: 1 / (1 + math.exp(-u)) if u > 0 else math.exp(u) / (1 + math.exp(u)),
    "softplus": lambda u: max(u, 0.0) + math.log1p(math.exp(-abs(u))),
    "logaddexp": lambda u, v: max(u, v) + math.log1p(math.exp(-abs(u - v))),
    "xlogy": lambda u, v: u * math.log(v) if u else 0.0,
}


def points(type_: str, count: int) -> Iterator[list[float]]:
    """Numbers of all sizes, and those at which functions change their ways."""
    state, found = 1, [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, math.inf, -math.inf, math.nan, 1e-40, 1e-308, 1e30, -1e30, 88.0]
    while len(found) < 211 + 40 * count:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        found.append(((state >> 39) / (1 << 24) - 1) * 8.0 ** ((state >> 32) % 9 - 5))
    for k in range(len(found)):
        yield [rounded(type_, found[(k * (3 * n + 1) + n) % len(found)]) for n in range(count)]


def check_elementary(module: Module, file: CFile, type_: str, name: str) -> str:
    """A function of C gives the bits of the module's; where it has none, Python's library's to what it states."""
    c_name, in_module, count = f"{type_}_{name}", type_ == module.real and module.marks.get(name) == "elementary", 0
    python, c, parameters = Running(module, None), Running(module, file), file.function(c_name).parameters
    stated = re.search(rf"at most ([\d.]+) ulp[^*]*\*/\s*static inline \w+ {c_name}\(", file.text)
    bound = float(stated[1]) + 1 if stated and not in_module else 0.0
    for point in points(type_, len(parameters)):
        own = [
            (type_, x) if p.type in REALS else ("i64", count % 11 - 5) for p, x in zip(parameters, point, strict=True)
        ]
        own = [Running(module, file).run(f"{type_}_ordinal", [(type_, point[0])])] if name == "of_ordinal" else own
        numbers, found = [x for _, x in own], c.run(c_name, own)[1]
        try:
            wanted = python.run(name, own)[1] if in_module else (LIBRARY.get(name) or getattr(math, name))(*numbers)
        except (ValueError, OverflowError, ZeroDivisionError):
            continue  # Python's library refuses it
        unit = math.ulp(wanted) if type_ == "f64" else max(abs(wanted) * 2.0**-23, 2.0**-149)
        same = found == rounded(type_, wanted) and (
            not in_module or math.copysign(1, found) == math.copysign(1, wanted)
        )
        if not (same or (found != found and wanted != wanted) or abs(found - wanted) <= bound * unit):
            raise Unclear(f"{c_name} of {', '.join(map(str, numbers))} is {found!r}, and not {wanted!r}")
        if in_module and repr(c.steps) != repr(python.steps):
            raise Unclear(f"{c_name} of {', '.join(map(str, numbers))} has other steps")
        c.steps, python.steps, count = [], [], count + 1
    return f"{'the bits of the module' if in_module else f'Python, to {max(bound - 1, 0)} ulp,'} at {count} points"


# ---- all of it -----------------------------------------------------------------------------------

PUBLIC = {"loss_kernel": "loss", "gradient_kernel": "loss_and_gradient", "prediction_kernel": "predict"}
PUBLIC |= {"epoch": "train_epoch", "gradient_by_batches": "mean_gradient", "descent": "descend"}
PUBLIC |= {"observation": "activations"}
CHECKED = ("epoch", "gradient_by_batches")  # which check rows and labels in Python, too
MACROS = {
    "#define PRAGMA(words) _Pragma(#words)",
    "#define SIMD PRAGMA(omp simd)",
    "#define SIMD",
    "#define SIMD_SUMS(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))",
    "#define SIMD_SUMS(...)",
    "#define DERIVGEN_INLINED __attribute__((always_inline))",
    "#define DERIVGEN_INLINED",
}
EACH = "for i in range(0, count, 1):\n    out[i] = {}"
SMALL = {"fill": EACH.format("value"), "copy": EACH.format("from_[i]"), "least": "return v if v < u else u"}
SMALL |= dict.fromkeys(("greatest", "ordinal_max"), "return v if v > u else u")
# What C has not: its callers add up blocks of rows.
OF_PYTHON = ("objectives_of_leaves", "gradients_of_leaves", "epoch_by_leaves")
NOT_CHECKED = (
    "not checked: initial values; that callers pass arrays as large as the comments say; overflow of sizes; compilers; "
    "and what is no translation of the module's text, here by a digest of its words: "
)


class Comparison:
    """The functions of a module and of a file of C."""

    def __init__(self, python: str, c: str, header: str) -> None:
        names = re.findall(r"^int (\w+)_initial\(int64_t seed, \w+ \*parameters\);$", header, re.MULTILINE)
        if len(names) != 1:
            raise Unclear("the header has no function that draws initial parameters")
        self.module, self.file, self.name = Module(as_in_c(python)), CFile(c, header), names[0]
        self.formals, self.seen = dict[str, Formals](), set[str]()  # functions of C that were compared or run

    def formals_of(self, name: str) -> Formals:
        if name not in self.formals:
            is_public = name in PUBLIC or (self.module.marks[name] == "compiled" and name != "update_kernel")
            in_c = f"{self.name}_{PUBLIC.get(name, name.removesuffix('_kernel'))}" if is_public else name
            self.formals[name] = Formals(self.module, self.file, name, in_c)
        return self.formals[name]

    def all(self) -> Iterator[str]:
        """A line for each comparison; those that differ have the word DIFFERENT."""
        yield from self.attempt("tables", self.tables)
        for name, mark in self.module.marks.items():
            if mark in (*KERNELS, "pasted", "internal", "compiled") and name not in OF_PYTHON:
                yield from self.attempt(name, self.function, name)
            elif mark == "layout" and name != "split":
                yield from self.attempt(name, self.layout, name)
            elif name.endswith("_memory"):
                yield from self.attempt(name, self.memory, name.removesuffix("_memory"))
        yield from self.attempt(f"{self.name}_update", self.function, "update_kernel", f"{self.name}_update")
        words = {w for n, own in self.file.items.items() if n.partition("_")[0] not in REALS for _, w, _ in own}
        words |= {n for n in self.file.items if n[4:] in LIBRARY}  # which others may call at few points
        for word in sorted(w for w in words if w in self.file.items and w.partition("_")[0] in REALS):
            if (bare := word[4:]) not in SMALL:
                self.seen.add(word)
                yield from self.attempt(word, check_elementary, self.module, self.file, word[:3], bare)
        for name in self.file.items:
            if text := SMALL.get(name) or SMALL.get(name.removeprefix("f32_").removeprefix("f64_")):
                yield from self.attempt(name, self.small, name, text)
        left = {n: own for n, own in self.file.items.items() if n not in self.seen and n.partition("_")[0] not in REALS}
        digests = {
            n: hashlib.sha256(" ".join(w for _, w, _ in own).encode()).hexdigest()[:8] for n, own in left.items()
        }
        yield NOT_CHECKED + ", ".join(f"{name} {digest}" for name, digest in digests.items())

    def attempt(self, words: str, check: Callable[..., str], *arguments: Any) -> Iterator[str]:
        try:
            yield f"{words}: {check(*arguments)}"
        except Exception as problem:  # a text that nobody trusts may fail in any way
            kind = "" if isinstance(problem, Unclear) else f"{type(problem).__name__}: "
            yield f"{words}: DIFFERENT: {kind}{problem}"

    def lines(self, name: str, in_c: str = "") -> tuple[InPython, InC]:
        """A function of both texts; `in_c`: where C has one for callers besides."""
        formals = Formals(self.module, self.file, name, in_c) if in_c else self.formals_of(name)
        self.seen.add(formals.c.name)
        if unknown := {w for _, w, _ in self.file.items[formals.c.name]} & self.file.macros - {*MARKS}:
            raise Unclear(f"macros in {formals.c.name}: {', '.join(sorted(unknown))}")
        before = self.checks(formals) if formals.c.name != name else ""
        before += f"{name}({', '.join(formals.bound)})\n" if in_c else ""
        return InPython(formals, self.formals_of, before, bool(in_c)), InC(
            formals.c, formals.names, self.module, self.file
        )

    def function(self, name: str, in_c: str = "") -> str:
        python, c = self.lines(name, in_c)
        texts = ["", *self.module.text.splitlines()], ["", *self.file.text.splitlines()]
        for (k, own), (line, other) in zip(python.lines, c.lines, strict=False):
            if own != other:
                here = f"line {k}: {texts[0][k].strip()}" if k > 0 else "C checks for callers"
                there = f"line {line} of C: {texts[1][line].strip()}"
                raise Unclear(f"\n    {here}\n        {own}\n    {there}\n        {other}")
        if len(python.lines) != len(c.lines):
            more = max(python.lines, c.lines, key=len)[min(len(python.lines), len(c.lines))]
            raise Unclear(f"{len(python.lines)} lines, {len(c.lines)} of C; only one has {more[1]}, line {more[0]}")
        if wrong := {*c.vectors} & python.in_order:
            raise Unclear(
                f"line {c.lines[min(wrong)][0]} of C: iterations at once, where one may touch what another writes"
            )
        return f"same, {len(c.lines)} lines"

    def checks(self, formals: Formals) -> str:
        """What a function of C for callers refuses, in Python: bad sizes, settings, labels."""
        update = ast.unparse(self.module.functions["update"])
        signs = dict(re.findall(r"check_hyperparameter\('(\w+)', \w+, (least|above)=0\)", update))
        given = [(n, signs.get(n) or signs.get(n.rstrip("_"))) for n in formals.bound]
        refused = {
            "BAD_SIZE": [
                f"{s} < 1" for s in (*formals.sizes, "batch_size") if s in {*formals.in_c} - {"losses_length"}
            ],
            "BAD_SETTING": [f"not {n} {'>=' if sign == 'least' else '>'} 0.0" for n, sign in given if sign],
        }
        counts = {"state": "state.step[0]", "steps": "steps[0]", "first_step": "first_step"}
        for count in (own for n, own in counts.items() if n in formals.bound):
            refused["BAD_SETTING"] += [f"{count} < 0", f"{count} > {MOST_STEPS}"]
        text = "".join(
            f"if {' or '.join(tests)}:\n    return '{status}'\n" for status, tests in refused.items() if tests
        )
        rows = {
            n: n if n in self.module.labels else n.rstrip("_") for n in formals.bound if formals.name not in CHECKED
        }
        return text + "".join(self.label_check(n, row) for n, row in rows.items() if row in self.module.labels)

    def label_check(self, name: str, row: str) -> str:
        classes, ignore, rank = self.module.labels[row]
        loops = [f"{'    ' * k}for i{k} in range({name}.shape[{k}]):\n" for k in range(rank)]
        place = f"{name}[{', '.join(f'i{k}' for k in range(rank)) or 0}]"
        test = f"{place} < 0 or {place} >= {classes}"
        test = test if ignore is None else f"({test}) and {place} != {ignore}"
        return "".join(loops) + f"{'    ' * rank}if {test}:\n{'    ' * (rank + 1)}return 'OUT_OF_RANGE'\n"

    def layout(self, name: str) -> str:
        """Where buffers lie, and of what type they are."""
        function, arguments = self.file.function(name), [a.arg for a in self.module.functions[name].args.args[1:]]
        self.seen.add(name)
        memory = self.module.memory(name.removesuffix("_buffers"))
        memory = {n: a._replace(base=f"memory.{n}") for n, a in memory.items()}
        views = self.module.layout(name, memory, [Poly.of(n) for n in arguments])
        names = dict(
            zip([p.name for p in function.parameters], [*(a.base for a in memory.values()), *arguments], strict=False)
        )
        reader = InC(function._replace(body=[]), names, self.module, self.file)
        wanted = {n: f"{a.type} {a.pointer}" for n, a in views.items()}
        begun, *assigned, returned = (s for s in function.body if not ast.unparse(s).startswith("void("))
        found = dict[str, str]()
        for node in assigned:
            match node:
                case ast.Assign([ast.Attribute(ast.Name("work"), part)], value) if part not in found:
                    own = ast.unparse(value).removeprefix("work.")
                    place = found[own].partition(" ")[2] if own in found else reader.array(value).pointer
                    found[part] = f"{self.file.structs[name][part]} {place}"
        if (ast.unparse(begun), ast.unparse(returned), len(assigned)) != (f"work: {name}", "return work", len(found)):
            raise Unclear("C's function does more than lay buffers out")
        if found != wanted:
            wrong = [
                f"{n} at {found.get(n)}, {wanted.get(n)}" for n in {*found, *wanted} if found.get(n) != wanted.get(n)
            ]
            raise Unclear(f"C has {'; '.join(sorted(wrong))} in Python")
        return f"same, {len(found)} buffers"

    def tables(self) -> str:
        """Offsets of parameters, constants, the factors of products, macros."""
        offsets = {f"{self.name.upper()}_AT_{n}": a.start.number for n, a in self.module.parameters.items()}
        offsets[f"{self.name.upper()}_PARAMETERS"] = self.module.count.number
        if wrong := [f"{n} is not {k}" for n, k in offsets.items() if self.file.enumerators.get(n) != k]:
            raise Unclear(", ".join(wrong))
        names = {n: n.removeprefix("constant_") for n in self.file.tables if n.startswith("constant_")}
        tables = {n: constant_table(self.module, own) for n, own in names.items()}
        tables |= {"ASSIGN": (Array("", self.module.real), [1.0, 0.0])} if "ASSIGN" in self.file.tables else {}
        for name, (own, numbers) in tables.items():
            type_, written = self.file.tables[name]
            found = [Running(self.module, self.file).in_table(name, k)[1] for k in range(len(written))]
            near = {"i64": 0.0, "f32": 2.0**-23, "f64": 2.0**-52}[type_]  # as machines round a formula
            wrong = [f"{a!r} for {b!r}" for a, b in zip(found, numbers, strict=False) if abs(a - b) > near * abs(b)]
            if wrong or (type_, len(found)) != (own.type, len(numbers)):
                raise Unclear(f"{name} has other numbers: {', '.join(wrong[:2])}")
        lines = re.findall(r"^ *#define +(?:PRAGMA|SIMD|SIMD_SUMS|DERIVGEN_INLINED)\b.*$", self.file.text, re.MULTILINE)
        if wrong := [line for line in lines if line.strip() not in MACROS]:
            raise Unclear(f"other macros: {', '.join(wrong)}")
        return f"same, {len(offsets)} offsets, {len(tables)} tables"

    def memory(self, function: str) -> str:
        """How much memory buffers take."""
        own, prefix = self.module.memory(function), self.name if function == "new" else f"{self.name}_{function}"
        for kind, array in own.items():
            in_c = self.file.function(f"{prefix}_workspace_{'size' if kind == 'reals' else 'integers'}")
            self.seen.add(in_c.name)
            if [text for _, text in InC(in_c, {}, self.module, self.file).lines] != [f"return {array.extents[0]}"]:
                raise Unclear(f"{in_c.name} of C: {ast.unparse(in_c.body[-1])}, and in Python {array.extents[0]}")
        return f"same, {', '.join(str(a.extents[0]) for a in own.values())}"

    def small(self, name: str, text: str) -> str:
        """A function of a line that is not the module's."""
        self.seen.add(name)
        found = "\n".join(map(ast.unparse, self.file.function(name).body))
        if found != text:
            raise Unclear(f"{found} where {text} was expected")
        return "same"


def edited(text: str, end: str) -> Iterator[str]:
    """Whether the text after a header is another one than the header was made for, by its digest."""
    header, body = text[: text.find(end)], text[text.find(end) + len(end) :]
    stated = re.search(r", body sha256 ([0-9a-f]{16})$", header)
    if stated is None or hashlib.sha256(body.encode()).hexdigest()[:16] != stated[1]:
        yield f"DIFFERENT: edited since it was generated, by the digest in its header: {text[:60].splitlines()[0]}"


def as_in_c(python: str) -> str:
    """The module's text where sizes and tensors whose names C or C++ can't have are called as in C: `double_`."""
    module = Module(python)
    declared = {*module.sizes, *module.inputs, *re.findall(r"\b(\w+)=\(", module.text)}  # and those of buffers
    declared |= {name for names in module.kinds.values() for name in names}
    changed = declared & RESERVED
    return re.sub(rf"\b((?:{'|'.join(changed)})_*)\b(?!\()", r"\1_", python) if changed else python


def findings(python: str, c: str, header: str) -> Iterator[str]:
    """What is found, a line each; those that differ have the word DIFFERENT."""
    for text, end in ((python, '\n"""\n'), (c, "\n */\n"), (header, "\n */\n")):
        yield from edited(text, end)
    try:
        yield from Comparison(python, c, header).all()
    except (Unclear, SyntaxError, KeyError, ValueError) as problem:
        yield f"DIFFERENT: {type(problem).__name__}: {problem}"


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    module, file, *names = arguments
    try:
        texts = [Path(p).read_text(encoding="utf-8") for p in (module, file, Path(file).with_suffix(".h"))]
    except (OSError, ValueError) as problem:
        print(f"cannot read: {problem}")
        return 2
    for name in names:
        for reader in Comparison(*texts).lines(name):
            print(*(f"{line:5} {text}" for line, text in reader.lines), "", sep="\n")
    found = [] if names else list(findings(*texts))
    print(*found, sep="\n")
    return int(any("DIFFERENT" in line for line in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
