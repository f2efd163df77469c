"""Normalizations: of each row by itself, over features or over groups of channels, and of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import divided, is_tensor, number, parts, positive
from derivgen.layers.windows import AXES, PLACES, arranged, taken_apart

ROWS = range(2, 100)


def layer_norm(x: TensorSymbol, *, name: str, epsilon: float = 1e-5, scale: bool = True, center: bool = True) -> Any:
    """gain·(x - mean) / √(variance + epsilon) + shift along the last axis: (…, features) → (…, features).

    `<name>_gain` (features,) with scale, `<name>_shift` with center. As torch.nn.LayerNorm; scale and center are those
    of keras.layers.LayerNormalization.
    """
    if not is_tensor(x, "layer_norm", ROWS, "(…, features)"):
        return x
    *rows, i = x.model.local_indices(*x.shape)
    z = standardized(x, "layer_norm", name, (*rows, i), rows, [i], epsilon)
    return x.model.let(name, (*rows, i), with_gain_and_shift(x, name, z, x.shape[-1], i, scale, center))


def rms_norm(x: TensorSymbol, *, name: str, epsilon: float = 1e-6, scale: bool = True) -> Any:
    """gain·x / √(mean of x² + epsilon) along the last axis: (…, features) → (…, features).

    `<name>_gain` (features,) with scale. As keras.layers.RMSNormalization, and as torch.nn.RMSNorm with that epsilon.
    Source: Zhang and Sennrich 2019.
    """
    if not is_tensor(x, "rms_norm", ROWS, "(…, features)"):
        return x
    model, (*batch, features) = x.model, x.shape
    *rows, i = at = model.local_indices(*batch, features)
    square = sp.Sum(x[at] ** 2, i) / features + positive(model, "rms_norm", "epsilon", epsilon)
    rate = model.let(f"{name}_rate", rows, 1 / sp.sqrt(square), layer=name)
    return model.let(name, at, with_gain_and_shift(x, name, x[at] * rate[rows], features, i, scale, False))


def group_norm(
    x: TensorSymbol, groups: int, *, name: str, epsilon: float = 1e-5, scale: bool = True, center: bool = True
) -> Any:
    """gain·(x - mean) / √(variance + epsilon) + shift over each group of channels and all their places.

    (batch, features), (batch, time, features) or (batch, channels, rows, columns); the output has the same shape.
    `<name>_gain` (channels,) with scale, `<name>_shift` with center. As torch.nn.GroupNorm. Source: Wu and He 2018.
    """
    if not is_tensor(x, "group_norm", range(2, 5), f"(batch, features), {AXES[1]} or {AXES[2]}"):
        return x
    model, (batch, channels, lengths) = x.model, taken_apart(x)
    G = parts(model, "group_norm", "groups", groups, channels, "channels")
    size = divided(model, channels, G)
    n, *g, k = model.local_indices(batch, *([G] if G > 1 else []), size, letters="ngk" if G > 1 else "nk")
    places = model.local_indices(*lengths, letters=PLACES[len(lengths)])
    channel = sp.Add(k, *(size * i for i in g))
    at = arranged(n, channel, places)
    z = standardized(x, "group_norm", name, at, [n, *g], [k, *places], epsilon)
    return model.let(name, at, with_gain_and_shift(x, name, z, channels, channel, scale, center))


def standardized(
    x: TensorSymbol,
    layer: str,
    name: str,
    at: Sequence[sp.Expr],
    rows: Sequence[sp.Expr],
    over: Sequence[Any],
    epsilon: float,
) -> sp.Expr:
    """(x[at] - mean)·rate, with rate = 1 / √(variance + epsilon): over the indices `over`, for each of `rows`."""
    value, (mean, variance) = x[tuple(at)], mean_and_variance(x, name, at, rows, over)
    rate = x.model.let(
        f"{name}_rate", rows, 1 / sp.sqrt(variance + positive(x.model, layer, "epsilon", epsilon)), layer=name
    )
    return (value - mean[rows]) * rate[rows]


def mean_and_variance(
    x: TensorSymbol, name: str, at: Sequence[sp.Expr], rows: Sequence[sp.Expr], over: Sequence[Any]
) -> tuple[TensorSymbol, sp.Expr]:
    """The let `<name>_mean` over the indices `over`, for each of `rows`, and the mean square of the differences."""
    value, count = x[tuple(at)], sp.Mul(*(i.upper + 1 for i in over))
    mean = x.model.let(f"{name}_mean", rows, sp.Sum(value, *over) / count, layer=name)
    return mean, sp.Sum((value - mean[rows]) ** 2, *over) / count


def with_gain_and_shift(
    x: TensorSymbol, name: str, z: sp.Expr, channels: Any, channel: sp.Expr, scale: bool, center: bool
) -> sp.Expr:
    """gain[channel]·z + shift[channel], as far as wanted."""
    if scale:
        z *= x.model.parameter(f"{name}_gain", channels, init="ones")[channel]
    if center:
        z += x.model.parameter(f"{name}_shift", channels)[channel]
    return z


def batch_norm(x: TensorSymbol, *, name: str, momentum: float = 0.1, epsilon: float = 1e-5) -> Any:
    """gain·(x - mean)/√(variance + epsilon) + shift for each channel: axis 1 of images, otherwise the last axis.

    Training uses the mean and variance of the batch, evaluation running ones; each step moves the running ones by the
    fraction `momentum`. As torch.nn.BatchNorm1d and torch.nn.BatchNorm2d, also in that the running variance is
    unbiased. Source: Ioffe and Szegedy 2015.
    """
    if not is_tensor(x, "batch_norm", ROWS, "(batch, …)"):
        return x
    model, axis = x.model, 1 if len(x.shape) >= 4 else len(x.shape) - 1
    i, size = model.local_indices(*x.shape), x.shape[axis]
    c, rest, count = i[axis], (*i[:axis], *i[axis + 1 :]), sp.Mul(*x.shape[:axis], *x.shape[axis + 1 :])
    gain, shift = model.parameter(f"{name}_gain", size, init="ones"), model.parameter(f"{name}_shift", size)
    mean, variance = batch_moments(x, name, i, c, rest)
    means, variances = running_moments(mean, variance, count, momentum, name)
    m, v = (by_mode(batch[c], running[c], model) for batch, running in ((mean, means), (variance, variances)))
    epsilon = positive(model, "batch_norm", "epsilon", epsilon)
    deviation = model.let(f"{name}_deviation", c, sp.sqrt(v + epsilon), layer=name)
    return model.let(name, i, gain[c] * (x[i] - m) / deviation[c] + shift[c])


def batch_moments(x: TensorSymbol, name: str, at: Sequence[sp.Expr], c: Any, over: Sequence[Any]) -> Any:
    """The lets `<name>_mean` and `<name>_variance` of each channel c over the other indices."""
    mean, variance = mean_and_variance(x, name, at, [c], over)
    return mean, x.model.let(f"{name}_variance", c, variance, layer=name)


def by_mode(training: sp.Expr, evaluation: sp.Expr, model: Model) -> sp.Expr:
    return sp.Piecewise((training, sp.Eq(model.training, 1)), (evaluation, True))


def running_moments(
    mean: TensorSymbol, variance: TensorSymbol, count: sp.Expr, momentum: float, name: str
) -> tuple[TensorSymbol, TensorSymbol]:
    """The running tensors of both, the variance's as an unbiased one of so many elements."""
    part = number(mean.model, "batch_norm", "momentum", momentum, "a number from 0 to 1", lambda v: 0 <= v <= 1, 0)
    unbiased = count / sp.Max(count - 1, 1)
    means = running_average(mean, part, 1, name=f"{name}_running_mean", init="zeros")
    return means, running_average(variance, part, unbiased, name=f"{name}_running_variance", init="ones")


def running_average(a: TensorSymbol, part: sp.Expr, factor: sp.Expr | int, *, name: str, init: str) -> Any:
    """The running tensor r ← (1 - part)·r + part·factor·a."""

    def following(*i: sp.Expr) -> sp.Expr:
        return (1 - part) * average[i] + part * factor * a[i]

    average = a.model.running(name, *a.shape, init=init, next=following)
    return average
