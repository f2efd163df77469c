"""Sums of products → products of two matrices, of which at most copies have to be made first.

What a product reads may be an expression, a shifted read (a convolution's window), or a tensor whose axes are in
another order: it is copied into a tensor of its own where each copied element serves enough multiplications.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import sympy as sp

from derivgen.arrange.contractions import covers_all, is_whole, match_contraction
from derivgen.form.expressions import TRUE, Read, indices_of, split_guard, sympy_order
from derivgen.form.program import Names, Program, Role, Statement, Tensor, is_plain_index, names_of
from derivgen.form.sizes import typical_size
from derivgen.rewrite.scans import leave_scans

WORTH_COPYING = 8  # multiplications for each element that is copied to make a matrix
COPYING, LOOPING = 16, 1.5  # what a copied element costs, in multiplications, and a product in a loop, of itself


def contract_products(program: Program) -> Program:
    """A sum of products is a product of two matrices; factors that are no matrices are copied into ones if that pays.

    `z[n,k] += Σ_j x[n,j]²·W[j,k]` → `z_factor[n,j] = x[n,j]²` and `z[n,k] += Σ_j z_factor[n,j]·W[j,k]`
    """
    found = one_after_another(Copies(names_of(program), program.table), program.statements)
    return leave_scans(program.with_statements(found.statements, found.copies.own.values()))


@dataclass(frozen=True)
class Copies:
    """The tensors that are made so that products have whole matrices; equal copies are one."""

    names: Names
    given: Mapping[str, Tensor]
    own: Mapping[str, Tensor] = field(default_factory=dict)
    made: Mapping[tuple[object, ...], Read] = field(default_factory=dict)

    @cached_property
    def table(self) -> Mapping[str, Tensor]:
        """The program's tensors, and those that are made."""
        return ChainMap(cast(dict[str, Tensor], self.own), cast(dict[str, Tensor], self.given))

    def with_helper(self, s: Statement, word: str, indices: Sequence[sp.Expr]) -> tuple[Copies, Read]:
        """The copies with one more tensor, and the read of it at these indices."""
        extents, names = {r.index: r.extent for r in s.domain}, self.names.copy()
        name = names.fresh(f"{s.target}_{word}")
        tensor = Tensor(name, tuple(extents[i] for i in indices), Role.HELPER)
        return replace(self, names=names, own={**self.own, name: tensor}), Read(name, *indices)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Statements in place of others, what they cost, in multiplications, and the copies that they need."""

    statements: tuple[Statement, ...]
    copies: Copies
    cost: float = 0


@dataclass(frozen=True, slots=True)
class Operands:
    """Factors as tensors, the statements that fill copies of them, and the copies so far."""

    copies: Copies
    factors: tuple[sp.Expr, ...] = ()
    statements: tuple[Statement, ...] = ()


def one_after_another(copies: Copies, statements: Iterable[Statement]) -> Rewritten:
    """Each statement rewritten, with the copies of those before it."""
    made: list[Statement] = []
    for s in statements:
        found = contracted(copies, s)
        copies = found.copies
        made += found.statements
    return Rewritten(tuple(made), copies)


def with_copy(before: Operands, s: Statement, factor: sp.Expr) -> Iterator[Operands]:
    """Ways to hold one more factor in a tensor: an equal copy, or a new one with its axes in some order."""
    own = indices_of(factor)
    box = frozenset(r for r in s.domain if r.index in own)
    key = (factor, box, s.scan)
    if key in before.copies.made:
        yield replace(before, factors=(*before.factors, before.copies.made[key]))
    rows, reduced = [i for i in s.subscripts if i in own], [r.index for r in s.reduced if r.index in own]
    for order in orders(rows, reduced, factor, s):
        copies, read = before.copies.with_helper(s, "factor", order)
        copies = replace(copies, made={**copies.made, key: read})
        domain = tuple(r for i in order for r in box if r.index == i)
        fill = replace(
            s, target=read.tensor, subscripts=read.subscripts, operator="=", expression=factor, domain=domain
        )
        yield Operands(copies, (*before.factors, read), (*before.statements, replace(fill, domain=domain)))


def orders(rows: list[sp.Expr], reduced: list[sp.Expr], factor: sp.Expr, s: Statement) -> list[list[sp.Expr]]:
    """Orders of a copy's axes that products may want, those first whose last axis is a long one in the source too."""
    found = [
        [*rows, *reduced],
        [*reduced, *rows],
        [*rows[:1], *reduced, *rows[1:]],
        [*reduced[:1], *rows, *reduced[1:]],
    ]
    distinct = {tuple(o): o for o in found}.values()
    return sorted(distinct, key=lambda order: contiguous(s, order, factor), reverse=True)


