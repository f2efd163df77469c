"""The oracle: derivatives of a program as differences of its declared formulas, taken in arbitrary precision.

At 50 digits a central difference is exact for double precision: with the step h = 10^(-digits/3), truncation and
rounding are both about h² = 1e-33 for functions of order one. What stop_gradient holds is held at the point. At a
kink a central difference is the mean of both sides, which is no convention: keep points away from kinks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from derivgen.form.program import Program, reached
from derivgen.form.reals import Real
from derivgen.oracle.interpreter import Execution, Held, run
from derivgen.oracle.reals import context
from derivgen.oracle.tensor_values import Array, array

SMALL_TENSOR, SMALL_PROGRAM = 24, 100  # up to so many elements or parameters, every coordinate is checked
HESSIAN_DIGITS = 80  # second differences lose twice as many
Shifts = Mapping[str, NDArray[np.object_]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a parameter's gradient is from the differences, relative to that tensor's own scale."""

    parameter: str
    error: float
    checked: str
    largest: float  # of the differences that it was compared with


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
    moved = _reals(direction, digits)
    function = _function_of(program, values, list(moved), _output(program, output), digits)
    return _difference(function, moved, digits)


def gradient(
    program: Program, values: Mapping[str, ArrayLike], wrt: Sequence[str], digits: int = 50
) -> dict[str, Array]:
    """The gradient of the objective by each tensor of `wrt`, coordinate by coordinate."""
    found = {}
    for name in wrt:
        shape = np.shape(values[name])
        function = _function_of(program, values, [name], _output(program, None), digits)
        units = (_unit(shape, k, digits) for k in range(_count(shape)))
        found[name] = array((_difference(function, {name: unit}, digits) for unit in units), shape)
    return found


def hessian_vector(
    program: Program, values: Mapping[str, ArrayLike], v: Mapping[str, ArrayLike], digits: int = HESSIAN_DIGITS
) -> dict[str, Array]:
    """∂²f·v of the objective f, for every parameter: second differences along each coordinate and v.

    With the step h = 10^(-digits/4), truncation and rounding are both about h² = 1e-40.
    """
    mp, direction = context(digits), _reals(v, digits)
    parameters = [t.name for t in program.parameters]
    function = _function_of(program, values, [*direction, *parameters], _output(program, None), digits)
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
    coordinates: int = 8,
    directions: int = 2,
    digits: int = 50,
    along: Mapping[str, ArrayLike] | None = None,
) -> list[Comparison]:
    """A gradient of the objective, name → array, against differences; one Comparison for each parameter.

    `along`: it is the gradient of the objective's derivative along this direction, which is the Hessian's product.

    Small tensors and small programs are checked at every coordinate. Of others, the coordinate where the given
    gradient is largest (so that the scale is the tensor's own), random coordinates, and random directions v of ±1
    inside the tensor, whose error is |⟨g,v⟩ - d| / max(Σ|g_i·v_i|, |d|) for the difference d.
    """
    missing = [t.name for t in program.parameters if t.name not in gradient]
    if missing:
        raise ValueError(f"the gradient of {missing[0]} is missing")
    generator = np.random.default_rng(seed)
    total = sum(np.size(values[t.name]) for t in program.parameters)
    compared = []
    for name in (t.name for t in program.parameters):
        given, shape = _reals({name: gradient[name]}, digits)[name], np.shape(values[name])
        if given.shape != shape:
            raise ValueError(f"the gradient of {name} has shape {given.shape}, expected {shape}")
        function = _along(program, values, name, along or {}, digits)
        check = _Check(name, shape, list(given.ravel()), function, digits)
        if given.size <= SMALL_TENSOR or total <= SMALL_PROGRAM:
            found, checked = [check.at_coordinates(range(given.size))], f"all {given.size} coordinates"
        else:
            chosen = {
                check.largest,
                *generator.choice(given.size, min(coordinates, given.size), replace=False).tolist(),
            }
            signs = [generator.choice([-1, 1], size=given.size).tolist() for _ in range(directions)]
            found = [check.at_coordinates(sorted(chosen)), *map(check.along, signs)]
            checked = f"{len(chosen)} of {given.size} coordinates, {directions} directions"
        errors, differences = zip(*found, strict=True)
        compared.append(Comparison(name, max(errors), checked, max(differences)))
    return compared


