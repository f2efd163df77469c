"""Loops that a guard cuts short: under `u <= t` a loop over u ends at t + 1, and nothing is asked inside."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import sympy as sp

from derivgen.expressions import (
    TRUE,
    all_of,
    conjuncts,
    indices_of,
    is_division,
    is_integral,
    reads_of,
    unconditional_parts,
)
from derivgen.guarded import bound_of
from derivgen.inside import all_nonnegative, out_of_bounds
from derivgen.nests import Compute, Contraction, Loop, Node, loops_in, statements_of, with_guards, work_in
from derivgen.program import Program, Statement, Tensor


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


def may_precede(loop: Loop, s: Statement, part: sp.Expr, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a part of a statement has a meaning before a loop, which may have no iterations: its reads are inside."""
    own = {inner.index for inner in loops_in(loop)}
    outer = tuple(r for r in s.domain if r.index not in own)
    return not indices_of(part) & own and not out_of_bounds(replace(s, expression=part, domain=outer), tensors)


def divisions_before(
    loop: Loop, known: Container[sp.Expr], scalars: frozenset[str], tensors: Mapping[str, Tensor]
) -> list[sp.Expr]:
    """Divisions by what does not change in a loop, but those known: a compiler can't do them before it, as arrays might
    overlap."""
    written = {s.target for w in work_in(loop) for s in statements_of(w)}
    work = [w.statement for w in work_in(loop) if isinstance(w, Compute) and w.statement.guard == TRUE]
    found: dict[sp.Expr, None] = {}
    for s in work:
        for part in unconditional_parts(s.expression):
            read = {r.tensor for r in reads_of(part)}
            same = written.isdisjoint(read) and not read <= scalars
            if is_division(part) and same and part not in known and may_precede(loop, s, part, tensors):
                found[part] = None
    return list(found)


def is_at_most(program: Program, s: Statement, bound: sp.Expr, extent: sp.Expr) -> bool:
    return all_nonnegative((extent - bound,), TRUE, s.domain, program.table)
