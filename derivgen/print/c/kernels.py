"""Code → functions of C99."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.code import operations as op
from derivgen.code.independent import sums_of_independent
from derivgen.code.names import past
from derivgen.code.proof import Proof
from derivgen.code.routine import FACTORS, is_scaled, unknown_sizes
from derivgen.code.tree import (
    Assign,
    Block,
    Break,
    Code,
    Extent,
    Fill,
    For,
    Function,
    If,
    Kind,
    Let,
    Matrix,
    Note,
    Product,
    Scale,
    Scratch,
)
from derivgen.code.visit import indices_in, statements_in
from derivgen.form.functions import ordinal
from derivgen.form.program import Tensor
from derivgen.print.c.declared import Path, declared, makes
from derivgen.print.c.scalar import ONE, ZERO, Scalar, Variable, less, times
from derivgen.print.c.words import (
    FILL,
    GREATEST,
    INDEX,
    INTEGER,
    ORDINALS,
    PREFIX,
    PRODUCT,
    REAL,
    TAKEN,
    comment,
    greatest_ordinal,
)
from derivgen.print.layout import STEP, WIDTH, Bracket, Chain, Part, Signed, bracketed, flat, indented, line
from derivgen.print.text import wrapped

LENGTH = re.compile(r"\.shape\[(\d+)\]$")


def length_name(found: re.Match[str]) -> str:
    """`order_length`: how an axis of an array is called, where no size of the spec is its length."""
    return "_length" if found[1] == "0" else f"_length_{found[1]}"


FACTORS_OF = {Scale.ASSIGN: (1, 0), Scale.ADD: (1, 1), Scale.NEGATE: (-1, 0), Scale.SUBTRACT: (-1, 1)}
DTYPE = {name: dtype for dtype, name in REAL.items()}


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a function is given: its name in C, and in the code; its type; whether it is a pointer that is written."""

    name: str
    of: str
    type: str
    pointer: bool = False
    written: bool = False
    apart: bool = False

    @property
    def text(self) -> str:
        """`const double *restrict x`"""
        constant = "const " if self.pointer and not self.written else ""
        star = f" *{'restrict ' if self.apart else ''}" if self.pointer else " "
        return f"{constant}{self.type}{star}{self.name}"


@dataclass(frozen=True, slots=True)
class Text:
    """A function of C.

    `sizes`: the run-time sizes that it is given first; `used`: the functions that it calls, each with its dtype.
    """

    name: str
    head: tuple[str, ...]
    body: tuple[str, ...]
    sizes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    used: frozenset[tuple[str, str]]
    returns: str = "void"

    @property
    def lines(self) -> tuple[str, ...]:
        return without_last_commas([*self.head, "{", *indented(self.body), "}"])


