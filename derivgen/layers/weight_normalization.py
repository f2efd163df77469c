"""Weights by their norm: each unit's own, and the largest singular value of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp

from derivgen import initializers
from derivgen.declare.model import Model, TensorSymbol
from derivgen.declare.subscripts import is_integer
from derivgen.form.functions import stop_gradient
from derivgen.layers.checks import fixed, is_tensor, positive, whole_number
from derivgen.layers.normalization import by_mode


def weight_norm(v: TensorSymbol, *, name: str, axis: int | None = -1) -> Any:
    """gain·v / ‖v‖, the norm over all axes but `axis`, or over all with None: weights of the shape of v.

    `axis`: that of the units, the last of a dense layer's weights, the first of a convolution's. `<name>_gain` (units,)
    starts at 1; PyTorch's starts at ‖v‖. As torch.nn.utils.parametrizations.weight_norm. Source: Salimans and Kingma
    2016.
    """
    if not is_tensor(v, "weight_norm", range(2, 100), "(…, units)"):
        return v
    model, (at, unit, rest) = v.model, by_unit(v, "weight_norm", axis, or_none=True)
    gain = model.parameter(f"{name}_gain", *(i.upper + 1 for i in unit), init="ones")
    length = sp.sqrt(sp.Sum(v[at] ** 2, *rest))
    rate = model.let(f"{name}_rate", unit, (gain[unit] if unit else gain) / length, layer=name)
    return model.let(name, at, v[at] * (rate[unit] if unit else rate))


def by_unit(
    W: TensorSymbol, layer: str, axis: int | None, or_none: bool = False
) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Indices of the weights, that of this axis, if any, and all others."""
    at, rank = W.model.local_indices(*W.shape), len(W.shape)
    if not (or_none if axis is None else is_integer(axis) and -rank <= axis < rank):
        words = f"that of the units, from 0 to {rank - 1} or from -{rank} to -1{', or None' if or_none else ''}"
        W.model.problem(f"{layer}: axis must be {words}, found {axis!r}")
        axis = -1
    unit = () if axis is None else (at[axis],)
    return at, unit, tuple(i for i in at if i not in unit)


def spectral_norm(
    W: TensorSymbol, *, name: str, axis: int = -1, n_power_iterations: int = 1, epsilon: float = 1e-12
) -> Any:
    """W / σ, σ the largest singular value of the matrix (units, all other axes): weights of the shape of W.

    `axis`: that of the units, the last of a dense layer's weights, the first of a convolution's. σ = uᵀ·W·v for the
    singular vectors u and v, running tensors `<name>_u` and `<name>_v`, which start at random: each step in training
    improves them by power iterations, evaluation by none. Derivatives treat u and v as constants. As
    torch.nn.utils.parametrizations.spectral_norm, which iterates 15 times before the first step. Source: Miyato,
    Kataoka, Koyama and Yoshida 2018.
    """
    if not is_tensor(W, "spectral_norm", range(2, 100), "(…, units)"):
        return W
    model, (at, unit, rest) = W.model, by_unit(W, "spectral_norm", axis)
    count = whole_number(model, "spectral_norm", "n_power_iterations", n_power_iterations)
    least = positive(model, "spectral_norm", "epsilon", epsilon)
    u = direction(model, f"{name}_u", unit, lambda *i: left[i])
    v = direction(model, f"{name}_v", rest, lambda *i: right[i])
    left, right = singular_vectors(W, name, at, unit, rest, v, count, least)
    held = stop_gradient(by_mode(left[unit] * right[rest], u[unit] * v[rest], model))
    sigma = model.let(f"{name}_sigma", (), sp.Sum(held * W[at], *at), layer=name)
    return model.let(name, at, W[at] / sigma)


def direction(model: Model, name: str, indices: Sequence[Any], following: Callable[..., sp.Expr]) -> Any:
    """A running tensor over these indices, about 1 long at random, which becomes another one."""
    sizes = [i.upper + 1 for i in indices]
    count = fixed(model, sp.Mul(*sizes))
    deviation = float(1 / sp.sqrt(count)) if count.is_Integer else 1.0  # otherwise its sizes are refused
    return model.running(name, *sizes, init=initializers.normal(stddev=deviation), next=following)


def singular_vectors(
    W: TensorSymbol,
    name: str,
    at: Sequence[Any],
    unit: Sequence[Any],
    rest: Sequence[Any],
    right: TensorSymbol,
    count: int,
    least: sp.Expr,
) -> tuple[TensorSymbol, TensorSymbol]:
    """The left and the right singular vector of the largest value, after so many power iterations from a right one."""
    for k in range(1, count + 1):
        number = f"_{k}" if count > 1 else ""
        left = unit_vector(W, name, f"left{number}", at, unit, right[tuple(rest)], least)
        right = unit_vector(W, name, f"right{number}", at, rest, left[tuple(unit)], least)
    return left, right


def unit_vector(
    W: TensorSymbol, name: str, word: str, at: Sequence[Any], along: Sequence[Any], by: sp.Expr, least: sp.Expr
) -> Any:
    """The let `<name>_<word>`: the product of the matrix with a vector, by its length, of which each is a let too."""
    model, own, over = W.model, f"{name}_{word}", [i for i in at if i not in along]
    product = model.let(f"{own}_product", along, sp.Sum(W[tuple(at)] * by, *over), layer=name)
    squares = sp.Sum(product[tuple(along)] ** 2, *along)
    length = model.let(f"{own}_length", (), sp.Max(sp.sqrt(squares), least), layer=name)
    return model.let(own, along, product[tuple(along)] / length, layer=name)