def contiguous(s: Statement, order: list[sp.Expr], other: sp.Expr) -> int:
    """How many elements lie side by side in a tensor of these axes and in what is read or written at the same time."""
    last = indices_of(other.subscripts[-1]) if isinstance(other, Read) and other.subscripts else set()
    return typical_size(s, order[-1:]) if order and order[-1] in last else 0


def contracted(copies: Copies, s: Statement) -> Rewritten:
    """One statement rewritten, or as it is."""
    same = Rewritten((s,), copies)
    if s.operator != "+=" or s.guard != TRUE or not s.reduced:
        return same
    if not covers_all(s, copies.table[s.target].shape):
        return scattered(copies, s) or same
    if match_contraction(copies.table, s, loops=False) is not None:
        return same
    if isinstance(s.expression, sp.Add):
        parts = one_after_another(copies, (replace(s, expression=term) for term in s.expression.args))
        pays_off = len(parts.statements) > len(s.expression.args)
        return parts if pays_off or any(match_contraction(parts.copies.table, t) for t in parts.statements) else same
    if split_guard(s.expression)[1] != TRUE:  # a product would evaluate what the guard keeps from being evaluated
        return same
    outer, groups = factor_groups(s)
    if len(groups) != 2 or not are_matrices(s, groups):
        return same
    needed = [k for k, g in enumerate(groups) if not is_operand(copies.table, s, g)]
    others = sorted((k for k in range(2) if k not in needed), key=lambda k: elements(s, groups[k]))
    # A whole tensor is copied, too, where its axes are in another order.
    choices = [copied for copied in (needed, *([*needed, k] for k in others)) if pays(s, outer, groups, copied)]
    found = (as_product(copies, s, outer, groups, copied, loops) for copied in choices for loops in (False, True))
    return min((way for way in found if way is not None), key=lambda way: way.cost, default=same)


def factor_groups(s: Statement) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """(factors that the sum does not run over, the others, those of fewer indices multiplied into one of more)

    A minus sign is none of them: products of matrices have one.
    """
    reduced = {r.index for r in s.reduced}
    factors = [factor for factor in sp.Mul.make_args(s.expression) if factor != -1]
    outer = [f for f in factors if not indices_of(f) & reduced]
    inner = sorted((f for f in factors if f not in outer), key=lambda f: (-len(indices_of(f)), sympy_order(f)))
    groups: list[sp.Expr] = []
    for factor in inner:
        place = next((k for k, g in enumerate(groups) if indices_of(factor) <= indices_of(g)), None)
        if place is None:
            groups.append(factor)
        else:
            groups[place] *= factor
    return outer, groups


def are_matrices(s: Statement, groups: list[sp.Expr]) -> bool:
    """Whether both sides have rows of their own, and all that is summed over."""
    sides = [indices_of(g) for g in groups]
    return bool(sides[0] - sides[1] and sides[1] - sides[0]) and {r.index for r in s.reduced} <= sides[0] & sides[1]


