"""How `--help` looks: arguments and options with their meaning, options in groups, and examples."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click
from click.shell_completion import CompletionItem

OTHERS = "Options"  # the heading of options without a group


class Argument(click.Argument):
    """An argument that `--help` explains (click's own has `help` since 8.5 only)."""

    def __init__(self, declarations: Sequence[str], help: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self.help = help

    @property
    def label(self) -> str:
        return self.metavar or str(self.name).upper()


class Option(click.Option):
    """An option that stands in a group of `--help`."""

    def __init__(self, *arguments: Any, group: str = OTHERS, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.group = group


class Command(click.Command):
    """A command whose help has its options in groups, and examples.

    `examples`: lines of a shell, each command below a comment that says what it does.
    """

    def __init__(self, *arguments: Any, examples: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        examples = textwrap.dedent(examples).strip()
        self.examples = examples.splitlines()
        # For the site, in reStructuredText.
        self.epilog = f"Examples:\n\n.. code-block:: bash\n\n{textwrap.indent(examples, '    ')}"

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nothing: `format_options` has them, also for a click that does not call this."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, Argument):
                groups.setdefault("Arguments", []).append((parameter.label, str(parameter.help)))
            elif isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", OTHERS), []).append(record)
        for heading in sorted(groups, key=lambda heading: heading == OTHERS):  # last, with --help
            with formatter.section(heading):
                formatter.write_dl(groups[heading])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n" if line else "\n")


def in_group(heading: str) -> Callable[..., Callable[[Any], Any]]:
    """`click.option` for options of a group."""
    return partial(click.option, cls=Option, group=heading)


def argument(name: str, help: str, **attributes: Any) -> Callable[[Any], Any]:
    """`click.argument` with a help text."""
    return click.argument(name, cls=Argument, help=help, **attributes)


def some_file(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell offers for an argument that names a file, and is more than its path."""
    return [CompletionItem(incomplete, type="file")]


SPEC_HELP = "A Python file that defines a model; FILE:MODEL names one model of several."
spec_argument = argument("spec", SPEC_HELP, shell_complete=some_file)
