"""The function of C that draws initial parameters, tensor by tensor, as the spec's `init` says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from derivgen.form.sizes import element_count
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.c.routines import COPY, Module
from derivgen.print.c.words import FILL, PREFIX
from derivgen.print.module.initial import distribution, initial_summary
from derivgen.whole.library import UNIFORM

DRAWN = ("uniform", "normal", "truncated_normal", "orthogonal")
CALLED = {("log", "float64"), ("sqrt", "float64"), ("cos", "float64")}  # by what draws, but for uniform numbers


@dataclass(frozen=True, slots=True)
class Initial:
    """What the function's template needs. `kinds`: how numbers are drawn; `used`: the functions that are called."""

    summary: str
    lines: tuple[str, ...]
    tables: tuple[tuple[str, np.ndarray], ...]
    kinds: tuple[str, ...]
    used: frozenset[tuple[str, str]]


def initial(plan: ModulePlan, module: Module) -> Initial:
    lines, tables, kinds = list[str](), list[tuple[str, np.ndarray]](), set[str]()
    suffix, p = ("f" if plan.dtype == "float32" else ""), PREFIX[plan.dtype]
    for number, t in enumerate(plan.program.vector):
        kind, arguments = distribution(t)
        count, place = int(element_count(t)), f"parameters[{module.prefix}_AT_{t.name}]"
        numbers = np.asarray(t.initial if kind == "array" else arguments).ravel()
        if kind in ("array", "constant") and count == 1:
            lines.append(f"{place} = {shortest(numbers[0], plan.dtype)}{suffix};")
        elif kind == "array":
            tables.append((f"initial_{t.name}", numbers))
            lines.append(f"{p}_{COPY}({count}, initial_{t.name}, &{place});")
        elif kind == "constant":
            lines.append(f"{p}_{FILL}({count}, {shortest(numbers[0], plan.dtype)}{suffix}, &{place});")
        else:
            kinds.add(kind)
            rows = int(t.shape[0]) if t.shape else 1
            shape = f"{rows}, {count // rows}" if kind == "orthogonal" else str(count)
            given = ", ".join(repr(float(a)) for a in arguments)
            lines.append(f"draw_{kind}(seed, {number}, {shape}, {given}, &{place});")
    used = {(COPY, plan.dtype)} if tables else set()
    used |= {(FILL, plan.dtype)} if any(f"_{FILL}(" in line for line in lines) else set()
    used |= {(UNIFORM, plan.dtype)} if kinds else set()
    used |= CALLED if kinds - {"uniform"} else set()
    return Initial(
        initial_summary(plan.program.vector),
        tuple(lines),
        tuple(tables),
        tuple(k for k in DRAWN if k in kinds),
        frozenset(used),
    )


def shortest(value: float, dtype: str) -> str:
    """A number with as many digits as its dtype tells apart."""
    return repr(float(str(np.dtype(dtype).type(value))))
