"""The interpreter's partial derivatives: central differences of the declared formulas, at raised precision.

Independent of `partials`: what stands between x and the value is computed again at shifted x. Each difference is taken
at half as many digits more than are wanted of it. With the step h = 10^(-digits/2), truncation is about
h² = 10^(-digits), and rounding 10^(-1.5·digits)/h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derivgen.program import Program, Statement, closure, reached
from derivgen.reals import context

Array = NDArray[np.object_]
Place = tuple[int | None, ...]  # an element, or a part of a tensor: None is all along an axis


def derivative_of(
    run: Callable[..., dict[str, Array]],
    whole: Program,
    values: Mapping[str, Array],
    value: str,
    by: Sequence[tuple[str, Place]],
    digits: int,
    held: Any,
) -> Array:
    """The derivatives of a tensor's elements by x at a place, for each (x, place) in turn, to this many digits.

    `whole` is the program, `values` are all tensors at the point, `run` and `held` the interpreter's. Where a place
    is None all rows are shifted together: right where no row of the value comes from another one.
    """
    if not by:
        return values[value]
    *inner, (x, place) = by
    raised = digits + digits // 2 + 10
    between = statements_between(whole.statements, x, (value, *(name for name, _ in inner)))
    part = replace(whole, statements=between, objective=None, prediction=None, running=())
    written = {s.target for s in between}
    moving = tuple(slice(None) if i is None else i for i in place)
    fixed = {name: tensor for name, tensor in values.items() if name not in written}

    def at(shift: Any) -> Array:
        shifted = fixed[x].copy()
        shifted[moving] = np.add(shift, shifted[moving])  # the first operand's precision is that of the sum
        moved = run(part, {**fixed, x: shifted}, digits=raised, held=held, whole=whole)
        return derivative_of(run, whole, moved, value, inner, raised, held)

    mp = context(raised)
    h = mp.mpf(10) ** -(digits // 2 + 3)
    return np.asarray((at(h) - at(-h)) / (2 * h), dtype=object)


@lru_cache(maxsize=256)
def statements_between(statements: tuple[Statement, ...], x: str, outputs: tuple[str, ...]) -> tuple[Statement, ...]:
    """The statements through which the outputs come from x."""

    def sources(s: Statement) -> set[str]:
        return {read.tensor for read in s.reads}

    wanted = closure(outputs, statements, sources) & reached([x], statements, sources)
    return tuple(s for s in statements if s.target in wanted and s.target != x)
