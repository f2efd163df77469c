"""The functions of second order of a generated module against differences of the declared formulas, and each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp
from generated import NOISE, TRIALS, module_text, value_error, with_noise
from random_specs import Spec

from derivgen.declare.model import Model
from derivgen.derive.second_order import derived_program, loss_of_outputs, request_for
from derivgen.errors import DerivgenError
from derivgen.file import contract
from derivgen.form.program import Program, Role
from derivgen.form.randomness import random_tensors
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import Held, run
from derivgen.oracle.reals import context
from derivgen.oracle.tensor_values import array
from derivgen.pipeline import declared_program, stable_program
from derivgen.prepare.modes import has_modes, in_evaluation, in_training
from derivgen.project.gradcheck import NOTHING

TOLERANCE = 1e-10  # of a derivative, relative to the largest element of its tensor
CONSISTENT = 1e-13  # of two functions of one module, relative to the sum of the terms' absolute values
DIGITS = 50
LONGEST = 620  # characters of a random spec; sums of products in longer ones take seconds to differentiate twice
Values = Mapping[str, Any]

OF_PREDICTION = ("jacobian", "jacobian_vector_product", "vector_jacobian_product")
OF_OBJECTIVE = (
    "hessian_vector_product",
    "hessian",
    "hessian_diagonal",
    "gauss_newton_vector_product",
    "loss_and_input_gradients",
)
OF_EVALUATION = ("evaluation_gradient", "evaluation_input_gradients")
NO_SINGLE_ROWS = ("reads its rows by number or by another row's number", "the model has no sample axis")


def ask_for_all(model: Model) -> tuple[str, ...]:
    """Ask a model for every function that it can have; gives their names."""
    names = [*OF_OBJECTIVE, *(OF_PREDICTION if model.prediction is not None else ())]
    names += OF_EVALUATION if has_modes(declared_program(model)) else []
    model.second_order(*names, *(["per_sample_gradients"] if has_single_rows(model) else []))
    return model.requests


def has_single_rows(model: Model) -> bool:
    """Whether a row alone has a loss; a refusal says why it has not."""
    declared = declared_program(model)
    try:
        derived_program(request_for("per_sample_gradients", declared), stable_program(in_training(declared)))
    except DerivgenError as refusal:
        assert any(words in str(refusal) for words in NO_SINGLE_ROWS), str(refusal)
        return False
    return True


# ---- differences


def moved(values: Values, direction: Values, step: Any, digits: int) -> dict[str, Any]:
    """The values, some of them moved along a direction."""
    mp = context(digits)

    def along(name: str) -> np.ndarray:
        places = zip(np.ravel(values[name]).tolist(), np.ravel(direction[name]).tolist(), strict=True)
        return array([mp.mpf(a) + step * mp.mpf(d) for a, d in places], np.shape(values[name]))

    return {**values, **{name: along(name) for name in direction}}


def tangents(program: Program, values: Values, direction: Values, outputs: Sequence[str]) -> list[np.ndarray]:
    """The derivatives of tensors along a direction."""
    live, held, mp = program.live(outputs), Held(), context(DIGITS)
    run(live, values, held=held)
    h = mp.mpf(10) ** (-mp.mpf(DIGITS) / 3)
    after, before = (run(live, moved(values, direction, step, DIGITS), held=held) for step in (h, -h))
    # A difference of two arrays without axes is a number.
    return [np.asarray((after[name] - before[name]) / (2 * h), object) for name in outputs]


def second_differences(program: Program, values: Values, digits: int = oracle.HESSIAN_DIGITS) -> dict[str, np.ndarray]:
    """∂²f/∂θ_i² of the objective f, for every parameter."""
    live, held, mp = program.live([str(program.objective)]), Held(), context(digits)
    h = mp.mpf(10) ** (-mp.mpf(digits) / 4)

    def objective(name: str, k: int, step: Any) -> Any:
        unit = np.eye(1, np.size(values[name]), k)
        at = moved(values, {name: unit}, step, digits)
        return run(live, at, digits=digits, held=held)[str(program.objective)][()]

    centre = run(live, values, digits=digits, held=held)[str(program.objective)][()]
    found = {}
    for t in program.parameters:
        counts = range(np.size(values[t.name]))
        seconds = [(objective(t.name, k, h) - 2 * centre + objective(t.name, k, -h)) / h**2 for k in counts]
        found[t.name] = array(seconds, np.shape(values[t.name]))
    return found


def jacobians(program: Program, values: Values, output: str, wrt: Sequence[str]) -> dict[str, np.ndarray]:
    """∂output/∂A for each tensor A of `wrt`, of the shape of the output before that of A flat."""
    found = {}
    for name in wrt:
        units = np.eye(np.size(values[name]))
        columns = [tangents(program, values, {name: unit}, [output])[0] for unit in units]
        found[name] = np.stack(columns, axis=-1)
    return found


def gauss_newton(stable: Program, values: Values, v: Values) -> dict[str, np.ndarray]:
    """Jᵀ·H·J·v by differences: J of the outputs by the parameters, H of the objective by the outputs."""
    stable = stable.live([str(stable.objective)])
    tail, outputs = loss_of_outputs(stable)
    at = run(stable, values)
    parameters = {p.name for p in stable.parameters}
    of_outputs = tuple(
        t if t.name not in outputs or t.name in parameters else replace(t, role=Role.INPUT) for t in stable.tensors
    )
    loss = Program(
        stable.name,
        of_outputs,
        tuple(stable.statements[k] for k in tail),
        stable.sizes,
        objective=stable.objective,
    )
    wide = set(outputs) - parameters
    given = {t.name: at[t.name] for t in of_outputs if t.name in wide or (t.name in values)}
    along = {name: v[name] for name in outputs if name in parameters}
    names = [name for name in outputs if name in wide]
    along |= dict(zip(names, tangents(stable, values, v, names), strict=True)) if names else {}
    weights = hessian_along(loss, given, along, outputs)
    total = {name: np.zeros(np.shape(values[name]), object) for name in parameters}
    for name in outputs:
        if name in parameters:
            total[name] = total[name] + weights[name]
        else:
            for p, jacobian in jacobians(stable, values, name, sorted(parameters)).items():
                flat = jacobian.reshape(-1, jacobian.shape[-1])
                total[p] = total[p] + (weights[name].ravel() @ flat).reshape(np.shape(values[p]))
    return total


def hessian_along(program: Program, values: Values, v: Values, wrt: Sequence[str]) -> dict[str, np.ndarray]:
    """∂²f/∂A∂v of the objective by each tensor A of `wrt`."""
    digits, output = oracle.HESSIAN_DIGITS, str(program.objective)
    live, held, mp = program.live([output]), Held(), context(digits)
    run(live, values, digits=digits, held=held)
    h = mp.mpf(10) ** (-mp.mpf(digits) / 4)

    def corner(name: str, k: int, a: int, b: int) -> Any:
        at = moved(values, {n: v[n] for n in v}, b * h, digits)
        unit = np.eye(1, np.size(values[name]), k)
        at = moved(at, {name: unit}, a * h, digits)
        return run(live, at, digits=digits, held=held)[output][()]

    found = {}
    for name in wrt:
        elements = [
            (corner(name, k, 1, 1) - corner(name, k, 1, -1) - corner(name, k, -1, 1) + corner(name, k, -1, -1))
            / (4 * h * h)
            for k in range(np.size(values[name]))
        ]
        found[name] = array(elements, np.shape(values[name]))
    return found


# ---- a module at a point


@dataclass
class Point:
    """A module with functions of second order, and a point to compare them at."""

    module: ModuleType
    declared: Program
    values: Values
    functions: tuple[str, ...]
    seed: int = 0

    @property
    def inputs(self) -> dict[str, Any]:
        return {t.name: self.values[t.name] for t in self.declared.of_role(Role.INPUT, Role.LABELS)}

    @cached_property
    def flat(self) -> np.ndarray:
        return np.concatenate([np.ravel(self.values[p.name]) for p in self.declared.vector])

    @cached_property
    def training(self) -> Program:
        return in_training(self.declared)

    @cached_property
    def direction(self) -> np.ndarray:
        return np.random.default_rng(self.seed).uniform(-1, 1, self.flat.shape)

    def parts(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """A flat vector, or the last axis of an array, by parameter."""
        found, start = {}, 0
        for t in self.declared.vector:
            count = np.size(self.values[t.name])
            shape = (*flat.shape[:-1], *np.shape(self.values[t.name]))
            found[t.name] = flat[..., start : start + count].reshape(shape)
            start += count
        return found

    @cached_property
    def along(self) -> dict[str, np.ndarray]:
        """The direction by parameter; running tensors have no derivatives."""
        return {p.name: self.parts(self.direction)[p.name] for p in self.declared.parameters}

    def call(self, function: str, *given: Any) -> Any:
        """A function of the module, with those of the inputs that it takes."""
        f = getattr(self.module, function)
        taken = f.__code__.co_varnames[: f.__code__.co_argcount]
        with np.errstate(all="ignore"):
            return f(self.flat, *given, **{n: a for n, a in self.inputs.items() if n in taken})

    # ---- comparison

    def compare(self, function: str, found: Values, expected: Values, given: Values | None = None) -> None:
        """Raise AssertionError where a tensor is off by more than rounding explains.

        Where values cancel, that is how far the function's program moves at 50 digits with each value on the way off
        by `NOISE`.
        """
        off = [name for name in expected if not value_error(found[name], expected[name]) <= TOLERANCE]
        if not off:
            return
        reports = [
            f"{function}: {name} is off by {value_error(found[name], expected[name])}:\n"
            f"{np.asarray(found[name]).tolist()}\nexpected\n{np.asarray(expected[name]).astype(float).tolist()}"
            for name in off
        ]
        exact, spread = self.exact_and_spread(function, given or {})
        for name, report in zip(off, reports, strict=True):
            assert name in exact, report
            assert value_error(exact[name], expected[name]) <= TOLERANCE, f"rule: {report}"
            error = np.abs(np.asarray(found[name]) - exact[name]).max()
            assert error <= spread[name], f"code: {report}\nof which rounding explains {spread[name]}"

    def exact_and_spread(self, function: str, given: Values) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """What a function's program gives at 50 digits, by parameter, and how far rounding moves it."""
        request = request_for(function, self.declared)
        at_work = self.training if request.in_training else in_evaluation(self.declared)
        program = derived_program(request, stable_program(at_work))
        parameters = {p.name for p in program.parameters}
        seeds = {t.name: given["u"] if t.of not in parameters else given[t.of] for t in program.of_role(Role.SEED)}

        def results(program: Program) -> dict[str, np.ndarray]:
            found = run(program, {**{n: a for n, a in self.values.items() if n in program.table}, **seeds})
            if program.gradients:
                return {name: found[bar] for name, bar in program.gradients}
            return {program.tensor(name).of or name: found[name] for name in program.results}

        exact = results(program)
        noisy = [results(with_noise(program, trial, NOISE)) for trial in range(TRIALS)]
        return exact, {name: float(max(np.max(np.abs(m[name] - exact[name])) for m in noisy)) for name in exact}

    # ---- each function

    def check(self) -> None:
        for function in self.functions:
            getattr(self, f"check_{function}")()

    @cached_property
    def expected_product(self) -> dict[str, np.ndarray]:
        return oracle.hessian_vector(self.training, self.values, self.along)

    def running_is_still(self, array: np.ndarray) -> None:
        """Running tensors, at the end of the flat vector, have the derivative 0."""
        for t in self.declared.of_role(Role.RUNNING):
            assert not self.parts(array)[t.name].any()

    def check_hessian_vector_product(self) -> None:
        found = self.call("hessian_vector_product", self.direction)
        assert found.shape == self.flat.shape and found.dtype == self.flat.dtype
        self.running_is_still(found)
        self.compare("hessian_vector_product", self.parts(found), self.expected_product, self.along)

    def check_hessian(self) -> None:
        matrix = self.call("hessian")
        assert matrix.shape == 2 * self.flat.shape and matrix.dtype == self.flat.dtype
        self.running_is_still(matrix)
        self.running_is_still(matrix.T)
        asymmetry = np.max(np.abs(matrix - matrix.T), initial=0)
        if not asymmetry <= CONSISTENT * np.max(np.abs(matrix), initial=0):
            _, spread = self.exact_and_spread("hessian", {})
            assert asymmetry <= 2 * max(spread.values()), f"not symmetric: {matrix.tolist()}"
        found = self.parts(matrix @ self.direction)
        own = self.parts(np.abs(matrix) @ np.abs(self.direction))
        for name, expected in self.expected_product.items():
            self.compare_sum(f"hessian·v: {name}", found[name], expected, own[name])

    def compare_sum(self, what: str, found: np.ndarray, expected: np.ndarray, terms: np.ndarray) -> None:
        """A sum of the test's own; its terms' rounding counts against the terms."""
        error = np.max(np.abs(found - expected), initial=0)
        small = error <= CONSISTENT * np.max(terms, initial=0)
        assert small or value_error(found, expected) <= TOLERANCE, (
            f"{what} is off by {error}: {found.tolist()}, expected {expected.astype(float).tolist()}"
        )

    def check_hessian_diagonal(self) -> None:
        found = self.call("hessian_diagonal")
        assert found.shape == self.flat.shape
        self.running_is_still(found)
        self.compare("hessian_diagonal", self.parts(found), second_differences(self.training, self.values))

    def check_gauss_newton_vector_product(self) -> None:
        found = self.call("gauss_newton_vector_product", self.direction)
        expected = gauss_newton(stable_program(self.training), self.values, self.along)
        self.running_is_still(found)
        self.compare("gauss_newton_vector_product", self.parts(found), expected, self.along)

    def check_loss_and_input_gradients(self) -> None:
        loss, found = self.call("loss_and_input_gradients")
        names = [t.name for t in self.declared.of_role(Role.INPUT)]
        assert [*found] == names, f"inputs {[*found]}, expected {names}"
        again = self.call("loss_and_gradient")[0]
        assert value_error(loss, np.array(again)) <= TOLERANCE, f"loss {loss}, and {again} with the gradient"
        expected = oracle.gradient(self.training, self.values, names)
        self.compare("loss_and_input_gradients", found, expected)

    def check_per_sample_gradients(self) -> None:
        found = self.call("per_sample_gradients")
        size = next(value for _, value in self.declared.sizes if not value.is_Integer)
        count = self.row_count(size)
        assert found.shape == (count, self.flat.size)
        names = [p.name for p in self.declared.parameters]
        for row in range(count):
            expected = oracle.gradient(self.training, self.only_row(row, size, count), names)
            for name, part in self.parts(found[row]).items():
                if name in expected:
                    error = value_error(part, expected[name])
                    assert error <= TOLERANCE, (
                        f"per_sample_gradients: row {row} of {name} is off by {error}: {part.tolist()}, expected "
                        f"{expected[name].astype(float).tolist()}"
                    )

    def row_count(self, size: sp.Expr) -> int:
        return next(
            self.values[t.name].shape[t.shape.index(size)]
            for t in self.declared.of_role(Role.INPUT, Role.LABELS)
            if size in t.shape
        )

    def only_row(self, row: int, size: sp.Expr, count: int) -> dict[str, Any]:
        """The values with this row as the only one, random numbers too: those of seed 0 and step 0."""
        found = {**self.values, **random_tensors(self.training, {str(size): count})}
        for t in self.declared.of_role(Role.INPUT, Role.LABELS, Role.RANDOM):
            for axis, extent in enumerate(t.shape):
                if extent == size and t.name in found:
                    found[t.name] = np.take(found[t.name], [row], axis)
        return found

    # ---- outside training

    @cached_property
    def evaluation(self) -> Program:
        return in_evaluation(self.declared)

    def check_evaluation_gradient(self) -> None:
        loss, found = self.call("evaluation_gradient")
        again = self.call("loss")
        assert value_error(loss, np.array(again)) <= TOLERANCE, f"loss {again}, and {loss} with the gradient"
        self.running_is_still(found)
        expected = oracle.gradient(self.evaluation, self.values, [p.name for p in self.declared.parameters])
        self.compare("evaluation_gradient", self.parts(found), expected)

    def check_evaluation_input_gradients(self) -> None:
        _, found = self.call("evaluation_input_gradients")
        names = [t.name for t in self.declared.of_role(Role.INPUT)]
        assert [*found] == names, f"inputs {[*found]}, expected {names}"
        self.compare("evaluation_input_gradients", found, oracle.gradient(self.evaluation, self.values, names))

    # ---- of the prediction

    @cached_property
    def expected_tangent(self) -> np.ndarray:
        return tangents(self.evaluation, self.values, self.along, [str(self.declared.prediction)])[0]

    @cached_property
    def weights(self) -> np.ndarray:
        return np.random.default_rng(self.seed + 1).uniform(-1, 1, self.expected_tangent.shape)

    def check_jacobian(self) -> None:
        matrix = self.call("jacobian")
        assert matrix.shape == (*self.expected_tangent.shape, self.flat.size) and matrix.dtype == self.flat.dtype
        self.running_is_still(matrix)
        own = np.abs(matrix) @ np.abs(self.direction)
        self.compare_sum("jacobian·v", matrix @ self.direction, self.expected_tangent, own)

    def check_jacobian_vector_product(self) -> None:
        found = self.call("jacobian_vector_product", self.direction)
        assert np.shape(found) == self.expected_tangent.shape
        name = str(self.declared.prediction)
        self.compare("jacobian_vector_product", {name: found}, {name: self.expected_tangent}, self.along)

    def check_vector_jacobian_product(self) -> None:
        u, v = self.weights, self.direction
        found = self.call("vector_jacobian_product", u)
        assert found.shape == self.flat.shape
        self.running_is_still(found)
        matrix, tangent = self.call("jacobian"), self.call("jacobian_vector_product", v)
        weighted = matrix * u[..., None]
        axes = tuple(range(u.ndim))
        expected, terms = weighted.sum(axes), np.abs(weighted).sum(axes)
        off = np.abs(found - expected) > CONSISTENT * terms
        if off.any():
            self.compare("vector_jacobian_product", self.parts(found), self.weighted_gradient(u), {"u": u})
        left, right = np.sum(u * tangent), found @ v
        scale = terms @ np.abs(v)
        cancelled = max(abs(left), abs(right)) <= TOLERANCE and np.max(np.abs(self.expected_tangent)) < NOTHING
        assert cancelled or abs(left - right) <= CONSISTENT * scale, (
            f"⟨u, Jv⟩ = {left}, ⟨Jᵀu, v⟩ = {right}, terms {scale}"
        )

    def weighted_gradient(self, u: np.ndarray) -> dict[str, np.ndarray]:
        """uᵀ·J by differences."""
        names = [p.name for p in self.declared.parameters]
        found = jacobians(self.evaluation, self.values, str(self.declared.prediction), names)
        flat = {name: u.ravel() @ part.reshape(u.size, -1) for name, part in found.items()}
        return {name: part.reshape(np.shape(self.values[name])) for name, part in flat.items()}


def random_point(spec: Spec, execute_text: Callable[[str], ModuleType]) -> Point:
    """The module of a spec with every function that it can have, off kinks.

    An input called u is refused beside vector_jacobian_product.
    """
    spec = replace(spec, text=re.sub(r"\bu\b", "x2", spec.text), zero_rows=())
    model = spec.model()
    ask_for_all(model)
    return point_of(execute_text(module_text(model)), model, spec.values(declared_program(model)), spec.seed)


def point_of(module: ModuleType, model: Model, values: Values, seed: int = 0, names: Iterable[str] = ()) -> Point:
    declared = declared_program(model)
    known = {name: a for name, a in values.items() if declared.tensor(name).role is not Role.CONSTANT}
    return Point(
        module, declared, known, tuple(names or (n for n in model.requests if n in contract.DERIVATIVES)), seed
    )
