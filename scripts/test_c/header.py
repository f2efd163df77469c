"""What a generated header says: its functions, their arguments, and how long the arrays are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FUNCTION = re.compile(r"/\*((?:(?!\*/).)*)\*/\n(int|ptrdiff_t) (\w+)\(([^)]*)\);", re.S)
PARAMETER = re.compile(r"(const )?(\w+) (\*?)(\w+)$")


@dataclass(frozen=True)
class Parameter:
    """An argument; `count`: how many elements its array has, an expression of C, empty for a number."""

    type: str
    name: str
    pointer: bool
    written: bool
    count: str


@dataclass(frozen=True)
class Prototype:
    name: str
    returns: str
    parameters: tuple[Parameter, ...]

    @property
    def sizes(self) -> tuple[str, ...]:
        """Those that must be 1 at least; the number of a row is none."""
        return tuple(p.name for p in self.parameters if p.type == "ptrdiff_t" and not p.pointer and p.name != "row")


@dataclass(frozen=True)
class Header:
    """`name`: what the names of all functions start with."""

    name: str
    functions: Mapping[str, Prototype]


def read(text: str) -> Header:
    found = [prototype(*match.groups()) for match in FUNCTION.finditer(text)]
    name = next(f.name for f in found).removesuffix("_initial")
    return Header(name, {f.name.removeprefix(f"{name}_"): f for f in found})


def prototype(comment: str, returns: str, name: str, arguments: str) -> Prototype:
    counts = dict(shapes(comment))
    given = (PARAMETER.match(" ".join(part.split())) for part in arguments.split(",") if part.strip() != "void")
    parameters = []
    for match in given:
        assert match is not None, f"{name}({arguments})"
        constant, type_, star, own = match.groups()
        parameters.append(Parameter(type_, own, bool(star), bool(star) and not constant, counts.get(own, "")))
    return Prototype(name, returns, tuple(parameters))


def shapes(comment: str) -> Iterator[tuple[str, str]]:
    """`x: N × 64, y: N` of a comment's last paragraph, as products."""
    text = " ".join(line.strip().removeprefix("*").strip() for line in comment.strip().splitlines())
    _, _, last = text.rpartition(" (")
    while last.count("(") < last.count(")") - 1:  # a size such as 3 * (N + 1)
        text = text[: -len(last) - 2]
        last = f"{text.rpartition(' (')[2]} ({last}"
    for item in re.split(r", (?=\w+: )", last.removesuffix(")")):
        name, _, shape = item.partition(": ")
        if shape:
            yield name, " * ".join(f"({extent})" for extent in shape.split(" × "))
