"""The programs by which `make test-c` calls every function of C see what is wrong with one."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from example_files import EXAMPLES

SCRIPTS = EXAMPLES.parent / "scripts" / "test_c"
BOARD = EXAMPLES / "digits" / "cortex_m"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc is installed")
# A text of the file of C, what stands there instead, and what the program says of that.
MISTAKES = {
    "a row too many": ("order[i] >= N", "order[i] > N", "pendulum_mean_gradient, row N: status 00000000, not 00000002"),
    "a class too many": ("y[i0] >= 10", "y[i0] > 10", "digits_loss, y: 10: status 00000000, not 00000002"),
    "NaN as a rate": (
        "!(learning_rate >= 0.0)",
        "learning_rate < 0.0",
        "digits_update, learning_rate = NAN: status 00000000",
    ),
    "a result too early": (
        "{\n            return DIGITS_OUT_OF_RANGE;\n        }\n        if (y[(ptrdiff_t)",
        "{\n            *result = 0.0f;\n            return DIGITS_OUT_OF_RANGE;\n        }\n        if (y[(ptrdiff_t)",
        "digits_train_epoch, row -1: refused, but something is written",
    ),
}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return SimpleNamespace(**{name: importlib.import_module(name) for name in ("facts", "header", "drivers")})


def case_of(scripts: Any, name: str, folder: Path, old: str = "", new: str = "") -> Any:
    """A copy of an example's committed files of C, with one change."""
    case = scripts.facts.Case(EXAMPLES / name / f"{name}.py", "float32" if name == "digits" else "float64", folder)
    shutil.copy(EXAMPLES / name / f"{name}_kernels.h", case.header)
    text = (EXAMPLES / name / f"{name}_kernels.c").read_text(encoding="utf-8")
    assert old in text
    case.source.write_text(text.replace(old, new), encoding="utf-8")
    return case


def run(scripts: Any, case: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "main.c").write_text(scripts.drivers.driver(case), encoding="utf-8")
    files = ["main.c", SCRIPTS / "driver.c", BOARD / "output.c", BOARD / "host.c", case.source]
    flags = ["-std=c99", "-Wall", "-Werror", "-DTROUBLES", f"-I{SCRIPTS}", f"-I{BOARD}"]
    subprocess.run(["gcc", *flags, *files, "-o", "driver"], cwd=folder, check=True)
    return subprocess.run(["./driver"], cwd=folder, capture_output=True, text=True)


@needs_gcc
@pytest.mark.parametrize("name", ["digits", "pendulum"])
def test_a_right_file_passes(name: str, tmp_path: Path, scripts: Any) -> None:
    done = run(scripts, case_of(scripts, name, tmp_path), tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout


@needs_gcc
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake: str, tmp_path: Path, scripts: Any) -> None:
    old, new, told = MISTAKES[mistake]
    done = run(scripts, case_of(scripts, told.partition("_")[0], tmp_path, old, new), tmp_path)
    assert done.returncode == 1
    assert told in done.stdout


def test_a_header_tells_how_long_arrays_are(scripts: Any) -> None:
    """Each array of each function has its length, but for the parameters that are drawn: their length is a constant."""
    text = (EXAMPLES / "digits" / "digits_kernels.h").read_text(encoding="utf-8")
    functions = scripts.header.read(text).functions
    unknown = {(name, p.name) for name, f in functions.items() for p in f.parameters if p.pointer and not p.count}
    assert unknown == {("initial", "parameters")}
    counts = {p.name: p.count for p in functions["train_epoch"].parameters if p.pointer}
    assert counts["x"] == "(N) * (64)"
    assert counts["reals"] == "(171 * batch_size + 97)"
