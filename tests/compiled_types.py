"""The types that numba infers for the kernels of a generated module: nothing is compiled to machine code."""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import compiler, ir, typed_passes, types
from numba.core.registry import cpu_target

Types = Mapping[str, types.Type]


def doubles(function: FunctionType, arguments: tuple[Any, ...]) -> list[str]:
    """The lines of a function that compute, read or write float64 for arguments of these types.

    A literal is float64 by itself, and harmless where a cast to the module's dtype takes it. So is a hyperparameter of
    the update rule; what an update computes before its loop, once in a step, is of double precision.
    """
    typing, target = cpu_target.typing_context, cpu_target.target_context
    typing.refresh()
    target.refresh()
    code = compiler.run_frontend(function)
    given = tuple(numba.typeof(as_tuple(argument)) for argument in arguments)
    inferred = typed_passes.type_inference_stage(typing, target, code, given, None)
    literals: set[str] = set()
    found = []
    first = before_the_loop(function)
    for statement in statements_of(code):
        name = statement.target.name
        scalar = inferred.typemap[name] == types.float64
        if is_literal(statement.value, literals, inferred.typemap) or (
            scalar and (statement.loc.line < first or is_handed_on(statement.value, literals))
        ):
            literals.add(name)
        elif holds_float64(inferred.typemap[name]):
            found.append(f"{function.__name__}, line {statement.loc.line}: {inferred.typemap[name]}")
    return found


def as_tuple(argument: Any) -> Any:
    """Views by names, which compiled functions know by their layout, as a tuple with these names."""
    if not hasattr(argument, "_asdict") or isinstance(argument, tuple):
        return argument
    views = {name: view for name, view in argument._asdict().items() if not name.startswith("_")}
    return namedtuple("Views", views)(**views)


def before_the_loop(function: FunctionType) -> int:
    """The line of the loop of an update; 0 of other functions."""
    if function.__name__ not in ("update_kernel", "update_range"):
        return 0
    lines, start = inspect.getsourcelines(function)
    return start + next((k for k, line in enumerate(lines) if line.lstrip().startswith("for ")), len(lines))


def is_handed_on(value: Any, literals: set[str]) -> bool:
    """An argument that is a number, or the same by another name."""
    return isinstance(value, ir.Arg) or (isinstance(value, ir.Var) and value.name in literals)


def statements_of(code: ir.FunctionIR) -> Iterator[ir.Assign]:
    for _, block in sorted(code.blocks.items()):
        yield from block.find_insts(ir.Assign)


def is_literal(value: Any, literals: set[str], typemap: Types) -> bool:
    """A number of the text, one of a module's (np.inf), or either with a sign."""
    match value:
        case ir.Const() | ir.Global() | ir.FreeVar():
            return True
        case ir.Expr(op="getattr"):
            return isinstance(typemap[value.value.name], types.Module)
        case ir.Expr(op="unary"):
            return value.value.name in literals
    return False


def holds_float64(kind: types.Type) -> bool:
    if isinstance(kind, types.BaseTuple):
        return any(map(holds_float64, kind.types))
    return getattr(kind, "dtype", kind) == types.float64


def doubles_in(module: ModuleType, calls: Mapping[str, tuple[Any, ...]], names: Iterable[str]) -> list[str]:
    """The same for functions of a module of float32, by their names, as they were called without the compiler."""

    def compiled(argument: Any) -> Any:
        if isinstance(argument, float):  # what `math` gives; compiled, it is of its argument's type
            return np.float32(argument)
        named = isinstance(argument, tuple) and hasattr(argument, "_fields")
        return getattr(module, type(argument).__qualname__)(*argument) if named else argument

    # `gemm` is written in LLVM's code, and layouts run in Python while others compile.
    own = (n for n in names if hasattr(getattr(module, n), "py_func") and not n.endswith(("buffers", "split")))
    functions = [(getattr(module, name).py_func, tuple(map(compiled, calls[name]))) for name in own]
    return [line for function, arguments in functions for line in doubles(function, arguments)]


def kernels(module: ModuleType, calls: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """The names of the kernels that were called, and of the elementary functions that they call."""
    ends = ("_forward", "_backward", "_gradient", "_value", "_evaluate", "_predict")
    layers = [name for name in calls if name.endswith(ends) and name not in ("loss_and_gradient", "mean_gradient")]
    return layers + [name for name, arguments in calls.items() if arguments and all(map(np.isscalar, arguments))]
