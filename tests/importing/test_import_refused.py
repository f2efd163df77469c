"""What is not covered is listed at once, with what to do, and then nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command import fail, succeed
from onnx import TensorProto, helper, numpy_helper

from derivgen.errors import DerivgenError, SpecError
from derivgen.importing import from_torch, import_onnx
from derivgen.importing.graph import Node
from derivgen.importing.refusals import ATTRIBUTES, refused_uses

X = ("N", 3, 6, 6)
PACKED = {"W": (1, 12, 6), "R": (1, 12, 3)}


def saved(path: Path, nodes: list[Any], weights: dict[str, tuple[int, ...]] | None = None, **options: Any) -> Path:
    """A file of these nodes from x, with weights of these shapes, to the outputs."""
    draw = np.random.default_rng(0)
    arrays = {name: draw.normal(size=shape).astype(np.float32) for name, shape in (weights or {}).items()}
    arrays |= options.get("arrays", {})
    outputs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["size"]) for o in options.get("outputs", ["y"])]
    x = helper.make_tensor_value_info("x", options.get("dtype", TensorProto.FLOAT), options.get("shape", X))
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", options.get("opset", 20))]), path)
    return path


def node(operator: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, outputs or ["y"], name=f"/part/{operator}", **attributes)


def refused(file: Path) -> list[str]:
    """The messages, after nothing was written."""
    with pytest.raises(SpecError) as found:
        import_onnx(file, file.with_name("spec.py"))
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    return [str(problem) for problem in found.value.problems]


def test_all_that_is_not_covered_is_listed(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], storage_order=1),
        node("Resize", ["a", "", "scales"], ["b"], mode="linear"),
        node("AveragePool", ["b"], ["c"], kernel_shape=[2, 2], pads=[2, 2, 0, 0]),
        node("Hardmax", ["c"], ["y"]),
    ]
    file = saved(tmp_path / "m.onnx", nodes, arrays={"scales": np.array([1, 1, 2, 2], np.float32)})
    assert refused(file) == [
        "MaxPool (/part/MaxPool): storage_order=1 is not covered: export it with storage order 0",
        "Hardmax (/part/Hardmax) is not covered: write this part by hand as a model.let, or leave it out before the "
        "export",
        "Resize (/part/Resize): only mode nearest with whole factors is covered: use nn.Upsample(scale_factor=2)",
    ]


def test_the_command_lists_them_and_writes_nothing(tmp_path: Path) -> None:
    nodes = [node("Resize", ["x", "", "scales"], ["a"], mode="cubic"), node("TopK", ["a", "k"], ["y", "i"])]
    arrays = {"scales": np.array([1, 1, 2, 2], np.float32), "k": np.array([2])}
    file = saved(tmp_path / "m.onnx", nodes, arrays=arrays)
    lines = fail("import", file).splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") and "covered: " in line for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


BAD: dict[str, Any] = {"auto_pad": b"STRANGE"}


@pytest.mark.parametrize("row", ATTRIBUTES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_each_attribute_of_the_table_is_refused(row: Any) -> None:
    operator, attribute, _, advice = row
    bad = Node("a", operator, ("x",), ("y",), {attribute: BAD.get(attribute, 5)}, "", None)
    assert any(attribute in text and text.endswith(advice) for text in refused_uses(bad, {}))
    assert not [
        text for text in refused_uses(Node("a", operator, ("x",), ("y",), {}, "", None), {}) if "None" not in text
    ]


OPERANDS: dict[str, tuple[Any, dict[str, tuple[int, ...]], dict[str, Any], str]] = {
    "four axes": (
        node("Conv", ["x", "w"]),
        {"w": (2, 3, 2, 2, 2, 2)},
        {"shape": ("N", 3, 4, 4, 4, 4)},
        "windows over more than three axes",
    ),
    "a wide pad": (
        node("MaxPool", ["x"], kernel_shape=[2, 2], pads=[2, 2, 2, 2]),
        {},
        {},
        "more than half of the window",
    ),
    "an even size": (node("LRN", ["x"], size=2), {}, {}, "an even size"),
    "a norm": (node("LayerNormalization", ["x", "s"], axis=0), {"s": (5, 3, 6, 6)}, {}, "a norm over the batch"),
    "a product": (node("ReduceProd", ["x"]), {}, {}, "covered for sizes alone"),
    "reflection": (
        node("Pad", ["x", "p"], mode="reflect"),
        {},
        {"arrays": {"p": np.array([0, 1, 1, 1, 0, 1, 1, 1])}},
        "by reflect",
    ),
    "half a factor": (
        node("Resize", ["x", "", "s"]),
        {},
        {"arrays": {"s": np.array([1, 1, 0.5, 0.5], np.float32)}},
        "whole factors",
    ),
    "states": (
        node("LSTM", ["x", "W", "R", "", "", "h", "h"], hidden_size=3),
        {**PACKED, "h": (1, 6, 3)},
        {"shape": (4, 6, 6)},
        "differ from row to row",
    ),
    "real lengths": (
        node("LSTM", ["x", "W", "R", "", "l"], hidden_size=3),
        PACKED,
        {"shape": (4, 6, 6), "arrays": {"l": np.array([4, 2, 3, 4, 1, 4], np.int32)}},
        "lengths of anything but",
    ),
    "a window": (
        node("Attention", ["x", "x", "x"], left_window_size=1, right_window_size=2),
        {},
        {"opset": 26},
        "a window of other sizes",
    ),
    "an activation": (
        node("RNN", ["x", "W", "R"], hidden_size=3, activations=["Elu"]),
        {"W": (1, 3, 6), "R": (1, 3, 3)},
        {"shape": (4, 6, 6)},
        "the activations Elu",
    ),
    "a list": (node("Gather", ["x", "i"], axis=1), {}, {"arrays": {"i": np.array([0, 2, 1])}}, "not evenly spaced"),
    "a column": (
        node("Gemm", ["x", "w", "c"]),
        {"w": (4, 3), "c": (3, 1)},
        {"shape": ("N", 4)},
        "another matrix added",
    ),
    "a matrix": (
        node("Gemm", ["x", "w", "c"]),
        {"w": (4, 3), "c": (5, 3)},
        {"shape": ("N", 4)},
        "another matrix added",
    ),
    "dots": (node("Einsum", ["x", "x"], equation="...i,...i->...i"), {}, {}, "an einsum with dots"),
    "a stride": (
        node("Conv", ["x", "w"], strides=[2]),
        {"w": (2, 3, 3)},
        {"shape": ("N", 3, "T")},
        "a stride of 2 needs a size",
    ),
    "a slice": (
        node("Slice", ["x", "s", "e", "a"]),
        {},
        {"shape": ("N", "T"), "arrays": {"s": np.array([0]), "e": np.array([3]), "a": np.array([1])}},
        "may not be there",
    ),
    "an embedding": (node("Gather", ["w", "x"]), {"w": (5, 3)}, {"shape": ("N", 4)}, "an embedding of anything but"),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_what_depends_on_the_operands_is_refused(name: str, tmp_path: Path) -> None:
    made, weights, options, words = OPERANDS[name]
    (message,) = refused(saved(tmp_path / "m.onnx", [made], weights, **options))
    assert message.startswith(f"{made.op_type} (/part/{made.op_type}): ") and words in message
    assert ": " in message.split(words)[1] or words in message.split(": ")[-1]


def test_sizes_in_two_axes_are_not_cut(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Unsqueeze", ["sizes", "first"], ["table"]),
        node("Slice", ["table", "first", "end", "axes"], ["part"]),
        node("Squeeze", ["part", "first"], ["flat"]),
        node("Reshape", ["x", "flat"]),
    ]
    arrays = {"first": np.array([0]), "end": np.array([2]), "axes": np.array([1])}
    assert refused(saved(tmp_path / "m.onnx", nodes, arrays=arrays)) == [
        "Slice (/part/Slice): sizes in 2 axes are cut: write this part by hand as a model.let, or leave it out before "
        "the export"
    ]


def test_two_outputs_are_refused(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["z"])]
    assert refused(saved(tmp_path / "m.onnx", nodes, outputs=["y", "z"])) == [
        "the graph has the outputs y, z, and a model predicts one: export one"
    ]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DerivgenError, match=r"is no file: give one that torch\.onnx\.export wrote"):
        import_onnx(tmp_path / "missing.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07nothing")
    with pytest.raises(DerivgenError, match="is no valid ONNX file"):
        import_onnx(tmp_path / "bad.onnx")
    with pytest.raises(DerivgenError, match="has operator set 9, expected 13 or later: export it again"):
        import_onnx(saved(tmp_path / "old.onnx", [node("Relu", ["x"])], opset=9))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "m.onnx", [node("Relu", ["x"])])
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert fail("import", file) == "error: an ONNX file is read by the package onnx: pip install 'derivgen[onnx]'\n"
    with pytest.raises(DerivgenError, match="pip install 'derivgen"):
        from_torch(object(), (), tmp_path / "spec.py")


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.onnx", [node("Relu", ["x"])])
    (tmp_path / "m.safetensors").write_text("mine")
    assert "m.safetensors exists already: give another by -o, or replace it by --force" in fail("import", file)
    assert not (tmp_path / "m.py").exists()
    assert f"wrote {tmp_path / 'm.py'} and" in succeed("import", file, "--force")


def test_a_spec_that_would_hide_a_module(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.onnx", [node("Relu", ["x"])])
    assert "would hide the module numpy" in fail("import", file, "-o", tmp_path / "numpy.py")


def test_a_loss_that_does_not_exist(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.onnx", [node("Relu", ["x"])])
    assert "the loss must be one of softmax_cross_entropy, " in fail("import", file, "--loss", "nothing")
