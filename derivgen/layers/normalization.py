"""Normalizations: of each row by itself, over features or over groups of channels, and of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.declare.subscripts import is_integer
from derivgen.layers.checks import divided, is_tensor, number, parts, positive
from derivgen.layers.windows import AXES, PLACES, arranged, taken_apart

ROWS = range(2, 100)


def layer_norm(
    x: TensorSymbol,
    *,
    name: str,
    epsilon: float = 1e-5,
    scale: bool = True,
    center: bool = True,
    axis: int | Sequence[int] = -1,
) -> Any:
    """gain·(x - mean) / √(variance + epsilon) + shift along the last axis, or over the axes `axis`: any shape.

    `<name>_gain` with scale, `<name>_shift` with center: (features,), or the sizes of these axes. As
    torch.nn.LayerNorm, whose normalized_shape are the sizes of the last axes; scale, center and axis are those of
    keras.layers.LayerNormalization.
    """
    if not is_tensor(x, "layer_norm", ROWS, "(…, features)"):
        return x
    at, rows, own = by_axes(x, "layer_norm", axis)
    gain, shift = gain_and_shift(x, name, own, scale, center)
    return x.model.let(name, at, gain * standardized(x, "layer_norm", name, at, rows, own, epsilon) + shift)


def rms_norm(
    x: TensorSymbol, *, name: str, epsilon: float = 1e-6, scale: bool = True, axis: int | Sequence[int] = -1
) -> Any:
    """gain·x / √(mean of x² + epsilon) along the last axis, or over the axes `axis`: any shape.

    `<name>_gain` with scale: (features,), or the sizes of these axes. As keras.layers.RMSNormalization, and as
    torch.nn.RMSNorm with that epsilon. Source: Zhang and Sennrich 2019.
    """
    if not is_tensor(x, "rms_norm", ROWS, "(…, features)"):
        return x
    model, (at, rows, own) = x.model, by_axes(x, "rms_norm", axis)
    square = sp.Sum(x[at] ** 2, *own) / size_of(own) + positive(model, "rms_norm", "epsilon", epsilon)
    rate = model.let(f"{name}_rate", rows, 1 / sp.sqrt(square), layer=name)
    gain, _ = gain_and_shift(x, name, own, scale, False)
    return model.let(name, at, gain * x[at] * rate[rows])


def by_axes(x: TensorSymbol, layer: str, axis: int | Sequence[int]) -> tuple[tuple[Any, ...], list[Any], list[Any]]:
    """Indices of the tensor, those of all other axes, and those of these axes."""
    at, rank = x.model.local_indices(*x.shape), len(x.shape)
    axes: list[Any] = list(axis) if isinstance(axis, tuple | list) else [axis]
    own = {int(a) % rank for a in axes if is_integer(a) and 0 < abs(a) < rank}
    if not own or len(own) < len(axes):
        words = f"one or several axes after the batch, each once, from 1 to {rank - 1} or from -{rank - 1} to -1"
        x.model.problem(f"{layer}: axis must be {words}, found {axis!r}")
        own = {rank - 1}
    return at, [i for k, i in enumerate(at) if k not in own], [i for k, i in enumerate(at) if k in own]


def group_norm(
    x: TensorSymbol, groups: int, *, name: str, epsilon: float = 1e-5, scale: bool = True, center: bool = True
) -> Any:
    """gain·(x - mean) / √(variance + epsilon) + shift over each group of channels and all their places.

    (batch, features), (batch, time, features), images or volumes (batch, channels, …); the output has the same shape.
    `<name>_gain` (channels,) with scale, `<name>_shift` with center. As torch.nn.GroupNorm. Source: Wu and He 2018.
    """
    if not is_tensor(x, "group_norm", range(2, 6), f"(batch, features), {AXES[1]}, {AXES[2]} or {AXES[3]}"):
        return x
    model, (batch, channels, lengths) = x.model, taken_apart(x)
    G = parts(model, "group_norm", "groups", groups, channels, "channels")
    size = divided(model, channels, G)
    n, *g, k = model.local_indices(batch, *([G] if G > 1 else []), size, letters="ngk" if G > 1 else "nk")
    places = model.local_indices(*lengths, letters=PLACES[len(lengths)])
    channel = sp.Add(k, *(size * i for i in g))
    at = arranged(n, channel, places)
    gain, shift = gain_and_shift(x, name, [channel], scale, center, [channels])
    return model.let(name, at, gain * standardized(x, "group_norm", name, at, [n, *g], [k, *places], epsilon) + shift)


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
    value, count = x[tuple(at)], size_of(over)
    mean = x.model.let(f"{name}_mean", rows, sp.Sum(value, *over) / count, layer=name)
    return mean, sp.Sum((value - mean[rows]) ** 2, *over) / count


def size_of(indices: Sequence[Any]) -> sp.Expr:
    """How many elements these indices run over."""
    return sp.Mul(*(i.upper + 1 for i in indices))


def gain_and_shift(
    x: TensorSymbol, name: str, at: Sequence[Any], scale: bool, center: bool, sizes: Sequence[Any] | None = None
) -> tuple[sp.Expr, sp.Expr]:
    """The elements of both, 1 and 0 where they are not wanted; `sizes`: theirs, those of the indices if None."""
    sizes = [i.upper + 1 for i in at] if sizes is None else sizes
    gain = x.model.parameter(f"{name}_gain", *sizes, init="ones")[tuple(at)] if scale else sp.S.One
    return gain, x.model.parameter(f"{name}_shift", *sizes)[tuple(at)] if center else sp.S.Zero


def instance_norm(
    x: TensorSymbol,
    *,
    name: str,
    momentum: float | None = 0.1,
    epsilon: float = 1e-5,
    scale: bool = True,
    center: bool = True,
    track_running_stats: bool = False,
) -> Any:
    """gain·(x - mean) / √(variance + epsilon) + shift for each channel of each sample, over its places.

    (batch, time, features), or images (batch, channels, rows, columns) with one spatial axis or more;
    `<name>_gain` (channels,) with scale, `<name>_shift` with center. With track_running_stats evaluation uses running
    means and variances, moved as in batch_norm. As torch.nn.InstanceNorm1d and torch.nn.InstanceNorm2d with affine.
    Source: Ulyanov, Vedaldi and Lempitsky 2016.
    """
    if not is_tensor(x, "instance_norm", range(3, 100), f"{AXES[1]} or {AXES[2]}"):
        return x
    at, c, places = by_channel(x)
    gain, shift = gain_and_shift(x, name, [c], scale, center)
    if track_running_stats:
        z = by_statistics(x, "instance_norm", name, at, [at[0], c], places, epsilon, momentum)
    else:
        z = standardized(x, "instance_norm", name, at, [at[0], c], places, epsilon)
    return x.model.let(name, at, gain * z + shift)


def batch_norm(
    x: TensorSymbol,
    *,
    name: str,
    momentum: float | None = 0.1,
    epsilon: float = 1e-5,
    scale: bool = True,
    center: bool = True,
    track_running_stats: bool = True,
    training: bool = True,
) -> Any:
    """gain·(x - mean)/√(variance + epsilon) + shift for each channel: axis 1 of images, otherwise the last axis.

    Training uses the mean and variance of the batch, evaluation running ones; each step moves the running ones by the
    fraction `momentum`, or, with None, to their mean over all steps. Without track_running_stats evaluation uses the
    batch too; with training=False training uses the running ones too, which stay as they are. As torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d and torch.nn.BatchNorm3d, also in that the running variance is unbiased; scale, center and
    training are those of keras.layers.BatchNormalization. Source: Ioffe and Szegedy 2015.
    """
    if not is_tensor(x, "batch_norm", ROWS, "(batch, …)"):
        return x
    at, c, places = by_channel(x)
    gain, shift = gain_and_shift(x, name, [c], scale, center)
    if not training:
        z = by_held_statistics(x, name, at, c, epsilon)
    elif track_running_stats:
        z = by_statistics(x, "batch_norm", name, at, [c], [at[0], *places], epsilon, momentum)
    else:
        z = standardized(x, "batch_norm", name, at, [c], [at[0], *places], epsilon)
    return x.model.let(name, at, gain * z + shift)


def by_channel(x: TensorSymbol) -> tuple[tuple[Any, ...], Any, list[Any]]:
    """Indices of the tensor, that of its channels, and those of its places: of all axes but the batch and them."""
    at, axis = x.model.local_indices(*x.shape), 1 if len(x.shape) >= 4 else len(x.shape) - 1
    return at, at[axis], [i for i in at[1:] if i != at[axis]]


def by_statistics(
    x: TensorSymbol,
    layer: str,
    name: str,
    at: Sequence[sp.Expr],
    rows: Sequence[Any],
    over: Sequence[Any],
    epsilon: float,
    momentum: float | None,
) -> sp.Expr:
    """(x[at] - mean) / deviation: in training those over the indices `over` for each of `rows`, whose last one is the
    channel, and in evaluation running ones of each channel.
    """
    model, c = x.model, rows[-1]
    mean, squares = mean_and_variance(x, name, at, rows, over)
    variance, count = model.let(f"{name}_variance", rows, squares, layer=name), size_of(over)
    part, unbiased = fraction(model, layer, name, momentum), count / sp.Max(count - 1, 1)
    means = running_average(mean, rows, part, 1, name=f"{name}_running_mean", init="zeros")
    variances = running_average(variance, rows, part, unbiased, name=f"{name}_running_variance", init="ones")
    m, v = (by_mode(own[rows], running[c], model) for own, running in ((mean, means), (variance, variances)))
    epsilon = positive(model, layer, "epsilon", epsilon)
    deviation = model.let(f"{name}_deviation", rows, sp.sqrt(v + epsilon), layer=name)
    return (x[tuple(at)] - m) / deviation[rows]


def by_held_statistics(x: TensorSymbol, name: str, at: Sequence[sp.Expr], c: Any, epsilon: float) -> sp.Expr:
    """(x[at] - mean) / deviation by the running tensors of each channel c, which stay as they are."""
    model, size = x.model, c.upper + 1
    mean = model.running(f"{name}_running_mean", size, init="zeros", next=None)
    variance = model.running(f"{name}_running_variance", size, init="ones", next=None)
    root = sp.sqrt(variance[c] + positive(model, "batch_norm", "epsilon", epsilon))
    deviation = model.let(f"{name}_deviation", c, root, layer=name)
    return (x[tuple(at)] - mean[c]) / deviation[c]


def by_mode(training: sp.Expr, evaluation: sp.Expr, model: Model) -> sp.Expr:
    return sp.Piecewise((training, sp.Eq(model.training, 1)), (evaluation, True))


def fraction(model: Model, layer: str, name: str, momentum: float | None) -> sp.Expr:
    """The share of a batch in running tensors; where None, that of their mean over all batches, which are counted."""
    if momentum is not None:
        words = "a number from 0 to 1, or None"
        return number(model, layer, "momentum", momentum, words, lambda v: 0 <= v <= 1, 0)
    count = model.running(f"{name}_batches", next=lambda: count + 1)
    return 1 / (count + 1)


def running_average(
    a: TensorSymbol, rows: Sequence[Any], part: sp.Expr, factor: sp.Expr | int, *, name: str, init: str
) -> Any:
    """The running tensor r ← (1 - part)·r + part·factor·a by channel, a's last axis; of a's mean over other axes."""

    def following(c: sp.Expr) -> sp.Expr:
        mean = sp.Sum(a[(*rows[:-1], c)], *rows[:-1]) / size_of(rows[:-1]) if rows[1:] else a[c]
        return (1 - part) * average[c] + part * factor * mean

    average = a.model.running(name, a.shape[-1], init=init, next=following)
    return average
