"""Weights by a parametrization, and initial values of weights that are one matrix in several axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen import initializers
from derivgen.declare.model import Model, TensorSymbol
from derivgen.initializers import Initializer
from derivgen.layers.checks import fixed

Parametrization = Callable[..., Any]  # weights, name=…, axis=that of the units → weights of the same shape


def weights(
    model: Model,
    layer: str,
    name: str,
    shape: Sequence[Any],
    axis: int,
    init: str | Initializer | ArrayLike,
    parametrization: Parametrization | None,
) -> TensorSymbol:
    """The parameter `<name>_W`; with a parametrization the let `<name>_weights` that it makes of this."""
    W: TensorSymbol = model.parameter(f"{name}_W", *shape, init=init)
    if parametrization is None:
        return W
    if not callable(parametrization):
        words = "a function of weights such as layers.weight_norm"
        model.problem(f"{layer}: parametrization must be {words}, found {parametrization!r}")
        return W
    return parametrization(W, name=f"{name}_weights", axis=axis)


def glorot(model: Model, inputs: list[Any], outputs: list[Any]) -> Initializer | None:
    """glorot_uniform of the matrix that these weights are, in whatever axes."""
    rows, columns = (fixed(model, sp.Mul(*sizes)) for sizes in (inputs, outputs))
    if not (rows.is_Integer and columns.is_Integer):
        return None
    return Initializer(*initializers.glorot_uniform().resolved((int(rows), int(columns))), name="glorot_uniform")
