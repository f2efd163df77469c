"""The command line. Each command imports what it needs when it runs: `generate` must not wait for numba."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from derivgen.command.building import build
from derivgen.command.completing import completion
from derivgen.command.costs import cost, summary
from derivgen.command.group import ERROR, Commands, report_error
from derivgen.command.help import SPEC_HELP, argument, in_group, some_file, spec_argument
from derivgen.command.importing import import_file
from derivgen.command.options import DTYPE, FILE
from derivgen.command.predicting import evaluate, predict
from derivgen.command.reviewing import approve, certify, report, review
from derivgen.command.training import train
from derivgen.command.watching import watch
from derivgen.errors import DerivgenError, show_warnings
from derivgen.file import store
from derivgen.project.c_sources import c_output, expected_c, files_beside, render_c
from derivgen.project.project import (
    Check,
    Module,
    check_module,
    difference_on_disk,
    expected_text,
    project_modules,
    render,
    shortest,
)
from derivgen.project.spec import Target, load_target, load_targets
from derivgen.version import __version__

STALE = 1  # the exit code
TARGETS = ("numba", "c")
ORDER = click.Choice(["1", "2"])  # of derivatives
# What is said of a gradient that was 0 wherever it was looked at, by the order.
ZERO = {
    "1": "the gradient is 0 at this point (try --rows 50 or another --seed)",
    "2": "the product with the Hessian is 0 at this point (try --rows 50 or another --seed)",
}
# Largest relative error that rounding alone can be expected to cause.

of_module, of_output = in_group("Module"), in_group("Output")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="derivgen")
def main() -> None:
    """From a model written as SymPy expressions to one readable file of numba kernels.

    `derivgen new NAME` writes a spec to start from; `derivgen COMMAND --help` explains a command, with examples.
    """


NEW = """
    # Write spirals.py and spirals_data.npz.
    derivgen new spirals
"""


@main.command(examples=NEW)
@argument("name", "The name of the model, a Python identifier.")
def new(name: str) -> None:
    """Write a commented starter spec NAME.py, and NAME_data.npz to train it on.

    Both files go to the current folder. A file that exists is never replaced.
    """
    from derivgen.project.starter import write_starter

    spec, data = write_starter(name, Path())
    click.echo(f"wrote {spec} and {data}. Next:")
    click.echo(f"    derivgen generate {spec}")
    click.echo(f"    derivgen train {spec} --data {data}")


GENERATE = """
    # Write digits_kernels.py beside the spec.
    derivgen generate digits.py

    # Write a module in float64, whose large loops run in threads.
    derivgen generate digits.py --dtype float64 --parallel -o digits_64.py

    # Write a header and a file of C99, with the memory that 32 rows take.
    derivgen generate digits.py --target c --rows 32

    # Write robot_arm_casadi.c too, by which CasADi loads the model.
    derivgen generate robot_arm.py --target c --casadi
