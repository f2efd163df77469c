"""Windows of images as rows of a sequence, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.layers.checks import described, digits, equal_sizes, fixed, is_tensor, sum_over
from derivgen.layers.margins import guarded, surrounded, with_margins
from derivgen.layers.transposed import Scatter, between_taps
from derivgen.layers.windows import (
    STEPS,
    TAPS,
    PerAxis,
    Window,
    each_axis,
    has_places,
    over,
    taps_of,
    windows,
    windows_along,
)

Pairs = PerAxis | tuple[tuple[int, int], ...]


def unfold(
    x: TensorSymbol, kernel_size: PerAxis, *, name: str, dilation: PerAxis = 1, padding: Pairs = 0, stride: PerAxis = 1
) -> Any:
    """Each window as a row: (batch, channels, rows, columns) → (batch, windows, channels·taps).

    Windows and taps are row by row, the taps of a channel side by side; the windows are those of conv2d. As
    torch.nn.Unfold, whose last two axes stand here in the order of sequences.
    """
    if not (has_places(x, "unfold", 2) and has_known_columns(x)):
        return x
    frames = windows(x, "unfold", kernel_size, stride, padding, dilation)
    source = with_margins(x, name, [w.margins for w in frames])
    n, c, at = over(x, x.shape[0], x.shape[1], [w.positions for w in frames])
    taps = taps_of(x.model, frames)
    places = [w.source(i, r) for w, i, r in zip(frames, at, taps, strict=True)]
    return x.model.let(name, (n, row_of(frames, at), feature_of(frames, c, taps)), source[(n, c, *places)])


def has_known_columns(x: TensorSymbol) -> bool:
    """Whether windows can be counted row by row, noted if not."""
    size = fixed(x.model, x.shape[3])
    if not size.is_Integer:
        x.model.problem(f"unfold: the columns must have a size known at generation, found {size}: use model.sizes")
    return bool(size.is_Integer)


def row_of(frames: Sequence[Window], at: Sequence[Any]) -> sp.Expr:
    """The number of a window."""
    return at[0] * frames[1].positions + at[1]


def feature_of(frames: Sequence[Window], c: Any, taps: Sequence[Any]) -> sp.Expr:
    """The number of a channel's tap among all."""
    return (c * frames[0].taps + taps[0]) * frames[1].taps + taps[1]


def fold(
    x: TensorSymbol,
    output_size: PerAxis,
    kernel_size: PerAxis,
    *,
    name: str,
    dilation: PerAxis = 1,
    padding: Pairs = 0,
    stride: PerAxis = 1,
) -> Any:
    """The image whose elements are the sums of what windows hold of them, which is the transposed map of unfold.

    (batch, windows, channels·taps) → (batch, channels, *output_size). As torch.nn.Fold, whose first two axes after the
    batch stand here in the order of sequences.
    """
    if not is_tensor(x, "fold", range(3, 4), "(batch, windows, channels·taps)"):
        return x
    noted = len(x.model.problems)
    sizes = each_axis(x.model, "fold", "output_size", output_size, 2, 1)
    asked = (kernel_size, stride, padding, dilation)
    frames = windows_along(x.model, "fold", sizes, *asked) if len(x.model.problems) == noted else []
    channels = channels_of(x, frames) if len(x.model.problems) == noted else None
    return added_up(x, name, frames, channels) if channels else x


def channels_of(x: TensorSymbol, frames: Sequence[Window]) -> Any:
    """How many channels the rows hold; None where they are not those of such windows, which is noted."""
    rows, taps = (int(sp.prod(each)) for each in ([w.positions for w in frames], [w.taps for w in frames]))
    if equal_sizes(x.model, x.shape[1], rows) and fixed(x.model, x.shape[2]) % taps == 0:
        return fixed(x.model, x.shape[2]) / taps
    x.model.problem(
        f"fold: {described(x)} must have {rows} windows and a multiple of {taps} features, as output_size, "
        "kernel_size and stride say: change one of them"
    )
    return None


