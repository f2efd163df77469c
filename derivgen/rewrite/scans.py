"""Recurrences: the statements that leave their steps.

A scan costs a loop whose steps wait for each other. A statement that does not take part in it leaves it: x·W for all
steps comes before the scan, and the gradient of W, over all steps at once, after it.
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
    """A statement that reads nothing of its scan comes before it, and one whose target no step reads comes after it.

    `z[t] = x[t]·w, t = 0, 1, …` and `h[t] = tanh(z[t] + h_previous[t]), t = 0, 1, …` → `z[t] = x[t]·w` and the rest
    """
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
    return tensor in s.sources
