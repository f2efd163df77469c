"""Code of kernels and routines → a header and a file of C99."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import sympy as sp

from derivgen.code.operations import Operations
from derivgen.code.routine import Linkage
from derivgen.code.tree import Function
from derivgen.form.as_written import as_written
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.c.elementary import INLINED, Definitions, definitions
from derivgen.print.c.initial import Initial, initial, shortest
from derivgen.print.c.kernels import Text, write_kernel
from derivgen.print.c.library import NAMES, library, products
from derivgen.print.c.public import UPDATE, Public, Workspace, constant_name, workspaces, write_public
from derivgen.print.c.routines import SPLIT, Module, write_routine
from derivgen.print.c.scalar import Scalar, Variable
from derivgen.print.c.small import BESIDES, assigning, macros, small_functions
from derivgen.print.c.words import INTEGER, PRODUCT, REAL, comment, member, titled
from derivgen.print.layout import WIDTH, flat
from derivgen.print.module.module import NAMES_OF_DERIVATIVES, has_names_of_derivatives, kernels_by_layer
from derivgen.print.templates import environment
from derivgen.print.text import wrapped
from derivgen.schedule.schedule import Kernel
from derivgen.whole.library import OBSERVE
from derivgen.whole.whole import Whole

NUMBERS_DRAWN = "The numbers drawn are those of Philox 4x32-10, and not those of the Python module."


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts of a header and of a file, without what says where they come from; the functions for callers."""

    header: str
    file: str
    functions: tuple[Public, ...]
    workspaces: tuple[Workspace, ...]
    casadi: str | None = None  # the text of the file for CasADi, if it is asked for


@as_written()
def write_sources(
    formulas: Sequence[str],
    plan: ModulePlan,
    codes: Mapping[Kernel, Function],
    whole: Whole,
    rows: int | None,
    stem: str,
    by_python: bool = False,
) -> Sources:
    """`formulas`: those of the model; `codes`: those of its kernels; `whole`: what calls them.

    `rows`: how many rows callers have, if that is known; `stem`: of the names of both files; `by_python`: only
    a module of Python calls the functions, see `write_public`.
    """
    doubles = {"observed", *plan.rule.shared_slots, *(f"state.{slot}" for slot in plan.rule.shared_slots)}
    module = Module(plan.dtype, plan.program.name, whole.signatures, doubles, plan.flat)
    kernels = {k: write_kernel(code, plan.dtype) for k, code in codes.items() if code.name == plan.kernel_names[k]}
    module.texts |= {text.name: text for text in kernels.values()}
    internal, public = dict[str, Text](), dict[str, Public]()
    for routine in whole.routines:
        if routine.linkage is not Linkage.PUBLIC or routine.name == UPDATE:
            internal[routine.name] = write_routine(routine, module)
        if routine.linkage is Linkage.PUBLIC:
            public[routine.name] = write_public(routine, plan, module, by_python)
    texts = [*kernels.values(), *internal.values(), *(p.text for p in public.values())]
    used = {pair for text in texts for pair in text.used}
    memory = workspaces(plan)
    begun = initial(plan, module)
    used |= begun.used
    brought = library_texts(used, plan.dtype)
    used |= {("sqrt", "float64")} if (OBSERVE, plan.dtype) in used else set()
    elementary = elementary_texts(used)
    values = {
        "name": module.name,
        "stem": stem,
        "prefix": module.prefix,
        "dtype": plan.dtype,
        "real": REAL[plan.dtype],
        "formulas": comment(["The model:", "", *(t for f in formulas for t in wrapped(f"  {f}", WIDTH - 6, "      "))]),
        "offsets": [(t.name, plan.offsets[t.name]) for t in plan.program.vector],
        "count": plan.parameter_count,
        "sizes": known_sizes(plan, rows),
        "rows": rows,
        "memory": [memory_values(w, module, rows) for w in memory],
        "prototypes": [p for texts in elementary for p in texts.prototypes],
        "macros": [*macros(used), *([INLINED] if elementary else [])],
        "small": [*assigning(used, plan.dtype), *small_functions(used), *library_prototypes(brought)],
        "draws": draws(begun, plan.dtype),
        "library": [text for _, text in brought],
        "constants": [*map(table_text, constant_tables(plan))],
        "begun_from": [line for name, n in begun.tables for line in table_text((name, n, plan.dtype)).splitlines()],
        "kernels": sections(plan, kernels),
        "whole": [text_of(internal[r.name]) for r in whole.steps if r.name in internal and r.name != SPLIT],
        "derived": derivative_sections(plan, kernels, internal, whole),
        "public": [text_of(p.text) for p in public.values()],
        "declared": ["\n".join(p.prototype) for p in public.values()],
        "initial": begun,
        "drawn": comment([*wrapped(f"{begun.summary}.", WIDTH - 6), NUMBERS_DRAWN]),
        "elementary": [text for texts in elementary for text in texts.texts],
        "titled": titled,
    }
    templates = environment()
    header = templates.get_template("c/module.h.jinja").render(**values)
    file = templates.get_template("c/module.c.jinja").render(**values)
    return Sources(header, file, tuple(public.values()), tuple(memory))