"""


@main.command(examples=GENERATE)
@spec_argument
@of_output("-o", "--output", type=FILE, metavar="FILE", help="File to write; <spec>_kernels.py, or .c, if omitted.")
@of_output("--force", is_flag=True, help="Replace the file even if it was edited by hand or is not derivgen's.")
@of_module("--dtype", type=DTYPE, help="Dtype of all numbers; the spec's, or float32, if omitted.")
@of_module("--parallel", is_flag=True, help="Run loops with much work in threads.")
@of_module("--target", type=click.Choice(TARGETS), default=TARGETS[0], help="A Python module for numba, or C99.")
@of_module("--rows", type=click.IntRange(1), metavar="N", help="Of C: state the memory that so many rows take.")
@of_module("--casadi", is_flag=True, help="Of C: write <spec>_casadi.c, too, for casadi.external.")
def generate(
    spec: str,
    output: Path | None,
    dtype: str | None,
    parallel: bool,
    target: str,
    rows: int | None,
    casadi: bool,
    force: bool,
) -> None:
    """Write the module of a spec; of each of its models, if there are several.

    With --target c, write a header and a file of C99, which need no library at all.
    """
    if target == "c" and parallel:
        raise DerivgenError("--parallel is for --target numba: C's loops run in threads if it is compiled with OpenMP")
    if target != "c" and rows is not None:
        raise DerivgenError("--rows is for --target c: a Python module takes memory for the rows that it is given")
    if target != "c" and casadi:
        raise DerivgenError("--casadi is for --target c: CasADi loads compiled C")
    targets = load_targets(spec) if output is None else (load_target(spec),)
    if target == "c":
        write_c(targets, output, dtype, rows, casadi, force)
        return
    paths = [output or target.output for target in targets]
    modules = [(path, *render(t, path, dtype, parallel)) for t, path in zip(targets, paths, strict=True)]
    for path, text, warnings in modules:
        show_warnings(warnings)
        result = store.write(path, text, force)
        if parallel and "prange(" not in text and "IN_THREADS = True" not in text:
            click.echo(f"note: {path} has no loop with enough work for threads", err=True)
        click.echo(f"{path}: {result}")


def write_c(
    targets: Sequence[Target], output: Path | None, dtype: str | None, rows: int | None, casadi: bool, force: bool
) -> None:
    """Write the header and the file of C of each model, and that for CasADi."""
    for target in targets:
        found = render_c(target, output or c_output(target), dtype, rows, casadi)
        show_warnings(found.warnings)
        for path, text in found.texts.items():
            click.echo(f"{path}: {store.write(path, text, force)}")


COMPILE = """
    # Fill the cache when an image is built, with four processes.
    derivgen compile digits_kernels.py --jobs 4
"""


@main.command("compile", examples=COMPILE)
@argument("modules", "Generated modules.", nargs=-1, required=True, metavar="MODULE...", type=FILE)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that compile kernels.")
def compile_modules(modules: tuple[Path, ...], jobs: int) -> None:
    """Compile generated modules into the cache, so that their first call does not wait.

    Use it when an image is built, or before a first deploy.
    """
    from derivgen.runtime.compiling import compile_module

    for path in modules:
        start = time.perf_counter()
        count = compile_module(path, jobs)
        click.echo(f"{path}: {count} kernels and their callers are compiled, {time.perf_counter() - start:.1f} s")


CHECK = """
    # Check all pairs of the project, as in CI.
    derivgen check

    # Check one module beside its spec, and files of C of its name.
    derivgen check digits.py
"""


@main.command(examples=CHECK)
@argument("specs", f"{SPEC_HELP} If omitted, the project's.", nargs=-1, metavar="[SPEC]...", shell_complete=some_file)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    show_default=True,
    help="github: annotate the pull request with what is stale, too.",
)
@click.option("--signed", is_flag=True, help="Fail, too, if a section of a module has no signature.")
def check(specs: tuple[str, ...], form: str, signed: bool) -> None:
    """Compare modules, and files of C beside them, with what their specs generate now.

    The exit code is 0 if all are up to date, 1 if one is stale (with the difference, and the command that fixes it) or,
    with --signed, not signed, 2 on an error.

    The pairs of a project stand under [tool.derivgen] in the nearest pyproject.toml, such as

        modules = { "digits.py" = "digits_kernels.py" }

    Where there is a digits_kernels.c or .h, both are compared too; a pair may also name a file of C alone.
    """
    fresh = stale = failed = unsigned = 0
    modules = [Module(spec) for spec in specs] if specs else project_modules()
    for module in modules:
        try:
            for result in check_module(module):
                fresh, stale = fresh + (not result.stale), stale + bool(result.stale)
                show_check(result, form)
                unsigned += signed and is_unsigned(result, form)
        except DerivgenError as error:
            failed += 1
            report_error(error)
            if form == "github":
                click.echo(annotation(module.spec.partition(":")[0], str(error)))
    more = (f", {count} {word}" for count, word in ((unsigned, "not signed"), (failed, "failed")) if count)
    click.echo(f"{fresh} up to date, {stale} stale{''.join(more)}")
    sys.exit(ERROR if failed else STALE if stale or unsigned else 0)


def is_unsigned(result: Check, form: str) -> bool:
    """Whether sections of a module have no signature, which is said."""
    from derivgen.review.approvals import unsigned_in

    found = unsigned_in(result.path) if result.path.exists() else []
    if not found:
        return False
    words = f"not signed by anybody: {', '.join(found)}"
    click.echo(f"{result.path}: {words}")
    if form == "github":
        click.echo(annotation(str(result.path), words))
    return True


def show_check(result: Check, form: str) -> None:
    show_warnings(result.warnings)
    if result.stale and form == "github":
        click.echo(annotation(str(result.path), f"{result.stale}; to fix it, run {result.command}"))
    if result.stale:
        click.echo(f"{result.path}: {result.stale}")
        click.echo(result.diff, nl=False)
        click.echo(f"to fix it, run\n    {result.command}")


def annotation(file: str, message: str) -> str:
    """An error at a file, as GitHub's runners take it from a job's output."""
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error file={file},line=1::{escaped}"


DIFF = """
    # Show what the next generate would change.
    derivgen diff digits.py
