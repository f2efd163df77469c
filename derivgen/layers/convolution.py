"""Convolutions and transposed convolutions of sequences and images.

If the input is padded, the padded input is a separate let, so that the convolution is a sum of products without guards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen.activations import identity
from derivgen.declare.model import Model, TensorSymbol
from derivgen.initializers import Initializer
from derivgen.layers.checks import digits, divided, fixed, function, is_tensor, parts, sum_over, whole_number
from derivgen.layers.windows import (
    AXES,
    TAPS,
    Window,
    arranged,
    each_axis,
    over,
    padded,
    spatial_axes,
    surrounded,
    taken_apart,
    windows,
    with_margins,
)

Init = str | Initializer | ArrayLike
Activation = Callable[[sp.Expr], sp.Expr]
PerAxis = int | tuple[int, int]


def conv1d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: int,
    activation: Activation = identity,
    *,
    name: str,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ W + b) along time: (batch, time, features) → (batch, steps, filters).

    Weights `<name>_W` (filters, features / groups, kernel_size) and `<name>_b`. padding is a number, "same" (half a
    window on both sides) or "causal" (a whole window before). As torch.nn.Conv1d, with axes in the order of
    keras.layers.Conv1D; groups = features is a depthwise convolution.
    """
    if not is_tensor(x, "conv1d", range(3, 4), AXES[1]):
        return x
    shares, f = divided_among(x, "conv1d", filters, groups), function(x.model, "conv1d", activation)
    frames = windows(x, "conv1d", kernel_size, stride, padding, dilation)
    return convolution(x, name, frames, shares, f, init, bias)


def conv2d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: PerAxis | str = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ W + b) over images: (batch, channels, rows, columns) → (batch, filters, rows', columns').

    Weights `<name>_W` (filters, channels / groups, *kernel_size) and `<name>_b`. kernel_size, stride, padding and
    dilation are one number, or a pair for rows and columns; padding may be "same" (half a window on both sides). As
    torch.nn.Conv2d; groups = channels is a depthwise convolution.
    """
    if not is_tensor(x, "conv2d", range(4, 5), AXES[2]):
        return x
    shares, f = divided_among(x, "conv2d", filters, groups), function(x.model, "conv2d", activation)
    frames = windows(x, "conv2d", kernel_size, stride, padding, dilation)
    return convolution(x, name, frames, shares, f, init, bias)


@dataclass(frozen=True, slots=True)
class Groups:
    """How many groups there are, and the channels and the filters of each."""

    count: int
    channels: Any
    filters: int


def divided_among(x: TensorSymbol, layer: str, filters: Any, groups: Any) -> Groups:
    """The channels and the filters among groups; among one where the number does not divide both, which is noted."""
    model, (_, channels, _) = x.model, taken_apart(x)
    filters = whole_number(model, layer, "filters", filters)
    groups = parts(model, layer, "groups", groups, channels, "channels")
    groups = parts(model, layer, "groups", groups, filters, "filters")
    return Groups(groups, divided(model, channels, groups), filters // groups)


def convolution(
    x: TensorSymbol, name: str, frames: Sequence[Window], groups: Groups, activation: Activation, init: Init, bias: bool
) -> Any:
    """activation(Σ padded[.., stride·position + dilation·tap]·W[.., tap] + b), the channels in groups."""
    model, taps, filters = x.model, [w.taps for w in frames], groups.count * groups.filters
    W = model.parameter(f"{name}_W", filters, groups.channels, *taps, init=init)
    source = with_margins(x, name, (w.around for w in frames))
    n, o, at = over(x, x.shape[0], groups.filters, [w.positions for w in frames], "o")
    g, c, *r = digits(model, [groups.count, groups.channels, *taps], f"gc{TAPS[len(frames)]}")
    o = groups.filters * g + (0 if groups.count > 1 and groups.filters == 1 else o)
    places = [w.source(i, tap) for w, i, tap in zip(frames, at, r, strict=True)]
    z = sum_over(source[arranged(n, groups.channels * g + c, places)] * W[(o, c, *r)], c, *r)
    if bias:
        z += model.parameter(f"{name}_b", filters)[o]
    return model.let(name, arranged(n, o, at), activation(z))


def conv_transpose1d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: int,
    activation: Activation = identity,
    *,
    name: str,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ᵀ W + b) along time: (batch, time, features) → (batch, steps, filters).

    steps = (time - 1)·stride - 2·padding + dilation·(kernel_size - 1) + output_padding + 1. Weights `<name>_W`
    (features, filters, kernel_size) and `<name>_b`. As torch.nn.ConvTranspose1d, with axes in the order of
    keras.layers.Conv1DTranspose.
    """
    if not is_tensor(x, "conv_transpose1d", range(3, 4), AXES[1]):
        return x
    model, layer = x.model, "conv_transpose1d"
    filters, f = whole_number(model, layer, "filters", filters), function(model, layer, activation)
    frames = scatters(x, layer, kernel_size, stride, padding, output_padding, dilation)
    return transposed(x, name, frames, filters, f, init, bias)


