"""What differs between two modules, by their texts alone: by Python's syntax, and by what runs in plain Python.

A second opinion on what `derivgen review` says of an edit, which shares no code with it.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any
from zlib import crc32

import numpy as np
from generated import execute

KERNELS = ("kernel", "aliased_kernel", "parallel_kernel")
ROWS = 2  # what run-time sizes are
LONGEST = 100_000  # operations of a step that is run in plain Python
Arrays = dict[str, np.ndarray]


class Module:
    """A module's text, what it defines by name, and itself, run without a compiler; `names`: old names and new ones."""

    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self.names = names
        self.as_written, mark, self.fixed = text.partition("\n# ==== ")
        own = self.renamed(self.as_written)
        self.text = own + mark + self.fixed
        self.nodes = {name_of(node): node for node in ast.parse(own).body}

    def renamed(self, text: str) -> str:
        """Under the new names, also where they are parts of names."""
        for old, new in self.names.items():
            text = re.sub(rf"(?<![A-Za-z0-9]){old}(?![A-Za-z0-9])", new, text)
        return text

    @cached_property
    def run(self) -> ModuleType:
        return execute(self.text)

    @cached_property
    def kernels(self) -> dict[str, ast.FunctionDef]:
        return {name: node for name, node in self.functions.items() if mark_of(node) in KERNELS}

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {name: node for name, node in self.nodes.items() if isinstance(node, ast.FunctionDef)}

    @cached_property
    def arrays(self) -> dict[str, str]:
        """Numbers that stand in the module: constants, and initial values."""
        found = {name: node for name, node in self.nodes.items() if name.startswith(("CONSTANT_", "INITIAL_"))}
        return {name: ast.dump(node) for name, node in found.items()}

    @cached_property
    def frame(self) -> list[str]:
        """The statements before the first kernel, as they stand in the text, without the module's docstring."""
        nodes = ast.parse(self.as_written).body[1:]
        marks = [mark_of(node) in KERNELS for node in nodes]
        return [ast.dump(node) for node in nodes[: marks.index(True)]]

    @cached_property
    def formulas(self) -> dict[str, list[str]]:
        """Those that the module opens with, by the tensors that they define."""
        (comment,) = re.findall(r"\n# The model:\n((?:#.*\n)+)", self.text)
        found: dict[str, list[str]] = {}
        for line in re.sub(r"\n# {6,}", " ", comment).splitlines():
            found.setdefault(re.split(r"[\[ ]", line.lstrip("# "))[0], []).append(line)
        return found

    def behind(self, name: str) -> dict[str, str]:
        """What a function refers to, and what this refers to: the module's own elementary functions and numbers."""
        found, left = {"what all modules have": self.fixed}, [name]
        while left:
            node = self.nodes[left.pop()]
            for read in {*names_in(node)} & self.nodes.keys() - own_names(node) - found.keys() - {name}:
                found[read] = ast.dump(self.nodes[read])
                left.append(read)
        return found

    def arguments(self, name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The arguments of a kernel, each with Real or Integer and a shape; a size by itself has neither."""
        sizes, found = dict.fromkeys(self.run.SIZES, ROWS), {}
        for argument in self.kernels[name].args.args:
            kind, _, shape = ast.unparse(argument.annotation).partition("[") if argument.annotation else ("", "", "")
            found[argument.arg] = kind, eval(f"({shape.rstrip(']')},)", dict(sizes)) if kind else ()
        return found

    def results(self, name: str, seeds: Iterable[str]) -> Arrays:
        """The arrays of a kernel, after a call with random ones, each drawn by its seed."""
        kinds = self.arguments(name)
        given = {n: (seed, shape, kind) for (n, (kind, shape)), seed in zip(kinds.items(), seeds, strict=True) if kind}
        arrays = {n: drawn(seed, shape, kind != "Real", self.run.real) for n, (seed, shape, kind) in given.items()}
        with np.errstate(all="ignore"):
            getattr(self.run, name)(*(arrays.get(n, ROWS) for n in kinds))
        return arrays

    @cached_property
    def parameters(self) -> dict[str, tuple[Any, ...]]:
        return {p.name: (p.shape, p.trained) for p in self.run.PARAMETERS}

    @cached_property
    def inputs(self) -> dict[str, tuple[Any, ...]]:
        return {i.name: (i.shape, i.classes, i.ignore) for i in self.run.INPUTS}

    @property
    def is_short(self) -> bool:
        """Whether a step is soon over in plain Python."""
        (words,) = re.findall(r"a step: at most (.*?) flops", self.text)
        return bool(eval(words, dict.fromkeys(self.run.SIZES, ROWS)) < LONGEST)

    @cached_property
    def gradient(self) -> Arrays:
        """The loss and the gradient by parameters, at random numbers."""
        module, sizes = self.run, dict.fromkeys(self.run.SIZES, ROWS)
        flat = np.concatenate([drawn(p.name, p.shape or (1,), False, module.real).ravel() for p in module.PARAMETERS])
        shapes = {i.name: tuple(sizes.get(extent, extent) for extent in i.shape) for i in module.INPUTS}
        inputs = {i.name: drawn(i.name, shapes[i.name], bool(i.classes), module.real) for i in module.INPUTS}
        loss, found = module.loss_and_gradient(flat, **inputs)
        parts = {p.name: found[p.offset :][: np.prod(p.shape, dtype=int)] for p in module.PARAMETERS}
        return {"loss": np.array(loss), **parts}


def name_of(node: ast.stmt) -> str:
    return str(getattr(node, "name", "")) or ast.unparse(getattr(node, "targets", [node])[0])


def mark_of(node: ast.stmt) -> str:
    return "".join(ast.unparse(mark) for mark in getattr(node, "decorator_list", [])[:1])


def names_in(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def own_names(node: ast.AST) -> set[str]:
    """The names that a kernel gives: to arguments, sizes and locals."""
    arguments = [a for a in ast.walk(node) if isinstance(a, ast.arg)]
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    shown = {name for a in arguments if a.annotation for name in names_in(a.annotation)}
    return {a.arg for a in arguments} | stored | shown - {"Real", "Integer"}


class Canonical(ast.NodeTransformer):
    """Numbers a function's own names in their order; with `sizes`, takes whole numbers out into a list."""

    def __init__(self, node: ast.FunctionDef, sizes: bool) -> None:
        self.sizes, self.places, self.taken = sizes, dict[str, str](), list[int]()
        self.own = own_names(node)

    def named(self, name: str) -> str:
        return self.places.setdefault(name, f"own_{len(self.places)}") if name in self.own else name

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.named(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self.named(node.arg), node.annotation and self.visit(node.annotation))

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not self.sizes or type(node.value) is not int:
            return node
        self.taken.append(node.value)
        return ast.Constant(0)


def canonical(node: ast.FunctionDef, sizes: bool = False) -> tuple[str, list[int]]:
    """A function without its name and docstring, under names that no renaming changes, and its sizes apart."""
    node = without_words(node)
    node.name = ""
    visitor = Canonical(node, sizes)
    return ast.dump(visitor.visit(node)), visitor.taken


def same_but_for(a: ast.FunctionDef, b: ast.FunctionDef, sizes: Collection[tuple[int, int]]) -> bool:
    """Whether one kernel is the other one where some whole numbers change, each pair of those somewhere."""
    (x, old), (y, new) = canonical(a, True), canonical(b, True)
    return x == y and {(p, q) for p, q in zip(old, new, strict=True) if p != q} == {*sizes}


def without_words(node: ast.FunctionDef) -> ast.FunctionDef:
    """A copy without its docstring."""
    node = copy.deepcopy(node)
    node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return node


def without_numbers(node: ast.FunctionDef) -> str:
    return re.sub(r"Constant\(value=\d+\)", "", ast.dump(without_words(node)))


def drawn(seed: str, shape: tuple[int, ...], whole: bool, real: type) -> np.ndarray:
    """Numbers between ½ and 2, or zeros and ones."""
    rng = np.random.default_rng(crc32(seed.encode()))
    return rng.integers(0, 2, shape) if whole else rng.uniform(0.5, 2, shape).astype(real)


def same_bits(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)


def how_far(a: Arrays, b: Arrays) -> float:
    """The largest difference, relative to an array's largest element; infinite where one of two has NaN."""
    worst = 0.0
    for x, y in ((a[name].astype(float), b[name].astype(float)) for name in a):
        largest = max(np.max(np.abs(y), initial=0.0), np.finfo(np.float32).tiny)
        off = np.max(np.abs(x - y), initial=0.0) / largest if np.array_equal(np.isnan(x), np.isnan(y)) else np.inf
        worst = max(worst, float(np.nan_to_num(off, posinf=np.inf)))
    return worst


def differing_functions(a: Module, b: Module) -> set[str]:
    """The functions besides kernels that are new, gone, or differ; by integers, elementary ones alone."""
    old, new = ({name: node for name, node in m.functions.items() if name not in m.kernels} for m in (a, b))
    found, names = old.keys() ^ new.keys(), moved_kernels(a, b)
    for name in old.keys() & new.keys():
        exact = mark_of(new[name]) == "elementary"
        x, y = (ast.dump(without_words(m[name])) if exact else without_numbers(m[name]) for m in (old, new))
        found |= {name} if re.sub(r"(?<=Name\(id=')\w+", lambda m: names.get(m[0], m[0]), x) != y else set()
    return found


def moved_kernels(a: Module, b: Module) -> dict[str, str]:
    """Kernels that are gone, each with a new one that does the same."""
    gone, new = ([name for name in m.kernels if name not in other.kernels] for m, other in ((a, b), (b, a)))
    does = {str(canonical(b.kernels[name])): name for name in new}
    twins = {name: does.get(str(canonical(a.kernels[name]))) for name in gone}
    return {name: twin for name, twin in twins.items() if twin}


def differing_signatures(a: Module, b: Module) -> set[str]:
    """The functions for callers that take other arguments, or other defaults, of those that both have."""
    public = {name for name, node in a.functions.items() if not node.decorator_list} & b.functions.keys()
    signatures = [{n: str(inspect.signature(getattr(m.run, n))) for n in public} for m in (a, b)]
    return {name for name in public if signatures[0][name] != signatures[1][name]}


def differing_rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    """The entries of a table that are new, gone or others."""
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def in_another_order(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether what two tables both have stands in another order."""
    return [name for name in a if name in b] != [name for name in b if name in a]


def buffers_of(module: Module) -> tuple[set[str], int]:
    """The names of the buffers of a step, and the bytes that they take."""
    calls = (n for n in ast.walk(module.functions["buffers"]) if isinstance(n, ast.keyword))
    memory = module.run.new_memory(**dict.fromkeys(module.run.SIZES, ROWS))
    return {call.arg for call in calls if call.arg}, sum(array.nbytes for array in memory)
