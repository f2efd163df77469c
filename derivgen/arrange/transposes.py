"""Tensors that are read many times along another axis than their last → copies in which that axis is the last one.

Each pair of rows of c[m,d] reads all d of both: there are many pairs, and few elements of c. With so few d, no vector
is made along them; along m, neighbours lie apart. One copy, c_transposed[d,m], is made of few elements, and pays for
all pairs. So does a table that is looked up at its last axis. What is added to such elements is added to those of a
copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import sympy as sp

from derivgen.arrange.axes_order import (
    FEW,
    SHARE,
    Order,
    accesses,
    in_order,
    is_short,
    outer_subscripts,
    reached_in_order,
    without,
)
from derivgen.arrange.contractions import is_few, match_contraction
from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, Read, index_symbol, indices_of, reads_of
from derivgen.form.program import Program, Range, Role, Statement, Tensor, are_plain, names_of
from derivgen.form.ragged import innermost
from derivgen.form.sizes import REMEMBERED, element_count

REUSE = 8  # how often each element is reached by a statement, at least
PRICE = 4  # elements that are reached across rows, or gathered, cost as much as one that is copied
MANY = 256  # stands for each size that is known at run time: of rows, there are more than where it is not said


@as_written()
def transposed_for_reuse(program: Program) -> Program:
    """The axis along which rows of a tensor are paired, or combined, lies last in a copy that they read.

    `k[n,m] = Σ_d (x[n,d] - c[m,d])²` → `c_transposed[d,m] = c[m,d]` and `k[n,m] = Σ_d (x[n,d] - c_transposed[d,m])²`
    """
    for t in program.tensors:
        if len(t.shape) > 1 and not is_few(t.shape[-1]):  # so few are written out, and rows of blocks gather them
            program = best_copy(program, t)
    return program


def best_copy(program: Program, t: Tensor) -> Program:
    """The program with one more copy of a tensor, and of those that are reached beside it, where that pays."""
    whole = sum(map(points, program.statements))
    found = [(program, 0.0)]
    for names in dict.fromkeys([(t.name,), reached_beside(program, t)]):
        own = [s for s in program.statements if any(reuses(program, s, name) for name in names)]
        once = len({*own}) == len(own)  # a program may have one statement twice
        for order in orders(t) if own and once and all(may_be_copied(own, name) for name in names) else ():
            changed, after = with_copies(program, own, names, order)
            gain = sum(apart(program, s) for s in own) - sum(apart(changed, s) for s in after)
            price = PRICE * len(names) * many(element_count(t))
            if gain > price and gain >= SHARE * whole:
                found.append((changed, gain - price))
    return max(found, key=lambda choice: choice[1])[0]


def orders(t: Tensor) -> list[Order]:
    """The other orders of a tensor's axes in which a long one has come last."""
    axes = range(len(t.shape))
    long = [axis for axis in axes[:-1] if not (t.shape[axis].is_Integer and t.shape[axis] < FEW)]
    return [(*without(axes, last), last) for last in long]


def reuses(program: Program, s: Statement, name: str) -> bool:
    """Whether a statement reaches each element of a tensor many times, in no order of steps and no product."""
    if name not in {s.target, *s.sources} or s.scan is not None or program.tensor(name).integer:
        return False
    if match_contraction(program.table, s) is not None:
        return False
    return points(s) >= REUSE * many(element_count(program.tensor(name)))


def reached_beside(program: Program, t: Tensor) -> tuple[str, ...]:
    """A tensor, and those of its shape that such statements reach at its places, as its adjoint is."""
    names = [t.name]
    for s in (s for s in program.statements if reuses(program, s, t.name)):
        places = {a.subscripts for a in accesses(s, t.name)}
        for a in (s.write, *s.reads):
            other = program.tensor(a.tensor)
            same = a.subscripts in places and other.shape == t.shape and not other.integer
            names += [a.tensor] if same and a.tensor not in names else []
    return tuple(names)


