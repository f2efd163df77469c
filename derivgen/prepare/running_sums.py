"""Sums over what comes before, or after, each element are running sums: one step adds one term.

    S[n] = Σ_{m ≥ n} f[m]  is  S[n] = f[n] + S[n + 1], from the last n on, in as many additions as there are terms

instead of half their square. A running sum of exponentials is kept relative to the largest exponent so far, so that it
neither overflows nor vanishes; the maximum is a constant to the derivative, as in `stabilize`:

    M[n] = max(u[n], M[n + 1]),  T[n] = exp(u[n] - M[n]) + T[n + 1]·exp(M[n + 1] - M[n]),  S[n] = exp(M[n])·T[n]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, Read, all_of, guarded, indices_of, parts_of, substitute
from derivgen.form.functions import stop_gradient
from derivgen.form.program import Names, Program, Role, Scan, Statement, Tensor, check_program, names_of


@dataclass(frozen=True, slots=True)
class Running:
    """A sum over an index `inner`, for each `outer`, of the terms at that place and after it, or before it.

    `strict`: not of the term at the place itself; `guard`: what else a term hangs on.
    """

    outer: sp.Symbol
    inner: sp.Symbol
    after: bool
    strict: bool
    guard: sp.Basic


@as_written()
def running_sums(program: Program) -> Program:
    """Each sum over the terms from an index on, or up to it, is a recurrence.

    `S[n] += f[m] if m ≥ n` → `S[n] = f[n] + (S[n + 1] if n + 1 < N else 0), N - 1 first`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        running = running_sum(program, s)
        if running is None:
            statements.append(s)
            continue
        domain = tuple(r for r in s.domain if r.index != running.inner)
        scan = Scan(s.target, running.outer, running.after)
        whole = replace(s, operator="=", domain=domain, guard=TRUE)
        if not isinstance(s.expression, sp.exp):
            statements.append(replace(whole, expression=added(s, running), scan=scan))
            continue
        helpers = Helpers(names, s.layer, program.tensor(s.target).shape, tensors)
        statements += of_exponentials(whole, running, helpers)
    return check_program(program.with_statements(statements, tensors))


@dataclass(frozen=True, slots=True)
class Helpers:
    """Makes tensors of one shape."""

    names: Names
    layer: str
    shape: tuple[sp.Expr, ...]
    tensors: list[Tensor]

    def tensor(self, word: str) -> str:
        name = self.names.fresh(f"{self.layer}_{word}")
        self.tensors.append(Tensor(name, self.shape, Role.HELPER))
        return name


def of_exponentials(s: Statement, running: Running, helpers: Helpers) -> list[Statement]:
    """The statements of a running sum of exponentials: maxima, terms and factors relative to them, sums, values."""
    u = substitute(s.expression.args[0], {running.inner: running.outer})
    largest, term, factor, total = (
        Read(helpers.tensor(word), *s.subscripts) for word in ("max", "exp", "factor", "sum")
    )
    before, exists = earlier(s, largest, running)
    sum_before, _ = earlier(s, total, running)
    highest = sp.Piecewise((sp.Max(stop_gradient(u), stop_gradient(before)), exists), (stop_gradient(u), TRUE))
    values = {
        largest: highest,
        term: sp.exp(u - stop_gradient(largest)),
        factor: guarded(sp.exp(stop_gradient(before) - stop_gradient(largest)), exists),
        total: term + guarded(sum_before * factor, exists),
        s.write: sp.exp(stop_gradient(largest)) * total,
    }
    scans = {place: Scan(place.tensor, running.outer, running.after) for place in (largest, total)}
    return [replace(s, target=place.tensor, expression=value, scan=scans.get(place)) for place, value in values.items()]


def running_sum(program: Program, s: Statement) -> Running | None:
    """How a sum runs along with an index of its target, if it does."""
    if s.operator != "+=" or s.scan is not None or len(s.reduced) != 1 or len(program.writers[s.target]) > 1:
        return None
    (inner,) = s.reduced
    for part in parts_of(s.guard):
        found = ends_of(part, inner.index)
        rest = all_of(*(p for p in parts_of(s.guard) if p != part))
        if found is None:
            continue
        outer, after, strict = found
        alike = any(r.index == outer and r.extent == inner.extent for r in s.domain)
        plain = outer in s.subscripts and outer not in indices_of(s.expression) | indices_of(rest)
        weighted = s.expression.has(sp.exp) and not isinstance(s.expression, sp.exp)
        logs = isinstance(s.expression, sp.exp) and (strict or rest != TRUE)
        if alike and plain and not weighted and not logs:
            return Running(outer, inner.index, after, strict, rest)
    return None


def ends_of(condition: sp.Basic, inner: sp.Symbol) -> tuple[sp.Symbol, bool, bool] | None:
    """(outer, whether inner is at or after it, whether it is not the same) of a comparison of two indices."""
    if not isinstance(condition, sp.Rel) or condition.rel_op not in ("<", "<=", ">", ">="):
        return None
    distance = condition.lhs - condition.rhs
    distance = -distance if condition.rel_op in ("<", "<=") else distance
    constant, terms = sp.expand(distance - int(condition.rel_op in ("<", ">"))).as_coeff_Add()  # ≥ 0
    after = terms.coeff(inner) == 1
    outer = inner - terms if after else terms + inner
    if constant not in (0, -1) or not isinstance(outer, sp.Symbol):
        return None
    return outer, after, constant == -1


def added(s: Statement, running: Running) -> sp.Expr:
    """The term at the place, and the sum so far; of a strict sum the term before, and the sum before that."""
    before, exists = earlier(s, s.write, running)
    term = guarded(s.expression, running.guard)
    if not running.strict:
        return substitute(term, {running.inner: running.outer}) + guarded(before, exists)
    step = running.outer + (1 if running.after else -1)
    return guarded(substitute(term, {running.inner: step}) + before, exists)


def earlier(s: Statement, place: Read, running: Running) -> tuple[Read, sp.Basic]:
    """(the sum at the step before, the condition that there is one)"""
    step = running.outer + (1 if running.after else -1)
    extent = next(r.extent for r in s.domain if r.index == running.outer)
    exists = sp.Lt(step, extent) if running.after else sp.Ge(running.outer, 1)
    return Read(place.tensor, *(step if i == running.outer else i for i in s.subscripts)), exists
