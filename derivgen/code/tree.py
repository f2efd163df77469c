"""The grammar of code: what a compiled function does, neutral of the language that it is written in.

    function  = Function(name, argument*, statement*, formula*)
    statement = Let(name, value, kind)                 a local scalar: where it is made
              | Assign(place, "=" | "+=" | "max=", value)
              | For(index, stop, statement*, start, step, backwards, parallel)
              | If(condition, statement*, otherwise*)
              | Product(left, right, out, scale)       out = left · right, or what the scale says
              | Fill(array, value, start)
    place     = Read(local) | Read(array, subscript*)  a tensor of rank 0 is an array of one element: Read(array, 0)
    value     = an expression of a program, its reads resolved to places

Kernels need no more. Functions that call them have these besides:

    statement = Call(function, argument*)
              | Receive(place, "=" | "+=", call)       a number that a function returns
              | Bind(name, arrays)                     a name for arrays
              | Return(result*) | Break() | Note(words)
    arrays    = name | View(flat, start, shape) | Item(stack, index) | Bundle(kind, (name, arrays)*) | Call
              | Borrowed(name) | Copied(name)
    argument  = arrays | Number(value, kind)
    result    = arrays | a value | a condition

An array in a bundle has the name of both: `work.x`. Names are those of the text. Passes are functions from code to
code; printers write code down, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, reads_of
from derivgen.form.program import Tensor

Operator = Literal["=", "+=", "max="]
NEUTRAL = {"+=": sp.S.Zero, "max=": -sp.oo}  # what a sum and a maximum start from


class Scale(Enum):
    """What becomes of a product of matrices, and of what its target held."""

    ASSIGN = "assign"  # out = left · right
    ADD = "add"  # out = out + left · right
    FACTORS = "factors"  # out = β·out + α·left · right, where α and β are given to the function


class Kind(Enum):
    """What a local scalar is, and how its value is computed."""

    REAL = "real"  # of the function's dtype
    INTEGER = "integer"
    DOUBLE = "double"  # in double precision, whatever the dtype
    ROUNDED = "rounded"  # in double precision, then rounded to the dtype


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    value: sp.Expr
    kind: Kind = Kind.REAL

    @property
    def integer(self) -> bool:
        return self.kind is Kind.INTEGER


@dataclass(frozen=True, slots=True)
class Assign:
    """`double`: the value is computed in double precision."""

    place: Read
    operator: Operator
    value: sp.Expr
    double: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """The body for start, start + step, … below stop; `backwards`: from the last one down.

    `parallel`: no iteration touches what another one writes, and they run in threads. `steps`: of a recurrence, whose
    order counts. `most`: what the stop is proved not to pass, where a pass has changed it. `shown`: an array, and the
    axis of it whose extent the stop is: compilers unroll a loop whose length they know, and then don't vectorize it.
    """

    index: sp.Symbol
    stop: sp.Expr
    body: Block
    start: sp.Expr = sp.S.Zero
    step: int | sp.Expr = 1
    backwards: bool = False
    parallel: bool = False
    steps: bool = False
    most: sp.Expr | None = None
    shown: tuple[str, int] | None = None

    @property
    def extent(self) -> sp.Expr:
        """A number that the index stays below."""
        return self.stop if self.most is None else self.most


@dataclass(frozen=True, slots=True)
class If:
    condition: Boolean
    body: Block
    otherwise: Block = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """An array at a point of a batch as a matrix, or as a vector where it has no columns.

    `point`: its subscripts, None along the axes that stay. `rows`, `columns`: the extents of the axes, as they lie in
    memory, that each side is made of. `transposed`: the matrix is used the other way round.
    """

    array: str
    point: tuple[sp.Expr | None, ...]
    rows: tuple[sp.Expr, ...]
    columns: tuple[sp.Expr, ...]
    transposed: bool = False

    @property
    def sides(self) -> tuple[sp.Expr, ...]:
        """Its rows and its columns, if it has some."""
        return tuple(sp.Mul(*side) for side in (self.rows, self.columns) if side)

    @property
    def is_reshaped(self) -> bool:
        """Whether a side is made of several axes."""
        return len(self.rows) > 1 or len(self.columns) > 1


@dataclass(frozen=True, slots=True)
class Product:
    left: Matrix
    right: Matrix
    out: Matrix
    scale: Scale


@dataclass(frozen=True, slots=True)
class Fill:
    """Every element of an array set to one value; of a flat one, those from `start` on."""

    array: str
    value: sp.Expr
    start: sp.Expr = sp.S.Zero


# ---- of functions that call others


class Extent(sp.Symbol):
    """How long an axis of an array is."""

    array: str
    axis: int

    def __new__(cls, array: str, axis: int) -> Extent:
        made = super().__new__(cls, f"{array}.shape[{axis}]", integer=True, positive=True)
        made.array, made.axis = array, axis
        return made


@dataclass(frozen=True, slots=True)
class View:
    """A part of a flat array from `start` on, as an array of this shape; of no shape, as an array of one."""

    flat: str
    start: sp.Expr
    shape: tuple[sp.Expr, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One array of a stack of them, or one element as an array."""

    stack: str
    index: sp.Expr


@dataclass(frozen=True, slots=True)
class Bundle:
    """Arrays together, each with a name of its own."""

    kind: str
    fields: tuple[tuple[str, Arrays], ...]


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An array that the caller keeps alive: who counts owners need not count this one."""

    array: str


@dataclass(frozen=True, slots=True)
class Copied:
    """An array of its own with what another one holds."""

    array: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number as an argument."""

    value: sp.Expr
    kind: Kind = Kind.INTEGER


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Arrays | Number, ...]


Arrays = str | View | Item | Bundle | Borrowed | Copied | Call


