"""A native module gives the numbers of numba's: whatever function is called, in blocks of rows and in threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import blocks_model
import numpy as np
import pytest
import sympy as sp
from example_files import EXAMPLES
from generated import execute, module_text
from native_modules import data_for, differences, native, needs_compiler, numbers_of

from derivgen import Model, activations, layers, losses, optimizers
from derivgen.file.contract import DERIVATIVES, PUBLIC
from derivgen.pipeline import generate_native
from derivgen.project.spec import load_target

pytestmark = needs_compiler
TOLERANCES = {np.float64: 1e-12, np.float32: 2e-5}
# A network in float32; sparse residuals; second order; rows that labels choose; a share of a penalty; unlike rows.
EXAMPLES_COMPARED = (
    "digits",
    "pharmacokinetics",
    "option_greeks",
    "matrix_factorization",
    "logistic_regression",
    "heat_equation",
    "decay_curve",
)


def recurrent() -> Model:
    """An LSTM over four steps, its derivatives by inputs and products with its Hessian."""
    model = Model("recurrent", dtype="float64")
    N, T, D = model.batch("N"), 4, 3
    x, y = model.input("x", N, T, D), model.labels("y", N, classes=3)
    states = layers.lstm(x, 5, name="lstm")
    n, j = model.indices(n=N, j=5)
    last = model.let("last", (n, j), states[n, T - 1, j])
    model.minimize(losses.softmax_cross_entropy(layers.dense(last, 3, name="scores"), y))
    model.predict(last)
    model.update(optimizers.adam())
    model.second_order("hessian_vector_product", "loss_and_input_gradients", "jacobian_vector_product")
    return model


def with_modes() -> Model:
    """A convolution, a batch norm, dropout and a clipped rule: running tensors, random numbers, two modes."""
    model = Model("with_modes", dtype="float64")
    N = model.batch("N")
    x, y = model.input("x", N, 1, 6, 6), model.labels("y", N, classes=3)
    seen = layers.conv2d(x, 3, (3, 3), name="seen")
    flat = layers.flatten(layers.batch_norm(seen, name="normed"), name="flat")
    n, j = model.indices(n=N, j=48)
    kept = model.let("kept", (n, j), activations.relu(flat[n, j]))
    dropped = layers.dropout(kept, 0.4, name="dropped")
    p = activations.softmax(layers.dense(dropped, 3, name="scores"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.predict(p)
    # Of the convolution's bias the gradient is 0, but for rounding, which Adam would blow up.
    model.update(optimizers.clip_global_norm(optimizers.momentum(), 0.5))
    model.second_order("evaluation_gradient", "evaluation_input_gradients")
    return model


@pytest.mark.parametrize("name", EXAMPLES_COMPARED)
def test_an_example_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    module = native(load_target(str(EXAMPLES / name / f"{name}.py")).model, tmp_path)
    reference = execute((EXAMPLES / name / f"{name}_kernels.py").read_text(), numpy=np)
    compare(module, reference)


@pytest.mark.parametrize("make", [recurrent, with_modes, blocks_model.model])
def test_a_model_gives_the_same_numbers(make: Any, tmp_path: Path) -> None:
    model = make()
    compare(native(model, tmp_path, "float64"), execute(module_text(model, "float64"), numpy=np))


def compare(module: ModuleType, reference: ModuleType) -> None:
    data = data_for(module)
    found = differences(numbers_of(module, data), numbers_of(reference, data))
    assert {name: error for name, error in found.items() if not error <= TOLERANCES[module.real]} == {}


def test_the_tables_are_the_same(tmp_path: Path) -> None:
    model = with_modes()
    module, reference = native(model, tmp_path), execute(module_text(model, "float64"), numpy=np)
    for name in ("PARAMETERS", "INPUTS", "LAYERS", "SAMPLE_AXIS", "SIZES", "PREDICTION_INPUTS", "BLOCK", "COMBINED"):
        assert getattr(module, name) == getattr(reference, name), name
    assert {*PUBLIC, *DERIVATIVES} & vars(reference).keys() <= vars(module).keys()
    assert module.initial_parameters(4).tobytes() == reference.initial_parameters(4).tobytes()


def shared_penalty() -> Model:
    """A sum over rows, and a penalty of which a block has its share."""
    model = Model("penalized", dtype="float64")
    N = model.batch("N")
    n, d = model.indices(n=N, d=3)
    x, t, w = model.input("x", N, 3), model.input("t", N), model.parameter("w", 3, init="normal")
    f = model.let("f", (n,), sp.tanh(sp.Sum(x[n, d] * w[d], d)))
    model.minimize(sp.Sum((f[n] - t[n]) ** 2, n) + sp.Sum(w[d] ** 4, d))
    model.predict(f)
    return model


def test_names_of_c_are_no_matter(tmp_path: Path) -> None:
    """Words of C, what its text calls things itself, and what stands for numbers there."""
    model = Model("named", dtype="float64")
    N = model.batch("unix")
    n, d = model.indices(n=N, d=3)
    x, t, w = model.input("result", N, 3), model.input("NAMED_OK", N), model.parameter("double", 3, init="normal")
    scaled = model.let("int", (n, d), sp.exp(x[n, d]) * w[d])
    f = model.let("f64_tanh", (n,), sp.tanh(sp.Sum(scaled[n, d], d)))
    model.minimize(sp.Sum((f[n] - t[n]) ** 2, n) / N)
    model.predict(f)
    compare(native(model, tmp_path), execute(module_text(model, "float64"), numpy=np))


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler of C++ is installed")
def test_a_program_of_cpp_includes_the_header(tmp_path: Path) -> None:
    model = Model("named", dtype="float64")
    N = model.batch("template")
    n = model.indices(n=N)
    x, y, w = model.input("new", N), model.input("operator", N), model.parameter("this")
    model.minimize(sp.Sum((w * x[n] - y[n]) ** 2, n))
    _, sources = generate_native(model, "float64", "named")
    header = next(name for name in sources if name.endswith(".h"))
    (tmp_path / header).write_text(sources[header], encoding="utf-8")
    (tmp_path / "main.cpp").write_text(f'#include "{header}"\nint main() {{ return 0; }}\n', encoding="utf-8")
    assert "operator_" in sources[header]
    subprocess.run(["c++", "-Wall", "-Werror", "-c", "main.cpp", "-o", "main.o"], cwd=tmp_path, check=True)


def in_blocks(module: ModuleType, block: int | None = 4, leaves: int = 2) -> ModuleType:
    module.BLOCK, module.LEAVES = block, leaves
    return module


@pytest.mark.parametrize("make", [shared_penalty, blocks_model.model])
def test_blocks_of_rows_give_the_same_numbers(make: Any, tmp_path: Path) -> None:
    """Several blocks a leaf, several leaves, and a last block that is shorter."""
    model = make()
    module, reference = native(model, tmp_path, "float64"), execute(module_text(model, "float64"), numpy=np)
    data = data_for(module, rows=23)
    whole = module.loss_and_gradient(module.initial_parameters(1), **data)
    found = numbers_of(in_blocks(module), data)
    errors = differences(found, numbers_of(in_blocks(reference), data))
    assert {name: error for name, error in errors.items() if not error <= 1e-12} == {}
    again = module.loss_and_gradient(module.initial_parameters(1), **data)
    assert again[0] == pytest.approx(whole[0], rel=1e-13)
    assert np.abs(again[1] - whole[1]).max() <= 1e-13 * np.abs(whole[1]).max()


def test_threads_compute_the_bits_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = in_blocks(native(blocks_model.model(), tmp_path, parallel=True), leaves=5)
    assert module.IN_THREADS
    data, numbers = data_for(module, rows=61), []
    for count in ("1", "3"):
        monkeypatch.setenv("DERIVGEN_NUM_THREADS", count)
        numbers.append(numbers_of(module, data))
    assert max(crew for _, crew in module.CREWS) == 2
    one, three = ({name: np.asarray(v).tobytes() for name, v in found.items()} for found in numbers)
    assert one == three


def test_as_many_threads_as_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = native(shared_penalty(), tmp_path)
    monkeypatch.delenv("DERIVGEN_NUM_THREADS", raising=False)
    if sys.platform == "linux":
        assert module.get_num_threads() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("DERIVGEN_NUM_THREADS", "0")
    assert module.get_num_threads() >= 1


def test_inputs_may_be_read_only(tmp_path: Path) -> None:
    module = native(shared_penalty(), tmp_path)
    data, parameters = data_for(module), module.initial_parameters(1)
    wanted = module.loss_and_gradient(parameters, **data)
    mean, prediction = module.mean_gradient(parameters, np.arange(6), 4, **data), module.predict(parameters, data["x"])
    for array in data.values():
        array.flags.writeable = False
    found = module.loss_and_gradient(parameters, **data)
    assert (found[0], found[1].tobytes()) == (wanted[0], wanted[1].tobytes())
    assert module.mean_gradient(parameters, np.arange(6), 4, **data)[1].tobytes() == mean[1].tobytes()
    assert module.predict(parameters, data["x"]).tobytes() == prediction.tobytes()
    with pytest.raises(ValueError, match="parameters: expected a contiguous, writeable array"):
        module.loss(parameters[::-1], **data)
