"""Mistakes on the command line: what was expected, what was found, what to write; nothing is generated or compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import run

NEW, TRAIN = ["new", "spirals"], ["train", "spirals.py", "--data", "spirals_data.npz"]
MISTAKES = {
    "75 --lr that is no number": ([*TRAIN, "--lr", "high"], ("--lr", "'high' is not a valid float")),
    "76 --epoch": ([*TRAIN, "--epoch", "3"], ("No such option", "--epochs")),
    "77 --resume without a folder": ([*TRAIN, "--resume"], ("--resume needs the folder", "--checkpoints FOLDER")),
    "77 a fraction past 1": ([*TRAIN, "--validation-split", "1.5"], ("--validation-split", "1.5 is not in the range")),
    "77 a picture of an unknown kind": ([*TRAIN, "--plot", "x.xyz"], ("x.xyz", ".png")),
    "77 a setting without a value": ([*TRAIN, "--set", "momentum="], ("--set expects NAME=VALUE", "momentum=0.9")),
    "79 parameters for a module": (
        ["predict", "spirals.py", "spirals_data.npz", "--data", "spirals_data.npz", "-o", "p.npy"],
        ("spirals.py is not a generated module", "derivgen generate"),
    ),
    "80 a file's name": (["new", "a.py"], ("a name of letters, digits and _", "did you mean a?")),
    "a spec's name mistyped": (["generate", "spirrals.py"], ("spirrals.py does not exist", "did you mean spirals.py?")),
    "no spec of such a name": (["generate", "digits.py"], ("digits.py does not exist: `derivgen new NAME` writes",)),
    "81 check without a table": (["check"], ("[tool.derivgen]", "pyproject.toml")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_what_to_write(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*NEW).exit_code == 0
    arguments, words = MISTAKES[mistake]
    result = run(*arguments)
    assert result.exit_code == 2
    assert [word for word in words if word not in result.output] == [], result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spirals.py", "spirals_data.npz"]
