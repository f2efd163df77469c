"""What `fit` is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError, nearest
from derivgen.file import headers
from derivgen.runtime.json_text import short, shown


@dataclass(frozen=True, slots=True)
class Options:
    """What `fit` was asked for."""

    epochs: int
    batch_size: int
    seed: int
    validation_split: float
    shuffle: bool
    drop_last: bool
    accumulate: int
    early_stopping: int | None
    keep_best: bool
    monitor: bool
    checkpoint_every: int | None
    keep: int
    hyperparameters: Mapping[str, float]

    @property
    def decisive(self) -> dict[str, Any]:
        """The settings on which the numbers depend, besides the data."""
        names = ("batch_size", "seed", "validation_split", "shuffle", "drop_last", "accumulate", "keep_best")
        own = {name: plain(getattr(self, name)) for name in names}
        return {**own, **{name: float(value) for name, value in sorted(self.hyperparameters.items())}}


def plain(value: Any) -> Any:
    """A number as Python's own, which a file takes."""
    return value.item() if isinstance(value, np.generic) else value


def hyperparameters_of(module: ModuleType) -> list[str]:
    """The names that the module's update rule takes."""
    rule = inspect.signature(module.update).parameters.values()
    return [a.name for a in rule if a.kind is a.KEYWORD_ONLY]


def refuse_differences(path: Path, what: str, saved: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Raise DerivgenError where some of a checkpoint's settings, or data, are others here."""

    def said(facts: Mapping[str, Any], name: str) -> str:
        value = facts.get(name, "not given")
        return short(str(value)) if isinstance(value, str | int | float) else shown(value)

    found = ", ".join(
        f"{name} {said(saved, name)}, here it is {said(mine, name)}"
        for name in dict.fromkeys((*saved, *mine))
        if (name in saved) != (name in mine) or saved.get(name) != mine.get(name)
    )
    if found:
        raise DerivgenError(
            f"{path} is of a training with {found}: give the same {what}, or start a new training from its parameters "
            f"(--parameters {headers.word(str(path))}; in Python read_checkpoint)"
        )


def check_options(module: ModuleType, options: Options, arguments: Collection[str]) -> None:
    """Raise where an option is out of its range, or the update rule has no such hyperparameter.

    `arguments` are those of `fit`.
    """
    names = ("epochs", "batch_size", "accumulate", "early_stopping", "checkpoint_every", "keep")
    counts = {"seed": 0, **dict.fromkeys(names, 1)}
    for name, least in counts.items():
        value = getattr(options, name)
        if value is None and name in ("early_stopping", "checkpoint_every"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be an integer, found {type(value).__name__}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, found {value}")
    if not 0 <= options.validation_split < 1:
        split = options.validation_split
        raise ValueError(f"validation_split must be a fraction of at least 0 and less than 1, found {split}")
    if options.accumulate > 1 and not hasattr(module, "mean_gradient"):
        raise ValueError("accumulate: the model has no sample axis, so there are no batches to accumulate")
    own = hyperparameters_of(module)
    for name in options.hyperparameters:
        if name not in own:
            near = nearest(name, [*own, *arguments])
            raise TypeError(
                f"fit has no argument {name}, and the update rule no such hyperparameter{near or ';'} the rule has "
                f"{', '.join(own) or 'none'}"
            )
