"""Types that users see: mypy --strict has nothing to say of a script that uses them, and the script runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import derivgen

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "user_script.py"
MYPY = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", "--cache-dir=cache")


def mypy(text: str, folder: Path) -> str:
    """What mypy says of a user's file, who has derivgen, and none of its settings."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run([*MYPY, "script.py"], cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


WRONG = """
module: runtime.GeneratedModule = runtime.load("m.py")
reveal_type(runtime.fit(module, {}).loss)
reveal_type(runtime.fit(module, {}).history[0].validation_loss)
reveal_type(module.PARAMETERS[0].shape)
reveal_type(module.loss(module.initial_parameters()))
runtime.fit(module, {}, epochs="many")
runtime.load(3)
"""
SAID = (
    'Revealed type is "float"',
    'Revealed type is "float | None"',
    'Revealed type is "tuple[int, ...]"',
    'Revealed type is "float"',
    'Argument "epochs" to "fit" has incompatible type "str"; expected "int"',
    'Argument 1 to "load" has incompatible type "int"; expected "Path | str"',
)


def test_types_of_a_users_script(tmp_path: Path) -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert mypy(text, tmp_path) == "Success: no issues found in 1 source file\n"
    # That mypy knows the types at all: with mistakes it says which.
    said = [line.partition(": ")[2].partition(": ")[2] for line in mypy(text + WRONG, tmp_path).splitlines()[:-1]]
    found = [line.partition("  [")[0].replace("builtins.", "") for line in said]
    assert found == list(SAID)


def test_the_script_runs(tmp_path: Path) -> None:
    modules = [str(ROOT / "examples" / name / f"{name}_kernels.py") for name in ("digits", "decay_curve")]
    environment = {**os.environ, "DERIVGEN_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *modules], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Fit(loss ") and lines[0].endswith(" True (64, 32) ")
    assert lines[1:] == [
        "right: True",
        "True True True",
        "['W1', 'b1', 'W2', 'b2'] ('N', 64) N",
        "True True (2,) 35",
        "(50, 2) (50, 2)",
    ]


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(derivgen.__file__).parent / "py.typed").read_bytes() == b""
