"""Schedules → the text of a module, without its header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from derivgen.code.tree import Function
from derivgen.file.contract import CONTRACT
from derivgen.form.as_written import as_written
from derivgen.form.program import Role, Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import count, field
from derivgen.print.elementary import definitions
from derivgen.print.kernels import GEMM, SCRATCH, Text, size_names, write_kernel, write_routine
from derivgen.print.layout import STEP, WIDTH, bracketed, line
from derivgen.print.library import TEXTS as LIBRARY
from derivgen.print.module.derivatives import Derivative
from derivgen.print.module.initial import array_text, initial_lines, initial_sources, initial_summary
from derivgen.print.module.public import Public
from derivgen.print.templates import environment
from derivgen.print.text import docstring, titled, tuple_text
from derivgen.schedule.schedule import Kernel
from derivgen.whole.whole import Whole

ELEMENTARY = 'elementary = functools.partial(internal, fastmath={"contract"})  # reassociation would undo its care\n'
PARALLEL = """\
# The prange loops of these run in numba's threads; no other part of them does.
SERIAL = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
parallel_kernel = functools.partial(aliased_kernel, parallel=dict.fromkeys(SERIAL, False))
in_threads = functools.partial(compiled, parallel=dict.fromkeys(SERIAL, False))
"""
START_THREADS = """\
            get_num_threads()  # starts the threads: without them numba can't load all that it keeps of parallel code
"""

NAMES_OF_DERIVATIVES = """\
# Below, a_dot is the tangent of a along a vector v, and p_by_a is the derivative of p by a, with the axes of a first;
# p_through_b is the kernel that takes the derivatives of p back through the layer b, to what b reads."""

IMPORTS = """\
import contextlib
import dis
import functools
import gc
import hashlib
import inspect
import math
import operator
import os
import pickle
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import {numba}
"""


@as_written()
def write_module(plan: ModulePlan, codes: Mapping[Kernel, Function], whole: Whole) -> str:
    """The module's text after its header docstring; `codes`: those of its kernels; `whole`: what calls them."""
    runtime = [name for name, value in plan.program.sizes if not value.is_Integer]
    sizes = size_names(runtime, plan.kernel_names.values())
    kernels = {k: write_kernel(code, sizes) for k, code in codes.items()}
    routines = {r.name: write_routine(r, whole.signatures) for r in whole.routines}
    written = (*kernels.values(), *routines.values())
    used, parallel = frozenset().union(*(text.used for text in written)), any(text.parallel for text in written)
    public = Public(plan, {name: text_of(routines[r.name]) for name, r in whole.labels.items()})
    products = ["\n\n\n".join([titled("products of matrices"), gemm_section(plan.dtype)])] if GEMM in used else []
    functions = used - {GEMM, SCRATCH}
    derived = [Derivative(part) for part in plan.parts]
    sections = [*elementary_section(functions, plan.dtype), *products, *layer_sections(plan, kernels)]
    steps = (LIBRARY[item] if isinstance(item, str) else text_of(routines[item.name]) for item in whole.steps)
    own = {function: [text_of(routines[r.name]) for r in group] for function, group in whole.derived.items()}
    model_functions = [*steps, *derivative_sections(plan, kernels, own)]
    values = {
        "contract": CONTRACT,
        "module_name": f"derivgen_{plan.program.name}_{plan.dtype}",
        "sample_axis": f'"{plan.sample_axis}"' if plan.sample_axis else "None",
        "mixed_axes": mixed_axes_table(plan),
        "dtype": plan.dtype,
        "decorators": (ELEMENTARY if functions else "") + (PARALLEL if parallel else ""),
        "parameters_table": table("PARAMETERS", parameter_rows(plan)),
        "inputs_table": table("INPUTS", input_rows(plan)) + random_table(plan),
        "layers_table": table("LAYERS", layer_rows(plan)),
        "trained_field": "\n    trained: bool = True" if plan.untrained else "",
        "arrays": "".join(f"\n\n{text}" for text in array_texts(plan)),
        "tuples": (named := tuples(plan)),
        "kinds": "\n".join(bracketed("for kind in (", [str(kind["name"]) for kind in named], "):")),
        "has_scratch": SCRATCH in used,
        "kernel_sections": sections,
        "model_title": titled("the whole model"),
        "model_functions": model_functions,
        "public_title": titled("what callers use"),
        "initial_sources": initial_sources(plan.program.vector, plan.dtype),
        "initial_doc": docstring([initial_summary(plan.program.vector)]),
        "initial_lines": initial_lines(plan.program.vector, plan.parameter_count),
        "parameter_count": plan.parameter_count,
        "public_functions": [*public.functions(), *(text for function in derived for text in function.public())],
        "checks_title": titled("checks of what callers pass"),
        "slot_checks": slot_checks(plan),
        "check_functions": public.checks(),
        "start_threads": START_THREADS if parallel else "",
        "compile_title": titled("how functions are compiled, and kept"),
        "runtime_sizes": "".join(f'{name} = Size("{size}")\n' for size, name in sizes.items()),
    }
    text = environment().get_template("module.py.jinja").render(**values)
    return f"{imports(bool(products), parallel, any(d.is_sparse for d in derived))}\n{text}"


