"""Sequences, images and volumes made larger or smaller: margins, repeated elements, channels as pixels."""

from __future__ import annotations

from typing import Any

from derivgen.declare.model import TensorSymbol
from derivgen.layers.checks import choice, digits, divided, is_tensor, number, parts, whole_number
from derivgen.layers.margins import MODES, continued, letters_of, padded, possible_mode
from derivgen.layers.windows import (
    SPATIAL,
    STEPS,
    PerAxis,
    arranged,
    each_axis,
    has_places,
    over,
    pairs,
    spatial_axes,
    taken_apart,
)


def pad(
    x: TensorSymbol,
    padding: PerAxis | tuple[tuple[int, int], ...],
    mode: str = "constant",
    value: float = 0.0,
    *,
    name: str,
) -> Any:
    """The tensor with elements before and after its spatial axes: the value, or what continues it.

    padding is a number, or for each axis a number or a pair (before, after). mode: "constant", "reflect", "replicate"
    or "circular". As torch.nn.functional.pad, with the padding of keras.layers.ZeroPadding2D.
    """
    if not is_tensor(x, "pad", range(3, 6), SPATIAL):
        return x
    model, arounds = x.model, pairs(x.model, "pad", padding, len(x.shape) - 2)
    fill = number(model, "pad", "value", value, "a number", lambda v: v == v, 0)
    mode = possible_mode(x, "pad", choice(model, "pad", "mode", mode, ("constant", *MODES[1:])), arounds)
    if not any(map(any, arounds)):
        return model.let(name, at := model.local_indices(*x.shape, letters=letters_of(x)), x[at])
    if mode in MODES[1:]:
        return continued(x, name, arounds, mode)
    return padded(x, name, dict(zip(spatial_axes(x), arounds, strict=True)), letters_of(x), fill)


def upsample(x: TensorSymbol, scale_factor: PerAxis, *, name: str) -> Any:
    """Each element so many times along the spatial axes, one number or one for each axis.

    As torch.nn.Upsample(mode="nearest"), keras.layers.UpSampling1D, 2D and 3D.
    """
    if not is_tensor(x, "upsample", range(3, 6), SPATIAL):
        return x
    model, (_, _, lengths) = x.model, taken_apart(x)
    factors = each_axis(model, "upsample", "scale_factor", scale_factor, len(lengths), 1)
    n, c, at = over(x, *taken_apart(x))
    steps = digits(model, factors, STEPS[len(lengths)])
    finer = [s * i + u for s, i, u in zip(factors, at, steps, strict=True)]
    return model.let(name, arranged(n, c, finer), x[arranged(n, c, at)])


def pixel_shuffle(x: TensorSymbol, upscale_factor: int, *, name: str) -> Any:
    """Channels as pixels: (batch, channels·s², rows, columns) → (batch, channels, rows·s, columns·s).

    As torch.nn.PixelShuffle.
    """
    if not has_places(x, "pixel_shuffle", 2):
        return x
    model, (batch, channels, *sizes) = x.model, x.shape
    s = whole_number(model, "pixel_shuffle", "upscale_factor", upscale_factor)
    s = s if parts(model, "pixel_shuffle", "upscale_factor squared", s * s, channels, "channels") > 1 else 1
    n, c, (i, j) = over(x, batch, divided(model, channels, s * s), sizes)
    u, v = digits(model, (s, s), STEPS[2])
    return model.let(name, (n, c, s * i + u, s * j + v), x[n, s * s * c + s * u + v, i, j])


def pixel_unshuffle(x: TensorSymbol, downscale_factor: int, *, name: str) -> Any:
    """Pixels as channels: (batch, channels, rows·s, columns·s) → (batch, channels·s², rows, columns).

    As torch.nn.PixelUnshuffle.
    """
    if not has_places(x, "pixel_unshuffle", 2):
        return x
    model, (batch, channels, *sizes) = x.model, x.shape
    s = whole_number(model, "pixel_unshuffle", "downscale_factor", downscale_factor)
    for size, axis in zip(sizes, ("rows", "columns"), strict=True):
        s = parts(model, "pixel_unshuffle", "downscale_factor", s, size, axis)
    n, c, (i, j) = over(x, batch, channels, [divided(model, size, s) for size in sizes])
    u, v = digits(model, (s, s), STEPS[2])
    return model.let(name, (n, s * s * c + s * u + v, i, j), x[n, c, s * i + u, s * j + v])
