"""The commands that count: `derivgen summary` and `derivgen cost`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from derivgen.command.help import Command, in_group, spec_argument
from derivgen.command.options import DTYPE, options_of, pairs_of
from derivgen.errors import DerivgenError
from derivgen.project.spec import load_targets

if TYPE_CHECKING:
    from derivgen.plan.cost_report import Report
    from derivgen.project.spec import Target

POSITIVE = click.FloatRange(min=0, min_open=True)
NARROWEST = 60  # columns of a table

TARGETS = ("numba", "c")

of_ranks, of_c = in_group("Processes of MPI"), in_group("Files of C")
SIZE_OPTIONS = (
    click.option("--dtype", type=DTYPE, help="Dtype of the kernels; the spec's, or float32, if omitted."),
    click.option(
        "--size",
        "sizes",
        multiple=True,
        metavar="NAME=VALUE",
        help="A number for a run-time size; repeat it for several sizes.",
    ),
)

SUMMARY = """
    # Show the layers of a model, its parameters and its cost.
    derivgen summary digits.py

    # Show the times for mini-batches of 32 rows.
    derivgen summary digits.py --size N=32
"""


@click.command(cls=Command, examples=SUMMARY)
@spec_argument
@options_of(SIZE_OPTIONS)
def summary(spec: str, dtype: str | None, sizes: tuple[str, ...]) -> None:
    """Show the layers of a model: shapes, parameters, time and memory.

    Layers stand in the order of the spec, each with its parameters below it. Times are nanoseconds of one core, at
    most; they are estimated, as `derivgen cost` does, which has the details. Without --size they are polynomials in the
    sizes that are known at run time.
    """
    from derivgen.pipeline import summary_of
    from derivgen.plan.cost_report import with_sizes

    targets = load_targets(spec)
    reports, values = reports_of(spec, targets, dtype, sizes)
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    pairs = zip(targets, reports, strict=True)
    click.echo("\n\n".join(summary_of(t.model, with_sizes(report, values), width) for t, report in pairs))


COST = """
    # Show what a step costs, by layer and direction.
    derivgen cost digits.py --size N=32

    # Show from how many rows on up to eight processes of MPI are worth it.
    derivgen cost digits.py --ranks 8

    # Show what memory the files of C take, too, on a microcontroller.
    derivgen cost digits.py --target c --rows 32 --cc arm-none-eabi-gcc
"""


@click.command(cls=Command, examples=COST)
@spec_argument
@options_of(SIZE_OPTIONS)
@of_c("--target", type=click.Choice(TARGETS), default=TARGETS[0], help="With c, show what memory files of C take, too.")
@of_c("--rows", type=click.IntRange(1), metavar="N", help="How many rows there are: a number for the first --size.")
@of_c("--cc", metavar="COMMAND", help="The C compiler for the size of code; $CC, or else cc, gcc or clang, if omitted.")
@of_ranks(
    "--ranks", type=click.IntRange(min=1), help="Show instead what up to this many processes gain over a single one."
)
@of_ranks("--latency", type=POSITIVE, default=2e-6, show_default=True, help="Seconds that a message takes.")
@of_ranks("--bandwidth", type=POSITIVE, default=1e10, show_default=True, help="Bytes that pass in a second.")
def cost(
    spec: str,
    dtype: str | None,
    sizes: tuple[str, ...],
    target: str,
    rows: int | None,
    cc: str | None,
    ranks: int | None,
    latency: float,
    bandwidth: float,
) -> None:
    """Show the operations, calls, bytes moved and workspace of a model.

    There is a row for each layer and direction, for each part of a step, and for each function of derivatives. Without
    --size they are polynomials in the sizes that are known at run time.

    With --target c, a second table has the bytes of what callers of C give, of tables of numbers, of local arrays on
    the stack, and of the code that a compiler makes.
    """
    from derivgen.plan.cost_report import with_sizes
    from derivgen.plan.cost_text import report_text

    if target != "c" and (rows is not None or cc is not None):
        raise DerivgenError(f"--{'rows' if rows is not None else 'cc'} is for --target c")
    targets = load_targets(spec)
    reports, values = reports_of(spec, targets, dtype, sizes)
    if rows is not None:
        values |= {report.sizes[0]: rows for report in reports if report.sizes}
    if ranks is not None:
        from derivgen.plan.scaling import Network, scaling_text

        network = Network(latency, bandwidth)
        counts = [values.get(report.sizes[0]) if report.sizes else None for report in reports]
        click.echo("\n\n".join(scaling_text(r, ranks, network, n) for r, n in zip(reports, counts, strict=True)))
        return
    texts = [report_text(with_sizes(report, values)) for report in reports]
    if target == "c":
        texts = [f"{text}\n\n{memory_text(t, dtype, values, cc)}" for text, t in zip(texts, targets, strict=True)]
    click.echo("\n\n".join(texts))


def memory_text(target: Target, dtype: str | None, values: Mapping[str, int], cc: str | None) -> str:
    """A table of what files of C take."""
    from derivgen.plan.cost_report import in_sizes
    from derivgen.plan.cost_text import aligned
    from derivgen.project.c_memory import memory_of

    found = memory_of(target, dtype, cc)
    rows = [(name, str(in_sizes(e, values))) for name, e in found.given]
    rows += [("tables of numbers", str(found.tables)), ("local arrays", str(found.stack))]
    rows.append(("code and tables", "unknown" if found.code is None else str(found.code)))
    words = [*("" for _ in found.given), "", " → ".join(found.chain), found.words]
    table = zip(aligned([("in C", "bytes"), *rows], words=1), ["", *words], strict=True)
    return "\n".join(f"{line}  {more}".rstrip() for line, more in table)


def reports_of(
    spec: str, targets: Sequence[Target], dtype: str | None, sizes: Sequence[str]
) -> tuple[list[Report], dict[str, int]]:
    """(what each model costs, the numbers for run-time sizes). Raises DerivgenError where no model has such a size."""
    from derivgen.file.contract import DTYPES
    from derivgen.pipeline import cost_of

    values = pairs_of("--size", sizes, whole_size, "NAME=VALUE with a whole number of at least 1")
    reports = [cost_of(t.model, dtype or t.model.dtype or DTYPES[0]) for t in targets]
    known = list(dict.fromkeys(name for report in reports for name in report.sizes))
    for name in values:
        if name not in known:
            there = f"its run-time sizes are {', '.join(known)}" if known else "all its sizes are fixed by the spec"
            raise DerivgenError(f"--size {name}={values[name]}: {spec} has no run-time size {name}; {there}")
    return reports, values


def whole_size(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)
