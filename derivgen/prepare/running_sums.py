"""Sums over what comes before, or after, each element are running sums: one step adds one term.

    S[n] = Σ_{m ≥ n} f[m]  is  S[n] = f[n] + S[n + 1], from the last n on, in as many additions as there are terms

instead of half their square. A running sum of exponentials of which someone takes the logarithm, or that stands below a
fraction bar, is kept relative to the largest exponent so far, so that it neither overflows nor vanishes; the maximum is
a constant to the derivative, as in `stabilize`:

    M[n] = max(u[n], M[n + 1]),  T[n] = w[n]·exp(u[n] - M[n]) + T[n + 1]·exp(M[n + 1] - M[n]),  S[n] = exp(M[n])·T[n]

In a recurrence over other steps the sum stays one, of terms that are a tensor: its loop is made a running one in code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, all_of, guarded, indices_of, parts_of, substitute
from derivgen.form.functions import stop_gradient
from derivgen.form.program import Names, Program, Range, Role, Scan, Statement, Tensor, names_of
from derivgen.prepare.stabilize import exponents_of, is_log_or_quotient_of
from derivgen.rewrite.calls import calls_in


@dataclass(frozen=True, slots=True)
class Running:
    """A sum over an index `inner`, for each `outer`, of the terms at that place and after it, or before it.

    `strict`: not of the term at the place itself; `guard`: what else a term hangs on; `relative`: whether it is kept
    relative to the largest exponent.
    """

    outer: sp.Symbol
    inner: sp.Symbol
    after: bool
    strict: bool
    guard: sp.Basic
    relative: bool


@as_written()
def running_sums(program: Program) -> Program:
    """Each sum over the terms from an index on, or up to it, is a recurrence.

    `S[n] += f[m] if m ≥ n` → `S[n] = f[n] + (S[n + 1] if n + 1 < N else 0), N - 1 first`
    """
    helpers, statements = Helpers(names_of(program)), list[Statement]()
    for s in program.statements:
        running = running_sum(program, s)
        if running is None:
            statements.append(s)
            continue
        before, s = helpers.with_terms(s, running)
        running = replace(running, guard=TRUE) if before else running
        statements += before
        if s.scan is not None:
            statements.append(s)
            continue
        whole = replace(s, operator="=", domain=without(s.domain, running.inner), guard=TRUE)
        if running.relative:
            statements += helpers.of_exponentials(whole, running)
        else:
            scan = Scan(s.target, running.outer, running.after)
            statements.append(replace(whole, expression=added(s, running), scan=scan))
    return check_program(program.with_statements(statements, helpers.tensors))


@dataclass(frozen=True, slots=True)
class Helpers:
    """Makes the tensors that running sums need.

    Several sums may share `largest`, the maxima of an exponent and the factors from each to the next, and `before`,
    what a tensor holds one step before each.
    """

    names: Names
    tensors: list[Tensor] = field(default_factory=list)
    largest: dict[tuple[object, ...], tuple[Read, Read]] = field(default_factory=dict)
    before: dict[Read, Read] = field(default_factory=dict)

    def place(self, s: Statement, word: str, domain: tuple[Range, ...]) -> Read:
        """A new tensor, at the point of a loop over a domain."""
        name = self.names.fresh(f"{s.layer}_{word}")
        self.tensors.append(Tensor(name, tuple(r.extent for r in domain), Role.HELPER))
        return Read(name, *(r.index for r in domain))

    def with_terms(self, s: Statement, running: Running) -> tuple[list[Statement], Statement]:
        """The statement of a sum's terms, where these are sums, calls, or of a recurrence, and the sum of them.

        `S[t] += exp(x[u,d]) if u ≤ t` → `term[u] += exp(x[u,d])` and `S[t] += term[u] if u ≤ t`
        """
        several = len(s.reduced) > 1
        apart = several or (not running.relative and (calls_in(s) or s.scan is not None))
        if not apart or isinstance(s.expression, Read):
            return [], s
        own = indices_of(s.expression) | indices_of(running.guard) | {running.inner}
        domain = tuple(r for r in s.domain if r.index in own)
        kept = tuple(r for r in domain if r.index == running.inner or r not in s.reduced)
        term = self.place(s, "term", kept)
        terms = replace(s, target=term.tensor, subscripts=term.subscripts, guard=running.guard, domain=domain)
        if not several:
            terms = replace(terms, operator="=", expression=guarded(s.expression, running.guard), guard=TRUE)
        order = next(p for p in parts_of(s.guard) if p not in parts_of(running.guard))
        left = tuple(r for r in s.domain if r not in s.reduced or r.index == running.inner)
        return [terms], replace(s, expression=term, domain=left, guard=order)

    def of_exponentials(self, s: Statement, running: Running) -> list[Statement]:
        """The statements of a running sum of exponentials: maxima, terms and factors relative to them, sums, values."""
        (exponent,) = exponents_of(s)
        names = {running.inner: running.outer}
        u, weight = (substitute(e, names) for e in (exponent, s.expression / sp.exp(exponent)))
        done = list[Statement]()

        def define(place: Read, value: sp.Expr, domain: tuple[Range, ...], runs: bool = False) -> None:
            scan = Scan(place.tensor, running.outer, running.after) if runs else None
            own = replace(s, target=place.tensor, subscripts=place.subscripts, expression=value, domain=domain)
            done.append(replace(own, scan=scan))

        domain = tuple(r for r in s.domain if r.index in indices_of(u) | {running.outer})
        key = (u, running.outer, running.after, domain)
        if key not in self.largest:
            largest, factor = self.largest[key] = self.place(s, "max", domain), self.place(s, "factor", domain)
            before, exists = earlier(s, largest, running)
            highest = sp.Piecewise((sp.Max(stop_gradient(u), stop_gradient(before)), exists), (stop_gradient(u), TRUE))
            define(largest, highest, domain, runs=True)
            define(factor, guarded(sp.exp(stop_gradient(before) - stop_gradient(largest)), exists), domain)
        largest, factor = self.largest[key]
        term, total = self.place(s, "exp", s.domain), self.place(s, "sum", s.domain)
        before, exists = earlier(s, total, running)
        define(term, weight * sp.exp(u - stop_gradient(largest)), s.domain)
        define(total, term + guarded(before * factor, exists), s.domain, runs=True)
        for place, own in ((largest, domain), (total, s.domain)) if running.strict else ():
            if place not in self.before:
                self.before[place] = self.place(s, "before", own)
                before, exists = earlier(s, place, running)
                define(self.before[place], guarded(before, exists), own)
        largest, total = (self.before[place] if running.strict else place for place in (largest, total))
        define(s.write, sp.exp(stop_gradient(largest)) * total, s.domain)
        return done


def without(domain: tuple[Range, ...], index: sp.Symbol) -> tuple[Range, ...]:
    return tuple(r for r in domain if r.index != index)


def running_sum(program: Program, s: Statement) -> Running | None:
    """How a sum runs along with an index of its target, if it does."""
    if s.operator != "+=" or len(program.writers[s.target]) > 1:
        return None
    for inner in s.reduced:
        for part in parts_of(s.guard):
            found = ends_of(part, inner.index)
            if found is None:
                continue
            outer, after, strict = found
            rest = all_of(*(p for p in parts_of(s.guard) if p != part))
            alike = any(r.index == outer and r.extent == inner.extent for r in s.domain)
            plain = outer in s.subscripts and outer not in indices_of(s.expression) | indices_of(rest)
            relative = is_relative(program, s, inner.index)
            possible = not relative or (len(s.reduced) == 1 and len(exponents_of(s)) == 1 and rest == TRUE)
            steps = s.scan is None or (outer != s.scan.index and s.scan.index in indices_of(s.expression))
            if alike and plain and possible and steps and not (relative and s.scan is not None):
                return Running(outer, inner.index, after, strict, rest, relative)
    return None


def is_relative(program: Program, s: Statement, inner: sp.Symbol) -> bool:
    """Whether the terms have exponentials as factors, and someone takes a logarithm of the sum or divides by it."""
    if not any(inner in indices_of(u) for u in exponents_of(s)):
        return False
    partners = {t.target for t in program.statements if exponents_of(t) == exponents_of(s)}
    return any(is_log_or_quotient_of(s.target, partners, t.expression) for t in program.statements)


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
    return Read(place.tensor, *(step if i == running.outer else i for i in place.subscripts)), exists
