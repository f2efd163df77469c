"""The expression of a spec whose evaluation raised an error, as its author wrote it, and what its names stand for."""

from __future__ import annotations

import ast
import builtins
import linecache
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from derivgen.errors import PACKAGE

LIBRARIES = {"site-packages", "dist-packages", "sympy", "numpy"}  # folders of code that no author of a spec wrote


@dataclass(frozen=True, slots=True)
class Failing:
    """Where an error was raised: the line, the expression, None where that can't be told, and the names there."""

    file: str
    line: int
    in_function: bool
    expression: ast.expr | None
    names: Mapping[str, Any]

    def value(self, node: ast.expr) -> Any:
        """What a name, or an attribute of one, stands for; None for anything else."""
        match node:
            case ast.Name():
                return self.names.get(node.id)
            case ast.Attribute():
                return getattr(self.value(node.value), node.attr, None)
        return None

    @property
    def called(self) -> Any:
        """The function that the expression calls; None where it calls none."""
        return self.value(self.expression.func) if isinstance(self.expression, ast.Call) else None

    @property
    def tree(self) -> ast.Module | None:
        """All of the file."""
        try:
            return ast.parse("".join(linecache.getlines(self.file)))
        except SyntaxError:
            return None


def innermost(error: BaseException) -> Failing | None:
    """Where the error was raised, be it in the library."""
    places = places_of(error)
    return failing_at(*places[-1]) if places else None


def innermost_of_author(error: BaseException) -> Failing | None:
    """The last line before the error that is neither of derivgen nor of a library."""
    places = [(frame, summary) for frame, summary in places_of(error) if is_author(Path(summary.filename))]
    return failing_at(*places[-1]) if places else None


def places_of(error: BaseException) -> list[tuple[FrameType, traceback.FrameSummary]]:
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return list(zip(frames, traceback.extract_tb(error.__traceback__), strict=True))


def is_author(file: Path) -> bool:
    return PACKAGE not in file.parents and LIBRARIES.isdisjoint(file.parts)


def failing_at(frame: FrameType, place: traceback.FrameSummary) -> Failing:
    first = place.lineno or 1
    names = {**vars(builtins), **frame.f_globals, **frame.f_locals}
    lines = [linecache.getline(place.filename, n) for n in range(first, (place.end_lineno or first) + 1)]
    lines[-1] = lines[-1].encode()[: place.end_colno].decode(errors="ignore")
    lines[0] = lines[0].encode()[place.colno or 0 :].decode(errors="ignore")
    try:
        expression = ast.parse(f"({''.join(lines).strip()})", mode="eval").body
    except SyntaxError:
        expression = None
    return Failing(place.filename, first, frame.f_code.co_name != "<module>", expression, names)
