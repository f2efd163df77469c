"""What a user's mistake ends in: a message that says where, what was expected, what was found, what to do."""

from __future__ import annotations

import difflib
import itertools
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
SHOWN = 8  # names in one message


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's file; prints as `digits.py:14`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal, or one warning."""

    place: Place | None
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class DerivgenError(Exception):
    """Base of the errors that the user can fix; the command prints them without a traceback."""


class SpecError(DerivgenError, ValueError):
    """A spec was refused, with every problem that was found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def caller() -> Place | None:
    """The innermost line on the stack that is not of this package: where the user wrote the call."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents and "sympy" not in path.parts:
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def nearest(word: str, words: Iterable[str], cutoff: float = 0.5) -> str:
    """`; did you mean learning_rate?`, or nothing; capitals and hyphens are all the same.

    `cutoff`: how alike they must be at least, 1 for the same word.
    """
    plain = {other.casefold().replace("-", ""): other for other in words}
    found = difflib.get_close_matches(word.casefold().replace("-", ""), plain, n=1, cutoff=cutoff)
    return f"; did you mean {plain[found[0]]}?" if found else ""


def listed(names: Collection[str]) -> str:
    """The names, or the first of them."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(name or "''" for name in itertools.islice(names, SHOWN)) + more) or "nothing"


def counted(number: int, noun: str) -> str:
    """`1 axis`, `2,000 axes`."""
    plural = {"axis": "axes", "index": "indices"}.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def system_words(error: OSError) -> str:
    """What the system refused, in words: a file, or else what the command prints."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}. Give another path, or fix this one"
    printing = isinstance(error, BrokenPipeError) or output_fails()
    return f"what this command prints can't be written: {reason}" if printing else reason


def output_fails() -> bool:
    """Whether what was printed can't be written."""
    try:
        print(end="", flush=True)
    except OSError:
        return True
    return False


def show_warnings(warnings: Iterable[Problem]) -> None:
    """On the standard error stream, a line each."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


class Refused(Exception):
    """Raised inside an expression that can't be accepted; ends as a problem at the expression's line."""
