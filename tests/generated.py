"""Generated modules under test: executed without numba's compiler, and their gradients checked against the oracle."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.sparse  # noqa: F401  (modules with sparse Jacobians import it, and with a patched numpy it could not be)
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.declare.model import Model
from derivgen.derive.differentiate import adjoint
from derivgen.file import headers
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read
from derivgen.form.program import Program, Role, Statement
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program, generate_body
from derivgen.prepare.modes import has_modes, in_evaluation
from derivgen.project.gradcheck import NOTHING, module_gradient

TOLERANCE = 1e-9  # of a gradient, relative to the largest element of its tensor
VALUE_TOLERANCE = 1e-10
NOISE, TRIALS = 1e-13, 4  # what rounding may do to a value on the way, of itself


class UninterpretedNumba(ModuleType):
    """numba with its compiler off; notes the last arguments of each function, or checks their arrays, if asked to."""

    def __init__(self, calls: dict[str, tuple[Any, ...]] | None, checks: bool = False) -> None:
        super().__init__("numba")
        self.calls, self.checks = calls, checks
        self.config = SimpleNamespace(DISABLE_JIT=1)
        self.prange = lambda *bounds: reversed(range(*bounds))  # iterations of a parallel loop may run in any order
        # Imported, and never used then.
        self.types = self.cgutils = self.intrinsic = self._helperlib = self.global_compiler_lock = (
            self.get_num_threads
        ) = None

    def njit(self, *_: Any, **__: Any) -> Any:
        if self.checks:
            return lambda function: lambda *arguments: function(*map(checked, arguments))
        return lambda function: function if self.calls is None else self.noting(function, self.calls)

    @staticmethod
    def noting(function: Callable[..., Any], calls: dict[str, tuple[Any, ...]]) -> Any:
        def noted(*arguments: Any) -> Any:
            calls[function.__name__] = arguments
            return function(*arguments)

        return noted


class PoisonedNumpy(ModuleType):
    """numpy whose uninitialized memory holds what no one may read: NaN, or an integer far outside every tensor."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> np.ndarray:
        poison = {"f": np.nan, "u": 255}  # four or eight such bytes are a NaN too
        return np.full(shape, poison.get(np.dtype(dtype).kind, 10**9), dtype)

    @staticmethod
    def empty_like(array: np.ndarray) -> np.ndarray:
        return PoisonedNumpy.empty(array.shape, array.dtype)


class Outside(IndexError):
    """An access outside of an array; numpy would take a negative subscript from the end."""


