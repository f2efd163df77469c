"""Common factors: a division that all terms of a sum share is done once, and additions that share factors become one.

For p = exp(z)/s the reverse rule gives z_bar += exp(z)·p_bar/s, s_bar = Σ (-exp(z)·p_bar/s²) and z_bar += exp(z)·s_bar.
Once held values are read, these passes make of it t = Σ p·p_bar and z_bar = p·(p_bar - t).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import (
    Read,
    bottom_up,
    indices_of,
    is_division,
    is_size,
    reads_of,
    subexpressions,
)
from derivgen.form.inside import out_of_bounds
from derivgen.form.program import Program, Range, Role, Statement, Tensor, is_plain_index, map_expressions, names_of
from derivgen.rewrite.conditions import guard_outside, knows, read_through
from derivgen.rewrite.factored import factored, number_and_rest
from derivgen.rewrite.held import Held, Reuse, held_by
from derivgen.rewrite.scans import is_by_point


def numbers_outside(program: Program) -> Program:
    """A number that all terms of a sum share is a factor outside of it.

    `z[n] = a[n]·(2·b[n] - 2·c[n])` → `z[n] = 2·a[n]·(b[n] - c[n])`
    """

    def pull(node: sp.Basic) -> sp.Basic:
        if not isinstance(node, sp.Mul):
            return node
        parts = [factor.primitive() if isinstance(factor, sp.Add) else (1, factor) for factor in node.args]
        return sp.Mul(*(number for number, _ in parts), *(factor for _, factor in parts))

    return map_expressions(program, lambda e: bottom_up(e, pull))


def divide_sums_once(program: Program) -> Program:
    """A division that all terms of a sum share is done once, after the sum, if the sum is known to have terms.

    `z[n] += Σ_k a[n,k]/b[n]` → `z_sum[n] += Σ_k a[n,k]` and `z[n] += z_sum[n]/b[n]`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        outside, inside = common_factors(s)
        if not any(map(is_division, outside)):
            statements.append(s)
            continue
        kept = tuple(r for r in s.domain if r not in s.reduced)
        divided = replace(s, expression=sp.Mul(*outside), domain=kept, guard=guard_outside(s))
        if not (has_terms(s) or read_with_terms(program, s, divided)):
            statements.append(s)
            continue
        total = Read(names.fresh(f"{s.target}_sum"), *(r.index for r in kept))
        tensors.append(Tensor(total.tensor, tuple(r.extent for r in kept), Role.HELPER))
        statements.append(replace(s, target=total.tensor, subscripts=total.subscripts, expression=sp.Mul(*inside)))
        statements.append(replace(divided, expression=sp.Mul(*outside, total)))
    return program.with_statements(statements, tensors)


def common_factors(s: Statement) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """(the factors of a plain sum that are the same in all of its terms, the others)"""
    reduced = {r.index for r in s.reduced}
    if s.operator != "+=" or s.scan is not None or not isinstance(s.expression, sp.Mul) or not reduced:
        return [], []
    outside = [factor for factor in s.expression.args if not indices_of(factor) & reduced]
    return outside, [factor for factor in s.expression.args if factor not in outside]


def has_terms(s: Statement) -> bool:
    """Whether a sum is known to have terms wherever its target is written."""
    return guard_outside(s) == s.guard and all(has_steps(r) for r in s.reduced)


def read_with_terms(program: Program, s: Statement, divided: Statement) -> bool:
    """Whether a sum, which nothing adds to, is read only at points that are among its own: so it has a term there.

    Where it has none, what is divided by must still be inside its tensor.
    """
    lone = program.writers[s.target] == [s]
    reduced = set(s.reduced)
    readers = program.readers.get(s.target, [])
    same = all(reduced <= set(t.domain) and set(t.reads) & {s.write} and knows(t, s) for t in readers)
    internal = lone and s.target not in program.outputs and all(map(is_plain_index, s.subscripts))
    return internal and same and not out_of_bounds(divided, program.table)


def has_steps(r: Range) -> bool:
    """Whether a range is known not to be empty: a size is at least 1."""
    return is_size(r.extent) or bool(r.extent.is_positive and r.extent.is_Integer)


