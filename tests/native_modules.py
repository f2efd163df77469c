"""Native modules under test, and what they are compared with."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from derivgen import runtime
from derivgen.declare.model import Model
from derivgen.file import headers
from derivgen.file.contract import DERIVATIVES
from derivgen.pipeline import generate_native
from derivgen.project.building import COMPILERS, NativeModule, Options, build

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler is installed")
ROWS, OTHERS = 6, 4  # of data; the value of other run-time sizes


def write_native(model: Model, folder: Path, dtype: str | None = None, **options: bool) -> Path:
    """Build the module of a model, which no file defines; `options`: those of `Options`."""
    path, command = folder / f"{model.name}_native.py", "derivgen build spec.py"
    usual = model.dtype or "float32"
    module, sources = generate_native(model, dtype or usual, path.stem, options.get("parallel", False))
    build(NativeModule(headers.assemble(module, "spec.py", command), sources, ()), path, options=Options(**options))
    return path


def native(model: Model, folder: Path, dtype: str | None = None, **options: bool) -> ModuleType:
    return runtime.load(write_native(model, folder, dtype, **options))


def data_for(module: ModuleType, rows: int = ROWS) -> dict[str, Any]:
    """Random inputs, positive numbers and labels of all classes."""
    rng, sizes, data = np.random.default_rng(0), {module.SAMPLE_AXIS: rows}, {}
    for entry in module.INPUTS:
        shape = tuple(sizes.setdefault(e, OTHERS) if isinstance(e, str) else e for e in entry.shape)
        reals = rng.uniform(0.3, 1.2, shape)
        data[entry.name] = (
            np.asarray(reals, entry.dtype) if entry.classes is None else rng.integers(0, entry.classes, shape)
        )
    return data


def given_to(function: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the inputs that a function takes."""
    return {name: data[name] for name in inspect.signature(function).parameters if name in data}


def moved(parameters: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """The parameters, each of them an ulp more or less where there are random numbers for it."""
    if rng is None:
        return parameters
    return np.nextafter(parameters, rng.choice(np.array([-np.inf, np.inf], parameters.dtype), parameters.shape))


def numbers_of(
    module: ModuleType, data: Mapping[str, Any], start: int = 1, rng: np.random.Generator | None = None
) -> dict[str, Any]:
    """All that the functions of a module give for these inputs, by names; `start`: the seed of the parameters."""
    parameters = module.initial_parameters(start)
    parameters += 0.05 * np.random.default_rng(2).normal(size=parameters.shape).astype(module.real)
    parameters = moved(parameters, rng)
    found = {"loss": module.loss(parameters, **data)}
    found["value"], found["gradient"] = module.loss_and_gradient(parameters, **data)
    if hasattr(module, "predict"):
        found["predict"] = module.predict(parameters, **given_to(module.predict, data))
    if hasattr(module, "activations"):
        found["activations"] = module.activations(parameters, **data)
    if "training" in inspect.signature(module.loss_and_gradient).parameters:
        found["value outside"], found["gradient outside"] = module.loss_and_gradient(parameters, **data, training=False)
    if "training" in inspect.signature(module.loss).parameters:
        found["training"] = module.loss(parameters, **data, training=True, **seeds(module.loss))
    return found | derivatives_of(module, parameters, data, found) | steps_of(module, parameters, data)


def seeds(function: Any) -> dict[str, int]:
    return {"seed": 5} if "seed" in inspect.signature(function).parameters else {}


def derivatives_of(
    module: ModuleType, parameters: np.ndarray, data: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    v = np.cos(np.arange(parameters.size)).astype(module.real)
    for name in DERIVATIVES:
        if function := getattr(module, name, None):
            vectors = {"v": v, "u": np.ones_like(known.get("predict"))}
            own = {key: vectors[key] for key in inspect.signature(function).parameters if key in vectors}
            given = function(parameters, **own, **given_to(function, data))
            parts = given if isinstance(given, tuple) else (given,)
            for number, part in enumerate(parts):
                named = part if isinstance(part, dict) else {"": part}
                found |= {f"{name} {number} {key}": dense(value) for key, value in named.items()}
    return found


def dense(value: Any) -> Any:
    return value.toarray() if hasattr(value, "toarray") else value


def steps_of(module: ModuleType, parameters: np.ndarray, data: Mapping[str, Any]) -> dict[str, Any]:
    """Two epochs, three steps on all the data, and one with a gradient that is given."""
    found, stepped, state = {}, parameters.copy(), module.optimizer_state()
    if hasattr(module, "train_epoch"):
        rows = next(len(data[e.name]) for e in module.INPUTS if e.shape[:1] == (module.SAMPLE_AXIS,))
        order = np.arange(rows)[::-1].copy()
        seed = seeds(module.train_epoch)
        found["epochs"] = [module.train_epoch(stepped, state, order, 4, **data, **seed) for _ in range(2)]
        found["after epochs"] = stepped.copy()
        found["dropped"] = module.train_epoch(stepped, state, order, 4, **data, drop_last=True, **seed)
        found["mean loss"], found["mean gradient"] = module.mean_gradient(
            parameters.copy(), order, 4, **data, **seeds(module.mean_gradient)
        )
    found["descent"] = module.descend(stepped, state, 3, **data, **seeds(module.descend))
    module.update(stepped, np.sin(np.arange(stepped.size)).astype(module.real), state)
    return found | {"after all": stepped} | {f"state.{name}": slot for name, slot in state._asdict().items()}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, float]:
    """By name, the largest difference, relative to the largest number; infinite where NaN or a shape differs."""
    assert found.keys() == wanted.keys()
    return {name: difference(np.asarray(found[name], float), np.asarray(wanted[name], float)) for name in found}


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape or not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return np.inf
    largest = np.nanmax(np.abs(wanted), initial=0)
    return float(np.nanmax(np.abs(found - wanted), initial=0) / (largest or 1))
