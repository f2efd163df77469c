"""What a training goes on from besides parameters and slots: its progress in a checkpoint, every field checked.

A checksum tells damage, and not a file that somebody has made or changed. Most of the progress follows from the rest,
so that it must be just so: where an epoch stands from the steps, the best epoch from the history.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from derivgen.errors import DerivgenError
from derivgen.runtime.json_text import is_number, is_whole, short, shown
from derivgen.runtime.nonfinite import element, first_bad
from derivgen.runtime.train.checkpoints import LINES, STEP, Checkpoint, altered
from derivgen.runtime.train.history import Epoch, epochs_in, judged_loss
from derivgen.runtime.train.monitor import LayerRecord, is_finite, layer_record_of

Fact = tuple[str, Any, bool, str]  # (name, what was found, whether it may be so, what it must be)


@dataclass(frozen=True, slots=True)
class Progress:
    """A training's progress, as `Run` keeps it: `position` rows of the present epoch are done, `seen` of them with the
    mean loss `loss_sum / seen`; `random` is the state of the generator at the start of the epoch.
    """

    random: Mapping[str, Any]
    position: int
    loss_sum: float
    seen: int
    best_loss: float
    best_epoch: int
    warnings: Mapping[str, str]
    records: tuple[LayerRecord, ...]
    settings: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a training knows beforehand: `rows` an epoch trains on (None: it is one step), of which a step has
    `rows_a_step`; `random`, a state of its generator; whether it validates, and keeps the best parameters.
    """

    rows: int | None
    rows_a_step: int
    random: Mapping[str, Any]
    validates: bool
    keeps_best: bool

    @property
    def steps_an_epoch(self) -> int:
        return 1 if self.rows is None else -(-self.rows // self.rows_a_step)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_object, value))


# name: (what it must be, whether a value is that)
FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "random": ("an object", is_object),
    "position": ("a whole number", is_whole),
    "loss_sum": ("a finite number", is_number),
    "seen": ("a whole number", is_whole),
    "best_loss": ("a number", lambda value: is_number(value) or value == math.inf),
    "best_epoch": ("a whole number", is_whole),
    "warnings": ("an object of texts", are_texts),
    "records": ("a list of objects", are_objects),
    "settings": ("an object", is_object),
    "data": ("an object", is_object),
}


def progress_of(path: Path, checkpoint: Checkpoint) -> Progress:
    """The progress in a checkpoint; DerivgenError, with the field, where it is no training's."""
    record = checkpoint.progress
    if set(record) != set(FIELDS):
        raise altered(path, f"progress must be an object of {', '.join(FIELDS)}, found {shown(list(record))}")
    for name, (expected, fits) in FIELDS.items():
        if not fits(record[name]):
            raise altered(path, f"{name} must be {expected}, found {shown(record[name])}")
    try:
        records = tuple(layer_record_of(fields) for fields in record["records"])
    except DerivgenError as error:
        raise altered(path, f"records: {error}") from error
    return Progress(**{**record, "records": records})


def epochs_of(path: Path, checkpoint: Checkpoint) -> list[Epoch]:
    """The epochs in a checkpoint; DerivgenError, with the line, where it has others."""
    try:
        text = checkpoint.history.decode()
    except UnicodeDecodeError as error:
        raise altered(path, f"{LINES} must be UTF-8, found byte 0x{error.object[error.start]:02x}") from error
    return list(epochs_in(f"{path}: {LINES}", text, finite_record))


def finite_record(**fields: Any) -> LayerRecord:
    """A layer's record in an epoch; one of before the first step may hold others, where something overflowed."""
    record = layer_record_of(fields)
    if not is_finite(record):
        raise DerivgenError(f"all numbers of layer {short(record.layer)} must be finite")
    return record


