"""The oracle: derivatives of a program as differences of its declared formulas, taken in arbitrary precision.

At 50 digits a central difference is exact for double precision: with the step h = 10^(-digits/3), truncation and
rounding are both about h² = 1e-33 for functions of order one. What stop_gradient holds is held at the point. At a
kink a central difference is the mean of both sides, which is no convention: keep points away from kinks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from derivgen.errors import counted
from derivgen.form.program import Program
from derivgen.form.program import reached as dependents
from derivgen.form.reals import Real
from derivgen.oracle.interpreter import Execution, Held, run
from derivgen.oracle.reals import context
from derivgen.oracle.tensor_values import Array, array
from derivgen.stages import reached

SMALL_TENSOR, SMALL_PROGRAM = 24, 100  # up to so many elements or parameters, every coordinate is checked
HESSIAN_DIGITS = 80  # second differences lose twice as many
NOTHING = 1e-25  # differences at 50 digits do not tell a smaller derivative from 0
T = TypeVar("T", Real, Array)
Shifts = Mapping[str, NDArray[np.object_]]


@dataclass(frozen=True, slots=True)
class Depth:
    """What is compared of a tensor that is not compared at every coordinate, and up to which size a tensor is."""

    coordinates: int  # drawn at random, beside the one of the largest gradient
    directions: int  # of normal numbers inside the tensor: each has a part along every coordinate
    whole: bool = True  # small tensors, and small programs, at every coordinate

    @property
    def differences(self) -> int:
        return self.directions + (1 + self.coordinates if self.coordinates else 0)


LARGE = 2000  # parameters from which a difference costs so much that fewer are taken
# A direction covers every coordinate; random coordinates say besides where an error is, and see smaller ones.
THOROUGH, USUAL, QUICK = Depth(8, 2), Depth(1, 1, whole=False), Depth(0, 1, whole=False)


def depth_for(parameters: int, quick: bool = False) -> Depth:
    """How much is compared of a program with so many parameters."""
    if quick:
        return QUICK
    return THOROUGH if parameters <= LARGE else USUAL


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a parameter's gradient is from the differences, relative to that tensor's own scale."""

    parameter: str
    error: float
    checked: str
    largest: float  # of the differences that it was compared with
    tested: bool = True  # False if 0 was compared with 0, of what is not 0 everywhere


def value(program: Program, values: Mapping[str, ArrayLike], output: str | None = None, digits: int = 50) -> Real:
    """The output, a tensor of rank 0; the objective if omitted."""
    name = _output(program, output)
    return run(program.live([name]), values, digits=digits)[name][()]


def directional(
    program: Program,
    values: Mapping[str, ArrayLike],
    direction: Mapping[str, ArrayLike],
    output: str | None = None,
    digits: int = 50,
) -> Real:
    """The derivative of the output along a direction: name of a tensor → array of its shape; others stand still."""
    moved = reals(direction, digits)
    function = Point(program, values, [_output(program, output)], digits).function(list(moved))
    return central_difference(function, moved, digits)


def gradient(
    program: Program, values: Mapping[str, ArrayLike], wrt: Sequence[str], digits: int = 50
) -> dict[str, Array]:
    """The gradient of the objective by each tensor of `wrt`, coordinate by coordinate."""
    found, point = {}, Point(program, values, [_output(program, None)], digits)
    for name in wrt:
        shape, function = np.shape(values[name]), point.function([name])
        units = (_unit(shape, k, digits) for k in range(_count(shape)))
        found[name] = array((central_difference(function, {name: unit}, digits) for unit in units), shape)
    return found


def hessian_vector(
    program: Program, values: Mapping[str, ArrayLike], v: Mapping[str, ArrayLike], digits: int = HESSIAN_DIGITS
) -> dict[str, Array]:
    """∂²f·v of the objective f, for every parameter: second differences along each coordinate and v.

    With the step h = 10^(-digits/4), truncation and rounding are both about h² = 1e-40.
    """
    mp, direction = context(digits), reals(v, digits)
    parameters = [t.name for t in program.parameters]
    function = Point(program, values, [_output(program, None)], digits).function([*direction, *parameters])
    h = mp.mpf(10) ** (-mp.mpf(digits) / 4)

    def second(name: str, unit: Array) -> Real:
        def corner(a: int, b: int) -> Real:
            shifts = {moved: along * (b * h) for moved, along in direction.items()}
            shifts[name] = unit * (a * h) + shifts.get(name, 0)
            return function(shifts)

        return (corner(1, 1) - corner(1, -1) - corner(-1, 1) + corner(-1, -1)) / (4 * h * h)

    found = {}
    for name in parameters:
        shape = np.shape(values[name])
        found[name] = array((second(name, _unit(shape, k, digits)) for k in range(_count(shape))), shape)
    return found


