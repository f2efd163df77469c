"""How a module makes its constants: by formulas of their indices, or by digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from derivgen.form.program import Tensor
from derivgen.form.tables import Formula, uncertain

RARE = 100  # a formula stands where fewer than one element in so many needs digits of its own


@dataclass(frozen=True, slots=True)
class Table:
    """A constant; `by_digits`: the elements that a formula may round otherwise on another machine."""

    tensor: Tensor
    values: np.ndarray
    formula: Formula | None = None
    by_digits: tuple[tuple[int, ...], ...] = ()


def table_of(t: Tensor, dtype: str) -> Table:
    """A constant by its formula where every machine then has the same numbers, except for a few; else by digits."""
    assert t.value is not None
    if t.formula is None:
        return Table(t, t.value)
    places = np.argwhere(uncertain(t.formula, t.value, "int64" if t.integer else dtype))
    if RARE * len(places) >= t.value.size:
        return Table(t, t.value)
    return Table(t, t.value, t.formula, tuple(tuple(map(int, place)) for place in places))
