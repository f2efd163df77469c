"""Code → numba functions."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.code.names import past
from derivgen.code.operations import Operations
from derivgen.code.proof import Proof
from derivgen.code.routine import (
    FACTORS,
    Linkage,
    Routine,
    Signature,
    as_function,
    is_scaled,
    proof_of,
    unknown_sizes,
)
from derivgen.code.tree import (
    Arrays,
    Assign,
    Bind,
    Block,
    Borrowed,
    Break,
    Bundle,
    Call,
    Code,
    Copied,
    Fill,
    For,
    Function,
    If,
    Item,
    Kind,
    Let,
    Matrix,
    Note,
    Number,
    Product,
    Receive,
    Return,
    RowsOf,
    Scale,
    Scratch,
    View,
)
from derivgen.code.visit import statements_in, values_of
from derivgen.file.fixed_names import GLOBALS
from derivgen.form.expressions import size_symbol, substitute
from derivgen.form.program import Tensor
from derivgen.print.elementary import CALLED, MAXIMUM
from derivgen.print.layout import STEP, WIDTH, Bracket, Part, assignment, bracketed, flat, indented, line
from derivgen.print.scalar import Double, Scalar
from derivgen.print.text import docstring, tuple_text, wrapped

GEMM, SCRATCH = "gemm", "scratch"
SCALES = {scale: scale.name for scale in Scale} | {Scale.FACTORS: FACTORS}

# What the text of a kernel refers to besides its own names; `check_names` holds each kernel to it.
REFERRED_TO = {
    *CALLED,
    "np",
    "real",
    "prange",
    "min",
    GEMM,
    SCRATCH,
    *(scale.name for scale in Scale if scale is not Scale.FACTORS),
}
DECORATORS = {
    Linkage.PUBLIC: "compiled",
    Linkage.INTERNAL: "internal",
    Linkage.PASTED: "pasted",
    Linkage.LAYOUT: "layout",
}
RESERVED = {*REFERRED_TO, FACTORS}  # the names that no tensor, size or index has in a kernel


@dataclass(frozen=True, slots=True)
class Text:
    """The lines of a function. `used`: the functions of the module that it calls."""

    lines: tuple[str, ...]
    used: frozenset[str]


def write_kernel(kernel: Function, sizes: Mapping[str, str]) -> Text:
    """A kernel: its arrays, then the factors of products, if any, and run-time sizes that no array shows.

    `sizes`: how the module names the run-time sizes of the spec.
    """
    named = {size: sizes[kernel.named.get(size, size)] for size in sizes_in(kernel)}
    spoken, shown = spoken_of(kernel.body), [(size, place) for size, place in kernel.sizes if place is not None]
    read = [f"{size} = {array}.shape[{axis}]" for size, (array, axis) in shown if size in spoken]
    given = [f"{name}: {kind_text(t, named)}" for name, t in kernel.arrays.items()]
    given += [*([f"{FACTORS}: Real[2]"] if is_scaled(kernel) else []), *unknown_sizes(kernel)]
    parallel = any(isinstance(c, For) and c.parallel for c in statements_in(kernel.body))
    printer = Printer(kernel, Proof(kernel))
    body = [*docstring(kernel.formulas), *read, *printer.block(kernel.body, 1)]
    decorator = "parallel_kernel" if parallel else "kernel" if kernel.apart else "aliased_kernel"
    return defined(decorator, kernel.name, given, body, printer)


def documented(kernel: Function) -> tuple[str, ...]:
    """The lines of a kernel's docstring, without its quotes."""
    lines = (line.removeprefix('"""').removesuffix('"""') for line in docstring(kernel.formulas))
    return tuple(line for line in lines if line)


def sizes_in(kernel: Function) -> set[str]:
    """The run-time sizes in the shapes of a kernel's arrays."""
    return {size.name for t in kernel.arrays.values() for e in t.shape for size in e.free_symbols}


def spoken_of(body: Block) -> set[str]:
    """The sizes in the text of a body, where an array shows how far most loops go."""
    codes = (replace(c, stop=sp.S.Zero) if isinstance(c, For) and c.shown else c for c in statements_in(body))
    return {s.name for code in codes for e in values_of(code) for s in e.free_symbols}


def kind_text(t: Tensor, named: Mapping[str, str]) -> str:
    """`Real[N, 64]`: the dtype and the extents of an array."""
    extents = [integer_text(e, lambda size: named[size]) for e in t.shape or (sp.S.One,)]
    return f"{'Integer' if t.integer else 'Real'}[{', '.join(extents)}]"


