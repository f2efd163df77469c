"""Sums of exponentials of differences are recurrences: memory that decays from each element to the next.

    S[n] = Σ_{m < n} w[m]·exp(-b·(t[n] - t[m]))  is  S[n] = (S[n - 1] + w[n - 1])·exp(-b·(t[n] - t[n - 1]))

in as many exponentials as there are elements instead of half their square: self-exciting processes, averages that
forget, synapses. It holds for every exponent whose part with n and whose part with m are added up, and for powers
b^(n - m). The exponent of a step is the difference of two elements beside each other: nothing cancels that did not in
the sum.

A step that grows, of times that do not rise, would take digits from a sum that had almost vanished, and one after it
might come from a sum that has overflowed. Such steps contribute nothing: their elements are summed as they stand. So
are those beside a time that is no number, which a guard may leave out of the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    Read,
    all_of,
    any_of,
    guarded,
    index_symbol,
    indicator,
    indices_of,
    negation,
    parts_of,
    substitute,
)
from derivgen.form.program import Names, Program, Range, Role, Scan, Statement, Tensor, names_of
from derivgen.prepare.running_sums import Running, earlier, ends_of, without

HIGHEST = 64  # exponent of a sum that the next one may be computed from
LEAST = 8  # elements, where their number is fixed


@dataclass(frozen=True, slots=True)
class Decaying:
    """A sum over the terms before, or after, each element: the factor that has both of its indices, and all others.

    The factor is exp(u), or b^u of an integer u and a base without either index.
    """

    running: Running
    factor: sp.Expr
    weight: sp.Expr

    def between(self, outer: sp.Expr, inner: sp.Expr) -> sp.Expr:
        """The exponent from one element to another."""
        (*_, exponent) = self.factor.args
        return substitute(exponent, {self.running.outer: outer, self.running.inner: inner})

    def at(self, exponent: sp.Expr) -> sp.Expr:
        """The factor with another exponent."""
        return self.factor.func(*self.factor.args[:-1], exponent)

    @property
    def last(self) -> sp.Expr:
        """The element before each, in the order of the recurrence."""
        return self.running.outer + (1 if self.running.after else -1)

    @property
    def step(self) -> sp.Expr:
        """What a step multiplies by; of exp(u) the exponent."""
        exponent = self.between(self.running.outer, self.last) - self.between(self.last, self.last)
        return exponent if isinstance(self.factor, sp.exp) else self.at(exponent)

    def grows(self, step: sp.Expr) -> Boolean:
        """Whether a step multiplies by more than 1, or by no number."""
        return negation(sp.Le(step, 0) if isinstance(self.factor, sp.exp) else sp.Le(sp.Abs(step), 1))


@as_written()
def decaying_sums(program: Program) -> Program:
    """Each sum of exponentials of differences is a recurrence, and a sum where a step grows.

    `S[n] += exp(t[m] - t[n]) if m ≤ n` → `S_step[n] = (t[n - 1] - t[n] if n ≥ 1 else 0)`,
    `S_high[n] = (max(S_high[n - 1] + S_step[n], 0) if n ≥ 1 else 0)`,
    `S_grows[n] = (1 if not (S_step[n] ≤ 0) or (n ≥ 1 and not (S_high[n - 1] ≤ 64)) else 0)`,
    `S_factor[n] = (exp(t[n - 1] - t[n]) if n ≥ 1 and not (S_grows[n] > 0) else 0)`,
    `S_rest[n] += exp(t[m] - t[n]) if m < n and S_grows[n] > 0` and
    `S[n] = 1 + S_rest[n] + (S[n - 1]·S_factor[n] if n ≥ 1 and not (S_grows[n] > 0) else 0)`
    """
    made, statements = Recurrences(names_of(program)), list[Statement]()
    for s in program.statements:
        found = how_it_decays(s) if is_lone_sum(program, s) else None
        if found is not None and is_stabilized(program, s.target):
            found = None
        statements += [s] if found is None else made.statements(s, found)
    return check_program(program.with_statements(statements, made.tensors))


@dataclass(frozen=True, slots=True)
class Recurrences:
    """Makes the recurrences; `steps`: (the factor of a step, whether it grows), which several sums may share."""

    names: Names
    tensors: list[Tensor] = field(default_factory=list)
    steps: dict[tuple[object, ...], tuple[sp.Expr, Boolean]] = field(default_factory=dict)

    def statements(self, s: Statement, found: Decaying) -> list[Statement]:
        running, outer = found.running, found.running.outer
        whole = replace(s, operator="=", domain=without(s.domain, running.inner), guard=TRUE)
        before, exists = earlier(s, s.write, running)
        made = list[Statement]()
        key = (found.factor, running.after, whole.domain)
        if key not in self.steps:
            self.steps[key] = self.step(whole, found, exists, made)
        factor, grows = self.steps[key]
        place = found.last if running.strict else outer
        joins = running.strict and found.between(place, place) == 0  # so that a step multiplies it, too
        own = substitute(found.weight, {running.inner: place}) * found.at(
            found.between(place if joins else outer, place)
        )
        term = guarded(own, substitute(running.guard, {running.inner: place}))
        value = guarded((before + term) * factor if joins else before * factor, all_of(exists, negation(grows)))
        if not joins:
            value += guarded(term, exists) if running.strict else term
        if grows != sp.false:
            rest = self.place(s, "rest", whole.domain)
            first = outer if joins or not running.strict else found.last
            older = sp.Gt(running.inner, first) if running.after else sp.Lt(running.inner, first)
            summed = replace(s, target=rest.tensor, subscripts=rest.subscripts, guard=all_of(older, grows))
            made.append(replace(summed, expression=guarded(s.expression, running.guard)))
            value += rest
        made.append(replace(whole, expression=value, scan=Scan(s.target, outer, running.after)))
        return made

    def step(self, s: Statement, found: Decaying, exists: Boolean, made: list[Statement]) -> tuple[sp.Expr, Boolean]:
        """(the factor of a step from the last element, 0 if it grows; whether it grows); notes their statements."""
        value, is_exponent = found.step, isinstance(found.factor, sp.exp)
        if value.is_number:
            return sp.exp(value) if is_exponent else value, found.grows(value)
        domain = tuple(r for r in s.domain if r.index in indices_of(value))

        outer = found.running.outer

        def define(word: str, held: Callable[[Read], sp.Expr], runs: bool = False) -> Read:
            place = self.place(s, word, domain)
            scan = Scan(place.tensor, outer, found.running.after) if runs else None
            part = replace(s, target=place.tensor, subscripts=place.subscripts, domain=domain, scan=scan)
            made.append(replace(part, expression=held(place)))
            return place

        exists = exists if outer in indices_of(value) else TRUE
        step = define("step", lambda _: guarded(value, exists))
        grows = found.grows(step)
        if is_exponent and exists != TRUE:
            own = found.between(outer, outer)

            def highest(place: Read) -> sp.Expr:
                return sp.Piecewise((sp.Max(earlier(s, place, found.running)[0] + step, own), exists), (own, TRUE))

            high, _ = earlier(s, define("high", highest, runs=True), found.running)
            risen = all_of(exists, negation(sp.Le(high, HIGHEST)))
            grows = sp.Gt(define("grows", lambda _: indicator(any_of(grows, risen))), 0)
        decays = all_of(exists, negation(grows))
        return define("factor", lambda _: guarded(sp.exp(value) if is_exponent else value, decays)), grows

    def place(self, s: Statement, word: str, domain: tuple[Range, ...]) -> Read:
        """A new tensor, at the point of a loop over a domain."""
        name = self.names.fresh(f"{s.layer}_{word}")
        self.tensors.append(Tensor(name, tuple(r.extent for r in domain), Role.HELPER))
        return Read(name, *(r.index for r in domain))


def is_lone_sum(program: Program, s: Statement) -> bool:
    """Whether a statement alone makes its target, by a sum over one index, in no recurrence."""
    return s.operator == "+=" and s.scan is None and len(program.writers[s.target]) == 1 and len(s.reduced) == 1


def how_it_decays(s: Statement) -> Decaying | None:
    """How a sum decays along with an index of its target, if it does."""
    (inner,) = s.reduced
    for part in parts_of(s.guard):
        if (ends := ends_of(part, inner.index)) is None:
            continue
        outer, after, strict = ends
        rest = all_of(*(p for p in parts_of(s.guard) if p != part))
        both = [f for f in sp.Mul.make_args(s.expression) if is_exponential(f, outer, inner.index)]
        extents = {r.extent for r in s.domain if r.index in (outer, inner.index)}
        few = all(extent.is_Integer and extent < LEAST for extent in extents)
        if outer not in s.subscripts or len(extents) > 1 or few or len(both) != 1:
            continue
        weight = sp.Mul(*(f for f in sp.Mul.make_args(s.expression) if f is not both[0]))
        if not any(outer in indices_of(e) for e in (weight, rest)) and is_sum_of_parts(
            both[0].args[-1], outer, inner.index
        ):
            found = Decaying(Running(outer, inner.index, after, strict, rest, relative=False), both[0], weight)
            return None if found.grows(found.step) == sp.true else found
    return None


def is_exponential(e: sp.Expr, outer: sp.Symbol, inner: sp.Symbol) -> bool:
    """Whether it is exp(u), or b^u of an integer u, of which the exponent has both indices and nothing else has."""
    match e:
        case sp.exp(args=(u,)):
            return {outer, inner} <= indices_of(u)
        case sp.Pow(args=(b, u)):
            return bool(u.is_integer) and {outer, inner} <= indices_of(u) and not {outer, inner} & indices_of(b)
    return False


def is_sum_of_parts(e: sp.Expr, outer: sp.Symbol, inner: sp.Symbol) -> bool:
    """Whether no part of an exponent needs both indices: e(n,m) + e(n',m') = e(n,m') + e(n',m)."""
    others = {outer: index_symbol("outer'"), inner: index_symbol("inner'")}
    one, two = ({i: others[i]} for i in (outer, inner))
    mixed = e - substitute(e, one) - substitute(e, two) + substitute(e, others)
    return bool(sp.expand(mixed) == 0)


def is_stabilized(program: Program, tensor: str) -> bool:
    """Whether someone takes a logarithm of the sum alone, or divides by it: `stabilize` keeps such from vanishing."""

    def takes(node: sp.Basic) -> bool:
        inside = isinstance(node, sp.log) or (isinstance(node, sp.Pow) and node.exp.is_negative)
        return inside and any(isinstance(f, Read) and f.tensor == tensor for f in sp.Mul.make_args(node.args[0]))

    nodes = (node for s in program.statements for node in sp.preorder_traversal(s.expression))
    return any(map(takes, nodes))
