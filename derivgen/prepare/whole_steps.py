"""Sums that a recurrence takes in all steps but the first one are taken in that one too, where nobody reads them.

Input and output: a declared Program. People write log(Sum(exp(h[n, t - 1, i] + A[i, j]), i)) where t > 0, and what a
chain starts from elsewhere. A guard in each step would keep the sum from being a product of matrices, and compilers
from taking several elements at once. What the first step reads of the one before is a number near 0, as `recur` has it.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, all_of, indices_of, parts_of, reads_of
from derivgen.form.inside import at_least_zero, out_of_bounds
from derivgen.form.program import Program, Statement
from derivgen.prepare.reach_back import may_be_singular, reach_of

NEAR = 1  # what a recurrence starts from, at most: its exponential is a small number


@as_written()
def whole_steps(program: Program) -> Program:
    """The guard of a sum that leaves the first step out goes where all that read the sum have it.

    `a[t] += Σ_j w[j]·h[t,j] if t > 0, t = 0, 1, …` and `z[t] = (a[t] if t > 0 else 0), t = 0, 1, …`
    → `a[t] += Σ_j w[j]·h[t,j], t = 0, 1, …` and the other one
    """
    return check_program(program.with_statements(in_all_steps(program, s) for s in program.statements))


def in_all_steps(program: Program, s: Statement) -> Statement:
    guards = [c for c in parts_of(s.guard) if leaves_out_first(s, c, program)]
    if not guards or s.operator == "=" or s.target in program.outputs or may_be_singular(s.expression):
        return s
    readers = [t for t in program.statements if s.target in t.sources]
    reached = parts_of(reach_of(s, readers, program.table))
    whole = replace(s, guard=all_of(*(c for c in parts_of(s.guard) if c not in guards)))
    tame = all(starts_near_zero(program, s, r) for r in reads_of(whole.expression, whole.guard))
    safe = tame and all(c in reached for c in guards) and not out_of_bounds(whole, program.table)
    return whole if safe else s


def leaves_out_first(s: Statement, condition: Boolean, program: Program) -> bool:
    """Whether a condition holds in all steps of the statement's recurrence but the first."""
    if s.scan is None or indices_of(condition) != {s.scan.index}:
        return False
    ahead = at_least_zero(condition, program.table)
    steps = next(r.extent for r in s.domain if r.index == s.scan.index)
    others = steps - 2 - s.scan.index if s.scan.reverse else s.scan.index - 1
    return ahead is not None and sp.expand(ahead - others) == 0


def starts_near_zero(program: Program, s: Statement, read: Read) -> bool:
    """Whether an element is none of the recurrence's own, or what a step reads of the one before, a number first."""
    writers = [t for t in program.writers.get(read.tensor, ()) if t.scan == s.scan]
    starts = (w.expression.args[-1].args[0] for w in writers if isinstance(w.expression, sp.Piecewise))
    numbers = [start for start in starts if start.is_number and abs(start) <= NEAR]
    return len(numbers) == len(writers)
