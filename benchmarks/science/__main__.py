"""Objectives of science, robotics and finance, and their gradients: `python benchmarks/science [NAME ...]`.

Float64 and one thread. Each model is a spec as its user would write it (`specs/`), and a function of JAX as its user
would (`workloads.py`; of several the fastest counts), some of them by hand for numba too (`by_hand.py`). Gradients must
agree. Times are medians of alternating runs on one core; the first call is processor time, with an empty cache. What is
printed is Markdown, for docs/benchmarks.md.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workloads", nargs="*", help="names; all where unsaid")
options = parser.parse_args()

# Before any of the libraries is imported, and for all their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import math
import shutil
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from by_hand import BY_HAND
from workloads import WORKLOADS, Workload

from derivgen import generate, runtime
from derivgen.project.spec import load_target

SAMPLE, ROUNDS, CLOSE = 0.02, 15, 1e-8  # seconds of a sample, samples, and how far gradients may be apart
COLUMNS = (
    "model",
    "JAX / ours",
    "ours / by hand",
    "gradient µs",
    "objective µs",
    "gradient / objective",
    "generate s",
    "first call s",
)
COLUMNS += ("lines of spec", "lines of kernels")


def seconds(run: Callable[[], object]) -> float:
    """Of one call, in a sample long enough to measure."""
    calls, start = 0, perf_counter()
    while perf_counter() - start < SAMPLE:
        run()
        calls += 1
    return (perf_counter() - start) / calls


def measured(workload: Workload, folder: Path) -> tuple[float, ...]:
    """JAX's time over ours, ours over that by hand (NaN without one), and what the other columns say."""
    parameters, inputs = workload.data(np.random.default_rng(0))
    spec = Path(shutil.copy(workload.spec, folder))
    start = process_time()
    path = generate(load_target(str(spec)).model, folder / f"{workload.name}_kernels.py")
    generated = process_time() - start
    module = runtime.load(path)
    start = process_time()
    _, gradient = module.loss_and_gradient(parameters, *inputs)
    first = process_time() - start
    given = [jax.numpy.asarray(a) for a in (parameters, *inputs)]
    peers = [jax.jit(jax.value_and_grad(f)) for f in workload.peers]
    hand = [BY_HAND[workload.name]] if workload.name in BY_HAND else []
    for peer, arguments in (*((f, given) for f in peers), *((f, (parameters, *inputs)) for f in hand)):
        apart = np.abs(np.asarray(peer(*arguments)[1]) - gradient).max() / np.abs(gradient).max()
        assert apart < CLOSE, f"{workload.name}: gradients are {apart} apart"
    runs = [lambda f=f: f(parameters, *inputs) for f in hand]
    runs += [lambda f=f: jax.block_until_ready(f(*given)) for f in peers]
    runs += [lambda: module.loss_and_gradient(parameters, *inputs), lambda: module.loss(parameters, *inputs)]
    for run in runs:
        run()
    samples = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    *others, ours, objective = (median(column) for column in zip(*samples, strict=True))
    by_hand, theirs = others[: len(hand)] or [math.nan], others[len(hand) :]
    lines = kernel_lines(path.read_text())
    code = [line for line in spec.read_text().split('"""')[2].splitlines() if line.strip()]
    return (
        min(theirs) / ours,
        ours / by_hand[0],
        1e6 * ours,
        1e6 * objective,
        ours / objective,
        generated,
        first,
        len(code),
        lines,
    )


def kernel_lines(text: str) -> int:
    """The lines of the layers' kernels."""
    sections = text.split("\n# ---- ")
    fixed = ("elementary functions", "products of matrices")
    layers = sections[1 : next(k for k, s in enumerate(sections) if s.startswith("the whole model"))]
    return sum(len(s.splitlines()) for s in layers if not s.startswith(fixed))


def main() -> None:
    chosen = [w for w in WORKLOADS if not options.workloads or w.name in options.workloads]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    ratios, hands, costs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for workload in chosen:
            ratio, hand, ours, objective, cost, generated, first, spec, kernels = measured(workload, Path(folder))
            ratios.append(ratio)
            hands += [] if math.isnan(hand) else [hand]
            costs.append(cost)
            by_hand = "" if math.isnan(hand) else f"{hand:.2f}"
            row = f"{ratio:.2f} | {by_hand} | {ours:.0f} | {objective:.0f} | {cost:.1f} | {generated:.1f} | {first:.1f}"
            print(f"| {workload.name} | {row} | {spec} | {kernels} |", flush=True)
    means = {"JAX / ours": ratios, "ours / by hand": hands, "gradient / objective": costs}
    texts = (f"{name} {prod(values) ** (1 / len(values)):.2f}" for name, values in means.items() if values)
    print(f"\ngeometric means: {', '.join(texts)}")


if __name__ == "__main__":
    main()
