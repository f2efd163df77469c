"""A printer of another language gives the numbers of the examples' modules from the same code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plain_python
import pytest
from example_files import EXAMPLES, NAMES, kernels

from derivgen.form.program import Program, Role, Tensor
from derivgen.form.randomness import random_tensors
from derivgen.pipeline import declared_program, module_codes, plan_module
from derivgen.project.spec import load_target
from derivgen.schedule.repeat import arguments_of


def shape_of(t, sizes) -> tuple[int, ...]:
    return tuple(int(e.subs({s: sizes[s.name] for s in e.free_symbols})) for e in t.shape) or (1,)


def given(program: Program, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Numbers for inputs and labels."""
    rng = np.random.default_rng(0)
    return {
        t.name: rng.integers(0, t.classes, shape_of(t, sizes))
        if t.integer
        else rng.uniform(0.1, 0.9, shape_of(t, sizes))
        for t in program.of_role(Role.INPUT, Role.LABELS)
    }


def passed(array: np.ndarray, t: Tensor, real: type) -> np.ndarray | float:
    """An input as a module takes it."""
    if not t.shape:
        return array[0].item()
    return array if t.integer else array.astype(real)


@pytest.mark.parametrize("name", NAMES)
def test_plain_python_computes_the_same_loss_and_gradient(name: str) -> None:
    model, module = load_target(str(EXAMPLES / name / f"{name}.py")).model, kernels(name)
    plan = plan_module(model, declared_program(model), np.dtype(module.real).name)
    program, codes = plan.training.program, module_codes(plan)
    sizes = {n: 2 for n, value in program.sizes if not value.is_Integer}
    parameters = module.initial_parameters(seed=0)
    rng = np.random.default_rng(1)
    parameters += rng.uniform(-0.1, 0.1, parameters.shape).astype(parameters.dtype)
    inputs = given(program, sizes)
    loss, gradient = module.loss_and_gradient(
        parameters, *(passed(inputs[t.name], t, module.real) for t in plan.inputs)
    )
    arrays = {t.name: np.full(shape_of(t, sizes), np.nan) for t in program.tensors if not t.integer}
    arrays |= {t.name: np.zeros(shape_of(t, sizes), np.int64) for t in program.tensors if t.integer} | inputs
    arrays |= {t.name: np.array(t.value, arrays[t.name].dtype).reshape(arrays[t.name].shape) for t in plan.constants}
    arrays |= random_tensors(program, sizes)
    for p in module.PARAMETERS:
        arrays[p.name] = parameters[p.offset :][: np.prod(p.shape, dtype=int)].reshape(p.shape or (1,)).astype(float)
    functions = {kernel: plain_python.compiled(code) for kernel, code in codes.items()}
    for kernel in plan.training.kernels:
        first = plan.equal[kernel]
        names = arguments_of(program, kernel)
        wanted = [sizes[size] for size, _ in codes[first].sizes]
        functions[first](*(arrays[n] for n in names), 1.0, 0.0, *wanted)
    bars = dict(program.gradients)
    found = np.concatenate([arrays[bars[p.name]].ravel() for p in module.PARAMETERS if p.name in bars])
    tolerance = 1e-10 if module.real is np.float64 else 1e-4
    assert float(arrays[program.objective][0]) == pytest.approx(loss, rel=tolerance)
    assert np.abs(found - gradient[: found.size]).max() <= tolerance * np.abs(gradient).max()


def test_it_is_short() -> None:
    """What a printer has to write does not grow unseen."""
    assert len(Path(plain_python.__file__).read_text().splitlines()) <= 250
