"""Modules of guarded specs against the 50-digit oracle, every access of their arrays checked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

from generated import CheckedNumpy, check_module, execute, module_text
from guarded_specs import GuardedSpec
from second_order_oracle import point_of

from derivgen.pipeline import declared_program
from derivgen.runtime.loading import load


def check_guarded(spec: GuardedSpec) -> None:
    """The module's text as plain Python, whose arrays refuse each subscript outside of them, negative ones too."""
    check_points(spec, lambda text: execute(text, numpy=CheckedNumpy("numpy")))


def check_compiled(spec: GuardedSpec) -> None:
    """The module as numba compiles it; where NUMBA_BOUNDSCHECK is set it refuses subscripts past the end."""
    with tempfile.TemporaryDirectory() as folder:
        check_points(spec, partial(load_from, Path(folder)))


def load_from(folder: Path, text: str) -> ModuleType:
    path = folder / "guarded_kernels.py"
    path.write_text(text, encoding="utf-8")
    return load(path)


def check_points(spec: GuardedSpec, module_of: Callable[[str], ModuleType]) -> None:
    """Loss, gradients, prediction at two points, and the derivatives that the spec asks for at the first."""
    model = spec.model()
    declared, module = declared_program(model), module_of(module_text(model))
    for at in (spec, spec.other):
        values = at.values(declared)
        check_module(module, declared, values)
        if at is spec and model.requests:
            point_of(module, model, values, spec.seed).check()