def added_up(x: TensorSymbol, name: str, frames: Sequence[Window], channels: Any) -> Any:
    """The image of windows."""
    spreads = [scatter_of(w) for w in frames]
    cut = {axis: (-s.padding[0], s.excess) for axis, s in enumerate(spreads, 2)}
    if not any(map(any, cut.values())):
        return overlapping(x, name, name, frames, spreads, channels)
    whole = overlapping(x, name, f"{name}_whole", frames, spreads, channels)
    n, c, at = over(x, x.shape[0], channels, [w.length for w in frames])
    return x.model.let(name, (n, c, *at), surrounded(whole, (n, c, *at), cut))


def scatter_of(w: Window) -> Scatter:
    """How the taps of windows spread over the axis that they were taken from."""
    s = Scatter(w.positions, w.taps, w.stride, 0, w.dilation, w.around)
    return replace(s, output_padding=int(w.length - s.positions))


def overlapping(
    x: TensorSymbol, prefix: str, name: str, frames: Sequence[Window], spreads: Sequence[Scatter], channels: Any
) -> TensorSymbol:
    """y[.., stride·a + q] = Σ_b windows[.., a + blocks - 1 - b, stride·b + q], q running over a stride."""
    read = reader(x, prefix, frames, spreads, channels)
    n, c, a = over(x, x.shape[0], channels, [w.positions + s.blocks - 1 for w, s in zip(frames, spreads, strict=True)])
    b = digits(x.model, [s.blocks for s in spreads], TAPS[2])
    q = digits(x.model, [s.stride for s in spreads], STEPS[2])
    taken = [i + s.blocks - 1 - j for s, i, j in zip(spreads, a, b, strict=True)]
    taps, places = ([s.stride * i + k for s, i, k in zip(spreads, by, q, strict=True)] for by in (b, a))
    return x.model.let(name, (n, c, *places), sum_over(read((n, c, *taken, *taps)), *b))


def reader(
    x: TensorSymbol, name: str, frames: Sequence[Window], spreads: Sequence[Scatter], channels: Any
) -> Callable[[tuple[Any, ...]], sp.Expr]:
    """What reads (batch, channel, window, tap): zeros around the windows, and after the taps to whole strides."""
    sizes = [x.shape[0], channels, *(w.positions for w in frames), *(w.taps for w in frames)]
    read = spread_out(x, name, frames, sizes)
    around = {axis: (s.blocks - 1, s.blocks - 1) for axis, s in enumerate(spreads, 2)}
    around |= {axis: (0, s.stride * s.blocks - s.dilation * s.taps) for axis, s in enumerate(spreads, 4)}
    if not any(map(any, around.values())):
        return read
    sizes[4:] = [s.dilation * s.taps for s in spreads]
    grown = [size + sum(around.get(axis, ())) for axis, size in enumerate(sizes)]
    at = x.model.local_indices(*grown, letters="ncijrs")
    windows = x.model.let(f"{name}_windows", at, guarded(read, sizes, at, around))
    return lambda source: windows[source]


def spread_out(
    x: TensorSymbol, name: str, frames: Sequence[Window], sizes: Sequence[Any]
) -> Callable[[tuple[Any, ...]], sp.Expr]:
    """What reads an element by (batch, channel, window, tap), of taps with zeros between them where dilated."""

    def read(at: tuple[Any, ...]) -> sp.Expr:
        return x[at[0], row_of(frames, at[2:4]), feature_of(frames, at[1], at[4:])]

    if all(w.dilation == 1 for w in frames):
        return read
    at = x.model.local_indices(*sizes, letters="ncijrs")
    places, on_a_tap = between_taps(x.model, frames, at[4:])
    spread = x.model.let(f"{name}_spread", (*at[:4], *places), sp.Piecewise((read(at), on_a_tap), (0, True)))
    return lambda source: spread[source]
