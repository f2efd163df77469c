"""Training by a generated module's own compiled loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.monitor import explain_non_finite
from derivgen.runtime.progress import shown

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows: the mean loss of its steps, each taken before that step's update.

    `seconds` is the wall time; the first epoch's includes compiling, where numba has no cache yet.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The trained flat parameters, shape (P,), with views by name; state and parameters serve to go on from here."""

    parameters: Array
    views: Mapping[str, Array] = field(repr=False)
    history: tuple[Epoch, ...] = field(repr=False)
    state: Any = field(repr=False)


def fit(
    module: ModuleType,
    data: Mapping[str, Array],
    *,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    parameters: Array | None = None,
    state: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    progress: bool = False,
    **hyperparameters: float,
) -> Fit:
    """Train from the given parameters and state (which are copied), or from the spec's initial ones.

    `seed` draws the initial parameters, the model's random tensors and, for each epoch, a new order of the training
    rows. `validation_split` is the fraction of rows
    that are held out, drawn once from `seed` too. A model without a sample axis takes one step on all the data an epoch.
    Raises ValueError or TypeError where data or arguments don't fit the module, NonFiniteError where an epoch ends
    in a NaN or an infinity.
    """
    check_arguments(epochs, validation_split)
    generator = np.random.default_rng(seed)
    training, validation = split_rows(module, data, validation_split, generator)
    parameters = module.initial_parameters(seed) if parameters is None else np.array(parameters)
    state = module.optimizer_state() if state is None else copy.deepcopy(state)
    held_out = {} if validation is None else take_rows(module, data, validation)
    initial = parameters.copy()
    settings = {**hyperparameters, **({"seed": seed} if getattr(module, "RANDOM", ()) else {})}
    history: list[Epoch] = []

    def one_epoch() -> float:
        if training is None:
            return float(module.descend(parameters, state, 1, **data, **settings)[0])
        order = generator.permutation(training) if shuffle else training
        return float(module.train_epoch(parameters, state, order, batch_size, **data, **settings))

    def validate() -> float | None:
        return float(module.loss(parameters, **held_out)) if held_out else None

    with shown(epochs, progress) as report:
        for number in range(1, epochs + 1):
            before = parameters.copy()
            epoch = timed(number, one_epoch, validate)
            losses = (epoch.loss, 0.0 if epoch.validation_loss is None else epoch.validation_loss)
            if not all(map(math.isfinite, losses)) or not np.isfinite(parameters).all():
                raise explain_non_finite(module, data, initial, before, parameters, number)
            history.append(epoch)
            report(epoch)
    return Fit(parameters, module.views(parameters), tuple(history), state)


def timed(number: int, train: Callable[[], float], validate: Callable[[], float | None]) -> Epoch:
    start = time.perf_counter()
    loss = train()
    validation_loss = validate()
    return Epoch(number, loss, validation_loss, time.perf_counter() - start)


def check_arguments(epochs: int, validation_split: float) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer):
        raise TypeError(f"epochs must be an integer, found {type(epochs).__name__}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, found {epochs}")
    if not 0 <= validation_split < 1:
        raise ValueError(f"validation_split must be a fraction of at least 0 and less than 1, found {validation_split}")


def split_rows(
    module: ModuleType, data: Mapping[str, Array], fraction: float, generator: np.random.Generator
) -> tuple[Array | None, Array | None]:
    """(training rows, validation rows); none of both where the model has no sample axis."""
    if not sample_inputs(module):
        if fraction:
            raise ValueError("validation_split: the model has no sample axis, so there are no rows to hold out")
        return None, None
    rows = count_rows(module, data)
    if not fraction:
        return np.arange(rows), None
    held_out = round(rows * fraction)
    if not 0 < held_out < rows:
        raise ValueError(f"validation_split: {fraction} of {rows} rows leaves nothing to train on or to validate by")
    shuffled = generator.permutation(rows)
    return shuffled[held_out:], shuffled[:held_out]


def sample_inputs(module: ModuleType) -> list[str]:
    """The inputs whose first axis is the sample axis."""
    axis = module.SAMPLE_AXIS
    return [i.name for i in module.INPUTS if axis is not None and i.shape and i.shape[0] == axis]


def count_rows(module: ModuleType, data: Mapping[str, Array]) -> int:
    axis = module.SAMPLE_AXIS
    names = sample_inputs(module)
    for name in names:
        if name not in data:
            raise TypeError(f"the input {name} is missing from the data: expected {inputs_text(module)}")
        if np.ndim(data[name]) == 0:
            raise ValueError(f"the input {name} must be an array with first axis {axis}, found {data[name]!r}")
    counts = {name: len(data[name]) for name in names}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise ValueError(f"the inputs must have equally many rows (axis {axis}), found {found}")
    rows = next(iter(counts.values()))
    if rows == 0:
        raise ValueError(f"the inputs have no rows (axis {axis} is empty): at least one is needed")
    return rows


def inputs_text(module: ModuleType) -> str:
    return ", ".join(i.name for i in module.INPUTS)


def take_rows(module: ModuleType, data: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    """The same inputs with some rows only; inputs without the sample axis whole."""
    names = sample_inputs(module)
    return {name: np.asarray(array)[rows] if name in names else array for name, array in data.items()}
