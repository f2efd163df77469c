"""Values that are 0 outside a guard, as accumulations under it while a program is simplified.

`p[t,u] = (e[t,u]/s[t] if t ≥ u else 0)` is `p[t,u] += e[t,u]/s[t] if t ≥ u`: a reader under the same guard reads
e[t,u]/s[t], and copies and held values are found there as anywhere else. At the end such values are branches again,
unless the guard bounds a loop: see `narrow`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import (
    TRUE,
    Conditions,
    Read,
    all_of,
    conjuncts,
    guarded,
    guarded_reads,
    indices_of,
    parts_of,
    reads_of,
    replace_reads,
    substitute,
)
from derivgen.form.inside import limit_of
from derivgen.form.program import Program, Statement


def implies(known: Conditions, condition: Boolean) -> bool:
    """Whether each part of a condition is one of those that are known to hold."""
    return set(parts_of(condition)) <= set(known)


def guard_outside(s: Statement) -> Boolean:
    """The part of a sum's guard about the indices that it keeps."""
    reduced = {r.index for r in s.reduced}
    return all_of(*(c for c in conjuncts(s.guard) if not indices_of(c) & reduced))


def assign_under_guards(program: Program) -> Program:
    """A lone accumulation under a guard that bounds no loop is an assignment of its value or 0.

    `z[n] += 2·x[n] if x[n] > 0` → `z[n] = (2·x[n] if x[n] > 0 else 0)`
    """
    statements = []
    for s in program.statements:
        if is_lone(program, s) and (s.scan is not None or not bounds_innermost(s)):
            s = replace(s, operator="=", expression=guarded(s.expression, s.guard), guard=TRUE)
        statements.append(s)
    return program.with_statements(statements)


def is_lone(program: Program, s: Statement) -> bool:
    """Whether a guarded statement is all that a tensor holds, 0 elsewhere: it sums over nothing."""
    guarded_value = s.operator == "+=" and s.guard != TRUE and not s.reduced
    alone = guarded_value and sum(t.target == s.target for t in program.statements) == 1
    return alone and s.covers(program.tensor(s.target).shape, guarded=True)


def bounds_innermost(s: Statement) -> bool:
    """Whether a guard bounds the loop over the last axis of the target, from above or from below."""
    last = s.subscripts[-1] if s.subscripts else None
    return isinstance(last, sp.Symbol) and any(limit_of(condition, last) for condition in conjuncts(s.guard))


def at_read(s: Statement, read: Read, what: Any) -> Any:
    """A condition or an expression of a statement, at the indices of the element of its target that is read."""
    return substitute(what, dict(zip(s.subscripts, read.subscripts, strict=True)))


def read_through(t: Statement, writer: Statement) -> Statement:
    """A statement that computes what `writer` writes where it would read it."""
    if writer.target not in t.sources:
        return t

    def through(read: Read) -> sp.Expr:
        return at_read(writer, read, writer.expression) if read.tensor == writer.target else read

    return t.mapped(lambda e: replace_reads(e, through))


def is_read_under_guard(program: Program, s: Statement) -> bool:
    """Whether the target of a statement is read under its guard only: then no statement reads the 0 elsewhere."""
    return s.target not in program.outputs and all(knows(t, s) for t in program.statements)


def knows(t: Statement, s: Statement) -> bool:
    """Whether a statement reads what s writes under the guard of s only."""
    if s.target not in t.sources:
        return True
    if any(r.tensor == s.target for r in reads_of(t.guard, *t.subscripts)):
        return False
    occurrences = [
        (read, path) for read, path, _ in guarded_reads(t.expression, parts_of(t.guard)) if read.tensor == s.target
    ]
    return all(implies(path, at_read(s, read, s.guard)) for read, path in occurrences)
