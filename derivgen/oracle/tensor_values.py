"""The interpreter's state: the elements of tensors, and the sizes that given arrays show."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from derivgen.form.expressions import is_size
from derivgen.form.program import GIVEN, Program, Role, Statement, Tensor

Array = NDArray[np.object_]


def array(values: Iterable[Any], shape: tuple[int, ...]) -> Array:
    """Elements in row-major order as an object array."""
    elements = list(values)
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    return flat.reshape(shape)


@dataclass(frozen=True, slots=True)
class Store:
    """The elements of a tensor, in row-major order."""

    shape: tuple[int, ...]
    integer: bool
    elements: list[Any]

    @property
    def array(self) -> Array:
        return array(self.elements, self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(reduce(operator.mul, self.shape[axis + 1 :], 1) for axis in range(len(self.shape)))


def given_arrays(program: Program, values: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    written = {s.target for s in program.statements}
    refused = [n for n in values if n not in program.table or n in written]
    if refused:
        raise ValueError(f"{refused[0]} is computed by the program or unknown to it: it cannot be given")
    arrays = {t.name: t.value for t in program.of_role(Role.CONSTANT) if t.value is not None}
    arrays |= {t.name: np.array(1) for t in program.of_role(Role.MODE)}
    arrays |= {name: np.asarray(value) for name, value in values.items()}
    for read in (r for s in program.statements for r in s.reads):
        if program.tensor(read.tensor).role in {*GIVEN} - {Role.RANDOM} and read.tensor not in arrays:
            raise ValueError(f"{read.tensor} is read by the program: give its values")
    return arrays


def solved_sizes(program: Program, arrays: Mapping[str, NDArray[Any]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Each run-time size from the first axis that is its bare symbol; every array is then checked in full."""
    known = {name: int(size) for name, size in sizes.items()}
    given = [t for t in program.tensors if t.name in arrays]
    for tensor in given:
        for extent, found in zip(tensor.shape, arrays[tensor.name].shape, strict=False):
            if is_size(extent):
                known.setdefault(extent.name, found)
    for tensor in given:
        expected, found = tuple(extent_of(e, known) for e in tensor.shape), arrays[tensor.name].shape
        if found != expected:
            declared = ", ".join(map(str, tensor.shape))
            raise ValueError(f"{tensor.name} has shape {found}, expected ({declared}) = {expected}")
    return known


def extent_of(extent: Any, sizes: Mapping[str, int]) -> int:
    expression = sp.sympify(extent)
    if expression.is_Integer:
        return int(expression)
    unknown = sorted(s.name for s in expression.free_symbols if s.name not in sizes)
    if unknown:
        raise ValueError(f"size {unknown[0]} is not determined by the shapes of the arrays: give it in sizes")
    return int(expression.xreplace({s: sp.Integer(sizes[s.name]) for s in expression.free_symbols}))


def filled(mp: Any, tensor: Tensor, values: NDArray[Any]) -> Store:
    elements = values.ravel().tolist()
    if not tensor.integer:
        return Store(values.shape, False, [mp.mpf(v) for v in elements])
    if not all(isinstance(v, int) for v in elements):
        raise ValueError(f"{tensor.name} is a tensor of integers, found {values.dtype}")
    return Store(values.shape, True, [int(v) for v in elements])


def blank(mp: Any, tensor: Tensor, statements: Iterable[Statement], sizes: Mapping[str, int]) -> Store:
    operators = {s.operator for s in statements if s.target == tensor.name}
    initial = 0 if tensor.integer else mp.zero
    if not tensor.integer and "+=" not in operators and operators:
        initial = mp.ninf if "max=" in operators else mp.nan
    shape = tuple(extent_of(e, sizes) for e in tensor.shape)
    return Store(shape, tensor.integer, [initial] * reduce(operator.mul, shape, 1))
