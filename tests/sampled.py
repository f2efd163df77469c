"""A part of what would take `make test` too long as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

Case = TypeVar("Case")
EVERY_CASE = bool(os.environ.get("EVERY_CASE"))


def some(cases: Iterable[Case], every: int = 3) -> list[Case]:
    """Every so many-th of the cases of a test; all of them where EVERY_CASE is set, as in `make fuzz`.

    For tests whose cases go through the same code: one of it that is wrong is wrong in many of them.
    """
    return list(cases)[:: 1 if EVERY_CASE else every]
