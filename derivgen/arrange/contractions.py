"""Statements that a matrix product computes: which they are, and how their operands lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from derivgen.form.expressions import Read
from derivgen.form.program import Range, Statement, Tensor, are_plain
from derivgen.form.sizes import REMEMBERED, typical_size

WORTH_A_CALL = 256  # multiplications: below it, a loop over small products is faster as loops all the way
FEW, LONG = 4, 16  # rows that loops combine faster than BLAS does, and elements that these must have at least


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
    reads = [factor for factor in sp.Mul.make_args(s.expression) if factor is not sp.S.NegativeOne]
    if s.operator != "+=" or s.guard is not sp.true or len(reads) != 2 or not all(isinstance(r, Read) for r in reads):
        return None
    if any(tensors[r.tensor].integer for r in reads):
        return None
    return matched(s, tuple(reads), tuple(tensors[r.tensor].shape for r in (s.write, *reads)), loops)


@lru_cache(REMEMBERED)
def matched(
    s: Statement, reads: tuple[Read, ...], shapes: tuple[tuple[sp.Expr, ...], ...], loops: bool
) -> Product | None:
    """A sum of products of two reads so, by the shapes of its target and of what it reads."""
    if not covers_all(s, shapes[0]) or not all(map(is_whole, reads, shapes[1:], (s, s))):
        return None
    if any(all(r.index not in read.subscripts for read in reads) for r in s.domain):  # summed over beside
        return None
    ordered = sorted(reads, key=lambda r: -len(r.subscripts))  # a matrix before a vector
    for with_loops in (False, True) if loops else (False,):
        for a, b in (ordered, ordered[::-1]):
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
    firsts = [next((i for i in r.subscripts if i not in (*shared, sp.S.Zero)), None) for r in (s.write, a, b)]
    summed = [firsts[1]] if firsts[1] == firsts[2] and firsts[1] not in (*s.subscripts, None) else []
    return [[*shared, i] for i in dict.fromkeys([*firsts[:1], *summed]) if i is not None]


def covers_all(s: Statement, shape: tuple[sp.Expr, ...]) -> bool:
    """Whether a statement writes all of its target; axes of extent 1 may be written at 0."""
    axes = long_axes(s.subscripts, shape)
    return replace(s, subscripts=tuple(i for i, _ in axes)).covers(tuple(extent for _, extent in axes))


def is_whole(read: Read, shape: tuple[sp.Expr, ...], s: Statement) -> bool:
    """Whether a tensor is read as a whole, at distinct plain indices, or at 0 along an axis of extent 1."""
    extents, axes = {r.index: r.extent for r in s.domain}, long_axes(read.subscripts, shape)
    return are_plain([i for i, _ in axes]) and all(extents[i] == extent for i, extent in axes)


def long_axes(subscripts: Sequence[sp.Expr], shape: Sequence[sp.Expr]) -> list[tuple[sp.Expr, sp.Expr]]:
    """(subscript, extent) of each axis, but for those of extent 1 at 0."""
    axes = zip(subscripts, shape, strict=True)
    return [(i, extent) for i, extent in axes if i is not sp.S.Zero or extent is not sp.S.One]


def matrix_product(s: Statement, a: Read, b: Read, batch: list[sp.Expr]) -> Product | None:
    """How out[I,J] = Σ_K a[I,K]·b[K,J] lies in memory, each of a and b perhaps transposed; I or J may be empty.

    It is one such product for each value of the batch's indices.
    """
    if s.scan is not None and s.scan.index not in batch:
        return None
    apart = (*batch, sp.S.Zero)
    summed = [i for i in a.subscripts if i in b.subscripts and i not in apart]
    rows = [i for i in a.subscripts if i not in (*summed, *apart)]
    columns = [i for i in b.subscripts if i not in (*summed, *apart)]
    if not summed or not (rows or columns) or rows + columns != [i for i in s.subscripts if i not in apart]:
        return None
    if batch and not (rows and columns and typical_size(s, [*rows, *columns, *summed]) >= WORTH_A_CALL):
        return None
    operands = [layout(read, batch, *groups) for read, *groups in ((a, rows, summed), (b, summed, columns))]
    left, right, out = *operands, layout(s.write, batch, rows, columns)
    if left is None or right is None or out is None or out.transposed:
        return None
    return Product(left, right, out, tuple(r for i in batch for r in s.domain if r.index == i))


def calls_blas(s: Statement, product: Product) -> bool:
    """Whether a call of BLAS makes a product faster than loops do.

    Loops are faster where few rows are combined, each along its memory: those of the right matrix for each row of the
    result, or those of the result itself.
    """
    if product.batch or s.scan is not None or product.right.transposed:
        return True
    left, right = product.left.read.subscripts, product.right.read.subscripts
    rows, columns, summed = (
        sp.Mul(*(r.extent for r in s.domain if (r.index in left) is a and (r.index in right) is b))
        for a, b in ((True, False), (False, True), (True, True))
    )
    few = is_few(summed) or (product.left.transposed and is_few(rows))
    return not (few and columns.is_Integer and columns >= LONG)


def is_few(extent: sp.Expr) -> bool:
    return bool(extent.is_Integer and extent <= FEW)


def is_step(s: Statement, index: sp.Expr) -> bool:
    return s.scan is not None and s.scan.index == index


def layout(read: Read, batch: Sequence[sp.Expr], first: Sequence[sp.Expr], second: Sequence[sp.Expr]) -> Operand | None:
    """The read as a matrix with these indices along its two axes; None where it would have to be copied."""
    axes = [i for i in read.subscripts if i not in batch]
    free, own = [i for i in axes if i is not sp.S.Zero], frozenset(i for i in batch if i in read.subscripts)
    for groups, transposed in (((first, second), False), ((second, first), True)):
        if free == [*groups[0], *groups[1]]:
            both = groups[0] and groups[1]  # else a vector; axes at 0 are beside those of the first group
            rows = axes.index(groups[1][0]) if both else len(axes)
            operand = Operand(read, own, rows, transposed)
            break
    else:
        return None
    strided = not operand.leading_batch
    if strided and (len(axes) != 2 or read.subscripts[-1] in batch):
        return None  # BLAS wants one axis of stride 1
    return operand
