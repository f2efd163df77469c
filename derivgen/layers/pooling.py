"""Maxima and means over windows of sequences and images, and over all of them."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form.expressions import MaxOver
from derivgen.layers.checks import digits, is_tensor, sum_over
from derivgen.layers.windows import AXES, TAPS, Window, arranged, over, taken_apart, windows, with_margins

PerAxis = int | tuple[int, int]


def max_pool1d(
    x: TensorSymbol, kernel_size: int, *, name: str, stride: int | None = None, padding: int | str = 0
) -> Any:
    """Maxima over windows of time: (batch, time, features) → (batch, steps, features).

    If several elements are equal, the first one gets the whole derivative. stride is the window if omitted; padding
    does not count. As torch.nn.MaxPool1d.
    """
    return pooled_maximum(x, "max_pool1d", 1, kernel_size, name, stride, padding)


def max_pool2d(
    x: TensorSymbol, kernel_size: PerAxis, *, name: str, stride: PerAxis | None = None, padding: PerAxis | str = 0
) -> Any:
    """Maxima over windows of images: (batch, channels, rows, columns) → (batch, channels, rows', columns').

    If several elements are equal, the first one, row by row, gets the whole derivative. stride is the window if
    omitted; padding does not count. As torch.nn.MaxPool2d.
    """
    return pooled_maximum(x, "max_pool2d", 2, kernel_size, name, stride, padding)


def avg_pool1d(
    x: TensorSymbol, kernel_size: int, *, name: str, stride: int | None = None, padding: int | str = 0
) -> Any:
    """Means over windows of time: (batch, time, features) → (batch, steps, features).

    stride is the window if omitted; padding counts as zeros. As torch.nn.AvgPool1d.
    """
    return pooled_mean(x, "avg_pool1d", 1, kernel_size, name, stride, padding)


def avg_pool2d(
    x: TensorSymbol, kernel_size: PerAxis, *, name: str, stride: PerAxis | None = None, padding: PerAxis | str = 0
) -> Any:
    """Means over windows of images: (batch, channels, rows, columns) → (batch, channels, rows', columns').

    stride is the window if omitted; padding counts as zeros. As torch.nn.AvgPool2d.
    """
    return pooled_mean(x, "avg_pool2d", 2, kernel_size, name, stride, padding)


def global_max_pool(x: TensorSymbol, *, name: str) -> Any:
    """Maxima over time or over rows and columns: (batch, features). As keras.layers.GlobalMaxPooling1D and 2D."""
    if not is_tensor(x, "global_max_pool", range(3, 5), f"{AXES[1]} or {AXES[2]}"):
        return x
    batch, channels, lengths = taken_apart(x)
    n, c, at = over(x, batch, channels, lengths)
    return x.model.let(name, (n, c), MaxOver(x[arranged(n, c, at)], *at))


def global_avg_pool(x: TensorSymbol, *, name: str) -> Any:
    """Means over time or over rows and columns: (batch, features). As keras.layers.GlobalAveragePooling1D and 2D."""
    if not is_tensor(x, "global_avg_pool", range(3, 5), f"{AXES[1]} or {AXES[2]}"):
        return x
    batch, channels, lengths = taken_apart(x)
    n, c, at = over(x, batch, channels, lengths)
    return x.model.let(name, (n, c), sp.Sum(x[arranged(n, c, at)], *at) / sp.Mul(*lengths))


def pooled_maximum(
    x: TensorSymbol, layer: str, axes: int, kernel_size: Any, name: str, stride: Any, padding: Any
) -> Any:
    """MaxOver of each window; what surrounds the tensor is -∞."""
    if not is_tensor(x, layer, range(axes + 2, axes + 3), AXES[axes]):
        return x
    frames = pool_windows(x, layer, kernel_size, stride, padding)
    left, element, taps = windowed(x, name, frames, -sp.oo)
    own = [r for r in taps if r != 0]
    return x.model.let(name, left, MaxOver(element, *own) if own else element)


def pooled_mean(x: TensorSymbol, layer: str, axes: int, kernel_size: Any, name: str, stride: Any, padding: Any) -> Any:
    """The mean of each window; what surrounds the tensor is 0."""
    if not is_tensor(x, layer, range(axes + 2, axes + 3), AXES[axes]):
        return x
    frames = pool_windows(x, layer, kernel_size, stride, padding)
    left, element, taps = windowed(x, name, frames, sp.S.Zero)
    return x.model.let(name, left, sum_over(element, *taps) / sp.Mul(*(w.taps for w in frames)))


def pool_windows(x: TensorSymbol, layer: str, kernel_size: Any, stride: Any, padding: Any) -> list[Window]:
    """The windows, of which each must have an element of the tensor."""
    frames = windows(x, layer, kernel_size, stride, padding)
    if any(2 * max(w.around) > w.taps for w in frames):
        x.model.problem(f"{layer}: padding must be at most half of the window, found {padding} for {kernel_size}")
    return frames


def windowed(
    x: TensorSymbol, name: str, frames: list[Window], fill: sp.Expr
) -> tuple[tuple[Any, ...], sp.Expr, list[Any]]:
    """(the indices of the windows, an element of one, the indices of its taps)"""
    batch, channels, _ = taken_apart(x)
    source = with_margins(x, name, (w.around for w in frames), fill)
    n, c, at = over(x, batch, channels, [w.positions for w in frames])
    taps = digits(x.model, [w.taps for w in frames], TAPS[len(frames)])
    places = [w.source(i, r) for w, i, r in zip(frames, at, taps, strict=True)]
    return arranged(n, c, at), source[arranged(n, c, places)], taps
