"""Activations of a tensor: each is a let, and most act along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from derivgen.activations.checks import Option, along, option, tensor
from derivgen.activations.elementwise import gelu, identity, relu, sigmoid, silu
from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import guarded, indicator


def softmax(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """exp(z) / Σ exp(z) along an axis, as torch.nn.Softmax; it is a let `name` with z's shape.

    axis=1 of images is torch.nn.Softmax2d.
    """
    at, i = along("softmax", z, axis)
    powers = sp.exp(z[at])
    return z.model.let(name, at, powers / sp.Sum(powers, i))


def softmin(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """exp(-z) / Σ exp(-z) along an axis, as torch.nn.Softmin; it is a let `name` with z's shape."""
    at, i = along("softmin", z, axis)
    powers = sp.exp(-z[at])
    return z.model.let(name, at, powers / sp.Sum(powers, i))


def log_softmax(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """log(exp(z) / Σ exp(z)) along an axis, as torch.nn.LogSoftmax; it is a let `name` with z's shape."""
    at, i = along("log_softmax", z, axis)
    powers = sp.exp(z[at])
    return z.model.let(name, at, sp.log(powers / sp.Sum(powers, i)))


def sparsemax(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """max(z - τ, 0) along an axis, where τ makes the sum 1; as keras.activations.sparsemax.

    It is a let `name` with z's shape. Above τ are the z whose excess, Σ max(other - z, 0) over all others, is below 1:
    that needs no sorting, and takes time with the square of the axis. Source: Martins and Astudillo 2016.
    """
    at, i = along("sparsemax", z, axis)
    (j,) = z.model.local_indices(i.upper + 1)
    rows, other = tuple(k for k in at if k != i), tuple(j if k == i else k for k in at)
    excess = z.model.let(f"{name}_excess", at, sp.Sum(sp.Max(z[other] - z[at], 0), j), layer=name)
    above, count = (sp.Sum(f, i) for f in (guarded(z[at], excess[at] < 1), indicator(excess[at] < 1)))
    bound = z.model.let(f"{name}_threshold", rows, (above - 1) / count, layer=name)
    return z.model.let(name, at, sp.Max(z[at] - (bound[rows] if rows else bound), 0))


# ---- gated linear units: two halves of an axis


def glu(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """a·sigmoid(b), where a is the first half of an axis and b the second, as torch.nn.GLU.

    It is a let `name`: (…, features) → (…, features/2). features must be even and fixed at generation.
    """
    return gated("glu", z, sigmoid, name, axis)


def bilinear(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """a·b of the halves of an axis, otherwise as glu. Source: Shazeer 2020."""
    return gated("bilinear", z, identity, name, axis)


def reglu(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """a·relu(b) of the halves of an axis, otherwise as glu. Source: Shazeer 2020."""
    return gated("reglu", z, relu, name, axis)


def geglu(z: TensorSymbol, *, name: str, axis: int = -1, approximate: str = "none") -> Any:
    """a·gelu(b) of the halves of an axis, otherwise as glu; `approximate` as of gelu. Source: Shazeer 2020."""
    return gated("geglu", z, lambda b: gelu(b, approximate), name, axis)


def swiglu(z: TensorSymbol, *, name: str, axis: int = -1) -> Any:
    """a·silu(b) of the halves of an axis, otherwise as glu. Source: Shazeer 2020."""
    return gated("swiglu", z, silu, name, axis)


def gated(function: str, z: TensorSymbol, gate: Callable[[sp.Expr], sp.Expr], name: str, axis: int) -> Any:
    """a·gate(b) of the halves a and b of an axis; z itself where it has none."""
    at, i = along(function, z, axis)
    model, size, k = z.model, i.upper + 1, at.index(i)
    half = size.subs(model.fixed_sizes) / 2
    if not half.is_Integer:
        expected = "expected an axis of an even size, fixed at generation"
        model.problem(f"{function} {name}: {expected}, found {size} in {z.name}")
        return z
    at = model.local_indices(*z.shape[:k], half, *z.shape[k + 1 :])
    return model.let(name, at, z[at] * gate(z[(*at[:k], at[k] + half, *at[k + 1 :])]))


# ---- with random numbers


def rrelu(z: TensorSymbol, lower: Option = 1 / 8, upper: Option = 1 / 3, *, name: str) -> Any:
    """leaky_relu with a random slope for each element, uniform in lower .. upper; in evaluation with their mean.

    It is a let `name` with z's shape; its random numbers are `<name>_slopes`. As torch.nn.RReLU.
    """
    model = tensor("rrelu", z).model
    at = model.local_indices(*z.shape)
    low, high = option("rrelu", "lower", lower), option("rrelu", "upper", upper)
    u = model.random(f"{name}_slopes", *z.shape)[at]
    slope = sp.Piecewise((low * (1 - u) + high * u, sp.Eq(model.training, 1)), ((low + high) / 2, True))
    return model.let(name, at, sp.Piecewise((z[at], z[at] > 0), (slope * z[at], True)))
