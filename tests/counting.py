"""Generated modules whose reals count what is done with them: what the text costs, found by running it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from generated import execute

from derivgen.form.program import Program, Role
from derivgen.print.elementary import (
    CUBE,
    FUNCTIONS,
    INTEGER_POWER,
    MAXIMUM,
    MINIMUM,
    OF_ORDINAL,
    ORDINAL,
    POWER,
    SQUARE,
)

# What the text calls, by its cost: one operation, or two, or a call; "range" and "abs" are Python's own.
SINGLE = {MAXIMUM: 1, MINIMUM: 1, SQUARE: 1, CUBE: 2, "difference": 1, "sign": 1, "np.floor": 1, "np.ceil": 1}
SINGLE |= {ORDINAL: 0, OF_ORDINAL: 0}  # the comparison of ordinals counts, as that of the numbers would
CALLS = {*FUNCTIONS.values(), INTEGER_POWER, POWER} - {*SINGLE, "abs"}


class Real:
    """A number that counts the operations on it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: Any = 0.0) -> None:
        self.value = np.float64(value.value if isinstance(value, Real) else value)

    def __neg__(self) -> Real:
        return Real(-self.value)

    def __abs__(self) -> Real:
        self.done["flops"] += 1
        return Real(abs(self.value))

    def __float__(self) -> float:
        return float(self.value)


def operation(name: str) -> Callable[[Real, Any], Any]:
    """A method of numpy's scalars that counts as one operation."""

    def counted(self: Real, other: Any) -> Any:
        assert isinstance(other, Real), f"{name} with {other!r}, which is not of the module's dtype"
        Real.done["flops"] += 1
        result = getattr(self.value, name)(other.value)
        return Real(result) if isinstance(result, np.float64) else bool(result)

    return counted


for arithmetic in ("add", "sub", "mul", "truediv", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Real, f"__{arithmetic}__", operation(f"__{arithmetic}__"))


def function(kind: str, cost: int, name: str) -> Callable[..., Real]:
    """A function by its cost; its value is one that changes no loop."""

    def counted(*arguments: Any) -> Real:
        Real.done[kind] += cost
        values = [float(a) for a in arguments]
        if name in (MAXIMUM, MINIMUM):
            return Real(max(values) if name == MAXIMUM else min(values))
        return Real(values[0])

    return counted


COUNTED = {name: function("flops", cost, name) for name, cost in SINGLE.items()} | {
    name: function("calls", 1, name) for name in CALLS
}


class CountingNumpy(ModuleType):
    """numpy with the counting reals as float64."""

    float64 = Real

    def __getattr__(self, name: str) -> Any:
        return COUNTED.get(f"np.{name}", getattr(np, name))

    @staticmethod
    def isnan(value: Real) -> bool:
        return math.isnan(value.value)

    @staticmethod
    def empty(shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
        """What is read before it is written has no operations."""
        return np.full(shape, None, object) if dtype is Real else np.full(shape, 10**9, dtype)

    @staticmethod
    def dot(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        """A product of matrices, or of a matrix and a vector: for each element of it K products and K sums."""
        Real.done["flops"] += 2 * left.shape[-1] * out.size
        out[...] = reals(np.dot(floats(left), floats(right)))


def gemm(left: np.ndarray, right: np.ndarray, factors: np.ndarray, out: np.ndarray) -> None:
    """A product that assigns or adds: for each element K products and K sums, the factors are 1 and 0."""
    before = reals(np.zeros(out.shape)) if factors[1] == 0 else out.copy()
    CountingNumpy.dot(left, right, out)
    out[...] = reals(floats(out) + floats(before))


def reals(array: Any) -> np.ndarray:
    made = np.empty(np.shape(array), object)
    made.flat = [Real(value) for value in np.ravel(array)]
    return made


def floats(array: np.ndarray) -> np.ndarray:
    return np.array([float(value) for value in array.flat]).reshape(array.shape)


class CountingModule:
    """A generated float64 module over counting reals, with memory for these inputs."""

    def __init__(self, text: str, program: Program, inputs: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
        module = execute(text, numpy=CountingNumpy("numpy"))
        vars(module)["aligned"] = lambda count: CountingNumpy.empty(count, Real)
        module.__dict__.update({name: f for name, f in COUNTED.items() if "." not in name}, gemm=gemm)
        self.module = module
        count = sum(math.prod(p.shape) for p in module.PARAMETERS)
        self.parameters, self.gradient = reals(np.full(count, 0.5)), reals(np.zeros(count))
        given = [inputs[t.name] for t in program.of_role(Role.INPUT, Role.LABELS)]
        constants = [np.array(t.value) for t in program.of_role(Role.CONSTANT)]
        arrays = [a if a.dtype.kind == "i" else reals(a) for a in (*given, *constants)]
        self.data = module.Data(*(a.reshape(a.shape or (1,)) for a in arrays))
        names = module.new_memory.__code__.co_varnames[: module.new_memory.__code__.co_argcount]
        self.memory = module.new_memory(*(sizes[name] for name in names))

    def counts(self, name: str, *arguments: Any) -> tuple[int, int]:
        """(operations, calls) of one call of a function of the module."""
        Real.done.clear()
        with np.errstate(all="ignore"):
            getattr(self.module, name)(*arguments)
        return Real.done["flops"], Real.done["calls"]

    def forward(self) -> tuple[int, int]:
        return self.counts("loss_kernel", self.parameters, *self.data, *self.memory)

    def step(self) -> tuple[int, int]:
        return self.counts("gradient_kernel", self.parameters, self.gradient, *self.data, *self.memory)

    def update(self) -> tuple[int, int]:
        slots = [reals(np.ones(len(self.parameters))) for _ in self.module.State._fields[1:]]
        state = self.module.State(np.zeros(1, np.int64), *slots)
        settings = [0.5 for _ in range(self.module.update_kernel.__code__.co_argcount - 3)]
        return self.counts("update_kernel", self.parameters, self.gradient, state, *settings)
