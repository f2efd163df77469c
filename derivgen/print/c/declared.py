"""Where each local of a function is declared: in the innermost block that has all that mentions it.

Python's text assigns a local wherever it is made; C's needs one place, before a branch whose two ways make it:

    if (v > 0) { s = …; } else { s = …; }  y = s  →  double s;  if (v > 0) { s = …; } else { s = …; }  y = s
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from derivgen.code.tree import Assign, Block, Code, Let, Receive
from derivgen.code.visit import blocks_of, read_by, statements_in, written_by

Path = tuple[int, ...]  # of a block: the number of a statement, that of a block in it, and so on


@dataclass(frozen=True, slots=True)
class Declared:
    """`at`: by block and number of a statement there, the locals that are declared before it; `once`: those that are
    written once.
    """

    at: dict[tuple[Path, int], tuple[str, ...]]
    once: frozenset[str]


def declared(body: Block) -> Declared:
    writes = Counter(name for code in statements_in(body) if (name := local_written(code)) is not None)
    homes: dict[str, Path] = {}
    first: dict[str, Path] = {}
    for path, code in positions(body, ()):
        for name in sorted(writes.keys() & {*read_by(code), written_by(code)}):
            first.setdefault(name, path)
            homes[name] = common(homes.get(name, path[:-1]), path[:-1])
    at: dict[tuple[Path, int], tuple[str, ...]] = {}
    for name, home in homes.items():
        place = home, first[name][len(home)]
        at[place] = (*at.get(place, ()), name)
    return Declared(at, frozenset(name for name, count in writes.items() if count == 1))


def local_written(code: Code) -> str | None:
    """The local that a statement gives a value."""
    match code:
        case Let():
            return code.name
        case Receive() | Assign() if not code.place.subscripts:
            return code.place.tensor
        case _:
            return None


def positions(body: Block, path: Path) -> Iterator[tuple[Path, Code]]:
    """Every statement with the path of its block and its number there."""
    for number, code in enumerate(body):
        yield (*path, number), code
        for block, inner in enumerate(blocks_of(code)):
            yield from positions(inner, (*path, number, block))


def common(a: Path, b: Path) -> Path:
    """The path of the innermost block that holds both."""
    length = 0
    while length + 2 <= min(len(a), len(b)) and a[length : length + 2] == b[length : length + 2]:
        length += 2
    return a[:length]
