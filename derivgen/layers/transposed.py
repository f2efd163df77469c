"""Transposed convolutions of sequences, images and volumes: each element adds its taps to what is around its place.

As a sum for each place of the output: the places within one stride have the same elements, each with other taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derivgen.activations import identity
from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import digits, fixed, function, sum_over
from derivgen.layers.convolution import Activation, Groups, Init, divided_among
from derivgen.layers.margins import padded, surrounded, with_margins
from derivgen.layers.windows import (
    STEPS,
    TAPS,
    PerAxis,
    Window,
    arranged,
    each_axis,
    has_places,
    over,
    pairs,
    spatial_axes,
    taken_apart,
)


def conv_transpose1d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: int,
    activation: Activation = identity,
    *,
    name: str,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ᵀ W + b) along time: (batch, time, features) → (batch, steps, filters).

    steps = (time - 1)·stride - 2·padding + dilation·(kernel_size - 1) + output_padding + 1; padding may be a pair of
    what is cut off (before, after). Weights `<name>_W` (features, filters / groups, kernel_size) and `<name>_b`. As
    torch.nn.ConvTranspose1d, with axes in the order of keras.layers.Conv1DTranspose.
    """
    asked = (kernel_size, stride, padding, output_padding, dilation)
    return transposed(x, "conv_transpose1d", 1, name, filters, asked, groups, activation, init, bias)


def conv_transpose2d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: PerAxis | tuple[tuple[int, int], ...] = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ᵀ W + b) over images: (batch, channels, rows, columns) → (batch, filters, rows', columns').

    rows' = (rows - 1)·stride - 2·padding + dilation·(kernel_size - 1) + output_padding + 1; the same for columns.
    Weights `<name>_W` (channels, filters / groups, *kernel_size) and `<name>_b`. padding may be a pair of pairs. As
    torch.nn.ConvTranspose2d.
    """
    asked = (kernel_size, stride, padding, output_padding, dilation)
    return transposed(x, "conv_transpose2d", 2, name, filters, asked, groups, activation, init, bias)


def conv_transpose3d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: PerAxis | tuple[tuple[int, int], ...] = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ᵀ W + b) over volumes: (batch, channels, depth, rows, columns) → (batch, filters, …).

    Weights `<name>_W` (channels, filters / groups, *kernel_size) and `<name>_b`. Sizes are those of conv_transpose2d,
    along three axes. As torch.nn.ConvTranspose3d.
    """
    asked = (kernel_size, stride, padding, output_padding, dilation)
    return transposed(x, "conv_transpose3d", 3, name, filters, asked, groups, activation, init, bias)


def transposed(
    x: TensorSymbol,
    layer: str,
    axes: int,
    name: str,
    filters: Any,
    asked: tuple[Any, ...],
    groups: Any,
    activation: Any,
    init: Init,
    bias: bool,
) -> Any:
    """A transposed convolution over so many spatial axes; `asked` are its scatters."""
    if not has_places(x, layer, axes):
        return x
    shares, f = divided_among(x, layer, filters, groups), function(x.model, layer, activation)
    frames, channels = scatters(x, layer, *asked), taken_apart(x)[1]
    W = x.model.parameter(f"{name}_W", channels, shares.filters, *(s.taps for s in frames), init=init)
    spread = spread_taps(W, name, frames, "co")
    source = with_margins(x, name, [(s.blocks - 1,) * 2 for s in frames])
    whole = scattered(source, spread, f"{name}_whole", frames, shares)
    return cut_out(whole, name, frames, f, bias)


def scattered(
    source: TensorSymbol, spread: TensorSymbol, name: str, frames: Sequence[Scatter], groups: Groups
) -> TensorSymbol:
    """y[.., stride·a + q] = Σ_b source[.., a + blocks - 1 - b]·spread[.., stride·b + q], q running over a stride."""
    model, (batch, _, lengths), count = source.model, taken_apart(source), len(frames)
    steps = [size - s.blocks + 1 for size, s in zip(lengths, frames, strict=True)]
    n, o, a = over(source, batch, groups.filters, steps, "o")
    g, c, *b = digits(model, [groups.count, groups.channels, *(s.blocks for s in frames)], f"gc{TAPS[count]}")
    q = digits(model, [s.stride for s in frames], STEPS[count])
    taken = [i + s.blocks - 1 - j for s, i, j in zip(frames, a, b, strict=True)]
    taps, places = ([s.stride * i + k for s, i, k in zip(frames, by, q, strict=True)] for by in (b, a))
    channel, left = groups.channel(g, c), groups.filter(g, o)
    o = sp.S.Zero if left == g else o
    z = sum_over(source[arranged(n, channel, taken)] * spread[(channel, o, *taps)], c, *b)
    return model.let(name, arranged(n, left, places), z)


