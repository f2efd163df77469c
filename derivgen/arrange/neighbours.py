"""Costly values that a point adds to several of its neighbours → tensors, each value made once.

The adjoint of √((u[i + 1] - u[i])² + c) adds a multiple of 1/√(…) to u_bar[i] and to u_bar[i + 1]. Where each element
gathers what it gets (see `shifts`), it would take a root for each neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.arrange.shifts import shifted
from derivgen.form.expressions import (
    TRUE,
    Conditions,
    Read,
    bottom_up,
    bottom_up_known,
    branches_of,
    guarded,
    guarded_reads,
    indices_of,
    is_division,
    negation,
    parts_of,
    reads_of,
    subexpressions,
    unconditional_parts,
)
from derivgen.form.inside import is_inside
from derivgen.form.program import Program, Range, Role, Statement, Tensor, are_plain, names_of
from derivgen.rewrite.calls import is_costly, pass_of
from derivgen.rewrite.conditions import implies

HALF = sp.Rational(1, 2)


@dataclass(frozen=True)
class Value:
    """A call, or 1/√base, as a point has it."""

    whole: sp.Expr

    @property
    def word(self) -> str:
        return "over_root" if isinstance(self.whole, sp.Pow) else type(self.whole).__name__.lower()

    def under(self, s: Statement) -> Value:
        """The value as it is known under a statement's guard."""
        return Value(bottom_up_known(self.whole, parts_of(s.guard), decided))

    def read_in(self, e: sp.Expr, read: Read) -> sp.Expr:
        """An expression that reads the value instead of making it."""

        def change(node: sp.Basic) -> sp.Basic:
            if node == self.whole:
                return read
            root = isinstance(node, sp.Pow) and isinstance(self.whole, sp.Pow) and node.base == self.whole.base
            return read ** (-2 * node.exp) if root and is_over_root(node) else node

        return bottom_up(e, change)


def share_with_neighbours(program: Program) -> Program:
    """A call or a root that a point adds to several elements, some of them neighbours, is made once.

    What the guard of a statement says may have made it shorter there.

    `s += Σ_i √(x[i]² + 1)`, `z[i] += y[i]/√(x[i]² + 1)` and `z[i + 1] += w[i]/√(x[i]² + 1) if i < 3` →
    `r[i] = 1/√(x[i]² + 1)`, `z[i] += r[i]·y[i]` and `z[i + 1] += r[i]·w[i] if i < 3`
    """
    names, tensors = names_of(program), list[Tensor]()
    changed: dict[Statement, Statement] = {}
    made: dict[Statement, list[Statement]] = {}
    held: dict[object, tuple[int, Read]] = {}  # and before which statement it is made, for other tensors' additions
    places_of = {id(s): k for k, s in enumerate(program.statements)}
    for group in scattered(program, lambda s: s.target):
        first, places = group[0], tuple(r.index for r in group[0].domain)
        for value in values_at_all_points(program, group):
            key = (first.layer, first.direction, first.domain, value)
            known = key in held and held[key][0] <= min(places_of[id(s)] for s in group)
            read = held[key][1] if known else Read(names.fresh(f"{first.layer}_{value.word}"), *places)
            after = {s: value.under(s).read_in(changed.get(s, s).expression, read) for s in group}
            users = [s for s in group if after[s] != changed.get(s, s).expression]
            if len(users) > 1 and not all(are_plain(s.subscripts) for s in users):
                changed |= {s: replace(s, expression=after[s]) for s in users}
                if known:
                    continue
                held[key] = places_of[id(users[0])], read
                tensors.append(Tensor(read.tensor, tuple(r.extent for r in first.domain), Role.HELPER))
                whole = replace(first, target=read.tensor, subscripts=places, operator="=", guard=TRUE)
                made.setdefault(users[0], []).append(replace(whole, expression=value.whole))
    return with_values(program, tensors, made, changed)


