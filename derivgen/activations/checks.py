"""What activations ask of their arguments."""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeAlias

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.declare.model import TensorSymbol
from derivgen.declare.subscripts import is_integer

Option: TypeAlias = float | sp.Expr


def option(function: str, name: str, value: Any, above: Option | None = None) -> sp.Expr:
    """An option as an expression; ValueError where it is no finite number or expression, or not above the bound."""
    expected = "a number or an expression" if above is None else f"a number above {above}"
    # An expression that is no number is not known to be on either side.
    if not is_scalar(value) or (above is not None and sp.sympify(value <= above) == sp.true):
        raise ValueError(f"{function}: expected {expected} as {name}, found {value!r}")
    return exact(value)


def is_scalar(value: Any) -> bool:
    """Whether this is a finite number or an expression."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return math.isfinite(value)
    return isinstance(value, sp.Expr) and not isinstance(value, TensorSymbol) and value not in (sp.nan, sp.zoo, sp.oo)


def exact(value: Option) -> sp.Expr:
    """A number as SymPy's: 1.0 as the integer, which products drop."""
    if isinstance(value, numbers.Real) and float(value).is_integer():
        return sp.Integer(int(float(value)))
    return sp.sympify(value)


def tensor(function: str, value: Any, argument: str = "its argument") -> TensorSymbol:
    """The tensor itself; ValueError where it is none, or has no axes."""
    if not isinstance(value, TensorSymbol):
        kind = type(value).__name__
        raise ValueError(
            f"{function}: expected a tensor as {argument}, found {kind} {value}: give it a let over its indices"
        )
    return value


def along(function: str, z: Any, axis: Any) -> tuple[tuple[Idx, ...], Idx]:
    """(indices of a tensor, that of an axis); the last one where there is no such axis, which is noted."""
    model, rank = tensor(function, z).model, len(z.shape)
    at = model.local_indices(*z.shape)
    if is_integer(axis) and -rank <= axis < rank:
        return at, at[axis]
    model.problem(f"{function}: axis must be one of {-rank} .. {rank - 1}, found {axis!r}")
    return at, at[-1]