def relative_error(got: ArrayLike, want: ArrayLike, digits: int = 50) -> float:
    """max|got - want| / max|want| of one tensor.

    0 where both are equal, infinite where `want` is 0 and `got` is not, or where one has a NaN or an infinity that
    the other has not at that place.
    """
    if np.shape(got) != np.shape(want):
        raise ValueError(f"shapes {np.shape(got)} and {np.shape(want)} differ")
    mp = context(digits)
    worst, scale = mp.zero, mp.zero
    for g, w in zip(_real_list(got, digits), _real_list(want, digits), strict=True):
        if g == w or (mp.isnan(g) and mp.isnan(w)):
            worst_here = mp.zero
        else:
            worst_here = abs(g - w) if mp.isfinite(g) and mp.isfinite(w) else mp.inf
        worst = max(worst, worst_here)
        scale = max(scale, abs(w)) if mp.isfinite(w) else scale
    if worst == 0:
        return 0.0
    return float(worst / scale) if scale else float("inf")


def compare_gradients(
    program: Program,
    values: Mapping[str, ArrayLike],
    gradient: Mapping[str, ArrayLike],
    seed: int = 0,
    depth: Depth | None = None,
    digits: int = 50,
    along: Mapping[str, ArrayLike] | None = None,
) -> list[Comparison]:
    """A gradient of the objective, name → array, against differences; one Comparison for each parameter.

    `along`: it is the gradient of the objective's derivative along this direction, which is the Hessian's product.

    `depth`: how much is compared; by the number of parameters if omitted. Of a tensor that is not compared at every
    coordinate these are the coordinate where the given gradient is largest (so that the scale is the tensor's own),
    random coordinates, and random directions v, whose error is |⟨g,v⟩ - d| / max(Σ|g_i·v_i|, |d|) for the difference
    d. The elements of v are ±1 to ±2, drawn evenly: none is small, and errors don't cancel as those of ±1 may.
    """
    missing = [t.name for t in program.parameters if t.name not in gradient]
    if missing:
        raise ValueError(f"the gradient of {missing[0]} is missing")
    total = sum(np.size(values[t.name]) for t in program.parameters)
    depth = depth_for(total) if depth is None else depth
    plans = [_planned(np.size(values[t.name]), total, depth) for t in program.parameters]
    point = Point(program, values, [_output(program, None)], digits)
    counter, compared = Counter(sum(plan.differences for plan in plans)), []
    generator = np.random.default_rng(seed)
    for name, plan in zip((t.name for t in program.parameters), plans, strict=True):
        given, shape = reals({name: gradient[name]}, digits)[name], np.shape(values[name])
        if given.shape != shape:
            raise ValueError(f"the gradient of {name} has shape {given.shape}, expected {shape}")
        counter.name = name
        check = _Check(name, shape, list(given.ravel()), _along(point, name, along or {}), digits, counter)
        found = check.found(plan, generator)
        errors, differences = zip(*found, strict=True)
        compared.append(Comparison(name, max(errors), plan.words(given.size), max(differences)))
    return compared


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is compared of one tensor: every coordinate, or that with the largest gradient and some; and directions."""

    coordinates: int
    directions: int
    every: bool = False

    @property
    def differences(self) -> int:
        return self.coordinates + self.directions

    def words(self, size: int) -> str:
        if self.every:
            return f"all {size} coordinates" if size > 1 else "the only coordinate"
        directions = counted(self.directions, "direction")
        if not self.coordinates:
            return f"{directions} through all {size} coordinates"
        return f"{self.coordinates} of {size} coordinates, {directions}"


def _planned(size: int, total: int, depth: Depth) -> _Plan:
    small = depth.whole and (size <= SMALL_TENSOR or total <= SMALL_PROGRAM)
    if small or size <= depth.differences:
        return _Plan(size, 0, every=True)
    return _Plan(min(size, 1 + depth.coordinates) if depth.coordinates else 0, depth.directions)


class Counter:
    """Differences that are taken, of so many, for who waits."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.name = total, 0, ""
        reached("the differences", done=0, total=total)

    def count(self) -> None:
        self.done += 1
        reached(f"{self.name}, {self.done} of {self.total} differences", done=self.done, total=self.total)


