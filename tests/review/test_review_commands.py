"""`derivgen review` against revisions and files, and `derivgen approve`."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from derivgen.command.main import main

SPEC = """\
from sympy import Sum, {function}
from derivgen import Model

model = Model("wave")
N = model.batch("N")
n = model.indices(n=N)
x = model.input("x", N)
w = model.parameter("w", init=1)
z = model.let("z", n, {function}(w * x[n]))
model.minimize(Sum(z[n] ** 2, n) / N)
"""


def write(path: Path, function: str = "sin") -> None:
    path.write_text(SPEC.format(function=function), encoding="utf-8")


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)


def derivgen(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    assert derivgen("generate", "wave.py").exit_code == 0
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    return tmp_path


def test_nothing_of_substance(checkout: Path) -> None:
    found = derivgen("review", "wave.py")
    assert found.exit_code == 0 and "Nothing of substance changed" in found.output


def test_against_the_last_commit(checkout: Path) -> None:
    write(Path("wave.py"), "cos")
    found = derivgen("review", "wave.py")
    assert found.exit_code == 1
    assert "- z[n] = sin(x[n]·w)" in found.output and "+ z[n] = cos(x[n]·w)" in found.output


def test_against_an_older_commit(checkout: Path) -> None:
    write(Path("wave.py"), "cos")
    derivgen("generate", "wave.py")
    git("commit", "-qam", "second")
    assert derivgen("review", "wave.py").exit_code == 0
    assert "sin(" in derivgen("review", "wave.py", "--against", "HEAD~1").output


def test_against_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    write(Path("old.py"), "cos")
    found = derivgen("review", "wave.py", "--against", "old.py")
    assert found.exit_code == 1 and "- z[n] = cos(x[n]·w)" in found.output


def test_a_committed_module_of_another_text_shows(checkout: Path) -> None:
    """What was committed is compared, not what its spec would give today."""
    module = Path("wave_kernels.py")
    text = module.read_text(encoding="utf-8")
    kernels, rest = text.split("# ---- what the model has")
    module.write_text("# ---- what the model has".join([kernels.replace("sin(", "cos("), rest]), encoding="utf-8")
    assert module.read_text(encoding="utf-8") != text
    git("commit", "-qam", "by hand")
    assert derivgen("review", "wave.py").exit_code == 1


def test_what_cannot_be_compared_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    found = derivgen("review", "wave.py")
    assert found.exit_code == 2 and "no checkout of git" in found.output and "--against FILE" in found.output
    git("init", "-q")
    git("commit", "-qm", "empty", "--allow-empty")
    found = derivgen("review", "wave.py")
    assert found.exit_code == 2 and "wave.py at HEAD" in found.output
    found = derivgen("review", "wave.py", "--against", "no_such_revision")
    assert found.exit_code == 2 and "no_such_revision" in found.output


def test_an_old_spec_that_does_not_load_is_named(checkout: Path) -> None:
    Path("wave.py").write_text("import no_such_package\n", encoding="utf-8")
    git("commit", "-qam", "broken")
    write(Path("wave.py"))
    found = derivgen("review", "wave.py")
    assert found.exit_code == 2 and "wave.py at HEAD" in found.output and "no_such_package" in found.output


def test_approvals(checkout: Path) -> None:
    assert "Not signed" not in derivgen("review", "wave.py").output  # nobody signs here
    found = derivgen("approve", "wave_kernels.py", "--by", "Ada")
    assert found.exit_code == 0 and "signed by Ada" in found.output
    signed = tomllib.loads(Path("derivgen-approvals.toml").read_text(encoding="utf-8"))["signed"]
    assert {*signed.values()} == {"Ada"}
    assert "all its sections are signed already" in derivgen("approve", "wave_kernels.py", "--by", "Bob").output
    assert "Not signed" not in derivgen("review", "wave.py").output
    write(Path("wave.py"), "cos")
    found = derivgen("review", "wave.py")
    (unsigned,) = (found.output.split("Not signed by anybody\n")[1]).splitlines()[:1]
    assert "z_gradient" in unsigned and "what all" not in unsigned


def test_approvals_of_one_module_count_for_another(checkout: Path) -> None:
    derivgen("approve", "wave_kernels.py", "--by", "Ada")
    Path("ripple.py").write_text(SPEC.format(function="cos").replace("wave", "ripple"), encoding="utf-8")
    derivgen("generate", "ripple.py")
    assert derivgen("approve", "ripple_kernels.py", "--by", "Bob").exit_code == 0
    names = Path("derivgen-approvals.toml").read_text(encoding="utf-8")
    assert names.count("what all float32 modules have") == 1 and "ripple_kernels.py" in names


DAMAGED = [("[signed", "not valid TOML"), ("signed = 3\n", "expected lines"), ("[signed]\na = 1\n", "expected lines")]


@pytest.mark.parametrize(("text", "words"), DAMAGED)
def test_damaged_approvals_are_refused(checkout: Path, text: str, words: str) -> None:
    Path("derivgen-approvals.toml").write_text(text, encoding="utf-8")
    for command in (("review", "wave.py"), ("approve", "wave_kernels.py", "--by", "Ada")):
        found = derivgen(*command)
        assert found.exit_code == 2 and words in found.output
    assert Path("derivgen-approvals.toml").read_text(encoding="utf-8") == text


def test_what_cannot_be_signed_is_said(checkout: Path) -> None:
    assert "no module that derivgen generated" in derivgen("approve", "wave.py", "--by", "Ada").output
    assert "expected a name" in derivgen("approve", "wave_kernels.py", "--by", " ").output
    module = Path("wave_kernels.py")
    module.write_text(module.read_text(encoding="utf-8") + "\nx = 1\n", encoding="utf-8")
    found = derivgen("approve", "wave_kernels.py", "--by", "Ada")
    assert found.exit_code == 2 and "edited by hand" in found.output
