"""`derivgen watch`: what it generates after which edit, and that nothing but Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from command import fail, succeed

from derivgen.errors import PACKAGE
from derivgen.file import headers
from derivgen.project.watching import Imports, noted, wait_for_change

MARK = "---"
SPEC = """
from sympy import cos, sin
from derivgen import Model

model = Model("bowl")
v = model.parameter("v", init="ones")
model.minimize(sin(v)**2)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bowl.py").write_text(SPEC)
    return tmp_path


def watched(monkeypatch, *edits, spec="bowl.py"):
    """The lines that are printed, in groups: at the start, and after each edit; Ctrl-C comes after the last one."""
    left = iter([*edits, None])

    def edit(imports, seconds=0):
        done = next(left)
        if done is None:
            raise KeyboardInterrupt
        click.echo(MARK)
        done()

    monkeypatch.setattr("derivgen.project.watching.wait_for_change", edit)
    return [group.split("\n") for group in succeed("watch", spec).split(f"{MARK}\n")]


def write(text, path="bowl.py"):
    return lambda: Path(path).write_text(text)


def test_each_save_generates(monkeypatch):
    start, same, changed = watched(monkeypatch, write(f"{SPEC}\n# a remark\n"), write(SPEC.replace("sin(v)", "cos(v)")))
    assert start[0].endswith(" bowl_kernels.py: written")
    assert start[1].endswith(" watching bowl.py; Ctrl-C ends")
    assert same[0].endswith(" bowl_kernels.py: unchanged")
    assert " bowl_kernels.py: written (to read: " in changed[0]
    assert changed[-2].endswith(" ended")
    assert "cos(v)" in Path("bowl_kernels.py").read_text()


def test_an_edit_that_changes_no_formula_says_so(monkeypatch):
    rule = "from derivgen import optimizers\nmodel.update(optimizers.gradient_descent(0.5))\n"
    _, changed = watched(monkeypatch, write(f"{SPEC}\n{rule}"))
    assert changed[0].endswith(" bowl_kernels.py: written (the formulas of all kernels are as before)")


def test_an_error_is_shown_and_the_next_save_generates(monkeypatch):
    edits = [write("1/0\n"), write("x = (\n"), Path("bowl.py").unlink, write(SPEC.replace("sin(v)", "v"))]
    groups = watched(monkeypatch, *edits)
    assert groups[1][0] == "error: bowl.py:1: the spec raised ZeroDivisionError: division by zero"
    assert groups[1][1].endswith(" bowl.py: not generated")
    assert groups[2][0].startswith("error: bowl.py:1: not valid Python")
    assert groups[3][0].startswith("error: bowl.py does not exist")
    assert " bowl_kernels.py: written" in groups[4][0]


def test_a_bug_is_shown_and_the_next_save_generates(monkeypatch):
    def broken(*_):
        raise AssertionError("an invariant")

    groups = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("derivgen.project.project.render", broken)
        monkeypatch.setattr("traceback.print_exc", lambda: click.echo("an invariant"))
        groups = watched(monkeypatch, patch.undo)
    assert groups[0][0] == "an invariant" and "this is a bug of derivgen" in groups[0][1]
    assert " bowl_kernels.py: written" in groups[1][0]


def test_what_a_spec_imports_is_read_anew(monkeypatch, folder):
    """Also twice within a second, when Python takes a compiled file of the same size for that of the new source."""
    spec = SPEC.replace("sin(v)**2", "sin(v)**SIZE").replace("import Model", "import Model\nfrom size import SIZE")
    Path("bowl.py").write_text(spec)
    texts = []
    edits = [write(f"SIZE = {k}\n", "size.py") for k in (2, 4, 6)]
    groups = watched(monkeypatch, *edits, lambda: texts.append(Path("bowl_kernels.py").read_text()))
    assert groups[0][0].startswith("error: bowl.py:4: ") and "'size'" in groups[0][0]
    assert all(" bowl_kernels.py: written" in group[0] for group in groups[1:4])
    assert groups[1][1].endswith(" watching bowl.py, size.py; Ctrl-C ends")
    assert "v)^6" in texts[0] or "⁶" in texts[0]
    assert not Path("__pycache__").exists()
    assert "size" not in sys.modules


def test_a_hand_edit_is_left(monkeypatch):
    succeed("generate", "bowl.py")
    text = Path("bowl_kernels.py").read_text() + "# mine\n"
    groups = watched(monkeypatch, write(text, "bowl_kernels.py"), write(SPEC.replace("sin(v)", "v")))
    assert "edited by hand" in groups[2][0]
    assert Path("bowl_kernels.py").read_text() == text


def test_the_options_of_the_module_stay(monkeypatch):
    succeed("generate", "bowl.py", "--dtype", "float64")
    watched(monkeypatch, write(SPEC.replace("sin(v)", "v")))
    assert headers.read_header(Path("bowl_kernels.py").read_text()).dtype == "float64"


def test_several_models_and_one_of_them(monkeypatch):
    Path("bowl.py").write_text(SPEC + SPEC.replace('"bowl"', '"other"').replace("model", "second"))
    assert [line[9:] for line in watched(monkeypatch)[0][:2]] == [
        "bowl_bowl_kernels.py: written",
        "bowl_other_kernels.py: written",
    ]
    assert watched(monkeypatch, spec="bowl.py:other")[0][0].endswith("bowl_other_kernels.py: unchanged")


def test_a_file_that_is_not_there_is_an_error():
    assert "none.py does not exist" in fail("watch", "none.py")
    assert "is no Python file" in fail("watch", "bowl.txt")


# ---- files


def noted_now(text="import beside\n"):
    Path("spec.py").write_text(text)
    imports = Imports(Path("spec.py"))
    with noted(imports):
        imports.find_spec("beside", None)
    return imports


@pytest.mark.parametrize("path", ["spec.py", "beside.py"])
def test_a_change_ends_the_waiting(path):
    imports = noted_now()
    waiting = threading.Thread(target=wait_for_change, args=(imports, 0.01), daemon=True)
    waiting.start()
    os.utime("spec.py")  # no other text
    time.sleep(0.1)
    assert waiting.is_alive()
    Path(path).write_text("A = 1\n")
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_change_from_before_the_waiting_counts():
    imports = noted_now()
    Path("spec.py").write_text("A = 1\n")
    wait_for_change(imports, 0.01)


def test_installed_files_are_not_watched():
    imports = Imports(Path("spec.py"))
    with noted(imports):
        for name in ("json", "numpy", "derivgen"):
            imports.find_spec(name, None)
    assert {file.name for file in imports.files} == {"spec.py"}


@pytest.mark.skipif(os.name != "posix", reason="there are no signals")
def test_ctrl_c_ends_a_process_with_0(folder):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "derivgen", "watch", "bowl.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert lines[1].endswith(" watching bowl.py; Ctrl-C ends\n")
    assert (process.returncode, err) == (0, "") and out.endswith(" ended\n")
