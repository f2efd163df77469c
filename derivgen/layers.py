"""Layers: functions that add let expressions to the model of their input. Each is a formula, none a derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen.activations import identity
from derivgen.initializers import Initializer
from derivgen.model import TensorSymbol


def dense(
    x: TensorSymbol,
    units: int | sp.Expr,
    activation: Callable[[sp.Expr], sp.Expr] = identity,
    *,
    name: str,
    init: str | Initializer | ArrayLike = "glorot_uniform",
    bias: bool = True,
) -> Any:
    """activation(x·W + b) along the last axis: (…, features) → (…, units); weights `<name>_W` (features, units) and
    `<name>_b`. As keras.layers.Dense, with its initializers."""
    model, (*batch, features) = x.model, x.shape
    *rows, i, j = model.local_indices(*batch, features, units)
    W = model.parameter(f"{name}_W", features, units, init=init)
    z = sp.Sum(x[(*rows, i)] * W[i, j], i)
    if bias:
        z += model.parameter(f"{name}_b", units)[j]
    return model.let(name, (*rows, j), activation(z))
