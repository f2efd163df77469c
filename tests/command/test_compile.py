"""`derivgen compile`: all that a module compiles is in the cache before its first call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from parallel_module import Outcome, at_once, check_files, write_module


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
    assert all(line.startswith("derivgen_net_float32: compiling ") for line in done.stderr.splitlines())
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
