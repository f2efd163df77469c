"""A model that Python code holds → its module's file."""

from __future__ import annotations

import warnings
from pathlib import Path

from derivgen.declare.model import Model
from derivgen.file.contract import DTYPES
from derivgen.file.headers import assemble_from_python
from derivgen.file.store import refuse_output, write
from derivgen.pipeline import generate_body


def generate(
    model: Model, path: str | Path, dtype: str | None = None, force: bool = False, parallel: bool = False
) -> Path:
    """Write the module of a model to a path, as the command does, and return the path.

    `parallel`: run large loops in threads. Raises SpecError if the spec has mistakes, and DerivgenError if the file
    can't be written or was edited by hand.
    """
    chosen = dtype or model.dtype or DTYPES[0]
    if chosen not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, found {chosen!r}")
    if not isinstance(parallel, bool):
        raise TypeError(f"parallel must be True or False, found {parallel!r}")
    return write_model(model, Path(path), chosen, force, parallel)


def write_model(model: Model, path: Path, dtype: str, force: bool = False, parallel: bool = False) -> Path:
    """Write the module of a model that Python code holds; gives the path. Raises as `write` and `assemble` do."""
    refuse_output(path, Path(model.place.file) if model.place else None)
    generated = generate_body(model, dtype, parallel)
    for warning in generated.warnings:
        warnings.warn(str(warning), stacklevel=3)
    unusual = None if dtype == (model.dtype or DTYPES[0]) else dtype
    write(path, assemble_from_python(generated, model.place, unusual, parallel), force)
    return path
