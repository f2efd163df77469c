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
OF_TENSORS = {"Add", "Attention", "Concat", "Div", "Einsum", "MatMul", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"}
# What is not covered of operators that are: by a part of the name of a test.
NOT_COVERED = ("expanded", "uint", "fp16", "int64", "int32", "_old", "training_mode", "2d_indices", "with_argmax")
NOT_COVERED += ("batch_diagonal", "inner_prod", "einsum_scalar", "matrix_bias", "gather_0", "gather_1", "negative_ind")
NOT_COVERED += ("out_of_bounds", "average_pool_2d_pads", "averagepool_2d_pads", "maxpool_2d_pads", "lppool_2d_pads")
NOT_COVERED += ("starts_on_pad", "axis0", "negative_2", "negative_3", "negative_4", "downsample", "linear", "cubic")
NOT_COVERED += ("sizes_nearest", "tf_crop", "select_last", "nonpad", "padded_kv", "ext_cache", "rank1_boolean")
NOT_COVERED += ("bidirectional_window", "onehot", "shrink", "reshape_allowzero", "zero_size", "empty_set", "lppool_3d")
EACH = {"Attention": 12, "GRU": 5, "LSTM": 5, "RNN": 5}  # tests of an operator, where not 3


def usable() -> Iterator[Any]:
    """The first tests of each operator of real numbers; of several outputs the first one counts."""
    for module in pkgutil.iter_modules(cases.__path__):
        if not module.name.startswith("ai_onnx"):
            importlib.import_module(f"{cases.__name__}.{module.name}")
    count: dict[str, int] = {}
    for case in cases._NodeTestCases:
        nodes = case.model.graph.node
        operator = nodes[0].op_type if len(nodes) == 1 else ""
        inputs, _ = case.data_sets[0]
        reals = bool(inputs) and isinstance(inputs[0], np.ndarray) and inputs[0].dtype in (np.float32, np.float64)
        fits = operator in OPERATORS and operator not in ("Split", "SplitToSequence") and reals
        if (
            fits
            and not any(word in case.name for word in NOT_COVERED)
            and count.get(operator, 0) < EACH.get(operator, 3)
        ):
            count[operator] = count.get(operator, 0) + 1
            yield case


CASES = list(usable())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operation_gives_the_numbers_of_onnx(case: Any, tmp_path: Path) -> None:
    inputs, outputs = case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.output[1:]
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
    assert len(tried) >= 95
    without = {"And", "Cast", "CastLike", "ConstantOfShape", "Dropout", "Equal", "Identity", "Not", "Or", "SequenceAt"}
    without |= {"Gather", "GlobalLpPool", "OneHot", "Shrink", "Split", "SplitToSequence", "Trilu", "Where", "Xor"}
    assert set(OPERATORS) - tried <= without