@dataclass(frozen=True, slots=True)
class Receive:
    """What a function returns, stored or added to a place."""

    place: Read
    operator: Operator
    call: Call


@dataclass(frozen=True, slots=True)
class Bind:
    name: str
    value: Arrays


@dataclass(frozen=True, slots=True)
class Return:
    results: tuple[Arrays | sp.Basic, ...]


@dataclass(frozen=True, slots=True)
class Break:
    """The innermost loop ends."""


@dataclass(frozen=True, slots=True)
class Note:
    """Words for readers."""

    words: str


Code = Let | Assign | For | If | Product | Fill | Call | Receive | Bind | Return | Break | Note
Block = tuple[Code, ...]


@dataclass(frozen=True)
class Function:
    """A function that works on arrays.

    `arrays`: what it is given, with shapes; `order`: the order of operands by what they read; `below`: for integer
    arrays and locals that hold indices, the extent that these stay below; `formulas`: what it computes, for readers.
    """

    name: str
    arrays: Mapping[str, Tensor]
    body: Block
    order: Mapping[str, int] = field(default_factory=dict)
    below: Mapping[str, sp.Expr] = field(default_factory=dict)
    formulas: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()  # reals that it is given
    given: tuple[Boolean, ...] = ()  # what callers guarantee of its indices and sizes
    sizes: tuple[tuple[str, tuple[str, int] | None], ...] = ()  # run-time sizes: where an array has each as an extent
    named: Mapping[str, str] = field(default_factory=dict)  # run-time sizes that the spec calls otherwise
    taken: frozenset[str] = frozenset()  # names that no local may have

    def with_body(self, body: Block) -> Function:
        return replace(self, body=body)


# ---- walks


def blocks_of(code: Code) -> tuple[Block, ...]:
    """The blocks inside a statement."""
    match code:
        case For():
            return (code.body,)
        case If():
            return (code.body, code.otherwise)
        case _:
            return ()


def with_blocks(code: Code, change: Callable[[Block], Block]) -> Code:
    """The statement with a function applied to each block inside."""
    match code:
        case For():
            return replace(code, body=change(code.body))
        case If():
            return replace(code, body=change(code.body), otherwise=change(code.otherwise))
        case _:
            return code


def statements_in(block: Block) -> Iterator[Code]:
    """Every statement of a block, those inside others too, in order."""
    for code in block:
        yield code
        for inner in blocks_of(code):
            yield from statements_in(inner)


def values_of(code: Code) -> tuple[sp.Basic, ...]:
    """The expressions that a statement itself evaluates, the subscripts of its target among them."""
    match code:
        case Let():
            return (code.value,)
        case Assign():
            return (code.value, *code.place.subscripts, *((code.place,) if code.operator != "=" else ()))
        case For():
            return (code.start, code.stop, *((code.step,) if isinstance(code.step, sp.Expr) else ()))
        case If():
            return (code.condition,)
        case Fill():
            return (code.value, code.start)
        case Product():
            sides = (code.left, code.right, code.out)
            extents = (e for m in sides if m.is_reshaped for e in m.sides)
            return (*(i for m in sides for i in m.point if i is not None), *extents)
        case Call():
            return values_in(code)
        case Receive():
            return (*code.place.subscripts, *((code.place,) if code.operator != "=" else ()), *values_in(code.call))
        case Bind():
            return values_in(code.value)
        case Return():
            return tuple(e for r in code.results for e in ((r,) if isinstance(r, sp.Basic) else values_in(r)))
        case _:
            return ()


def values_in(a: Arrays | Number) -> tuple[sp.Basic, ...]:
    """The expressions that arrays, or an argument, hang on."""
    match a:
        case View():
            return (a.start, *a.shape)
        case Item():
            return (a.index,)
        case Bundle():
            return tuple(e for _, part in a.fields for e in values_in(part))
        case Call():
            return tuple(e for argument in a.arguments for e in values_in(argument))
        case Number():
            return (a.value,)
        case _:
            return ()


def mapped(code: Code, change: Callable[[Any], Any]) -> Code:
    """The statement with a function applied to all that it evaluates, and to its target's subscripts, in blocks too."""
    match code:
        case Let():
            return replace(code, value=change(code.value))
        case Assign():
            place = Read(code.place.tensor, *map(change, code.place.subscripts))
            return replace(code, place=place, value=change(code.value))
        case For():
            body = tuple(mapped(c, change) for c in code.body)
            return replace(code, start=change(code.start), stop=change(code.stop), body=body)
        case If():
            body, otherwise = (tuple(mapped(c, change) for c in block) for block in (code.body, code.otherwise))
            return replace(code, condition=change(code.condition), body=body, otherwise=otherwise)
        case _:
            return code


def written_by(code: Code) -> str | None:
    """The name of what a statement itself writes."""
    match code:
        case Let():
            return code.name
        case Assign():
            return code.place.tensor
        case Fill():
            return code.array
        case Product():
            return code.out.array
        case Receive():
            return code.place.tensor
        case _:
            return None


def written_in(*block: Code) -> set[str]:
    """The names of all that is written in a block."""
    return {name for code in statements_in(block) if (name := written_by(code)) is not None}


def read_by(code: Code) -> set[str]:
    """The names of all that a statement itself reads; sums and maxima read what they go on from."""
    names = {r.tensor for r in reads_of(*values_of(code))}
    if isinstance(code, Product):
        names |= {code.left.array, code.right.array} | ({code.out.array} if code.scale is not Scale.ASSIGN else set())
    return names


def indices_in(block: Block) -> set[sp.Symbol]:
    """The indices of the loops in a block."""
    return {code.index for code in statements_in(block) if isinstance(code, For)}
