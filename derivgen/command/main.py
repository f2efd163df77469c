"""The command line. Each command imports what it needs when it runs: `generate` must not wait for numba."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click

from derivgen.command.reviewing import approve, certify, report, review
from derivgen.command.training import pairs_of, predict, train
from derivgen.errors import DerivgenError, SpecError, output_fails, show_warnings, system_words
from derivgen.file import store
from derivgen.project.project import Check, Module, check_module, expected_text, project_modules, render
from derivgen.project.spec import load_target, load_targets
from derivgen.stages import announced
from derivgen.version import __version__

ERROR, STALE = 2, 1
POSITIVE = click.FloatRange(min=0, min_open=True)
DTYPE = click.Choice(["float32", "float64"])
ORDER = click.Choice(["1", "2"])  # of derivatives
# Largest relative error that rounding alone can be expected to cause.
TOLERANCES = {"float32": 1e-3, "float64": 1e-9}


class Commands(click.Group):
    """Errors of the user end as a message and exit code 2; any other is a bug, and shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            refuse_removed_folder()
            with announced(lambda line: click.echo(line, err=True)):
                return super().invoke(ctx)
        except DerivgenError as error:
            report_error(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            report_error(DerivgenError(system_words(error)))
        except Exception:
            traceback.print_exc()
            click.echo("error: this is a bug of derivgen; please report it with the lines above", err=True)
        if output_fails():  # else Python tries again as it ends, and shows a traceback
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ctx.exit(ERROR)


def refuse_removed_folder() -> None:
    """Raise DerivgenError where the current folder was removed: each relative path is one that is missing."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise DerivgenError("the current folder was removed: change into one that exists") from None


def report_error(error: DerivgenError) -> None:
    problems = error.problems if isinstance(error, SpecError) else [error]
    for problem in problems:
        click.echo(f"error: {problem}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="derivgen")
def main() -> None:
    """From a model written as SymPy expressions to one readable file of numba kernels."""


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a commented starter spec NAME.py, and NAME_data.npz to train it on."""
    from derivgen.project.starter import write_starter

    spec, data = write_starter(name, Path())
    click.echo(f"wrote {spec} and {data}. Next:")
    click.echo(f"    derivgen generate {spec}")
    click.echo(f"    derivgen train {spec} --data {data}")


@main.command()
@click.argument("spec")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; <spec>_kernels.py if omitted.")
@click.option("--dtype", type=DTYPE, help="Of the module; the spec's own, or float32, if omitted.")
@click.option("--parallel", is_flag=True, help="Loops with much work run in threads.")
@click.option("--force", is_flag=True, help="Write over a file that was edited by hand or is not derivgen's.")
def generate(spec: str, output: Path | None, dtype: str | None, parallel: bool, force: bool) -> None:
    """Write the module of SPEC, or of one model SPEC:NAME; of each model where SPEC has several."""
    targets = load_targets(spec) if output is None else (load_target(spec),)
    paths = [output or target.output for target in targets]
    modules = [(path, *render(t, path, dtype, parallel)) for t, path in zip(targets, paths, strict=True)]
    for path, text, warnings in modules:
        show_warnings(warnings)
        result = store.write(path, text, force)
        if parallel and "prange(" not in text and "IN_THREADS = True" not in text:
            click.echo(f"note: {path} has no loop with enough work for threads", err=True)
        click.echo(f"{path}: {result}")


@main.command("compile")
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that compile kernels.")
def compile_modules(modules: tuple[Path, ...], jobs: int) -> None:
    """Compile all functions of generated modules into the cache, for an image or a first deploy."""
    from derivgen.runtime.compiling import compile_module

    for path in modules:
        start = time.perf_counter()
        count = compile_module(path, jobs)
        click.echo(f"{path}: {count} kernels and their callers are compiled, {time.perf_counter() - start:.1f} s")


@main.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option("--format", "form", type=click.Choice(["text", "github"]), default="text", show_default=True)
def check(specs: tuple[str, ...], form: str) -> None:
    """Exit with 0 if the modules are what their specs generate, 1 if one is stale, 2 on an error.

    With --format github, what is stale is an annotation of the pull request too.

    Without SPEC: the pairs under [tool.derivgen] in the nearest pyproject.toml,

        modules = { "digits.py" = "digits_kernels.py" }
    """
    fresh = stale = failed = 0
    modules = [Module(spec) for spec in specs] if specs else project_modules()
    for module in modules:
        try:
            for result in check_module(module):
                fresh, stale = fresh + (not result.stale), stale + bool(result.stale)
                show_check(result, form)
        except DerivgenError as error:
            failed += 1
            report_error(error)
            if form == "github":
                click.echo(annotation(module.spec.partition(":")[0], str(error)))
    click.echo(f"{fresh} up to date, {stale} stale" + (f", {failed} failed" if failed else ""))
    sys.exit(ERROR if failed else STALE if stale else 0)


def show_check(result: Check, form: str) -> None:
    show_warnings(result.warnings)
    if result.stale and form == "github":
        click.echo(annotation(str(result.path), f"{result.stale}; to mend it, run {result.command}"))
    if result.stale:
        click.echo(f"{result.path}: {result.stale}")
        click.echo(result.diff, nl=False)
        click.echo(f"to mend it, run\n    {result.command}")


def annotation(file: str, message: str) -> str:
    """An error at a file, as GitHub's runners take it from a job's output."""
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error file={file},line=1::{escaped}"


@main.command()
@click.argument("spec")
def diff(spec: str) -> None:
    """Print the unified diff from the module on disk to what SPEC generates now."""
    for target in load_targets(spec):
        text, _ = expected_text(target, target.output)
        click.echo(store.diff(target.output, text), nl=False)


@main.command()
@click.argument("spec", required=False)
@click.option("--expr", metavar="TEXT", help='A bare expression instead of a spec, such as "sqrt(1 + exp(x)**2)".')
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.option("--order", type=ORDER, default="1", show_default=True, help="2: the Hessian, by blocks, instead.")
def explain(spec: str | None, expr: str | None, form: str, order: str) -> None:
    """Show each statement of SPEC, its adjoint, and the rule that gave it."""
    if (spec is None) == (expr is None):
        raise click.UsageError("give either SPEC or --expr TEXT")
    if expr is not None and order != "1":
        raise click.UsageError("--order 2 takes a SPEC: explain the derivative itself by --expr")
    from derivgen.explain.expression import explain_expression
    from derivgen.explain.hessian import explain_hessian
    from derivgen.explain.model import explain_model

    of_model = explain_model if order == "1" else explain_hessian
    if expr is not None:
        texts = [explain_expression(expr, form)]
    else:
        texts = [of_model(target.model, form) for target in load_targets(spec or "")]
    click.echo("\n\n".join(text.rstrip("\n") for text in texts))


@main.command()
@click.argument("spec")
@click.option("--tolerance", type=click.FloatRange(min=0), help="Largest relative error; by dtype if omitted.")
@click.option("--rows", type=click.IntRange(min=1), default=5, show_default=True, help="Value of run-time sizes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--dtype", type=DTYPE, default="float64", show_default=True, help="Of the kernels under test.")
@click.option("--order", type=ORDER, default="1", show_default=True, help="2: products of the Hessian, instead.")
def gradcheck(spec: str, tolerance: float | None, rows: int, seed: int, dtype: str, order: str) -> None:
    """Compare the generated gradients with differences at 50 digits, at random points.

    With --order 2, hessian_vector_product along a random vector, with differences at 100 digits; and hessian times that
    vector, where the spec asks for it.
    """
    from derivgen.project.gradcheck import gradcheck as compare

    limit = TOLERANCES[dtype] if tolerance is None else tolerance
    errors = []
    for target in load_targets(spec):
        comparisons = compare(target.model, dtype, rows, seed, int(order))
        width = max([len("parameter"), *(len(c.parameter) for c in comparisons)])
        click.echo(f"{target.model.name}, {dtype}\n{'parameter':<{width}}  relative error  checked")
        for c in comparisons:
            click.echo(f"{c.parameter:<{width}}  {c.error:<14.2e}  {c.checked}")
            errors.append(c.error)
    if not errors:
        raise DerivgenError(f"{spec} has no parameters, so there is no gradient to check")
    worst = max(errors, key=lambda error: (math.isnan(error), error))
    passed = worst <= limit
    click.echo(f"largest {worst:.2e}, tolerance {limit:.0e}: {'passed' if passed else 'FAILED'}")
    sys.exit(0 if passed else 1)


@main.command()
@click.argument("spec")
@click.option("--dtype", type=DTYPE, help="Of the kernels; the spec's own, or float32, if omitted.")
@click.option("--size", "sizes", multiple=True, metavar="NAME=VALUE", help="A number for a run-time size.")
@click.option("--ranks", type=click.IntRange(min=1), help="Show what up to so many processes of MPI gain instead.")
@click.option("--latency", type=POSITIVE, default=2e-6, show_default=True, help="Seconds of a message between ranks.")
@click.option("--bandwidth", type=POSITIVE, default=1e10, show_default=True, help="Bytes a second between ranks.")
def cost(
    spec: str, dtype: str | None, sizes: tuple[str, ...], ranks: int | None, latency: float, bandwidth: float
) -> None:
    """Show the operations, calls, bytes moved and workspace of SPEC as polynomials in its run-time sizes."""
    from derivgen.file.contract import DTYPES
    from derivgen.pipeline import cost_of
    from derivgen.plan.cost_report import with_sizes
    from derivgen.plan.cost_text import report_text

    values = pairs_of("--size", sizes, whole_size, "NAME=VALUE with a whole number of at least 1")
    models = [target.model for target in load_targets(spec)]
    reports = [cost_of(model, dtype or model.dtype or DTYPES[0]) for model in models]
    known = list(dict.fromkeys(name for report in reports for name in report.sizes))
    for name in values:
        if name not in known:
            there = f"its run-time sizes are {', '.join(known)}" if known else "all its sizes are fixed by the spec"
            raise DerivgenError(f"--size {name}={values[name]}: {spec} has no run-time size {name}; {there}")
    if ranks is not None:
        from derivgen.plan.scaling import Network, scaling_text

        network = Network(latency, bandwidth)
        rows = [values.get(report.sizes[0]) if report.sizes else None for report in reports]
        click.echo("\n\n".join(scaling_text(r, ranks, network, n) for r, n in zip(reports, rows, strict=True)))
        return
    click.echo("\n\n".join(report_text(with_sizes(report, values)) for report in reports))


def whole_size(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


main.add_command(review)
main.add_command(approve)
main.add_command(certify)
main.add_command(report)
main.add_command(train)
main.add_command(predict)


if __name__ == "__main__":
    main()
