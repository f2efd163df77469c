"""Guards reach back: what is read only under a condition is evaluated, and differentiated, under it.

That is so for what may be singular elsewhere, and for what would be computed for nothing: of pairs i < j, the others.

Input and output: a declared Program. With `theta = sqrt(sq)` read only where `sq > 0`, theta is never evaluated at
sq = 0, so that no 0·∞ arises in its adjoint there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    about,
    all_of,
    any_of,
    guarded,
    guarded_reads,
    parts_of,
    reads_of,
    subexpressions,
    substitute,
)
from derivgen.form.functions import RECORDS, partial
from derivgen.form.inside import all_nonnegative, at_least_zero
from derivgen.form.program import Program, Statement, Tensor, is_plain_index, run_of

# Functions with points where they, or their derivatives, are infinite or undefined.
SMALL = 4  # terms of a sum that is no product of matrices
SINGULAR = (*(f.type for f in RECORDS if f.singular), partial)


@as_written()
def reach_back(program: Program) -> Program:
    """The guards of all reads of a tensor guard its definition too, if it may be singular or they are of indices alone.

    `r[n] = √(x[n])` and `z[n] = (r[n] if x[n] > 0 else 0)` → `r[n] = (√(x[n]) if x[n] > 0 else 0)`
    """
    statements = list(program.statements)
    complete = {s.target: i for i, s in enumerate(statements)}
    readers: dict[str, list[int]] = {}
    for i, s in enumerate(statements):
        for name in s.sources:
            readers.setdefault(name, []).append(i)
    for position in reversed(range(len(statements))):
        s = statements[position]
        singular = may_be_singular(s.expression)
        if s.target in program.outputs or not (singular or takes_work(program, s)):
            continue
        run = run_of(statements, position)
        others = (i for i in readers.get(s.target, []) if i >= run.start and i != position)
        condition = reach_of(s, [statements[i] for i in others], program.table)
        known = all(complete.get(r.tensor, -1) < position for r in reads_of(condition))
        if condition not in (TRUE, sp.false) and known and (singular or not reads_of(condition)):
            statements[position] = under(s, condition)
    return check_program(replace(program, statements=tuple(statements)))


def may_be_singular(expression: sp.Expr) -> bool:
    return any(
        isinstance(node, SINGULAR) or (isinstance(node, sp.Pow) and not (node.exp.is_Integer and node.exp.is_positive))
        for node in subexpressions(expression)
        if not node.is_number
    )


def takes_work(program: Program, s: Statement) -> bool:
    """Whether a statement has two indices, and is no part of a product of matrices, which has no guards."""
    free = [r for r in s.domain if r not in s.reduced]
    return len(free) > 1 and all(r.extent.is_Integer and r.extent <= SMALL for r in s.reduced)


def under(s: Statement, condition: Boolean) -> Statement:
    if s.operator == "=":
        return replace(s, expression=guarded(s.expression, condition))
    return replace(s, guard=all_of(s.guard, condition))


def reach_of(s: Statement, later: list[Statement], tensors: Mapping[str, Tensor]) -> Boolean:
    """The condition, in the target's own indices, under which some later statement reads it."""
    reached: Boolean = sp.false
    if not all(is_plain_index(i) for i in s.subscripts):
        return TRUE
    extents = {r.index: r.extent for r in s.domain}
    for t in later:
        ranges = {r.index: r.extent for r in t.domain}
        occurrences = [(read, path) for read, path, _ in guarded_reads(t.expression, parts_of(t.guard))]
        occurrences += [(read, ()) for read in reads_of(t.guard, *t.subscripts)]
        for read, path in occurrences:
            if read.tensor == s.target:
                own = dict(zip(read.subscripts, s.subscripts, strict=True))
                if len(own) < len(s.subscripts) or not all(is_plain_index(i) for i in own):
                    return TRUE
                spoken = [substitute(about(c, own.keys()), own) for c in path]
                if any(map(reads_of, spoken)):  # at indices that may have run over less than those of the target
                    spoken += [sp.Lt(own[i], ranges[i]) for i in own if ranges[i] != extents[own[i]]]
                reached = any_of(reached, all_of(*(c for c in spoken if not always_holds(c, s, tensors))))
    return reached


def always_holds(condition: Boolean, s: Statement, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a condition follows from the ranges of the statement's indices: part of an axis is all of the target."""
    ahead = at_least_zero(condition, tensors)
    return ahead is not None and all_nonnegative((ahead,), TRUE, s.domain, tensors)
