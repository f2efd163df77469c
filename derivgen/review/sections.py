"""A module's text in sections that a reviewer signs: functions, tables, and what all modules have."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derivgen.file.comments import as_docstring
from derivgen.print.naming import KERNELS
from derivgen.print.text import FIXED

NUMBERS = ("CONSTANT_", "INITIAL_")  # arrays that the spec gives


# A function of C, under the comment that says what it does.
IN_C = re.compile(
    r"^(?:/\*(?:(?!\*/).)*\*/\n)?[^\n #/}][^;{}]*?\b(\w+)\([^;{}]*\)\n\{\n.*?^\}$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a module: `kind` is kernel, elementary, function, numbers, table, frame or fixed; of C, one of two."""

    name: str
    kind: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def lines(self) -> int:
        return self.text.count("\n") + 1


def sections_of(text: str) -> tuple[Section, ...]:
    """The sections of a module's text, in its order; blank lines, comments and the header belong to none.

    "def f(): …" is the section f, "PARAMETERS = …" the section PARAMETERS.
    """
    if text.startswith("/*"):
        return sections_of_c(text)
    found = FIXED.search(text)
    own = text[: found.start()] if found else text
    sections = list(merged(own))
    if found:
        sections.append(Section(f"what all {found[1]} modules have", "fixed", text[found.start() :].rstrip("\n")))
    return tuple(sections)


def sections_of_c(text: str) -> tuple[Section, ...]:
    """The functions of a file of C, and the rest of it, which is the frame: the whole of a header."""
    own = text[as_docstring(text)[1] :]
    functions = [Section(found[1], "function", found[0]) for found in IN_C.finditer(own)]
    return (Section("frame", "frame", IN_C.sub("", own).strip("\n")), *functions)


def merged(text: str) -> Iterator[Section]:
    """The sections of what is a model's own; what precedes its first kernel is the frame."""
    lines, nodes = text.splitlines(), ast.parse(text).body
    frame: list[str] = []
    nodes = [node for node in nodes if not is_docstring(node)]
    started = False
    for node in nodes:
        piece = "\n".join(lines[first_line(node) - 1 : node.end_lineno])
        if not started and not (isinstance(node, ast.FunctionDef) and node.decorator_list):
            frame.append(piece)
            continue
        if not started:
            started = True
            yield Section("frame", "frame", "\n".join(frame))
        yield Section(name_of(node), kind_of(node), piece)


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def name_of(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[target, *_]):
            return ast.unparse(target)
        case _:
            return ast.unparse(node).splitlines()[0]


def kind_of(node: ast.stmt) -> str:
    if not isinstance(node, ast.FunctionDef):
        return "numbers" if name_of(node).startswith(NUMBERS) else "table"
    word = node.decorator_list[0].id if node.decorator_list and isinstance(node.decorator_list[0], ast.Name) else ""
    return "kernel" if word in KERNELS else "elementary" if word == "elementary" else "function"


def behind(name: str, sections: Sequence[Section]) -> dict[str, str]:
    """The digests of what a function refers to, and of what that refers to."""
    by_name = {s.name: s for s in sections if s.kind == "elementary" or s.name == name}
    found, left = {s.name: s.digest for s in sections if s.kind == "fixed"}, [name]
    while left:
        names = {n.id for n in ast.walk(ast.parse(by_name[left.pop()].text)) if isinstance(n, ast.Name)}
        new = names & by_name.keys() - {name, *found}
        found |= {called: by_name[called].digest for called in new}
        left += new
    return found
