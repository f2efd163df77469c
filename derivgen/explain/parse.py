"""Text → expression, by a whitelist on Python's syntax tree. No text is ever evaluated.

Input: a bare expression such as `sqrt(1 + exp(x)**2)`. Output: the same formula as a SymPy tree, built without
SymPy's rewriting so that it stays as it was typed; its variables are reads of tensors without axes. Everything off
the whitelist, and everything whose size could grow beyond its text, is refused with a caret at its column.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.form import functions
from derivgen.form.expressions import Read, reads_of, subexpressions
from derivgen.form.functions import WRITABLE
from derivgen.form.program import Program, Role, Statement, Tensor
from derivgen.oracle import interpreter

LONGEST, DEEPEST = 500, 20  # characters; levels of nesting
MOST_ARGUMENTS = 6  # of max and min
LARGEST_EXPONENT = 1000  # of nested powers, their product
MOST_BITS = 4096  # of an exact numerator or denominator
LARGEST, SMALLEST = 1e100, 1e-100  # magnitudes of constants
LARGEST_ROUNDED = 2**53  # magnitude of a constant that is rounded: a double has no digits after the point beyond it
WINDOW = 72  # characters of the text that a message shows

# What SymPy raises where it compares or rounds constants such as sigmoid(1), or multiplies them to a NaN.
SYMPY_FAILURES = (ArithmeticError, AssertionError, AttributeError, RuntimeError, TypeError, ValueError)

CONSTANTS = {"pi": sp.pi, "e": sp.E}

ARCS: dict[str, type] = {
    "sin": sp.asin,
    "cos": sp.acos,
    "tan": sp.atan,
    "tan2": sp.atan2,
    "sinh": sp.asinh,
    "cosh": sp.acosh,
    "tanh": sp.atanh,
}
ALIASES: dict[str, type] = {
    "abs": sp.Abs,
    "max": sp.Max,
    "min": sp.Min,
    "mod": sp.Mod,
    "ceil": sp.ceiling,
    "ln": sp.log,
    **{f"arc{name}": function for name, function in ARCS.items()},
}

FUNCTIONS: dict[str, type] = {**WRITABLE, **ALIASES}

FORMS: dict[str, Callable[[sp.Expr], sp.Expr]] = {
    "sqrt": lambda u: sp.Pow(u, sp.Rational(1, 2), evaluate=False),
    "relu": lambda u: sp.Max(u, 0, evaluate=False),
}

ROUNDING = (sp.floor, sp.ceiling, sp.Mod)


def parse_expression(text: str) -> sp.Expr:
    """The expression as typed, its variables as reads without subscripts.

    Raises DerivgenError, with the text and a caret, where it is not accepted.
    """
    return Reader(text.strip().replace("\t", " ")).expression()


class Reader:
    """One reading of a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def expression(self) -> sp.Expr:
        text = self.text
        if not text:
            self.refuse("the text is empty: give an expression such as sqrt(1 + exp(x)**2)", 0)
        if len(text) > LONGEST:
            self.refuse(f"the text has {len(text)} characters, at most {LONGEST} are read", LONGEST)
        odd = next((i for i, c in enumerate(text) if c == "#" or not c.isprintable()), None)
        if odd is not None:
            self.refuse(f"character U+{ord(text[odd]):04X} has no meaning: write the expression in one line", odd)
        try:
            return self.read(ast.parse(text, mode="eval").body, 1)
        except SyntaxError as error:
            self.refuse(f"the text is no expression: {error.msg}", error.offset - 1 if error.offset else len(text))
        except (MemoryError, RecursionError):
            self.refuse("the text is no expression that can be read: it is nested too deeply", 0)
        except SYMPY_FAILURES as error:
            self.refuse(f"SymPy fails on the text ({type(error).__name__}): write its constants as plain numbers", 0)

    # ---- the whitelist

    def read(self, node: ast.expr, depth: int) -> sp.Expr:
        if depth > DEEPEST:
            self.refuse(f"more than {DEEPEST} levels of nesting", node)
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                made = sp.Integer(value)
            case ast.Constant(value=float() as value):
                digits = self.source(node).lower().partition("e")[0]
                if value in (float("inf"), 0.0) and any(c in "123456789" for c in digits):
                    self.refuse_magnitude(node)
                made = sp.Float(value)
            case ast.Name(id=name):
                if name in FUNCTIONS or name in FORMS:
                    self.refuse(f"{name} is a function: give it an argument, {name}(x)", node)
                made = CONSTANTS.get(name) or Read(name)
            case ast.UnaryOp(op=ast.USub()):
                made = times([sp.Integer(-1), self.read(node.operand, depth + 1)])
            case ast.UnaryOp(op=ast.UAdd()):
                made = self.read(node.operand, depth + 1)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                made = plus(self.operands(node, (ast.Add, ast.Sub), depth))
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                made = times(self.operands(node, (ast.Mult, ast.Div), depth))
            case ast.BinOp(op=ast.Pow()):
                made = self.power(node, self.read(node.left, depth + 1), self.read(node.right, depth + 1))
            case ast.Call():
                made = self.call(node, depth)
            case _:
                self.refuse(f"{self.source(node)} is not allowed here", node)
        if not reads_of(made):
            value = constant_value(made)
            if not (value == 0 or SMALLEST < abs(value) < LARGEST):  # also where it is NaN
                self.refuse_magnitude(node)
            if made.is_Rational and max(made.p.bit_length(), made.q.bit_length()) > MOST_BITS:
                self.refuse(f"{self.source(node)} has too many digits", node)
        return made

    def operands(self, node: ast.expr, operators: tuple[type, type], depth: int) -> list[sp.Expr]:
        """The terms of a sum or the factors of a product, a chain of any length being one level."""
        found: list[sp.Expr] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, operators):
            right = self.read(node.right, depth + 1)
            if isinstance(node.op, ast.Sub):
                right = times([sp.Integer(-1), right])
            if isinstance(node.op, ast.Div):
                if is_zero(right):
                    self.refuse("division by 0", node.right)
                right = 1 / right if right.is_Rational else sp.Pow(right, -1, evaluate=False)
            found.append(right)
            node = node.left
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and ast.Mult in operators:  # -a·b is -(a·b)
            return [sp.Integer(-1), self.read(node.operand, depth + 1), *reversed(found)]
        return [self.read(node, depth + 1), *reversed(found)]

    def power(self, node: ast.BinOp, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        if exponent.is_Float and float(exponent).is_integer():
            exponent = sp.Integer(float(exponent))
        self.check_exponent(base, exponent, node.right)
        if base == sp.E:
            return sp.exp(exponent, evaluate=False)
        if is_zero(base) and not reads_of(exponent) and constant_value(exponent) <= 0:
            self.refuse("a power of 0 whose exponent is not positive", node)
        if base.is_Rational and exponent.is_Integer:
            if max(base.p.bit_length(), base.q.bit_length()) * abs(exponent) > MOST_BITS:
                self.refuse(f"{self.source(node)} has too many digits", node)
            return base**exponent
        return sp.Pow(base, exponent, evaluate=False)

    def check_exponent(self, base: sp.Expr, exponent: sp.Expr, node: ast.expr) -> None:
        if exponent_size(base) * largest_constant(exponent) > LARGEST_EXPONENT:
            self.refuse(f"an exponent beyond {LARGEST_EXPONENT}, those of nested powers multiplied", node)

    def call(self, node: ast.Call, depth: int) -> sp.Expr:
        name = self.source(node.func)
        if not isinstance(node.func, ast.Name) or (name not in FUNCTIONS and name not in FORMS):
            self.refuse(f"{name} is no function that derivgen knows", node.func)
        odd = [*(k.value for k in node.keywords), *(a for a in node.args if isinstance(a, ast.Starred))]
        if odd:
            self.refuse(f"{name} takes its arguments one by one, without names and stars", odd[0])
        arity = arities(name)
        if len(node.args) not in arity:
            expected = f"{arity[0]}" if len(arity) == 1 else f"{arity[0]} to {arity[-1]}"
            arguments = "argument" if expected == "1" else "arguments"
            self.refuse(f"{name} takes {expected} {arguments}, found {len(node.args)}", node)
        read = [self.read(a, depth + 1) for a in node.args]
        if name == "exp":
            self.check_exponent(sp.E, read[0], node.args[0])
        if name.lower() == "mod" and is_zero(read[1]):
            self.refuse(f"{name} by 0", node.args[1])
        if FUNCTIONS.get(name) in ROUNDING and any(largest_constant(e) > LARGEST_ROUNDED for e in read):
            self.refuse(f"{name} of a constant beyond 2^53", node)
        return FORMS[name](*read) if name in FORMS else FUNCTIONS[name](*read, evaluate=False)

    # ---- messages

    def source(self, node: ast.expr) -> str:
        text = ast.get_source_segment(self.text, node) or "the number"
        return text if len(text) <= 30 else f"{text[:29]}…"

    def refuse_magnitude(self, node: ast.expr) -> NoReturn:
        self.refuse(f"{self.source(node)} is no real number between 1e-100 and 1e100 in magnitude", node)

    def refuse(self, why: str, at: ast.expr | int) -> NoReturn:
        """Raise with a caret below the first character of a node, or below a column."""
        # Python counts the bytes up to a node.
        column = at if isinstance(at, int) else len(self.text.encode()[: at.col_offset].decode())
        start = max(0, min(column - WINDOW // 2, len(self.text) - WINDOW))
        shown = "".join(c if c.isprintable() else "�" for c in self.text[start : start + WINDOW])
        pointer = " " * (min(column, len(self.text)) - start) + "^"
        raise DerivgenError(f"{why}\n    {shown}\n    {pointer}\n{allowed()}")


def arities(name: str) -> range:
    """How many arguments a function may have."""
    arity = 1 if name in FORMS else functions.FUNCTIONS[FUNCTIONS[name]].arity
    return range(2, MOST_ARGUMENTS + 1) if arity is None else range(arity, arity + 1)


def allowed() -> str:
    names = ", ".join(sorted({*FUNCTIONS, *FORMS}, key=lambda name: (name.lower(), name)))
    return f"allowed: numbers, variables, {', '.join(CONSTANTS)}, + - * / ** and parentheses, and the functions {names}"


# ---- building without rewriting: only arithmetic on numbers is done


def plus(terms: Iterable[sp.Expr]) -> sp.Expr:
    return combined(list(terms), sp.Add, operator.add)


def times(factors: Iterable[sp.Expr]) -> sp.Expr:
    return combined(list(factors), sp.Mul, operator.mul)


def combined(parts: list[sp.Expr], kind: type, operation: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> sp.Expr:
    if all(p.is_Rational for p in parts) or (kind is sp.Mul and len(parts) == 2 and all(p.is_Number for p in parts)):
        return functools.reduce(operation, parts)
    return kind(*parts, evaluate=False)


def exponent_size(e: sp.Expr) -> float:
    """The largest product of exponents along a chain of powers: what SymPy may multiply out."""
    if isinstance(e, Read):
        return 1.0
    inner = max((exponent_size(a) for a in e.args), default=1.0)
    if isinstance(e, sp.Pow | sp.exp):
        return max(1.0, largest_constant(e.args[-1])) * inner
    return inner


def largest_constant(e: sp.Expr) -> float:
    """The largest magnitude of the constant parts of an exponent; of fractions, also the denominator."""
    if not reads_of(e):
        denominators = [float(node.q) for node in subexpressions(e) if node.is_Rational]
        return max(abs(float(constant_value(e))), *denominators, 0.0)
    return max((largest_constant(a) for a in e.args if not isinstance(e, Read)), default=0.0)


def is_zero(e: sp.Expr) -> bool:
    return not reads_of(e) and bool(constant_value(e) == 0)


def constant_value(e: sp.Expr) -> Any:
    """A constant as the interpreter has it: nothing overflows there."""
    statement = Statement("constant", (), "=", e, ())
    program = Program("constant", (Tensor("constant", (), Role.LET),), (statement,), ())
    return interpreter.run(program, {}, digits=20)["constant"][()]
