"""A module written by hand, as far as methods of second order look at it."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from derivgen.file.contract import CONTRACT


class Parameter(NamedTuple):
    name: str
    shape: tuple
    dtype: str
    offset: int
    trained: bool = True


class Input(NamedTuple):
    name: str
    shape: tuple
    dtype: str = "float64"
    classes: int | None = None
    ignore: int | None = None


def module_of(shapes: dict[str, tuple], inputs: list[Input], start: Any, running: tuple = (), **functions: Any) -> Any:
    """A module as derivgen generates it, as far as the methods look at it; its functions take the flat vector."""
    module: Any = ModuleType("by_hand")
    start = np.asarray(start)
    module.CONTRACT, module.COMPILING = CONTRACT, None
    module.real, module.SAMPLE_AXIS, module.INPUTS, offset, entries = start.dtype.type, "N", tuple(inputs), 0, []
    for name, shape in shapes.items():
        entries.append(Parameter(name, shape, str(start.dtype), offset, name not in running))
        offset += math.prod(shape)
    module.PARAMETERS = tuple(entries)

    def views(flat):
        if flat.dtype != start.dtype or flat.shape != start.shape:
            raise ValueError(
                f"parameters: expected {start.dtype} of shape {start.shape}, found {flat.dtype} {flat.shape}"
            )
        return {p.name: flat[p.offset : p.offset + math.prod(p.shape)].reshape(p.shape) for p in entries}

    module.views = views
    module.initial_parameters = lambda seed=0: start.copy()
    vars(module).update(functions)
    return module