def factors_with_neighbours(program: Program) -> Program:
    """What is costly in several products that a point adds to several elements is made once, with all that they share.

    `x_bar[i] += -t[i]·(x[i + 1] - x[i])/√(…) if i < 3` and `x_bar[i + 1] += t[i]·(x[i + 1] - x[i])/√(…) if i < 3` →
    `f[i] = ((x[i + 1] - x[i])·t[i]/√(…) if i < 3 else 0)` and `x_bar[i] += -f[i] if i < 3` and so on
    """
    names, tensors = names_of(program), list[Tensor]()
    changed: dict[Statement, Statement] = {}
    made: dict[Statement, list[Statement]] = {}
    for group in scattered(program, lambda s: (s.guard, frozenset(filter(is_costly_factor, factors_of(s))))):
        shared = [f for f in factors_of(group[0]) if all(f in factors_of(s) for s in group)]
        if len(group) < 2 or not any(map(is_costly_factor, shared)):
            continue
        first, places = group[0], tuple(r.index for r in group[0].domain)
        read = Read(names.fresh(f"{first.layer}_factor"), *places)
        tensors.append(Tensor(read.tensor, tuple(r.extent for r in first.domain), Role.HELPER))
        whole = replace(first, target=read.tensor, subscripts=places, operator="=", guard=TRUE)
        made[first] = [replace(whole, expression=guarded(sp.Mul(*shared), first.guard))]
        for s in group:
            rest = [f for f in sp.Mul.make_args(s.expression) if f not in shared]
            changed[s] = replace(s, expression=sp.Mul(read, *rest))
    return with_values(program, tensors, made, changed)


def with_values(
    program: Program,
    tensors: Sequence[Tensor],
    made: dict[Statement, list[Statement]],
    changed: Mapping[Statement, Statement],
) -> Program:
    """The program with more tensors, each made before the first of the statements that read it."""
    statements = list[Statement]()
    for s in program.statements:  # which may have one statement twice
        statements += [*made.pop(s, ()), changed.get(s, s)]
    return program.with_statements(statements, tensors)


def factors_of(s: Statement) -> list[sp.Expr]:
    """The factors that a statement adds the product of, numbers left out."""
    return [f for f in sp.Mul.make_args(s.expression) if not f.is_number]


def is_costly_factor(factor: sp.Expr) -> bool:
    """Whether a factor has a call, a root or a division in it."""
    nodes = [node for node in subexpressions(factor) if reads_of(node)]
    return any(is_costly(n) or is_division(n) or (isinstance(n, sp.Pow) and not n.exp.is_Integer) for n in nodes)


def scattered(program: Program, key: Callable[[Statement], object]) -> list[list[Statement]]:
    """The statements with one key that add over the same points in one pass of a layer, at shifted places too."""
    groups: dict[tuple[object, ...], list[Statement]] = {}
    for s in program.statements:
        if s.operator == "+=" and s.scan is None and not s.reduced and all(shifted(i)[0] for i in s.subscripts):
            groups.setdefault((s.layer, s.direction, s.domain, key(s)), []).append(s)
    return [group for group in groups.values() if not all(are_plain(s.subscripts) for s in group)]


def values_at_all_points(program: Program, group: Sequence[Statement]) -> list[Value]:
    """The calls and roots that a statement over a group's points makes at each of them, or could make there."""
    domain, found = group[0].domain, dict[Value, None]()
    forward = (t for t in program.statements if {*t.domain} == {*domain} and t.scan is None and t.guard == TRUE)
    for t in (*(t for t in forward if pass_of(t) < pass_of(group[0])), *group):
        for node in unconditional_parts(t.expression) if not reads_of(t.guard) else ():
            root = isinstance(node, sp.Pow) and (2 * node.exp).is_odd
            everywhere = indices_of(node) >= {r.index for r in domain} if root or is_costly(node) else False
            if everywhere and (t.guard == TRUE or is_inside_everywhere(program, node, domain)):
                found[Value(node.base**-HALF if root else node)] = None
    return list(found)


def is_inside_everywhere(program: Program, e: sp.Expr, domain: tuple[Range, ...]) -> bool:
    """Whether an expression reads inside of its tensors at all points, whatever a guard around it says."""
    return all(is_inside(read, path, domain, program.table) for read, path, _ in guarded_reads(e))


def is_over_root(node: sp.Pow) -> bool:
    return bool((2 * node.exp).is_odd and node.exp.is_negative)


def decided(node: sp.Basic, known: Conditions) -> sp.Basic:
    """A choice that known conditions decide is what it chooses."""
    if not isinstance(node, sp.Piecewise):
        return node
    pairs, default = branches_of(node)
    left = [(value, condition) for value, condition in pairs if not implies(known, negation(condition))]
    if not left:
        return default
    return left[0][0] if implies(known, left[0][1]) else node