def known_sizes(plan: ModulePlan, rows: int | None) -> list[tuple[str, int]]:
    """The sizes that are known at generation, that of rows too, if it is given."""
    sizes = [(name, rows if not value.is_Integer and rows else value) for name, value in plan.program.sizes]
    return [(name, int(value)) for name, value in sizes if isinstance(value, int) or value.is_Integer]


def text_of(text: Text) -> str:
    return "\n".join(text.lines)


def elementary_texts(used: Iterable[tuple[str, str]]) -> list[Definitions]:
    """The elementary functions in use, by dtype."""
    names: dict[str, set[str]] = {}
    for name, dtype in used:
        if dtype in REAL and name not in BESIDES:
            names.setdefault(dtype, set()).add(name)
    return [definitions(sorted(names[dtype]), dtype) for dtype in sorted(names)]


def memory_values(w: Workspace, module: Module, rows: int | None) -> dict[str, object]:
    """What a template says of a workspace."""
    scalar = Scalar(module.dtype, lambda name: Variable(name, REAL[module.dtype]), lambda size: member(str(size)))

    def text(e: sp.Expr | None) -> str | None:
        return None if e is None else flat(scalar.integer(Operations({}, lambda _: False).integer(e)))

    known = None
    if rows is not None and len(w.sizes) <= 1:
        known = [None if e is None else e.subs(dict.fromkeys(e.free_symbols, rows)) for e in (w.reals, w.integers)]
    return {
        "function": w.function,
        "sizes": [*map(member, w.sizes)],
        "reals": text(w.reals),
        "integers": text(w.integers),
        "known": known,
    }


def sections(plan: ModulePlan, kernels: Mapping[Kernel, Text]) -> list[str]:
    """A section a layer, in order of the forward pass."""
    groups = kernels_by_layer(plan, kernels).items()
    return ["\n\n".join([titled(layer), *(text_of(kernels[k]) for k in group)]) for layer, group in groups]


def derivative_sections(
    plan: ModulePlan, kernels: Mapping[Kernel, Text], internal: Mapping[str, Text], whole: Whole
) -> list[str]:
    """A section for each function of derivatives, with the kernels that none before has."""
    done = {plan.equal[k] for s in plan.schedules for k in s.kernels}
    names = [t.removeprefix("# ") for t in NAMES_OF_DERIVATIVES.splitlines()]
    found = ["\n".join(comment(names))] if has_names_of_derivatives(plan) else []
    for part in plan.parts:
        own = dict.fromkeys(plan.equal[k] for k in part.schedule.kernels)
        texts = [text_of(kernels[k]) for k in own if k in kernels and k not in done]
        done |= own.keys()
        texts += [text_of(internal[r.name]) for r in whole.derived[part.function] if r.name in internal]
        found.append("\n\n".join([titled(part.function), *texts]))
    return found


def library_texts(used: Set[tuple[str, str]], dtype: str) -> list[tuple[tuple[str, ...], str]]:
    """What C brings itself: the names of functions, and their text."""
    named = {name for name, _ in used}
    found: list[tuple[tuple[str, ...], str]] = []
    if PRODUCT in named:
        found.append(((PRODUCT,), products(dtype).strip("\n")))
    if own := tuple(name for name in NAMES if name in named):
        found.append((own, library(own, dtype).strip("\n")))
    return found


def library_prototypes(brought: Iterable[tuple[Sequence[str], str]]) -> list[str]:
    """What stands before the kernels, which call these."""
    heads = (re.search(rf"^static (inline )?\w+ {name}\([^)]*\)", text, re.M) for own, text in brought for name in own)
    return [f"{head[0]};" for head in heads if head]


def draws(begun: Initial, dtype: str) -> list[str]:
    """The functions that draw initial parameters."""
    if not begun.kinds:
        return []
    template = environment().get_template("c/draws.c.jinja")
    return [template.render(kinds=list(begun.kinds), real=REAL[dtype]).strip("\n")]


def constant_tables(plan: ModulePlan) -> Iterator[tuple[str, np.ndarray, str]]:
    """Tables of numbers: name, numbers, dtype."""
    for table in plan.tables:
        dtype = INTEGER if table.tensor.integer else plan.dtype
        yield constant_name(table.tensor.name), np.asarray(table.values).ravel(), dtype


def table_text(table: tuple[str, np.ndarray, str]) -> str:
    name, numbers, dtype = table
    suffix = "f" if dtype == "float32" else ""
    written = [str(int(v)) if dtype == INTEGER else f"{shortest(v, dtype)}{suffix}" for v in numbers]
    head = f"static const {REAL.get(dtype, dtype)} {name}[{len(numbers)}] = {{"
    return "\n".join([head, *(f"    {line}" for line in wrapped(", ".join(written), WIDTH - 4, "")), "};"])
