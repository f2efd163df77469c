"""Initial values of weights that are one matrix in several axes."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen import initializers
from derivgen.declare.model import Model
from derivgen.initializers import Initializer
from derivgen.layers.checks import fixed


def glorot(model: Model, inputs: list[Any], outputs: list[Any]) -> Initializer | None:
    """glorot_uniform of the matrix that these weights are, in whatever axes."""
    rows, columns = (fixed(model, sp.Mul(*sizes)) for sizes in (inputs, outputs))
    if not (rows.is_Integer and columns.is_Integer):
        return None
    return Initializer(*initializers.glorot_uniform().resolved((int(rows), int(columns))), name="glorot_uniform")
