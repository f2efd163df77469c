"""A failing spec made smaller: statements and parts of expressions are left out as long as it fails in the same way."""

from __future__ import annotations

import ast
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from random_specs import Spec

AnySpec = TypeVar("AnySpec", bound=Spec)
HEAD = 3  # the imports and the model


def shrink(spec: AnySpec, failure: Callable[[AnySpec], str], seconds: float = 60) -> AnySpec:
    """The smallest spec found in this time whose failure is called the same."""
    wanted, end = failure(spec), time.monotonic() + seconds
    smaller: AnySpec | None = spec
    while smaller is not None:
        spec, smaller = smaller, None
        for text in smaller_texts(spec.text):
            if time.monotonic() > end:
                return spec
            candidate = replace(spec, text=text)
            if failure(candidate) == wanted:
                smaller = candidate
                break
    return spec


def smaller_texts(text: str) -> Iterator[str]:
    """The text without a statement, or with a part of an expression in place of the whole; large cuts first."""
    tree = ast.parse(text)
    for k in reversed(range(HEAD, len(tree.body))):
        yield ast.unparse(ast.Module([*tree.body[:k], *tree.body[k + 1 :]], []))
    for place, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Call | ast.BinOp | ast.Subscript | ast.Tuple):
            inner = [c for c in ast.walk(node) if isinstance(c, ast.expr) and c is not node]
            for part in [*inner[: 2 * len(list(ast.iter_child_nodes(node)))], ast.Constant(1), ast.Constant(0)]:
                shorter = ast.unparse(Put(place, part).visit(copy.deepcopy(tree)))
                if len(shorter) < len(ast.unparse(tree)):
                    yield shorter


class Put(ast.NodeTransformer):
    """Another expression in place of one node of a tree, which is told by its number in `ast.walk`."""

    def __init__(self, place: int, part: ast.expr) -> None:
        self.place, self.part = place, part

    def visit(self, node: ast.AST) -> ast.AST:
        for place, found in enumerate(ast.walk(node)):
            if place == self.place:
                self.node = found
        return self.replaced(node)

    def replaced(self, node: ast.AST) -> ast.AST:
        if node is self.node:
            return self.part
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [self.replaced(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.replaced(value))
        return node
