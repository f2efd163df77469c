"""What an ONNX file holds: nodes in their order, constants, inputs and outputs. Needs the package onnx."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError

MISSING = "an ONNX file is read by the package onnx: pip install 'derivgen[onnx]'"
OLDEST = 13  # of the operator sets: since then axes are inputs, and a softmax is along one axis
SCOPES = "pkg.torch.onnx.name_scopes"


class Refusal(Exception):
    """What an operation asks for is not covered; the message says what to do."""


@dataclass(frozen=True)
class Node:
    """An operation. `path`: the module of PyTorch that it belongs to, such as `encoder.norm`, or nothing."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    path: str
    proto: Any

    def get(self, attribute: str, default: Any = None) -> Any:
        value = self.attributes.get(attribute, default)
        return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True)
class Input:
    """`shape`: sizes, or names of those that are known at run time."""

    name: str
    dtype: np.dtype
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    uses: Counter[str]
    opset: int

    def consumers(self, name: str) -> list[Node]:
        return [node for node in self.nodes if name in node.inputs]


def onnx_package() -> Any:
    try:
        import onnx
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.reference
    except ImportError as error:
        raise DerivgenError(MISSING) from error
    return onnx


def read_graph(path: Path) -> Graph:
    """The graph of a file. Raises DerivgenError where it is none, or of an operator set that is too old."""
    onnx = onnx_package()
    if not path.is_file():
        raise DerivgenError(f"{path} is no file: give one that torch.onnx.export wrote")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # of protobuf, of onnx, or of the files beside it
        words = str(error).strip().splitlines() or ["it is empty"]
        raise DerivgenError(f"{path} is no valid ONNX file: {words[0]}") from error
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise DerivgenError(
            f"{path} has operator set {opset}, expected {OLDEST} or later: export it again, or use "
            "onnx.version_converter"
        )
    return graph_of(onnx, model.graph, opset)


def graph_of(onnx: Any, graph: Any, opset: int) -> Graph:
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = tuple(node_of(onnx, node, k) for k, node in enumerate(graph.node))
    uses = Counter(name for node in nodes for name in read_by(node))
    uses.update(output.name for output in graph.output)
    inputs = tuple(input_of(onnx, i) for i in graph.input if i.name not in constants)
    return Graph(nodes, constants, inputs, tuple(o.name for o in graph.output), uses, opset)


def node_of(onnx: Any, node: Any, number: int) -> Node:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    tensors = {k: onnx.numpy_helper.to_array(v) for k, v in attributes.items() if isinstance(v, onnx.TensorProto)}
    operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    name = node.name or f"node {number}"
    return Node(name, operator, tuple(node.input), tuple(node.output), attributes | tensors, module_path(node), node)


def read_by(node: Node) -> tuple[str, ...]:
    """The inputs whose numbers a node reads, and not only their shape or type."""
    return {"Shape": (), "Size": (), "CastLike": node.inputs[:1]}.get(node.operator, node.inputs)


def module_path(node: Any) -> str:
    """The path of modules, which newer exporters write as metadata, and older ones into the node's name."""
    scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), "")
    if scopes:
        *modules, _ = ast.literal_eval(scopes)
        return str(modules[-1]) if modules and not modules[-1].startswith("_empty") else ""
    path = ""
    for part in node.name.split("/")[1:-1] if node.name.startswith("/") else []:
        path = path_of(path, part)
    return path


def path_of(path: str, part: str) -> str:
    """The path of a module, whose list stands before its own name: blocks, blocks.0.norm of /blocks/blocks.0.norm."""
    names = path.split(".")
    for k in range(len(names)):
        if path and part.startswith(f"{'.'.join(names[k:])}."):
            return ".".join([*names[:k], part])
    return f"{path}.{part}".strip(".")


def input_of(onnx: Any, value: Any) -> Input:
    if not value.type.HasField("tensor_type"):
        raise DerivgenError(f"the input {value.name} is no tensor, and a model reads tensors: export it without")
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return Input(value.name, np.dtype(dtype), tuple(d.dim_param or d.dim_value or "?" for d in kind.shape.dim))


def evaluated(node: Node, arrays: list[np.ndarray | None], opset: int) -> list[np.ndarray]:
    """What the operation gives for these arrays."""
    onnx = onnx_package()
    feeds = {name: array for name, array in zip(node.inputs, arrays, strict=True) if name}
    infos = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
        if a is not None
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs]
    graph = onnx.helper.make_graph([node.proto], "one", infos, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        return list(onnx.reference.ReferenceEvaluator(model).run(None, feeds))
    except Exception as error:  # of any kind: the reference is not made for errors
        raise Refusal(f"onnx can't compute this constant: {str(error).splitlines()[0]}") from error