def cut_out(whole: TensorSymbol, name: str, frames: Sequence[Scatter], activation: Activation, bias: bool) -> Any:
    """activation(whole + b), without the padding at the ends."""
    batch, filters, _ = taken_apart(whole)
    n, o, at = over(whole, batch, filters, [s.positions for s in frames], "o")
    cut = {axis: (-s.padding[0], s.excess) for axis, s in zip(spatial_axes(whole), frames, strict=True)}
    y = surrounded(whole, arranged(n, o, at), cut)
    y += whole.model.parameter(f"{name}_b", filters)[o] if bias else 0
    return whole.model.let(name, arranged(n, o, at), activation(y))


@dataclass(frozen=True, slots=True)
class Scatter:
    """How the taps of a transposed convolution spread along one axis of this length."""

    length: sp.Expr
    taps: int
    stride: int
    output_padding: int
    dilation: int
    padding: tuple[int, int]

    @property
    def reach(self) -> int:
        """From the first tap to the last."""
        return self.dilation * (self.taps - 1)

    @property
    def blocks(self) -> int:
        """How many strides the taps cover."""
        return self.reach // self.stride + 1

    @property
    def positions(self) -> sp.Expr:
        return (self.length - 1) * self.stride - sum(self.padding) + self.reach + self.output_padding + 1

    @property
    def excess(self) -> int:
        """Places that are asked for after the last block's."""
        return int(sp.expand(self.positions + self.padding[0] - self.stride * (self.length + self.blocks - 1)))


def scatters(
    x: TensorSymbol, layer: str, size: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> list[Scatter]:
    """A scatter for each spatial axis."""
    model, (_, _, lengths) = x.model, taken_apart(x)
    asked = [("the window", size, 1), ("stride", stride, 1)]
    asked += [("output_padding", output_padding, 0), ("dilation", dilation, 1)]
    axes = [each_axis(model, layer, what, value, len(lengths), least) for what, value, least in asked]
    arounds = pairs(model, layer, padding, len(lengths))
    made = [Scatter(fixed(model, a), *numbers) for a, *numbers in zip(lengths, *axes, arounds, strict=True)]
    return [that_fits(f, model, layer) for f in made]


def that_fits(f: Scatter, model: Model, layer: str) -> Scatter:
    """The scatter, without the padding that it cannot have, which is noted."""
    if f.output_padding and f.output_padding >= max(f.stride, f.dilation):
        model.problem(
            f"{layer}: output_padding must be smaller than stride or dilation, found {f.output_padding} for "
            f"{f.stride} and {f.dilation}"
        )
        f = replace(f, output_padding=0)
    if sp.expand(f.positions).is_nonpositive:
        cut = " and ".join(map(str, sorted(set(f.padding))))
        model.problem(f"{layer}: padding {cut} leaves nothing of {f.length} elements: make it smaller")
        f = replace(f, padding=(0, 0))
    return f


def spread_taps(W: TensorSymbol, name: str, frames: Sequence[Scatter], first: str) -> TensorSymbol:
    """The tensor with zeros between the taps, its last axes, where dilated, and after them, to whole strides.

    `first`: the letters of its other axes.
    """
    model, letters, others = W.model, f"{first}{TAPS[len(frames)]}", len(first)
    if any(f.dilation > 1 for f in frames):
        at = model.local_indices(*W.shape, letters=letters)
        places, on_a_tap = between_taps(model, frames, at[others:])
        W = model.let(f"{name}_spread", (*at[:others], *places), sp.Piecewise((W[at], on_a_tap), (0, True)))
    after = {axis: (0, f.stride * f.blocks - f.dilation * f.taps) for axis, f in enumerate(frames, others)}
    return padded(W, f"{name}_taps", after, letters)


def between_taps(
    model: Model, frames: Sequence[Scatter | Window], taps: Sequence[Any]
) -> tuple[list[sp.Expr], sp.Expr]:
    """(a place on each axis of dilated taps, what holds on a tap)"""
    between = digits(model, [f.dilation for f in frames], STEPS[len(frames)])
    places = [f.dilation * r + e for f, r, e in zip(frames, taps, between, strict=True)]
    return places, sp.And(*(sp.Eq(e, 0) for e in between if e != 0))
