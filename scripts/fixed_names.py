"""Names of modules that come from no spec: `python scripts/fixed_names.py` writes derivgen/file/fixed_names.py.

They are read off modules that have between them all that a module is made of, and whose specs mark each of their names.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from naming_models import MODAL, STILL, Called

from derivgen.declare.model import Model
from derivgen.file import contract
from derivgen.pipeline import declared_program, module_codes, module_text, plan_module
from derivgen.print.elementary import CALLED
from derivgen.print.naming import Function, functions_of
from derivgen.schedule import parallel

TARGET = Path(__file__).parents[1] / "derivgen" / "file" / "fixed_names.py"
INPUTS = ("input", "second_input", "scalar_input", "labels", "second_labels")
ARRAYS = (*INPUTS, "constant")
RULE = ("hyperparameter", "second_hyperparameter", "slot", "kept_slot", "value_of_a_rule")
SIZES = ("batch", "second_batch")
# What functions of derivatives take and return: refused as inputs where a spec asks for these, or named past the
# inputs.
CHOSEN = {*contract.VECTORS.values(), "hessian", "jacobian", "gradients"}
HEAD = '''"""Names in the text of generated modules that come from no spec. Written by scripts/fixed_names.py."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())

'''
MEANING = {
    "GLOBALS": "what modules define",
    "BESIDE_INPUTS": "what functions that take inputs from callers refer to, and their other arguments",
    "BESIDE_RESULTS": "all that these have",
    "BESIDE_ARRAYS": "all that compiled functions of the whole model have, which take inputs and constants",
    "BESIDE_RULE": "all that functions have where hyperparameters, slots and other values of a rule stand",
    "BESIDE_SIZES": "all that functions have where sizes known at run time stand",
    "OF_MODES": "those among all these that only modules have which draw, or differ in evaluation",
}


def marked(kind: str, default: str) -> str:
    return f"own_{kind.replace(' ', '_')}_{default}"


def is_marked(name: str) -> bool:
    return (
        "own_" in name
        or "block_share" in name  # of a program that has one
        or re.fullmatch("loss_(sum|forward|backward|value|gradient|evaluate|tangent|through).*", name) is not None
    )


def has(names: Iterable[str], kinds: Iterable[str]) -> bool:
    return any(name.startswith(f"own_{kind}_") for name in names for kind in kinds)


def modules(make: Callable[[Called], Model]) -> list[tuple[str, set[str]]]:
    """The texts of a model's module, serial and in threads, each with the names of a rule that the library has."""
    found = []
    with patch.object(parallel, "WORTH_THREADS", 0), patch.object(parallel, "SHARED_OUT", 0):
        for threads in (False, True):
            model = make(marked)
            rule = {h for h, _ in model.rule.hyperparameters} | {str(slot) for slot, _ in model.rule.slots}
            declared = declared_program(model)
            plan = plan_module(model, declared, "float64", threads)
            found.append((module_text(declared, plan, module_codes(plan)), rule))
    return found


def globals_of(text: str) -> set[str]:
    """What a module binds at its top level."""
    tree = ast.parse(text)
    inside = {
        n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.ClassDef) for n in ast.walk(f) if n is not f
    }
    nodes = [n for n in ast.walk(tree) if n not in inside]
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = [a for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
    return names | {a.asname or a.name for a in imported}


def collected(makes: Iterable[Callable[[Called], Model]]) -> dict[str, set[str]]:
    """The tables of these models, but OF_MODES."""
    found: dict[str, set[str]] = {table: set() for table in MEANING if table != "OF_MODES"}
    for text, rule in (module for make in makes for module in modules(make)):
        found["GLOBALS"] |= {name for name in globals_of(text) if not is_marked(name)}
        for f in functions_of(text):
            for table, own in tables_of(f).items() if not is_marked(f.name) else ():
                found[table] |= {name for name in own - CHOSEN if not is_marked(name) and name not in rule}
    return found


def tables_of(f: Function) -> dict[str, frozenset[str]]:
    """What a function adds to the tables."""
    every, made = f.bound.union(f.referred_to, [f.decorator] if f.decorator else []), dict[str, frozenset[str]]()
    if f.decorator and has(f.bound, ARRAYS):
        made["BESIDE_ARRAYS"] = every
    if not f.decorator and has(f.bound, INPUTS):
        made["BESIDE_INPUTS"] = f.referred_to.union(f.arguments)
        made["BESIDE_RESULTS"] = every
    if has(f.bound, RULE) or {"theta", "bar"} <= {*f.arguments}:  # a step
        made["BESIDE_RULE"] = every
    if has(f.bound, SIZES):
        made["BESIDE_SIZES"] = every
    return made


def fixed_names() -> dict[str, tuple[str, ...]]:
    """The tables."""
    always = collected([*STILL, *(partial(make, modes=False) for make in MODAL)])
    every = collected([*STILL, *MODAL])
    own = {table: every[table] - always[table] for table in every if table != "GLOBALS"}
    found = {**always, "GLOBALS": every["GLOBALS"], "OF_MODES": set[str]().union(*own.values())}
    # Those that all modules have, or Python, are no inputs' names, though only functions with modes refer to them.
    found["BESIDE_INPUTS"] = always["BESIDE_INPUTS"] | every["BESIDE_INPUTS"] & (always["GLOBALS"] | {*dir(builtins)})
    found["BESIDE_RULE"] -= CALLED
    return {table: tuple(sorted(names)) for table, names in found.items()}


def text() -> str:
    """The file's text."""
    parts, before = [HEAD], dict[str, tuple[str, ...]]()
    for table, names in fixed_names().items():
        whole = [other for other, own in before.items() if {*own} <= {*names}]
        rest = " ".join(name for name in names if not any(name in before[other] for other in whole))
        lines = textwrap.fill(rest, 120, initial_indent="    ", subsequent_indent="    ")
        value = " + ".join([*whole, f'words(\n    """\n{lines}\n    """\n)'])
        parts.append(f"# {MEANING[table]}\n{table} = {value}\n")
        before[table] = names
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET}")
