"""What training did, epoch by epoch: as records, as a file of JSON lines, as a picture."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from derivgen.errors import DerivgenError
from derivgen.file import disk
from derivgen.runtime.json_text import MALFORMED, parse_json, shown
from derivgen.runtime.pictures import (
    BLUE,
    DECADE,
    VERMILION,
    check_picture,
    literal,
    plain,
    scale_by_decades,
    whole_numbers,
    write_picture,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


NOTHING: dict[str, float] = {}  # the metrics of an epoch without any


class Epoch(NamedTuple):
    """One pass over the training rows, with the mean loss of its steps, each computed before that step's update.

    `epoch` counts from 1; `step` is the number of updates so far. `seconds` is the wall time; that of the first epoch
    includes compiling, if nothing is in numba's cache yet. `metrics` are those of the validation rows, if there are
    any, otherwise those of the training rows. `layers` has the monitor's records. All numbers are finite.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    seconds: float
    metrics: Mapping[str, float] = NOTHING
    step: int = 0
    layers: tuple[Any, ...] = ()


def judged_loss(epoch: Epoch) -> float:
    """The loss by which early stopping and the best epoch are judged."""
    return epoch.loss if epoch.validation_loss is None else epoch.validation_loss


# ---- records


def epoch_record(epoch: Epoch) -> dict[str, Any]:
    """The epoch as JSON knows it; `epoch_of` gives back the same numbers."""
    return {
        "epoch": int(epoch.epoch),
        "loss": float(epoch.loss),
        "validation_loss": None if epoch.validation_loss is None else float(epoch.validation_loss),
        "seconds": float(epoch.seconds),
        "metrics": {name: float(value) for name, value in epoch.metrics.items()},
        "step": int(epoch.step),
        "layers": [layer_record(layer) for layer in epoch.layers],
    }


def layer_record(layer: Any) -> dict[str, Any]:
    """The fields by name, of a NamedTuple, a dataclass or a record."""
    if isinstance(layer, Mapping):
        return dict(layer)
    fields: dict[str, Any] = layer._asdict() if hasattr(layer, "_asdict") else dataclasses.asdict(layer)
    return fields


def epoch_of(text: str, layer: Callable[..., Any] = dict) -> Epoch:
    """The epoch of a record's text; `layer` is called with the fields of each of the monitor's records.

    Raises ValueError where training would write another record of that epoch.
    """
    record = parse_json(text)
    expected = f"expected an object of {', '.join(Epoch._fields)}, of finite numbers"
    try:
        validation_loss = record["validation_loss"]
        epoch = Epoch(
            epoch=int(record["epoch"]),
            loss=float(record["loss"]),
            validation_loss=None if validation_loss is None else float(validation_loss),
            seconds=float(record["seconds"]),
            metrics={name: float(value) for name, value in record["metrics"].items()},
            step=int(record["step"]),
            layers=tuple(layer(**fields) for fields in record["layers"]),
        )
        texts = [
            json.dumps(each, allow_nan=False, default=own, sort_keys=True) for each in (epoch_record(epoch), record)
        ]
        if texts[0] == texts[1]:
            return epoch
    except MALFORMED as error:
        raise ValueError(f"{expected} ({error})") from error
    raise ValueError(f"{expected}, found {shown(record)}")


# ---- the file

LINE_START = '{"epoch": '


def line_of(epoch: Epoch) -> bytes:
    # JSON has no NaN, and no epoch has one.
    return f"{json.dumps(epoch_record(epoch), allow_nan=False, default=own)}\n".encode()


def own(number: Any) -> Any:
    """Python's own number of one of NumPy's, as the monitor's may be."""
    return number.item()


