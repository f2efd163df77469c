"""Nanoseconds an element of the elementary functions: `python benchmarks/elementary.py`, medians on one thread.

Ours and numba's in a compiled loop over a contiguous array, numpy's (SciPy's where numpy has none) as the ufunc.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numba
import numpy as np
import scipy.special

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from elementary_module import OPTIONS, TWO_ARGUMENTS, module

from derivgen.print.elementary import BOUNDS, DTYPES

SIZE, ROUNDS, CALLS = 1 << 14, 11, 20
UFUNCS = {"sigmoid": scipy.special.expit, "softplus": lambda u, out: np.logaddexp(u, u.dtype.type(0), out)}
UFUNCS |= {name: getattr(scipy.special, name) for name in ("erf", "erfc", "xlogy", "digamma")}
UFUNCS |= {"loggamma": scipy.special.gammaln, "trigamma": lambda u, out: scipy.special.zeta(2, u, out)}
UFUNCS["tetragamma"] = lambda u, out: scipy.special.zeta(3, u, out)  # -ψ₂/2
POSITIVE = ("log", "log1p", "loggamma", "digamma", "trigamma", "tetragamma")


def scalar(name: str) -> Callable[..., float] | None:
    """numba's scalar function, where it has one."""
    return getattr(np, name, None) or getattr(math, name, None)


def loop(function: Callable[..., float], arguments: int) -> Callable[..., None]:
    @numba.njit(**OPTIONS)
    def one(x, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i])

    @numba.njit(**OPTIONS)
    def two(x, y, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i], y[i])

    return one if arguments == 1 else two


def nanoseconds(run: Callable[..., object], *arguments: np.ndarray) -> float:
    run(*arguments)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            run(*arguments)
        times.append((time.perf_counter() - start) / CALLS)
    return median(times) / SIZE * 1e9


def main() -> None:
    rng = np.random.default_rng(0)
    print("ns an element          ours   numpy   numba   numpy/ours   numba/ours")
    for dtype in DTYPES:
        x, out = rng.uniform(-4, 4, SIZE).astype(dtype), np.empty(SIZE, dtype)
        positive = np.abs(x) + out.dtype.type(0.01)
        for name in BOUNDS:
            arguments = (
                [positive, x]
                if name in TWO_ARGUMENTS
                else [1 + positive if name == "acosh" else positive if name in POSITIVE else x]
            )
            if name == "xlogy":
                arguments.reverse()
            ours = nanoseconds(loop(vars(module(dtype))[name], len(arguments)), *arguments, out)
            numpys = nanoseconds(UFUNCS.get(name, getattr(np, name, None)), *arguments, out)
            theirs = scalar(name)
            row = f"{name:12}{dtype:9}{ours:6.2f}{numpys:8.2f}"
            if theirs is None:
                print(f"{row}       -{numpys / ours:13.1f}            -")
            else:
                numbas = nanoseconds(loop(theirs, len(arguments)), *arguments, out)
                print(f"{row}{numbas:8.2f}{numpys / ours:13.1f}{numbas / ours:13.1f}")


if __name__ == "__main__":
    main()