def may_be_copied(own: Sequence[Statement], name: str) -> bool:
    """Whether these statements only read a tensor, or only add to it."""
    written = [s for s in own if s.target == name]
    return all(s.operator == "+=" for s in written) and not (written and any(name in s.sources for s in own))


def with_copies(
    program: Program, own: Sequence[Statement], names: Sequence[str], order: Order
) -> tuple[Program, list[Statement]]:
    """The program where some statements reach copies with another order of axes, and these statements."""
    fresh = names_of(program)
    copies = {name: fresh.fresh(f"{name}_transposed") for name in names}
    tensors = [of_copy(program.tensor(name), copy, order) for name, copy in copies.items()]
    last = {s.target: s for s in own}
    statements, after = list[Statement](), list[Statement]()
    waiting = dict(copies)
    for s in program.statements:
        if s not in own:
            statements.append(s)
            continue
        for name in [name for name in waiting if name in s.sources]:
            statements.append(copying(program, s, name, waiting.pop(name), order))
        changed = reached_in_order(s, names, order).renamed(copies)
        statements.append(changed)
        after.append(changed)
        if s.target in copies and s is last[s.target]:
            statements.append(taken_back(program, s, copies[s.target], order))
    return program.with_statements(statements, tensors), after


def of_copy(t: Tensor, name: str, order: Order) -> Tensor:
    role = t.role if t.role is Role.ADJOINT else Role.HELPER
    return Tensor(name, in_order(t.shape, order), role)


def copying(program: Program, s: Statement, name: str, copy: str, order: Order) -> Statement:
    """The statement that makes a copy, beside one that reads it."""
    own = places_of_all(program, name)
    indices = tuple(r.index for r in own)
    made = replace(s, target=copy, subscripts=in_order(indices, order), operator="=", expression=Read(name, *indices))
    return replace(made, domain=tuple(own[axis] for axis in order), guard=TRUE, winner=None, origin=None)


def taken_back(program: Program, s: Statement, copy: str, order: Order) -> Statement:
    """The statement by which a tensor gets what was added to a copy of it, beside one that adds to the copy."""
    own = places_of_all(program, s.target)
    indices = tuple(r.index for r in own)
    made = replace(s, subscripts=indices, expression=Read(copy, *in_order(indices, order)))
    return replace(made, domain=own, guard=TRUE, winner=None, origin=None)


def places_of_all(program: Program, name: str) -> tuple[Range, ...]:
    """Indices over all elements of a tensor: those by which a statement reaches them all, or new ones."""
    names, shape = names_of(program), program.tensor(name).shape
    for s in program.statements:
        order = [r.index for r in s.domain]
        plain = [a.subscripts for a in accesses(s, name) if are_plain(a.subscripts)]
        if plain:
            indices = min(plain, key=lambda own: [order.index(i) for i in own])
            break
    else:
        indices = tuple(index_symbol(names.fresh(f"i{axis}")) for axis in range(len(shape)))
    return tuple(Range(i, extent) for i, extent in zip(indices, shape, strict=True))


def apart(program: Program, s: Statement) -> int:
    """How many elements a statement reaches across rows, or through tables, in loops of the best order."""
    if not s.domain or match_contraction(program.table, s) is not None:
        return 0
    places = dict.fromkeys((s.write, *s.reads))

    def is_far(a: Read, i: sp.Symbol) -> bool:
        looked_up = reads_of(*a.subscripts[-1:])
        return any(i in indices_of(e) for e in (*outer_subscripts(program.table, a), *looked_up))

    far = (sum(is_far(a, r.index) for a in places) + is_short(r) for r in innermost(s))
    return min(far) * points(s)


def points(s: Statement) -> int:
    return many(sp.Mul(*(r.extent for r in s.domain)))


@lru_cache(REMEMBERED)
def many(size: sp.Expr) -> int:
    """A size where those at run time are large."""
    return int(size.subs(dict.fromkeys(size.free_symbols, MANY)))
