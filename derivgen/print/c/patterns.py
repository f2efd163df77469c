"""Patterns of matrices in compressed columns, as CasADi takes them; that of a Jacobian whose columns are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from derivgen.form.expressions import reads_of
from derivgen.form.program import Statement, Tensor
from derivgen.print.layout import WIDTH
from derivgen.print.text import wrapped

Size = Callable[[sp.Expr], int]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which elements of a matrix may differ from 0: `length` numbers for CasADi, zeros after those that are given."""

    name: str
    numbers: tuple[int, ...]
    length: int
    nonzeros: int

    @property
    def text(self) -> str:
        head = f"static const casadi_int {self.name}[{self.length}] = {{"
        numbers = ", ".join(map(str, self.numbers))
        if len(head) + len(numbers) + 2 <= WIDTH:
            return f"{head}{numbers}}};"
        return "\n    ".join([head, *wrapped(numbers, WIDTH - 4, "")]) + "\n};"


def dense(rows: int, columns: int) -> Pattern:
    return Pattern(f"dense_{rows}x{columns}", (rows, columns, 1), 3, rows * columns)


def empty(rows: int, columns: int) -> Pattern:
    return Pattern(f"empty_{rows}x{columns}", (rows, columns), 3 + columns, 0)


def sparse(name: str, columns: np.ndarray, count: int) -> Pattern:
    """The pattern of a matrix with `count` columns by those of each row's entries; -1 is no column."""
    height = len(columns)
    rows, entries = np.nonzero(columns >= 0)
    places = np.unique(columns[rows, entries] * height + rows)  # column by column
    if len(places) == height * count:
        return dense(height, count)
    starts = np.searchsorted(places, np.arange(count + 1) * height)
    numbers = (height, count, *starts.tolist(), *(places % height).tolist())
    return Pattern(name, numbers, len(numbers), len(places))


def known_columns(t: Tensor, statements: Sequence[Statement], size: Size) -> np.ndarray | None:
    """The columns of each row's entries, -1 where there is none; None if they depend on data.

    `t`: the integer tensor of columns, whose last axis is that of a row's entries; `statements`: those that write it.
    """
    found = np.full([size(extent) for extent in t.shape], -1)
    for s in statements:
        values = [*s.subscripts, s.expression, s.guard]
        if reads_of(*values):
            return None
        indices = {
            r.index: grid for r, grid in zip(s.domain, np.indices([size(r.extent) for r in s.domain]), strict=True)
        }
        sizes = {e: size(e) for e in set().union(*(v.free_symbols for v in values)) - {*indices}}
        known = {**indices, **sizes}
        made = sp.lambdify(list(known), values, "numpy")(*known.values())
        *subscripts, columns, holds = np.broadcast_arrays(*made, *indices.values())[: len(values)]
        found[tuple(place[holds] for place in subscripts)] = columns[holds]
    return found.reshape(-1, found.shape[-1])
