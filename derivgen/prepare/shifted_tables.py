"""Tables of subscripts that are shifts, but for an end or two, as these shifts: of rings, chains, borders and strides.

Input and output: a declared Program. A compiler takes several elements of x[i + 1] at once, and an adjoint of it is a
gather; of x[next[i]] it is a scatter, and nobody knows where it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Conditions, Read, all_of, negation, parts_of, reads_of, substitute
from derivgen.form.inside import all_nonnegative
from derivgen.form.program import Program, Role, Statement, Tensor

Shift = tuple[int, int, int]  # (stop, slope, offset): element i before the stop is slope·i + offset

MOST = 3  # shifts of a table
LONG = 4  # elements that a table has for each shift, at least


@as_written()
def shifted_tables(program: Program) -> Program:
    """What is read through a table that is a few shifts is read at these.

    `z[i] = x[next[i]]` with next = 1, 2, …, 9, 0 → `z[i] = (x[i + 1] if i < 9 else x[i - 9])`
    """
    found = {t.name: shifts for t in program.of_role(Role.CONSTANT) if (shifts := shifts_of(t))}
    return check_program(program.with_statements(Shifted(program, s, found).statement() for s in program.statements))


@dataclass(frozen=True, slots=True)
class Shifted:
    """A statement that reads at shifts what it reads through tables, which are `found`."""

    program: Program
    given: Statement
    found: Mapping[str, Sequence[Shift]]

    def statement(self) -> Statement:
        return replace(self.given, expression=self.expression(self.given.expression, parts_of(self.given.guard)))

    def expression(self, e: Any, known: Conditions) -> Any:
        """An expression that is evaluated where conditions hold; the conditions in it stay."""
        if isinstance(e, Read):
            return self.element(e, known)
        if not e.args or getattr(e, "keeps_reads", False):
            return e
        if not isinstance(e, sp.Piecewise):
            arguments = [self.expression(a, known) for a in e.args]
            return e.func(*arguments) if any(a is not b for a, b in zip(arguments, e.args, strict=True)) else e
        pairs = []
        for value, condition in (pair.args for pair in e.args):
            pairs.append((self.expression(value, (*known, *parts_of(condition))), condition))
            known = (*known, *parts_of(negation(condition)))
        return sp.Piecewise(*pairs)

    def element(self, e: Read, known: Conditions) -> sp.Expr:
        """An element as a choice between those at the shifts, of which no more is left than there may be."""
        tables = (r for r in reads_of(*e.subscripts) if r.tensor in self.found and not reads_of(*r.subscripts))
        inner = next(tables, None)
        if inner is None:
            return e
        (place,) = inner.subscripts
        pairs = list[tuple[sp.Expr, Boolean]]()
        for stop, slope, offset in self.found[inner.tensor]:
            if self.holds(place - stop, known):
                continue
            there = (*known, sp.Lt(place, stop))
            pairs.append((self.element(substitute(e, {inner: slope * place + offset}), there), there[-1]))
            if self.holds(stop - 1 - place, known):
                break
            known = (*known, sp.Ge(place, stop))
        return sp.Piecewise(*pairs[:-1], (pairs[-1][0], sp.true))

    def holds(self, claim: sp.Expr, known: Conditions) -> bool:
        """Whether an expression is at least 0."""
        return all_nonnegative((claim,), all_of(*known), self.given.domain, self.program.table)


def shifts_of(t: Tensor) -> list[Shift]:
    """The shifts that a table is made of, in order; none if they are many."""
    if not t.integer or t.value is None or len(t.shape) != 1 or len(t.value) < 2:
        return []
    steps, counts = np.unique(np.diff(t.value), return_counts=True)
    slope = int(steps[counts.argmax()])
    parts = list(runs_of(t.value - slope * np.arange(len(t.value))))
    few = len(parts) <= min(MOST, len(t.value) // LONG)
    return [(stop, slope, offset) for stop, offset in parts] if few and slope != 0 else []


def runs_of(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """(stop, value) of each part in which all elements are equal."""
    ends = [*(np.flatnonzero(np.diff(offsets)) + 1), len(offsets)]
    yield from ((int(stop), int(offsets[stop - 1])) for stop in ends)
