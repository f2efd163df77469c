"""Predictions of a module for data of any size, with parameters from any file that holds them."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.file import disk
from derivgen.runtime.data.data import read_data
from derivgen.runtime.data.given import Data, named_inputs
from derivgen.runtime.data.inputs import Tell
from derivgen.runtime.data.rows import Feed, count_rows, draws_of, sample_inputs
from derivgen.runtime.data.tables import arrow
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.log import LOG
from derivgen.runtime.tensors import load_parameters
from derivgen.runtime.train.checkpoints import is_checkpoint, latest_checkpoint, read_checkpoint_parameters
from derivgen.runtime.train.evaluation import joined
from derivgen.stages import reached, watched

Array = np.ndarray[Any, Any]


def predict(module: ModuleType, parameters: Array, data: Data) -> Array:
    """The result of the module's `predict`, computed for a part of the rows at a time if there are many.

    `parameters`: flat, shape (P,); `data`: the inputs by name, or a frame of their columns, as for `fit`; inputs that
    `predict` does not use are ignored. If rows of the prediction depend on one another (the module's MIXED_AXES), all
    rows are computed at once. Raises DerivgenError if the module has no `predict`, and ValueError or TypeError if an
    input is missing or does not fit.
    """
    refuse_other(module)
    view, inputs = prediction_view(module), prediction_data(module, data)
    if not sample_inputs(view) or mixes_rows(module):
        return np.asarray(module.predict(parameters, **inputs))
    rows = np.arange(count_rows(view, inputs))
    found: list[Array] = []
    with ExitStack() as more:
        for k, (part, taken) in enumerate(Feed(view, inputs).parts(rows)):
            found.append(np.asarray(module.predict(parameters, **taken, **draws_of(module.predict, k))))
            done = int(part[-1]) + 1
            if k == 0 and done < len(rows):  # what is predicted at once should not wait for a thread that watches
                more.enter_context(watched("predict", compiling=module.COMPILING))
            reached(f"{done:,} of {len(rows):,} rows", done=done, total=len(rows))
    return joined(found, len(rows))


def classes_of(module: ModuleType, prediction: Array) -> Array:
    """The class with the largest score along the last axis, int64; -1 if one of the scores is NaN.

    Raises DerivgenError if the prediction has no axis of classes.
    """
    by_row = 1 if sample_inputs(prediction_view(module)) else 0
    taken = prediction_inputs(module)
    targets = {i.name: i.classes for i in module.INPUTS if i.classes is not None and i.name not in taken}
    count = prediction.shape[-1] if prediction.ndim > by_row else 1
    found = f"the prediction has shape {prediction.shape}"
    if count < 2:
        raise DerivgenError(
            f"{found}, expected a last axis with a score for each of two or more classes: write the predictions "
            "themselves, and compare them with a threshold"
        )
    if targets and count not in targets.values():
        known = ", ".join(f"{name} has {classes} classes" for name, classes in targets.items())
        raise DerivgenError(
            f"{found}, whose last axis is not one of classes ({known}): write the predictions themselves"
        )
    return np.where(np.isnan(prediction).any(-1), -1, prediction.argmax(-1))


def prediction_data(module: ModuleType, data: Data) -> dict[str, Any]:
    """Of data that are given in Python, the inputs that `predict` takes, by name."""
    return named_inputs(module, data, needed=prediction_inputs(module))


def prediction_inputs(module: ModuleType) -> list[str]:
    """The inputs that `predict` takes. Raises DerivgenError where the module has none."""
    if not hasattr(module, "predict"):
        raise DerivgenError("the module has no predict: name what it returns by model.predict(...) in the spec")
    taken = inspect.signature(module.predict).parameters
    return [i.name for i in module.INPUTS if i.name in taken]


def mixes_rows(module: ModuleType) -> bool:
    """Whether a row of the prediction depends on other rows, so that a part of the rows has another prediction."""
    return module.SAMPLE_AXIS in getattr(module, "MIXED_AXES", ())


def mixed_inputs(module: ModuleType) -> dict[str, list[str]]:
    """The inputs of `predict` with axes along which rows of the prediction depend on one another, and these axes."""
    mixed = getattr(module, "MIXED_AXES", ())
    axes = {i.name: [a for a in mixed if a in i.shape] for i in module.INPUTS if i.name in prediction_inputs(module)}
    return {name: own for name, own in axes.items() if own}


def prediction_view(module: ModuleType) -> Any:
    """The module as far as the inputs of `predict` go."""
    needed = prediction_inputs(module)
    return SimpleNamespace(INPUTS=[i for i in module.INPUTS if i.name in needed], SAMPLE_AXIS=module.SAMPLE_AXIS)


def read_prediction_data(
    paths: Any,
    module: ModuleType,
    *,
    cast: bool = False,
    columns: Mapping[str, Any] | None = None,
    tell: Tell = LOG.info,
) -> dict[str, Array]:
    """The inputs that `predict` takes, from files as `read_data` reads them; others may be missing."""
    return read_data(paths, module, cast=cast, columns=columns, needed=prediction_inputs(module), tell=tell)[0]


def read_parameters(path: Path | str, module: ModuleType) -> tuple[Array, str]:
    """(flat parameters, a text that says where they are from) of a parameter file, a checkpoint, or a folder of
    checkpoints.

    Of a checkpoint these are the best parameters, if they were kept. Raises DerivgenError if they belong to another
    model.
    """
    path = Path(path)
    if path.is_dir():
        last = latest_checkpoint(path)
        if last is None:
            raise DerivgenError(
                f"{path} is a folder without a checkpoint: give a file of parameters, or another folder"
            )
        path = last
    if not path.exists():
        raise DerivgenError(
            f"{path} does not exist: give a file of parameters, as derivgen train saves them, a checkpoint, or a "
            "folder of checkpoints"
        )
    if not is_checkpoint(path):
        return load_parameters(path, module), str(path)
    return read_checkpoint_parameters(path, module)


def write_prediction(path: Path | str, prediction: Array) -> None:
    """Write an array as .npy, .npz (named `prediction`), .csv or .parquet (a column a unit), atomically."""
    path = Path(path)
    check_prediction_file(path)
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, prediction, allow_pickle=False)
    elif path.suffix == ".npz":
        np.savez(buffer, prediction=prediction)
    else:
        table = prediction.reshape(len(prediction), -1) if prediction.ndim else prediction.reshape(1, 1)
        names = ["prediction"] if table.shape[1] == 1 else [f"prediction_{k}" for k in range(table.shape[1])]
        if path.suffix == ".parquet":
            columns = dict(zip(names, np.ascontiguousarray(table.T), strict=True))
            arrow("pyarrow.parquet", path, "written").write_table(arrow("pyarrow", path).table(columns), buffer)
        else:
            digits = "%.9g" if prediction.dtype == np.float32 else "%.17g"
            np.savetxt(buffer, table, fmt=digits, delimiter=",", header=",".join(names), comments="")
    disk.write_bytes(path, buffer.getvalue())


def check_prediction_file(path: Path) -> None:
    """Raise DerivgenError where a prediction can't be written so."""
    if path.suffix not in (".npy", ".npz", ".csv", ".parquet"):
        raise DerivgenError(f"{path} is of no known kind: give a name that ends in .npy, .npz, .csv or .parquet")
    if path.suffix == ".parquet":
        arrow("pyarrow.parquet", path, "written")
