"""All that a generated module compiles, compiled before anyone needs it: for an image, a first deploy, a benchmark."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.loading import load
from derivgen.stages import reached, watched

ROWS = 2  # of the data that functions are called with: zeros
PART = "import sys; from derivgen.runtime.compiling import compile_part; compile_part(*sys.argv[1:])"


def compile_module(path: Path | str, jobs: int = 1) -> int:
    """Compile all kernels and public functions of a module into the cache; returns the number of kernels.

    `jobs`: so many processes compile kernels. Raises DerivgenError where one of them fails.
    """
    parts = [
        subprocess.Popen([sys.executable, "-c", PART, str(path), str(number), str(jobs)], stderr=subprocess.PIPE)
        for number in range(1, jobs)
    ]
    module = load(path)
    with watched(f"compile {path}") as work, work.following(module.COMPILING):
        compile_part(path, 0, jobs)
        for part in parts:
            work.reach("other processes compile their kernels")
            _, errors = part.communicate()
            if part.returncode:
                raise DerivgenError(f"a process that compiled {path} failed: {errors.decode().strip()}")
        calls = list(calls_of(module))
        for number, (function, arguments) in enumerate(calls):
            work.reach(f"{function.__name__} and what calls the kernels", number, len(calls))
            function(*arguments)
    return len(kernels_of(module))


def compile_part(path: Path | str, number: int | str, jobs: int | str) -> None:
    """Compile those kernels of a module that fall to one of several processes, which take them in turn."""
    kernels = kernels_of(load(path))[int(number) :: int(jobs)]
    for done, kernel in enumerate(kernels):
        reached(f"compiling {kernel.py_func.__name__}", done=done, total=len(kernels))
        kernel.load()


def kernels_of(module: ModuleType) -> Sequence[Any]:
    """The kernels that are called by a symbol; none where numba is disabled."""
    return [value for value in vars(module).values() if hasattr(value, "symbol") and hasattr(value, "load")]


def calls_of(module: ModuleType) -> Iterator[tuple[FunctionType, list[Any]]]:
    """The functions of a module that take parameters, each with arguments that fit: zeros, and labels of class 0."""
    known = sample_arguments(module)

    def arguments_of(function: FunctionType) -> list[Any] | None:
        wanted = inspect.signature(function).parameters.values()
        required = [p.name for p in wanted if p.default is inspect.Parameter.empty]
        fits = required[:1] == ["parameters"] and all(name in known for name in required)
        return [known[name]() for name in required] if fits else None

    if hasattr(module, "predict"):
        prediction = module.predict(*(arguments_of(module.predict) or ()))
        known["u"] = lambda: np.zeros_like(prediction)
    for function in list(vars(module).values()):
        if not isinstance(function, FunctionType) or function.__module__ != module.__name__:
            continue
        arguments = arguments_of(function)
        if arguments is not None:
            yield function, arguments


def sample_arguments(module: ModuleType) -> dict[str, Any]:
    """For each argument that a function may have, what makes one."""
    parameters = module.initial_parameters(0)

    def input_of(entry: Any) -> Any:
        shape = tuple(ROWS if isinstance(extent, str) else extent for extent in entry.shape)
        return np.zeros(shape, entry.dtype)

    made = {entry.name: lambda entry=entry: input_of(entry) for entry in module.INPUTS}
    return made | {
        "parameters": parameters.copy,
        "gradient": lambda: np.zeros_like(parameters),
        "v": lambda: np.zeros_like(parameters),
        "state": module.optimizer_state,
        "order": lambda: np.arange(ROWS),
        "batch_size": lambda: ROWS,
        "steps": lambda: 1,
        "seed": lambda: 0,
    }