def conv_transpose2d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    init: Init = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x ∗ᵀ W + b) over images: (batch, channels, rows, columns) → (batch, filters, rows', columns').

    rows' = (rows - 1)·stride - 2·padding + dilation·(kernel_size - 1) + output_padding + 1; the same for columns.
    Weights `<name>_W` (channels, filters, *kernel_size) and `<name>_b`. As torch.nn.ConvTranspose2d.
    """
    if not is_tensor(x, "conv_transpose2d", range(4, 5), AXES[2]):
        return x
    model, layer = x.model, "conv_transpose2d"
    filters, f = whole_number(model, layer, "filters", filters), function(model, layer, activation)
    frames = scatters(x, layer, kernel_size, stride, padding, output_padding, dilation)
    return transposed(x, name, frames, filters, f, init, bias)


def transposed(
    x: TensorSymbol, name: str, frames: Sequence[Scatter], filters: int, activation: Activation, init: Init, bias: bool
) -> Any:
    """At place stride·a + q: Σ_b padded[a - b]·spread[stride·b + q], a sum without guards; then cut to size."""
    model, (batch, channels, _) = x.model, taken_apart(x)
    W = model.parameter(f"{name}_W", channels, filters, *(f.taps for f in frames), init=init)
    spread = spread_taps(W, name, frames)
    source = with_margins(x, name, ((f.blocks - 1,) * 2 for f in frames))
    whole = scattered(source, spread, f"{name}_whole", frames)
    n, o, at = over(x, batch, filters, [f.positions for f in frames], "o")
    cut = {axis: (-f.padding, f.excess) for axis, f in zip(spatial_axes(x), frames, strict=True)}
    y = surrounded(whole, arranged(n, o, at), cut)
    return model.let(name, arranged(n, o, at), activation(y + model.parameter(f"{name}_b", filters)[o] if bias else y))


def scattered(source: TensorSymbol, spread: TensorSymbol, name: str, frames: Sequence[Scatter]) -> Any:
    """y[.., stride·a + q] = Σ_b source[.., a + blocks - 1 - b]·spread[.., stride·b + q], q running over a stride."""
    model, (batch, channels, lengths), filters = source.model, taken_apart(source), spread.shape[1]
    n, o, a = over(source, batch, filters, [size - f.blocks + 1 for size, f in zip(lengths, frames, strict=True)], "o")
    c, *b = digits(model, [channels, *(f.blocks for f in frames)], f"c{TAPS[len(frames)]}")
    q = digits(model, [f.stride for f in frames], "uv"[: len(frames)])
    taken = [i + f.blocks - 1 - j for f, i, j in zip(frames, a, b, strict=True)]
    taps, places = ([f.stride * i + k for f, i, k in zip(frames, by, q, strict=True)] for by in (b, a))
    z = sum_over(source[arranged(n, c, taken)] * spread[(c, o, *taps)], c, *b)
    return model.let(name, arranged(n, o, places), z)


@dataclass(frozen=True, slots=True)
class Scatter:
    """How the taps of a transposed convolution spread along one axis of this length."""

    length: sp.Expr
    taps: int
    stride: int
    padding: int
    output_padding: int
    dilation: int

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
        return (self.length - 1) * self.stride - 2 * self.padding + self.reach + self.output_padding + 1

    @property
    def excess(self) -> int:
        """Places that are asked for after the last block's."""
        return int(sp.expand(self.positions + self.padding - self.stride * (self.length + self.blocks - 1)))


def scatters(
    x: TensorSymbol, layer: str, size: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> list[Scatter]:
    """A scatter for each spatial axis."""
    model, (_, _, lengths) = x.model, taken_apart(x)
    asked = [("the window", size, 1), ("stride", stride, 1), ("padding", padding, 0)]
    asked += [("output_padding", output_padding, 0), ("dilation", dilation, 1)]
    axes = [each_axis(model, layer, what, value, len(lengths), least) for what, value, least in asked]
    made = (Scatter(fixed(model, length), *numbers) for length, *numbers in zip(lengths, *axes, strict=True))
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
        model.problem(f"{layer}: padding {f.padding} leaves nothing of {f.length} elements: make it smaller")
        f = replace(f, padding=0)
    return f


def spread_taps(W: TensorSymbol, name: str, frames: Sequence[Scatter]) -> TensorSymbol:
    """The weights with zeros between their taps where dilated, and after them, to whole strides."""
    model, (channels, filters, *sizes) = W.model, W.shape
    letters = f"co{TAPS[len(frames)]}"
    if any(f.dilation > 1 for f in frames):
        c, o, *taps = model.local_indices(channels, filters, *sizes, letters=letters)
        between = digits(model, [f.dilation for f in frames], "uv"[: len(frames)])
        places = [f.dilation * r + e for f, r, e in zip(frames, taps, between, strict=True)]
        on_a_tap = sp.And(*(sp.Eq(e, 0) for e in between if e != 0))
        value = sp.Piecewise((W[(c, o, *taps)], on_a_tap), (0, True))
        W = model.let(f"{name}_spread", (c, o, *places), value)
    after = {axis: (0, f.stride * f.blocks - f.dilation * f.taps) for axis, f in enumerate(frames, 2)}
    return padded(W, f"{name}_taps", after, letters)