def pays(s: Statement, outer: list[sp.Expr], groups: list[sp.Expr], copied: list[int]) -> bool:
    """Whether there is enough work for each element that has to be copied."""
    inside = [r for r in s.domain if any(r.index in indices_of(g) for g in groups)]
    count = sum(elements(s, groups[k]) for k in copied)
    if outer:
        count += typical_size(s, [r.index for r in inside if r not in s.reduced])
    return typical_size(s, [r.index for r in inside]) >= WORTH_COPYING * count


def elements(s: Statement, factor: sp.Expr) -> int:
    return typical_size(s, [r.index for r in s.domain if r.index in indices_of(factor)])


def is_operand(tensors: Mapping[str, Tensor], s: Statement, factor: sp.Expr) -> bool:
    """Whether a factor is a whole tensor."""
    if not isinstance(factor, Read) or tensors[factor.tensor].integer:
        return False
    return is_whole(factor, tensors[factor.tensor].shape, s)


def as_product(
    copies: Copies, s: Statement, outer: list[sp.Expr], groups: list[sp.Expr], copied: list[int], loops: bool
) -> Rewritten | None:
    """The statement as copies, a product of two matrices, and what the sum does not run over; None if it can't be."""
    inside = {i for g in groups for i in indices_of(g)}
    subscripts = tuple(i for i in s.subscripts if i in inside)
    direct = not outer and subscripts == tuple(i for i in s.subscripts if i != 0)
    domain = tuple(r for r in s.domain if r.index in inside)
    for held in operands(copies, s, groups, copied):
        state, total = (held.copies, s.write) if direct else held.copies.with_helper(s, "product", subscripts)
        value = sp.Mul(-1 if -1 in s.expression.args else 1, *held.factors)
        product = replace(s, target=total.tensor, subscripts=total.subscripts, expression=value, domain=domain)
        if match_contraction(state.table, product, loops) is None:
            continue
        rest = tuple(r for r in s.domain if r not in s.reduced)
        after = () if direct else (replace(s, expression=sp.Mul(*outer, total), domain=rest),)
        cost = points(product) * (LOOPING if loops else 1) + COPYING * sum(map(points, held.statements))
        return Rewritten((*held.statements, product, *after), state, cost)
    return None


def points(s: Statement) -> int:
    return typical_size(s, [r.index for r in s.domain])


def operands(copies: Copies, s: Statement, groups: list[sp.Expr], copied: list[int]) -> Iterator[Operands]:
    """Ways to have all factors as tensors, those of some numbers as copies."""
    if not groups:
        yield Operands(copies)
        return
    *before, last = groups
    for held in operands(copies, s, before, copied):
        if len(before) in copied:
            yield from with_copy(held, s, last)
        else:
            yield replace(held, factors=(*held.factors, last))


def scattered(copies: Copies, s: Statement) -> Rewritten | None:
    """A sum of products that is added at other places than its own indices: the sum first, as a product of matrices."""
    if all(is_plain_index(i) or i == 0 for i in s.subscripts):
        return None
    outer, groups = factor_groups(s)
    if outer or len(groups) != 2 or not are_matrices(s, groups) or not pays(s, [sp.S.One], groups, []):
        return None
    if not all(is_operand(copies.table, s, g) for g in groups):
        return None
    reduced = {r.index for r in s.reduced}
    own = [[i for i in g.subscripts if i not in reduced and i != 0] for g in groups]
    shared = [i for i in own[0] if i in own[1]]
    first, second = ([i for i in side if i not in shared] for side in own)
    sides = ((first, second), (second, first))
    found = [o for one, other in sides for o in ([*shared, *one, *other], [*shared, *one[:1], *other, *one[1:]])]
    for order in sorted(found, key=lambda order: contiguous(s, order, s.write), reverse=True):
        state, total = copies.with_helper(s, "product", order)
        product = replace(s, target=total.tensor, subscripts=tuple(order))
        if match_contraction(state.table, product) is not None:
            rest = tuple(r for i in order for r in s.domain if r.index == i)
            return Rewritten((product, replace(s, expression=total, domain=rest)), state)
    return None
