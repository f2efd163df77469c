"""Stretches of the flat vector, and which of them an update treats alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from derivgen.schedule.repeat import LEAST
from derivgen.update.groups import Setting

Ranges = list[tuple[int, int]]  # of the flat vector, from start to before stop


class Part(NamedTuple):
    """The tensors of one setting, by their names, and the ranges of the flat vector that they are."""

    setting: Setting
    ranges: Ranges
    names: list[str]


def in_step(ranges: Sequence[tuple[int, int]]) -> list[tuple[list[int], int]]:
    """Ranges of one length whose starts are equally far apart, as (their starts, their length); others each alone."""
    found: list[tuple[list[int], int]] = []
    for start, stop in ranges:
        starts, length = found[-1] if found else ([], 0)
        if starts and length == stop - start and (len(starts) < 2 or start - starts[-1] == starts[1] - starts[0]):
            starts.append(start)
        else:
            found.append(([start], stop - start))
    return [
        one for starts, n in found for one in ([(starts, n)] if len(starts) >= LEAST else [([s], n) for s in starts])
    ]


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same stretches, adjacent ones as one."""
    found: Ranges = []
    for start, stop in sorted(ranges):
        start = found.pop()[0] if found and found[-1][1] == start else start
        found.append((start, stop))
    return found