"""


@main.command(examples=DIFF)
@spec_argument
def diff(spec: str) -> None:
    """Print the unified diff from the module on disk, and from files of C beside it, to what its spec generates now.

    Nothing is printed if they are the same. The exit code is 0 in both cases.
    """
    for target in load_targets(spec):
        in_c = files_beside(c_output(target))
        texts = {} if in_c and not target.output.exists() else {target.output: expected_text(target, target.output)[0]}
        texts |= expected_c(target, c_output(target)).texts if in_c else {}
        for path, text in texts.items():
            click.echo(store.diff(path, text), nl=False)


EXPLAIN = """
    # Show the gradients of a model, with the rules that give them.
    derivgen explain digits.py

    # Show the derivatives of an expression, step by step.
    derivgen explain --expr "sqrt(1 + exp(x)**2)"
"""


@main.command(examples=EXPLAIN)
@argument("spec", SPEC_HELP, required=False, metavar="[SPEC]", shell_complete=some_file)
@click.option("--expr", metavar="TEXT", help="Explain this expression instead of a spec.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown"]),
    default="text",
    show_default=True,
    help="markdown has the formulas in LaTeX.",
)
@click.option("--order", type=ORDER, default="1", show_default=True, help="2: explain the blocks of the Hessian.")
def explain(spec: str | None, expr: str | None, form: str, order: str) -> None:
    """Show each statement of a spec, its adjoint, and the rule that gave it."""
    if (spec is None) == (expr is None):
        raise click.UsageError("give either SPEC or --expr TEXT")
    if expr is not None and order != "1":
        raise click.UsageError("--order 2 needs a SPEC: to see a second derivative, explain the first one by --expr")
    from derivgen.explain.expression import explain_expression
    from derivgen.explain.hessian import explain_hessian
    from derivgen.explain.model import explain_model

    of_model = explain_model if order == "1" else explain_hessian
    if expr is not None:
        texts = [explain_expression(expr, form)]
    else:
        texts = [of_model(target.model, form) for target in load_targets(spec or "")]
    click.echo("\n\n".join(text.rstrip("\n") for text in texts))


GRADCHECK = """
    # Check the gradients of a model.
    derivgen gradcheck digits.py

    # Check products with the Hessian, with 3 rows of data.
    derivgen gradcheck digits.py --order 2 --rows 3
