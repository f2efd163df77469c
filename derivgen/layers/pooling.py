"""Maxima, means and norms over windows of sequences, images and volumes, and over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import MaxOver
from derivgen.layers.checks import choice, is_tensor, plain, positive, sum_over
from derivgen.layers.margins import with_margins
from derivgen.layers.windows import (
    FLAG,
    SPATIAL,
    Padding,
    PerAxis,
    Window,
    arranged,
    has_places,
    over,
    spatial_axes,
    taken_apart,
    taps_of,
    windows,
)


def max_pool1d(
    x: TensorSymbol,
    kernel_size: int,
    *,
    name: str,
    stride: int | None = None,
    padding: Padding = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Any:
    """Maxima over windows of time: (batch, time, features) → (batch, steps, features).

    If several elements are equal, the first one gets the whole derivative. stride is the window if omitted; padding, as
    of conv1d, does not count. With ceil_mode a last window may reach over the end. As torch.nn.MaxPool1d.
    """
    return pooled_maximum(x, "max_pool1d", 1, name, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: TensorSymbol,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Any:
    """Maxima over windows of images: (batch, channels, rows, columns) → (batch, channels, rows', columns').

    If several elements are equal, the first one, row by row, gets the whole derivative. stride is the window if
    omitted; padding, as of conv2d, does not count. With ceil_mode last windows may reach over the end. As
    torch.nn.MaxPool2d.
    """
    return pooled_maximum(x, "max_pool2d", 2, name, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: TensorSymbol,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Any:
    """Maxima over windows of volumes: (batch, channels, depth, rows, columns) → the same.

    Arguments are those of max_pool2d, of three numbers or pairs where not one. As torch.nn.MaxPool3d.
    """
    return pooled_maximum(x, "max_pool3d", 3, name, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: TensorSymbol,
    kernel_size: int,
    *,
    name: str,
    stride: int | None = None,
    padding: Padding = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Means over windows of time: (batch, time, features) → (batch, steps, features).

    stride is the window if omitted; padding, as of conv1d, counts as zeros, or not at all without count_include_pad.
    What ceil_mode adds at the end does not count. As torch.nn.AvgPool1d; dilation is as in ONNX's AveragePool.
    """
    asked = (kernel_size, stride, padding, dilation, ceil_mode)
    return pooled_mean(x, "avg_pool1d", 1, name, asked, count_include_pad)


