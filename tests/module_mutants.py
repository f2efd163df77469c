"""Mutants of generated modules and of certificates: one small mistake each, as a hand or a bug would make it."""

from __future__ import annotations

import ast
import copy
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

OPERATORS = {"+": "-", "-": "+", "*": "/", "/": "*", "<": "<=", ">": ">=", ">=": ">", "<=": "<", "==": "!="}
SYMBOLS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Lt: "<",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.LtE: "<=",
    ast.Eq: "==",
}
KERNELS = {"kernel", "aliased_kernel", "parallel_kernel"}
CALLERS = {"forward", "step", "split", "buffers", "update_kernel", "epoch", "descent"}


@dataclass(frozen=True)
class Mutant:
    """A module's text with one mistake."""

    kind: str
    function: str
    change: str
    text: str


class Text:
    """Source text whose nodes can be replaced."""

    def __init__(self, text: str) -> None:
        self.text, self.lines = text, text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: Any) -> tuple[int, int]:
        return self.place(node.lineno, node.col_offset), self.place(node.end_lineno, node.end_col_offset)

    def of(self, node: Any) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def replaced(self, *changes: tuple[tuple[int, int], str]) -> str:
        text = self.text
        for (start, end), new in sorted(changes, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def mutants(text: str) -> Iterator[Mutant]:
    """All that one change of a kind gives, in kernels and in what calls them."""
    source = Text(text)
    for function in (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)):
        marks = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
        if marks & KERNELS or function.name in CALLERS:
            found = [*in_code(source, function), *(in_docstring(source, function) if marks & KERNELS else ())]
            yield from (Mutant(kind, function.name, change, mutated) for kind, change, mutated in found)


def in_code(source: Text, function: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    body = function.body[1:]
    letters = [
        n.target.id for s in body for n in ast.walk(s) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)
    ]
    for node in (node for statement in body for node in ast.walk(statement)):
        match node:
            case ast.BinOp(left, operator, right) if type(operator) in SYMBOLS:
                yield from operators(source, left, right, SYMBOLS[type(operator)], "operator")
            case ast.Compare(left, [operator], [right]) if type(operator) in SYMBOLS:
                yield from operators(source, left, right, SYMBOLS[type(operator)], "operator")
            case ast.AugAssign(target, ast.Add(), value):
                start, end = source.span(target)[1], source.span(value)[0]
                yield "sign", f"{source.of(node)[:60]}: -=", source.replaced(((start, end), " -= "))
            case ast.UnaryOp(ast.USub(), operand):
                yield "sign", f"{source.of(node)[:60]}: +", source.replaced((source.span(node), source.of(operand)))
            case ast.Subscript(ast.Name(), slice=ast.Tuple(parts)):
                for part in parts:
                    other = next((a for a in letters if isinstance(part, ast.Name) and a != part.id), None)
                    if other and part.id in letters:  # type: ignore[attr-defined]
                        change = f"{source.of(node)[:60]}: {other} for {source.of(part)}"
                        yield "index", change, source.replaced((source.span(part), other))
            case ast.Call(ast.Name("range"), arguments):
                last = arguments[min(len(arguments) - 1, 1)]
                yield "bound", f"{source.of(node)}: - 1", source.replaced((source.span(last), f"{source.of(last)} - 1"))
                yield "bound", f"{source.of(node)}: + 1", source.replaced((source.span(last), f"{source.of(last)} + 1"))
            case ast.Call(ast.Name("view"), [_, start, _]):
                wrong = f"{source.of(start)} + 1"
                yield "offset", f"{source.of(node)}: {wrong}", source.replaced((source.span(start), wrong))
            case ast.Call(ast.Name(name), arguments) if name.endswith(
                ("_forward", "_backward", "_gradient", "_kernel")
            ):
                for a, b in itertools.pairwise(arguments):
                    swapped = source.replaced((source.span(a), source.of(b)), (source.span(b), source.of(a)))
                    yield "arguments", f"{name}: {source.of(a)} and {source.of(b)}", swapped
            case ast.Assign([ast.Subscript(ast.Name(), ast.Slice())]):
                yield "clear", source.of(node), source.replaced((source.span(node), "pass"))
    for first, second in itertools.pairwise(body):
        if all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) for s in (first, second)):
            swapped = source.replaced((source.span(first), source.of(second)), (source.span(second), source.of(first)))
            yield "calls", f"{source.of(first)[:40]} and {source.of(second)[:40]}", swapped


def operators(source: Text, left: ast.expr, right: ast.expr, symbol: str, kind: str) -> Iterator[tuple[str, str, str]]:
    start, end = source.span(left)[1], source.span(right)[0]
    between = source.text[start:end]
    if between.count(symbol) == 1:
        change = f"{source.of(left)[-30:]} {symbol} {source.of(right)[:30]}: {OPERATORS[symbol]}"
        yield kind, change, source.replaced(((start, end), between.replace(symbol, OPERATORS[symbol])))


def in_docstring(source: Text, function: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    """Of formulas, each sign and each product."""
    start, end = source.span(function.body[0])
    for old, new in ((" + ", " - "), (" - ", " + "), ("·", "/"), (" += ", " = "), ("²", "³"), (" ≥ ", " > ")):
        place = source.text.find(old, start, end)
        while place >= 0:
            yield (
                "docstring",
                f"{source.text[place - 20 : place + 20]!r}: {new}",
                source.replaced(((place, place + len(old)), new)),
            )
            place = source.text.find(old, place + 1, end)


def sample(text: str, count: int, seed: int = 0) -> list[Mutant]:
    """Some mutants, of each kind as many as there are."""
    by_kind: dict[str, list[Mutant]] = {}
    for mutant in mutants(text):
        by_kind.setdefault(mutant.kind, []).append(mutant)
    rng, chosen = random.Random(seed), list[Mutant]()
    pools = [rng.sample(found, len(found)) for _, found in sorted(by_kind.items())]
    while len(chosen) < count and any(pools):
        chosen += [pool.pop() for pool in pools if pool]
    return chosen[:count]


def certificate_mutants(certificate: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each adjoint lost, with another sign, factor or target; each cotangent unnamed."""
    for place, entry in enumerate(certificate["adjoints"]):
        left, _, right = entry["formula"].partition(" += ")
        fold, guard = (right.split(" ", 1)[0] + " " if right.startswith("Σ") else ""), right
        value = guard.removeprefix(fold)
        changes = {
            "lost": None,
            "sign": f"{left} += {fold}{value[1:] if value.startswith('-') else '-' + value}",
            "factor": f"{left} += {fold}2·{value}" if not value.startswith("-") else f"{left} += {fold}-2·{value[1:]}",
        }
        for kind, formula in changes.items():
            mutated = copy.deepcopy(certificate)
            if formula is None:
                del mutated["adjoints"][place]
            else:
                mutated["adjoints"][place]["formula"] = formula
            yield f"{kind}: {entry['formula']}", mutated
    for place, text in enumerate(certificate["stable"]):
        if " + " in text:
            mutated = copy.deepcopy(certificate)
            mutated["stable"][place] = text.replace(" + ", " - ", 1)
            yield f"formula: {text}", mutated
