"""The two ways in, and the files that are written."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.file import disk
from derivgen.importing.convert import converted, weights_of
from derivgen.importing.draft import Draft
from derivgen.importing.elements import Tensor
from derivgen.importing.graph import Graph, onnx_package, read_graph
from derivgen.importing.names import identifier, unique, usable
from derivgen.importing.text import quoted, settle_names, spec_text
from derivgen.runtime.tensors import encode_safetensors

# Losses of a prediction and a target of its shape, and those of scores and labels.
OF_NUMBERS = ["mean_squared_error", "mean_absolute_error", "huber", "log_cosh"]
OF_NUMBERS += ["binary_cross_entropy", "sigmoid_cross_entropy", "hinge"]
OF_LABELS = ["softmax_cross_entropy", "categorical_cross_entropy"]
LOSSES = (*OF_LABELS, *OF_NUMBERS)
DEFAULT = "mean_squared_error"


@dataclass(frozen=True)
class Imported:
    """The files that were written, and what to know of them."""

    spec: Path
    weights: Path
    parameters: int
    notes: tuple[str, ...]


def import_onnx(path: Path | str, output: Path | str | None = None, loss: str = "", force: bool = False) -> Imported:
    """Write a spec and its weights, a .safetensors file beside it, from an ONNX file.

    output: the spec; the file's name with .py if omitted. loss: a function of derivgen.losses; a mean squared error if
    omitted. Raises SpecError with all that is not covered, and then writes nothing.
    """
    path = Path(path)
    spec = Path(output) if output is not None else path.with_name(f"{identifier(path.stem) or 'imported'}.py")
    return written(read_graph(path), f"The model of {path.name}, written by derivgen import", spec, loss, force)


def from_torch(module: Any, example_input: Any, path: Path | str, loss: str = "", force: bool = False) -> Imported:
    """Write a spec and its weights from a module of PyTorch, by way of torch.onnx.export.

    example_input: a tensor, or a tuple of them; their first axis is the batch. path: the spec. Dropout and batch
    normalization are those of training and of evaluation, as in the module. Buffers are not trained. Needs PyTorch,
    onnx and onnxscript.
    """
    onnx_package()
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "module.onnx"
        export(module, inputs, file)
        graph = read_graph(file)
    frozen = {name for name, _ in module.named_buffers()}
    frozen |= {name for name, p in module.named_parameters() if not p.requires_grad}
    return written(
        graph,
        f"The module {type(module).__name__} of PyTorch, written by derivgen.importing.from_torch",
        Path(path),
        loss,
        force,
        frozen,
    )


def export(module: Any, inputs: tuple[Any, ...], file: Path) -> None:
    """Export the module as it is in training, which keeps what exporters fold for evaluation."""
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise DerivgenError("a module of PyTorch is read by torch.onnx: pip install 'derivgen[onnx]' torch") from error
    shapes = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    training = module.training
    module.train()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the module is exported in training
            options: dict[str, Any] = {"dynamo": True, "optimize": False, "dynamic_shapes": shapes, "verbose": False}
            torch.onnx.export(module, inputs, str(file), **options)
    except Exception as error:
        words = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
        advice = "try torch.onnx.export with dynamo=False, and derivgen import its file"
        raise DerivgenError(f"PyTorch does not export the module: {words}: {advice}") from error
    finally:
        module.train(training)


def written(graph: Graph, source: str, spec: Path, loss: str, force: bool, frozen: Iterable[str] = ()) -> Imported:
    """Write both files, after all is known to be covered."""
    if loss and loss not in LOSSES:
        raise DerivgenError(f"the loss must be one of {', '.join(LOSSES)}, found {loss}")
    weights = spec.with_suffix(".safetensors")
    for file in (spec, weights):
        if file.exists() and not force:
            raise DerivgenError(f"{file} exists already: give another by -o, or replace it by --force")
    draft, prediction = converted(graph, frozen)
    settle_names(draft)
    arrays = weights_of(draft)
    dtype = "float64" if any(a.dtype == np.float64 for a in arrays.values()) else "float32"
    lines = loss_lines(draft, prediction, loss)
    text = spec_text(draft, identifier(spec.stem) or "imported", source, weights.name, dtype, prediction, lines)
    tensors = {name: array.astype(dtype) for name, array in arrays.items()}
    disk.write_bytes(weights, encode_safetensors(tensors))
    disk.write_bytes(spec, text.encode())
    return Imported(spec, weights, sum(a.size for a in arrays.values()), tuple(draft.notes))


def loss_lines(draft: Draft, prediction: Tensor, loss: str) -> list[str]:
    """The target and the objective. A file has no loss: one that was not chosen is said to be a place-holder."""
    taken = {s.tensor.name for s in draft.statements} | {str(size) for size in draft.runtime.values()}
    name = unique(usable("y", "input"), taken)
    labels = (loss or DEFAULT) in OF_LABELS
    if labels and not prediction.shape[-1].is_Integer:
        raise DerivgenError(
            f"{loss} needs a number of classes, and the last axis is known at run time: give another loss"
        )
    shape = prediction.shape[:-1] if labels else prediction.shape
    sizes, classes = ", ".join(map(str, shape)), f", classes={prediction.shape[-1]}" if labels else ""
    declared = f"{name} = model.{'labels' if labels else 'input'}({quoted(name)}, {sizes}{classes})"
    note = [] if loss else ["# The file has no loss: put the one of the training here (derivgen import --loss NAME)."]
    return [declared, *note, f"model.minimize(losses.{loss or DEFAULT}({prediction.name}, {name}))"]