class HistoryFile:
    """A file of JSON lines, one an epoch, each there as soon as its epoch is done; `open_history` makes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("ab", buffering=0)
        except OSError as error:
            raise disk.unwritable(path, error) from error

    def append(self, epoch: Epoch) -> None:
        """Add the epoch's line. Raises DerivgenError where it can't be written."""
        rest = line_of(epoch)
        try:
            while rest:  # a disk that gets full takes a part
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise DerivgenError(
                f"{self.path} can't be written: {error.strerror or error}. Its earlier epochs are kept: fix that, or "
                "give another path"
            ) from error

    def close(self) -> None:
        self.file.close()


def open_history(path: Path | str, epochs_so_far: Sequence[Epoch] = ()) -> HistoryFile:
    """The file with these epochs in it and nothing else, ready for more; an old history there is replaced in one step.

    Raises DerivgenError where it can't be written, or holds anything but a history.
    """
    path = Path(path)
    refuse_foreign(path)
    disk.write_bytes(path, b"".join(map(line_of, epochs_so_far)))
    return HistoryFile(path)


def check_history(path: Path | str) -> None:
    """Raise DerivgenError where `open_history` would surely fail."""
    refuse_foreign(Path(path))
    disk.check_writable(Path(path))


def refuse_foreign(path: Path) -> None:
    """Raise DerivgenError where a file is there that is no history, so that writing it would lose somebody's work."""
    first, line_end, _ = (disk.read(path) or "").partition("\n")
    try:
        if line_end:
            epoch_of(first)
        # Nothing, or a first line that was cut off, is what a stopped run leaves.
        ours = bool(line_end) or first.startswith(LINE_START) or LINE_START.startswith(first)
    except ValueError:
        ours = False
    if not ours:
        raise DerivgenError(
            f"{path} exists and is no history of a training (its first line is no epoch), so it is left as it is: give "
            "another path, or remove that file first"
        )


def read_history(path: Path | str, layer: Callable[..., Any] = dict) -> tuple[Epoch, ...]:
    """The epochs in a history file; `layer` is called with the fields of each of the monitor's records.

    Raises DerivgenError, with the line, if it is not a file of epochs.
    """
    path = Path(path)
    text = disk.read(path)
    if text is None:
        raise DerivgenError(f"{path} does not exist: training writes it where it is asked to keep a history")
    return epochs_in(path, text, layer)


def epochs_in(path: Path | str, text: str, layer: Callable[..., Any] = dict) -> tuple[Epoch, ...]:
    """The epochs of a text, a line each; the path is for messages."""
    *lines, rest = text.split("\n")
    epochs = []
    for number, line in enumerate(lines, 1):
        try:
            epochs.append(epoch_of(line, layer))
        except ValueError as error:
            raise DerivgenError(f"{path}:{number} is no epoch of a history: {error}") from error
    if rest:
        raise DerivgenError(
            f"{path}:{len(lines) + 1} is cut off, training was stopped while it wrote this line: remove the line"
        )
    return tuple(epochs)


# ---- the picture

COLOURS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#000000")  # of metrics
FEW = 30  # epochs whose points are marked
LEGEND = 8  # layers that a legend names; of more a bar of colours says the depth
LAYERS = {"gradient": "gradient, RMS", "activation": "activation, RMS"}  # what the monitor's panels show


def plot_history(path: Path | str, epochs: Sequence[Epoch]) -> None:
    """Draw the losses by epoch, with the best one marked, and below them the metrics, into a .png, .svg or .pdf.

    If there was a monitor, its root mean squares of gradients and activations by layer are drawn below these. The same
    epochs give the same bytes. Raises DerivgenError if the path ends in anything else or can't be written, if there are
    no epochs, and if matplotlib is missing.
    """
    path = Path(path)
    check_picture(path)
    if not epochs:
        raise DerivgenError(f"{path}: there are no epochs to draw")
    metrics = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    drawings: list[Callable[[Axes, Sequence[Epoch]], None]] = [
        draw_losses,
        *(functools.partial(draw_metrics, names=names) for names in panels_of(epochs, metrics)),
        *(functools.partial(draw_layers, what=what) for what in LAYERS if layer_curves(epochs, what)),
    ]

    def draw_all(figure: Figure) -> None:
        panels = figure.subplots(len(drawings), sharex=True, squeeze=False)[:, 0]
        for panel, put in zip(panels, drawings, strict=True):
            put(panel, epochs)
        whole_numbers(panels[-1], epochs[0].epoch, epochs[-1].epoch)
        panels[-1].set_xlabel("epoch")
        figure.align_ylabels()

    write_picture(path, (7.6, 1.2 + 2.6 * len(drawings)), draw_all)


