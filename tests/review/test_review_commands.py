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


def edit_by_hand(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert " += " in text
    module.write_text(text.replace(" += ", " -= ", 1), encoding="utf-8")


def test_a_module_on_disk_that_was_edited_by_hand_is_said(checkout: Path) -> None:
    edit_by_hand(Path("wave_kernels.py"))
    words = (
        "wave_kernels.py on disk was edited by hand: this review is about what the spec generates, not about that file"
    )
    for form in ("text", "markdown"):
        found = derivgen("review", "wave.py", "--format", form)
        assert found.exit_code == 1 and found.output.splitlines()[0] == words
        assert "Nothing of substance" not in found.output
    assert words in derivgen("review", "wave.py", "--format", "html").output


def test_a_committed_module_that_was_edited_by_hand_is_said(checkout: Path) -> None:
    edit_by_hand(Path("wave_kernels.py"))
    git("commit", "-qam", "by hand")
    assert derivgen("generate", "wave.py", "--force").exit_code == 0
    found = derivgen("review", "wave.py")
    assert found.exit_code == 1
    assert found.output.startswith("wave_kernels.py at HEAD was edited by hand: ") and "on disk" not in found.output


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


def test_a_gradient_that_becomes_0_is_said(checkout: Path) -> None:
    text = Path("wave.py").read_text(encoding="utf-8").replace("import Sum", "import Piecewise, Sum")
    step = text.replace("sin(w * x[n])", "Piecewise((1, w * x[n] > 0), (0, True))")
    assert step != text
    Path("wave.py").write_text(step, encoding="utf-8")
    assert "+ w_bar: gone, the gradient with respect to w is 0" in derivgen("review", "wave.py").output


def test_second_derivatives_are_said_not_to_be_compared(checkout: Path) -> None:
    words = "second derivatives: not compared as formulas; run derivgen gradcheck wave.py --order 2"
    write(Path("wave.py"), "cos")
    assert words not in derivgen("review", "wave.py").output
    spec = Path("wave.py")
    spec.write_text(spec.read_text(encoding="utf-8") + 'model.second_order("hessian")\n', encoding="utf-8")
    assert words in derivgen("review", "wave.py").output


def test_one_section_is_signed_by_its_name(checkout: Path) -> None:
    assert "has no section 'nothing': give one of frame, " in approve_section("nothing", code=2)
    words = "wave_kernels.py: 1 section signed by Ada in derivgen-approvals.toml: z_gradient\n"
    assert approve_section("z_gradient") == words
    assert "the sections of these names are signed already" in approve_section("z_gradient")
    (line,) = tomllib.loads(Path("derivgen-approvals.toml").read_text(encoding="utf-8"))["signed"].values()
    assert line == "Ada"


def approve_section(name: str, code: int = 0) -> str:
    found = derivgen("approve", "wave_kernels.py", "--by", "Ada", "--section", name)
    assert found.exit_code == code
    return found.output


def test_check_fails_where_a_section_is_not_signed(checkout: Path) -> None:
    assert derivgen("check", "wave.py").exit_code == 0
    found = derivgen("check", "wave.py", "--signed")
    assert found.exit_code == 1 and found.output.endswith("1 up to date, 0 stale, 1 not signed\n")
    told = derivgen("approve", "wave_kernels.py", "--by", "Ada").output
    names = told.partition("derivgen-approvals.toml: ")[2]
    assert found.output.startswith(f"wave_kernels.py: not signed by anybody: {names}") and "z_gradient" in names
    assert derivgen("check", "wave.py", "--signed").exit_code == 0
    Path("derivgen-approvals.toml").unlink()
    assert "::error file=wave_kernels.py" in derivgen("check", "wave.py", "--signed", "--format", "github").output


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