class CheckedArray(np.ndarray):
    """An array that refuses every subscript outside of 0 .. extent - 1, and every slice that leaves its axis."""

    def __getitem__(self, key: Any) -> Any:
        check_subscripts(self.shape, key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        check_subscripts(self.shape, key)
        super().__setitem__(key, value)


def checked(argument: Any) -> Any:
    return argument.view(CheckedArray) if isinstance(argument, np.ndarray) else argument


def check_subscripts(shape: tuple[int, ...], key: Any) -> None:
    keys = key if isinstance(key, tuple) else (key,)
    for axis, (k, extent) in enumerate(zip(keys, shape, strict=False)):
        if isinstance(k, int | np.integer):
            inside = 0 <= k < extent
        elif isinstance(k, slice):
            inside = all(0 <= end <= extent for end in (k.start, k.stop) if end is not None)
        else:
            return
        if not inside:
            raise Outside(f"subscript {k} of axis {axis} of an array of shape {shape}")


class CheckedNumpy(PoisonedNumpy):
    """Poisoned numpy all of whose arrays check their subscripts."""

    def __getattribute__(self, name: str) -> Any:
        own = name.startswith("__") or name in ("empty", "empty_like")
        found = super().__getattribute__(name) if own else getattr(np, name)
        if name.startswith("__") or isinstance(found, type) or not callable(found):
            return found

        return lambda *arguments, **named: checked(found(*arguments, **named))


def module_text(model: Model, dtype: str = "float64") -> str:
    return headers.assemble(generate_body(model, dtype), "spec.py", headers.command_line("spec.py"))


def execute(text: str, calls: dict[str, tuple[Any, ...]] | None = None, numpy: ModuleType | None = None) -> ModuleType:
    """The module, its kernels as plain Python; `calls` takes the last arguments of each compiled function.

    With CheckedNumpy as its numpy all arrays that kernels see check their subscripts.
    """
    module, numba = ModuleType("uncompiled"), UninterpretedNumba(calls, isinstance(numpy, CheckedNumpy))
    names = ("numba", "numba.core", "numba.core.compiler_lock", "numba.extending")
    with patch.dict(sys.modules, {**dict.fromkeys(names, numba), "numpy": numpy or PoisonedNumpy("numpy")}):
        own, line, fixed = text.partition("\n# ==== ")
        exec(compile(own, "<generated module>", "exec", dont_inherit=True), module.__dict__)
        exec(compiled_once(line + fixed), module.__dict__)
    return module


@cache
def compiled_once(text: str) -> CodeType:
    """What all modules have."""
    return compile(text, "<what all modules have>", "exec", dont_inherit=True)


def predict(module: ModuleType, flat: np.ndarray, inputs: Mapping[str, np.ndarray]) -> Any:
    """The prediction, from those of the inputs that it needs."""
    return module.predict(flat, **{n: v for n, v in inputs.items() if n in module.predict.__code__.co_varnames})


def check_module(module: ModuleType, declared: Program, values: Mapping[str, np.ndarray]) -> list[str]:
    """Raise AssertionError where the loss, a gradient or the prediction is off.

    Gives the parameters whose gradient is near 0 by cancellation at this point, and so is compared with what it is
    added up from.
    """
    flat = np.concatenate([np.ravel(values[p.name]) for p in declared.vector])
    inputs = {t.name: values[t.name] for t in declared.of_role(Role.INPUT, Role.LABELS)}
    wanted, mode = run(declared, values), {"training": True} if has_modes(declared) else {}
    with np.errstate(all="ignore"):
        loss, again = module.loss(flat, **inputs, **mode), module.loss_and_gradient(flat, **inputs)[0]
        gradient = module_gradient(module, declared, values)
    for found in (loss, again):
        error = value_error(found, wanted[str(declared.objective)])
        assert error <= VALUE_TOLERANCE, f"loss {found}, expected {wanted[str(declared.objective)][()]}"
    if declared.prediction is not None:
        with np.errstate(all="ignore"):
            prediction = predict(module, flat, inputs)
        expected = run(in_evaluation(declared), values)[declared.prediction]
        error = value_error(prediction, expected)
        assert error <= VALUE_TOLERANCE, f"predict {prediction}, expected {expected.astype(float)}"
    return check_gradient(declared, values, gradient)


def value_error(found: Any, expected: np.ndarray) -> float:
    """The largest error relative to the largest element; of what is 0 by cancellation, the largest element itself."""
    if np.max(np.abs(expected)) < NOTHING:
        return float(np.max(np.abs(found)))
    return oracle.relative_error(found, expected)


def check_gradient(
    declared: Program, values: Mapping[str, np.ndarray], gradient: Mapping[str, np.ndarray]
) -> list[str]:
    """Raise AssertionError where a gradient is off; gives the parameters where it is near 0 by cancellation."""
    off = [c for c in oracle.compare_gradients(declared, values, gradient) if not c.error <= TOLERANCE]
    if not off:
        return []
    exact, spread = gradient_and_spread(declared, values)
    symbolic = {c.parameter: c.error for c in oracle.compare_gradients(declared, values, exact)}
    for c in off:
        found, want = gradient[c.parameter], exact[c.parameter].astype(float)
        stage = "rule" if not symbolic[c.parameter] <= TOLERANCE and np.abs(want).max() > NOTHING else "code"
        report = f"{stage}: {c.parameter}_bar is off by {c.error}: {found.tolist()}, by the rule {want.tolist()}"
        assert stage == "code", report
        largest = spread[c.parameter]
        assert np.abs(found - want).max() <= largest, f"{report}, of which rounding explains {largest}"
    return [c.parameter for c in off]


def gradient_and_spread(
    declared: Program, values: Mapping[str, np.ndarray], noise: float = NOISE
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The gradient by the reverse rule at 50 digits, and how far it moves where each value that is computed on the
    way is off by `noise` of itself.
    """
    program = adjoint(declared.live([str(declared.objective)]))

    def gradients(program: Program) -> dict[str, np.ndarray]:
        found = run(program, values)
        return {name: found[bar] for name, bar in program.gradients}

    exact = gradients(program)
    moved = [gradients(with_noise(program, trial, noise)) for trial in range(TRIALS)]
    return exact, {name: float(max(np.max(np.abs(m[name] - exact[name])) for m in moved)) for name in exact}


@as_written()
def with_noise(program: Program, trial: int, noise: float) -> Program:
    """The program with relative errors of at most `noise`: one in each value that a statement reads or computes."""
    table, count = program.table, iter(range(10**9))

    def factor(s: Statement) -> sp.Expr:
        phase = sp.Add(trial + TRIALS * next(count), *(k * r.index for k, r in enumerate(s.domain, 2)))
        return 1 + sp.Float(noise) * sp.cos(phase)

    def noisy(e: sp.Basic, s: Statement) -> sp.Basic:
        """Conditions stay as they are, and so do integers."""
        if isinstance(e, Read):
            return e if table[e.tensor].integer else e * factor(s)
        if not e.args or isinstance(e, Boolean):
            return e
        return e.func(*(noisy(a, s) for a in e.args))

    changed = [
        s if table[s.target].integer else replace(s, expression=noisy(s.expression, s) * factor(s))
        for s in program.statements
    ]
    return replace(program, statements=tuple(changed))


def agrees_with_the_oracle(model: Model, sizes: Mapping[str, int] | None = None) -> None:
    """Loss, prediction and gradients of the module where uninitialized memory is NaN."""
    declared, rng = declared_program(model), np.random.default_rng(0)
    values = {}
    for t in declared.of_role(Role.INPUT, Role.LABELS, Role.PARAMETER):
        shape = [int(extent.subs({s: (sizes or {})[s.name] for s in extent.free_symbols})) for extent in t.shape]
        values[t.name] = rng.uniform(0.5, 2, shape) if t.classes is None else rng.integers(0, t.classes, shape)
    assert check_module(execute(module_text(model)), declared, values) == []


def kernel_functions(text: str) -> list[ast.FunctionDef]:
    """The compiled functions of the layers."""
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return [
        f for f in functions if f.name.endswith(("_forward", "_backward", "_evaluate", "_predict")) and f.decorator_list
    ]