"""


@main.command(examples=GRADCHECK)
@spec_argument
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Largest relative error that passes; 1e-9, in float32 1e-3, if omitted.",
)
@click.option("--rows", type=click.IntRange(min=1), help="Value of each run-time size; 5 if omitted, 2 with --quick.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random points.")
@click.option("--quick", is_flag=True, help="Check each tensor along one random direction, and no single coordinates.")
@click.option("--dtype", type=DTYPE, default="float64", show_default=True, help="Dtype of the kernels under test.")
@click.option("--order", type=ORDER, default="1", show_default=True, help="2: check products with the Hessian instead.")
def gradcheck(
    spec: str, tolerance: float | None, rows: int | None, seed: int, quick: bool, dtype: str, order: str
) -> None:
    """Compare the generated gradients with differences at 50 digits, at random points.

    The module is generated again, and compiled; the file on disk is not read: `derivgen check` and verify.py do that.
    A spec with least_squares has its `jacobian` compared too, by which fit_curve searches: all residuals along random
    directions of each parameter (one of a single number). So is `jacobian_vector_product`, by which a fit draws its
    band, if the spec asks for it: all predictions. The loss is compared too; it has a row only if it is wrong.

    Up to 2,000 parameters, 9 coordinates of each tensor are checked, all of a small one, and 2 random directions; of
    larger models 2 coordinates and 1 direction of each tensor. A direction has a part of every element of the tensor,
    so that all are covered; the column `checked` says what was done. Each check evaluates the formulas twice at 50
    digits, at some 3 microseconds an operation: seconds for small networks, some minutes for convolutions or attention;
    what is left is shown. --quick takes about a fifth of that, or less.

    With --order 2, hessian_vector_product along a random vector is compared with differences at 100 digits, and so is
    hessian times that vector, if the spec asks for it.

    The kernels under test are those that the spec generates now. A module on disk is not opened: if the one beside the
    spec has another text, a note says that it was not tested. A gradient that is 0 at all of 8 points is not tested
    either, except if no formula contributes to it. In these cases the exit code is 1, and if an error is larger than
    the tolerance.
    """
    from derivgen.project.gradcheck import TOLERANCES
    from derivgen.project.gradcheck import gradcheck as compare

    limit = TOLERANCES[dtype] if tolerance is None else tolerance
    errors: list[float] = []
    left: list[str] = []
    for target in load_targets(spec):
        comparisons = compare(target.model, dtype, rows or (2 if quick else 5), seed, int(order), quick)
        width = max([len("parameter"), *(len(c.parameter) for c in comparisons)])
        click.echo(f"{target.model.name}, {dtype}\n{'parameter':<{width}}  relative error  checked")
        for c in comparisons:
            told = f"{c.error:<14.2e}  {c.checked}" if c.tested else f"{'not tested':<14}  {ZERO[order]}"
            click.echo(f"{c.parameter:<{width}}  {told}")
            errors += [c.error] if c.tested else []
            left += [] if c.tested else [c.parameter]
    if not errors and not left:
        raise DerivgenError(f"{spec} has no parameters, so there is no gradient to check")
    worst = max(errors, key=lambda error: (math.isnan(error), error), default=0.0)
    verdict = f"not tested: {', '.join(left)}" if left else "passed"
    verdict = verdict if worst <= limit else "FAILED"
    click.echo(f"largest {worst:.2e}, tolerance {limit:.0e}: {verdict}" if errors else verdict)
    sys.exit(0 if verdict == "passed" and not untested_modules(spec) else 1)


def untested_modules(spec: str) -> bool:
    """Whether a module beside the spec has another text than the one that was tested, which a note says."""
    other = [target for target in load_targets(spec) if difference_on_disk(target)]
    for target in other:
        click.echo(
            f"note: {shortest(target.output)} is not what the spec generates now (derivgen check "
            f"{shortest(target.spec)} shows the difference): it was not tested",
            err=True,
        )
    return bool(other)


COMMANDS: tuple[click.Command, ...] = (import_file, build, watch, review, report, certify, approve)
COMMANDS += (train, evaluate, predict, summary, cost, completion)
for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
