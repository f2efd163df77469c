"""A failing spec made smaller: statements and parts of expressions are left out as long as it fails in the same way."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from random_specs import Spec

AnySpec = TypeVar("AnySpec", bound=Spec)
HEAD = 3  # the imports and the model
CUT = (ast.Call, ast.BinOp, ast.Subscript, ast.Tuple)


def shrink(spec: AnySpec, failure: Callable[[AnySpec], str], seconds: float = 60) -> AnySpec:
    """The smallest spec found in this time whose failure is called the same."""
    wanted, end = failure(spec), time.monotonic() + seconds
    before = ""
    while before != spec.text:
        before, passed = spec.text, 0
        while (cuts := list(smaller_texts(spec.text)))[passed:]:
            if time.monotonic() > end:
                return spec
            candidate = replace(spec, text=cuts[passed])
            if failure(candidate) == wanted:
                spec = candidate
            else:
                passed += 1
    return spec


def smaller_texts(text: str) -> Iterator[str]:
    """The text without a statement, or with a part of an expression in place of the whole; large cuts first."""
    lines = [ast.unparse(statement) for statement in ast.parse(text).body]
    for k in reversed(range(HEAD, len(lines))):
        yield "\n".join([*lines[:k], *lines[k + 1 :]])
    texts = [(k, ast.unparse(node)) for k in range(HEAD, len(lines)) for node in parts(ast.parse(lines[k]))]
    for k, whole in sorted(dict.fromkeys(texts), key=lambda found: -len(found[1])):
        inner = [ast.unparse(c) for c in parts(ast.parse(whole, mode="eval").body)][1:4]
        for part in dict.fromkeys(["0", "1", *sorted(inner, key=len)]):
            if len(part) < len(whole):
                yield "\n".join([*lines[:k], lines[k].replace(whole, part, 1), *lines[k + 1 :]])


def parts(tree: ast.AST) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, CUT))
