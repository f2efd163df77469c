"""What `--help` says: of all commands, arguments and options, with examples that the commands take."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import click
import pytest
from command import succeed

from derivgen.command.group import SECTIONS
from derivgen.command.help import OTHERS, Option
from derivgen.command.main import main
from derivgen.errors import PACKAGE
from derivgen.runtime import METRICS

COMMANDS = sorted(main.commands)
parametrized = pytest.mark.parametrize("name", COMMANDS)


def context(name):
    return click.Context(main.commands[name], info_name=name, parent=click.Context(main, info_name="derivgen"))


def shown(name):
    """The help as it is without a terminal: 80 columns."""
    return main.commands[name].get_help(context(name))


def test_each_command_stands_in_one_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == COMMANDS
    lines = succeed("--help").splitlines()
    places = [next(k for k, line in enumerate(lines) if line.startswith(f"  {name} ")) for name in COMMANDS]
    assert len(set(places)) == len(COMMANDS)
    assert all(f"{heading}:" in lines for heading in SECTIONS)
    assert not any(line.endswith("...") for line in lines[1:])


@parametrized
def test_each_argument_and_option_is_explained(name):
    command = main.commands[name]
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert (text and text[0].upper() == text[0]) or text.startswith(("github:", "markdown", "2:")), parameter.name
        assert text.endswith(".")
    assert command.help.strip().splitlines()[0].endswith((".", ","))


@parametrized
def test_the_help_has_80_columns(name):
    lines = shown(name).splitlines()
    assert max(map(len, lines)) <= 80
    assert "Examples:" in lines


@parametrized
def test_options_stand_below_their_headings(name):
    text = shown(name)
    for option in main.commands[name].params:
        if isinstance(option, click.Option):
            heading = getattr(option, "group", OTHERS)
            below = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
            assert f"  {option.opts[0]}" in below, option.name


def test_train_has_its_options_in_groups():
    groups = {option.group for option in main.commands["train"].params if isinstance(option, Option)}
    assert groups == {"Data", "Training", "Validation and metrics", "Output", "Checkpoints"}


@parametrized
def test_examples_are_commands_that_exist(name):
    text = "\n".join(line for line in main.commands[name].examples if not line.startswith("#"))
    lines = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    own = [words[1:] for words in lines if words[0] == "derivgen"]
    if name != "completion":  # its commands stand inside of others
        assert own and all(words[0] == name for words in own)
    for command, *words in own:
        words = words[: words.index(">")] if ">" in words else words
        main.commands[command].make_context(command, list(words), parent=context(command).parent)


def test_help_imports_nothing_heavy():
    code = "import sys; from derivgen.command.main import main; main(['--help'], standalone_mode=False)"
    code += "; print([m for m in ('sympy', 'numpy', 'numba', 'rich') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_all_metrics_are_named():
    for command in ("train", "evaluate"):
        words = shown(command).replace(",", " ").split()
        assert set(METRICS) <= set(words)