def imports(products: bool, parallel: bool, sparse: bool) -> str:
    """Imports of what a module uses."""
    threads = ["get_num_threads", "prange"]
    names = ["config", "njit", *(["_helperlib"] if products else []), *(threads if parallel else [])]
    text = IMPORTS.format(numba=", ".join(sorted(names)))
    return text + ("from scipy.sparse import csr_array, vstack\n" if sparse else "")


def gemm_section(dtype: str) -> str:
    """The function that products of matrices call, with its factors."""
    kind = {"float32": "s", "float64": "d"}[dtype]
    return environment().get_template("gemm.py.jinja").render(kind=kind).rstrip()


def elementary_section(used: frozenset[str], dtype: str) -> list[str]:
    """The elementary functions in use, and those that they call."""
    return ["\n\n\n".join([titled("elementary functions"), *definitions(used, dtype)])] if used else []


def text_of(text: Text) -> str:
    return "\n".join(text.lines)


def layer_sections(plan: ModulePlan, kernels: Mapping[Kernel, Text]) -> list[str]:
    """A section a layer, in order of the forward pass: its forward kernel, then its backward one."""
    main = {plan.equal[k] for s in plan.schedules for k in s.kernels}
    own = [k for k in kernels if plan.equal[k] is k and k in main]
    forward_first = sorted(own, key=lambda k: k.direction != "forward")
    layers = dict.fromkeys(k.layer for k in forward_first)
    texts = {layer: [text_of(kernels[k]) for k in forward_first if k.layer == layer] for layer in layers}
    return ["\n\n\n".join([titled(layer), *functions]) for layer, functions in texts.items()]


def derivative_sections(
    plan: ModulePlan, kernels: Mapping[Kernel, Text], functions: Mapping[str, Sequence[str]]
) -> list[str]:
    """A section for each function of derivatives, with the kernels that none before has, in order of execution."""
    done = {plan.equal[k] for s in plan.schedules for k in s.kernels}
    sections = [NAMES_OF_DERIVATIVES] if functions else []
    for part in plan.parts:
        own = dict.fromkeys(plan.equal[k] for k in part.schedule.kernels)
        texts = [text_of(kernels[k]) for k in own if k not in done]
        done |= own.keys()
        sections.append("\n\n\n".join([titled(part.function), *texts, *functions[part.function]]))
    return sections


# ---- tables


def parameter_rows(plan: ModulePlan) -> list[str]:
    rows, offset = [], 0
    for t in plan.program.vector:
        trained = ", trained=False" if t.role is Role.RUNNING else ""
        rows.append(f'Parameter("{t.name}", {shape_text(t.shape)}, "{plan.dtype}", {offset}{trained})')
        offset += count(t)
    return rows


def mixed_axes_table(plan: ModulePlan) -> str:
    """The sizes along which rows of the prediction depend on one another, where there are any."""
    quoted = [f'"{axis}"' for axis in plan.mixed_axes]
    return f"\n{table('MIXED_AXES', quoted)}" if quoted else ""


def random_table(plan: ModulePlan) -> str:
    """The names of what a step draws, where it draws."""
    drawn = [f'"{t.name}"' for t in plan.drawn(plan.training)]
    return f"\n{table('RANDOM', drawn)}" if drawn else ""


