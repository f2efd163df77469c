"""Where a loss or a gradient that is not finite came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError

Array = np.ndarray[Any, Any]
GROWTH = 1e4  # a parameter that has grown by more is what the loss overflows by


class NonFiniteError(DerivgenError, ArithmeticError):
    """Training met a NaN or an infinity, and stopped before it reached the parameters.

    `tensor` is the name of the tensor where it was found first ("loss" if only the loss is affected); `epoch` and
    `step` count from 1. `parameters` (the flat vector) and `state` (that of the update rule) are from before that step:
    the last good ones. `fit` is the training until then, with the best parameters if they were kept.
    """

    fit: Any = None

    def __init__(self, message: str, tensor: str, epoch: int, step: int, parameters: Array, state: Any) -> None:
        super().__init__(message)
        self.tensor = tensor
        self.epoch = epoch
        self.step = step
        self.parameters = parameters
        self.state = state


def first_bad(array: Array) -> tuple[tuple[int, ...], float, int] | None:
    """(position, value, how many there are) of the first element that is not finite."""
    if array.dtype.kind != "f":
        return None
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count == 0:
        return None
    position = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    return position, float(array[position]), count


def element(name: str, position: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, position))}]" if position else name


def bad_input(module: ModuleType, data: Mapping[str, Array], rows: Array | None) -> tuple[str, str, int] | None:
    """(input, its first element that is not finite in words, how many there are); None where all are finite.

    `rows`: the numbers of these rows in all the data, None where they are it.
    """
    for declared in module.INPUTS:
        if found := first_bad(np.asarray(data[declared.name])):
            position, value, count = found
            if rows is not None and declared.shape and declared.shape[0] == module.SAMPLE_AXIS:
                position = (int(rows[position[0]]), *position[1:])
            return (
                declared.name,
                f"the input {declared.name} holds {value} at {element(declared.name, position)}",
                count,
            )
    return None


def bad_tensor(module: ModuleType, flat: Array) -> tuple[str, float, str] | None:
    """(tensor, value, place) of the first element of a flat vector that is not finite."""
    for name, tensor in module.views(flat).items():
        if found := first_bad(tensor):
            return name, found[1], element(name, found[0])
    return None


def cause(
    module: ModuleType,
    data: Mapping[str, Array],
    rows: Array | None,
    initial: Array,
    good: Array,
    after: Array,
    loss: float,
    gradient: Callable[[], Array],
    settings: Mapping[str, float],
) -> tuple[str, str]:
    """(tensor, what is wrong in words) of a step that met a NaN or an infinity.

    `gradient` gives that of the step, `settings` are what the update was given. `data` are the step's, `rows` their
    numbers in all the data, None where those are it; `initial`, `good` and `after` the flat parameters at the start of
    training and around the step. Inputs are looked at first, then where training began, then the step's gradient.
    """
    if found := bad_input(module, data, rows):
        name, where, count = found
        return name, f"{where} ({count} such in this step): clean the data, or leave out those rows"
    for name, value in settings.items():
        if not np.isfinite(value):
            return name, f"the hyperparameter {name} is {value}: give a finite one"
    if bad := bad_tensor(module, initial):
        name, value, where = bad
        return name, f"training started with {value} at {where}: give finite parameters, or change its init in the spec"
    advice = "training diverged: try a smaller learning rate, clip the gradient, or scale the inputs"
    if bad := bad_tensor(module, good):
        name, value, where = bad
        was = f"the parameter {name} was {value} at {where} before the step"
        return name, f"{was}: a callback, or whoever else holds the parameters, made it so"
    name, largest = largest_tensor(module, good)
    if largest > GROWTH * max(1.0, largest_tensor(module, initial)[1]):
        return name, f"the parameter {name} grew to {largest:.3g}, where the {kind(loss)} overflows; {advice}"
    if np.isfinite(loss):
        return after_the_step(module, gradient(), after, advice)
    words = "inputs and parameters are finite, so a function in the model left its range (log of 0, exp of much)"
    return "loss", f"{words}: look at its formulas, or try a smaller learning rate"


def kind(loss: float) -> str:
    return "gradient" if np.isfinite(loss) else "loss"


def after_the_step(module: ModuleType, gradient: Array, after: Array, advice: str) -> tuple[str, str]:
    """The cause, where the loss is finite, and the gradient or the update after it is not."""
    for name, tensor in module.views(gradient).items():
        if found := first_bad(tensor):
            where = f"the gradient of {name} is {found[1]} at {element(name, found[0])}"
            return name, f"{where} ({found[2]} such), at finite parameters: look at the formulas that read {name}"
    if bad := bad_tensor(module, after):
        name, value, where = bad
        return name, f"the parameter {name} became {value} at {where}, {advice}"
    return "state", f"a slot of the update rule overflowed; {advice}"


def largest_tensor(module: ModuleType, parameters: Array) -> tuple[str, float]:
    """(name, largest absolute value) of the parameter tensor that holds the largest; ("", 0) without parameters."""
    sizes = {name: float(np.max(np.abs(t), initial=0)) for name, t in module.views(parameters).items()}
    return max(sizes.items(), key=lambda item: item[1], default=("", 0.0))
