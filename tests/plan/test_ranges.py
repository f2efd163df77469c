"""Stretches of the flat vector as loops, where they are equally far apart."""

from __future__ import annotations

import itertools
import random

from derivgen.plan.ranges import in_step


def test_rows_of_equal_ranges_are_found_among_others():
    """Blocks of two tensors, the first of which has a fourth one after the blocks; a tensor that stands alone."""
    blocks = [(start, start + 2) for start in (5, 15, 25, 35)] + [(start, start + 3) for start in (7, 17, 27)]
    assert in_step(sorted([(0, 5), *blocks])) == [([0], 5), ([5, 15, 25, 35], 2), ([7, 17, 27], 3)]


def test_two_ranges_are_no_row():
    assert in_step([(0, 2), (10, 12), (13, 15)]) == [([0], 2), ([10], 2), ([13], 2)]


def test_each_range_is_in_one_row():
    rng = random.Random(0)
    for _ in range(50):
        ends = sorted(rng.sample(range(60), 24))
        ranges = [*zip(ends[::2], ends[1::2], strict=True)]
        rows = in_step(ranges)
        assert sorted((start, start + length) for starts, length in rows for start in starts) == ranges
        assert all(len({b - a for a, b in itertools.pairwise(s)}) <= 1 for s, _ in rows)
