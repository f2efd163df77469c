"""The lines of a spec that a definition was made by."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from derivgen.errors import Place

LONGEST = 16  # lines of one statement that are shown


@dataclass(frozen=True, slots=True)
class Source:
    """A statement of a spec, line by line; no lines where the definition was made outside of files."""

    file: str = ""
    lines: tuple[tuple[int, str], ...] = ()

    @property
    def text(self) -> str:
        return textwrap.dedent("\n".join(line for _, line in self.lines))


def source_at(place: Place | None) -> Source:
    """The innermost statement around a place."""
    if place is None or not Path(place.file).is_file():
        return Source()
    lines = lines_of(place.file)
    first, last = min(spans(place.file, place.line), key=lambda span: span[1] - span[0], default=(place.line,) * 2)
    numbers = range(first, min(last, first + LONGEST - 1, len(lines)) + 1)
    return Source(Path(place.file).name, tuple((number, lines[number - 1]) for number in numbers))


@cache
def lines_of(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines()


def spans(file: str, line: int) -> Iterator[tuple[int, int]]:
    """(first line, last line) of each statement around a line; of one with a body, what precedes the body."""
    for node in ast.walk(ast.parse("\n".join(lines_of(file)))):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else int(node.end_lineno or node.lineno)
            if node.lineno <= line <= max(last, node.lineno):
                yield node.lineno, max(last, node.lineno)
