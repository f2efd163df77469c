"""The committed examples: their names, scripts and generated modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from derivgen import runtime

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))


def script(name: str, file: str = "run") -> ModuleType:
    """A file of an example, executed anew."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernels(name: str) -> ModuleType:
    return runtime.load(EXAMPLES / name / f"{name}_kernels.py")