def input_rows(plan: ModulePlan) -> list[str]:
    rows = []
    for t in plan.inputs:
        dtype = "int64" if t.integer else plan.dtype
        rows.append(f'Input("{t.name}", {shape_text(t.shape, quoted=True)}, "{dtype}", {t.classes}, {t.ignore})')
    return rows


def layer_rows(plan: ModulePlan) -> list[str]:
    quoted = [(layer, tuple_text([f'"{name}"' for name in names]) if names else "()") for layer, names in plan.layers]
    return [f'Layer("{layer}", {names})' for layer, names in quoted]


def table(name: str, rows: Sequence[str]) -> str:
    if len(rows) == 1 and len(alone := f"{name} = ({rows[0]},)") <= WIDTH:
        return alone
    return "\n".join([f"{name} = (", *(f"    {row}," for row in rows), ")"]) if rows else f"{name} = ()"


def shape_text(shape: tuple[sp.Expr, ...], quoted: bool = False) -> str:
    parts = [f'"{e}"' if quoted and not e.is_Integer else str(e) for e in shape]
    return tuple_text(parts) if parts else "()"


def array_texts(plan: ModulePlan) -> list[str]:
    """The constants as arrays of the kernels' dtypes."""
    texts, names = [], [f"CONSTANT_{t.name}" for t in plan.constants]
    for name, t in zip(names, plan.constants, strict=True):
        assert t.value is not None
        shape = tuple_text([str(extent) for extent in t.value.shape or (1,)])
        text, made = array_text(name, t.value, plan.dtype, names)
        texts.append("\n".join([text, *line(f"{name} = ", f"{made}.reshape({shape})")]))
    return texts


def tuples(plan: ModulePlan) -> list[dict[str, object]]:
    """The NamedTuples that kernels are given: name, meaning, fields."""

    def fields(*tensors: Tensor) -> list[str]:
        return [f"{field(t.name)}: np.ndarray  # {shape_text(t.shape)}" for t in tensors]

    families = plan.loops_over_parameters
    whole = [f"{plan.flat}: np.ndarray  # (P,), for the layers that a loop goes through"] if families else []
    made = [
        ("Data", "What a step reads besides the parameters.", fields(*plan.given)),
        ("Tensors", "The parts of a flat vector, shape (P,).", [*fields(*plan.single_parameters), *whole]),
        (
            "Workspace",
            "Buffers of one step; some share memory, and threads must never share one.",
            fields(*plan.workspace),
        ),
        ("Memory", "What the buffers of a step are views of.", [f"{name}: np.ndarray" for name in plan.memories]),
        (
            "State",
            "What the update rule keeps: the steps taken, and its slots.",
            ["step: np.ndarray  # (1,)", *(f"{slot}: np.ndarray  # {slot_shape(plan, slot)}" for slot in plan.slots)],
        ),
    ]
    if plan.prediction is not None:
        read = fields(*plan.prediction_inputs, *plan.constants)
        made.insert(1, ("PredictionData", "What a prediction reads besides the parameters.", read))
    made += [
        (part.workspace_name, f"Buffers of `{part.function}`.", fields(*part.workspace))
        for part in plan.parts
        if part.workspace
    ]
    return [{"name": name, "meaning": meaning, "fields": rows} for name, meaning, rows in made]


def slot_checks(plan: ModulePlan) -> str:
    """Lines that check the slots of a state."""
    shared = plan.rule.shared_slots
    own = [slot for slot in plan.slots if slot not in shared]
    names = "State._fields[1:]" if len(own) == len(plan.slots) else tuple_text([f'"{slot}"' for slot in own])
    lines = (
        [f"for name in {names}:", '    check_vector(f"state.{name}", getattr(state, name))']
        if own or not shared
        else []
    )
    lines += [f'check_single("{slot}", state.{slot}, np.dtype(np.float64))' for slot in shared]
    return "".join(f"{STEP}{line}\n" for line in lines)


def slot_shape(plan: ModulePlan, slot: str) -> str:
    return "(1,), of float64" if slot in plan.rule.shared_slots else "(P,)"
