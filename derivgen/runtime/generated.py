"""The type of generated modules, for type checkers: `docs/module.md` is the contract."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Parameter(NamedTuple):
    """A row of PARAMETERS: a tensor's place in the flat vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    trained: bool


class Input(NamedTuple):
    """A row of INPUTS; a run-time size stands in the shape as its name, `classes` is None except for labels."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    classes: int | None
    ignore: int | None


class Layer(NamedTuple):
    """A row of LAYERS: the parameters that a layer reads."""

    name: str
    parameters: tuple[str, ...]


class GeneratedModule(ModuleType):
    """A generated module as `load` returns it; an imported one, which is a plain module to Python, works as well.

    Inputs are passed after the parameters, in the spec's order or by name. `predict`, `train_epoch`, `mean_gradient`
    and `activations` exist only where docs/module.md says so; functions of second derivatives exist if the spec
    requests them.
    """

    CONTRACT: int
    SAMPLE_AXIS: str | None
    PARAMETERS: tuple[Parameter, ...]
    INPUTS: tuple[Input, ...]
    LAYERS: tuple[Layer, ...]
    SIZES: tuple[str, ...]
    PREDICTION_INPUTS: tuple[str, ...]
    real: type[np.float32] | type[np.float64]

    def initial_parameters(self, seed: int = 0) -> Array:
        """The flat vector of initial parameters, shape (P,)."""
        raise NotImplementedError

    def views(self, parameters: Array) -> Mapping[str, Array]:
        """Views of the flat vector, by tensor name."""
        raise NotImplementedError

    # Of a scalar prediction it is a float.
    def predict(self, parameters: Array, *inputs: Any, **named: Any) -> Any:
        """The prediction: a new array, or a float if it has no axes."""
        raise NotImplementedError

    def loss(self, parameters: Array, *inputs: Any, **named: Any) -> float:
        """The loss, in evaluation mode."""
        raise NotImplementedError

    def loss_and_gradient(self, parameters: Array, *inputs: Any, **named: Any) -> tuple[float, Array]:
        """(loss, gradient of shape (P,)), in training mode, or with training=False in evaluation if the module can."""
        raise NotImplementedError

    # The type of a state is the module's own.
    def optimizer_state(self) -> Any:
        """The state of the update rule before the first step."""
        raise NotImplementedError

    def update(self, parameters: Array, gradient: Array, state: Any, **hyperparameters: float) -> None:
        """Do one step of the update rule, in place."""
        raise NotImplementedError

    def train_epoch(
        self, parameters: Array, state: Any, order: Array, batch_size: int, *inputs: Any, **named: Any
    ) -> float:
        """Do the steps of one epoch, in place; returns the mean of their losses."""
        raise NotImplementedError

    def mean_gradient(
        self, parameters: Array, order: Array, batch_size: int, *inputs: Any, **named: Any
    ) -> tuple[float, Array]:
        """(mean loss, mean gradient of shape (P,)) of these rows, computed batch by batch."""
        raise NotImplementedError

    def descend(self, parameters: Array, state: Any, steps: int, *inputs: Any, **named: Any) -> Array:
        """Do steps on all the data, in place; returns the loss before each, shape (steps,)."""
        raise NotImplementedError

    def activations(self, parameters: Array, *inputs: Any, **named: Any) -> Array:
        """Root mean square and share of zeros of each layer's values, shape (layers, 2)."""
        raise NotImplementedError
