"""Running sums, products and maxima: of each element along an axis and of all that come before it, in x's shape.

Each is one loop over the axis, and so is its derivative: a sum up to an index is computed as a running sum, the others
are recurrences.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.declare.model import TensorSymbol
from derivgen.form.functions import logaddexp
from derivgen.layers.checks import is_tensor
from derivgen.layers.shape import is_axis

ANY = range(1, 100)


def cumsum(x: TensorSymbol, axis: int = -1, *, name: str, exclusive: bool = False, reverse: bool = False) -> Any:
    """y[t] = x[0] + … + x[t] along an axis. As keras.ops.cumsum and torch.cumsum.

    With `exclusive` x[t] itself is left out, so that y[0] is 0; with `reverse` the sum runs from the end. Both are
    those of ONNX's CumSum.
    """
    if not is_tensor(x, "cumsum", ANY, "of any number"):
        return x
    at, along = x.model.local_indices(*x.shape), axis_of(x, "cumsum", axis)
    (u,), t, own = x.model.local_indices(x.shape[along]), at[along], int(exclusive)
    terms = (u, t + own, x.shape[along] - 1) if reverse else (u, 0, t - own)
    return x.model.let(name, at, sp.Sum(x[moved(at, along, u)], terms))


def cumprod(x: TensorSymbol, axis: int = -1, *, name: str, exclusive: bool = False, reverse: bool = False) -> Any:
    """y[t] = x[0]·…·x[t] along an axis. As keras.ops.cumprod and torch.cumprod.

    With `exclusive` x[t] itself is left out, so that y[0] is 1; with `reverse` the product runs from the end. The
    derivative divides by nothing, and is exact where elements are 0.
    """
    if not is_tensor(x, "cumprod", ANY, "of any number"):
        return x
    at, before, exists = steps(x, "cumprod", axis, reverse)
    factor = sp.Piecewise((x[before], exists), (1, True)) if exclusive else x[at]
    return x.model.recur(name, at, lambda y: y[before] * factor, initial=1)


def cummax(x: TensorSymbol, axis: int = -1, *, name: str, reverse: bool = False) -> Any:
    """y[t] = max(x[0], …, x[t]) along an axis; with `reverse` from the end. As the values of torch.cummax.

    On a tie x[t] and what came before share the derivative equally, as in Max; in PyTorch x[t] has all of it.
    """
    if not is_tensor(x, "cummax", ANY, "of any number"):
        return x
    at, before, _ = steps(x, "cummax", axis, reverse)
    return x.model.recur(name, at, lambda y: sp.Max(y[before], x[at]), initial=-sp.oo)


def logcumsumexp(x: TensorSymbol, axis: int = -1, *, name: str, reverse: bool = False) -> Any:
    """y[t] = log(exp(x[0]) + … + exp(x[t])) along an axis; with `reverse` from the end. As torch.logcumsumexp."""
    if not is_tensor(x, "logcumsumexp", ANY, "of any number"):
        return x
    at, before, _ = steps(x, "logcumsumexp", axis, reverse)
    return x.model.recur(name, at, lambda y: logaddexp(y[before], x[at]), initial=-sp.oo)


def steps(x: TensorSymbol, layer: str, axis: Any, reverse: bool) -> tuple[tuple[Any, ...], tuple[Any, ...], Boolean]:
    """(the indices of an element, those of the one before it along the axis, whether there is such a one)

    In reverse, the one before is the next.
    """
    at, along = x.model.local_indices(*x.shape), axis_of(x, layer, axis)
    t = at[along]
    there, exists = (t + 1, t + 1 < x.shape[along]) if reverse else (t - 1, t >= 1)
    return at, moved(at, along, there), exists


def axis_of(x: TensorSymbol, layer: str, axis: Any) -> int:
    """The number of an axis from the first; the last one where it is none, which is noted."""
    return int(axis) % len(x.shape) if is_axis(x, layer, axis) else len(x.shape) - 1


def moved(at: tuple[Any, ...], along: int, subscript: Any) -> tuple[Any, ...]:
    """The subscripts with another one along an axis."""
    return (*at[:along], subscript, *at[along + 1 :])
