"""`derivgen build`: what it writes, what it refuses, and what a module says of a library that is not its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import fail, succeed
from native_modules import needs_compiler

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.project import building
from derivgen.project.building import library_of
from derivgen.project.spec import load_target

SPEC = """\
from sympy import Sum, tanh

from derivgen import Model

model = Model("line", dtype="float64")
N, D = model.batch("N"), 3
n, d = model.indices(n=N, d=D)
x, y, w = model.input("x", N, D), model.input("y", N), model.parameter("w", D, init="normal")
f = model.let("f", (n,), tanh(Sum(x[n, d] * w[d], d)))
model.minimize(Sum((f[n] - y[n]) ** 2, n) / N)
model.predict(f)
"""
DATA = {"x": np.linspace(-1, 1, 12).reshape(4, 3), "y": np.ones(4)}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "line.py"
    path.write_text(SPEC)
    return path


def value(path: Path) -> float:
    module = runtime.load(path)
    return module.loss(module.initial_parameters(1), **DATA)


@needs_compiler
def test_a_module_and_its_library_are_written(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, library = spec.with_name("line_native.py"), library_of(spec.with_name("line_native.py"))
    assert succeed("build", spec) == f"{module}: written\n{library}: written\n"
    assert sorted(path.name for path in spec.parent.iterdir()) == sorted([spec.name, module.name, library.name])
    assert "    derivgen build line.py\n" in module.read_text()
    assert succeed("build", spec) == f"{module}: unchanged\n{library}: written\n"
    assert succeed("check", spec) == "1 up to date, 0 stale\n"
    monkeypatch.syspath_prepend(str(spec.parent))
    imported = __import__("line_native")  # by its name, too
    assert imported.loss(imported.initial_parameters(1), **DATA) == value(module)


@needs_compiler
@pytest.mark.skipif(not shutil.which("nm"), reason="nm, which lists the symbols of a library, is not installed")
def test_the_library_has_no_other_symbols(spec: Path) -> None:
    succeed("build", spec)
    words = ["nm", "-D", "--defined-only", str(library_of(spec.with_name("line_native.py")))]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listed.splitlines()}
    own = "activations descend initial loss loss_and_gradient mean_gradient predict train_epoch update workspace_size"
    besides = {"derivgen_built_from", "derivgen_lacks", "derivgen_labels_in_range"}
    assert names - {"line_workspace_integers"} == {f"line_{name}" for name in own.split()} | besides


@needs_compiler
def test_options_stand_in_the_header(spec: Path) -> None:
    other = spec.with_name("other.py")
    printed = succeed("build", spec, "-o", other, "--dtype", "float32", "--strict", "--parallel", "--keep-sources")
    assert "    derivgen build line.py --dtype float32 --parallel --strict -o other.py\n" in other.read_text()
    names = ["other.h", "other.c", "other_built.c", "other.py", library_of(other).name]
    assert printed == "".join(f"{spec.with_name(name)}: written\n" for name in names)
    assert "derivgen build line.py" in other.with_suffix(".c").read_text()
    assert runtime.load(other).real is np.float32
    (spec.parent / "pyproject.toml").write_text('[tool.derivgen.modules]\n"line.py" = "other.py"\n')
    words = [sys.executable, "-m", "derivgen", "check"]
    done = subprocess.run(words, cwd=spec.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 up to date, 0 stale\n")


@needs_compiler
def test_a_kept_source_compiles_without_warnings(spec: Path) -> None:
    succeed("build", spec, "--keep-sources")
    words = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wmissing-prototypes"]
    files = ["line_native_built.c"]
    subprocess.run([*words, "-Werror", "-c", *files], cwd=spec.parent, check=True)


@needs_compiler
def test_check_tells_what_is_stale(spec: Path) -> None:
    module = spec.with_name("line_native.py")
    succeed("build", spec)
    library = library_of(module)
    data = library.read_bytes()
    library.unlink()
    printed = fail("check", spec, code=1)
    assert f"{library.name} is missing" in printed
    assert "to fix it, run\n    derivgen build" in printed
    library.write_bytes(data.replace(building.built_from(module.read_text()).encode(), b"0123456789abcdef"))
    assert f"{library.name} is made of other sources" in fail("check", spec, code=1)
    spec.write_text(SPEC.replace("tanh(", "2 * tanh("))
    assert "the spec has changed since it was generated" in fail("check", spec, code=1)
    spec.with_name("line_kernels.py").write_text("")
    assert "0 up to date, 2 stale" in fail("check", spec, code=1)


@needs_compiler
def test_a_library_that_is_not_the_modules_is_refused(spec: Path) -> None:
    module = spec.with_name("line_native.py")
    succeed("build", spec)
    library, text = library_of(module), module.read_text()
    spec.write_text(SPEC.replace("tanh(", "2 * tanh("))
    succeed("build", spec)
    found = building.built_from(module.read_text())
    module.write_text(text)
    expected = rf"expected those of digest {building.built_from(text)}, found {found}"
    with pytest.raises(DerivgenError, match=f"{library.name} is made of other sources than line_native.py, {expected}"):
        runtime.load(module)
    other = module.with_name("other.py")
    other.write_text(text)
    library_of(other).write_bytes(b"no library")
    with pytest.raises(DerivgenError, match=r"can't be loaded, .*: compile it here by\n    derivgen build line.py"):
        runtime.load(other)
    library.unlink()
    with pytest.raises(DerivgenError, match=f"{library.name} is missing, which line_native.py calls: compile it here"):
        runtime.load(module)
    words = [sys.executable, "-c", "import line_native"]
    done = subprocess.run(words, cwd=spec.parent, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-2:] == [
        f"ImportError: {library} is missing, which line_native.py calls: compile it here by",
        "    derivgen build line.py",
    ]


@needs_compiler
def test_a_library_of_another_processor_is_refused(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("build", spec)
    lacks = ctypes.CDLL(str(library_of(spec.with_name("line_native.py")))).derivgen_lacks
    lacks.restype = ctypes.c_char_p
    assert lacks() == b""
    monkeypatch.setattr(building, "STRICT", (*building.STRICT, "-D__AVX__", "-D__builtin_cpu_supports(name)=0"))
    monkeypatch.setattr(building, "FAST", (*building.FAST, "-D__AVX__", "-D__builtin_cpu_supports(name)=0"))
    other = spec.with_name("other.py")
    succeed("build", spec, "-o", other)
    if os.uname().machine == "x86_64":
        with pytest.raises(DerivgenError, match=r"compiled for another processor, .* lacks \(sse3|avx\): compile it"):
            runtime.load(other)


@needs_compiler
def test_what_is_built_anew_is_loaded_anew(spec: Path) -> None:
    """In one process, though the system knows libraries by their paths."""
    module = spec.with_name("line_native.py")
    succeed("build", spec)
    before = runtime.load(module)
    parameters = before.initial_parameters(1)
    first = before.predict(parameters, DATA["x"])
    spec.write_text(SPEC.replace("tanh(", "2 * tanh("))
    succeed("build", spec)
    after = runtime.load(module)
    np.testing.assert_allclose(after.predict(parameters, DATA["x"]), 2 * first, rtol=1e-15)
    assert before.predict(parameters, DATA["x"]).tobytes() == first.tobytes()


WIDE = """\
from derivgen import Model, activations, layers, losses

