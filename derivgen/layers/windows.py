"""Windows that move along the spatial axes of images and sequences: where they start, and what surrounds the tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import fixed, whole_number

AXES = {1: "(batch, time, feature)", 2: "(batch, channel, row, column)"}

# The letters of places and of taps, by the number of spatial axes.
PLACES, TAPS = {0: "", 1: "t", 2: "ij"}, {1: "r", 2: "rs"}


@dataclass(frozen=True, slots=True)
class Window:
    """A window along one axis: its taps, the steps between its positions and between its taps, what is added around
    the axis, and its positions.
    """

    taps: int
    stride: int
    dilation: int
    around: tuple[int, int]
    positions: sp.Expr

    def source(self, position: sp.Expr, tap: sp.Expr) -> sp.Expr:
        """Where a tap lies on the padded axis."""
        return self.stride * position + self.dilation * tap


def arranged(n: Any, channel: Any, spatial: Sequence[Any]) -> tuple[Any, ...]:
    """The subscripts in the order of axes: (batch, feature), (batch, time, feature), (batch, channel, row, column)."""
    return (n, *spatial, channel) if len(spatial) < 2 else (n, channel, *spatial)


def taken_apart(x: TensorSymbol) -> tuple[Any, Any, list[Any]]:
    """(batch, channels, the spatial sizes) of a sequence, an image, or a (batch, feature) matrix."""
    if len(x.shape) < 4:
        batch, *spatial, channels = x.shape
        return batch, channels, spatial
    batch, channels, *spatial = x.shape
    return batch, channels, spatial


def each_axis(model: Model, layer: str, what: str, value: Any, count: int, least: int) -> list[int]:
    """An argument for each spatial axis: a number for all of them, or a tuple; each an integer of at least `least`."""
    if isinstance(value, tuple | list) and len(value) != count:
        model.problem(f"{layer}: {what} must be a number or {count} of them, found {value!r}")
        return [least] * count
    given = value if isinstance(value, tuple | list) else [value] * count
    return [whole_number(model, layer, what, v, least) for v in given]


def windows(
    x: TensorSymbol, layer: str, size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> list[Window]:
    """A window for each spatial axis.

    stride: that of the window where None. padding: numbers, "same" (half a window on both sides, an odd one), or
    "causal" (all of it before).
    """
    model, (_, _, lengths) = x.model, taken_apart(x)
    count = len(lengths)
    sizes = each_axis(model, layer, "the window", size, count, 1)
    strides = sizes if stride is None else each_axis(model, layer, "stride", stride, count, 1)
    dilations = each_axis(model, layer, "dilation", dilation, count, 1)
    arounds = margins(model, layer, padding, [d * (k - 1) for d, k in zip(dilations, sizes, strict=True)])
    numbers = zip(lengths, sizes, strides, dilations, arounds, strict=True)
    return [window_along(model, layer, *each) for each in numbers]


def window_along(
    model: Model, layer: str, length: Any, taps: int, stride: int, dilation: int, around: tuple[int, int]
) -> Window:
    """A window along an axis of this length; one that fits where this one does not, which is noted."""
    last = fixed(model, length) + sum(around) - dilation * (taps - 1) - 1
    if not last.is_Integer and stride > 1:
        model.problem(f"{layer}: stride {stride} needs a size known at generation, found {length}: use model.sizes")
        stride = 1
    if last.is_negative:
        model.problem(
            f"{layer}: a window of {taps} with dilation {dilation} does not fit into {length} elements with "
            f"{sum(around)} around them: make it smaller, or add padding"
        )
        taps, around, last = 1, (0, 0), fixed(model, length) - 1
    return Window(taps, stride, dilation, around, last // stride + 1 if stride > 1 else last + 1)


def margins(model: Model, layer: str, padding: Any, reaches: Sequence[int]) -> list[tuple[int, int]]:
    """What is added (before, after) each axis, along which a window reaches so far beyond its first tap."""
    if padding == "causal" and len(reaches) == 1:
        return [(reaches[0], 0)]
    if padding == "same":
        if any(reach % 2 for reach in reaches):
            model.problem(f'{layer}: padding "same" needs an odd window, found an even one: give numbers instead')
        return [(reach // 2, reach // 2) for reach in reaches]
    if isinstance(padding, str):
        words = '"same" or "causal"' if len(reaches) == 1 else '"same"'
        model.problem(f"{layer}: padding must be numbers or {words}, found {padding!r}")
        padding = 0
    return [(p, p) for p in each_axis(model, layer, "padding", padding, len(reaches), 0)]


def over(x: TensorSymbol, batch: Any, channels: Any, spatial: Sequence[Any], channel: str = "c") -> tuple[Any, ...]:
    """(the batch's index, the channels', a list of the spatial ones), with the letters of formulas."""
    n, c, *places = x.model.local_indices(batch, channels, *spatial, letters=f"n{channel}{PLACES[len(spatial)]}")
    return n, c, places


def padded(
    x: TensorSymbol, name: str, around: Mapping[int, tuple[int, int]], letters: str, fill: sp.Expr = sp.S.Zero
) -> TensorSymbol:
    """The tensor with so many elements `fill` before and after some axes, as a let of its own: what reads that needs
    no guard. Negative numbers cut off. The tensor itself where nothing changes.
    """
    if not any(any(added) for added in around.values()):
        return x
    grown = [size + sum(around.get(axis, ())) for axis, size in enumerate(x.shape)]
    at = x.model.local_indices(*grown, letters=letters)
    return x.model.let(name, at, surrounded(x, at, around, fill))


def surrounded(
    x: TensorSymbol, at: Sequence[sp.Expr], around: Mapping[int, tuple[int, int]], fill: sp.Expr = sp.S.Zero
) -> sp.Expr:
    """The element of the tensor so surrounded, under a guard where `at` may lie outside of the tensor."""
    source, inside = list(at), []
    for axis, (before, after) in around.items():
        source[axis] -= before
        inside += [at[axis] >= before] if before > 0 else []
        inside += [at[axis] < before + x.shape[axis]] if after > 0 else []
    value = x[tuple(source)]
    return sp.Piecewise((value, sp.And(*inside)), (fill, True)) if inside else value


def with_margins(
    x: TensorSymbol, name: str, arounds: Iterable[tuple[int, int]], fill: sp.Expr = sp.S.Zero
) -> TensorSymbol:
    """The sequence or image with its margins, one pair for each spatial axis."""
    letters = "ntc" if len(x.shape) == 3 else "ncij"
    return padded(x, f"{name}_padded", dict(zip(spatial_axes(x), arounds, strict=True)), letters, fill)


def spatial_axes(x: TensorSymbol) -> range:
    return range(1, 2) if len(x.shape) == 3 else range(2, 4)
