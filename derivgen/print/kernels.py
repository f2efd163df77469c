"""Code → numba functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.code.operations import Operations
from derivgen.code.proof import Proof
from derivgen.code.tree import (
    Assign,
    Block,
    Code,
    Fill,
    For,
    Function,
    If,
    Kind,
    Let,
    Matrix,
    Product,
    Scale,
    statements_in,
)
from derivgen.form.expressions import size_symbol, substitute
from derivgen.print.elementary import CALLED, MAXIMUM
from derivgen.print.layout import Bracket, Part, assignment, bracketed, flat, indented, line
from derivgen.print.scalar import Double, Scalar
from derivgen.print.text import docstring

GEMM = "gemm"
ASSIGN, ADD, ALPHA_BETA = "ASSIGN", "ADD", "alpha_beta"
FACTORS = {Scale.ASSIGN: ASSIGN, Scale.ADD: ADD, Scale.FACTORS: ALPHA_BETA}

# What the text of a kernel refers to besides its own names; `check_names` holds each kernel to it.
REFERRED_TO = {*CALLED, "np", "real", "prange", "min", GEMM, ASSIGN, ADD}
RESERVED = {*REFERRED_TO, ALPHA_BETA}  # the names that no tensor, size or index has in a kernel


@dataclass(frozen=True, slots=True)
class KernelText:
    """A kernel's function: its name, its arguments by tensor (then factors, if any, and run-time sizes), its lines.

    `used`: the functions of the module that it calls.
    """

    name: str
    arguments: tuple[str, ...]
    scaled: bool
    sizes: tuple[str, ...]
    lines: tuple[str, ...]
    used: frozenset[str]
    parallel: bool


def write_function(function: Function, arguments: Sequence[str]) -> KernelText:
    """The text of one kernel; `arguments`: the tensors that it is given, by the names that callers know."""
    return Printer(function).write(tuple(arguments))


def integer_text(e: sp.Expr, name: Callable[[str], str] = str) -> str:
    """An integer expression of run-time sizes; `name` says how each of these is written."""
    named = substitute(e, {s: size_symbol(name(s.name)) for s in e.free_symbols})
    return flat(Scalar().part(Operations({}, lambda _: False).integer(named)))


class Printer:
    """The state of writing one function."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.operations = Operations(function.order, Proof(function).is_integer)
        self.scalar, self.double = Scalar(), Double()
        self.integers = {c.name for c in statements_in(function.body) if isinstance(c, Let) and c.integer}
        self.integers |= {name for name, t in function.arrays.items() if t.integer}

    def write(self, arguments: tuple[str, ...]) -> KernelText:
        f, codes = self.function, list(statements_in(self.function.body))
        scaled = any(isinstance(c, Product) and c.scale is Scale.FACTORS for c in codes)
        parallel = any(isinstance(c, For) and c.parallel for c in codes)
        read = [f"{size} = {place[0]}.shape[{place[1]}]" for size, place in f.sizes if place is not None]
        unknown = [size for size, place in f.sizes if place is None]
        body = self.block(f.body, 1)
        given = [*f.arrays, *([ALPHA_BETA] if scaled else []), *unknown]
        signature = bracketed(f"def {f.name}(", given, "):")
        lines = [*docstring(f.formulas), *read]
        head = ["@parallel_kernel" if parallel else "@kernel", *signature, *indented(lines), *indented(body)]
        used = frozenset(self.scalar.used)
        sizes = tuple(f.named.get(size, size) for size in unknown)
        return KernelText(f.name, arguments, scaled, sizes, tuple(head), used, parallel)

    # ---- statements

    def block(self, block: Block, depth: int) -> list[str]:
        return [text for code in block for text in self.statement(code, depth)]

    def statement(self, code: Code, depth: int) -> list[str]:
        match code:
            case Let():
                return line(f"{code.name} = ", self.by_kind(code), "", depth)
            case Assign():
                return self.assign(code, depth)
            case For():
                return [f"for {code.index} in {self.range(code)}:", *indented(self.block(code.body, depth + 1))]
            case If():
                return self.branches(code, depth)
            case Product():
                return self.product(code, depth)
            case Fill():
                return [f"{code.array}[:] = {flat(self.value(code.value))}"]

    def assign(self, code: Assign, depth: int) -> list[str]:
        integer = code.place.tensor in self.integers
        target = self.scalar.part(self.operations.place(code.place))
        if code.operator == "max=":
            function = "max" if integer else self.scalar.named(MAXIMUM, ()).word
            return assignment(target, "=", Bracket(function, (target, self.value(code.value, integer))), depth)
        minus = code.operator == "+=" and all(e.could_extract_minus_sign() for e in sp.Add.make_args(code.value))
        operator, value = ("-=", -code.value) if minus else (code.operator, code.value)
        written = self.double.part(self.operations.real(value)) if code.double else self.value(value, integer)
        return assignment(target, operator, written, depth)

    def by_kind(self, code: Let) -> Part:
        """The value of a local."""
        if code.kind is Kind.DOUBLE or code.kind is Kind.ROUNDED:
            value = self.double.part(self.operations.real(code.value))
            return value if code.kind is Kind.DOUBLE else Bracket("real", (value,))
        return self.value(code.value, code.integer)

    def range(self, loop: For) -> str:
        stop = f"{loop.shown[0]}.shape[{loop.shown[1]}]" if loop.shown else self.integer(loop.stop)
        if loop.backwards:
            return f"range({self.integer(loop.stop - 1)}, -1, -1)"
        bounds = [stop] if loop.start == 0 and loop.step == 1 else [self.integer(loop.start), stop]
        bounds += [str(loop.step)] if loop.step != 1 else []
        return f"{'prange' if loop.parallel else 'range'}({', '.join(bounds)})"

    def branches(self, code: If, depth: int, word: str = "if ") -> list[str]:
        """if …, elif … where the other way is a branch alone, else."""
        lines = line(word, self.scalar.part(self.operations.condition(code.condition)), ":", depth)
        lines += indented(self.block(code.body, depth + 1))
        if len(code.otherwise) == 1 and isinstance(code.otherwise[0], If):
            return [*lines, *self.branches(code.otherwise[0], depth, "elif ")]
        return [*lines, "else:", *indented(self.block(code.otherwise, depth + 1))] if code.otherwise else lines

    def value(self, e: sp.Expr, integer: bool = False) -> Part:
        return self.scalar.part(self.operations.integer(e) if integer else self.operations.real(e))

    def integer(self, e: sp.Expr) -> str:
        return flat(self.value(e, integer=True))

    # ---- products of matrices

    def product(self, p: Product, depth: int) -> list[str]:
        """A product with a vector that assigns is NumPy's; the others are BLAS's, with vectors as matrices."""
        left, right, out = map(self.matrix, (p.left, p.right, p.out))
        vector = not p.out.columns
        if vector and p.scale is Scale.ASSIGN:
            return bracketed("np.dot(", [left, right, out], ")", depth)
        if vector:
            row = not p.left.columns
            left, out = (f"{m}.reshape(1, -1)" if row else m for m in (left, out))
            right, out = (f"{m}.reshape(-1, 1)" if not row else m for m in (right, out))
        self.scalar.used.add(GEMM)
        return bracketed(f"{GEMM}(", [left, right, FACTORS[p.scale], out], ")", depth)

    def matrix(self, m: Matrix) -> str:
        """A view of an array as a matrix, or as a vector."""
        axes = list(m.point)
        while axes and axes[-1] is None:
            axes.pop()
        text = m.array
        if axes:
            text += f"[{', '.join(':' if i is None else self.integer(i) for i in axes)}]"
        if m.is_reshaped:
            text += f".reshape({', '.join(map(self.integer, m.sides))})"
        return f"{text}.T" if m.transposed else text
