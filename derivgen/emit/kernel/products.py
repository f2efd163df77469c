"""Contractions → calls of BLAS: operands as matrices, which are views of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from derivgen.arrange.contractions import Operand, Product
from derivgen.emit.templates import environment
from derivgen.emit.text import bracketed

GEMM = "gemm"
ASSIGN, ADD, FACTORS = "ASSIGN", "ADD", "alpha_beta"  # factors of a·b and of what c holds


def gemm_section(dtype: str) -> str:
    """The function that products call, with its factors."""
    kind = {"float32": "s", "float64": "d"}[dtype]
    return environment().get_template("gemm.py.jinja").render(kind=kind).rstrip()


class ProductText:
    """Writes products; `name` writes a tensor, `shape` gives its extents, `integer` writes an index or an extent."""

    def __init__(
        self,
        name: Callable[[str], str],
        shape: Callable[[str], tuple[sp.Expr, ...]],
        integer: Callable[[sp.Expr], str],
    ) -> None:
        self.name, self.shape, self.integer = name, shape, integer

    def lines(self, p: Product, factors: str, depth: int) -> list[str]:
        """out = left · right, or the like by the factors."""
        vector = len(self.groups(p.out)) < 2
        left, right, out = (self.matrix(o) for o in (p.left, p.right, p.out))
        if vector and factors == ASSIGN:
            return [f"np.dot({left}, {right}, {out})"]
        if not vector and not p.batch and factors == ASSIGN and self.is_column(p.out) and not p.left.transposed:
            # Half the time of a product with a matrix of one column (0.15 against 0.26 µs at 32×30).
            return [f"np.dot({left}, {right}.reshape(-1), {out}.reshape(-1))"]
        if vector:
            row = len(self.groups(p.left)) < 2
            left, out = (f"{m}.reshape(1, -1)" if row else m for m in (left, out))
            right, out = (f"{m}.reshape(-1, 1)" if not row else m for m in (right, out))
        return bracketed(f"{GEMM}(", [left, right, factors, out], ")", depth)

    def is_column(self, o: Operand) -> bool:
        return bool(sp.Mul(*self.groups(o)[1]) == 1)

    def groups(self, o: Operand) -> list[Sequence[sp.Expr]]:
        """The extents of the axes that each axis of the matrix is made of, as they lie in memory."""
        shape = self.shape(o.tensor)
        free = [shape[axis] for axis in o.free]
        return [g for g in (free[: o.rows], free[o.rows :]) if g]

    def matrix(self, o: Operand) -> str:
        """A tensor at a point of the batch as a matrix, or as a vector."""
        text, groups = self.name(o.tensor), self.groups(o)
        if o.batch and o.leading_batch:
            text += f"[{', '.join(self.integer(i) for i in o.read.subscripts[: len(o.batch)])}]"
        elif o.batch:
            text += f"[{', '.join(self.integer(i) if i in o.batch else ':' for i in o.read.subscripts)}]"
        if any(len(g) > 1 for g in groups):
            text += f".reshape({', '.join(self.integer(sp.Mul(*g)) for g in groups)})"
        return f"{text}.T" if o.transposed and len(groups) == 2 else text
