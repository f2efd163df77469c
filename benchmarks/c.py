"""Modules in C against those for numba: `python benchmarks/c.py [NAME ...]`.

One thread. Science is in float64, networks (benchmarks/networks, and the examples that are networks) in float32. Both
modules have the same functions; a time is that of `loss_and_gradient` from Python, the median of alternating samples.
Products of matrices are C's own loops; with --blas they are those of SciPy's BLAS from 64·64·64 terms on. A cold build
is processor time of the compiler alone. What is printed is Markdown, for docs/benchmarks.md.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workloads", nargs="*", help="names; all if omitted")
parser.add_argument("--blas", action="store_true", help="build with --blas")
options = parser.parse_args()

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
sys.path += [str(Path(__file__).parent / folder) for folder in ("science", "networks")]

import tempfile
from collections.abc import Callable, Iterator
from math import prod
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from networks import NETWORKS
from workloads import WORKLOADS

from derivgen import Model, generate, runtime
from derivgen.file import headers
from derivgen.pipeline import generate_native
from derivgen.project.building import NativeModule, Options, build
from derivgen.project.spec import load_target

SAMPLE, ROUNDS, ROWS = 0.02, 15, 64  # seconds of a sample, samples, rows of the examples
CLOSE = {"float32": 1e-3, "float64": 1e-9}
EXAMPLES = ("digits", "digits_convolutional", "characters_lstm", "characters_transformer", "wavenet")
Data = Callable[[ModuleType], tuple[np.ndarray, list[Any]]]


def cases() -> Iterator[tuple[str, Model, str, Data]]:
    """Name, model, dtype, and what makes parameters and inputs of a module."""
    for w in WORKLOADS:
        yield w.name, load_target(str(w.spec)).model, "float64", lambda _, w=w: w.data(np.random.default_rng(0))
    for network in NETWORKS:
        rows = [a[: network.batch] for a in network.data()]
        yield network.name, network.declare(), "float32", lambda m, rows=rows: (m.initial_parameters(), rows)
    for name in EXAMPLES:
        path = Path(__file__).parents[1] / "examples" / name / f"{name}.py"
        yield name, load_target(str(path)).model, "float32", lambda m: (m.initial_parameters(), random_inputs(m))


def random_inputs(module: ModuleType) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [tuple(ROWS if isinstance(e, str) else e for e in entry.shape) for entry in module.INPUTS]
    return [
        rng.uniform(0.5, 1.5, shape).astype(entry.dtype)
        if entry.classes is None
        else rng.integers(0, entry.classes, shape)
        for entry, shape in zip(module.INPUTS, shapes, strict=True)
    ]


def in_c(model: Model, dtype: str, folder: Path) -> tuple[ModuleType, float]:
    """The native module, and the compiler's processor time."""
    path = folder / f"{model.name}_native.py"
    body, sources = generate_native(model, dtype, path.stem)
    module = NativeModule(headers.assemble(body, "benchmark.py", "derivgen build benchmark.py"), sources, ())
    before = getrusage(RUSAGE_CHILDREN).ru_utime
    build(module, path, options=Options(blas=options.blas))
    return runtime.load(path), getrusage(RUSAGE_CHILDREN).ru_utime - before


def seconds(run: Callable[[], Any]) -> float:
    calls, start = 0, perf_counter()
    while perf_counter() - start < SAMPLE:
        run()
        calls += 1
    return (perf_counter() - start) / calls


def row(name: str, model: Model, dtype: str, data: Data, folder: Path) -> tuple[str, float]:
    """A line of the table, and its ratio."""
    native, built = in_c(model, dtype, folder)
    module = runtime.load(generate(model, folder / f"{model.name}_kernels.py", dtype=dtype))
    parameters, inputs = data(module)
    runs = [lambda m=m: m.loss_and_gradient(parameters, *inputs) for m in (module, native)]
    (value, gradient), (its_value, its_gradient) = (run() for run in runs)
    assert abs(its_value / value - 1) < CLOSE[dtype], name
    assert np.abs(its_gradient - gradient).max() < CLOSE[dtype] * np.abs(gradient).max(), name
    samples = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    numba, c = (median(column) for column in zip(*samples, strict=True))
    return f"| {name} | {numba * 1e6:,.1f} | {c * 1e6:,.1f} | {numba / c:.2f} | {built:.1f} |", numba / c


def main() -> None:
    print("| model | numba µs | C µs | numba / C | cold build s |\n|---|---|---|---|---|", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for name, *case in cases():
            if not options.workloads or name in options.workloads:
                line, ratio = row(name, *case, Path(folder))
                ratios.append(ratio)
                print(line, flush=True)
    print(f"\ngeometric mean {prod(ratios) ** (1 / len(ratios)):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