@dataclass(frozen=True, slots=True)
class _Check:
    """A tensor's gradient as given, in row-major order, and the objective as a function of that tensor's shift."""

    name: str
    shape: tuple[int, ...]
    gradient: list[Real]
    function: Callable[[Shifts], Real]
    digits: int

    @property
    def largest(self) -> int:
        """The coordinate with the largest gradient, a NaN before all."""
        sizes = [context(self.digits).inf if g != g else abs(g) for g in self.gradient]
        return sizes.index(max(sizes))

    def at_coordinates(self, chosen: Sequence[int]) -> tuple[float, float]:
        """(the error, the largest difference)"""
        units = (_unit(self.shape, k, self.digits) for k in chosen)
        differences = array((_difference(self.function, {self.name: u}, self.digits) for u in units), (len(chosen),))
        error = relative_error(array((self.gradient[k] for k in chosen), (len(chosen),)), differences, self.digits)
        sizes = (abs(d) if d == d else context(self.digits).inf for d in differences)
        return error, float(max(sizes))

    def along(self, signs: list[int]) -> tuple[float, float]:
        """(the error, the difference's size)"""
        mp = context(self.digits)
        direction = array(map(mp.mpf, signs), self.shape)
        difference = _difference(self.function, {self.name: direction}, self.digits)
        products = [g * sign for g, sign in zip(self.gradient, signs, strict=True)]
        error, scale = abs(sum(products) - difference), max(sum(map(abs, products)), abs(difference))
        if error == 0:
            return 0.0, float(abs(difference))
        return float(error / scale) if mp.isfinite(error) else float("inf"), float(abs(difference))


def _output(program: Program, output: str | None) -> str:
    name = output or program.objective
    if name is None or program.tensor(name).shape:
        raise ValueError(f"the output {name} is not a tensor of rank 0")
    return name


def _function_of(
    program: Program, values: Mapping[str, ArrayLike], moved: list[str], output: str, digits: int
) -> Callable[[Shifts], Real]:
    """The output as a function of shifts of these tensors; what does not depend on them is computed once."""
    live, held = program.live([output]), Held()
    point = run(live, values, digits=digits, held=held)
    depends = reached(moved, live.statements, lambda s: s.sources)
    rest = replace(live, statements=tuple(s for s in live.statements if s.target in depends))
    written = {s.target for s in rest.statements}
    fixed = {name: tensor for name, tensor in point.items() if name not in written}
    execution = Execution(rest, fixed, digits=digits, held=held, whole=live)

    def function(shifts: Shifts) -> Real:
        for name in moved:
            execution.give(name, np.ravel(fixed[name] + shifts.get(name, 0)))
        execution.run()
        return execution.stores[output].elements[0]

    return function


def _along(
    program: Program, values: Mapping[str, ArrayLike], name: str, along: Mapping[str, ArrayLike], digits: int
) -> Callable[[Shifts], Real]:
    """The objective, or its derivative along a direction, as a function of a tensor's shift."""
    moved = _reals(along, digits)
    function = _function_of(program, values, list({name: None, **moved}), _output(program, None), digits)
    if not moved:
        return function

    def derivative(shifts: Shifts) -> Real:
        def shifted(more: Shifts) -> Real:
            return function({**shifts, **{other: step + shifts.get(other, 0) for other, step in more.items()}})

        return _difference(shifted, moved, digits)

    return derivative


def _difference(function: Callable[[Shifts], Real], direction: Shifts, digits: int) -> Real:
    mp = context(digits)
    h = mp.mpf(10) ** (-mp.mpf(digits) / 3)
    forward = function({name: v * h for name, v in direction.items()})
    backward = function({name: v * -h for name, v in direction.items()})
    return (forward - backward) / (2 * h)


def _real_list(values: ArrayLike, digits: int) -> list[Real]:
    return [context(digits).mpf(v) for v in np.asarray(values).ravel().tolist()]


def _reals(values: Mapping[str, ArrayLike], digits: int) -> dict[str, Array]:
    return {name: array(_real_list(v, digits), np.shape(v)) for name, v in values.items()}


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))


def _unit(shape: tuple[int, ...], k: int, digits: int) -> Array:
    """The direction of the k-th coordinate."""
    mp = context(digits)
    return array((mp.one if j == k else mp.zero for j in range(_count(shape))), shape)