def without_last_commas(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines without the comma that Python has after the last of several items, which C doesn't allow."""
    closed = (line.lstrip().startswith(")") for line in [*lines[1:], ""])
    return tuple(line.removesuffix(",") if ends else line for line, ends in zip(lines, closed, strict=True))


def write_kernel(kernel: Function, dtype: str) -> Text:
    """A kernel: the run-time sizes that its arrays show, its arrays, the factors of products, its other sizes."""
    printer = Printer(kernel, Proof(kernel), dtype)
    body = printer.block(kernel.body, 1)
    unknown = unknown_sizes(kernel)
    sizes = tuple(sorted(printer.sizes_named(kernel) - {*unknown}, key=printer.order_of_sizes(kernel).index))
    real = REAL[dtype]
    given = [
        Parameter(
            printer.name(name),
            name,
            INTEGER if t.integer else real,
            True,
            printer.name(name) in printer.written,
            printer.apart,
        )
        for name, t in kernel.arrays.items()
    ]
    given += [Parameter(FACTORS, FACTORS, real, True)] if is_scaled(kernel) else []
    given += [Parameter(printer.name(size), size, INDEX) for size in unknown]
    words = (*kernel.formulas, *shapes_of(kernel.arrays.items(), printer))
    return function_text(kernel.name, "static void", words, sizes, given, body, printer)


def shapes_of(arrays: Iterable[tuple[str, Tensor]], printer: Printer) -> tuple[str, ...]:
    """A line that says how large arrays are: `x: N × 64, y: N`."""
    found = []
    for name, t in arrays:
        extents = (flat(printer.scalar.integer(printer.extent(e))) for e in t.shape or (sp.S.One,))
        found.append(f"{printer.name(name)}: {' × '.join(extents)}")
    return (f"({', '.join(found)})",) if found else ()


def function_text(
    name: str,
    returns: str,
    meaning: tuple[str, ...],
    sizes: tuple[str, ...],
    given: list[Parameter],
    body: list[str],
    printer: Printer,
) -> Text:
    own = [Parameter(printer.name(size), size, INDEX) for size in sizes]
    parameters = [p.text for p in (*own, *given)] or ["void"]
    lines = [text for paragraph in meaning for text in wrapped(paragraph, WIDTH - 6)]
    head = (*comment(lines), *bracketed(f"{returns} {name}(", parameters, ")"))
    words = {word for text in body for word in re.findall(r"\w+", text)}
    unused = [p.name for p in (*own, *given) if p.name not in words]
    return Text(
        name,
        head,
        (*(f"(void){name};" for name in unused), *body),
        sizes,
        tuple(given),
        frozenset(printer.scalar.used),
        returns.removeprefix("static "),
    )


class Printer:
    """The state of writing one function."""

    def __init__(self, function: Function, proof: Proof, dtype: str) -> None:
        self.function, self.dtype, self.real = function, dtype, REAL[dtype]
        self.operations = op.Operations(function.order, proof.is_integer)
        self.declared = declared(function.body)
        self.names: dict[str, str] = {}
        self.types = local_types(function.body, dtype)
        self.given: frozenset[str] = frozenset()  # locals that are arguments
        self.apart = not is_scaled(function)  # plan/apart.py proves it, but for products that go to parameters
        self.variables: dict[str, Variable] = {}
        self.scalar = Scalar(dtype, self.look, self.name)
        self.written: set[str] = set()  # arrays that the text writes, by their names in C

    def name(self, name: str) -> str:
        """A name as C's text has it."""
        if name not in self.names:
            own = LENGTH.sub(length_name, name).replace(".", "_")
            own = f"{own}_" if own.startswith(self.prefixes) else own
            self.names[name] = past(own, TAKEN | {*self.names.values()})
        return self.names[name]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What names of others begin with."""
        return tuple(f"{prefix}_" for prefix in PREFIX.values())

    def look(self, name: str) -> Variable:
        if name not in self.variables:
            self.variables[name] = self.variable(name)
        return self.variables[name]

    def variable(self, name: str) -> Variable:
        """What a name stands for, the first time that it is met."""
        t = self.function.arrays.get(name)
        if t is not None:
            shape = tuple(map(self.extent, t.shape or (sp.S.One,)))
            return Variable(self.name(name), INTEGER if t.integer else self.real, shape)
        return Variable(self.name(name), self.types.get(name, self.real))

    def extent(self, e: sp.Expr) -> op.Operation:
        """How long an axis is; one whose length no size of the spec says has a name of its own."""
        if isinstance(e, Extent):
            own = self.function.arrays[e.array].shape[e.axis]
            return op.Name(e.name) if own == e else self.extent(own)
        return self.operations.integer(sp.sympify(e))

    def wrote(self, array: str) -> None:
        self.written.add(self.look(array).base)

    def sizes_named(self, kernel: Function) -> set[str]:
        """The run-time sizes that the text names."""
        indices = {str(i) for i in indices_in(kernel.body)}
        return self.scalar.names - indices

    def order_of_sizes(self, kernel: Function) -> list[str]:
        """All run-time sizes, in the order in which arrays have them."""
        shown = (s.name for t in kernel.arrays.values() for e in t.shape for s in sorted(e.free_symbols, key=str))
        return list(dict.fromkeys([*shown, *(size for size, _ in kernel.sizes)]))

    # ---- statements

    def block(self, block: Block, depth: int, path: Path = ()) -> list[str]:
        lines = []
        for number, code in enumerate(block):
            lines += self.declarations(code, (*path, number))
            lines += self.statement(code, depth, (*path, number))
        return lines

    def declarations(self, code: Code, path: Path) -> list[str]:
        """Lines that declare locals before a statement, except for what the statement itself declares."""
        own = makes(code)
        names = (n for n in self.declared.get(path, ()) if n != own and n not in self.given)
        return [f"{self.look(name).type} {self.name(name)};" for name in names]

    def statement(self, code: Code, depth: int, path: Path) -> list[str]:
        match code:
            case Let():
                return line(self.opening(code, code.name, path), self.by_kind(code), ";", depth)
            case Assign():
                return self.assign(code, depth, path)
            case For():
                return self.loop(code, depth, path)
            case If():
                return self.branches(code, depth, path)
            case Product():
                return self.product(code, depth)
            case Fill():
                return self.fill(code, depth)
            case Scratch():
                count = sp.Mul(*code.shape)
                shape = tuple(map(self.extent, code.shape))
                self.variables[code.name] = Variable(self.name(code.name), self.real, shape)
                return [f"{self.real} {self.name(code.name)}[{count}];"]
            case Note():
                return comment(wrapped(code.words, WIDTH - len(STEP) * depth - 6, ""))
            case Break():
                return ["break;"]
            case _:
                return self.calling(code, depth, path)

    def calling(self, code: Code, depth: int, path: Path) -> list[str]:
        raise AssertionError(f"{code} is no statement of a kernel")

    def opening(self, code: Code, name: str, path: Path) -> str:
        """`const double x = `, or `x = ` where x is declared before."""
        once = self.declared.get(path, {}).get(name)
        if once is None or makes(code) != name:
            return f"{self.name(name)} = "
        return f"{'const ' if once else ''}{self.look(name).type} {self.name(name)} = "

    def by_kind(self, code: Let) -> Part:
        """The value of a local."""
        if code.kind is Kind.INTEGER:
            return self.integer(code.value)
        wide = code.kind in (Kind.DOUBLE, Kind.ROUNDED)
        value = self.value(code.value, "float64" if wide else self.dtype)
        return self.cast(value) if code.kind is Kind.ROUNDED and self.dtype == "float32" else value

    def value(self, e: sp.Expr, dtype: str | None = None) -> Part:
        return self.scalar.in_dtype(dtype or self.dtype).part(self.operations.real(e))

    def cast(self, value: Part, type_: str = "float") -> Part:
        return Signed(f"({type_})", value if isinstance(value, str | Bracket) else Bracket("", (value,)))

    def integer(self, e: sp.Expr) -> Part:
        return self.scalar.integer(self.operations.integer(e))

    def assign(self, code: Assign, depth: int, path: Path) -> list[str]:
        """place = value, place += value; a local is declared where it is first assigned."""
        place, type_ = self.scalar.place(self.operations.place(code.place))
        target = flat(place) if code.place.subscripts else code.place.tensor
        opening = f"{target} {code.operator} "
        if code.place.subscripts:
            self.wrote(code.place.tensor)
        elif code.operator == "=":
            opening = self.opening(code, target, path)
        if type_ not in DTYPE:
            return self.assign_integer(code, place, type_, opening, depth)
        if code.operator == "max=":
            value = self.scalar.named(op.MAXIMUM, (place, self.value(code.value)))
            return line(f"{target} = ", value, ";", depth)
        return self.assign_real(code, place, type_, opening, depth)

    def assign_real(self, code: Assign, place: Part, type_: str, opening: str, depth: int) -> list[str]:
        """In double precision the value is added to, and rounded once."""
        minus = code.operator == "+=" and all(e.could_extract_minus_sign() for e in sp.Add.make_args(code.value))
        wide = code.double or type_ == "double"
        value = self.value(-code.value if minus else code.value, "float64" if wide else self.dtype)
        if wide and type_ == "float":
            if code.operator == "+=":
                opening = f"{flat(place)} = "
                value = Chain(Signed("(double)", place), (("-" if minus else "+", Bracket("", (value,))),))
            return line(opening, self.cast(value), ";", depth)
        return line(opening.replace("+=", "-=") if minus else opening, value, ";", depth)

    def assign_integer(self, code: Assign, place: Part, type_: str, opening: str, depth: int) -> list[str]:
        if code.operator == "max=":
            word = GREATEST if type_ == INDEX else greatest_ordinal(self.dtype)
            self.scalar.used.add((word, "") if type_ == INDEX else ("ordinal_max", self.dtype))
            return line(f"{flat(place)} = ", Bracket(word, (place, self.integer(code.value))), ";", depth)
        own = self.operations.integer(code.value)
        value = self.scalar.integer(own) if is_rank(code.value) else self.scalar.integer_as(own, type_)
        return line(opening, value, ";", depth)

    def loop(self, code: For, depth: int, path: Path) -> list[str]:
        i, stop = self.name(str(code.index)), self.integer(code.stop)
        if code.backwards:
            start = flat(self.integer(code.stop - 1))
            head = f"for ({INDEX} {i} = {start}; {i} >= {flat(self.integer(code.start))}; --{i}) {{"
        else:
            step = f"++{i}" if code.step == 1 else f"{i} += {flat(self.integer(sp.sympify(code.step)))}"
            head = f"for ({INDEX} {i} = {flat(self.integer(code.start))}; {i} < {flat(stop)}; {step}) {{"
        note = f" /* {code.note} */" if code.note else ""
        before = [self.marked("IN_THREADS")] if code.parallel else []
        before += self.in_vectors(code)
        return [*before, head + note, *indented(self.block(code.body, depth + 1, (*path, 0))), "}"]

    def in_vectors(self, code: For) -> list[str]:
        """What tells a compiler that vectors of iterations may run at once, and which locals these add to."""
        totals = sums_of_independent(code) if self.apart else None
        if totals is None or code.parallel:
            return []
        if totals:
            return [f"{self.marked('SIMD_SUMS')}({', '.join(map(self.name, totals))})"]
        return [self.marked("SIMD")]

    def marked(self, macro: str) -> str:
        self.scalar.used.add((macro, ""))
        return macro

    def branches(self, code: If, depth: int, path: Path, word: str = "if (") -> list[str]:
        condition = self.scalar.part(self.operations.condition(code.condition))
        lines = line(word, condition, ") {", depth)
        lines += indented(self.block(code.body, depth + 1, (*path, 0)))
        if not code.otherwise:
            return [*lines, "}"]
        return [*lines, "} else {", *indented(self.block(code.otherwise, depth + 1, (*path, 1))), "}"]

    def fill(self, code: Fill, depth: int) -> list[str]:
        """All elements from `start` to before `stop`, or to the end."""
        array = self.look(code.array)
        assert array.shape is not None
        self.wrote(code.array)
        dtype = DTYPE[array.type]
        self.scalar.used.add((FILL, dtype))
        if code.stop is not None:
            count = self.operations.integer(code.stop - code.start)
        else:
            count = less(product_of(array.shape), self.operations.integer(code.start))
        pointer = self.scalar.pointer(replace(array, shape=(ONE,)), [self.operations.integer(code.start)])
        items = (self.scalar.integer(count), self.value(code.value, dtype), pointer)
        return line("", Bracket(f"{PREFIX[dtype]}_{FILL}", items), ";", depth)

    # ---- products of matrices

    def product(self, p: Product, depth: int) -> list[str]:
        """gemm(rows, columns, inner, α, left, its steps, right, its steps, β, out, its steps)"""
        self.scalar.used.add((PRODUCT, self.dtype))
        row = (
            not p.out.columns and not p.left.columns
        )  # a vector is a column, and in a product with its left side a row
        left, right, out = self.side(p.left, row), self.side(p.right), self.side(p.out, row)
        alpha, beta = self.scales(p.scale)
        self.wrote(p.out.array)
        counts = [self.scalar.integer(count) for count in (*out.counts, left.counts[1])]
        items = [*counts, alpha, left.pointer, *left.steps, right.pointer, *right.steps, beta, out.pointer, *out.steps]
        return bracketed(f"{PRODUCT}(", items, ");", depth)

    def scales(self, scale: Scale) -> tuple[Part, Part]:
        if scale is Scale.FACTORS:
            factors = self.look(FACTORS)
            return f"{factors.base}[0]", f"{factors.base}[1]"
        alpha, beta = FACTORS_OF[scale]
        return self.scalar.literal(alpha), self.scalar.literal(beta)

    def side(self, m: Matrix, row: bool = False) -> Side:
        array = self.look(m.array)
        assert array.shape is not None
        rank = len(array.shape)
        point = [ZERO if i is None else self.operations.integer(i) for i in m.point] + [ZERO] * (rank - len(m.point))
        free = [axis for axis in range(rank) if axis >= len(m.point) or m.point[axis] is None]
        groups = free[: len(m.rows)], free[len(m.rows) :]
        steps = [product_of(array.shape[axes[-1] + 1 :]) if axes else ONE for axes in groups]
        counts = [product_of(map(self.extent, extents)) for extents in (m.rows, m.columns)]
        if row != m.transposed:
            steps, counts = steps[::-1], counts[::-1]
        return Side(self.scalar.pointer(array, point), tuple(counts), tuple(map(self.scalar.integer, steps)))


@dataclass(frozen=True, slots=True)
class Side:
    """A matrix of a product: its first element, how many rows and columns it has, and how far apart these lie."""

    pointer: Part
    counts: tuple[op.Operation, ...]
    steps: tuple[Part, ...]


def product_of(extents: Iterable[op.Operation]) -> op.Operation:
    found: op.Operation = ONE
    for extent in extents:
        found = times(found, extent)
    return found


def local_types(body: Block, dtype: str) -> dict[str, str]:
    """The types of locals; what holds the rank of a real has a type of its own."""
    types = {Kind.REAL: REAL[dtype], Kind.ROUNDED: REAL[dtype], Kind.DOUBLE: "double", Kind.INTEGER: INDEX}
    found: dict[str, str] = {}
    for code in statements_in(body):
        if isinstance(code, Let):
            found[code.name] = ORDINALS[dtype] if code.integer and is_rank(code.value) else types[code.kind]
    return found


def is_rank(e: sp.Expr) -> bool:
    return isinstance(e, ordinal) or bool(e.has(ordinal))
