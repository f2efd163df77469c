"""The machine's own limit of a training step: flops of its products at the BLAS rate plus bytes at the bandwidth.

Both rates are measured beside the step's own timing, on the same cores and threads:

- The BLAS rate is that of one large square float32 product by `np.dot` in numba, which is the BLAS that a generated
  module calls. It is the best of several, since a limit is what the machine can do; small and narrow products are
  below.
- The bandwidth is that of a triad, `a = b + s·c`, over as many bytes as a step keeps in use: the parameters, the
  gradients that are not added to them at once, and the workspace, in which the gathered batch is. So a small network is
  held to the bandwidth of the cache that it lives in, and a large one to that of memory. It is the median of several,
  with the loop options of a generated module; with several threads, the better of the loop on one and on all. A triad's
  bytes are counted as a step's are: each array once, and nothing for the lines that a store fetches first.

The work of a step is what `derivgen.schedule.cost` counts: of flops those of the products, be they by BLAS or in loops,
and all bytes moved between the loop nests, as if nothing stayed in a cache in between. Not counted: other arithmetic,
calls of elementary functions, the gather, the checks, and what starting a loop or a call takes. So small steps are far
from their limit. Large ones may be below it, where tensors stay in a cache from one nest to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numba
import numpy as np
import sympy as sp
from workloads import Array, Workload

from derivgen.pipeline import declared_program, module_codes, plan_module
from derivgen.plan.cost_report import cost_report, with_sizes

SIDE, PRODUCTS = 2048, 5  # of the square matrices, and how often they are multiplied
SAMPLE, SAMPLES = 0.005, 15  # seconds that a sample of the triad takes at least, and their number
ITEMSIZE = np.float32().itemsize
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}


@dataclass(frozen=True, slots=True)
class Work:
    """Of a step: flops of its products, bytes moved, and bytes that are in use."""

    flops: int
    moved: int
    used: int


@dataclass(frozen=True, slots=True)
class Limit:
    """The measured rates, in flops and bytes a second, and the time of a step at them, in seconds."""

    blas: float
    bandwidth: float
    seconds: float


# ---- the work


def work_of_step(w: Workload) -> Work:
    """What a step of a full batch needs, whatever computes it."""
    model = w.model()
    plan = plan_module(model, declared_program(model), "float32")
    report = with_sizes(cost_report(plan, module_codes(plan)), {"N": w.batch})
    stored = [bar for _, bar in plan.program.gradients if bar not in plan.training.in_place]
    gradient = sp.Add(*(sp.Mul(*plan.program.tensor(bar).shape) for bar in stored))
    used = (plan.parameter_count + gradient) * ITEMSIZE + report.workspace
    return Work(int(report.step.products), int(report.step.moved), int(used))


# ---- the rates


@numba.njit
def product(a: Array, b: Array, out: Array) -> None:
    np.dot(a, b, out)


def blas_rate() -> float:
    """Flops a second."""
    rng = np.random.default_rng(0)
    a, b, out = (rng.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(3))
    product(a, b, out)
    return 2 * SIDE**3 / min(timed(product, a, b, out) for _ in range(PRODUCTS))


@numba.njit(**OPTIONS)
def triad(a: Array, b: Array, c: Array, repeats: int) -> None:
    for k in range(repeats):
        s = np.float32(k)  # each pass has another result, so that none can be left out
        for i in range(a.shape[0]):
            a[i] = b[i] + s * c[i]


@numba.njit(parallel=True, **OPTIONS)
def parallel_triad(a: Array, b: Array, c: Array, repeats: int) -> None:
    for k in range(repeats):
        s = np.float32(k)
        for i in numba.prange(a.shape[0]):
            a[i] = b[i] + s * c[i]


def bandwidth(used: int, threads: int) -> float:
    """Bytes a second, over that many bytes."""
    length = max(used // (3 * ITEMSIZE), 1)
    return max(triad_rate(loop, length) for loop in ((triad, parallel_triad) if threads > 1 else (triad,)))


def triad_rate(loop: Callable[..., None], length: int) -> float:
    arrays = [np.ones(length, np.float32) for _ in range(3)]
    loop(*arrays, 1)
    repeats = 1
    while (seconds := timed(loop, *arrays, repeats)) < SAMPLE / 2:
        repeats *= 2
    repeats = max(1, round(repeats * SAMPLE / seconds))
    return 3 * ITEMSIZE * length * repeats / median(timed(loop, *arrays, repeats) for _ in range(SAMPLES))


def timed(run: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def limit_of_step(w: Workload, threads: int) -> Limit:
    """The machine's limit of a workload's step now."""
    work, blas = work_of_step(w), blas_rate()
    rate = bandwidth(work.used, threads)
    return Limit(blas, rate, work.flops / blas + work.moved / rate)
