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

from derivgen.expressions import (
    TRUE,
    Conditions,
    Read,
    all_of,
    conjuncts,
    guarded,
    guarded_reads,
    indices_of,
    is_guarded,
    parts_of,
    reads_of,
    replace_reads,
    substitute,
)
from derivgen.inside import is_inside
from derivgen.program import Program, Statement, is_internal, is_plain_index


def implies(known: Conditions, condition: Boolean) -> bool:
    """Whether each part of a condition is one of those that are known to hold."""
    return set(parts_of(condition)) <= set(known)


def guards_outside(program: Program) -> Program:
    """An assignment of a value or 0 is an accumulation under a guard."""
    statements = []
    for s in program.statements:
        whole = s.operator == "=" and s.scan is None and s.covers(program.tensor(s.target).shape)
        if whole and is_guarded(s.expression):
            value, condition = s.expression.args[0].args
            s = replace(s, operator="+=", expression=value, guard=condition)
        statements.append(s)
    return program.with_statements(statements)


def guard_outside(s: Statement) -> Boolean:
    """What a sum's guard says of the indices that it keeps."""
    reduced = {r.index for r in s.reduced}
    return all_of(*(c for c in conjuncts(s.guard) if not indices_of(c) & reduced))


def assign_under_guards(program: Program) -> Program:
    """A lone accumulation under a guard that bounds no loop is an assignment of its value or 0."""
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


def bound_of(s: Statement, index: sp.Symbol) -> tuple[sp.Expr, Boolean] | None:
    """(bound, condition): the part of the guard that keeps an index below a bound made of other indices and reads."""
    for condition in conjuncts(s.guard):
        if isinstance(condition, sp.core.relational.Relational) and index in condition.free_symbols:
            form = condition if condition.lhs == index else condition.reversed
            alone = form.lhs == index and index not in form.rhs.free_symbols and form.rel_op in ("<", "<=")
            if alone and (indices_of(form.rhs) or reads_of(form.rhs)):
                return form.rhs + (1 if form.rel_op == "<=" else 0), condition
    return None


def bounds_innermost(s: Statement) -> bool:
    last = s.subscripts[-1] if s.subscripts else None
    return isinstance(last, sp.Symbol) and bound_of(s, last) is not None


def forget_implied_guards(program: Program) -> Program:
    """X[d] += Y[d] where g, and Y is 0 elsewhere: X[d] = Y[d]."""
    table = program.table
    writers: dict[str, list[Statement]] = {}
    for s in program.statements:
        writers.setdefault(s.target, []).append(s)

    def is_implied(s: Statement) -> bool:
        source = s.expression
        if s.operator != "+=" or s.guard == TRUE or s.scan is not None or s.reduced or not isinstance(source, Read):
            return False
        if not all(map(is_plain_index, (*s.subscripts, *source.subscripts))):
            return False
        if not all(is_inside(access, (), s.domain, table) for access in (s.write, source)):
            return False  # the guard is what keeps an index in its range
        known = writers.get(source.tensor, [])
        return bool(known) and all(
            w.operator == "+="
            and all(map(is_plain_index, w.subscripts))
            and implies(parts_of(at(w, source, guard_outside(w))), s.guard)
            for w in known
        )

    return replace(
        program, statements=tuple(replace(s, guard=TRUE) if is_implied(s) else s for s in program.statements)
    )


def at(s: Statement, read: Read, what: Any) -> Any:
    """A condition or an expression of a statement for the element of its target that is read."""
    return substitute(what, dict(zip(s.subscripts, read.subscripts, strict=True)))


def read_through_guarded_copies(program: Program) -> Program:
    """A lone guarded copy that is read under its guard only is read as its source."""
    statements = list(program.statements)
    for copy in program.statements:
        if not is_lone(program, copy) or copy.scan is not None or not is_internal(program, copy.target):
            continue
        copy = next(t for t in statements if t.target == copy.target)  # others have been read through
        if not isinstance(copy.expression, Read) or not all(knows(t, copy) for t in statements):
            continue

        def through(read: Read, copy: Statement = copy) -> sp.Expr:
            return at(copy, read, copy.expression) if read.tensor == copy.target else read

        statements = [replace(t, expression=replace_reads(t.expression, through)) for t in statements if t is not copy]
    return program.with_statements(statements).live(program.outputs)


def is_read_under_guard(program: Program, s: Statement) -> bool:
    """Whether what a statement writes under its guard is read under it only: then nobody asks for the 0 elsewhere."""
    return s.target not in program.outputs and all(knows(t, s) for t in program.statements)


def knows(t: Statement, s: Statement) -> bool:
    """Whether a statement reads what s writes under the guard of s only."""
    if any(r.tensor == s.target for r in reads_of(t.guard, *t.subscripts)):
        return False
    occurrences = [
        (read, path) for read, path, _ in guarded_reads(t.expression, parts_of(t.guard)) if read.tensor == s.target
    ]
    return all(implies(path, at(s, read, s.guard)) for read, path in occurrences)
