"""A small generated module, and processes that import it at once and say what they computed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from generated import module_text

from derivgen.project.spec import load_target

SPEC = """
from sympy import Sum, tanh

from derivgen import Model

model = Model("net")
N = model.batch("N")
D, H = model.sizes(D=64, H=10)
n, d, h = model.indices(n=N, d=D, h=H)
x, t = model.input("x", N, D), model.input("t", N)
W, b = model.parameter("W", D, H, init="glorot_uniform"), model.parameter("b", H)
a = model.let("a", (n, h), tanh(Sum(x[n, d] * W[d, h], d) + b[h]))
model.minimize(Sum((SCALE * Sum(a[n, h], h) - t[n]) ** 2, n) / N)
"""

# Waits for a line on its input between importing the libraries and importing the module.
PROCESS = """
import hashlib, sys
import numba, numpy as np, scipy.linalg
print("ready", flush=True)
input()
import net_kernels as module

module.COMPILING.tell = lambda text, seconds: None
generator = np.random.default_rng(0)
x, t = generator.random((100, 64), np.float32), generator.random(100, np.float32)
x.flags.writeable = {writeable}  # another signature
parameters, state = module.initial_parameters(0), module.optimizer_state()
mean = module.train_epoch(parameters, state, np.arange(100), 32, x, t)
loss, gradient = module.loss_and_gradient(parameters, x, t)
functions = {{name: getattr(value, "dispatcher", value) for name, value in vars(module).items()}}
compiled = [name for name, f in functions.items() if hasattr(f, "stats") and sum(f.stats.cache_misses.values())]
print(mean.hex(), loss.hex(), hashlib.sha256(parameters.tobytes() + gradient.tobytes()).hexdigest())
print(*(sorted(compiled)))
"""

# Put before a process: it is killed where it has written what `epoch` was compiled to, but not yet under its name.
KILLED_BETWEEN_FILES = """
import os, signal
from pathlib import Path

def replace(self, target, rename=Path.replace):
    if ".epoch." in self.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.replace = replace
"""

WITH_CALLERS = {"gather"}  # compiled with its callers, and not kept


class Outcome(NamedTuple):
    returncode: int
    numbers: str  # losses in hexadecimal, digest of parameters and gradient
    compiled: frozenset[str]  # the functions that were not in the cache
    errors: str


def write_module(folder: Path, scale: int = 1) -> None:
    """The module, which the cache may hold with another scale."""
    spec = folder / "net.py"
    spec.write_text(SPEC.replace("SCALE", str(scale)))
    (folder / "net_kernels.py").write_text(module_text(load_target(str(spec)).model, "float32"))


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    own = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache"), "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **own}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes)


def wait_until_ready(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def outcome(process: subprocess.Popen[str]) -> Outcome:
    output, errors = process.communicate(timeout=120)
    numbers, compiled = output.split("\n")[:2] if process.returncode == 0 else ("", "")
    return Outcome(process.returncode, numbers, frozenset(compiled.split()), errors)


def at_once(folder: Path, count: int, signatures: int = 1) -> list[Outcome]:
    """What that many processes give that import the module at the same time, every second with another signature."""
    codes = [PROCESS.format(writeable=k % signatures == 0) for k in range(count)]
    processes = [start(folder, code) for code in codes]
    wait_until_ready(processes)
    for process in processes:
        let_go(process)
    return [outcome(process) for process in processes]


def check_round(folder: Path, count: int, signatures: int) -> None:
    """One cold start of that many processes: no failure, one result, no kernel compiled twice, a cache that serves."""
    first = at_once(folder, count, signatures)
    for found in first:
        assert (found.returncode, found.errors, found.numbers) == (0, "", first[0].numbers), found
    together = [name for found in first for name in found.compiled - WITH_CALLERS]
    assert len(together) <= len({*together}) * signatures
    for found in at_once(folder, signatures, signatures):
        assert found == Outcome(0, first[0].numbers, frozenset(), ""), found
    check_files(folder)


def check_files(folder: Path) -> None:
    """The cache has whole files alone, and the lock is free to take."""
    names = [path.name for path in (folder / "cache" / "derivgen").iterdir()]
    assert [name for name in names if not re.fullmatch(r"derivgen_net_float32(\.\w+\.[0-9a-f]{32}|\.lock)", name)] == []
    assert len(names) > 1
