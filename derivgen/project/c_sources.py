"""A spec's header and file of C, and that for CasADi: their texts, and whether those on disk are up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen.file import disk, headers, store
from derivgen.file.contract import DTYPES
from derivgen.project.spec import Target

if TYPE_CHECKING:
    from derivgen.errors import Problem
    from derivgen.print.c.module import Sources


@dataclass(frozen=True, slots=True)
class CSources:
    """The texts of all files by their paths, the header first, that for CasADi last."""

    texts: dict[Path, str]
    warnings: tuple[Problem, ...]
    sources: Sources


def c_output(target: Target) -> Path:
    """Where the file of C goes by default: beside the module."""
    return target.output.with_suffix(".c")


def render_c(
    target: Target, output: Path, dtype: str | None = None, rows: int | None = None, casadi: bool = False
) -> CSources:
    """The header and the file of C of a model, and that for CasADi; raises SpecError where the spec is refused."""
    from derivgen.pipeline import generate_sources

    store.refuse_output(output, target.spec, ".c")
    usual = target.model.dtype or DTYPES[0]
    header, file, sources = generate_sources(target.model, dtype or usual, rows, output.stem, casadi)
    command = c_command(target, output, dtype, rows, casadi)
    parts = {output.with_suffix(".h"): header, output: file}
    if sources.casadi is not None:
        parts[casadi_output(output)] = replace(header, body=sources.casadi)
    texts = {path: headers.assemble(part, target.spec.name, command, of_c=True) for path, part in parts.items()}
    return CSources(texts, header.warnings, sources)


def casadi_output(output: Path) -> Path:
    """Where the file for CasADi goes: beside the other one."""
    return output.with_name(f"{output.stem.removesuffix('_kernels')}_casadi.c")


def c_command(target: Target, output: Path, dtype: str | None, rows: int | None, casadi: bool = False) -> str:
    """The command that all files name, with the options that are not the default."""
    option = None if dtype in (None, target.model.dtype or DTYPES[0]) else dtype
    name = None if output.name == c_output(target).name else output.name
    more = ["--target", "c", *(["--casadi"] if casadi else []), *(["--rows", str(rows)] if rows is not None else [])]
    return headers.command_line(target.spec.name, target.model_name, option, name, more=more)


def files_beside(output: Path) -> list[Path]:
    """The header and the file of C that there are, of these names; not those that `derivgen build` keeps."""
    header = header_of_c(output)
    is_kept = header is not None and header.native
    return [] if is_kept else [path for path in (output.with_suffix(".h"), output) if path.is_file()]


def header_of_c(output: Path) -> headers.Header | None:
    """What the file of C says of itself, or else its header."""
    found = (headers.read_header(disk.read(path) or "") for path in (output, output.with_suffix(".h")))
    return next((header for header in found if header is not None), None)


def expected_c(target: Target, output: Path) -> CSources:
    """What all files should be, by the options that those on disk name."""
    header = header_of_c(output)
    if header is None:
        return render_c(target, output)
    return render_c(target, output, header.dtype, header.rows, "--casadi" in header.words)


def options_of_c(header: headers.Header | None) -> list[str]:
    """The options that only files of C have, as a header names them."""
    rows = ["--rows", str(header.rows)] if header is not None and header.rows is not None else []
    casadi = ["--casadi"] if header is not None and "--casadi" in header.words else []
    return ["--target", "c", *casadi, *rows]
