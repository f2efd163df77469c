"""The commands as a whole: how `derivgen --help` lists them, and how errors end."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from derivgen.command.help import Command
from derivgen.errors import DerivgenError, SpecError, output_fails, system_words
from derivgen.stages import watched

ERROR = 2  # the exit code
WAITING = {"watch"}

# By what somebody wants to do, each in the order in which one does it.
SECTIONS = {
    "Write and generate": ("new", "import", "generate", "build", "watch", "compile"),
    "Check and review": ("check", "diff", "gradcheck", "review", "report", "certify", "approve"),
    "Train and predict": ("train", "evaluate", "predict"),
    "Understand a model": ("summary", "explain", "cost"),
    "Set up the shell": ("completion",),
}


class Commands(click.Group):
    """Errors of the user end as a message and exit code 2; any other is a bug, and shows its traceback."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit=10**3)) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            refuse_removed_folder()
            with signs_of_life(ctx):
                return super().invoke(ctx)
        except DerivgenError as error:
            report_error(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            report_error(DerivgenError(system_words(error)))
        except Exception:
            report_bug()
        if output_fails():  # else Python tries again as it ends, and shows a traceback
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ctx.exit(ERROR)


def signs_of_life(ctx: click.Context) -> AbstractContextManager[object]:
    """What says that a command still works; a command that waits for the user gives its own."""
    name = " ".join([*getattr(ctx, "_protected_args", ()), *ctx.args][:1])
    if name in WAITING:
        return nullcontext()
    # What Python took to start is the user's time too.
    return watched(f"derivgen {name}".rstrip(), begun=time.monotonic() - time.process_time())


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


def report_bug() -> None:
    """The exception that is being handled, with its traceback."""
    traceback.print_exc()
    click.echo("error: this is a bug of derivgen; please report it with the lines above", err=True)