@dataclass(frozen=True, slots=True)
class _Check:
    """A tensor's gradient as given, in row-major order, and the objective as a function of that tensor's shift."""

    name: str
    shape: tuple[int, ...]
    gradient: list[Real]
    function: Callable[[Shifts], Real]
    digits: int
    counter: Counter

    def found(self, plan: _Plan, generator: np.random.Generator) -> list[tuple[float, float]]:
        """(the error, the largest difference) of the coordinates together, and of each direction."""
        size = len(self.gradient)
        if plan.every:
            return [self.at_coordinates(range(size))]
        chosen: list[int] = []
        if plan.coordinates:
            largest = self.largest
            others = [k for k in generator.permutation(size).tolist() if k != largest]
            chosen = sorted([largest, *others[: plan.coordinates - 1]])
        shape = plan.directions, size
        weights = (generator.choice([-1, 1], shape) * generator.uniform(1, 2, shape)).tolist()
        return [*([self.at_coordinates(chosen)] if chosen else []), *map(self.along, weights)]

    def difference(self, direction: Array) -> Real:
        found = central_difference(self.function, {self.name: direction}, self.digits)
        self.counter.count()
        return found

    @property
    def largest(self) -> int:
        """The coordinate with the largest gradient, a NaN before all."""
        sizes = [context(self.digits).inf if g != g else abs(g) for g in self.gradient]
        return sizes.index(max(sizes))

    def at_coordinates(self, chosen: Sequence[int]) -> tuple[float, float]:
        """(the error, the largest difference)"""
        units = (_unit(self.shape, k, self.digits) for k in chosen)
        differences = array(map(self.difference, units), (len(chosen),))
        error = relative_error(array((self.gradient[k] for k in chosen), (len(chosen),)), differences, self.digits)
        sizes = (abs(d) if d == d else context(self.digits).inf for d in differences)
        return error, float(max(sizes))

    def along(self, weights: list[float]) -> tuple[float, float]:
        """(the error, the difference's size)"""
        mp = context(self.digits)
        direction = array(map(mp.mpf, weights), self.shape)
        difference = self.difference(direction)
        products = [g * weight for g, weight in zip(self.gradient, weights, strict=True)]
        error, scale = abs(sum(products) - difference), max(sum(map(abs, products)), abs(difference))
        if error == 0:
            return 0.0, float(abs(difference))
        return float(error / scale) if mp.isfinite(error) else float("inf"), float(abs(difference))


def _output(program: Program, output: str | None) -> str:
    name = output or program.objective
    if name is None or program.tensor(name).shape:
        raise ValueError(f"the output {name} is not a tensor of rank 0")
    return name


class Point:
    """A program executed at a point: what does not depend on the tensors that move is computed once for all."""

    def __init__(self, program: Program, values: Mapping[str, ArrayLike], outputs: Sequence[str], digits: int) -> None:
        self.outputs, self.digits = outputs, digits
        self.live, self.held = program.live(list(outputs)), Held()
        self.tensors = run(self.live, values, digits=digits, held=self.held)

    def function(self, moved: list[str]) -> Callable[[Shifts], Real]:
        """The only output, of rank 0, as a function of shifts of these tensors."""
        elements = self.elements(moved)
        return lambda shifts: elements(shifts)[0]

    def elements(self, moved: list[str]) -> Callable[[Shifts], Array]:
        """The elements of the outputs, one after another, as a function of shifts of these tensors."""
        live = self.live
        depends = dependents(moved, live.statements, lambda s: s.sources)
        rest = replace(live, statements=tuple(s for s in live.statements if s.target in depends))
        written = {s.target for s in rest.statements}
        fixed = {name: tensor for name, tensor in self.tensors.items() if name not in written}
        execution = Execution(rest, fixed, digits=self.digits, held=self.held, whole=live)

        def elements(shifts: Shifts) -> Array:
            for name in moved:
                execution.give(name, np.ravel(fixed[name] + shifts.get(name, 0)))
            execution.run()
            found = [element for name in self.outputs for element in execution.stores[name].elements]
            return array(found, (len(found),))

        return elements


def _along(point: Point, name: str, along: Mapping[str, ArrayLike]) -> Callable[[Shifts], Real]:
    """The objective, or its derivative along a direction, as a function of a tensor's shift."""
    digits = point.digits
    moved = reals(along, digits)
    function = point.function(list({name: None, **moved}))
    if not moved:
        return function

    def derivative(shifts: Shifts) -> Real:
        def shifted(more: Shifts) -> Real:
            return function({**shifts, **{other: step + shifts.get(other, 0) for other, step in more.items()}})

        return central_difference(shifted, moved, digits)

    return derivative


def central_difference(function: Callable[[Shifts], T], direction: Shifts, digits: int) -> T:
    mp = context(digits)
    h = mp.mpf(10) ** (-mp.mpf(digits) / 3)
    forward = function({name: v * h for name, v in direction.items()})
    backward = function({name: v * -h for name, v in direction.items()})
    return (forward - backward) / (2 * h)


def _real_list(values: ArrayLike, digits: int) -> list[Real]:
    return [context(digits).mpf(v) for v in np.asarray(values).ravel().tolist()]


def reals(values: Mapping[str, ArrayLike], digits: int) -> dict[str, Array]:
    return {name: array(_real_list(v, digits), np.shape(v)) for name, v in values.items()}


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))


def _unit(shape: tuple[int, ...], k: int, digits: int) -> Array:
    """The direction of the k-th coordinate."""
    mp = context(digits)
    return array((mp.one if j == k else mp.zero for j in range(_count(shape))), shape)
