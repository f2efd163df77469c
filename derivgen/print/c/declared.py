"""Where each local of a function is declared: in the innermost blocks outside of which nothing mentions its value.

Python's text assigns a local wherever it is made; C's needs one place, before a branch whose two ways make it:

    if (v > 0) { s = …; } else { s = …; }  y = s  →  double s;  if (v > 0) { s = …; } else { s = …; }  y = s
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from derivgen.code.tree import Assign, Block, Code, Let, Receive
from derivgen.code.visit import blocks_of, read_by, written_by

Path = tuple[int, ...]  # of a statement: its number, after those of the statements and blocks around it
Mention = tuple[Path, Code]


def declared(body: Block) -> Mapping[Path, Mapping[str, bool]]:
    """By statement, the locals that are declared there, each with whether it is written only once."""
    mentions: dict[str, list[Mention]] = {}
    everything = list(positions(body, ()))
    names = {name for _, code in everything if (name := local_written(code)) is not None}
    for path, code in everything:
        for name in sorted(names & {*read_by(code), written_by(code)}):
            mentions.setdefault(name, []).append((path, code))
    found: dict[Path, dict[str, bool]] = {}
    for name, own in mentions.items():
        for place, inside in regions(name, own):
            writes = sum(local_written(code) == name for _, code in inside)
            found.setdefault(place, {})[name] = writes == 1
    return found


def regions(name: str, mentions: list[Mention]) -> list[tuple[Path, list[Mention]]]:
    """Where a local is declared, and what mentions it from there on: in one block, or in several that each make it."""
    depth = len(common([path for path, _ in mentions]))
    whole = [(mentions[0][0][: depth + 1], mentions)]
    if any(len(path) == depth + 1 for path, _ in mentions):
        return whole
    parts = groupby(mentions, key=lambda mention: mention[0][: depth + 2])
    found = [region for _, group in parts for region in regions(name, list(group))]
    return found if all(begins(name, place, inside[0]) for place, inside in found) else whole


def begins(name: str, place: Path, first: Mention) -> bool:
    """Whether a block makes a local before anything reads it there."""
    path, code = first
    return path == place and makes(code) == name


def makes(code: Code) -> str | None:
    """The local that a statement makes, and does not read."""
    if isinstance(code, Let) or getattr(code, "operator", "") == "=":
        name = local_written(code)
        return None if name in read_by(code) else name
    return None


def local_written(code: Code) -> str | None:
    """The local that a statement gives a value."""
    match code:
        case Let():
            return code.name
        case Receive() | Assign() if not code.place.subscripts:
            return code.place.tensor
        case _:
            return None


def positions(body: Block, path: Path) -> Iterator[Mention]:
    """Every statement with its path."""
    for number, code in enumerate(body):
        yield (*path, number), code
        for block, inner in enumerate(blocks_of(code)):
            yield from positions(inner, (*path, number, block))


def common(paths: list[Path]) -> Path:
    """The path of the innermost block that holds all."""
    first, last = min(paths), max(paths)
    length = 0
    while length + 2 < min(len(first), len(last)) and first[length : length + 2] == last[length : length + 2]:
        length += 2
    return first[:length]
