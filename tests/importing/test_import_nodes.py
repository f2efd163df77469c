"""Single operations with the numbers of ONNX's own tests, which the package onnx makes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.case.node as cases
import pytest
from imported import interpreted
from onnx import numpy_helper

from derivgen.importing import import_onnx
from derivgen.importing.operators import OPERATORS

# Of these, all inputs are the model's; of the others, the first one is, and the rest are weights.
OF_TENSORS = {"Add", "Concat", "Div", "Einsum", "MatMul", "Max", "Min", "Mul", "Pow", "Sub", "Sum"}
# What is not covered of operators that are.
NOT_COVERED = (
    "3d",
    "2d_ceil",
    "2d_indices",
    "dilations",
    "same_",
    "_pads",
    "batchwise",
    "seq_length",
    "peepholes",
    "expanded",
    "uint",
)
NOT_COVERED += ("with_argmax", "_mask", "batch_diagonal", "inner_prod", "einsum_scalar", "matrix_bias", "group_2")
NOT_COVERED += ("output_shape", "autopad", "_old", "int64", "int32", "gather_0", "gather_1", "negative_indices")
NOT_COVERED += ("convtranspose_kernel_shape", "gru_defaults", "gru_with_initial_bias", "1d_1d", "out_of_bounds")
EACH = 2  # tests of an operator


def usable() -> Iterator[Any]:
    """The first tests of each operator of real numbers with one output."""
    for module in pkgutil.iter_modules(cases.__path__):
        if not module.name.startswith("ai_onnx"):
            importlib.import_module(f"{cases.__name__}.{module.name}")
    count: dict[str, int] = {}
    for case in cases._NodeTestCases:
        nodes, graph = case.model.graph.node, case.model.graph
        operator = nodes[0].op_type if len(nodes) == 1 else ""
        inputs, _ = case.data_sets[0]
        reals = bool(inputs) and isinstance(inputs[0], np.ndarray) and inputs[0].dtype in (np.float32, np.float64)
        fits = operator in OPERATORS and len(graph.output) == 1 and operator != "SplitToSequence" and reals
        if fits and not any(word in case.name for word in NOT_COVERED) and count.get(operator, 0) < EACH:
            count[operator] = count.get(operator, 0) + 1
            yield case


CASES = list(usable())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operation_gives_the_numbers_of_onnx(case: Any, tmp_path: Path) -> None:
    inputs, outputs = case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    given = list(model.graph.input)
    kept = len(given) if model.graph.node[0].op_type in OF_TENSORS else 1
    del model.graph.input[kept:]
    weights = zip(given[kept:], inputs[kept:], strict=True)
    model.graph.initializer.extend(numpy_helper.from_array(array, value.name) for value, array in weights)
    onnx.save(model, tmp_path / "node.onnx")
    found = import_onnx(tmp_path / "node.onnx", tmp_path / "spec.py")
    arrays = {value.name: array for value, array in zip(given[:kept], inputs, strict=False)}
    expected = np.asarray(outputs[0], float)
    assert interpreted(found, **arrays) == pytest.approx(expected, rel=2e-5, abs=2e-6)


def test_most_operators_have_such_a_test() -> None:
    tried = {case.model.graph.node[0].op_type for case in CASES}
    assert len(tried) >= 65
    without = {"And", "Cast", "CastLike", "ConstantOfShape", "Dropout", "Equal", "Identity", "Not", "Or", "SequenceAt"}
    without |= {"GRU", "Gather", "LayerNormalization", "Split", "SplitToSequence", "Where"}
    assert set(OPERATORS) - tried <= without
