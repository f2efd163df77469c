"""Code of random specs' kernels, before and after each pass, and how it is run on random arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import mpmath
import numpy as np
import sympy as sp
from guarded_specs import GuardedWriter
from random_specs import Writer, many

from derivgen import Model, layers
from derivgen.arrange.arrange import arrange
from derivgen.code.build import code_of
from derivgen.code.interpreter import execute
from derivgen.code.passes import PASSES
from derivgen.code.tree import Function
from derivgen.errors import SpecError
from derivgen.form.as_written import as_written
from derivgen.form.functions import FUNCTIONS
from derivgen.pipeline import declared_program, stable_program, training_program
from derivgen.prepare.modes import in_training
from derivgen.print.kernels import RESERVED
from derivgen.schedule.schedule import Schedule, schedule

SPECS = many(50)
LETS = 4
TOLERANCE = 1e-9  # of an array, relative to its largest element


def in_floats(value: Callable[..., object]) -> Callable[..., float]:
    return lambda *numbers: float(value(mpmath.mp, *map(mpmath.mpf, numbers)))


REALS = {kind: in_floats(value) for kind, value in ((kind, f.real) for kind, f in FUNCTIONS.items())}


@dataclass(frozen=True)
class Case:
    """A kernel's code as each pass finds it, then as the last one leaves it, and numbers for run-time sizes."""

    seed: int
    stages: tuple[Function, ...]
    sizes: Mapping[str, int]


def training_schedule(model: Model, seed: int) -> Schedule:
    declared = in_training(declared_program(model))
    return schedule(arrange(training_program(stable_program(declared))), in_place=seed % 2 == 0, together=seed % 3 > 0)


@as_written()
def cases_of(model: Model, runtime: Mapping[str, int], seed: int) -> list[Case]:
    found = []
    try:
        result = training_schedule(model, seed)
    except SpecError:  # a guard that lowering does not follow
        return []
    sizes = {name: int(value) for name, value in result.program.sizes if value.is_Integer} | dict(runtime)
    for kernel in result.kernels:
        stages = [code_of(result.program, kernel, kernel.layer, RESERVED)]
        for change in PASSES:
            stages.append(change(stages[-1]))
        found.append(Case(seed, tuple(stages), sizes))
    return found


@functools.cache
def random_cases(count: int = SPECS) -> tuple[Case, ...]:
    """The kernels of random specs, one of two of which only guards keep inside its arrays."""
    specs = (GuardedWriter(Random(k)).spec() if k % 2 else Writer(Random(k)).spec(LETS) for k in range(count))
    found = [case for spec in specs for case in cases_of(spec.model(), spec.runtime, spec.seed)]
    return (
        *found,
        *cases_of(transformer(), {"N": 2}, 1),
        *cases_of(single_output(), {"N": 9}, 1),
        *cases_of(sums_in_steps(), {"N": 3}, 1),
    )


def transformer() -> Model:
    """A block of layers, whose normalizations add to what they take the memory of."""
    model = Model("transformer")
    N = model.batch("N")
    n, t, d = model.indices(n=N, t=3, d=8)
    x = model.input("x", N, 3, 8)
    y = layers.transformer_block(x, 2, 8, name="block", causal=True)
    model.minimize(sp.Sum(y[n, t, d] ** 2, n, t, d) / N)
    return model


def single_output() -> Model:
    """A dense layer of one unit."""
    model = Model("single")
    N = model.batch("N")
    n = model.indices(n=N)
    y = layers.dense(model.input("x", N, 300), 1, name="y")
    model.minimize(sp.Sum(y[n, 0] ** 2, n) / N)
    return model


def sums_in_steps() -> Model:
    """A recurrence whose steps add up what stands before each element, and what stands from it on."""
    model = Model("sums")
    N = model.batch("N")
    n, t, i, j = model.indices(n=N, t=3, i=5, j=5)
    z, a = model.input("z", N, 3, 5), model.parameter("a", 5)

    def step(h: sp.IndexedBase) -> sp.Expr:
        before = sp.Sum(a[j] * h[n, t - 1, j] ** 2, (j, 0, i - 1))
        onwards = sp.Sum(sp.Piecewise((sp.sin(h[n, t - 1, j]), j >= i), (0, True)), j)
        return sp.tanh(z[n, t, i] + before * a[i] - onwards)

    h = model.recur("h", (n, t, i), step, initial=a[i])
    model.minimize(sp.Sum(h[n, 2, i] ** 2, n, i) / N)
    return model


def numbers(case: Case) -> dict[str, np.ndarray]:
    """An array for each argument: reals around 1, labels and places inside their ranges."""
    first, rng = case.stages[0], np.random.default_rng(case.seed)
    arrays = {}
    for name, t in first.arrays.items():
        shape = tuple(int(e.subs({s: case.sizes[s.name] for s in e.free_symbols})) for e in t.shape) or (1,)
        if not t.integer:
            arrays[name] = rng.uniform(0.3, 1.5, shape)
        elif t.value is not None:
            arrays[name] = np.array(t.value).reshape(shape)
        else:
            limit = t.classes or first.below.get(name, sp.Integer(1))
            arrays[name] = rng.integers(0, int(sp.sympify(limit).subs(case.sizes)), shape)
    return arrays


def run(case: Case, function: Function) -> dict[str, np.ndarray]:
    """What the arrays hold after a function has run."""
    arrays = numbers(case)
    with np.errstate(all="ignore"):
        execute(function, arrays, case.sizes, REALS, factors=(-0.5, 1.0))
    return arrays


def differences(case: Case, before: Function, after: Function) -> list[str]:
    """The arrays in which two functions leave other numbers."""
    found, expected = run(case, after), run(case, before)
    return [name for name in expected if not alike(found[name], expected[name])]


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    finite = np.abs(b[np.isfinite(b)])
    return bool(
        np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * (finite.max() if finite.size else 0), equal_nan=True)
    )
