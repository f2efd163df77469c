"""Windows that move along the spatial axes of sequences, images and volumes: where they lie, and what counts of them.

All is said for one axis, and holds for any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import choice, digits, fixed, is_tensor, whole_number

PerAxis = int | tuple[int, ...]
Padding = int | str | tuple[int | tuple[int, int], ...]

AXES = {
    1: "(batch, time, feature)",
    2: "(batch, channel, row, column)",
    3: "(batch, channel, depth, row, column)",
}
FLAG = (False, True)  # what an option that is on or off may be, the default first
SPATIAL = f"{AXES[1]}, {AXES[2]} or {AXES[3]}"

# The letters of places, of taps and of steps within a stride, by the number of spatial axes.
PLACES, TAPS, STEPS = {0: "", 1: "t", 2: "ij", 3: "dij"}, {1: "r", 2: "rs", 3: "qrs"}, {1: "u", 2: "uv", 3: "uvw"}


@dataclass(frozen=True, slots=True)
class Window:
    """A window along one axis of this length: its taps, the steps between its positions and between its taps, and the
    padding (before, after) the axis. `spare` elements more let a last window reach over the end.
    """

    length: sp.Expr
    taps: int
    stride: int
    dilation: int
    around: tuple[int, int] = (0, 0)
    spare: int = 0

    @property
    def reach(self) -> int:
        """From the first tap to the last."""
        return self.dilation * (self.taps - 1)

    @property
    def last(self) -> sp.Expr:
        """Where the last window starts on the padded axis, at the latest."""
        return self.length + sum(self.around) + self.spare - self.reach - 1

    @property
    def positions(self) -> sp.Expr:
        return self.last // self.stride + 1 if self.stride > 1 else self.last + 1

    @property
    def margins(self) -> tuple[int, int]:
        """What is added (before, after) the axis."""
        return self.around[0], self.around[1] + self.spare

    def source(self, position: sp.Expr, tap: sp.Expr) -> sp.Expr:
        """Where a tap lies on the padded axis."""
        return self.stride * position + self.dilation * tap

    def counted(self, position: sp.Expr, padding: bool) -> sp.Expr:
        """How many taps lie on the axis, or on the padded axis: all but those before it and those behind it."""
        before, after = self.margins if not padding else (0, self.spare)
        beyond = sp.expand(self.stride * (self.positions - 1) - self.last) + after  # of the last window
        start = self.stride * position
        first = sp.Max(before - start, 0) if before > 0 else sp.S.Zero
        behind = sp.Max(start - sp.expand(self.last - after), 0) if beyond > 0 else sp.S.Zero
        if self.dilation > 1:
            first, behind = sp.ceiling(first / self.dilation), sp.ceiling(behind / self.dilation)
        return sp.Integer(self.taps) - first - behind


def has_places(x: Any, layer: str, count: int) -> bool:
    """Whether the tensor has a batch, channels, and so many spatial axes; noted if not."""
    return is_tensor(x, layer, range(count + 2, count + 3), AXES[count])


def arranged(n: Any, channel: Any, spatial: Sequence[Any]) -> tuple[Any, ...]:
    """The subscripts in the order of axes: (batch, feature), (batch, time, feature), (batch, channel, row, column) …"""
    return (n, *spatial, channel) if len(spatial) < 2 else (n, channel, *spatial)


def taken_apart(x: TensorSymbol) -> tuple[Any, Any, list[Any]]:
    """(batch, channels, the spatial sizes) of a sequence, an image, a volume, or a (batch, feature) matrix."""
    if len(x.shape) < 4:
        batch, *spatial, channels = x.shape
        return batch, channels, spatial
    batch, channels, *spatial = x.shape
    return batch, channels, spatial


def spatial_axes(x: TensorSymbol) -> range:
    return range(1, 2) if len(x.shape) == 3 else range(2, len(x.shape))


def over(x: TensorSymbol, batch: Any, channels: Any, spatial: Sequence[Any], channel: str = "c") -> tuple[Any, ...]:
    """(the batch's index, the channels', a list of the spatial ones), with the letters of formulas."""
    n, c, *places = x.model.local_indices(batch, channels, *spatial, letters=f"n{channel}{PLACES[len(spatial)]}")
    return n, c, places


def taps_of(model: Model, frames: Sequence[Window]) -> list[Any]:
    """An index for the taps of each axis."""
    return digits(model, [w.taps for w in frames], TAPS[len(frames)])


def by_axis(model: Model, layer: str, what: str, value: Any, count: int, otherwise: Any) -> Sequence[Any]:
    """An argument for each spatial axis: one for all of them, or a tuple."""
    if not isinstance(value, tuple | list):
        return [value] * count
    if len(value) == count:
        return value
    model.problem(f"{layer}: {what} must be a number or {count} of them, found {value!r}")
    return [otherwise] * count


def each_axis(model: Model, layer: str, what: str, value: Any, count: int, least: int) -> list[int]:
    """A number for each spatial axis, an integer of at least `least`."""
    return [whole_number(model, layer, what, v, least) for v in by_axis(model, layer, what, value, count, least)]


def windows(x: TensorSymbol, layer: str, *asked: Any) -> list[Window]:
    """A window for each spatial axis; `asked` as of `windows_along`."""
    return windows_along(x.model, layer, taken_apart(x)[2], *asked)


def windows_along(
    model: Model,
    layer: str,
    lengths: Sequence[Any],
    size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> list[Window]:
    """A window for each axis of these lengths; stride: that of the window where None; padding: see `paddings`."""
    count = len(lengths)
    sizes = each_axis(model, layer, "the window", size, count, 1)
    strides = sizes if stride is None else each_axis(model, layer, "stride", stride, count, 1)
    dilations = each_axis(model, layer, "dilation", dilation, count, 1)
    numbers = zip((fixed(model, length) for length in lengths), sizes, strides, dilations, strict=True)
    bare = [with_known_steps(Window(*each), model, layer) for each in numbers]
    arounds, over_the_end = paddings(model, layer, padding, bare), choice(model, layer, "ceil_mode", ceil_mode, FLAG)
    return [fitting(replace(w, around=p), model, layer, over_the_end) for w, p in zip(bare, arounds, strict=True)]


def with_known_steps(w: Window, model: Model, layer: str) -> Window:
    """The window, without a stride along an axis of unknown length, which is noted."""
    if w.stride == 1 or w.length.is_Integer:
        return w
    model.problem(f"{layer}: stride {w.stride} needs a size known at generation, found {w.length}: use model.sizes")
    return replace(w, stride=1)


def fitting(w: Window, model: Model, layer: str, over_the_end: bool) -> Window:
    """The window, with what a last one needs that starts on the axis; of one tap where none fits, which is noted."""
    rest = -w.last % w.stride if over_the_end and w.stride > 1 else 0
    if rest and w.last + rest < w.length + w.around[0]:
        w = replace(w, spare=int(rest))
    if not w.positions.is_nonpositive:
        return w
    model.problem(
        f"{layer}: a window of {w.taps} with dilation {w.dilation} does not fit into {w.length} elements with "
        f"{sum(w.around)} around them: make it smaller, or add padding"
    )
    return replace(w, taps=1, around=(0, 0), spare=0)


def paddings(model: Model, layer: str, padding: Any, frames: Sequence[Window]) -> list[tuple[int, int]]:
    """What is added (before, after) each axis: numbers, pairs of them, or a word.

    "same": half of the reach on both sides, an odd element after. "same_upper", "same_lower": as many windows as the
    axis has strides, with an odd element after or before, as in ONNX. "causal": all of the reach before.
    """
    words = {"valid": none_around, "same": half_around, "same_upper": as_many_after, "same_lower": as_many_before}
    words |= {"causal": all_before} if len(frames) == 1 else {}
    if isinstance(padding, str) and padding in words:
        return [words[padding](w) for w in frames]
    if isinstance(padding, str):
        *others, last = (f'"{word}"' for word in words)
        model.problem(f"{layer}: padding must be numbers or {', '.join(others)} or {last}, found {padding!r}")
        padding = 0
    return pairs(model, layer, padding, len(frames))


def pairs(model: Model, layer: str, padding: Any, count: int) -> list[tuple[int, int]]:
    """(before, after) for each spatial axis, of which one number is both; along one axis a pair is its own."""
    alone = count == 1 and isinstance(padding, tuple | list) and len(padding) == 2
    given = by_axis(model, layer, "padding", (padding,) if alone else padding, count, 0)
    split = [p if isinstance(p, tuple | list) and len(p) == 2 else (p,) for p in given]
    made = [[whole_number(model, layer, "padding", v, 0) for v in each] for each in split]
    return [(each[0], each[-1]) for each in made]


def none_around(w: Window) -> tuple[int, int]:
    return 0, 0


def half_around(w: Window) -> tuple[int, int]:
    return w.reach // 2, w.reach - w.reach // 2


def all_before(w: Window) -> tuple[int, int]:
    return w.reach, 0


def as_many_after(w: Window) -> tuple[int, int]:
    """Around the axis so that there is a window for each stride, the last one begun too."""
    added = w.reach if w.stride == 1 else max(w.reach - int(w.length - 1) % w.stride, 0)
    return added // 2, added - added // 2


def as_many_before(w: Window) -> tuple[int, int]:
    before, after = as_many_after(w)
    return after, before
