"""Recurrences: the statements that leave their steps.

A scan costs a loop whose steps wait for each other. A statement that does not take part in it leaves it: x·W for all
steps comes before the scan, and the gradient of W, over all steps at once, after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

import sympy as sp

from derivgen.form.expressions import indices_of, is_division, reads_of, subexpressions
from derivgen.form.program import Program, Range, Scan, Statement
from derivgen.rewrite.calls import is_costly

MANY = 4096  # steps


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
    while (s := next((s for s in reversed(inside) if may_leave(s, inside)), None)) is not None:
        inside.remove(s)
        after.insert(0, replace(s, scan=None))
    return [*before, *inside, *after]


def may_leave(s: Statement, inside: list[Statement]) -> bool:
    """Whether no step reads what a statement writes, and none adds to that what has costly parts in common with it."""
    same = [t for t in inside if t.target == s.target]
    return not any(reads(t, s.target) for t in inside) and not any(shares_costly_parts(t, inside) for t in same)


def shares_costly_parts(s: Statement, inside: list[Statement]) -> bool:
    """Whether another statement of a step computes a power, a quotient or a call of this one, too.

    Not where a sum is over many steps, which is added up in blocks outside, nor where it may be a product of matrices.
    """
    few = bool(s.reduced) and all(r.extent.is_Integer and r.extent <= MANY for r in s.domain if is_step(r, s))
    own = costly_parts(s.expression) if few and is_by_point(s) else frozenset()
    return any(own & costly_parts(t.expression) for t in inside if own and t.target != s.target)


def is_by_point(s: Statement) -> bool:
    """Whether all that a sum reads at the indices which it sums over it reads at those of its target, too."""
    reduced, own = ({r.index for r in ranges} for ranges in (s.reduced, s.domain))
    return reduced == own or all(own <= indices_of(r) for r in reads_of(s.expression) if indices_of(r) & reduced)


def is_step(r: Range, s: Statement) -> bool:
    return s.scan is not None and r.index == s.scan.index


@lru_cache(maxsize=2**12)  # a scan's statements are compared with one another again and again
def costly_parts(e: sp.Expr) -> frozenset[sp.Expr]:
    return frozenset(n for n in subexpressions(e) if reads_of(n) and (is_costly(n) or is_division(n)))


def sources_inside(s: Statement, inside: list[Statement]) -> bool:
    """Whether a statement reads what the scan writes."""
    return any(reads(s, t.target) for t in inside)


def reads(s: Statement, tensor: str) -> bool:
    return tensor in s.sources
