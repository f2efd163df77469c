"""Pictures that are the same bytes each time, drawn without a window."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen.errors import DerivgenError
from derivgen.file import disk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADE = 10
MANY = 3  # decades, of which only the powers of ten are marked
# Colours that the colour-blind tell apart too (Okabe and Ito).
BLUE, VERMILION, SKY, GREY = "#0072b2", "#d55e00", "#56b4e9", "#7f7f7f"
# By the kind of picture: metadata that would tell the time or the version of who drew it.
PICTURES: Mapping[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def check_picture(path: Path | str) -> None:
    """Raise DerivgenError where `write_picture` would surely fail: to be found before hours of training, not after."""
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise DerivgenError(f"{path} names no kind of picture that can be drawn: end it in {', '.join(PICTURES)}")
    disk.check_writable(path)
    new_figure((1, 1))


def write_picture(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Write what `draw` puts on a figure of this size in inches, of the kind that the path ends in."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "derivgen"
        figure = new_figure(size)
        draw(figure)
        kind = path.suffix.lower()
        figure.savefig(buffer, format=kind[1:], dpi=150, metadata=PICTURES[kind])
    disk.write_bytes(path, buffer.getvalue())


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of this size in inches, without a window. Raises DerivgenError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DerivgenError("a picture needs matplotlib: pip install 'derivgen[plot]'") from error
    return Figure(figsize=size, layout="constrained")


def plain(panel: Axes) -> None:
    """A light grid, no frame, and the legend if anything has a label."""
    panel.grid(True, color="#e4e4e4", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    if panel.get_legend_handles_labels()[0]:
        legend = panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # there it covers nothing
        for line in legend.get_lines():
            line.set_markersize(max(4.0, line.get_markersize()))


def whole_numbers(panel: Axes, first: int, last: int) -> None:
    """Ticks of the horizontal axis at the first whole number, and at round ones up to the last: none where is nothing.

    Some room is left on both sides.
    """
    from matplotlib.ticker import MaxNLocator

    panel.set_xlim(first - max(0.5, 0.02 * (last - first)), last + max(0.5, 0.02 * (last - first)))
    round_ones = [int(t) for t in MaxNLocator(8, integer=True).tick_values(first, last) if first <= t <= last]
    step = round_ones[1] - round_ones[0] if len(round_ones) > 1 else 1
    panel.set_xticks(sorted({first, *(t for t in round_ones if 2 * (t - first) >= step)}))


def scale_by_decades(panel: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers on it, where the values are positive and span more than a decade.

    Between the powers of ten there are numbers too where those are few.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    if not values or min(values) <= 0 or max(values) <= DECADE * min(values):
        return
    decades = math.log10(max(values)) - math.log10(min(values))
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < MANY else (1,)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(NullLocator())


def literal(label: str) -> str:
    """The label as it is: a dollar would start a formula."""
    return label.replace("$", r"\$")
