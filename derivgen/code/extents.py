"""Where a function finds run-time sizes, and the lengths of its loops: in the extents of its arrays."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, For, Function, Product
from derivgen.code.visit import statements_in, values_of, with_blocks
from derivgen.form.expressions import is_size, reads_of, sympy_order

UNROLLED = 3  # LLVM unrolls a loop of a known length: it takes long for all but the shortest, which are not vectorized
SHORT = 8  # from here on a module hides from LLVM how long a row of an array is: below, a loop over it is written out


def with_sizes(function: Function) -> Function:
    """The function with the run-time sizes that it speaks of, each with an array and the axis that shows it, if any."""
    found = {s for code in statements_in(function.body) for e in values_of(code) for s in e.free_symbols if is_size(s)}
    sizes = []
    for size in (s.name for s in sorted(found, key=sympy_order)):
        places = ((a, axis) for a, t in function.arrays.items() for axis, e in enumerate(t.shape) if str(e) == size)
        sizes.append((size, next(places, None)))
    return replace(function, sizes=tuple(sizes))


def with_shown_extents(function: Function) -> Function:
    """The function with the lengths of its loops read off arrays, except for the shortest ones."""

    def block(codes: Block) -> Block:
        return tuple(shown(with_blocks(code, block), function) for code in codes)

    return function.with_body(block(function.body))


def shown(code: Code, function: Function) -> Code:
    if not isinstance(code, For) or code.shown is not None or code.backwards:
        return code
    if not code.stop.is_Integer or code.stop <= UNROLLED:
        return code
    for array, subscripts in accesses_in(code.body):
        shape = function.arrays[array].shape if subscripts and array in function.arrays else ()
        for axis, place in enumerate(zip(subscripts, shape, strict=False)):
            if place == (code.index, code.stop):
                return replace(code, shown=(array, axis))
    return code


def accesses_in(block: Block) -> list[tuple[str, tuple[sp.Expr | None, ...]]]:
    """(array, subscripts) of the places that a block writes, then of those that it reads, and of its matrices."""
    codes = list(statements_in(block))
    places = [*(c.place for c in codes if isinstance(c, Assign)), *reads_of(*(e for c in codes for e in values_of(c)))]
    matrices = [m for c in codes if isinstance(c, Product) for m in (c.out, c.left, c.right)]
    return [*((place.tensor, place.subscripts) for place in places), *((m.array, m.point) for m in matrices)]
