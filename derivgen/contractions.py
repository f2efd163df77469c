"""Statements that a matrix product computes: which they are, and how their operands lie in memory."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derivgen.expressions import Read
from derivgen.program import Program, Statement, is_plain_index


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor read as a matrix: its axes merged into two groups (one for a vector), perhaps transposed."""

    tensor: str
    rows: int  # axes in the first group
    transposed: bool


def match_contraction(program: Program, s: Statement) -> tuple[Operand, Operand, Operand] | None:
    """(left, right, out) of a statement that is a product of two matrices, or of a matrix and a vector."""
    if s.operator != "+=" or s.guard != sp.true or not s.covers(program.tensor(s.target).shape):
        return None
    reads = sp.Mul.make_args(s.expression)
    if len(reads) != 2 or not all(isinstance(r, Read) and is_whole(program, r, s) for r in reads):
        return None
    reads = sorted(reads, key=lambda r: -len(r.subscripts))  # a matrix before a vector
    for a, b in (reads, reads[::-1]):
        operands = matrix_product(s.subscripts, a, b)
        if operands is not None:
            left, right, out = operands
            return Operand(a.tensor, *left), Operand(b.tensor, *right), Operand(s.target, *out)
    return None


def is_whole(program: Program, read: Read, s: Statement) -> bool:
    """Whether a real tensor is read over its whole extent, at distinct plain indices."""
    extents = {r.index: r.extent for r in s.domain}
    tensor = program.tensor(read.tensor)
    plain = all(is_plain_index(i) for i in read.subscripts) and len(set(read.subscripts)) == len(read.subscripts)
    return plain and not tensor.integer and tuple(extents[i] for i in read.subscripts) == tensor.shape


Layout = tuple[int, bool]


def matrix_product(out: tuple[sp.Expr, ...], a: Read, b: Read) -> tuple[Layout, Layout, Layout] | None:
    """How out[I,J] = Σ_K a[I,K]·b[K,J] lies in memory, each of a and b perhaps transposed; I or J may be empty."""
    summed = [i for i in a.subscripts if i in b.subscripts and i not in out]
    rows = [i for i in a.subscripts if i not in summed]
    columns = [i for i in b.subscripts if i not in summed]
    if not summed or not (rows or columns) or tuple(rows + columns) != out:
        return None
    left = layout(a.subscripts, rows, summed)
    right = layout(b.subscripts, summed, columns)
    if left is None or right is None:
        return None
    return left, right, (len(rows), False)


def layout(subscripts: tuple[sp.Expr, ...], first: list[sp.Expr], second: list[sp.Expr]) -> Layout | None:
    if subscripts == tuple(first + second):
        return len(first), False
    if subscripts == tuple(second + first):
        return len(second), True
    return None
