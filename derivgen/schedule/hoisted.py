"""Divisions that leave the loops that do not change them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import TRUE, indices_of, is_division, reads_of, unconditional_parts
from derivgen.form.inside import out_of_bounds
from derivgen.form.program import Statement, Tensor
from derivgen.schedule.nests import Compute, Loop, loops_in, statements_of, work_in


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
