"""`verify_c.py`: no false alarm on examples and random specs, and the mistakes of mutants found."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import naming_models
import pytest
from c_mutants import is_found, once, sample
from c_texts import Texts, both
from example_files import EXAMPLES
from random_specs import Spec, for_each_spec, many
from sympy import Sum, tanh

from derivgen import Model
from derivgen.print.c import words
from derivgen.project.spec import load_target
from derivgen.verify import verify_c

SAMPLE = (("digits", "float32"), ("pharmacokinetics", "float64"))
MODELS = (naming_models.training, naming_models.outputs)


def texts(name: str, dtype: str) -> Texts:
    return both(load_target(str(EXAMPLES / name / f"{name}.py")).model, dtype)


def differences(found: Texts) -> list[str]:
    return [line for line in verify_c.findings(*found) if "DIFFERENT" in line]


@pytest.mark.parametrize(("name", "dtype"), SAMPLE)
def test_an_example_has_no_difference(name: str, dtype: str) -> None:
    found = texts(name, dtype)
    assert differences(found) == []
    lines = list(verify_c.findings(*found))
    assert sum(": same" in line for line in lines) > 20 and sum("at 251 points" in line for line in lines) > 1
    assert lines[-1].startswith("not checked: ")


@pytest.mark.parametrize("make", MODELS)
def test_models_of_all_kinds_have_none(make: naming_models.Called) -> None:
    """Random tensors, running ones, both passes, slots of rules, norms, second derivatives."""
    assert differences(both(make(lambda kind, default: default), "float32")) == []


def test_names_that_c_and_cpp_do_not_allow_are_no_difference() -> None:
    """Of a size, inputs, labels, a parameter, lets and a hyperparameter's neighbours: with `_` after them in C."""
    model = Model("named", dtype="float64")
    N, D = model.batch("template"), model.sizes(D=3)
    n, d = model.indices(n=N, d=D)
    x, y, w = (
        model.input("new", N, D),
        model.labels("operator", N, classes=4),
        model.parameter("this", D, init="normal"),
    )
    b, noise = model.parameter("int", 4), model.random("switch", N)
    f = model.let("double", (n,), tanh(Sum(x[n, d] * w[d], d)) + b[y[n]] * noise[n])
    model.minimize(Sum((f[n] - model.let("register", (n,), f[n] ** 3)[n]) ** 2, n) / N)
    model.predict(f)
    found = both(model, "float64")
    assert "double_" in found[1] and "template_" in found[2]
    assert verify_c.RESERVED == words.KEYWORDS
    assert differences(found) == []


def test_random_specs_have_none() -> None:
    def check(spec: Spec) -> None:
        assert differences(both(spec.model(), "float64")) == []

    for_each_spec(check, many(1), 1200)


def test_it_needs_python_alone() -> None:
    tree = ast.parse(Path(verify_c.__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, verify_c.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(verify_c.__file__).anchor)


def test_it_runs_by_itself(tmp_path: Path) -> None:
    python, c, header = texts("rosenbrock", "float64")
    module, file = tmp_path / "own_kernels.py", tmp_path / "own_kernels.c"
    for path, text in ((module, python), (file, c), (tmp_path / "own_kernels.h", header)):
        path.write_text(text, encoding="utf-8")
    right = run(module, file)
    assert (right.returncode, right.stderr) == (0, "") and "loss_forward: same" in right.stdout
    shown = run(module, file, "loss_backward").stdout
    assert shown.count("fill &x_bar[0] 10 0.0") == 2  # in the form of both texts
    file.write_text(c.replace("loss_total += ", "loss_total -= "), encoding="utf-8")
    wrong = run(module, file)
    assert wrong.returncode == 1
    assert "DIFFERENT: edited since it was generated" in wrong.stdout
    assert "loss_forward: DIFFERENT: " in wrong.stdout and "of C: loss_total -= " in wrong.stdout
    assert run(module, tmp_path / "nowhere.c").returncode == 2
    assert run().returncode == 2


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the oracle of what is the same")
@pytest.mark.parametrize("name", ["first_steps", "symmetry"])
def test_mistakes_are_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant that nothing is found in is compiled to the same machine code, or has another stride of a single row."""
    monkeypatch.setattr(verify_c, "check_elementary", once(verify_c.check_elementary))
    python, c, header = texts(name, load_target(str(EXAMPLES / name / f"{name}.py")).model.dtype or "float32")
    (tmp_path / "own.h").write_text(header, encoding="utf-8")
    missed = [m for m in sample(c, 14) if not is_found(python, m.text, header)]
    assert len(missed) < 5
    for mutant in missed:  # of elementary functions, run at some points, the types of locals may not show
        is_run = mutant.function.startswith(("f32_", "f64_"))
        assert is_run or mutant.kind == "stride" or compiled(mutant.text, tmp_path) == compiled(c, tmp_path)


def compiled(text: str, folder: Path) -> bytes:
    (folder / "own.c").write_text(text, encoding="utf-8")
    subprocess.run(["gcc", "-std=c99", "-O2", "-c", "own.c", "-o", "own.o"], cwd=folder, check=True)
    return (folder / "own.o").read_bytes()
