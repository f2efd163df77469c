"""Stretches of the flat vector, and which of them an update treats alike."""

from __future__ import annotations

import itertools
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
    """Ranges of one length whose starts are equally far apart, as (their starts, their length); others each alone.

    Others may lie between them: (0, 2), (2, 5), (10, 12), (12, 15), (20, 22), (22, 25) → ([0, 10, 20], 2),
    ([2, 12, 22], 3).
    """
    found: list[tuple[list[int], int]] = []
    by_length: dict[int, list[int]] = {}
    for start, stop in ranges:
        by_length.setdefault(stop - start, []).append(start)
    for length, starts in by_length.items():
        left = sorted(starts)
        while left:
            starts = longest_row(left)
            found.append((starts, length))
            left = [start for start in left if start not in starts]
    return sorted(found)


def longest_row(starts: Sequence[int]) -> list[int]:
    """The most of these ascending numbers that are equally far apart, from the first on; it alone if they are few."""
    known, best = {*starts}, [starts[0]]
    for step in (second - starts[0] for second in starts[1:]):
        count = next(k for k in itertools.count(1) if starts[0] + k * step not in known)
        best = best if count <= len(best) else [starts[0] + k * step for k in range(count)]
    return best if len(best) >= LEAST else best[:1]


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same stretches, adjacent ones as one."""
    found: Ranges = []
    for start, stop in sorted(ranges):
        start = found.pop()[0] if found and found[-1][1] == start else start
        found.append((start, stop))
    return found
