"""The texts of a model in both languages, as `derivgen generate` writes them."""

from __future__ import annotations

from derivgen.declare.model import Model
from derivgen.file import headers
from derivgen.pipeline import generate_body, generate_sources

Texts = tuple[str, str, str]  # of the module, of the file of C, of its header


def both(model: Model, dtype: str = "float32", rows: int | None = None) -> Texts:
    header, file, _ = generate_sources(model, dtype, rows, "own")
    c, h = (headers.assemble(part, "own.py", "derivgen generate own.py", of_c=True) for part in (file, header))
    return headers.assemble(generate_body(model, dtype), "own.py", "derivgen generate own.py"), c, h
