"""Objectives of science, robotics and finance, and their gradients: `python benchmarks/science [NAME ...]`.

Float64 and one thread. Each model is a spec as its user would write it (`specs/`), and a function of JAX as its user
would (`workloads.py`; of several the fastest counts). It is in C for Enzyme too (`enzyme.py`), by hand for numba
(`by_hand.py`), and some are in CasADi (`casadi_models.py`). A column is empty where the tools are not installed.
Objectives and gradients must agree. Times are medians of alternating runs on one core, of a clock, and once more of the
processor; the first call is processor time, with an empty cache. What is printed is Markdown, for docs/benchmarks.md.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
import tempfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workloads", nargs="*", help="names; all where unsaid")
options = parser.parse_args()

# Before any of the libraries is imported, and for all their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
COMPILED = tempfile.TemporaryDirectory()  # what an earlier run has compiled is none of this one's
os.environ["NUMBA_CACHE_DIR"] = COMPILED.name

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from by_hand import BY_HAND
from casadi_models import casadi_model
from enzyme import enzyme
from workloads import WORKLOADS, Workload

from derivgen import generate, runtime
from derivgen.project.spec import load_target

Run = Callable[[], Any]
SAMPLE, ROUNDS, CLOSE = (
    0.02,
    15,
    1e-8,
)  # seconds of a sample, samples, and how far objectives and gradients may be apart
COLUMNS = {  # and how each is printed
    "model": "",
    "JAX / ours": ".2f",
    "Enzyme / ours": ".2f",
    "CasADi / ours": ".2f",
    "ours / by hand": ".2f",
    "gradient µs": ".0f",
    "gradient CPU µs": ".0f",
    "objective µs": ".0f",
    "gradient / objective": ".1f",
    "generate s": ".1f",
    "first call s": ".1f",
    "lines of spec": "d",
    "lines of kernels": "d",
}
MEANS = ("JAX / ours", "Enzyme / ours", "CasADi / ours", "ours / by hand", "gradient / objective")


@dataclass(frozen=True)
class Module:
    """What was generated: seconds of processor time to do so and of its first gradient, and lines."""

    loss: Callable[..., Any]
    loss_and_gradient: Callable[..., Any]
    generated: float
    first: float
    spec_lines: int
    kernel_lines: int


def module_of(workload: Workload, parameters: np.ndarray, inputs: list[Any], folder: Path) -> Module:
    spec = Path(shutil.copy(workload.spec, folder))
    start = process_time()
    path = generate(load_target(str(spec)).model, folder / f"{workload.name}_kernels.py")
    generated = process_time() - start
    module = runtime.load(path)
    start = process_time()
    module.loss_and_gradient(parameters, *inputs)
    first = process_time() - start
    code = [line for line in spec.read_text().split('"""')[2].splitlines() if line.strip()]
    lines = kernel_lines(path.read_text())
    return Module(module.loss, module.loss_and_gradient, generated, first, len(code), lines)


def kernel_lines(text: str) -> int:
    """The lines of the layers' kernels."""
    sections = text.split("\n# ---- ")
    layers = sections[1 : next(k for k, s in enumerate(sections) if s.startswith("what the model has"))]
    return sum(len(s.splitlines()) for s in layers)


def peers(workload: Workload, parameters: np.ndarray, inputs: list[Any]) -> dict[str, list[Run]]:
    """Runs that give (objective, gradient), by peer; JAX and CasADi are given the data beforehand."""
    given = [jax.numpy.asarray(a) for a in (parameters, *inputs)]
    jitted = [jax.jit(jax.value_and_grad(f)) for f in workload.peers]
    scalar, in_c, by_hand = casadi_model(workload.name, inputs), enzyme(workload.name), BY_HAND.get(workload.name)
    return {
        "JAX": [lambda f=f: jax.block_until_ready(f(*given)) for f in jitted],
        "Enzyme": [lambda: in_c(parameters, *inputs)] if in_c else [],
        "CasADi": [lambda: scalar(parameters)] if scalar else [],
        "by hand": [lambda: by_hand(parameters, *inputs)] if by_hand else [],
    }


def check(name: str, ours: Run, others: dict[str, list[Run]]) -> None:
    """Objectives and gradients agree. This is every run's first call, too, so that none compiles later."""
    value, gradient = ours()
    for peer, runs in others.items():
        for run in runs:
            its_value, its_gradient = run()
            apart = np.abs(np.asarray(its_gradient) - gradient).max() / np.abs(gradient).max()
            apart = max(apart, abs(float(its_value) / value - 1))
            assert apart < CLOSE, f"{name}: {peer} is {apart} apart"


def seconds(run: Run) -> tuple[float, float]:
    """Of one call, by the clock and of the processor, in a sample long enough to measure."""
    calls, start, busy = 0, perf_counter(), process_time()
    while perf_counter() - start < SAMPLE:
        run()
        calls += 1
    return (perf_counter() - start) / calls, (process_time() - busy) / calls


def medians(runs: list[Run]) -> list[tuple[float, float]]:
    """Seconds by the clock and of the processor, a pair a run: runs alternate."""
    samples = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    pairs = [list(zip(*column, strict=True)) for column in zip(*samples, strict=True)]
    return [(median(clock), median(busy)) for clock, busy in pairs]


def measured(workload: Workload, folder: Path) -> dict[str, Any]:
    """A row: what each column says, NaN where there is no such peer."""
    parameters, inputs = workload.data(np.random.default_rng(0))
    module = module_of(workload, parameters, inputs, folder)
    others = peers(workload, parameters, inputs)
    runs = [lambda: module.loss_and_gradient(parameters, *inputs), lambda: module.loss(parameters, *inputs)]
    check(workload.name, runs[0], others)
    runs[1]()
    (ours, busy), (objective, _), *times = medians(runs + [run for group in others.values() for run in group])
    rest = iter(times)
    best = {peer: min((next(rest)[0] for _ in group), default=math.nan) for peer, group in others.items()}
    return {
        "model": workload.name,
        "JAX / ours": best["JAX"] / ours,
        "Enzyme / ours": best["Enzyme"] / ours,
        "CasADi / ours": best["CasADi"] / ours,
        "ours / by hand": ours / best["by hand"],
        "gradient µs": 1e6 * ours,
        "gradient CPU µs": 1e6 * busy,
        "objective µs": 1e6 * objective,
        "gradient / objective": ours / objective,
        "generate s": module.generated,
        "first call s": module.first,
        "lines of spec": module.spec_lines,
        "lines of kernels": module.kernel_lines,
    }


def printed(row: dict[str, Any]) -> str:
    cells = ("" if row[name] != row[name] else format(row[name], form) for name, form in COLUMNS.items())
    return f"| {' | '.join(cells)} |"


def geometric_mean(values: list[float]) -> str:
    there = [value for value in values if not math.isnan(value)]
    return f"{prod(there) ** (1 / len(there)):.2f}" if there else ""


def main() -> None:
    chosen = [w for w in WORKLOADS if not options.workloads or w.name in options.workloads]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for workload in chosen:
            rows.append(measured(workload, Path(folder)))
            print(printed(rows[-1]), flush=True)
    means = {name: geometric_mean([row[name] for row in rows]) for name in MEANS}
    print(f"\ngeometric means: {', '.join(f'{name} {mean}' for name, mean in means.items() if mean)}")


if __name__ == "__main__":
    main()
