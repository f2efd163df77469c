"""What to write for a name that a spec uses and does not have."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

from derivgen.errors import nearest
from derivgen.project.failing import Failing, innermost_of_author

# What a name that a spec does not know may be imported from.
LIBRARIES = ("activations", "losses", "layers", "optimizers", "initializers", "schedules")
TENSORS = ("input", "labels", "parameter", "running", "random")  # methods of a model that take sizes
SUMS = ("Sum", "MaxOver")
ALIKE = 0.75  # of two names, of which one may be the other misspelt


def undefined_name(name: str, error: BaseException) -> str:
    """A name that the spec uses and does not have: what it should be, by its use, or where it is."""
    failing = innermost_of_author(error)
    uses = set(uses_of(name, failing.tree)) if failing and failing.tree else set()
    if failing and (line := defined_later(name, failing)):
        return f"{name} is not defined yet, only at line {line}: move that line above this one"
    if "index" in uses:
        return f"{name} is not defined: an index is made by {name} = model.indices({name}=N), where N is its size"
    if "size" in uses:
        return (
            f'{name} is not defined: a size is made by {name} = model.batch("{name}") if the data decide it, else by '
            f"{name} = model.sizes({name}=3)"
        )
    if place := home_of(name):
        return f"{name} is not defined: write from {place} import {name}"
    known = failing.names if failing and len(name) > 2 else ()
    return f"{name} is not defined here{nearest(name, known, ALIKE) or ': define it above this line, or import it'}"


def defined_later(name: str, failing: Failing) -> int | None:
    """The line below at which the file defines the name."""
    if failing.tree is None or failing.in_function:
        return None
    later = (statement for statement in failing.tree.body if statement.lineno > failing.line)
    return next((statement.lineno for statement in later if name in defined_by(statement)), None)


def defined_by(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning."""
    match statement:
        case ast.Assign(targets=targets):
            return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
    return set()


def uses_of(name: str, tree: ast.Module) -> Iterator[str]:
    """Whether the name is used as an index, as a size, or as neither."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=subscripts) if mentions(subscripts, name):
                yield "index"
            case ast.Call(func=ast.Name(id=function), args=[_, *indices]) if function in SUMS:
                yield from ("index" for index in indices if mentions(index, name))
            case ast.Call(func=ast.Attribute(attr="indices"), keywords=ranges):
                yield from ("size" for each in ranges if mentions(each.value, name))
            case ast.Call(func=ast.Attribute(attr=method), args=[_, *sizes]) if method in TENSORS:
                yield from ("size" for size in sizes if mentions(size, name))


def mentions(node: ast.expr, name: str) -> bool:
    """Whether an expression has the name, and not as a function that it calls."""
    called = {call.func for call in ast.walk(node) if isinstance(call, ast.Call)}
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node) if inner not in called)


def home_of(name: str) -> str:
    """The module that has this function or constant: one of the library, or SymPy; empty where neither has it."""
    if len(name) == 1:  # SymPy's E and N are hardly meant
        return ""
    for module in (*(f"derivgen.{library}" for library in LIBRARIES), "derivgen"):
        found = getattr(importlib.import_module(module), name, None)
        if callable(found) and str(getattr(found, "__module__", "")).startswith("derivgen"):
            return module
    return "sympy" if hasattr(importlib.import_module("sympy"), name) else ""
