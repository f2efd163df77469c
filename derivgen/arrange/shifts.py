"""Additions at shifted places → additions at plain ones: each element gathers what it gets.

The adjoint of u[i + 1] + u[i - 1] adds to two elements of u_bar for each i. Seen from u_bar, each element gets from two
places: the shift is inverted. Then all that an element gets is one sum, stored once, which a compiler vectorizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import TRUE, all_of, guarded, indices_of, is_guarded, parts_of, substitute, sympy_order
from derivgen.form.inside import all_nonnegative, at_least_zero
from derivgen.form.program import Program, Range, Statement, Tensor, are_plain, is_plain_index
from derivgen.rewrite.calls import calls_in


def invert_shifts(program: Program) -> Program:
    """What is added at shifted places is added at plain ones, and what the same elements get is added at once.

    Not where it stays one of several additions to some of the elements.

    `z[i + 1] += x[i]` and `z[i] += y[i]` → `z[i] += y[i] + (x[i - 1] if i ≥ 1 else 0)`
    """
    inverted = {s: plain for s in program.statements if (plain := at_plain_places(program, s)) is not s}
    statements = program.statements
    for target in dict.fromkeys(s.target for s in inverted):
        own = [s for s in statements if s.target == target]
        at_once = added_at_once([inverted.get(s, s) for s in own])
        if len(at_once) < len(own) or all(s.guard == TRUE for s in at_once.values()):
            made = {own[k]: s for k, s in at_once.items()}
            statements = tuple(made.get(s, s) for s in statements if s.target != target or s in made)
    return program.with_statements(statements)


def at_plain_places(program: Program, s: Statement) -> Statement:
    """A statement that adds at shifted places as one that adds at plain ones; others, and those with calls, as is."""
    shape, step = program.tensor(s.target).shape, s.scan.index if s.scan is not None else None
    moved: dict[sp.Expr, sp.Expr] = {}
    limits: list[Boolean] = []
    extents: dict[sp.Symbol, sp.Expr] = {}
    for subscript, extent in zip(s.subscripts, shape, strict=True):
        index, shift = shifted(subscript)
        twice = sum(index in indices_of(i) for i in s.subscripts) > 1
        if index is None or twice or (index == step and shift != 0):
            return s
        if shift != 0:
            old = next(r.extent for r in s.domain if r.index == index)
            moved[index], extents[index] = index - shift, extent
            limits += [sp.Ge(index, shift), sp.Lt(index, old + shift)]
    if not moved or s.operator != "+=" or calls_in(s):
        return s
    domain = tuple(replace(r, extent=extents.get(r.index, r.extent)) for r in s.domain)
    plain = replace(s.mapped(lambda e: substitute(e, moved)), domain=domain)
    guard = all_of(*limits, plain.guard)
    return replace(
        plain, subscripts=tuple(map(sp.expand, plain.subscripts)), guard=needed(guard, domain, program.table)
    )


def shifted(subscript: sp.Expr) -> tuple[sp.Symbol | None, sp.Expr]:
    """(index, c) of index + c; no index where a subscript is none of these."""
    constant, rest = subscript.as_coeff_Add()
    return (rest, constant) if is_plain_index(rest) and constant.is_Integer else (None, constant)


# ---- guards


def needed(guard: Boolean, domain: tuple[Range, ...], tensors: Mapping[str, Tensor]) -> Boolean:
    """The parts of a guard that don't follow from the others, those about an index with it alone on one side."""
    parts = [alone(part) for part in parts_of(guard)]
    for part in list(parts):
        others = [p for p in parts if p is not part]
        claim = at_least_zero(part, tensors)
        if claim is not None and all_nonnegative((claim,), all_of(*others), domain, tensors):
            parts = others
    return all_of(*parts)


def alone(part: Boolean) -> Boolean:
    """`i - 1 < 5` → `i < 6`"""
    if not isinstance(part, sp.core.relational.Relational):
        return part
    difference = sp.expand(part.lhs - part.rhs)
    for index in sorted(indices_of(difference), key=sympy_order):
        if difference.coeff(index) == 1:
            return part.func(index, index - difference, evaluate=False)
        if difference.coeff(index) == -1:
            return part.reversed.func(index, difference + index, evaluate=False)
    return part


# ---- sums


def added_at_once(statements: Sequence[Statement]) -> dict[int, Statement]:
    """One statement for all that is added to the same elements, by the position of the last of them."""
    done: dict[int, Statement] = {}
    for position, s in enumerate(statements):
        mate = next((k for k, t in done.items() if are_one(t, s)), None)
        done[position] = s if mate is None else together(done.pop(mate), s)
    return done


def are_one(earlier: Statement, later: Statement) -> bool:
    """Whether two statements add to the same elements, in one kernel, and sum over the same."""
    alike = all(getattr(earlier, p) == getattr(later, p) for p in ("target", "layer", "direction", "scan", "reduced"))
    added = alike and later.operator == "+=" and earlier.operator in ("=", "+=")
    return added and (box := box_of(later)) is not None and box == box_of(earlier)


def box_of(s: Statement) -> tuple[sp.Expr, ...] | None:
    """How many elements along each axis a statement writes, from the first on; None where it writes no such box."""
    extents = {r.index: r.extent for r in s.domain}
    return tuple(extents[i] for i in s.subscripts) if are_plain(s.subscripts) else None


def together(earlier: Statement, later: Statement) -> Statement:
    """One statement for both, at the indices of the earlier one; what has one condition is one choice."""
    names = dict(zip(later.subscripts, earlier.subscripts, strict=True))
    value, guard = (substitute(e, names) for e in (later.expression, later.guard))
    found = dict[Boolean, list[sp.Expr]]()
    for term in (*sp.Add.make_args(guarded(earlier.expression, earlier.guard)), guarded(value, guard)):
        own, condition = term.args[0].args if is_guarded(term) else (term, TRUE)
        found.setdefault(condition, []).append(own)
    terms = (guarded(sp.Add(*values), condition) for condition, values in found.items())
    return replace(earlier, expression=sp.Add(*terms), guard=TRUE)