model = Model("wide")
N = model.batch("N")
x, t = model.input("x", N, 70), model.input("t", N, 70)
hidden = layers.dense(x, 70, activations.tanh, name="hidden")
model.minimize(losses.mean_squared_error(layers.dense(hidden, 70, name="out"), t))
"""


@needs_compiler
def test_flags_give_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strict ones the same bits, whatever else the compiler may do; fast ones, and BLAS, others in the last places."""
    spec = tmp_path / "wide.py"
    spec.write_text(WIDE)
    found = {}
    for name, *options in (["strict", "--strict"], ["less", "--strict"], ["fast"], ["blas", "--blas"]):
        if name == "less":
            monkeypatch.setattr(building, "STRICT", ("-O1", "-march=native", "-ffp-contract=off"))
        path = tmp_path / f"{name}_native.py"
        succeed("build", spec, "-o", path, *options)
        module = runtime.load(path)
        inputs = (np.random.default_rng(k).normal(size=(70, 70)).astype(np.float32) for k in range(2))
        found[name] = module.loss_and_gradient(module.initial_parameters(1), *inputs)[1]
        assert hasattr(module.library, "derivgen_use_gemm") == (name == "blas")
    assert found["strict"].tobytes() == found["less"].tobytes()
    for other in ("fast", "blas"):
        assert 0 < np.abs(found[other] - found["strict"]).max() <= 1e-5 * np.abs(found["strict"]).max(), other


