"""Code executed in plain Python: what a pass must not change.

Every element is looked up inside its array, or IndexError; a local without a value is a KeyError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any as Value

import numpy as np
import sympy as sp

from derivgen.code import operations as op
from derivgen.code.operations import Operations
from derivgen.code.proof import Proof
from derivgen.code.tree import Assign, Block, Code, Fill, For, Function, If, Let, Matrix, Product, Scale, Scratch
from derivgen.form.functions import of_ordinal, ordinal

ALPHA_BETA = {Scale.ASSIGN: (1, 0), Scale.ADD: (1, 1), Scale.NEGATE: (-1, 0), Scale.SUBTRACT: (-1, 1)}
RELATIONS: dict[str, Callable[[Value, Value], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def ranked(x: float) -> int:
    """A real's rank among all of float64; NaN ranks above all."""
    if math.isnan(x):
        return 2**63 - 1
    bits = int(np.float64(x).view(np.int64))
    return bits if bits >= 0 else -(bits & (2**63 - 1))


def of_rank(rank: int) -> float:
    if rank == 2**63 - 1:
        return math.nan
    return float(np.int64(rank).view(np.float64)) if rank >= 0 else -float(np.int64(-rank).view(np.float64))


def larger(a: float, b: float) -> float:
    """The maximum, which keeps NaN."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def smaller(a: float, b: float) -> float:
    return -larger(-a, -b)


WORDS: dict[type | str, Callable[..., Value]] = {
    op.ROOT: lambda u: math.sqrt(u) if u >= 0 else math.nan,
    op.SQUARE: lambda u: u * u,
    op.CUBE: lambda u: u * u * u,
    op.INTEGER_POWER: lambda u, k: float(np.float64(u) ** int(k)),
    op.POWER: lambda u, v: float(np.power(np.float64(u), np.float64(v))),
    op.MAXIMUM: larger,
    op.MINIMUM: smaller,
    ordinal: ranked,
    of_ordinal: of_rank,
    sp.Min: min,
    sp.Max: max,
    sp.Mod: lambda a, b: a % b,
}


def execute(
    function: Function,
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    functions: Mapping[type | str, Callable[..., Value]],
    factors: tuple[float, float] = (1.0, 0.0),
) -> None:
    """Run a function on its arrays, which it changes; `functions`: the elementary ones, on floats."""
    Machine(function, arrays, sizes, {**functions, **WORDS}, factors).block(function.body)


class Machine:
    """The state of one run: arrays, and the values of locals, indices and sizes."""

    def __init__(
        self,
        function: Function,
        arrays: Mapping[str, np.ndarray],
        sizes: Mapping[str, int],
        functions: Mapping[type | str, Callable[..., Value]],
        factors: tuple[float, float],
    ) -> None:
        self.arrays, self.functions, self.factors = dict(arrays), functions, factors
        self.operations = Operations(function.order, Proof(function).is_integer)
        self.integers = {name for name, t in Proof(function).table.items() if t.integer}
        self.values: dict[str, Value] = {**function.integers, **sizes}

    # ---- statements

    def block(self, block: Block) -> None:
        for code in block:
            self.statement(code)

    def statement(self, code: Code) -> None:
        match code:
            case Let():
                self.values[code.name] = self.of(code.value, code.integer)
            case Assign():
                self.assign(code)
            case For():
                stop = self.arrays[code.shown[0]].shape[code.shown[1]] if code.shown else self.of(code.stop, True)
                steps = range(self.of(code.start, True), stop, code.step)
                for step in reversed(steps) if code.backwards else steps:
                    self.values[code.index.name] = step
                    self.block(code.body)
            case If():
                self.block(code.body if self.value(self.operations.condition(code.condition)) else code.otherwise)
            case Fill():
                stop = None if code.stop is None else self.of(code.stop, True)
                self.arrays[code.array][self.of(code.start, True) : stop] = self.of(code.value)
            case Product():
                self.product(code)
            case Scratch():
                self.arrays[code.name] = np.full(tuple(map(int, code.shape)), math.nan)

    def assign(self, code: Assign) -> None:
        integer = code.place.tensor in self.integers
        value = self.of(code.value, integer)
        if code.operator != "=":
            before = self.value(self.operations.place(code.place))
            value = before + value if code.operator == "+=" else (max if integer else larger)(before, value)
        if code.place.subscripts:
            array, at = self.element(self.operations.place(code.place))
            array[at] = value
        else:
            self.values[code.place.tensor] = value

    def product(self, p: Product) -> None:
        left, right, out = map(self.matrix, (p.left, p.right, p.out))
        alpha, beta = self.factors if p.scale is Scale.FACTORS else ALPHA_BETA[p.scale]
        out[...] = alpha * (left @ right) + (beta * out if beta else 0)

    def matrix(self, m: Matrix) -> np.ndarray:
        view = self.arrays[m.array][tuple(slice(None) if i is None else self.of(i, True) for i in m.point)]
        matrix = view.reshape([self.of(e, True) for e in m.sides])
        assert np.shares_memory(matrix, view)
        return matrix.T if m.transposed else matrix

    # ---- values

    def of(self, e: sp.Expr, integer: bool = False) -> Value:
        return self.value(self.operations.integer(e) if integer else self.operations.real(e))

    def element(self, place: op.Place) -> tuple[np.ndarray, tuple[int, ...]]:
        array, at = self.arrays[place.name], tuple(map(self.value, place.subscripts))
        if not all(0 <= i < extent for i, extent in zip(at, array.shape, strict=True)):
            raise IndexError(f"{place.name}[{at}] of the shape {array.shape}")
        return array, at

    def value(self, o: op.Operation) -> Value:
        match o:
            case op.Number():
                return int(o.value) if o.integer else float(o.value)
            case op.Name():
                return self.values[o.name]
            case op.Length():
                return self.arrays[o.array].shape[o.axis]
            case op.Place():
                if not o.subscripts:
                    return self.values[o.name]
                array, at = self.element(o)
                return array[at].item()
            case op.ToReal():
                return float(self.value(o.value))
            case op.Sum():
                return sum(-self.value(term) if minus else self.value(term) for minus, term in o.terms)
            case op.Quotient():
                above, below = (math.prod(map(self.value, factors)) for factors in (o.above, o.below))
                above = -above if o.negative else above
                return divided(above, below) if o.below else above
            case op.Call():
                return self.functions[o.function](*map(self.value, o.arguments))
            case op.Choice():
                chosen = (value for value, condition in o.branches if self.value(condition))
                return self.value(next(chosen, o.default))
            case op.Comparison():
                return RELATIONS[o.relation](self.value(o.left), self.value(o.right))
            case op.All():
                return all(map(self.value, o.parts))
            case op.Any():
                return any(map(self.value, o.parts))
            case op.Not():
                return not self.value(o.part)
            case op.Truth():
                return o.value


def divided(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))
