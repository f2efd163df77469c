"""The command line under test, in this process."""

from __future__ import annotations

import re

from click.testing import CliRunner

from derivgen.command.main import main


def run(*arguments):
    """The result of a command that must not end in a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output, result.output
    return result


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return but_signs(result.output)


def fail(*arguments, code=2):
    result = run(*arguments)
    assert result.exit_code == code, result.output
    return but_signs(result.output)


def but_signs(text):
    """What was printed, except the lines that say that work goes on, which come where the machine is slow."""
    return re.sub(r"^derivgen[_ ]\w+: .*\b\d+ s\b.*\n", "", text, flags=re.MULTILINE)
