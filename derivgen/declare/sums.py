"""Sums and maxima of a spec, each as a statement: its indices with their ranges, its limits as a guard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean
from sympy.tensor.indexed import Idx

from derivgen.declare.scope import Scope
from derivgen.declare.state import ELEMENTS, State
from derivgen.errors import Refused
from derivgen.form import bounds
from derivgen.form.expressions import (
    Read,
    about,
    all_of,
    conjuncts,
    index_symbol,
    indices_of,
    reads_of,
    split_guard,
    substitute,
)
from derivgen.form.inside import all_nonnegative, integer_reads, out_of_bounds
from derivgen.form.program import Operator, Range, Role, Statement, Tensor

HELPER_NAMES = {"+=": "sum", "max=": "max"}


def reduced(state: State, e: Any, scope: Scope, target: str = "", subscripts: tuple[sp.Symbol, ...] = ()) -> sp.Expr:
    """The statement of a Sum or a MaxOver; gives the read of what it defines."""
    bound, guard = limits(state, e, scope)
    inner = scope.within(bound)
    own = {r.index for r in bound.values()}
    seen = [about(c, indices_of(c) - own) for c in conjuncts(scope.path)]
    summand = state.body(state.convert(e.args[0], Scope(inner.ranges, all_of(guard, *seen))))
    if isinstance(e, sp.Sum):  # what is 0 under its guard adds nothing; a maximum may be that 0
        summand, body_guard = split_guard(summand)
        guard = all_of(guard, body_guard)
    operator: Operator = "+=" if isinstance(e, sp.Sum) else "max="
    if target:
        bound_ranges = apart(state, bound, subscripts)
        domain = (*(r for r in scope.ranges.values()), *bound_ranges.values())
        renaming = {bound[s].index: r.index for s, r in bound_ranges.items()}
        summand, guard = substitute(summand, renaming), substitute(guard, renaming)
        state.emit(Statement(target, subscripts, operator, summand, domain, guard, state.layer))
        return Read(target, *subscripts)
    return helper(state, operator, summand, guard, scope, bound)


def apart(state: State, bound: dict[sp.Symbol, Range], taken: tuple[sp.Symbol, ...]) -> dict[sp.Symbol, Range]:
    """Bound indices that would capture one on the left, renamed."""
    return {s: replace(r, index=fresh_index(state, r.index)) if r.index in taken else r for s, r in bound.items()}


def fresh_index(state: State, index: sp.Symbol) -> sp.Symbol:
    return index_symbol(state.names.fresh(index.name))


def helper(
    state: State,
    operator: Operator,
    summand: sp.Expr,
    guard: Boolean,
    scope: Scope,
    bound: dict[sp.Symbol, Range],
) -> sp.Expr:
    """An unnamed reduction as a tensor of its own, over the outer indices that it depends on.

    The condition of the branch that it stands in goes with it, as far as it speaks of those indices; the rest
    of it too where the reads need it to stay inside their tensors.
    """
    own = {r.index for r in bound.values()}
    outer = [r for s, r in scope.ranges.items() if s not in bound]
    path = [about(c, indices_of(c) - own) for c in conjuncts(scope.path)]
    needed = (indices_of(summand) | indices_of(guard)) - own
    inside = [about(c, needed) for c in path]
    for conditions in (inside, path):
        used = needed.union(*(indices_of(c) for c in conditions))
        free = tuple(r for r in outer if r.index in used)
        target = tuple(r.index for r in free)
        domain = (*free, *bound.values())
        condition = all_of(guard, *conditions)
        statement = Statement("", target, operator, summand, domain, condition, layer=state.layer)
        if not out_of_bounds(statement, state.tensors):
            break
    if statement not in state.helpers:
        name = state.helpers[statement] = state.names.fresh(f"{state.layer}_{HELPER_NAMES[operator]}")
        state.tensors[name] = Tensor(name, tuple(r.extent for r in free), Role.HELPER)
        state.emit(replace(statement, target=name))
    return Read(state.helpers[statement], *target)


def limits(state: State, e: Any, scope: Scope) -> tuple[dict[sp.Symbol, Range], Boolean]:
    """The bound indices with their full ranges, and the guard of limits that are narrower."""
    bound: dict[sp.Symbol, Range] = {}
    guards: list[Boolean] = []
    limits = e.limits if isinstance(e, sp.Sum) else [(i,) for i in e.args[1:]]
    for limit in reversed(limits):
        symbol, *given = limit
        if symbol in bound:  # an inner index of the same name hides this one: the sum repeats what it holds
            hidden = bound.pop(symbol)
            bound[sp.Dummy()] = replace(hidden, index=fresh_index(state, hidden.index))
        inner = scope.within(bound)
        index = state.letters.index_of(symbol, state.place)
        lower, upper = given_limits(state, symbol, given, inner)
        extent = state.fixed(symbol.upper + 1) if isinstance(symbol, Idx) else largest(state, upper, inner) + 1
        if lower != 0:
            guards.append(index >= lower)
        if sp.expand(upper + 1 - extent) != 0:
            guards.append(index <= upper)
        bound[symbol] = Range(index, extent)
    # SymPy's innermost limit is the first; in a box the order is free, so it is the one that was written.
    return dict(reversed(bound.items())), all_of(*guards)


def given_limits(state: State, symbol: sp.Symbol, given: list[sp.Expr], inner: Scope) -> tuple[sp.Expr, sp.Expr]:
    if not given and isinstance(symbol, Idx):
        given = [symbol.lower, symbol.upper]
    if len(given) != 2:
        raise Refused(
            f"{state.layer}: {symbol} has no range: make it by model.indices(...), or write Sum(..., ({symbol}, 0, "
            "K - 1))"
        )
    lower, upper = (sp.expand(state.convert(limit, inner)) for limit in given)
    if isinstance(symbol, Idx):
        extent = state.fixed(symbol.upper + 1)
        claims = (lower, extent - 1 - upper)
        if not all_nonnegative(claims, inner.path, tuple(inner.ranges.values()), state.tensors):
            raise Refused(
                f"{state.layer}: the limits {lower} .. {upper} of {symbol} may leave its range 0 .. {extent - 1}: "
                "sum over an index with a longer range, or narrow the limits"
            )
    if any(abs(number) > ELEMENTS for limit in (lower, upper) for number in limit.atoms(sp.Integer)):
        raise Refused(f"{state.layer}: the sum over {symbol} has too many terms, expected at most 2^47")
    for limit in (lower, upper):
        if bounds.linear(limit, state.is_integer) is None:
            raise Refused(f"{state.layer}: the limit {limit} of {symbol} is not affine in indices and sizes")
    return lower, upper


def largest(state: State, upper: sp.Expr, scope: Scope) -> sp.Expr:
    """The largest value of an affine limit over the indices in scope, and over what tables and labels may hold."""
    largest = upper
    for read, low, high in integer_reads((upper,), scope.path, state.tensors):
        largest = largest.subs(read, low if largest.coeff(read).is_negative else high)
    if found := reads_of(largest):
        raise Refused(
            f"{state.layer}: the limit {upper} reads {found[0]}, of which no largest value is known: sum over an index "
            "with a range, model.indices(k=K), between these limits"
        )
    for r in scope.ranges.values():
        if largest.coeff(r.index).is_negative:
            largest = largest.subs(r.index, 0)
        largest = largest.subs(r.index, r.extent - 1)
    return sp.expand(largest)
