"""The check of labels: that each is a class, or the value that makes its row count as absent."""

from __future__ import annotations

import sympy as sp

from derivgen.code.tree import Code, Extent, For, If, Return
from derivgen.form.expressions import Read, index_symbol
from derivgen.form.program import Tensor


def label_check(t: Tensor, name: str, refusal: Return, row: sp.Expr | None = None) -> Code:
    """What returns where a label in the array of this name is neither; of one row, if one is given."""
    first = [] if row is None else [row]
    indices = [index_symbol(f"i{axis}") for axis in range(len(first), len(t.shape))]
    label = Read(name, *(*first, *indices) or (0,))
    outside = sp.Or(sp.Lt(label, 0), sp.Ge(label, t.classes))
    code: Code = If(outside if t.ignore is None else sp.And(outside, sp.Ne(label, t.ignore)), (refusal,))
    for axis, index in reversed(list(enumerate(indices, start=len(first)))):
        code = For(index, Extent(name, axis), (code,))
    return code
