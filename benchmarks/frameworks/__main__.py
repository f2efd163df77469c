"""A training step of derivgen and of its peers, in one run: `python benchmarks/frameworks [--threads N] [NAME ...]`.

Float32, plain gradient descent; a step is an epoch over a few batches, divided by their number. Trainers take turns;
times are medians. All start from the same parameters, and after an epoch all must agree. The machine's limit is
measured beside each workload (`limit.py`). What is printed is Markdown, for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from statistics import median

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("workloads", nargs="*", help="names; all where unsaid")
options = parser.parse_args()

# Before any of the libraries is imported, and for all their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

import platform  # noqa: E402
import tempfile  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from handwritten_tiny import EPOCHS  # noqa: E402
from limit import Limit, limit_of_step  # noqa: E402
from peers import TRAINERS, Trainer, by_hand  # noqa: E402
from workloads import WORKLOADS, Workload  # noqa: E402

SAMPLE, ROUNDS = 0.02, 15  # seconds that a sample takes at least, and the number of samples
OURS, HAND = "derivgen", "by hand"
PEERS = [name for name in TRAINERS if name != OURS]
COLUMNS = (
    "network, batch",
    *TRAINERS,
    HAND,
    "limit (GFLOP/s, GB/s)",
    "best peer / derivgen",
    "PyTorch eager / derivgen",
    "derivgen / by hand",
    "derivgen / limit",
)
LIBRARIES = {
    "numba": "numba",
    "numpy": "numpy",
    "scipy": "SciPy",
    "torch": "PyTorch",
    "jax": "JAX",
    "pytensor": "PyTensor",
}


def trainers(w: Workload, folder: Path) -> dict[str, Trainer]:
    """All of them, warm, and in agreement after an epoch."""
    order = np.random.default_rng(2).permutation(w.rows)
    chosen = {**TRAINERS, HAND: by_hand} if w.name in EPOCHS else TRAINERS
    made = {name: trainer(w, order, folder) for name, trainer in chosen.items()}
    losses = {name: trainer.epoch() for name, trainer in made.items()}
    ours = made[OURS].parameters()
    for name, trainer in made.items():
        for mine, theirs in zip(ours, trainer.parameters(), strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-5, err_msg=f"{w.name}: {name}")
    if HAND in made:
        np.testing.assert_allclose(losses[HAND], losses[OURS], rtol=1e-5, err_msg=f"{w.name}: loss by hand")
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


def ratios(times: dict[str, float], limit: Limit) -> tuple[float | None, ...]:
    """Those of the last columns; None where there is no epoch by hand."""
    ours = times[OURS]
    best = min(times[name] for name in PEERS)
    hand = ours / times[HAND] if HAND in times else None
    return best / ours, times["PyTorch eager"] / ours, hand, ours / limit.seconds


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def microseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1e6:,.0f}" if value >= 100e-6 else f"{value * 1e6:.2f}" if value < 10e-6 else f"{value * 1e6:.1f}"


def two_places(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in values]


def machine() -> str:
    """The processor, what of it was used, and the libraries."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {version(package)}" for package, name in LIBRARIES.items())
    held = os.environ.get("OPENBLAS_CORETYPE")  # to the instructions of another processor
    used = f"cores used: {cores}, threads: {options.threads}{f', OPENBLAS_CORETYPE={held}' if held else ''}"
    return f"{model}; {used}; Python {platform.python_version()}, {versions}."


def main() -> None:
    torch.set_num_threads(options.threads)
    print(line(COLUMNS), line("---" for _ in COLUMNS), sep="\n", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for w in WORKLOADS:
            if options.workloads and w.name not in options.workloads:
                continue
            times = step_times(w, Path(folder))
            limit = limit_of_step(w, options.threads)
            rows.append(ratios(times, limit))
            rates = f"{microseconds(limit.seconds)} ({limit.blas / 1e9:.0f}, {limit.bandwidth / 1e9:.0f})"
            timed = [microseconds(times.get(name)) for name in (*TRAINERS, HAND)]
            print(line([w.title, *timed, rates, *two_places(rows[-1])]), flush=True)
    means = [geometric_mean([value for value in column if value is not None]) for column in zip(*rows, strict=True)]
    print(line(["geometric mean", *[""] * (len(TRAINERS) + 2), *two_places(means)]))
    print(f"\nTimes of a step in µs. {machine()}")


def geometric_mean(values: list[float]) -> float | None:
    return float(np.exp(np.mean(np.log(values)))) if values else None


main()
