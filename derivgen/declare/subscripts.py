"""What stands as a subscript, or as the indices of a let: integers, indices, numbers made of them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx


def indices_of_each(names: Sequence[str], indices: Any) -> list[Any]:
    """The indices of each of several tensors; a tuple, or a single index, that is given once is for all of them."""
    given = list(indices) if isinstance(indices, list | tuple) else [indices]
    if any(isinstance(i, list | tuple) for i in given) or (len(given) == len(names) and len(set(given)) == 1):
        return given
    return [tuple(given)] * len(names)


def is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral | sp.Integer) and not isinstance(value, bool)


def mixed_radix(subscript: sp.Expr, sizes: Mapping[sp.Symbol, int]) -> tuple[Idx, ...] | None:
    """The indices of a subscript that takes each value from 0 on once, outermost first; None for any other.

    Such a subscript is a number whose digits are the indices: each one's stride is the product of the extents of those
    further in.
    """
    if isinstance(subscript, Idx):
        return (subscript,)
    number = sp.expand(subscript)
    strides = {i: number.coeff(i) for i in subscript.atoms(Idx)}
    if sp.expand(number - sp.Add(*(stride * i for i, stride in strides.items()))) != 0:
        return None
    digits = [(stride.subs(sizes), (i.upper + 1).subs(sizes), i) for i, stride in strides.items()]
    if not all(stride.is_Integer for stride, _, _ in digits):
        return None
    step: sp.Expr = sp.Integer(1)
    digits.sort(key=lambda digit: (digit[0], digit[1] != 1, digit[2].name))
    for stride, extent, _ in digits:
        if stride != step:
            return None
        step *= extent
    return tuple(i for _, _, i in reversed(digits))
