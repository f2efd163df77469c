"""Tensors put together and given other shapes."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.declare.subscripts import is_integer
from derivgen.layers.checks import described, equal_sizes, fixed, is_tensor


def add(*tensors: TensorSymbol, name: str) -> Any:
    """The sum of tensors of the same shape, for example a residual connection. As keras.layers.add."""
    if not are_alike("add", tensors):
        return tensors[0]
    model, at = tensors[0].model, tensors[0].model.local_indices(*tensors[0].shape)
    return model.let(name, at, sp.Add(*(x[at] for x in tensors)))


def concatenate(tensors: Sequence[TensorSymbol], axis: int = -1, *, name: str) -> Any:
    """Tensors joined along an axis; their other axes are equal. As keras.layers.concatenate and torch.cat."""
    if not are_alike("concatenate", tensors, axis):
        return tensors[0]
    model, along = tensors[0].model, axis % len(tensors[0].shape)
    ends = list(itertools.accumulate(x.shape[along] for x in tensors))
    at = model.local_indices(*tensors[0].shape[:along], ends[-1], *tensors[0].shape[along + 1 :])
    starts = [sp.S.Zero, *ends[:-1]]
    parts = [x[(*at[:along], at[along] - start, *at[along + 1 :])] for x, start in zip(tensors, starts, strict=True)]
    inside = [*(at[along] < end for end in ends[:-1]), True]
    return model.let(name, at, sp.Piecewise(*zip(parts, inside, strict=True)))


def are_alike(layer: str, tensors: Sequence[TensorSymbol], axis: int | None = None) -> bool:
    """Whether tensors agree in shape, except along an axis if one is given; a difference is noted as a problem."""
    if not tensors or not isinstance(tensors, tuple | list):
        raise TypeError(f"{layer} expects tensors, found {tensors!r}: give it at least one")
    if not all(is_tensor(x, layer, range(1, 100), "of any number") for x in tensors):
        return False
    if axis is not None and not is_axis(tensors[0], layer, axis):
        return False
    along = None if axis is None else axis % len(tensors[0].shape)
    other = next((x for x in tensors if not same_shape(tensors[0], x, along)), None)
    if other is not None:
        besides, both = "" if along is None else f" except for axis {along}", (described(tensors[0]), described(other))
        other.model.problem(f"{layer} expects tensors of one shape{besides}, found {both[0]} and {both[1]}")
    return other is None


def is_axis(x: TensorSymbol, layer: str, axis: Any) -> bool:
    """Whether this is the number of an axis, perhaps from the end, noted if not."""
    rank = len(x.shape)
    if is_integer(axis) and -rank <= axis < rank:
        return True
    x.model.problem(f"{layer}: axis must be one of {-rank} .. {rank - 1}, found {axis!r}")
    return False


def same_shape(a: TensorSymbol, b: TensorSymbol, along: int | None) -> bool:
    sizes = enumerate(zip(a.shape, b.shape, strict=False))
    return len(a.shape) == len(b.shape) and all(k == along or equal_sizes(a.model, *pair) for k, pair in sizes)


def flatten(x: TensorSymbol, *, name: str) -> Any:
    """All axes after the batch as one: (batch, …) → (batch, features). As torch.nn.Flatten, keras.layers.Flatten."""
    if not is_tensor(x, "flatten", range(2, 100), "(batch, …)"):
        return x
    return reshape(x, (sp.Mul(*x.shape[1:]),), name=name)


def reshape(x: TensorSymbol, shape: Sequence[int | sp.Expr], *, name: str) -> Any:
    """The elements in the same order, with other axes: (batch, …) → (batch, *shape). As keras.layers.Reshape.

    If neither shape can be made by joining or by splitting axes of the other one, the flat tensor is a let in between.
    """
    if not (is_tensor(x, "reshape", range(2, 100), "(batch, …)") and is_shape(x, shape)):
        return x
    wanted = (x.shape[0], *shape)
    equal = (equal_sizes(x.model, *pair) for pair in zip(x.shape, wanted, strict=False))
    kept = sum(itertools.takewhile(bool, equal))  # leading axes that stay as they are
    old, new = ([fixed(x.model, size) for size in sizes[kept:]] for sizes in (x.shape, wanted))
    if not as_many(x, shape, old, new):
        return x
    strides = sorted({*strides_of(old), *strides_of(new)})
    if any(high % low for low, high in itertools.pairwise(strides)):
        return reshape(reshape(x, (*x.shape[1:kept], math.prod(old)), name=f"{name}_flat"), shape, name=name)
    return refolded(x, name, kept, old, new, strides)


def refolded(
    x: TensorSymbol, name: str, kept: int, old: Sequence[Any], new: Sequence[Any], strides: Sequence[sp.Expr]
) -> Any:
    """The axes behind the first `kept`, each a number whose digits go from stride to stride: old ones into new."""
    ratios = [high / low for low, high in itertools.pairwise(strides)]
    rows, digits = x.model.local_indices(*x.shape[:kept]), x.model.local_indices(*reversed(ratios))[::-1]
    left, source = (numerals(sizes, strides, digits) for sizes in (new, old))
    left = [subscript if subscript != 0 else x.model.local_indices(1)[0] for subscript in left]
    return x.model.let(name, (*rows, *left), x[(*rows, *source)])


def is_shape(x: TensorSymbol, shape: Any) -> bool:
    """Whether this is a tuple or a list, noted if not."""
    if isinstance(shape, tuple | list):
        return True
    x.model.problem(f"reshape: the shape must be a tuple of sizes, found {shape!r}")
    return False


def as_many(x: TensorSymbol, shape: Sequence[Any], old: Sequence[sp.Expr], new: Sequence[sp.Expr]) -> bool:
    """Whether the sizes that change are fixed, and give as many elements as before, noted if not."""
    if all(size.is_Integer for size in (*old, *new)) and math.prod(old) == math.prod(new):
        return True
    x.model.problem(
        f"reshape: {tuple(shape)} must have as many elements as {described(x)} after its first axis, in axes known at "
        "generation, except leading ones that stay as they are"
    )
    return False


def strides_of(shape: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The number of elements behind each axis, innermost first, and that of all."""
    return list(itertools.accumulate(reversed(shape), operator.mul, initial=sp.S.One))


def numerals(shape: Sequence[sp.Expr], strides: Sequence[sp.Expr], digits: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The subscript of each axis, made of the digits whose strides lie within it."""
    ends = [strides.index(s) for s in strides_of(shape)]
    return [
        sp.Add(*(strides[k] / strides[low] * digits[k] for k in range(low, high)))
        for low, high in reversed(list(itertools.pairwise(ends)))
    ]
