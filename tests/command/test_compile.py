"""`derivgen compile`: all that a module compiles is in the cache before its first call."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest
from command import but_signs
from parallel_module import SPEC, Outcome, at_once, check_files, write_module

from derivgen import generate
from derivgen.project.spec import load_target
from derivgen.runtime.compiling import calls_of
from derivgen.runtime.loading import load


def compile_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "derivgen", "compile", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment, check=False
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_compiled_module_compiles_nothing(tmp_path: Path, jobs: str) -> None:
    write_module(tmp_path)
    done = compile_in(tmp_path, "net_kernels.py", "--jobs", jobs)
    assert done.returncode == 0
    assert but_signs(done.stderr) == ""
    assert "net_kernels.py: 5 kernels and their callers are compiled" in done.stdout
    (found,) = at_once(tmp_path, 1)
    assert found == Outcome(0, found.numbers, frozenset(), "")
    check_files(tmp_path)


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("x = 1\n")
    done = compile_in(tmp_path, "other.py")
    assert done.returncode == 2
    assert "is not a generated module" in done.stderr
    assert compile_in(tmp_path, "missing.py").returncode == 2


def test_every_function_of_parameters_is_compiled(tmp_path: Path) -> None:
    spec = SPEC.replace("SCALE", "1") + (
        'model.predict(a)\nmodel.second_order("vector_jacobian_product", "jacobian_vector_product", "hessian")\n'
    )
    (tmp_path / "net.py").write_text(spec)
    target = load_target(str(tmp_path / "net.py"))
    module = load(generate(target.model, tmp_path / "net_kernels.py"))
    own = [f for f in vars(module).values() if isinstance(f, FunctionType) and f.__module__ == module.__name__]
    arguments = {f.__name__: [*inspect.signature(f).parameters] for f in own}
    wanted = {name for name, names in arguments.items() if names[:1] == ["parameters"] and "arrays" not in names}
    assert {function.__name__ for function, _ in calls_of(module)} == wanted
    assert "vector_jacobian_product" in wanted
