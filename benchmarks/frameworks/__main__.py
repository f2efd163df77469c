"""A training step of derivgen and of its peers, in one run: `python benchmarks/frameworks [--threads N] [NAME ...]`.

Float32, plain gradient descent; a step is an epoch over a few batches, divided by their number. Trainers take turns;
times are medians. All start from the same parameters, and after an epoch all must agree.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("workloads", nargs="*", help="names; all where unsaid")
options = parser.parse_args()

# Before any of the libraries is imported, and for all their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers import TRAINERS, Trainer  # noqa: E402
from workloads import WORKLOADS, Workload  # noqa: E402

SAMPLE, ROUNDS = 0.02, 15  # seconds that a sample takes at least, and the number of samples


def trainers(w: Workload, folder: Path) -> dict[str, Trainer]:
    """All of them, warm, and in agreement after an epoch."""
    order = np.random.default_rng(2).permutation(w.rows)
    made = {name: trainer(w, order, folder) for name, trainer in TRAINERS.items()}
    for trainer in made.values():
        trainer.epoch()
    ours = made["derivgen"].parameters()
    for name, trainer in made.items():
        for mine, theirs in zip(ours, trainer.parameters(), strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-5, err_msg=f"{w.name}: {name}")
    return made


def seconds(trainer: Trainer, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        trainer.epoch()
    return (time.perf_counter() - start) / repeats


def step_times(w: Workload, folder: Path) -> dict[str, float]:
    """The median time of a step, in seconds."""
    made = trainers(w, folder)
    repeats = {name: max(1, round(SAMPLE / seconds(trainer, 3))) for name, trainer in made.items()}
    samples: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, trainer in made.items():
            samples[name].append(seconds(trainer, repeats[name]) / w.batches)
    return {name: median(values) for name, values in samples.items()}


def main() -> None:
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for w in WORKLOADS:
            if options.workloads and w.name not in options.workloads:
                continue
            times = step_times(w, Path(folder))
            best = min(value for name, value in times.items() if name != "derivgen")
            rows.append(best / times["derivgen"])
            cells = "  ".join(f"{name} {value * 1e6:.1f}" for name, value in times.items())
            eager = times["PyTorch eager"] / times["derivgen"]
            print(f"{w.name:16}  best peer {rows[-1]:.2f}  eager {eager:.1f}   µs: {cells}", flush=True)
    print(f"geometric mean of best peer / derivgen: {np.exp(np.mean(np.log(rows))):.2f}")


main()
