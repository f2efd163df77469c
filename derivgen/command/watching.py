"""`derivgen watch`: the module of a spec, generated again each time that the spec is saved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

import click

from derivgen.command.group import report_bug, report_error
from derivgen.command.help import Command, spec_argument
from derivgen.errors import DerivgenError, show_warnings
from derivgen.file import disk, store
from derivgen.project.project import expected_text, shortest
from derivgen.project.spec import load_targets, read_source, split_argument
from derivgen.stages import watched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from derivgen.project.spec import Target
    from derivgen.project.watching import Imports

MOST = 3  # names of kernels in a line

EXAMPLES = """
    # Generate digits_kernels.py now, and each time that digits.py is saved.
    derivgen watch digits.py
"""


@click.command(cls=Command, examples=EXAMPLES)
@spec_argument
def watch(spec: str) -> None:
    """Generate the module of a spec again each time that the spec is saved.

    Files of the project that the spec imports are watched too. The module keeps the options that it was generated with.
    An error of the spec is shown, and the next save tries again. Ctrl-C ends with exit code 0.
    """
    path, _ = split_argument(spec)
    if not path.is_file() or path.suffix != ".py":
        read_source(path)  # raises an error
    try:
        watch_path(path, spec)
    except KeyboardInterrupt:
        click.echo(f"\n{clock()} ended")


def watch_path(path: Path, spec: str) -> NoReturn:
    """Generate, and wait for a change, again and again; `spec` is the path, or PATH:NAME."""
    import derivgen.pipeline  # noqa: F401  SymPy and all that generates, before imports are noted
    from derivgen.project.watching import Imports, noted, wait_for_change

    imports, said = Imports(path), ""
    while True:
        with watched(f"generating from {spec}"), noted(imports):
            regenerate(spec)
        if said != (said := names_of(imports)):
            click.echo(f"{clock()} watching {said}; Ctrl-C ends")
        wait_for_change(imports)


def names_of(imports: Imports) -> str:
    """The files that are watched, without those that are not there (yet)."""
    return ", ".join(shortest(file) for file in imports.files if file.is_file())


def clock() -> str:
    return time.strftime("%H:%M:%S")


def regenerate(spec: str) -> None:
    """Write the module of each model, and say what changed; an error is shown, and ends nothing."""
    try:
        for target in load_targets(spec):
            write(target)
    except DerivgenError as error:
        report_error(error)
        click.echo(f"{clock()} {spec}: not generated", err=True)
    except Exception:
        report_bug()


def write(target: Target) -> None:
    output = target.output
    before = disk.read(output)
    text, warnings = expected_text(target, output)
    show_warnings(warnings)
    result = store.write(output, text)
    changed = what_changed(before, text) if result == "written" and before else ""
    click.echo(f"{clock()} {output}: {result}{changed}")


def what_changed(before: str, after: str) -> str:
    """The kernels that are to be read after an edit, by the texts of a module alone."""
    from derivgen.review.compare import compared_kernels
    from derivgen.review.names import Names
    from derivgen.review.sections import sections_of

    kernels, gone = compared_kernels(sections_of(before), sections_of(after), Names({}))
    read = [kernel.name for kernel in kernels if kernel.is_to_read]
    return f" ({listed('to read', read) or 'the formulas of all kernels are as before'}{listed('; gone', gone)})"


def listed(word: str, names: Sequence[str]) -> str:
    """The first of some kernels after a word; nothing if there are none."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{word}: {', '.join(names[:MOST])}{more}" if names else ""
