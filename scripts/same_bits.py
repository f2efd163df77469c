"""Whether an epoch's bits are the same serially, in threads and in ranks: `python scripts/same_bits.py [EXAMPLE ...]`.

Prints a line for each example and dtype, with a digest for each way to compute it: the serial module, the one that
`--parallel` makes in 1 to 4 threads, 1 to 4 ranks, and 2 ranks of 2 threads. Rows are drawn, no multiple of anything,
and blocks are made small, so that there are several of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ |= {"NUMBA_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1"}

import numba
import numpy as np

import derivgen
from derivgen import runtime
from derivgen.project.spec import load_target

ROOT = Path(__file__).parents[1]
ROWS, BATCH, BLOCK, LEAVES = 61, 37, 4, 8


def data_of(module: ModuleType) -> dict[str, np.ndarray]:
    """Inputs of the module's shapes."""
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for entry in module.INPUTS:
        shape = tuple(
            ROWS if axis == module.SAMPLE_AXIS else 5 if isinstance(axis, str) else axis for axis in entry.shape
        )
        if entry.classes is None:
            found[entry.name] = rng.uniform(0.5, 1.5, shape).astype(entry.dtype)
        else:
            found[entry.name] = rng.integers(0, entry.classes, shape)
    return found


def digest(module: ModuleType, comm: Any = None) -> str:
    """That of all that an epoch and its losses leave."""
    if module.BLOCK is not None:
        module.BLOCK, module.LEAVES = BLOCK, LEAVES  # type: ignore[attr-defined]
    fit = runtime.fit(module, data_of(module), epochs=2, batch_size=BATCH, seed=3, comm=comm)
    losses = repr([epoch.loss for epoch in fit.history]).encode()
    return hashlib.sha256(fit.parameters.tobytes() + losses).hexdigest()[:8]


def in_ranks(paths: list[str]) -> None:
    """What a rank does: the first one says what it has found."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found = {path: digest(runtime.load(path), comm) for path in paths}
    if all(other == found for other in comm.allgather(found)) and comm.Get_rank() == 0:
        print(json.dumps(found))


def ranks(count: int, paths: list[str], threads: int = 1) -> dict[str, str]:
    command = [str(Path(sys.prefix, "bin", "mpiexec")), "-n", str(count), sys.executable, __file__, "--rank", *paths]
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main(names: list[str]) -> None:
    found: dict[tuple[str, str], dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[tuple[str, str], tuple[str, str]] = {}
        for name in names or sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir()):
            model = load_target(str(ROOT / "examples" / name / f"{name}.py")).model
            for dtype in ("float32", "float64"):
                own = tuple(str(Path(folder, f"{name}_{dtype}_{way}.py")) for way in ("serial", "parallel"))
                for path, parallel in zip(own, (False, True), strict=True):
                    derivgen.generate(model, path, dtype, parallel=parallel)
                paths[name, dtype] = own[0], own[1]
                found[name, dtype] = {"serial": digest(runtime.load(own[0]))}
                for threads in range(1, 5):
                    numba.set_num_threads(threads)
                    found[name, dtype][f"{threads} threads"] = digest(runtime.load(own[1]))
        for count, threads in ((1, 1), (2, 1), (3, 1), (4, 1), (2, 2)):
            way = 1 if threads > 1 else 0
            digests = ranks(count, [own[way] for own in paths.values()], threads)
            for key, own in paths.items():
                words = f"{count} ranks" + (f" of {threads} threads" if threads > 1 else "")
                found[key][words] = digests[own[way]]
    for (name, dtype), ways in found.items():
        same = "the same" if len({*ways.values()}) == 1 else "DIFFERENT: " + json.dumps(ways)
        print(f"{name:24} {dtype}  {ways['serial']}  {same} in {len(ways)} ways")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        in_ranks(sys.argv[2:])
    else:
        main(sys.argv[1:])
