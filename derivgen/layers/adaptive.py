"""Pools with a given number of windows."""

from __future__ import annotations

from typing import Any

from derivgen.declare.model import TensorSymbol
from derivgen.layers.checks import fixed, parts
from derivgen.layers.margins import WORDS
from derivgen.layers.pooling import pooled_maximum, pooled_mean
from derivgen.layers.windows import PerAxis, each_axis, has_places, taken_apart


def adaptive_avg_pool1d(x: TensorSymbol, output_size: int, *, name: str) -> Any:
    """Means over so many windows of one size: (batch, time, features) → (batch, output_size, features).

    output_size must divide the sizes. As torch.nn.AdaptiveAvgPool1d.
    """
    sizes = sizes_for(x, "adaptive_avg_pool1d", 1, output_size)
    return pooled_mean(x, "adaptive_avg_pool1d", 1, name, (sizes, None, 0), True) if sizes else x


def adaptive_avg_pool2d(x: TensorSymbol, output_size: PerAxis, *, name: str) -> Any:
    """Means over so many windows of one size: (batch, channels, rows, columns) → (batch, channels, *output_size).

    output_size must divide the sizes. As torch.nn.AdaptiveAvgPool2d.
    """
    sizes = sizes_for(x, "adaptive_avg_pool2d", 2, output_size)
    return pooled_mean(x, "adaptive_avg_pool2d", 2, name, (sizes, None, 0), True) if sizes else x


def adaptive_avg_pool3d(x: TensorSymbol, output_size: PerAxis, *, name: str) -> Any:
    """Means over so many windows of one size: (batch, channels, depth, rows, columns) → (batch, channels, …).

    output_size must divide the sizes. As torch.nn.AdaptiveAvgPool3d.
    """
    sizes = sizes_for(x, "adaptive_avg_pool3d", 3, output_size)
    return pooled_mean(x, "adaptive_avg_pool3d", 3, name, (sizes, None, 0), True) if sizes else x


def adaptive_max_pool1d(x: TensorSymbol, output_size: int, *, name: str) -> Any:
    """Maxima over so many windows of one size: (batch, time, features) → (batch, output_size, features).

    output_size must divide the sizes. As torch.nn.AdaptiveMaxPool1d.
    """
    sizes = sizes_for(x, "adaptive_max_pool1d", 1, output_size)
    return pooled_maximum(x, "adaptive_max_pool1d", 1, name, sizes, None, 0) if sizes else x


def adaptive_max_pool2d(x: TensorSymbol, output_size: PerAxis, *, name: str) -> Any:
    """Maxima over so many windows of one size: (batch, channels, rows, columns) → (batch, channels, *output_size).

    output_size must divide the sizes. As torch.nn.AdaptiveMaxPool2d.
    """
    sizes = sizes_for(x, "adaptive_max_pool2d", 2, output_size)
    return pooled_maximum(x, "adaptive_max_pool2d", 2, name, sizes, None, 0) if sizes else x


def adaptive_max_pool3d(x: TensorSymbol, output_size: PerAxis, *, name: str) -> Any:
    """Maxima over so many windows of one size: (batch, channels, depth, rows, columns) → (batch, channels, …).

    output_size must divide the sizes. As torch.nn.AdaptiveMaxPool3d.
    """
    sizes = sizes_for(x, "adaptive_max_pool3d", 3, output_size)
    return pooled_maximum(x, "adaptive_max_pool3d", 3, name, sizes, None, 0) if sizes else x


def sizes_for(x: TensorSymbol, layer: str, axes: int, output_size: Any) -> list[int] | None:
    """The size of a window along each axis, so that there are as many as that; None where that cannot be, as noted."""
    if not has_places(x, layer, axes):
        return None
    model, lengths = x.model, [fixed(x.model, length) for length in taken_apart(x)[2]]
    unknown = [length for length in lengths if not length.is_Integer]
    if unknown:
        model.problem(f"{layer} needs sizes known at generation, found {unknown[0]}: use model.sizes, or a global pool")
        return None
    counts = each_axis(model, layer, "output_size", output_size, axes, 1)
    given = zip(counts, lengths, WORDS[axes], strict=True)
    counts = [parts(model, layer, "output_size", count, length, word) for count, length, word in given]
    return [int(length) // count for count, length in zip(counts, lengths, strict=True)]