def draw_losses(panel: Axes, epochs: Sequence[Epoch]) -> None:
    training = {epoch.epoch: epoch.loss for epoch in epochs}
    validation = {epoch.epoch: epoch.validation_loss for epoch in epochs if epoch.validation_loss is not None}
    draw(panel, training, "training", BLUE)
    if validation:
        draw(panel, validation, "validation", VERMILION)
    scale_by_decades(panel, [*training.values(), *validation.values()])
    best = min([epoch for epoch in epochs if epoch.epoch in validation] or epochs, key=judged_loss)
    label = f"best: epoch {best.epoch}, {judged_loss(best):.4g}"
    style: dict[str, Any] = {
        "marker": "*",
        "markersize": 12,
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
        "linestyle": "none",
    }
    colour = VERMILION if validation else BLUE
    panel.plot([best.epoch], [judged_loss(best)], color=colour, label=label, zorder=3, clip_on=False, **style)
    finish(panel, "loss")


def panels_of(epochs: Sequence[Epoch], metrics: Sequence[str]) -> list[list[str]]:
    """The metrics that share a panel: those whose largest values are within a factor of ten."""
    panels: list[tuple[float, list[str]]] = []
    for name in metrics:
        largest = max(abs(epoch.metrics[name]) for epoch in epochs if name in epoch.metrics)
        similar = (names for scale, names in panels if scale <= DECADE * largest and largest <= DECADE * scale)
        names = next(similar, None)
        if names is None:
            panels.append((largest, [name]))
        else:
            names.append(name)
    return [names for _, names in panels]


def draw_metrics(panel: Axes, epochs: Sequence[Epoch], names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        values = {epoch.epoch: epoch.metrics[name] for epoch in epochs if name in epoch.metrics}
        draw(panel, values, name, COLOURS[i % len(COLOURS)])
    rows = "training" if all(epoch.validation_loss is None for epoch in epochs) else "validation"
    finish(panel, f"{rows} metrics")


def draw(panel: Axes, values: Mapping[int, float], label: str, colour: Any) -> None:
    """A curve of values by epoch."""
    (curve,) = panel.plot(list(values), list(values.values()), color=colour, linewidth=1.6, label=literal(label))
    if len(values) <= FEW:
        curve.set(marker="o", markersize=3.5)


def layer_curves(epochs: Sequence[Epoch], what: str) -> dict[str, dict[int, float]]:
    """What the monitor saw of each layer, by epoch; only layers of which it is known."""
    curves: dict[str, dict[int, float]] = {}
    for epoch in epochs:
        for record in map(layer_record, epoch.layers):
            if record.get(what) is not None:
                curves.setdefault(record["layer"], {})[epoch.epoch] = record[what]
    return curves


def draw_layers(panel: Axes, epochs: Sequence[Epoch], what: str) -> None:
    """A curve a layer, from the first one, dark, to the last one, bright: the colours tell the depth in grey too."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    curves, shades = layer_curves(epochs, what), colormaps["viridis"]
    for number, (layer, values) in enumerate(curves.items()):
        draw(panel, values, layer, shades(0.8 * number / max(1, len(curves) - 1)))
    scale_by_decades(panel, [value for values in curves.values() for value in values.values()])
    finish(panel, LAYERS[what], legend=len(curves) <= LEGEND)
    if len(curves) > LEGEND:
        depth = ScalarMappable(Normalize(1, 1 + (len(curves) - 1) / 0.8), shades)
        bar = panel.figure.colorbar(depth, ax=panel, pad=0.02)
        bar.ax.set_ylim(1, len(curves))
        bar.set_label("layer, from the input on")
        bar.set_ticks([1, len(curves)])


def finish(panel: Axes, label: str, legend: bool = True) -> None:
    panel.set_ylabel(label)
    plain(panel)
    shown = panel.get_legend()
    if shown is not None and not legend:
        shown.remove()
