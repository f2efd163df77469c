"""Imported specs against the runtime that the package onnx has, and against PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.reference

from derivgen import runtime
from derivgen.form.program import Role
from derivgen.importing import Imported, import_onnx
from derivgen.oracle.interpreter import run
from derivgen.oracle.tensor_values import extent_of, solved_sizes
from derivgen.pipeline import declared_program
from derivgen.prepare.modes import in_evaluation
from derivgen.project.project import render
from derivgen.project.spec import load_target
from derivgen.runtime.tensors import read_safetensors

CLOSE = {np.dtype("float32"): 2e-5, np.dtype("float64"): 1e-10}


def module_of(spec: Path) -> ModuleType:
    """The module that a spec generates."""
    target = load_target(str(spec))
    path = spec.with_name(f"{spec.stem}_kernels.py")
    path.write_text(render(target, path, None, False)[0])
    return runtime.load(path)


def imported(file: Path, loss: str = "", name: str = "spec") -> tuple[ModuleType, np.ndarray, str]:
    """(the module, its parameters, the spec's text) of an ONNX file."""
    found = import_onnx(file, file.with_name(f"{name}.py"), loss=loss)
    module = module_of(found.spec)
    return module, runtime.load_parameters(found.weights, module), found.spec.read_text()


def reference(file: Path, **inputs: np.ndarray) -> np.ndarray:
    return np.asarray(onnx.reference.ReferenceEvaluator(str(file)).run(None, inputs)[0])


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= CLOSE[found.dtype] * max(scale, 1e-30)


def assert_predicts(file: Path, **inputs: np.ndarray) -> str:
    """The spec's text, after its predictions were those of the file."""
    module, parameters, text = imported(file)
    assert_same(module.predict(parameters, **inputs), reference(file, **inputs))
    return text


def imported_again(file: Path, spec: Path) -> tuple[str, bytes]:
    """The text and the weights that an import writes."""
    spec.parent.mkdir()
    found = import_onnx(file, spec)
    return found.spec.read_text(), found.weights.read_bytes()


def exported(module: Any, inputs: Any, file: Path, **options: Any) -> Path:
    """The file of a module of PyTorch, with a batch that is known at run time."""
    import torch

    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    names = [f"x{k}" if k else "x" for k in range(len(inputs))]
    settings: dict[str, Any] = {"dynamo": False, "input_names": names, "output_names": ["out"], **options}
    if settings["dynamo"]:
        settings |= {"dynamic_shapes": tuple({0: torch.export.Dim("N")} for _ in inputs), "verbose": False}
    else:
        settings.setdefault("dynamic_axes", {name: {0: "N"} for name in names})
    torch.onnx.export(module, inputs, str(file), **settings)
    return file


def interpreted(found: Imported, **inputs: np.ndarray) -> np.ndarray:
    """What the spec predicts in evaluation, by the oracle at 20 digits: nothing is generated or compiled."""
    model = load_target(str(found.spec)).model
    program = in_evaluation(declared_program(model))
    given = {**read_safetensors(found.weights)[0], **inputs}
    names = {t.name for t in program.of_role(Role.INPUT, Role.LABELS, Role.PARAMETER, Role.RUNNING)}
    arrays = {name: array for name, array in given.items() if name in names}
    sizes = solved_sizes(replace(program, tensors=tuple(map(program.tensor, arrays))), arrays, {})
    for name in names - arrays.keys():  # the target
        shape = [extent_of(size, sizes) for size in program.tensor(name).shape]
        arrays[name] = np.zeros(shape, int if program.tensor(name).integer else float)
    return np.asarray(run(program, arrays, digits=20)[model.prediction], float)
