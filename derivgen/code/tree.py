"""The grammar of code: what a compiled function does, neutral of the language that it is written in.

    function  = Function(name, argument*, statement*, formula*)
    statement = Let(name, value, kind)                 a local scalar: where it is made
              | Assign(place, "=" | "+=" | "max=", value)
              | For(index, stop, statement*, start, step, backwards, parallel)
              | If(condition, statement*, otherwise*)
              | Product(left, right, out, scale)       out = left · right, or what the scale says
              | Fill(array, value, start, stop)
              | Scratch(name, shape)                   an array of its own, in which nothing stands yet
    place     = Read(local) | Read(array, subscript*)  a tensor of rank 0 is an array of one element: Read(array, 0)
    value     = an expression of a program, its reads resolved to places

Kernels need no more. Functions that call them have these besides:

    statement = Call(function, argument*)
              | Receive(place, "=" | "+=", call)       a number that a function returns
              | Bind(name, arrays)                     a name for arrays
              | Return(result*) | Break() | Note(words)
    arrays    = name | View(flat, start, shape) | Item(stack, index) | RowsOf(array, start, count) | Call
              | Bundle(kind, (name, arrays)*) | Borrowed(name) | Copied(name)
    argument  = arrays | Number(value, kind)
    result    = arrays | a value | a condition

An array in a bundle has the name of both: `work.x`. Names are those of the text. Passes are functions from code to
code; printers write code down, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read
from derivgen.form.places import IntegerSymbol, place_of, placed
from derivgen.form.program import Tensor

Operator = Literal["=", "+=", "max="]
NEUTRAL = {"+=": sp.S.Zero, "max=": -sp.oo}  # what a sum and a maximum start from


class Scale(Enum):
    """What becomes of a product of matrices, and of what its target held."""

    ASSIGN = "assign"  # out = left · right
    ADD = "add"  # out = out + left · right
    NEGATE = "negate"  # out = -left · right
    SUBTRACT = "subtract"  # out = out - left · right
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
    `note`: words for readers.
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
    note: str = ""

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
    """Every element of an array set to one value; of a flat one, those from `start` to before `stop`, if any."""

    array: str
    value: sp.Expr
    start: sp.Expr = sp.S.Zero
    stop: sp.Expr | None = None


@dataclass(frozen=True, slots=True)
class Scratch:
    """An array of reals that the function has to itself, of a fixed shape; its elements have no values yet."""

    name: str
    shape: tuple[sp.Expr, ...]


# ---- of functions that call others


class Extent(IntegerSymbol):
    """How long an axis of an array is."""

    array: str
    axis: int

    def __new__(cls, array: str, axis: int) -> Extent:
        name = f"{array}.shape[{axis}]"
        place = place_of(array.rpartition(".")[2])
        made: Extent = placed(Extent, name, place and f"{place}.{array}.{axis}", positive=True)
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
class RowsOf:
    """So many rows of an array, from `start` on."""

    array: str
    start: sp.Expr
    count: sp.Expr


@dataclass(frozen=True, slots=True)
class Bundle:
    """Arrays together, each with a name of its own.

    `slots`: the stretches of flat arrays that they are, one after another, each as long as the first of the names that
    share it.
    """

    kind: str
    fields: tuple[tuple[str, Arrays], ...]
    slots: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An array that the caller keeps alive: who counts owners need not count this one."""

    array: str


@dataclass(frozen=True, slots=True)
class Copied:
    """An array of its own with what another one holds."""

    array: Arrays


@dataclass(frozen=True, slots=True)
class Number:
    """A number as an argument."""

    value: sp.Expr
    kind: Kind = Kind.INTEGER


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Arrays | Number, ...]


Arrays = str | View | Item | RowsOf | Bundle | Borrowed | Copied | Call


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


Code = Let | Assign | For | If | Product | Fill | Scratch | Call | Receive | Bind | Return | Break | Note
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
    apart: bool = True  # whether a compiler is told that its arrays lie apart
    taken: frozenset[str] = frozenset()  # names that no local may have
    integers: Mapping[str, int] = field(default_factory=dict)  # what sizes are for this kernel, where several share it
    instances: tuple[Mapping[str, int], ...] = ()  # of all of them: the integers that calls pass

    def with_body(self, body: Block) -> Function:
        return replace(self, body=body)
