"""Recurrences: what leaves their steps, and how their tensors lie in memory. Each is Program → Program of the same values.

A scan costs a loop whose steps wait for each other. What does not take part in that leaves it: x·W for all steps before
it, and the gradient of W, over all steps at once, after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from derivgen.form.program import Program, Scan, Statement


def runs(statements: Sequence[Statement]) -> list[tuple[Scan | None, tuple[Statement, ...]]]:
    """The statements in parts: those of one scan, or those between two scans."""
    return [(scan, tuple(run)) for scan, run in groupby(statements, lambda s: s.scan)]


def leave_scans(program: Program) -> Program:
    """What reads nothing of its scan comes before it, and what nothing in its scan reads comes after it."""
    parts = runs(program.statements)
    return program.with_statements(s for scan, run in parts for s in (apart(run) if scan else run))


def apart(run: tuple[Statement, ...]) -> list[Statement]:
    """The statements of a scan as those before, in and after it."""
    before, inside, after = list[Statement](), list(run), list[Statement]()
    while (s := next((s for s in inside if not sources_inside(s, inside)), None)) is not None:
        inside.remove(s)
        before.append(replace(s, scan=None))
    while (s := next((s for s in reversed(inside) if not any(reads(t, s.target) for t in inside)), None)) is not None:
        inside.remove(s)
        after.insert(0, replace(s, scan=None))
    return [*before, *inside, *after]


def sources_inside(s: Statement, inside: list[Statement]) -> bool:
    """Whether a statement reads what the scan writes."""
    return any(reads(s, t.target) for t in inside)


def reads(s: Statement, tensor: str) -> bool:
    return any(r.tensor == tensor for r in s.reads)


# ---- memory
