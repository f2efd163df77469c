"""Whether compilers are told that a kernel's arrays lie apart, which `plan/apart.py` proves of buffers."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.code.routine import is_scaled
from derivgen.code.tree import For, Function
from derivgen.code.visit import statements_in, values_of
from derivgen.form.expressions import reads_of


def with_apart(function: Function) -> Function:
    """The function, with whether its arrays lie apart as far as compilers should know.

    Not where a product takes the place of parameters that the kernel reads. Nor where a loop reads neighbours: LLVM
    would hand one on to the next iteration, and make no vectors.
    """
    loops = (code for code in statements_in(function.body) if isinstance(code, For))
    inner = [loop for loop in loops if not any(isinstance(code, For) for code in loop.body)]
    return replace(function, apart=not (is_scaled(function) or any(map(reads_neighbours, inner))))


def reads_neighbours(loop: For) -> bool:
    """Whether an iteration reads what another one does at another place: `a[n + 1] - a[n]`."""
    reads = {r for code in statements_in(loop.body) for r in reads_of(*values_of(code)) if r.subscripts}
    return any(
        a.tensor == b.tensor and are_neighbours(a.subscripts, b.subscripts, loop.index) for a in reads for b in reads
    )


def are_neighbours(a: tuple[sp.Expr, ...], b: tuple[sp.Expr, ...], index: sp.Symbol) -> bool:
    """Whether two places differ by a fixed number of steps along the axis that an index runs along."""
    differing = [(i, j) for i, j in zip(a, b, strict=True) if i != j]
    if len(differing) != 1:
        return False
    i, j = differing[0]
    return index in i.free_symbols and bool((i - j).is_Integer)
