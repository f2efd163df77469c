"""The names in a module's text, function by function: what each binds, and what it refers to."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from derivgen.file.fixed_names import GLOBALS
from derivgen.form.program import InvariantError
from derivgen.print.kernels import REFERRED_TO
from derivgen.print.text import FIXED

KERNELS = ("kernel", "aliased_kernel", "parallel_kernel")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a module. `packed`: the arguments that its first line takes together, which end there."""

    name: str
    decorator: str
    arguments: tuple[str, ...]
    loops: frozenset[str]
    assigned: frozenset[str]
    packed: frozenset[str]
    read: frozenset[str]

    @property
    def bound(self) -> frozenset[str]:
        return self.loops.union(self.assigned, self.arguments)

    @property
    def referred_to(self) -> frozenset[str]:
        """What is read from outside."""
        return self.read - self.bound


def functions_of(text: str) -> list[Function]:
    """The functions at the top level of a module's text, under conditions too."""
    fixed = FIXED.search(text)
    start = fixed.start() if fixed else len(text)
    return [*functions_in(text[:start]), *fixed_functions(text[start:])]


def functions_in(text: str) -> tuple[Function, ...]:
    return tuple(function_of(node) for node in definitions(ast.parse(text).body))


# Most of a short module's text is what all modules of its dtype have; a process that generates several reads it once.
fixed_functions = lru_cache(maxsize=4)(functions_in)


def definitions(body: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.If):
            yield from definitions((*node.body, *node.orelse))


def function_of(node: ast.FunctionDef) -> Function:
    a = node.args
    first = next((s for s in node.body if not isinstance(s, ast.Expr)), node)
    packed = first.value.elts if isinstance(first, ast.Assign) and isinstance(first.value, ast.Tuple) else []
    nodes = [n for s in node.body for n in ast.walk(s)]
    loops = [n for n in nodes if isinstance(n, ast.For | ast.comprehension)]
    in_loops = {n for loop in loops for n in ast.walk(loop.target)}
    once = [n for n in nodes if isinstance(n, ast.Name) and n not in packed]
    decorator = node.decorator_list[0] if node.decorator_list else None
    return Function(
        node.name,
        decorator.id if isinstance(decorator, ast.Name) else "",
        tuple(arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))),
        frozenset(n.id for n in once if n in in_loops),
        frozenset(n.id for n in once if isinstance(n.ctx, ast.Store) and n not in in_loops),
        frozenset(n.id for n in packed if isinstance(n, ast.Name)),
        frozenset(n.id for n in once if isinstance(n.ctx, ast.Load)),
    )


def check_names(text: str) -> str:
    """The text itself, or an InvariantError where a name has two meanings in one function."""
    for function in functions_of(text):
        for name in sorted(clashes(function)):
            raise InvariantError(f"{function.name}: {name} has two meanings")
    return text


def clashes(f: Function) -> set[str]:
    """The names that have two meanings in a function."""
    twice = {name for name in f.arguments if f.arguments.count(name) > 1}
    twice |= f.loops & {*f.arguments, *f.assigned}
    twice |= f.packed & f.read - f.assigned  # an input that hides what the function refers to
    if f.decorator in KERNELS and f.name not in GLOBALS:  # one of a layer
        twice |= {*f.arguments} & f.assigned | f.bound & REFERRED_TO | (f.referred_to - REFERRED_TO)
    return twice
