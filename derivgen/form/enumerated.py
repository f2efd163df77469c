"""Proofs by going through all values: of what reads constant tables at indices whose sizes are fixed."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, indices_of, parts_of, reads_of
from derivgen.form.program import Range, Tensor
from derivgen.form.tables import COMPARED

MOST = 2**18  # values that are gone through


class Unknown(Exception):
    """What has no value before run time."""


def never_negative(claim: sp.Expr, path: Boolean, domain: Sequence[Range], tensors: Mapping[str, Tensor]) -> bool:
    """Whether a claim that reads constants is at least 0 wherever the conditions of a path hold that can be known."""
    if not any(tensors[r.tensor].value is not None for r in reads_of(claim)):
        return False
    own = [r for r in domain if r.index in indices_of(claim)]
    if not own or not all(r.extent.is_Integer for r in own) or sp.Mul(*(r.extent for r in own)) > MOST:
        return False
    grid = dict(zip((r.index for r in own), np.indices([int(r.extent) for r in own], sparse=True), strict=True))
    try:
        negative = value_of(claim, grid, tensors) < 0
    except Unknown:
        return False
    for part in parts_of(path):
        try:
            negative = negative & value_of(part, grid, tensors)
        except Unknown:
            continue
    return not np.any(negative)


def value_of(e: sp.Basic, grid: Mapping[sp.Symbol, np.ndarray], tensors: Mapping[str, Tensor]) -> Any:
    """The values of an expression of integers, or of a condition on them, at the indices of a grid; else Unknown."""

    def values(parts: Sequence[sp.Basic]) -> list[Any]:
        return [value_of(part, grid, tensors) for part in parts]

    match e:
        case sp.Integer():
            return int(e)
        case sp.Symbol() if e in grid:
            return grid[e]
        case Read() if (table := tensors[e.tensor].value) is not None and tensors[e.tensor].integer:
            places = np.broadcast_arrays(*values(e.subscripts))
            return table[tuple(np.clip(place, 0, n - 1) for place, n in zip(places, table.shape, strict=True))]
        case sp.Add():
            return reduce(operator.add, values(e.args))
        case sp.Mul():
            return reduce(operator.mul, values(e.args))
        case sp.core.relational.Relational():
            return COMPARED[e.rel_op](*values(e.args))
        case sp.And():
            return reduce(operator.and_, values(e.args))
        case sp.Or():
            return reduce(operator.or_, values(e.args))
        case sp.Not():
            return ~np.asarray(value_of(e.args[0], grid, tensors))
    raise Unknown
