"""Pictures that are the same bytes each time, drawn without a window."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen.errors import DerivgenError
from derivgen.file import store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    store.check_writable(path)
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
    store.write_bytes(path, buffer.getvalue())


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of this size in inches, without a window. Raises DerivgenError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DerivgenError("a picture needs matplotlib: pip install 'derivgen[plot]'") from error
    return Figure(figsize=size, layout="constrained")


def plain(panel: Axes) -> None:
    """A light grid, no frame, and the legend."""
    panel.grid(True, color="#e4e4e4", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)


def literal(label: str) -> str:
    """The label as it is: a dollar would start a formula."""
    return label.replace("$", r"\$")