def size_names(sizes: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Names of run-time sizes in a module, past what it defines besides, and what Python does."""
    taken = {*taken, *GLOBALS, *RESERVED, *dir(builtins), "l", "O", "I"}  # ruff refuses the last three
    return {size: past(size, taken) for size in sizes}


def write_routine(routine: Routine, known: Mapping[str, Signature]) -> Text:
    """A function that calls others, whose signatures are known."""
    function = as_function(routine, known)
    printer = Printer(function, proof_of(routine, function))
    body = [*docstring(routine.words), *printer.block(routine.body, 1)]
    return defined(DECORATORS[routine.linkage], routine.name, list(routine.arguments), body, printer)


def defined(decorator: str, name: str, given: Sequence[str], body: Sequence[str], printer: Printer) -> Text:
    head = [f"@{decorator}", *bracketed(f"def {name}(", given, "):")]
    return Text((*head, *indented(body)), frozenset(printer.scalar.used))


def integer_text(e: sp.Expr, name: Callable[[str], str] = str) -> str:
    """An integer expression of run-time sizes; `name` says how each of these is written."""
    named = substitute(e, {s: size_symbol(name(s.name)) for s in e.free_symbols})
    return flat(Scalar().part(Operations({}, lambda _: False).integer(named)))


class Printer:
    """The state of writing one function."""

    def __init__(self, function: Function, proof: Proof) -> None:
        self.operations = Operations(function.order, proof.is_integer)
        self.scalar, self.double = Scalar(), Double()
        self.integers = {name for name, t in proof.table.items() if t.integer}

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
                note = f"  # {code.note}" if code.note else ""
                head = f"for {code.index} in {self.range(code)}:{note}"
                return [head, *indented(self.block(code.body, depth + 1))]
            case If():
                return self.branches(code, depth)
            case Product():
                return self.product(code, depth)
            case Fill():
                start = "" if code.start == 0 else self.integer(code.start)
                stop = "" if code.stop is None else self.integer(code.stop)
                return [f"{code.array}[{start}:{stop}] = {flat(self.value(code.value))}"]
            case Scratch():
                self.scalar.used.add(SCRATCH)
                return [f"{code.name} = {SCRATCH}({', '.join(map(self.integer, code.shape))})"]
            case Note():
                return wrapped(f"# {code.words}", WIDTH - len(STEP) * depth, "# ")
            case Break():
                return ["break"]
            case _:
                return self.calling(code, depth)

    def calling(self, code: Code, depth: int) -> list[str]:
        """What kernels don't have."""
        match code:
            case Call():
                return line("", self.arrays(code), depth=depth)
            case Receive():
                target = self.scalar.part(self.operations.place(code.place))
                return assignment(target, code.operator, self.arrays(code.call), depth)
            case Bind():
                return self.bundle(f"{code.name} = ", code.value, depth)
            case Return((alone,)):
                return self.bundle("return ", alone, depth)
            case Return():
                return [f"return {', '.join(flat(self.result(r)) for r in code.results)}"]
        raise AssertionError(f"{code} is no statement")

    def bundle(self, opening: str, value: Arrays | sp.Basic, depth: int) -> list[str]:
        """Arrays, each view on a line of its own where there are several."""
        views = isinstance(value, Bundle) and not value.slots and any(isinstance(v, View) for _, v in value.fields)
        part = self.result(value)
        if not views or not isinstance(part, Bracket):
            return line(opening, part, depth=depth)
        items = [line("", item, ",", depth + 1) for item in part.items]
        return [f"{opening}{part.word}(", *indented([text for item in items for text in item]), ")"]

    def result(self, r: Arrays | sp.Basic) -> Part:
        if isinstance(r, sp.Basic):
            return str(bool(r)) if r in (sp.true, sp.false) else self.value(r)
        return self.arrays(r)

    def arrays(self, a: Arrays | Number) -> Part:
        match a:
            case str():
                return a
            case View():
                shape = [self.integer(e) for e in a.shape or (sp.S.One,)]
                return Bracket("view", (a.flat, self.integer(a.start), tuple_text(shape)))
            case Item():
                return f"{a.stack}[{self.integer(a.index)}]"
            case RowsOf():
                start = flat(self.integer(a.start))
                return f"{a.array}[{start} : {start} + {flat(self.integer(a.count))}]"
            case Bundle(slots=slots) if slots:
                return self.in_slots(a)
            case Bundle():
                return Bracket(a.kind, tuple(named(name, self.arrays(part)) for name, part in a.fields))
            case Borrowed():
                return f"borrowed({a.array})"
            case Copied():
                return f"{flat(self.arrays(a.array))}.copy()"
            case Call():
                return Bracket(a.function, tuple(map(self.arrays, a.arguments)))
            case Number():
                return self.number(a)

    def in_slots(self, bundle: Bundle) -> Part:
        """Views as the shapes of those that share a stretch of memory, a line each."""
        shapes = {name: view.shape or (sp.S.One,) for name, view in bundle.fields if isinstance(view, View)}
        flats = dict.fromkeys(flat for flat, _ in bundle.slots)

        def shape(name: str) -> Part:
            return named(name, tuple_text([self.integer(e) for e in shapes[name]]))

        own = {f: [names for flat, names in bundle.slots if flat == f] for f in flats}
        lines = {f: [Bracket("slot", tuple(map(shape, names))) for names in found] for f, found in own.items()}
        return Bracket(bundle.kind, tuple(Bracket("**slots", (f, *found)) for f, found in lines.items()))

    def number(self, n: Number) -> Part:
        """A number as an argument; in double precision a float always, for which numba has compiled the function."""
        if n.kind is Kind.INTEGER:
            return self.value(n.value, integer=True)
        if n.value.is_number and n.value.is_finite:
            return repr(float(n.value))
        return self.double.part(self.operations.real(n.value))

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
        step = loop.step if isinstance(loop.step, int) else self.integer(loop.step)
        bounds += [str(step)] if step != 1 else []
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
        return bracketed(f"{GEMM}(", [left, right, SCALES[p.scale], out], ")", depth)

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


def named(name: str, part: Part) -> Part:
    """name=part"""
    return Bracket(f"{name}={part.word}", part.items, part.kind) if isinstance(part, Bracket) else f"{name}={part}"
