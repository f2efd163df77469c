"""Program → a Program of the same values whose statements suit loops and matrix products.

The list PASSES is the stage: what is cheaper computed again than kept is not kept, a costly call that several points
or statements share is made once, and sums of products become products of two matrices where that pays.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.arrange.axes_order import axes_in_order
from derivgen.arrange.contractions import match_contraction
from derivgen.arrange.neighbours import factors_with_neighbours, share_with_neighbours
from derivgen.arrange.order_of_sums import sums_first
from derivgen.arrange.products import contract_products
from derivgen.arrange.shifts import invert_shifts
from derivgen.arrange.sums_in_steps import sums_in_steps
from derivgen.arrange.time_major import time_major
from derivgen.arrange.transposes import transposed_for_reuse
from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, Read, bottom_up, branches_of, indices_of, replace_reads, substitute
from derivgen.form.functions import difference
from derivgen.form.program import Program, Role, Statement, Tensor, names_of
from derivgen.rewrite.calls import costly_calls, domain_of, is_costly
from derivgen.rewrite.conditions import assign_under_guards, at_read, is_lone, is_read_under_guard
from derivgen.rewrite.passes import Pass, run
from derivgen.rewrite.scans import leave_scans


@as_written()
def arrange(program: Program) -> Program:
    """The program after every pass."""
    return run("arrange", PASSES, program)


# ---- what is computed again


def recompute_differences(program: Program) -> Program:
    """A kept difference u - v is computed where it is read, which is cheaper than a store and a load.

    It is a function there: added up in another order with the terms around it, it would lose digits.

    `s[n,k] = z[n,k] - m[n]` and `e[n,k] = exp(s[n,k])` → `e[n,k] = exp(z[n,k] - m[n])`
    """
    kept = {s.target: s for s in program.statements if is_difference(program, s)}

    def again(read: Read) -> sp.Expr:
        if read.tensor not in kept:
            return read
        s = kept[read.tensor]
        u, v = terms_of_difference(s.expression)
        return difference(*(replace_reads(at_read(s, read, e), again) for e in (u, v)))

    def alone(node: sp.Basic) -> sp.Basic:
        if isinstance(node, sp.Function) and len(node.args) == 1 and isinstance(node.args[0], difference):
            u, v = node.args[0].args
            return node.func(u - v)
        return node

    statements = [
        replace(s, expression=bottom_up(replace_reads(s.expression, again), alone), guard=replace_reads(s.guard, again))
        for s in program.statements
        if s.target not in kept
    ]
    return program.with_statements(statements).live(program.outputs)


def is_difference(program: Program, s: Statement) -> bool:
    whole = s.operator == "=" and s.covers(program.tensor(s.target).shape)
    whole = whole or (s.scan is None and is_lone(program, s) and is_read_under_guard(program, s))
    helper = program.tensor(s.target).role is Role.HELPER and s.target not in program.outputs
    reads = whole and helper and isinstance(s.expression, sp.Add) and len(s.expression.args) == 2
    return (
        bool(reads)
        and {isinstance(a, Read) for a in s.expression.args} == {True, False}
        and all(isinstance(a, Read) or isinstance(-a, Read) for a in s.expression.args)
    )


def terms_of_difference(expression: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    positive, negative = sorted(expression.args, key=lambda a: not isinstance(a, Read))
    return positive, -negative


def read_earlier_again(program: Program) -> Program:
    """What a recurrence had in an earlier step is read there again by what comes after it, and not stored twice.

    In its own steps it is read where it is needed first. A product of matrices needs it as a matrix of its own: then it
    stays.

    `a_bar[n] += Σ_t y_bar[t,n]·y_previous[t,n]` → `y_earlier[t,n] = (y[t - 1,n] if t ≥ 1 else 0)` and `a_bar[n] += Σ_t
    y_bar[t,n]·y_earlier[t,n]`
    """
    earlier = {s.target: s for s in program.statements if is_earlier_value(program, s)}
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    made: dict[tuple[object, ...], str] = {}
    waiting = dict(earlier)  # for the first statement of their own steps that reads them
    for s in program.statements:
        again: dict[sp.Expr, sp.Expr] = {}
        for read in (r for r in s.reads if r.tensor in earlier):
            t = earlier[read.tensor]
            if is_with(s, t):
                statements += [t] if waiting.pop(t.target, None) else []
                continue
            key = (t, s.layer, s.direction, s.scan, read, s.domain)
            if key not in made:
                made[key] = names.fresh(t.target.replace("_previous", "_earlier").replace("_next", "_later"))
                tensors.append(replace(program.tensor(t.target), name=made[key]))
                value = replace(s, target=made[key], subscripts=read.subscripts, operator="=", guard=TRUE)
                statements.append(replace(value, expression=at_read(t, read, t.expression)))
            again[read] = Read(made[key], *read.subscripts)
        if s.target not in earlier:
            statements.append(s.mapped(partial(substitute, mapping=again)))
    return program.with_statements(statements, tensors).live(program.outputs)


def is_earlier_value(program: Program, s: Statement) -> bool:
    """Whether a helper is what rows had in an earlier step, or one value in the first one, read at its points alone.

    Not where the step is one number, or where each row has a value of its own before: then a compiler makes vectors of
    few such choices.
    """
    t = program.tensor(s.target)
    helper = t.role is Role.HELPER and s.target not in program.outputs and len(t.shape) > 1
    if not helper or s.scan is None or s.operator != "=" or not s.covers(t.shape):
        return False
    pairs, default = branches_of(s.expression) if isinstance(s.expression, sp.Piecewise) else ([], s.expression)
    copied = all(isinstance(value, Read | sp.Number) for value in (default, *(value for value, _ in pairs)))
    readers = program.readers.get(s.target, ())
    reads = ((u, r) for u in readers for r in u.reads if r.tensor == s.target)
    return (
        copied
        and not indices_of(default) - {s.scan.index}
        and all({*r.subscripts} == {own.index for own in u.domain} for u, r in reads)
        and not any(match_contraction(program.table, u) for u in readers)
    )


def is_with(s: Statement, t: Statement) -> bool:
    """Whether two statements are of the same steps of one kernel."""
    return (s.scan, s.layer, s.direction) == (t.scan, t.layer, t.direction)


# ---- what is shared


def share_calls(program: Program) -> Program:
    """A costly call is made once if several points or several statements of a layer need the same value.

    `z[n,k] = x[n,k]·exp(s[n])` → `z_exp[n] = exp(s[n])` and `z[n,k] = x[n,k]·z_exp[n]`
    """

    def calls(s: Statement) -> list[sp.Expr]:
        """What is a part of a tensor is no value that others could read: it reads theirs."""
        part = is_costly(s.expression) and s.operator == "=" and s.guard == TRUE and s.scan is None
        return [s.expression] if part and not s.covers(program.tensor(s.target).shape) else costly_calls(s)

    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    counts: dict[tuple[object, ...], int] = {}
    for s in program.statements:
        for key in {call_key(s, call) for call in calls(s)}:
            counts[key] = counts.get(key, 0) + 1
    held: dict[tuple[object, ...], Read] = {}
    for s in program.statements:
        found: dict[sp.Expr, Read] = {}
        for call in calls(s):
            key, domain = call_key(s, call), domain_of(s, call)
            shared = counts[key] > 1 and domain == s.domain
            if key not in held and (shared or len(domain) < len(s.domain)):
                name = names.fresh(f"{s.layer}_{type(call).__name__.lower()}")
                held[key] = Read(name, *(r.index for r in domain))
                tensors.append(Tensor(name, tuple(r.extent for r in domain), Role.HELPER))
                made = replace(s, target=name, subscripts=held[key].subscripts, operator="=", expression=call)
                statements.append(replace(made, domain=domain))
            if key in held:
                found[call] = held[key]
        statements.append(replace(s, expression=substitute(s.expression, found)))
    return leave_scans(program.with_statements(statements, tensors))


def call_key(s: Statement, call: sp.Expr) -> tuple[object, ...]:
    """By what a call is found again: in its layer, or in all layers if it has fewer points than its statement."""
    domain = domain_of(s, call)
    return s.layer if domain == s.domain else None, s.direction, call, domain


PASSES: tuple[Pass, ...] = (
    recompute_differences,
    assign_under_guards,
    share_with_neighbours,
    factors_with_neighbours,
    share_calls,
    invert_shifts,
    time_major,
    axes_in_order,
    sums_first,
    contract_products,
    axes_in_order,
    transposed_for_reuse,
    sums_in_steps,
    read_earlier_again,
)
