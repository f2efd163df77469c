"""Whether every access of a statement stays inside its tensor: what is accepted is proved, the rest is refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form import bounds
from derivgen.form.enumerated import never_negative
from derivgen.form.expressions import (
    Conditions,
    Read,
    all_of,
    condition_reads,
    guarded_reads,
    indices_of,
    is_integral,
    is_size,
    parts_of,
    reads_of,
)
from derivgen.form.notation import Plain
from derivgen.form.program import Range, Role, Statement, Tensor

MOST_SUBSCRIPTS = 4  # of a read whose other orders are looked at


def out_of_bounds(s: Statement, tensors: Mapping[str, Tensor]) -> list[str]:
    """Messages for the reads that nothing keeps inside their tensors."""
    found = [(read, path) for read, path, _ in condition_reads(s.guard, ())]
    found += [(read, path) for read, path, _ in guarded_reads(s.expression, parts_of(s.guard))]
    messages = []
    for read, path in found:
        tensor = tensors[read.tensor]
        for axis, (subscript, extent) in enumerate(zip(read.subscripts, tensor.shape, strict=True)):
            if not inside(subscript, extent, path, s.domain, tensors):
                order = in_another_order(read, path, s.domain, tensors)
                messages.append(outside(read, axis, subscript, extent, s, order))
    return list(dict.fromkeys(messages))


def is_inside(access: Read, path: Conditions, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]) -> bool:
    """Whether each subscript of an access is proved to stay inside its tensor."""
    shape = tensors[access.tensor].shape
    return all(inside(i, extent, path, domain, tensors) for i, extent in zip(access.subscripts, shape, strict=True))


def inside(
    subscript: sp.Expr, extent: sp.Expr, path: Conditions, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]
) -> bool:
    """Whether 0 <= subscript < extent."""
    if any(r.index == subscript and r.extent == extent for r in domain):
        return True
    return all_nonnegative((subscript, extent - 1 - subscript), all_of(*path), domain, tensors)


def all_nonnegative(
    claims: tuple[sp.Expr, ...], path: Boolean, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]
) -> bool:
    """Whether each claim >= 0 follows from the ranges of indices and sizes, the classes of labels and the path."""
    used = (*claims, *(r.extent for r in domain))
    known, all_known = (tuple(integer_reads(e, path, tensors)) for e in (used, (*used, path)))
    integers = frozenset(r.tensor for r in reads_of(*used, path) if tensors[r.tensor].integer)

    def holds(claim: sp.Expr) -> bool:
        found = follow(claim, path, domain, known, integers)
        return found or (all_known != known and follow(claim, path, domain, all_known, integers))

    return all(holds(claim) or never_negative(claim, path, domain, tensors) for claim in claims)


@lru_cache(maxsize=2**15)  # the passes over code ask the same of a kernel again and again
def follow(
    claim: sp.Expr,
    path: Boolean,
    domain: tuple[Range, ...],
    known: tuple[tuple[Read, sp.Expr, sp.Expr], ...],
    integers: frozenset[str],
) -> bool:
    """Whether claim >= 0 follows; `known`: what integer reads lie between; `integers`: the tensors of integers."""

    def is_integer(read: Read) -> bool:
        return read.tensor in integers

    ranges = [*((r.index, sp.Integer(0), r.extent - 1) for r in domain), *known]
    facts = [bound for atom, low, high in ranges for bound in (atom - low, high - atom)]
    sizes = {s for e in (claim, *facts) for s in e.free_symbols if is_size(s)}
    forms = [bounds.linear(sp.expand(fact), is_integer) for fact in (*facts, *(s - 1 for s in sizes))]
    base = [form for form in forms if form is not None]
    wanted = bounds.linear(sp.expand(claim), is_integer)
    return wanted is not None and all(
        bounds.always_nonnegative(wanted, [*base, *case]) for case in bounds.cases_of(path, is_integer)
    )


def at_least_zero(part: Boolean, tensors: Mapping[str, Tensor]) -> sp.Expr | None:
    """What is at least 0 exactly where a comparison of integers holds."""
    if not isinstance(part, sp.core.relational.Relational) or part.rel_op not in ("<", "<=", ">", ">="):
        return None
    if not all(is_integral(e, lambda r: tensors[r.tensor].integer) for e in part.args):
        return None
    low, high = (part.lhs, part.rhs) if part.rel_op in ("<", "<=") else (part.rhs, part.lhs)
    return high - low - (1 if part.rel_op in ("<", ">") else 0)


def limit_of(condition: Boolean, index: sp.Symbol) -> tuple[str, sp.Expr] | None:
    """(relation, limit) of a condition that keeps an index on one side of what is made of other indices and reads."""
    if not isinstance(condition, sp.core.relational.Relational):
        return None
    form = condition if condition.lhs == index else condition.reversed
    if form.lhs != index:  # i - 1 ≥ j
        distance = sp.expand(condition.lhs - condition.rhs)
        if distance.coeff(index) == 1:
            form = condition.func(index, index - distance, evaluate=False)
        elif distance.coeff(index) == -1:
            form = condition.reversed.func(index, index + distance, evaluate=False)
    alone = form.lhs == index and index not in form.rhs.free_symbols and form.rel_op in ("<", "<=", ">", ">=")
    return (form.rel_op, form.rhs) if alone and (indices_of(form.rhs) or reads_of(form.rhs)) else None


def integer_reads(
    expressions: tuple[sp.Basic, ...], path: Boolean, tensors: Mapping[str, Tensor]
) -> list[tuple[Read, sp.Expr, sp.Expr]]:
    """(read, its least value, its largest value) of the integer tensors that are read."""
    ranges = []
    for read in reads_of(*expressions):
        tensor = tensors[read.tensor]
        present = tensor.ignore is None or sp.Ne(read, tensor.ignore) in parts_of(path)
        if tensor.role is Role.LABELS and tensor.classes is not None and present:
            ranges.append((read, sp.Integer(0), sp.Integer(tensor.classes - 1)))
        elif tensor.integer and tensor.value is not None:
            ranges.append((read, sp.Integer(int(tensor.value.min())), sp.Integer(int(tensor.value.max()))))
    return ranges


def in_another_order(
    read: Read, path: Conditions, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]
) -> Read | None:
    """The read with its subscripts in an order in which they stay inside, if there is one."""
    if len(read.subscripts) > MOST_SUBSCRIPTS:
        return None
    others = (Read(read.tensor, *order) for order in itertools.permutations(read.subscripts))
    return next((other for other in others if is_inside(other, path, domain, tensors)), None)


def outside(read: Read, axis: int, subscript: sp.Expr, extent: sp.Expr, s: Statement, order: Read | None) -> str:
    text = Plain({}).expression
    spans = ", ".join(
        f"{r.index} runs over 0 .. {text(r.extent - 1)}" for r in s.domain if r.index in indices_of(subscript)
    )
    runs = f" where {spans}" if spans else ""
    if subscript.is_Integer and subscript < 0:
        return (
            f"{text(read)} is outside of axis {axis} of {read.tensor}, which has {text(extent)} elements: subscripts "
            f"count from 0, and the last one is {text(extent - 1)}"
        )
    return (
        f"{text(read)} may leave axis {axis} of {read.tensor}, which has {text(extent)} elements{runs}: "
        + (f"are the subscripts in the wrong order, for {text(order)}? Else " if order is not None else "")
        + "narrow the index, or guard the read by Piecewise((…, condition), (0, True))"
    )
