"""Guards that statements share, imply or take from what they read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import (
    TRUE,
    Read,
    all_of,
    bottom_up,
    conjuncts,
    indices_of,
    is_guarded,
    is_integral,
    negation,
    parts_of,
    read_or_opposite,
    reads_of,
)
from derivgen.form.inside import all_nonnegative, at_least_zero, is_inside
from derivgen.form.program import Program, Range, Statement, is_internal, is_plain_index, map_expressions
from derivgen.rewrite.conditions import at_read, guard_outside, implies, is_lone, knows, read_through


def guards_outside(program: Program) -> Program:
    """An assignment of a value under a condition, or 0, is an accumulation under that guard.

    `p[t,u] = (e[t,u]/s[t] if t ≥ u else 0)` → `p[t,u] += e[t,u]/s[t] if t ≥ u`
    """
    statements = []
    for s in program.statements:
        whole = s.operator == "=" and s.scan is None and s.covers(program.tensor(s.target).shape)
        if whole and is_guarded(s.expression):
            value, condition = s.expression.args[0].args
            s = replace(s, operator="+=", expression=value, guard=condition)
        statements.append(s)
    return program.with_statements(statements)


def decide_comparisons(program: Program) -> Program:
    """A comparison of indices that holds at all points of a statement, or at none of them, is that.

    So are alternatives of which one holds whatever the integers are: `y[n] < 4 or y[n] > 0`.

    `z[i] = (x[i] if i ≥ 1 and i < 9 else 0)` for i = 0, …, 5 → `z[i] = (x[i] if i ≥ 1 else 0)`
    """

    def is_integer(read: Read) -> bool:
        return program.tensor(read.tensor).integer

    def sides(node: sp.Basic) -> tuple[sp.Expr, sp.Expr, int] | None:
        """(low, high, 1 if it is strict) of a comparison of integers."""
        if not isinstance(node, sp.Lt | sp.Le | sp.Gt | sp.Ge):
            return None
        low, high = (node.lhs, node.rhs) if isinstance(node, sp.Lt | sp.Le) else (node.rhs, node.lhs)
        integral = is_integral(low, is_integer) and is_integral(high, is_integer)
        return (low, high, int(isinstance(node, sp.Lt | sp.Gt))) if integral else None

    def decided(s: Statement, node: sp.Basic) -> sp.Basic:
        if isinstance(node, sp.Or) and (last := sides(node.args[-1])) is not None:
            low, high, strict = last
            others = all_of(*map(negation, node.args[:-1]))
            always = all(map(sides, node.args)) and holds(high - low - strict, others, s)
            return sp.true if always else node
        if (own := sides(node)) is None or reads_of(node) or not indices_of(node):
            return node
        low, high, strict = own
        for claim, truth in ((high - low - strict, sp.true), (low - high - 1 + strict, sp.false)):
            if holds(claim, TRUE, s):
                return truth
        return node

    def holds(claim: sp.Expr, path: Boolean, s: Statement) -> bool:
        return all_nonnegative((sp.expand(claim),), path, s.domain, program.table)

    def changed(s: Statement) -> Statement:
        expression, guard = (bottom_up(e, partial(decided, s)) for e in (s.expression, s.guard))
        return replace(s, expression=expression, guard=s.guard if guard == sp.false else guard)

    return program.with_statements(map(changed, program.statements))


def at_the_only_index(program: Program) -> Program:
    """A sum under a guard that leaves one value of an index is taken there.

    `z[n] += Σ_t x[t,n] if t < 1` → `z[n] += x[0,n]` and `s += Σ_i,j x[i,j] if i = j` → `s += Σ_j x[j,j]`
    """
    return program.with_statements(at_only_values(program, s) for s in program.statements)


def at_only_values(program: Program, s: Statement) -> Statement:
    for r in s.reduced if s.operator == "+=" and s.scan is None else ():
        for condition in conjuncts(s.guard):
            value = only_value(program, s, r, condition)
            if value is not None:
                rest = all_of(*(c for c in conjuncts(s.guard) if c is not condition))
                return at_only_values(program, replace(s, guard=rest).at({r.index: value}))
    return s


def only_value(program: Program, s: Statement, r: Range, condition: Boolean) -> sp.Expr | None:
    """The only value of an index for which a comparison holds; None if it may have others."""
    if isinstance(condition, sp.Eq) and r.index in condition.args:
        alike = {other.index for other in s.domain if other.extent == r.extent and other.index != r.index}
        return next((e for e in condition.args if e in alike), None)
    ahead = at_least_zero(condition, program.table)
    if ahead is None:
        return None
    for value, slope in ((sp.Integer(0), -1), (r.extent - 1, 1)):
        if sp.expand(ahead - slope * (r.index - value)) == 0:
            return value
    return None


def forget_implied_guards(program: Program) -> Program:
    """A copy under a guard needs none if its source is 0 wherever the guard fails.

    `x[t,u] += y[t,u] if t ≥ u`, where y has the guard t ≥ u too, → `x[t,u] += y[t,u]`
    """
    table = program.table

    def is_implied(s: Statement) -> bool:
        source = s.expression
        if s.operator != "+=" or s.guard == TRUE or s.scan is not None or s.reduced or not isinstance(source, Read):
            return False
        if not all(map(is_plain_index, (*s.subscripts, *source.subscripts))):
            return False
        if not all(is_inside(access, (), s.domain, table) for access in (s.write, source)):
            return False  # the guard is what keeps an index in its range
        known = program.writers.get(source.tensor, ())
        return bool(known) and all(
            w.operator == "+="
            and all(map(is_plain_index, w.subscripts))
            and implies(parts_of(at_read(w, source, guard_outside(w))), s.guard)
            for w in known
        )

    return program.with_statements(replace(s, guard=TRUE) if is_implied(s) else s for s in program.statements)


def read_through_guarded_copies(program: Program) -> Program:
    """A lone copy under a guard is read as its source if every statement reads it under that guard.

    `x[t,u] += y[t,u] if t ≥ u` and `z[t] += Σ_u x[t,u] if t ≥ u` → `z[t] += Σ_u y[t,u] if t ≥ u`
    """
    statements = list(program.statements)
    for copy in program.statements:
        if not is_lone(program, copy) or copy.scan is not None or not is_internal(program, copy.target):
            continue
        copy = next(t for t in statements if t.target == copy.target)  # others have been read through
        if read_or_opposite(copy.expression) is None or not all(knows(t, copy) for t in statements):
            continue
        statements = [read_through(t, copy) for t in statements if t is not copy]
    return program.with_statements(statements)


def compare_arguments(program: Program) -> Program:
    """A comparison of a maximum with one of its arguments compares the others, if no tensor holds the maximum.

    `z_bar[n] += a_bar[n] if max(z[n], 0) > 0` → `z_bar[n] += a_bar[n] if z[n] > 0`
    """
    return map_expressions(program, lambda e: bottom_up(e, compare))


def compare(node: sp.Basic) -> sp.Basic:
    """max(u, c) > c as u > c, and min(u, c) < c as u < c."""
    for kind, relation in ((sp.Max, sp.Gt), (sp.Min, sp.Lt)):
        if isinstance(node, relation) and isinstance(node.lhs, kind) and node.rhs in node.lhs.args:
            rest = [a for a in node.lhs.args if a != node.rhs]
            return relation(kind(*rest), node.rhs)
    return node
