"""Loops that a guard cuts short: under `u <= t` a loop over u ends at t + 1, and nothing is asked inside."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import (
    TRUE,
    all_of,
    conjuncts,
    indices_of,
    is_integral,
)
from derivgen.form.inside import all_nonnegative
from derivgen.form.program import Program, Statement
from derivgen.rewrite.conditions import bound_of
from derivgen.schedule.hoisted import may_precede
from derivgen.schedule.nests import Compute, Contraction, Loop, Node, statements_of, with_guards, work_in


def narrowed(program: Program, node: Node) -> Node:
    """The node with each loop up to the bound that all of its work has in common."""
    if not isinstance(node, Loop):
        return node
    loop = node
    work = list(work_in(loop))
    statements = [s for w in work for s in statements_of(w)]
    found = bound_of(statements[0], loop.index) if all(isinstance(w, Compute) for w in work) else None
    if found is not None and loop.scan is None:
        bound, condition = found
        common = all(condition in conjuncts(s.guard) for s in statements)
        whole = any(starts_sums(loop, w) for w in work)
        known = is_fixed(program, loop, statements[0], bound)
        if common and not whole and known and is_at_most(program, statements[0], bound, loop.extent):
            loop = with_guards(loop, lambda guard: all_of(*(c for c in conjuncts(guard) if c != condition)))
            loop = replace(loop, bound=bound)
    return replace(loop, body=tuple(narrowed(program, inner) for inner in loop.body))


def starts_sums(loop: Loop, work: Compute | Contraction) -> bool:
    """Whether a loop holds the first assignment of a sum to all elements: of 0 too, where the sum has no terms."""
    s = statements_of(work)[0]
    return work.first and bool(s.reduced) and any(loop.index in indices_of(i) for i in s.subscripts)


def is_fixed(program: Program, loop: Loop, s: Statement, bound: sp.Expr) -> bool:
    """Whether a bound is an integer that nothing in the loop changes, and that may be read before it, without a guard."""
    written = {s.target for w in work_in(loop) for s in statements_of(w)}
    integer = is_integral(bound, lambda r: program.tensor(r.tensor).integer and r.tensor not in written)
    return integer and may_precede(loop, replace(s, guard=TRUE), bound, program.table)


def is_at_most(program: Program, s: Statement, bound: sp.Expr, extent: sp.Expr) -> bool:
    return all_nonnegative((extent - bound,), TRUE, s.domain, program.table)