def refuse_contradictions(
    path: Path,
    module: ModuleType,
    checkpoint: Checkpoint,
    progress: Progress,
    epochs: Sequence[Epoch],
    expected: Expected,
) -> None:
    """DerivgenError where one part of a checkpoint can't stand beside the others, or beside the training."""
    refuse_random(path, progress.random, expected.random)
    refuse_not_finite(path, module, checkpoint)
    layers = [(), tuple(layer.name for layer in module.LAYERS)]
    step = checkpoint.state.step.item()
    done = progress.position // expected.rows_a_step + len(epochs) * expected.steps_an_epoch
    facts = [
        *facts_of_progress(progress, epochs, expected, kept=checkpoint.best is not None),
        (STEP, step, step >= done, f"at least {done} after {len(epochs)} epochs"),
        ("records", names_of(progress.records), names_of(progress.records) in layers, "the module's layers"),
    ]
    for number, epoch in enumerate(epochs, 1):
        line, due = f"{LINES}:{number}: ", step - done + number * expected.steps_an_epoch
        validated = epoch.validation_loss is not None
        facts += [
            (f"{line}epoch", epoch.epoch, epoch.epoch == number, str(number)),
            (f"{line}step", epoch.step, epoch.step == due, f"{due}, by the other steps"),
            (f"{line}validation_loss", epoch.validation_loss, validated == expected.validates, "there if it validates"),
            (f"{line}layers", names_of(epoch.layers), names_of(epoch.layers) in layers, "the module's layers"),
        ]
    for name, found, fits, wanted in facts:
        if not fits:
            raise altered(path, f"{name} must be {wanted}, found {shown(found)}")


def facts_of_progress(progress: Progress, epochs: Sequence[Epoch], expected: Expected, kept: bool) -> list[Fact]:
    """Where the present epoch stands, and which was the best."""
    position, rows = progress.position, expected.rows or 0
    losses = [judged_loss(epoch) for epoch in epochs]
    least = min(losses, default=math.inf)
    best = 1 + losses.index(least) if losses else 0
    return [
        ("position", position, position % expected.rows_a_step == 0, "a multiple of a step's rows"),
        ("position", position, position < max(rows, 1), f"less than the {rows} rows of an epoch"),
        ("seen", progress.seen, progress.seen == position, f"{position}, the position"),
        ("loss_sum", progress.loss_sum, position > 0 or progress.loss_sum == 0, "0 where an epoch starts"),
        ("best_epoch", progress.best_epoch, progress.best_epoch == best, f"{best}, by the history"),
        ("best_loss", progress.best_loss, progress.best_loss == least, f"{least}, by the history"),
        ("best.*", "them" if kept else "none", kept == (expected.keeps_best and best > 0), "there if they are kept"),
    ]


def names_of(records: Sequence[LayerRecord]) -> tuple[str, ...]:
    return tuple(record.layer for record in records)


def refuse_random(path: Path, found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """DerivgenError where a state is none that the generator, of which `own` is one, can come to."""
    state: Any = found.get("state")
    free = ("state", "has_uint32", "uinteger")
    if (
        set(found) != set(own)
        or not is_object(state)
        or set(state) != set(own["state"])
        or state["inc"] != own["state"]["inc"]
        or any(found[name] != value for name, value in own.items() if name not in free)
    ):
        raise altered(path, f"random must be a state of {own['bit_generator']} by the same seed, found {shown(found)}")
    bounds = (
        ("state", state["state"], 128),
        ("has_uint32", found["has_uint32"], 1),
        ("uinteger", found["uinteger"], 32),
    )
    for name, value, bits in bounds:
        if not is_whole(value) or value >= 2**bits:
            raise altered(path, f"random: {name} must be a whole number below 2**{bits}, found {shown(value)}")


def refuse_not_finite(path: Path, module: ModuleType, checkpoint: Checkpoint) -> None:
    """DerivgenError at the first number that is not finite: training goes on from no such place."""
    tensors = dict(module.views(checkpoint.parameters))
    tensors |= {f"state.{slot}": array for slot, array in checkpoint.state._asdict().items()}
    if checkpoint.best is not None:
        tensors |= {f"best.{name}": view for name, view in module.views(checkpoint.best).items()}
    for name, tensor in tensors.items():
        if bad := first_bad(tensor):
            raise altered(path, f"{element(name, bad[0])} must be finite, found {bad[1]}")
