"""Where a loss that is not finite came from."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError

Array = np.ndarray[Any, Any]
GROWTH = 1e4  # a parameter that has grown by more is what the loss overflows by


class NonFiniteError(DerivgenError, ArithmeticError):
    """Training met a NaN or an infinity.

    `tensor` is the name of where it was found first ("loss" if in the loss alone), `epoch` counts from 1,
    `parameters` is the flat vector from before that epoch.
    """

    def __init__(self, message: str, tensor: str, epoch: int, parameters: Array) -> None:
        super().__init__(message)
        self.tensor = tensor
        self.epoch = epoch
        self.parameters = parameters


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


def explain_non_finite(
    module: ModuleType, data: Mapping[str, Array], initial: Array, before: Array, after: Array, epoch: int
) -> NonFiniteError:
    """The error for an epoch that gave a NaN or an infinity: inputs are looked at first, then where training began.

    `initial`, `before` and `after` are the flat parameters at the start of training and around the epoch.
    """

    def error(message: str, tensor: str) -> NonFiniteError:
        return NonFiniteError(f"epoch {epoch}: the loss is not finite: {message}", tensor, epoch, before)

    for declared in module.INPUTS:
        if found := first_bad(np.asarray(data[declared.name])):
            position, value, count = found
            where = f"the input {declared.name} holds {value} at {element(declared.name, position)}"
            return error(f"{where} ({count} such in all): clean the data, or leave out those rows", declared.name)
    for name, tensor in module.views(initial).items():
        if found := first_bad(tensor):
            position, value, _ = found
            where = f"training started with {value} at {element(name, position)}"
            return error(f"{where}: give finite parameters, or change its init in the spec", name)
    advice = "training diverged: try a smaller learning rate, or scale the inputs"
    for name, tensor in module.views(after).items():
        if found := first_bad(tensor):
            return error(f"the parameter {name} became {found[1]} at {element(name, found[0])}, {advice}", name)
    name, largest = largest_tensor(module, after)
    if largest > GROWTH * max(1.0, largest_tensor(module, initial)[1]):
        return error(f"the parameter {name} grew to {largest:.3g}, where the loss overflows; {advice}", name)
    message = "inputs and parameters are finite, so a function in the model left its range (log of 0, exp of much)"
    return error(f"{message}: look at its formulas, or try a smaller learning rate", "loss")


def largest_tensor(module: ModuleType, parameters: Array) -> tuple[str, float]:
    """(name, largest absolute value) of the parameter tensor that holds the largest; ("", 0) without parameters."""
    sizes = {name: float(np.max(np.abs(t), initial=0)) for name, t in module.views(parameters).items()}
    return max(sizes.items(), key=lambda item: item[1], default=("", 0.0))
