"""What `derivgen new` writes: a spec that generates and trains as it is, and data for it."""

from __future__ import annotations

import io
import keyword
import sys
from pathlib import Path

from derivgen.errors import DerivgenError
from derivgen.file import disk
from derivgen.print.templates import environment

# Specs and modules are imported beside these.
DEPENDENCIES = {"click", "derivgen", "jinja2", "llvmlite", "mpmath", "numba", "numpy", "rich", "scipy", "sympy"}


def write_starter(name: str, folder: Path) -> tuple[Path, Path]:
    """(spec, data) as written. Raises DerivgenError where the name can't be a spec's, or a file is there already."""
    refuse_name(name)
    spec, data = folder / f"{name}.py", folder / f"{name}_data.npz"
    for path in (spec, data):
        if path.exists():
            raise DerivgenError(f"{path} exists already: choose another name, or move it away")
    text = environment().get_template("spec.py.jinja").render(name=name)
    disk.write_bytes(data, spirals())
    disk.write_bytes(spec, text.encode())
    return spec, data


def refuse_name(name: str) -> None:
    if not name.isidentifier():
        hint = f"; did you mean {name[:-3]}?" if name.endswith(".py") and name[:-3].isidentifier() else ""
        raise DerivgenError(f"{name!r} is no identifier: give a name of letters, digits and _ without a folder{hint}")
    if keyword.iskeyword(name):
        raise DerivgenError(f"{name!r} is a keyword of Python: choose another name")
    if name in sys.stdlib_module_names or name in DEPENDENCIES:
        raise DerivgenError(f"{name}.py would hide the module {name} of that name from imports: choose another name")


def spirals(rows: int = 600, seed: int = 0) -> bytes:
    """An .npz of three interleaved spirals: x (rows, 2) float32, y (rows,) int64 of 0, 1, 2."""
    import numpy as np

    generator = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    radius = generator.uniform(0.1, 1.0, rows)
    angle = 4 * radius + 2 * np.pi / 3 * y + generator.normal(0, 0.1, rows)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, x=x, y=y.astype(np.int64))
    return buffer.getvalue()