def avg_pool2d(
    x: TensorSymbol,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Means over windows of images: (batch, channels, rows, columns) → (batch, channels, rows', columns').

    stride is the window if omitted; padding, as of conv2d, counts as zeros, or not at all without count_include_pad.
    What ceil_mode adds at the ends does not count. As torch.nn.AvgPool2d; dilation is as in ONNX's AveragePool.
    """
    asked = (kernel_size, stride, padding, dilation, ceil_mode)
    return pooled_mean(x, "avg_pool2d", 2, name, asked, count_include_pad)


def avg_pool3d(
    x: TensorSymbol,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Means over windows of volumes: (batch, channels, depth, rows, columns) → the same.

    Arguments are those of avg_pool2d, of three numbers or pairs where not one. As torch.nn.AvgPool3d.
    """
    asked = (kernel_size, stride, padding, dilation, ceil_mode)
    return pooled_mean(x, "avg_pool3d", 3, name, asked, count_include_pad)


def lp_pool1d(
    x: TensorSymbol,
    norm_type: float,
    kernel_size: int,
    *,
    name: str,
    stride: int | None = None,
    padding: Padding = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Any:
    """(Σ x^norm_type)^(1/norm_type) over windows of time: (batch, time, features) → (batch, steps, features).

    The derivative is 0 where the sum is 0. Padding counts as zeros; a window that ceil_mode lets reach over the end is
    weighed as a whole one. As torch.nn.LPPool1d: an odd power keeps the sign of an element, so a sum may be negative,
    and its root NaN.
    """
    return pooled_norm(x, "lp_pool1d", 1, name, norm_type, kernel_size, stride, padding, dilation, ceil_mode)


def lp_pool2d(
    x: TensorSymbol,
    norm_type: float,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Any:
    """(Σ x^norm_type)^(1/norm_type) over windows of images: (batch, channels, rows, columns) → the same.

    Arguments are those of lp_pool1d, for rows and columns. As torch.nn.LPPool2d.
    """
    return pooled_norm(x, "lp_pool2d", 2, name, norm_type, kernel_size, stride, padding, dilation, ceil_mode)


def lp_pool3d(
    x: TensorSymbol,
    norm_type: float,
    kernel_size: PerAxis,
    *,
    name: str,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Any:
    """(Σ x^norm_type)^(1/norm_type) over windows of volumes: (batch, channels, depth, rows, columns) → the same.

    Arguments are those of lp_pool1d, along three axes. As torch.nn.LPPool3d.
    """
    return pooled_norm(x, "lp_pool3d", 3, name, norm_type, kernel_size, stride, padding, dilation, ceil_mode)


def global_max_pool(x: TensorSymbol, *, name: str) -> Any:
    """Maxima over all places: (batch, features). As keras.layers.GlobalMaxPooling1D, 2D and 3D."""
    if not is_tensor(x, "global_max_pool", range(3, 6), SPATIAL):
        return x
    left, element, at = everywhere(x)
    return x.model.let(name, left, MaxOver(element, *at))


def global_avg_pool(x: TensorSymbol, *, name: str) -> Any:
    """Means over all places: (batch, features). As keras.layers.GlobalAveragePooling1D, 2D and 3D."""
    if not is_tensor(x, "global_avg_pool", range(3, 6), SPATIAL):
        return x
    left, element, at = everywhere(x)
    return x.model.let(name, left, sp.Sum(element, *at) / sp.Mul(*taken_apart(x)[2]))


def global_lp_pool(x: TensorSymbol, norm_type: float = 2, *, name: str) -> Any:
    """(Σ |x|^norm_type)^(1/norm_type) over all places: (batch, features). The derivative is 0 where the sum is 0.

    Source: ONNX's GlobalLpPool, with the argument of torch.nn.LPPool2d.
    """
    if not is_tensor(x, "global_lp_pool", range(3, 6), SPATIAL):
        return x
    p = plain(positive(x.model, "global_lp_pool", "norm_type", norm_type))
    left, element, at = everywhere(x)
    return root_of_powers(x, name, left, sp.Sum(sp.Abs(element) ** p, *at), p)


def everywhere(x: TensorSymbol) -> tuple[tuple[Any, Any], sp.Expr, list[Any]]:
    """(the indices of the batch and of the channels, an element, the indices of its place)"""
    n, c, at = over(x, *taken_apart(x))
    return (n, c), x[arranged(n, c, at)], at


def pooled_maximum(x: TensorSymbol, layer: str, axes: int, name: str, *asked: Any) -> Any:
    """MaxOver of each window; what surrounds the tensor is -∞."""
    if not has_places(x, layer, axes):
        return x
    left, element, taps = windowed(x, name, pool_windows(x, layer, *asked), -sp.oo)
    own = [r for r in taps if r != 0]
    return x.model.let(name, left, MaxOver(element, *own) if own else element)


def pooled_mean(
    x: TensorSymbol, layer: str, axes: int, name: str, asked: tuple[Any, ...], count_include_pad: Any
) -> Any:
    """The mean of each window; what surrounds the tensor is 0."""
    if not has_places(x, layer, axes):
        return x
    frames = pool_windows(x, layer, *asked)
    padding = choice(x.model, layer, "count_include_pad", count_include_pad, FLAG[::-1])
    left, element, taps = windowed(x, name, frames, sp.S.Zero)
    return x.model.let(name, left, sum_over(element, *taps) / counted(x, name, frames, left, padding))


def pooled_norm(x: TensorSymbol, layer: str, axes: int, name: str, norm_type: Any, *asked: Any) -> Any:
    """The root of the sum of powers of each window; what surrounds the tensor is 0."""
    if not has_places(x, layer, axes):
        return x
    p = plain(positive(x.model, layer, "norm_type", norm_type))
    frames = pool_windows(x, layer, *asked)
    left, element, taps = windowed(x, name, frames, sp.S.Zero)
    whole = sp.Mul(*(w.taps for w in frames)) / counted(x, name, frames, left, padding=True)
    return root_of_powers(x, name, left, whole * sum_over(element**p, *taps), p)


def root_of_powers(x: TensorSymbol, name: str, left: tuple[Any, ...], powers: sp.Expr, p: sp.Expr) -> Any:
    """The root of a sum of powers p, with the derivative 0 where the sum is 0."""
    if p in (1, 2):
        return x.model.let(name, left, powers ** (1 / p))
    s = x.model.let(f"{name}_powers", left, powers, layer=name)[left]
    return x.model.let(name, left, sp.Piecewise((s ** (1 / p), sp.Ne(s, 0)), (0, True)))


def pool_windows(x: TensorSymbol, layer: str, kernel_size: Any, stride: Any, padding: Any, *rest: Any) -> list[Window]:
    """The windows, of which each must have an element of the tensor."""
    frames = windows(x, layer, kernel_size, stride, padding, *rest)
    if any(2 * max(w.around) > w.reach + 1 for w in frames):
        x.model.problem(f"{layer}: padding must be at most half of the window, found {padding} for {kernel_size}")
    return frames


def windowed(
    x: TensorSymbol, name: str, frames: list[Window], fill: sp.Expr
) -> tuple[tuple[Any, ...], sp.Expr, list[Any]]:
    """(the indices of the windows, an element of one, the indices of its taps)"""
    batch, channels, _ = taken_apart(x)
    source = with_margins(x, name, [w.margins for w in frames], fill)
    n, c, at = over(x, batch, channels, [w.positions for w in frames])
    taps = taps_of(x.model, frames)
    places = [w.source(i, r) for w, i, r in zip(frames, at, taps, strict=True)]
    return arranged(n, c, at), source[arranged(n, c, places)], taps


def counted(x: TensorSymbol, name: str, frames: Sequence[Window], left: Sequence[Any], padding: bool) -> sp.Expr:
    """How many elements of a window count; a let over the axes where they are not as many everywhere."""
    at = [left[axis] for axis in spatial_axes(x)]
    counts = [w.counted(i, padding) for w, i in zip(frames, at, strict=True)]
    own = [i for i, count in zip(at, counts, strict=True) if not count.is_Integer]
    return x.model.let(f"{name}_count", own, sp.Mul(*counts))[own] if own else sp.Mul(*counts)
