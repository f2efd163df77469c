"""Constants that are declared by a formula of their indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.form.expressions import LETTERS
from derivgen.form.tables import WHOLE, Formula, NoFormula, axis, exact_table

TAKEN = ("np",)  # what the text of a formula refers to
LARGEST = 2**27  # elements


def table(
    over: Sequence[Idx], expression: sp.Expr, sizes: Mapping[sp.Symbol, int], wanted: Mapping[str, str]
) -> tuple[np.ndarray, Formula]:
    """(the values, as float64 or, of a formula of integers, int64; the formula). ValueError where there is none.

    `sizes`: those fixed at generation; `wanted`: the letters that indices of layers want, by their own names.
    """
    shape = [sp.sympify(i.upper + 1).subs(sizes) for i in over]
    if not all(extent.is_Integer for extent in shape) or sp.Mul(*shape) > LARGEST:
        found = ", ".join(map(str, shape))
        raise ValueError(f"its indices need ranges known at generation, of 2^27 elements at most, found {found}")
    inside = expression.xreplace({i: axis(k) for k, i in enumerate(over)}).subs(sizes)
    if strange := sorted(map(str, inside.free_symbols - {axis(k) for k in range(len(over))})):
        raise ValueError(f"its formula is of its indices, numbers and sizes known at generation, found {strange[0]}")
    formula = Formula(letters(over, wanted), tuple(map(int, shape)), inside)
    try:
        values = exact_table(formula)
    except NoFormula as part:
        raise ValueError(f"{part} has no value in a table: give it as an array") from part
    if not np.isfinite(values).all():
        place = ", ".join(map(str, np.argwhere(~np.isfinite(values))[0]))
        raise ValueError(f"its formula is no finite real number at [{place}]")
    whole = bool(inside.is_integer) and bool((np.abs(values) < WHOLE).all())
    return values.astype(np.int64) if whole else values, formula


def letters(over: Sequence[Idx], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """What the text calls the indices: their own names, for a layer's those that it wants, where they are free."""
    names: list[str] = []
    for index in over:
        first = wanted.get(index.name, index.name)
        choices = [first if first.isidentifier() else LETTERS[0], *LETTERS]
        names.append(next(n for n in choices if n not in (*names, *TAKEN)))
    return tuple(names)
