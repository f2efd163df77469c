"""A printer of another language gives the numbers of the examples' modules from the same code."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import plain_python
import pytest
from example_files import EXAMPLES, NAMES, kernels
from sampled import some

from derivgen.form.program import Tensor
from derivgen.pipeline import declared_program, module_codes, plan_module, routines
from derivgen.plan.module_plan import ModulePlan
from derivgen.project.spec import load_target

ROWS, BATCH = 3, 2


@cache
def plan_and_functions(name: str) -> tuple[ModulePlan, dict[str, Callable]]:
    """An example's plan, and its functions in plain Python."""
    model, real = load_target(str(EXAMPLES / name / f"{name}.py")).model, kernels(name).real
    plan = plan_module(model, declared_program(model), np.dtype(real).name)
    codes = module_codes(plan)
    return plan, plain_python.module(routines(plan, codes), codes.values())


class Plain:
    """An example's module in plain Python, in double precision, and what the module of numba has of the same."""

    def __init__(self, name: str) -> None:
        self.module = kernels(name)
        self.real = self.module.real
        self.plan, self.functions = plan_and_functions(name)
        sizes = {n: ROWS for n, value in self.plan.program.sizes if not value.is_Integer}
        rng = np.random.default_rng(0)
        self.inputs = {t.name: numbers(t, sizes, rng) for t in self.plan.inputs}
        self.parameters = self.module.initial_parameters(seed=0)
        self.parameters += rng.uniform(-0.1, 0.1, self.parameters.shape).astype(self.real)
        rules = self.plan.rule.hyperparameters
        self.hyperparameters = [float(value) for _, value in rules]
        constants = [array(t.value, t.integer).reshape(shape_of(t, sizes)) for t in self.plan.constants]
        storage = self.plan.storage
        counts = {"reals": count(storage.reals, sizes) + 2, "integers": count(storage.integers, sizes)}
        memory = [array(np.zeros(counts[name]), name == "integers") for name in self.plan.memories]
        self.arrays = [*self.inputs.values(), *constants, *memory]

    def call(self, name: str, *before: object) -> object:
        """A function's result; `before`: what it is given before inputs and memory."""
        function: Callable = self.functions[name]
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        named = {"seed": 0, "step_number": 0, "row": 0, **dict(zip(self.rates, self.hyperparameters, strict=True))}
        after = [named[name] for name in names[len(before) + len(self.arrays) :]]
        return function(*before, *self.arrays, *after)

    @property
    def rates(self) -> list[str]:
        return [name for name, _ in self.plan.rule.hyperparameters]

    @property
    def given(self) -> list[np.ndarray | float]:
        """The inputs as the module takes them."""
        return [passed(self.inputs[t.name], t, self.real) for t in self.plan.inputs]

    def states(self) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
        """The state here and there. Slots hold 1: from 0, Adam divides rounding errors by rounding errors."""
        theirs = self.module.optimizer_state()
        for slot in theirs[1:]:
            slot[:] = 1
        return [array(slot, k == 0) for k, slot in enumerate(theirs)], theirs

    def agree(self, found: np.ndarray, wanted: np.ndarray) -> None:
        tolerance = 1e-10 if self.real is np.float64 else 2e-4
        scale = np.abs(wanted).max(initial=1e-30)
        assert np.abs(np.asarray(found) - wanted).max(initial=0) <= tolerance * scale


def array(values: object, integer: bool) -> np.ndarray:
    return np.array(values, np.int64 if integer else float)


def shape_of(t: Tensor, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(count(e, sizes) for e in t.shape) or (1,)


def count(extent: object, sizes: dict[str, int]) -> int:
    return int(extent.subs({s: sizes[s.name] for s in extent.free_symbols}))


def numbers(t: Tensor, sizes: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    """Numbers for an input, or labels."""
    shape = shape_of(t, sizes)
    return rng.integers(0, t.classes, shape) if t.integer else rng.uniform(0.1, 0.9, shape)


def passed(array: np.ndarray, t: Tensor, real: type) -> np.ndarray | float:
    """An input as a module takes it."""
    if not t.shape:
        return array[0].item()
    return array if t.integer else array.astype(real)


@pytest.mark.parametrize("name", some(NAMES))
def test_plain_python_computes_the_same(name: str) -> None:
    plain = Plain(name)
    parameters, gradient = plain.parameters.astype(float), np.zeros(plain.parameters.size)
    loss, wanted = plain.module.loss_and_gradient(plain.parameters, *plain.given)
    assert plain.call("gradient_kernel", parameters, gradient) == pytest.approx(loss, rel=1e-4)
    plain.agree(gradient, wanted)


@pytest.mark.parametrize("name", some(NAMES))
def test_plain_python_trains_the_same(name: str) -> None:
    """Two steps on all the data, then an epoch, where there are rows."""
    plain = Plain(name)
    parameters, gradient, theirs = (
        plain.parameters.astype(float),
        np.zeros(plain.parameters.size),
        plain.parameters.copy(),
    )
    state, their_state = plain.states()
    losses = np.zeros(2)
    plain.call("descent", parameters, gradient, *state, losses)
    plain.agree(losses, plain.module.descend(theirs, their_state, 2, *plain.given))
    plain.agree(parameters, theirs)
    if plain.plan.sample_axis is None:
        return
    order = np.array([2, 0, 1])
    refused, mean = plain.call("epoch", parameters, gradient, *state, order, BATCH, False)
    wanted = plain.module.train_epoch(theirs, their_state, order, BATCH, *plain.given)
    assert not refused
    assert mean == pytest.approx(wanted, rel=1e-4)
    plain.agree(parameters, theirs)


def test_it_is_short() -> None:
    """What a printer has to write does not grow unseen."""
    assert len(Path(plain_python.__file__).read_text().splitlines()) <= 250
