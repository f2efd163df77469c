"""The elementary functions of generated modules by themselves, compiled or not, each with a loop over arrays."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numba
import numpy as np

from derivgen.print.elementary import BOUNDS, definitions

OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp"}, "forceinline": True}

TWO_ARGUMENTS = ("power", "xlogy", "logaddexp", "atan2")
ONE_ARGUMENT = tuple(name for name in BOUNDS if name not in TWO_ARGUMENTS)

LOOP = """
@kernel
def map_{name}(x, b, out):
    for n in range(x.shape[0]):
        for h in range(32):
            out[n, h] = {name}(x[n, h] + b[h])
"""
LOOP_OF_TWO = """
@kernel
def map_{name}(x, y, b, out):
    for n in range(x.shape[0]):
        for h in range(32):
            out[n, h] = {name}(x[n, h] + b[h], y[n, h])
"""


@cache
def module(dtype: str, compiled: bool = True) -> ModuleType:
    """All functions and their loops; a function is compiled with its first call."""
    found = ModuleType(f"elementary_{dtype}")
    found.__dict__.update(
        np=np,
        real=getattr(np, dtype),
        kernel=numba.njit(**OPTIONS) if compiled else lambda f: f,
        elementary=numba.njit(**{**OPTIONS, "fastmath": {"contract"}}) if compiled else lambda f: f,
    )
    loops = [(LOOP_OF_TWO if name in TWO_ARGUMENTS else LOOP).format(name=name) for name in BOUNDS]
    exec(compile("\n\n\n".join([*definitions(BOUNDS, dtype), *loops]), "<elementary>", "exec"), found.__dict__)
    return found


def apply(name: str, *arguments: np.ndarray) -> np.ndarray:
    """The function of the arguments' dtype over them, compiled, as a kernel calls it."""
    dtype, size = arguments[0].dtype, arguments[0].size
    rows = -(-size // 32)
    padded = [np.concatenate([a, np.ones(32 * rows - size, dtype)]).reshape(rows, 32) for a in arguments]
    out = np.empty((rows, 32), dtype)
    getattr(module(dtype.name), f"map_{name}")(*padded, np.full(32, -0.0, dtype), out)
    return out.ravel()[:size]


def one_by_one(name: str, *arguments: np.ndarray) -> np.ndarray:
    """The same, element by element and uncompiled."""
    function: Any = vars(module(arguments[0].dtype.name, compiled=False))[name]
    with np.errstate(all="ignore"):
        return np.array([function(*values) for values in zip(*arguments, strict=True)], arguments[0].dtype)