def test_files_of_others_are_left_alone(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = spec.with_name("line_native.py")
    library = library_of(module)
    monkeypatch.setattr(building, "compiled", lambda *_: b"derivgen_built_from")
    library.write_bytes(b"somebody's")
    assert f"{library} exists and was not built by derivgen" in fail("build", spec)
    library.unlink()
    module.write_text("x = 1\n")
    printed = fail("build", spec)
    assert "was not generated by derivgen" in printed
    assert "write over it by derivgen build --force" in printed
    assert not library.exists()
    succeed("build", spec, "--force")
    assert library.exists()
    module.write_text(module.read_text() + "x = 1\n")
    assert "was edited by hand" in fail("build", spec)
    assert "end it in .py" in fail("build", spec, "-o", spec.with_name("line.so"))
    assert "No such folder" in fail("build", spec, "-o", spec.parent / "missing" / "line_native.py")


def test_without_a_compiler(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(spec.parent))
    monkeypatch.delenv("CC", raising=False)
    expected = "no C compiler is found (looked for cc, gcc, clang): install one (Debian, Ubuntu: apt install gcc;"
    assert expected in fail("build", spec)
    assert "the C compiler icc, which --cc names, is not found: install one" in fail("build", spec, "--cc", "icc -O3")
    monkeypatch.setenv("CC", "icx")
    assert "the C compiler icx, which CC names, is not found" in fail("build", spec)
    monkeypatch.setenv("CC", "'icx")
    assert 'CC is "\'icx", which is no command: No closing quotation' in fail("build", spec)
    assert [*spec.parent.iterdir()] == [spec]


@needs_compiler
def test_errors_of_the_compiler_are_shown(spec: Path, tmp_path: Path) -> None:
    printed = fail("build", spec, "--cc", "cc --nonesuch")
    assert "the C compiler failed with exit code 1" in printed
    assert "cc --nonesuch -std=c99" in printed
    assert "--nonesuch" in printed.splitlines()[-1]
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    assert "broken can't be run: Exec format error" in fail("build", spec, "--cc", str(broken))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", spec.name]


@needs_compiler
@pytest.mark.skipif(os.name == "nt", reason="the compiler of this test is a program of the shell")
def test_a_compiler_that_does_not_know_all_flags(spec: Path, tmp_path: Path) -> None:
    """Clang knows fewer than GCC, and calls the others errors."""
    compiler = tmp_path / "strange-cc"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *-fno-tree-pre*|*-march*) echo "unknown argument" >&2; exit 1;; esac\nexec cc "$@"\n'
    )
    compiler.chmod(0o755)
    succeed("build", spec, "--cc", compiler)
    assert value(spec.with_name("line_native.py")) > 0
    known = building.known_flags([str(compiler)], building.FAST)
    assert {*building.FAST} - {*known} == {"-fno-tree-pre", "-march=native"}


def test_the_digest_of_a_text() -> None:
    assert building.built_from('real = 1\nBUILT_FROM = "0123"  # of C\n') == "0123"
    assert building.built_from("x = 1\n") == ""


def test_every_model_of_a_spec_is_built(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "compiled", lambda *_: b"derivgen_built_from")
    spec.write_text(SPEC + '\nother = Model("other")\nv = other.parameter("v", 2)\nother.minimize(v[0] ** 2 + v[1])\n')
    succeed("build", spec)
    made = {path.name for path in spec.parent.glob("*_native.py")}
    assert made == {"line_line_native.py", "line_other_native.py"}
    assert load_target(f"{spec}:other").model.name == "other"
