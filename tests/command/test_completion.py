"""What a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from command import fail, succeed

from derivgen.command.completing import PROGRAM, SHELLS, VARIABLE
from derivgen.command.main import main
from derivgen.errors import PACKAGE


def offered(*words):
    """(value, type) of what is offered for the last word."""
    found = ShellComplete(main, {}, PROGRAM, VARIABLE).get_completions(list(words[:-1]), words[-1])
    return [(item.value, item.type) for item in found]


def test_commands_are_completed():
    assert offered("su") == [("summary", "plain")]
    assert {value for value, _ in offered("")} == set(main.commands)


def test_options_are_completed():
    assert ("--validation-split", "plain") in offered("train", "digits.py", "--val")
    assert offered("generate", "digits.py", "--dtype", "float6") == [("float64", "plain")]


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "dig"],
        ["check", "a.py", "dig"],
        ["explain", "dig"],
        ["compile", "dig"],
        ["train", "digits.py", "--data", "dig"],
        ["predict", "digits_kernels.py", "dig"],
        ["generate", "digits.py", "-o", "dig"],
    ],
    ids=" ".join,
)
def test_files_are_left_to_the_shell(words):
    assert offered(*words) == [("dig", "file")]


def test_metrics_are_completed():
    assert offered("evaluate", "--metric", "root") == [("root_mean_squared_error", "plain")]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_calls_the_command(shell):
    script = succeed("completion", shell)
    assert f"{VARIABLE}={shell}_complete" in script and PROGRAM in script
    assert "'tcsh' is not one of" in fail("completion", "tcsh")


def test_a_shell_is_answered():
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), VARIABLE: "bash_complete"}
    code = f"from derivgen.command.main import main; main(prog_name={PROGRAM!r})"
    environment |= {"COMP_WORDS": f"{PROGRAM} eva", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "plain,evaluate\n"
