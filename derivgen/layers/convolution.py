"""Convolutions of sequences, images and volumes.

If the input is padded, the padded input is a separate let, so that the convolution is a sum of products without guards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen.activations import identity
from derivgen.declare.model import TensorSymbol
from derivgen.initializers import Initializer
from derivgen.layers.checks import choice, digits, divided, function, parts, sum_over, whole_number
from derivgen.layers.margins import MODES, possible_mode, with_margins
from derivgen.layers.weights import Parametrization, weights
from derivgen.layers.windows import TAPS, Padding, PerAxis, Window, arranged, has_places, over, taken_apart, windows

Init = str | Initializer | ArrayLike
Activation = Callable[[sp.Expr], sp.Expr]


def conv1d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: int,
    activation: Activation = identity,
    *,
    name: str,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    init: Init = "glorot_uniform",
    bias: bool = True,
    parametrization: Parametrization | None = None,
) -> Any:
    """activation(x ∗ W + b) along time: (batch, time, features) → (batch, steps, filters).

    Weights `<name>_W` (filters, features / groups, kernel_size) and `<name>_b`. padding is a number, a pair (before,
    after), "valid" (none), "same" (half a window on both sides, an odd element after), "same_upper" or "same_lower" (as
    ONNX's auto_pad; Keras's "same" is the upper one), or "causal" (a whole window before). padding_mode: "zeros",
    "reflect", "replicate" or "circular". As torch.nn.Conv1d, with axes in the order of keras.layers.Conv1D; groups =
    features is a depthwise convolution. parametrization as in dense.
    """
    asked, made = (kernel_size, stride, padding, dilation), (init, parametrization)
    return convolution(x, "conv1d", 1, name, filters, asked, groups, padding_mode, activation, made, bias)


def conv2d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    init: Init = "glorot_uniform",
    bias: bool = True,
    parametrization: Parametrization | None = None,
) -> Any:
    """activation(x ∗ W + b) over images: (batch, channels, rows, columns) → (batch, filters, rows', columns').

    Weights `<name>_W` (filters, channels / groups, *kernel_size) and `<name>_b`. kernel_size, stride, padding and
    dilation are one number, or a pair for rows and columns; padding may also be a pair of pairs ((top, bottom), (left,
    right)), and the words and modes are those of conv1d, without "causal". As torch.nn.Conv2d; groups = channels is a
    depthwise convolution. parametrization as in dense.
    """
    asked, made = (kernel_size, stride, padding, dilation), (init, parametrization)
    return convolution(x, "conv2d", 2, name, filters, asked, groups, padding_mode, activation, made, bias)


def conv3d(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: PerAxis,
    activation: Activation = identity,
    *,
    name: str,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    init: Init = "glorot_uniform",
    bias: bool = True,
    parametrization: Parametrization | None = None,
) -> Any:
    """activation(x ∗ W + b) over volumes: (batch, channels, depth, rows, columns) → (batch, filters, …).

    Weights `<name>_W` (filters, channels / groups, *kernel_size) and `<name>_b`. Arguments are those of conv2d, of
    three numbers or pairs where not one. As torch.nn.Conv3d.
    """
    asked, made = (kernel_size, stride, padding, dilation), (init, parametrization)
    return convolution(x, "conv3d", 3, name, filters, asked, groups, padding_mode, activation, made, bias)


@dataclass(frozen=True, slots=True)
class Groups:
    """How many groups there are, and the channels and the filters of each."""

    count: int
    channels: Any
    filters: int

    def channel(self, g: sp.Expr, c: sp.Expr) -> sp.Expr:
        """Among all channels, one of a group's."""
        return self.channels * g + c

    def filter(self, g: sp.Expr, o: sp.Expr) -> sp.Expr:
        """Among all filters, one of a group's."""
        return self.filters * g + (0 if self.count > 1 and self.filters == 1 else o)


def divided_among(x: TensorSymbol, layer: str, filters: Any, groups: Any) -> Groups:
    """The channels and the filters among groups; among one where the number does not divide both, which is noted."""
    model, (_, channels, _) = x.model, taken_apart(x)
    filters = whole_number(model, layer, "filters", filters)
    groups = parts(model, layer, "groups", groups, channels, "channels")
    groups = parts(model, layer, "groups", groups, filters, "filters")
    return Groups(groups, divided(model, channels, groups), filters // groups)


def convolution(
    x: TensorSymbol,
    layer: str,
    axes: int,
    name: str,
    filters: Any,
    asked: tuple[Any, ...],
    groups: Any,
    padding_mode: Any,
    activation: Any,
    made: tuple[Init, Parametrization | None],
    bias: bool,
) -> Any:
    """A convolution over so many spatial axes; `asked` are its windows, `made` is how its weights are made."""
    if not has_places(x, layer, axes):
        return x
    shares, f = divided_among(x, layer, filters, groups), function(x.model, layer, activation)
    frames, mode = windows(x, layer, *asked), choice(x.model, layer, "padding_mode", padding_mode, MODES)
    mode = possible_mode(x, layer, mode, [w.margins for w in frames])
    sizes = (shares.count * shares.filters, shares.channels, *(w.taps for w in frames))
    W = weights(x.model, layer, name, sizes, 0, *made)
    return weighted(with_margins(x, name, [w.margins for w in frames], mode=mode), W, name, frames, shares, f, bias)


def weighted(
    source: TensorSymbol,
    W: TensorSymbol,
    name: str,
    frames: Sequence[Window],
    groups: Groups,
    activation: Activation,
    bias: bool,
) -> Any:
    """activation(Σ source[.., stride·position + dilation·tap]·W[.., tap] + b), the channels in groups."""
    model, count = source.model, groups.count
    n, o, at = over(source, source.shape[0], groups.filters, [w.positions for w in frames], "o")
    g, c, *r = digits(model, [count, groups.channels, *(w.taps for w in frames)], f"gc{TAPS[len(frames)]}")
    o = groups.filter(g, o)
    places = [w.source(i, tap) for w, i, tap in zip(frames, at, r, strict=True)]
    z = sum_over(source[arranged(n, groups.channel(g, c), places)] * W[(o, c, *r)], c, *r)
    if bias:
        z += model.parameter(f"{name}_b", count * groups.filters)[o]
    return model.let(name, arranged(n, o, at), activation(z))
