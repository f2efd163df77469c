"""A spec's header and file of C: their texts, and whether those on disk are up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen.file import store
from derivgen.file.contract import DTYPES
from derivgen.project.spec import Target

if TYPE_CHECKING:
    from derivgen.errors import Problem
    from derivgen.print.c.module import Sources


@dataclass(frozen=True, slots=True)
class CSources:
    """The texts of both files by their paths, the header first."""

    texts: dict[Path, str]
    warnings: tuple[Problem, ...]
    sources: Sources


def c_output(target: Target) -> Path:
    """Where the file of C goes by default: beside the module."""
    return target.output.with_suffix(".c")


def render_c(target: Target, output: Path, dtype: str | None = None, rows: int | None = None) -> CSources:
    """The header and the file of C of a model; raises SpecError where the spec is refused."""
    from derivgen.pipeline import generate_sources

    store.refuse_output(output, target.spec, ".c")
    usual = target.model.dtype or DTYPES[0]
    header, file, sources = generate_sources(target.model, dtype or usual, rows, output.stem)
    command = c_command(target, output, dtype, rows)
    paths = output.with_suffix(".h"), output
    texts = (store.assemble(part, target.spec.name, command, of_c=True) for part in (header, file))
    return CSources(dict(zip(paths, texts, strict=True)), header.warnings, sources)


def c_command(target: Target, output: Path, dtype: str | None, rows: int | None) -> str:
    """The command that both files name, with the options that are not the default."""
    option = None if dtype in (None, target.model.dtype or DTYPES[0]) else dtype
    name = None if output.name == c_output(target).name else output.name
    more = ["--target", "c", *(["--rows", str(rows)] if rows is not None else [])]
    return store.command_line(target.spec.name, target.model_name, option, name, more=more)


def expected_c(target: Target, output: Path) -> CSources:
    """What both files should be, by the options that the one on disk names."""
    header = store.read_header(store.read(output) or "")
    return render_c(target, output, header.dtype if header else None, header.rows if header else None)
