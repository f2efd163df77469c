"""Whether two functions are the same except for names and sizes."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from derivgen.review.names import Names

EXTENTS = ("range", "reshape", "scratch", "view")  # calls whose whole numbers are extents


@dataclass
class Alike:
    """How one function becomes another: names, each always to the same one, and extents.

    `kept`: names that mean the same in both, as those of the functions that kernels call; `known`: words besides names
    that are others now; `numbers`: all whole numbers may be others.
    """

    kept: Container[str] = ()
    known: Names = field(default_factory=Names)
    numbers: bool = False
    names: dict[str, str] = field(default_factory=dict)
    extents: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def renamed(self) -> list[tuple[str, str]]:
        return [(a, b) for a, b in self.names.items() if a != b]

    def words(self, names: Iterable[tuple[str, str]]) -> str:
        """These names, and the extents, in words."""
        return ", ".join(f"{old} → {new}" for old, new in [*names, *self.extents])

    def matches(self, a: object, b: object, extent: str = "") -> bool:
        """Whether two nodes of Python's syntax are the same except for names, and extents: in a shape, or in a call."""
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(self.matches(x, y, extent) for x, y in zip(a, b, strict=True))
        if type(a) is not type(b):
            return False
        if isinstance(a, ast.Name) and isinstance(b, ast.Name):
            return self.named(a.id, b.id)
        if isinstance(a, ast.Constant) and isinstance(b, ast.Constant) and type(a.value) is type(b.value) is int:
            return a.value == b.value or self.numbers or self.resized(a.value, b.value, extent)
        if isinstance(a, ast.arg) and isinstance(b, ast.arg):
            return self.named(a.arg, b.arg) and self.matches(a.annotation, b.annotation, "shape")
        if isinstance(a, ast.FunctionDef) and isinstance(b, ast.FunctionDef):
            parts = ((a.decorator_list, b.decorator_list), (a.args, b.args), (body_of(a), body_of(b)))
            return all(self.matches(x, y) for x, y in parts)
        if isinstance(a, ast.Call) and isinstance(b, ast.Call):
            inside = "call" if called(a) in EXTENTS else ""
            return self.matches(a.func, b.func) and self.matches([*a.args, *a.keywords], [*b.args, *b.keywords], inside)
        if isinstance(a, ast.AST) and isinstance(b, ast.AST):
            return all(self.matches(getattr(a, f, None), getattr(b, f, None), extent) for f in a._fields)
        return a == b or (isinstance(a, str) and self.known.in_code(a) == b)

    def resized(self, a: int, b: int, extent: str) -> bool:
        """Whether a number may be another one: an argument's extent, or one of a call, which changes in proportion."""
        in_proportion = any(a * int(q) == b * int(p) for p, q in self.extents)
        known = extent == "shape" or (extent == "call" and in_proportion)
        if known:
            self.extents[str(a), str(b)] = None
        return known

    def named(self, a: str, b: str) -> bool:
        if a in self.kept or b in self.kept:
            return a == b
        return self.names.setdefault(a, b) == b


def alike(before: str, after: str, found: Alike) -> Alike | None:
    """How one function's text becomes the other's, except for layout and docstring; None where it takes more."""
    same = found.matches(ast.parse(before).body, ast.parse(after).body)
    one_to_one = len({*found.names.values()}) == len(found.names)
    return found if same and one_to_one else None


def called(node: ast.Call) -> str:
    return str(getattr(node.func, "id", getattr(node.func, "attr", "")))


def body_of(node: ast.FunctionDef) -> list[ast.stmt]:
    """What a function does, without its docstring."""
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def docstring(text: str) -> str:
    """The docstring of a function's text, on one line."""
    (node,) = ast.parse(text).body
    found = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
    return " ".join((found or "").split())
