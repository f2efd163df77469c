"""An index whose value the guard tells is not run over.

    flow[a] = Σ_p used[p] where link[p] = a   is   flow[link[p]] += used[p], for every p

in as many additions as there are p, where the loops over both indices take the product of their sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean, BooleanFunction

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    Read,
    all_of,
    conjuncts,
    guarded,
    is_guarded,
    is_integral,
    replace_reads,
    split_guard,
    subexpressions,
    substitute,
)
from derivgen.form.inside import all_nonnegative
from derivgen.form.program import Program, Range, Role, Statement


@as_written()
def at_determined_indices(program: Program) -> Program:
    """A sum or a maximum under a guard that tells an index is taken there, or added there.

    `f[a] += Σ_p x[p] if a = k[p]` → `f[k[p]] += x[p]` and `g[p] += Σ_a x[a] if a = k[p]` → `g[p] += x[k[p]]`
    """
    narrow: dict[str, Narrow] = {}
    statements = []
    for s in program.statements:
        if not narrow.keys().isdisjoint(s.sources):
            s = s.mapped(lambda e: replace_reads(e, lambda read: at_narrow(read, narrow)))
        found = narrowed(program, s)
        if found is not None:
            narrow[s.target], s = found
        statements.append(at_its_values(program, s))
    tensors = tuple(replace(t, shape=narrow[t.name].rest(t.shape)) if t.name in narrow else t for t in program.tensors)
    return check_program(replace(program.with_statements(statements), tensors=tensors))


@dataclass(frozen=True, slots=True)
class Narrow:
    """A tensor without an axis, along which it is 0 but at one value: `value` for the indices of the others."""

    axis: int
    indices: tuple[sp.Expr, ...]
    value: sp.Expr

    def rest(self, along: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
        return (*along[: self.axis], *along[self.axis + 1 :])


def at_narrow(read: Read, narrow: Mapping[str, Narrow]) -> sp.Expr:
    """The read of what became of a tensor: its element, where the axis that is gone has its value, else 0."""
    form = narrow.get(read.tensor)
    if form is None:
        return read
    places = form.rest(read.subscripts)
    value = substitute(form.value, dict(zip(form.indices, places, strict=True)))
    return guarded(Read(read.tensor, *places), sp.Eq(read.subscripts[form.axis], value))


def narrowed(program: Program, s: Statement) -> tuple[Narrow, Statement] | None:
    """A helper that its guard leaves 0 but at one value of an index, without that index."""
    tensor = program.tensor(s.target)
    whole = s.operator == "=" and s.scan is None and s.covers(tensor.shape)
    if not whole or tensor.role is not Role.HELPER or s.target in program.outputs or not is_guarded(s.expression):
        return None
    value, condition = split_guard(s.expression)
    for r in s.domain:
        found = determined(program, replace(s, expression=value, guard=condition), r)
        if found is not None and found[1] == TRUE:
            place, _, rest = found
            axis = s.subscripts.index(r.index)
            form = Narrow(axis, (*s.subscripts[:axis], *s.subscripts[axis + 1 :]), place)
            inner = replace(s, subscripts=form.indices, expression=guarded(value, rest))
            return form, inner.at({r.index: place})
    return None


def at_its_values(program: Program, s: Statement) -> Statement:
    """The statement without the indices that its guard determines: summed ones first, then those of its target."""
    opened = s
    if s.operator == "+=":
        value, condition = split_guard(s.expression)
        opened = s.with_parts(expression=value, guard=all_of(s.guard, condition))
    elif s.operator != "max=" or is_smooth(program, s.target):
        return s
    others = tuple(r for r in s.domain if r not in s.reduced) if s.reduced and s.scan is None else ()
    for r in (*s.reduced, *others):
        found = determined(program, opened, r)
        if found is not None:
            place, inside, rest = found
            return at_its_values(program, replace(opened, guard=all_of(rest, inside)).at({r.index: place}))
    return s


def is_smooth(program: Program, name: str) -> bool:
    """Whether derivatives go through a tensor: a maximum of it needs the index of its winner, which stays in a loop."""
    return name in program.outputs or any(name in s.smooth_sources for s in program.statements)


def determined(program: Program, s: Statement, r: Range) -> tuple[sp.Expr, Boolean, Boolean] | None:
    """(the value that the guard gives an index, the condition that it is in its range, the rest of the guard)."""
    if s.scan is not None and s.scan.index == r.index:
        return None
    parts = conjuncts(s.guard)
    for part in parts:
        value = value_of(program, part, r.index)
        if value is None or not stands_in_subscripts(s, r.index, value):
            continue
        rest = all_of(*(c for c in parts if c is not part))
        others = tuple(other for other in s.domain if other is not r)
        known = substitute(rest, {r.index: value})
        claims = {sp.Ge(value, 0): value, sp.Lt(value, r.extent): r.extent - 1 - value}
        open_claims = [c for c, claim in claims.items() if not all_nonnegative((claim,), known, others, program.table)]
        return value, all_of(*open_claims), rest
    return None


def value_of(program: Program, condition: Boolean, index: sp.Symbol) -> sp.Expr | None:
    """What an index is where an equation of integers holds, by other indices and reads; None of other conditions."""
    if not isinstance(condition, sp.Eq):
        return None
    if not all(is_integral(side, lambda read: program.tensor(read.tensor).integer) for side in condition.args):
        return None
    difference = sp.expand(condition.lhs - condition.rhs)
    slope = difference.coeff(index)
    value = sp.expand(index - slope * difference)
    return value if abs(slope) == 1 and index not in value.free_symbols else None


def stands_in_subscripts(s: Statement, index: sp.Symbol, value: sp.Expr) -> bool:
    """Whether a value can take an index's place: what reads integers stands in subscripts and conditions only."""
    if not any(isinstance(node, Read) for node in subexpressions(value)):
        return True
    bare = replace_reads(s.expression, lambda read: Read(read.tensor))
    return not any(node == index for node in outside_of_conditions(bare))


def outside_of_conditions(expression: sp.Basic) -> list[sp.Basic]:
    if isinstance(expression, sp.core.relational.Relational | BooleanFunction):
        return []
    return [expression, *(node for part in expression.args for node in outside_of_conditions(part))]
