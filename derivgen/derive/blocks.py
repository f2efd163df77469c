"""The derivatives of an output by the flat vector: their parts, and the matrices that these are put into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.derive.cotangents import Cotangent, Cotangents, stored
from derivgen.form.expressions import all_of, index_symbol
from derivgen.form.program import Direction, Names, Program, Range, Role, Statement, Tensor, is_plain_index
from derivgen.form.sizes import flat_size, offsets, row_major, typical


@dataclass(frozen=True, slots=True)
class Block:
    """The stored derivatives of an output by a parameter, and their places in the parameter."""

    cotangent: Cotangent
    subscripts: tuple[sp.Expr, ...]
    ranges: tuple[Range, ...]
    inside: Boolean  # where the parameter has such an element
    alone: bool
    layer: str
    direction: Direction

    @property
    def of(self) -> str:
        return self.cotangent.of

    def copied(self, target: str, subscripts: tuple[sp.Expr, ...]) -> Statement:
        """The statement that puts it into a matrix."""
        return Statement(
            target,
            subscripts,
            "=" if self.alone else "+=",
            self.cotangent.at(self.subscripts),
            (*self.cotangent.axes, *self.ranges),
            self.inside,
            layer=self.layer,
            direction=self.direction,
        )

    def diagonal(self, target: str) -> Statement:
        """The statement that takes its elements where the parameter's subscripts are the output's."""
        own = [r.index for r in self.cotangent.axes]
        at = {i: e for i, e in zip(self.subscripts, own, strict=True) if i in {r.index for r in self.ranges}}
        guards = [sp.Eq(i, e) for i, e in zip(self.subscripts, own, strict=True) if i not in at and i != e]
        read = self.cotangent.at([at.get(i, i) for i in self.subscripts])
        return Statement(
            target, tuple(own), "+=", read, self.cotangent.axes, all_of(*guards), self.layer, self.direction
        )


def blocks_of(bars: Cotangents, stable: Program) -> list[Block]:
    """The parts of an output's derivatives by the flat vector, in its order."""
    blocks = []
    for parameter in stable.parameters:
        parts = bars.by(parameter.name)
        for part in parts:
            subscripts, ranges = elements(part, parameter.shape, bars)
            last = bars.last[part.name]
            inside = bars.inside(parameter.name, part.pattern)
            alone = all(other is part or are_apart(part, other) for other in parts)
            blocks.append(Block(part, subscripts, ranges, inside, alone, last.layer, last.direction))
    return blocks


def are_apart(a: Cotangent, b: Cotangent) -> bool:
    """Whether two parts are at different fixed places of an axis."""
    other = dict(b.pattern)
    return any(i.is_Integer and other.get(axis, i).is_Integer and other.get(axis, i) != i for axis, i in a.pattern)


def elements(
    part: Cotangent, shape: Sequence[sp.Expr], bars: Cotangents
) -> tuple[tuple[sp.Expr, ...], tuple[Range, ...]]:
    """(subscripts of a parameter for what a cotangent stores, the ranges of the indices in them beside the output's)

    The indices are those of the last contribution where it has one for each axis.
    """
    fixed, own = dict(part.pattern), {r.index for r in part.axes}
    axes = [axis for axis in range(len(shape)) if axis not in fixed]
    places = stored(list(range(len(shape))), part.pattern, [r.index for r in part.axes])
    letters = [bars.last[part.name].subscripts[places.index(axis)] for axis in axes]
    if not all(map(is_plain_index, letters)) or len(set(letters)) < len(letters) or own & set(letters):
        names = Names([*(i.name for i in own), *bars.program.table])
        letters = [index_symbol(names.fresh(f"i{axis}")) for axis in axes]
    free = dict(zip(axes, letters, strict=True))
    ranges = tuple(Range(free[axis], shape[axis]) for axis in axes)
    return tuple(fixed[axis] if axis in fixed else free[axis] for axis in range(len(shape))), ranges


# ---- matrices


def is_sparse(stable: Program, outputs: Sequence[Cotangents]) -> bool:
    """Whether at least half of some outputs' derivatives is 0 by structure."""
    whole: sp.Expr = sp.Integer(0)
    entries: sp.Expr = sp.Integer(0)
    for bars in outputs:
        rows = typical(sp.Mul(*(r.extent for r in bars.axes)))
        whole += rows * flat_size(stable)
        entries += rows * sp.Add(*(sp.Mul(*(r.extent for r in block.ranges)) for block in blocks_of(bars, stable)))
    return bool(2 * entries <= whole)


def dense_rows(
    stable: Program, bars: Cotangents, name: str, columns_first: bool = False
) -> tuple[list[Tensor], list[Statement]]:
    """An output's derivatives by the flat vector, whose axis is the last, or the first."""
    rows, starts, flat = [r.index for r in bars.axes], offsets(stable), sp.Integer(flat_size(stable))
    name = bars.names.fresh(name)
    shape, made = tuple(r.extent for r in bars.axes), []
    for block in blocks_of(bars, stable):
        column = starts[block.of] + row_major(block.subscripts, stable.tensor(block.of).shape)
        made.append(block.copied(name, (column, *rows) if columns_first else (*rows, column)))
    return [Tensor(name, (flat, *shape) if columns_first else (*shape, flat), Role.LET)], made


def sparse_rows(stable: Program, bars: Cotangents, prefix: str) -> tuple[list[Tensor], list[Statement]]:
    """The entries of an output's derivatives by the flat vector, as many for each element, and their columns."""
    rows, starts = [r.index for r in bars.axes], offsets(stable)
    blocks = blocks_of(bars, stable)
    entries, columns = (bars.names.fresh(f"{prefix}jacobian_{part}") for part in ("entries", "columns"))
    made, first = [], 0
    for block in blocks:
        extents = [r.extent for r in block.ranges]
        at = (*rows, first + row_major([r.index for r in block.ranges], extents))
        made.append(replace(block.copied(entries, at), operator="="))
        column = starts[block.of] + row_major(block.subscripts, stable.tensor(block.of).shape)
        made.append(replace(made[-1], target=columns, expression=column))
        first += int(sp.Mul(*extents))
    shape = (*(r.extent for r in bars.axes), sp.Integer(first))
    return [Tensor(entries, shape, Role.LET), Tensor(columns, shape, Role.LET, integer=True)], made


# ---- the flat vector
