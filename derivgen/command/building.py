"""`derivgen build`: a module whose functions the system's C compiler has compiled, so that it needs no numba."""

from __future__ import annotations

from pathlib import Path

import click

from derivgen.command.help import Command, in_group, spec_argument
from derivgen.command.options import DTYPE, FILE
from derivgen.errors import show_warnings
from derivgen.file import headers, store
from derivgen.project.building import Options, native_output, render_native
from derivgen.project.building import build as build_module
from derivgen.project.spec import load_target, load_targets

of_module, of_output, of_compiler = in_group("Module"), in_group("Output"), in_group("Compiler")

EXAMPLES = """
    # Write digits_native.py and the library libdigits_native.so beside the spec.
    derivgen build digits.py

    # Build for other machines: the same bits on all processors of one kind.
    derivgen build digits.py --strict

    # Compile with clang, and keep the sources, digits_native.c and two more.
    derivgen build digits.py --cc clang --keep-sources
"""


@click.command(cls=Command, examples=EXAMPLES)
@spec_argument
@of_output("-o", "--output", type=FILE, metavar="FILE", help="Module to write; <spec>_native.py if omitted.")
@of_output("--force", is_flag=True, help="Replace files even if they were edited by hand or are not derivgen's.")
@of_output("--keep-sources", is_flag=True, help="Write the library's sources, in C99, beside the module too.")
@of_module("--dtype", type=DTYPE, help="Dtype of all numbers; the spec's, or float32, if omitted.")
@of_module("--parallel", is_flag=True, help="Run blocks of rows, or loops with much work, in threads.")
@of_compiler("--cc", metavar="COMMAND", help="The C compiler; $CC, or else cc, gcc or clang, if omitted.")
@of_compiler(
    "--strict",
    is_flag=True,
    help="Compute the same bits on all machines, with no instruction that a processor may lack; slower.",
)
@of_compiler(
    "--blas", is_flag=True, help="Have large products of matrices made by the BLAS of SciPy, which it then needs."
)
def build(
    spec: str,
    output: Path | None,
    force: bool,
    keep_sources: bool,
    dtype: str | None,
    parallel: bool,
    cc: str | None,
    strict: bool,
    blas: bool,
) -> None:
    """Write a module of Python, and compile the library of C that it calls.

    It has the functions of the module that `derivgen generate` writes, and takes and gives the same, but it needs NumPy
    alone: nothing is compiled when it runs. The library must stay in the module's folder. It is for processors like
    this machine's, unless --strict.
    """
    options = Options(strict, parallel, blas)
    targets = load_targets(spec) if output is None else (load_target(spec),)
    for target in targets:
        path = output or native_output(target)
        module = render_native(target, path, dtype, options)
        show_warnings(module.warnings)
        for name, text in module.sources.items() if keep_sources else ():
            kept = path.with_name(name)
            click.echo(f"{kept}: {store.write(kept, text, force, headers.BUILD)}")
        for file, result in build_module(module, path, cc, options, force).items():
            click.echo(f"{file}: {result}")
