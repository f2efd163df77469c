"""Random specs in training: epochs and descents are their steps, and float32 modules stay float32 and near float64."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from compiled_types import doubles, doubles_in, kernels
from generated import execute, gradient_and_spread, module_text, predict
from random_specs import Spec, for_each_spec, many

from derivgen.form.program import Program, Role
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import module_gradient
from derivgen.runtime.loading import load

EXAMPLES, PARTS = many(14), 1
ROWS, BATCH, RATE = 5, 2, 0.01
TOLERANCE = 1e-12
SINGLE_TOLERANCE, SINGLE_NOISE = 1e-4, 1e-5  # of a float32 gradient; the rounding that explains a larger error


def given(spec: Spec, declared: Program, dtype: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(flat parameters, inputs) at the spec's point, the reals of this dtype."""
    values = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in spec.values(declared).items()}
    flat = np.concatenate([np.ravel(values[p.name]) for p in declared.parameters])
    return flat, {t.name: values[t.name] for t in declared.of_role(Role.INPUT, Role.LABELS)}


def assert_close(found: Any, wanted: Any) -> None:
    assert np.isfinite(wanted).all()
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max(), f"{found}, by single steps {wanted}"


@pytest.mark.parametrize("part", range(PARTS))
def test_epochs_and_descents_are_their_steps(part: int) -> None:
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        if not spec.runtime:
            return
        (axis, _), *others = spec.runtime
        spec = replace(spec, runtime=((axis, ROWS), *others))
        declared, module = declared_program(spec.model()), execute(module_text(spec.model()))
        flat, inputs = given(spec, declared, "float64")
        assert axis == module.SAMPLE_AXIS
        with np.errstate(all="ignore"):
            check_epoch(module, flat, inputs, np.random.default_rng(spec.seed).permutation(ROWS))
            check_descent(module, flat, inputs)
        seen["specs"] += 1

    for_each_spec(check, EXAMPLES * 3 // 2 // PARTS, start=400 + part, lets=4)
    assert seen["specs"] >= EXAMPLES // PARTS


def check_epoch(module: ModuleType, flat: np.ndarray, inputs: dict[str, np.ndarray], order: np.ndarray) -> None:
    """A permuted order, and a short last batch."""
    by_epoch, by_step, state = flat.copy(), flat.copy(), module.optimizer_state()
    mean = module.train_epoch(by_epoch, state, order, BATCH, **inputs, learning_rate=RATE)
    losses, weights = [], []
    gathered = {i.name for i in module.INPUTS if i.shape[:1] == (module.SAMPLE_AXIS,)}
    for start in range(0, ROWS, BATCH):
        rows = order[start : start + BATCH]
        batch = {name: data[rows] if name in gathered else data for name, data in inputs.items()}
        loss, gradient = module.loss_and_gradient(by_step, **batch)
        by_step -= RATE * gradient
        losses.append(loss)
        weights.append(len(rows))
    assert weights == [BATCH, BATCH, ROWS - 2 * BATCH]
    assert_close(by_epoch, by_step)
    assert_close(mean, np.average(losses, weights=weights))
    assert state.step[0] == len(losses)


def check_descent(module: ModuleType, flat: np.ndarray, inputs: dict[str, np.ndarray]) -> None:
    by_descent, by_step, state = flat.copy(), flat.copy(), module.optimizer_state()
    losses = module.descend(by_descent, state, 3, **inputs, learning_rate=RATE)
    for found in losses:
        loss, gradient = module.loss_and_gradient(by_step, **inputs)
        by_step -= RATE * gradient
        assert_close(found, loss)
    assert_close(by_descent, by_step)
    assert state.step[0] == len(losses)


@pytest.mark.parametrize("part", range(PARTS))
def test_single_precision(part: int, tmp_path: Path) -> None:
    """Gradients near those of double precision; no array is of another dtype, and in every second one no scalar."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        declared, text = declared_program(spec.model()), module_text(spec.model(), "float32")
        calls: dict[str, tuple[Any, ...]] = {}
        single, double = execute(text, calls), execute(module_text(spec.model()))
        flat, inputs = given(spec, declared, "float32")
        with np.errstate(all="ignore"):
            check_dtypes(single, flat, inputs)
            seen["cancelled"] += check_single(single, double, declared, flat, inputs)
        if seen["specs"] % 2 == 0:  # compilation takes most of the time
            path = tmp_path / f"spec{seen['specs']}_kernels.py"
            path.write_text(text, encoding="utf-8")
            compiled = load(path)
            names = kernels(compiled, calls)
            assert doubles_in(compiled, calls, names) == []
            seen["kernels"] += len(names)
        seen["specs"] += 1

    for_each_spec(check, EXAMPLES // PARTS, start=500 + part, lets=3)
    assert seen["specs"] == EXAMPLES // PARTS
    assert seen["kernels"] >= seen["specs"]
    assert seen["cancelled"] <= 0.1 * seen["specs"]


def check_dtypes(module: ModuleType, flat: np.ndarray, inputs: dict[str, np.ndarray]) -> None:
    arrays, sizes = module.checked(tuple(inputs.values()))
    memory, gradient = module.this_threads_memory(sizes)
    constants = [a for name, a in vars(module).items() if name.startswith("CONSTANT_") and isinstance(a, np.ndarray)]
    assert type(module.gradient_kernel(flat, gradient, *arrays, *constants, *memory)) is np.float32
    for array in (*arrays, *memory, gradient, module.loss_and_gradient(flat, **inputs)[1]):
        assert array.dtype in (np.float32, np.int64)
    if hasattr(module, "predict"):
        assert isinstance(predict(module, flat, inputs), float) or predict(module, flat, inputs).dtype == np.float32


def check_single(
    single: ModuleType, double: ModuleType, declared: Program, flat: np.ndarray, inputs: dict[str, np.ndarray]
) -> bool:
    """Raise AssertionError where the float32 gradient is off; whether one is near 0 by cancellation."""
    values = {**inputs, **single.views(flat)}
    exact = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in values.items()}
    found, wanted = module_gradient(single, declared, values), module_gradient(double, declared, exact)
    off = [n for n in found if not np.abs(found[n] - wanted[n]).max() <= SINGLE_TOLERANCE * np.abs(wanted[n]).max()]
    if off:
        _, spread = gradient_and_spread(declared, exact, SINGLE_NOISE)
        for name in off:
            error = np.abs(found[name] - wanted[name]).max()
            assert error <= spread[name], f"{name}_bar is off by {error}, of which rounding explains {spread[name]}"
    return bool(off)


def test_a_bare_literal_is_noticed(tmp_path: Path) -> None:
    """The check of types itself: 2.0 in place of real(2) drags a sum up to float64."""
    spec = Spec(
        'from sympy import Sum\nfrom derivgen import Model\nmodel = Model("random")\nD = model.sizes(D=3)\n'
        'd = model.indices(d=D)\nW = model.parameter("W", D)\nmodel.minimize(Sum(W[d]**2, d))\n',
        (),
        seed=0,
    )
    text = module_text(spec.model(), "float32")
    calls: dict[str, tuple[Any, ...]] = {}
    flat = np.ones(3, np.float32)
    execute(text, calls).loss_and_gradient(flat)
    assert text.count("real(2) * W[d]") == 1
    for name, literal in (("right", "real(2)"), ("wrong", "2.0"), ("size", "real(2) / d")):
        path = tmp_path / f"{name}_kernels.py"
        path.write_text(text.replace("real(2) * W[d]", f"{literal} * W[d]"), encoding="utf-8")
        found = doubles(load(path).loss_backward.py_func, calls["loss_backward"])
        assert bool(found) == (name != "right"), found


def test_single_precision_of_the_loops_over_batches(tmp_path: Path) -> None:
    """Every function that is compiled, once: they differ from module to module in what they pass on only."""
    spec = Spec(
        'from sympy import Sum, tanh\nfrom derivgen import Model, optimizers\nmodel = Model("random")\n'
        'N = model.batch("N")\nD = model.sizes(D=2)\nn, d = model.indices(n=N, d=D)\n'
        'x, y = model.input("x", N, D), model.labels("y", N, classes=D)\nW, b = model.parameter("W", D), '
        'model.parameter("b")\nz = model.let("z", (n,), tanh(Sum(x[n, d]*W[d], d)/3 + W[y[n]]*n))\n'
        "model.minimize(Sum(z[n]**2, n)/N + b**2/N)\nmodel.predict(z)\nmodel.update(optimizers.adam())\n",
        (("N", 5),),
        seed=0,
    )
    declared, text = declared_program(spec.model()), module_text(spec.model(), "float32")
    calls: dict[str, tuple[Any, ...]] = {}
    module = execute(text, calls)
    flat, inputs = given(spec, declared, "float32")
    predict(module, flat, inputs)
    module.loss(flat, **inputs)
    module.loss_and_gradient(flat, **inputs)
    module.descend(flat, module.optimizer_state(), 2, **inputs)
    module.train_epoch(flat, module.optimizer_state(), np.arange(5), 2, **inputs)
    assert {"epoch", "gather", "buffers", "descent", "step", "update_kernel", "prediction_kernel"} <= {*calls}
    path = tmp_path / "loops_kernels.py"
    path.write_text(text, encoding="utf-8")
    assert doubles_in(load(path), calls, calls) == []