def divisions(expression: sp.Expr) -> int:
    return sum(is_division(node) for node in subexpressions(expression))


def read_through_quotients(program: Program) -> Program:
    """A quotient is computed where it is read if its division is one that an earlier tensor holds there.

    `p[n] = e[n]/s`, `e_bar[n] = p_bar[n]/s` and `z_bar[n] = e[n]·e_bar[n]` → `z_bar[n] = p[n]·p_bar[n]`
    """
    reuse = Reuse(program)
    lone = [(k, s) for k, s in enumerate(program.statements) if len(program.writers[s.target]) == 1]
    held = [(k, h) for k, s in lone if (h := held_once(program, s)) is not None]
    statements = list(program.statements)
    for position, h in held:
        writer = program.statements[position]
        if not isinstance(h.expression, sp.Mul) or not any(map(is_division, h.expression.args)):
            continue
        if program.tensor(h.read.tensor).role is not Role.ADJOINT:
            continue
        for later, t in enumerate(statements):
            if h.read.tensor in t.sources and knows(t, writer):
                opened = found = read_through(t, writer).expression
                for earlier, other in held:
                    if earlier < later and other is not h:
                        found = reuse.apply(replace(t, expression=found), other)
                if divisions(found) < divisions(opened):
                    statements[later] = replace(t, expression=found)
    return program.with_statements(statements)


def held_once(program: Program, s: Statement) -> Held | None:
    """The value that the target of a lone statement holds, if the statement is in no recurrence."""
    once = s.scan is None and s.covers(program.tensor(s.target).shape, guarded=True)
    return held_by(s, program.tensor(s.target)) if once else None


def add_up(program: Program) -> Program:
    """Additions of one layer, or of one step of a recurrence, to the same elements are one, common factors outside.

    `z_bar[n] += p[n]·p_bar[n]` and `z_bar[n] += -p[n]·t` → `z_bar[n] += p[n]·(p_bar[n] - t)`
    """
    alone = {name for name, writers in program.writers.items() if len(writers) == 1}

    def group(s: Statement) -> object:
        plain = not s.reduced and s.target not in alone
        return (s.layer if s.scan is None else s.scan) if plain else None

    return joined(program, group)


def join_sums(program: Program) -> Program:
    """Sums of one layer over the same points, to the same elements, are one sum, but for products of matrices.

    `a_bar += Σ_n x[n]·p[n]` and `a_bar += Σ_n y[n]·q[n]` → `a_bar += Σ_n (x[n]·p[n] + y[n]·q[n])`
    """
    return joined(program, lambda s: (s.layer, s.scan) if s.reduced and is_by_point(s) else None)


def joined(program: Program, group: Callable[[Statement], object]) -> Program:
    """The program with what statements of a group add to the same elements added by the last of them; None: alone."""
    last: dict[tuple[object, ...], int] = {}
    statements: list[Statement | None] = list(program.statements)
    for position, s in enumerate(program.statements):
        own = group(s) if s.operator == "+=" else None
        if own is None:
            continue
        key = (own, s.target, s.subscripts, s.domain, s.guard, s.direction)
        earlier = statements[last[key]] if key in last else None
        if earlier is not None:
            statements[last[key]] = None
            statements[position] = replace(s, expression=added(earlier.expression, s.expression))
        last[key] = position
    return program.with_statements(s for s in statements if s is not None)


def shared_outside(program: Program) -> Program:
    """A factor that several terms of a derivative share is multiplied with their sum.

    `z_bar[n] = c[n]·p[n] + c[n]·q[n]·a + r[n]` → `z_bar[n] = c[n]·(p[n] + q[n]·a) + r[n]`
    """
    statements = (
        s if s.direction == "forward" else replace(s, expression=factored(s.expression)) for s in program.statements
    )
    return program.with_statements(statements)


def added(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """a + b, as a product with the factors that both have, if any."""
    shared = [factor for factor in sp.Mul.make_args(a) if factor in sp.Mul.make_args(b) and reads_of(factor)]
    if not shared:
        return a + b
    rest = sp.Add(*(sp.Mul(*(f for f in sp.Mul.make_args(e) if f not in shared)) for e in (a, b)))
    return sp.Mul(*shared, *number_and_rest(rest))
