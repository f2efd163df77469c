"""Subscripts that are no integer combination of their indices, as floor(s / 2): tables of their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.declare.tables import LARGEST
from derivgen.errors import Refused
from derivgen.form.expressions import about, indices_of, reads_of
from derivgen.form.program import Range, Role, Tensor
from derivgen.form.tables import Formula, NoFormula, axis, exact_table


def looked_up(
    subscript: sp.Expr, extent: sp.Expr | None, path: Boolean, ranges: Iterable[Range]
) -> tuple[Tensor, tuple[sp.Symbol, ...]] | None:
    """(the table of a subscript's values, without a name; its indices), or None: it is not of indices of fixed sizes.

    `extent`: of the axis; None: the values are a part of a subscript. `path`: the conditions around it: where they do
    not hold, the table has an element that is there. Raises Refused where they hold and a value is outside of the axis.
    """
    own = indices_of(subscript)
    over = [r for r in ranges if r.index in own]
    shape = [r.extent for r in over]
    fixed = all(extent.is_Integer for extent in shape) and sp.Mul(*shape) <= LARGEST
    if not over or subscript.free_symbols != own or reads_of(subscript) or not subscript.is_integer or not fixed:
        return None
    value = subscript.xreplace({r.index: axis(k) for k, r in enumerate(over)})
    formula = Formula(tuple(r.index.name for r in over), tuple(map(int, shape)), value)
    try:
        found = exact_table(formula)
    except NoFormula:
        return None
    last = int(extent) - 1 if extent is not None and extent.is_Integer else None
    values = np.clip(found, 0, last) if extent is not None else found
    condition = about(path, own)
    for place in np.argwhere(found != values):
        where = {r.index: sp.Integer(int(k)) for r, k in zip(over, place, strict=True)}
        if condition.xreplace(where) != sp.false:
            at = ", ".join(f"{index} = {k}" for index, k in where.items())
            wanted = f"0 to {last}" if last is not None else "at least 0"
            raise Refused(f"the subscript {subscript} is {int(found[tuple(place)])} at {at}, expected {wanted}")
    if (found > values).any():
        value = sp.Min(value, last)
    if (found < values).any():
        value = sp.Max(value, 0)
    clipped = replace(formula, expression=value)
    table = Tensor("", tuple(shape), Role.CONSTANT, integer=True, value=values.astype(np.int64), formula=clipped)
    return table, tuple(r.index for r in over)
