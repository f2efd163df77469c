"""Specs that the commands refuse, each at its marked lines and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result

from derivgen.command.main import main

MARK = "# !"


def run(*arguments: object) -> Result:
    """The result of a command that must not end in a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refuse(folder: Path, text: str) -> list[str]:
    """The error lines of a spec that must be refused, one at each marked line and no other; nothing is written."""
    path = folder / "bad.py"
    path.write_text(text, encoding="utf-8")
    result = run("generate", path)
    assert result.exit_code == 2, result.output
    assert [p.name for p in folder.iterdir()] == ["bad.py"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    marked = {number for number, line in enumerate(text.splitlines(), start=1) if line.endswith(MARK)}
    places = [re.match(r"error: bad\.py:(\d+): ", line) for line in errors]
    assert {int(p[1]) for p in places if p} == marked, f"expected an error at lines {marked}:\n{result.output}"
    assert all(places), result.output
    return errors
