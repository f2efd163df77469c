"""What a model has declared: its tensors, and the formulas of those that it defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.errors import Place
from derivgen.form.program import Role
from derivgen.form.tables import Formula
from derivgen.initializers import Initializer


@dataclass(frozen=True, slots=True)
class Declaration:
    """A tensor as declared: sizes are integers and SymPy expressions of the spec's size symbols."""

    name: str
    shape: tuple[sp.Expr, ...]
    role: Role
    place: Place | None
    integer: bool = False
    classes: int | None = None
    ignore: int | None = None
    initial: Initializer | np.ndarray | None = None
    value: np.ndarray | None = None
    formula: Formula | None = None  # CONSTANT: what gives its values, where a formula does
    next: Any = None  # RUNNING: an expression, or a function of the indices that gives one; None where it stays


@dataclass(frozen=True, slots=True)
class Definition:
    """A tensor defined by an expression over its indices; `left` are its subscripts, made of these.

    In a recurrence, which is called after its first member, `initial` are its values one, two, … steps before the
    first.
    """

    name: str
    indices: tuple[Idx, ...]
    expression: sp.Expr
    place: Place | None
    left: tuple[sp.Expr, ...]
    recurrence: str = ""
    layer: str = ""
    initial: tuple[sp.Expr, ...] = ()
