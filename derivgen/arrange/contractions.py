"""Statements that a matrix product computes: which they are, and how their operands lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.form.expressions import Read
from derivgen.form.program import Range, Statement, Tensor, are_plain
from derivgen.form.sizes import typical_size

WORTH_A_CALL = 256  # multiplications: below it, a loop over small products is faster as loops all the way


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor read as a matrix: its axes beside the batch's in two groups (one for a vector), perhaps transposed."""

    read: Read
    batch: frozenset[sp.Symbol]
    rows: int  # axes in the first group
    transposed: bool

    @property
    def tensor(self) -> str:
        return str(self.read.tensor)

    @property
    def free(self) -> tuple[int, ...]:
        """The axes that the matrix has."""
        return tuple(axis for axis, i in enumerate(self.read.subscripts) if i not in self.batch)

    @property
    def batch_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, i in enumerate(self.read.subscripts) if i in self.batch)

    @property
    def leading_batch(self) -> bool:
        """Whether the batch's axes come first, so that each matrix is contiguous."""
        return self.batch_axes == tuple(range(len(self.batch)))


@dataclass(frozen=True, slots=True)
class Product:
    """out = left · right as matrices, or its opposite, at each point of the batch."""

    left: Operand
    right: Operand
    out: Operand
    batch: tuple[Range, ...]
    negative: bool = False


def match_contraction(tensors: Mapping[str, Tensor], s: Statement, loops: bool = True) -> Product | None:
    """A statement as a product of two matrices, or of a matrix and a vector, at once or at each point of a batch.

    `loops`: also one for each value of an index that not all three tensors have, or that is summed over.
    """
    if s.operator != "+=" or s.guard != sp.true or not covers_all(tensors, s):
        return None
    reads = [factor for factor in sp.Mul.make_args(s.expression) if factor != -1]
    if len(reads) != 2 or not all(isinstance(r, Read) and is_whole(tensors, r, s) for r in reads):
        return None
    if any(all(r.index not in read.subscripts for read in reads) for r in s.domain):  # summed over beside
        return None
    reads = sorted(reads, key=lambda r: -len(r.subscripts))  # a matrix before a vector
    for with_loops in (False, True) if loops else (False,):
        for a, b in (reads, reads[::-1]):
            for batch in batches(s, a, b, with_loops):
                product = matrix_product(s, a, b, batch)
                if product is not None:
                    return replace(product, negative=s.expression.could_extract_minus_sign())
    return None


def batches(s: Statement, a: Read, b: Read, with_loops: bool) -> list[list[sp.Expr]]:
    """The indices whose values a product may be made for one after another.

    Those that all three tensors have, and the steps of a scan, always; with a loop, the first axis of the result, or
    one that is summed over and comes first in both factors.
    """
    shared = [i for i in s.subscripts if (i in a.subscripts and i in b.subscripts) or is_step(s, i)]
    if not with_loops:
        return [shared]
    firsts = [next((i for i in r.subscripts if i not in (*shared, 0)), None) for r in (s.write, a, b)]
    summed = [firsts[1]] if firsts[1] == firsts[2] and firsts[1] not in (*s.subscripts, None) else []
    return [[*shared, i] for i in dict.fromkeys([*firsts[:1], *summed]) if i is not None]


def covers_all(tensors: Mapping[str, Tensor], s: Statement) -> bool:
    """Whether a statement writes all of its target; axes of extent 1 may be written at 0."""
    axes = [
        (i, extent) for i, extent in zip(s.subscripts, tensors[s.target].shape, strict=True) if i != 0 or extent != 1
    ]
    return replace(s, subscripts=tuple(i for i, _ in axes)).covers(tuple(extent for _, extent in axes))


def is_whole(tensors: Mapping[str, Tensor], read: Read, s: Statement) -> bool:
    """Whether a real tensor is read as a whole, at distinct plain indices, or at 0 along an axis of extent 1."""
    extents = {r.index: r.extent for r in s.domain}
    tensor = tensors[read.tensor]
    axes = [(i, extent) for i, extent in zip(read.subscripts, tensor.shape, strict=True) if i != 0 or extent != 1]
    return are_plain([i for i, _ in axes]) and not tensor.integer and all(extents[i] == extent for i, extent in axes)


def matrix_product(s: Statement, a: Read, b: Read, batch: list[sp.Expr]) -> Product | None:
    """How out[I,J] = Σ_K a[I,K]·b[K,J] lies in memory, each of a and b perhaps transposed; I or J may be empty.

    It is one such product for each value of the batch's indices.
    """
    if s.scan is not None and s.scan.index not in batch:
        return None
    summed = [i for i in a.subscripts if i in b.subscripts and i not in (*batch, 0)]
    rows = [i for i in a.subscripts if i not in (*summed, *batch, 0)]
    columns = [i for i in b.subscripts if i not in (*summed, *batch, 0)]
    if not summed or not (rows or columns) or rows + columns != [i for i in s.subscripts if i not in (*batch, 0)]:
        return None
    if batch and not (rows and columns and typical_size(s, [*rows, *columns, *summed]) >= WORTH_A_CALL):
        return None
    operands = [layout(read, batch, *groups) for read, *groups in ((a, rows, summed), (b, summed, columns))]
    left, right, out = *operands, layout(s.write, batch, rows, columns)
    if left is None or right is None or out is None or out.transposed:
        return None
    return Product(left, right, out, tuple(r for i in batch for r in s.domain if r.index == i))


def is_step(s: Statement, index: sp.Expr) -> bool:
    return s.scan is not None and s.scan.index == index


def layout(read: Read, batch: Sequence[sp.Expr], first: Sequence[sp.Expr], second: Sequence[sp.Expr]) -> Operand | None:
    """The read as a matrix with these indices along its two axes; None where it would have to be copied."""
    axes = [i for i in read.subscripts if i not in batch]
    free, own = [i for i in axes if i != 0], frozenset(i for i in batch if i in read.subscripts)
    for groups, transposed in (((first, second), False), ((second, first), True)):
        if free == [*groups[0], *groups[1]]:
            rows = axes.index(groups[1][0]) if groups[1] else len(axes)  # axes at 0 beside those of the first group
            operand = Operand(read, own, rows, transposed)
            break
    else:
        return None
    strided = not operand.leading_batch
    if strided and (len(axes) != 2 or read.subscripts[-1] in batch):
        return None  # BLAS wants one axis of stride 1
    return operand
