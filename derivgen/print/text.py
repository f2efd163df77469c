"""Lines of Python as `ruff format --line-length 120` leaves them alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from derivgen.print.layout import STEP, WIDTH


def docstring(paragraphs: Sequence[str], depth: int = 1) -> list[str]:
    """A docstring of one line, or of several with the closing quotes on their own."""
    room = WIDTH - len(STEP) * depth
    # With nothing below them, continued lines are not indented: the formatter would take that back.
    indent = STEP if len(paragraphs) > 1 else ""
    lines = [line for p in paragraphs for line in wrapped(p.replace("\\", "\\\\"), room, indent)]
    if len(lines) == 1 and len(lines[0]) + 6 <= room:
        return [f'"""{lines[0]}"""']
    if len(lines) == 1:
        lines = wrapped(paragraphs[0], room - 6, indent)
    if len(lines[0]) + 3 > room:
        lines = [line for p in paragraphs for line in wrapped(p, room - 3, indent)]
    return [f'"""{lines[0]}', *lines[1:], '"""']


def wrapped(text: str, room: int, indent: str = STEP) -> list[str]:
    """A formula over several lines, broken at spaces, the rest indented."""
    lines, rest = [], text
    while len(rest) > room:
        cut = rest.rfind(" ", max(len(STEP), len(indent)) + 1, room + 1)
        if cut < 0:
            cut = rest.find(" ", room)
            if cut < 0:
                break
        lines.append(rest[:cut])
        rest = indent + rest[cut + 1 :]
    return [*lines, rest]


def titled(title: str) -> str:
    """A comment that opens a section."""
    return f"# ---- {title} {'-' * max(4, 100 - len(title) - 8)}"


FIXED = re.compile(r"^# ==== the same in each (\w+) module of one derivgen, sha256 (\w+) =*$", re.MULTILINE)


def fixed_title(dtype: str, text: str) -> str:
    """The comment before what is the same in all modules."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"# ==== the same in each {dtype} module of one derivgen, sha256 {digest} ".ljust(100, "=")


def tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def tuple_lines(prefix: str, items: Sequence[str], depth: int = 1) -> list[str]:
    """prefix and a tuple, on one line or with each item on its own."""
    flat = prefix + tuple_text(items)
    return (
        [flat] if len(flat) <= WIDTH - len(STEP) * depth else [f"{prefix}(", *(f"{STEP}{item}," for item in items), ")"]
    )
