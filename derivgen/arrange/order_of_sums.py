"""Sums before products: what a sum runs over is summed where it stands, in the factors that have it.

Σ_n,i Q[k,i]·y[n,i] is N·K·I products as it is written, but N·I additions and K·I products if y is summed over n first.
Of all orders in which a sum's indices can be taken, that with the fewest terms is chosen; sizes at run time count as
typical ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import sympy as sp

from derivgen.form.expressions import Read, all_of, indices_of, parts_of
from derivgen.form.inside import out_of_bounds
from derivgen.form.program import Names, Program, Role, Statement, Tensor, names_of
from derivgen.form.sizes import typical_size

WORTH_A_SUM = 2  # how many times fewer terms there must be: a sum that stands alone is stored and loaded again
MOST_ORDERED = 5  # indices that are summed over; with more of them there are too many orders to try


@dataclass(frozen=True, slots=True)
class Sums:
    """Statements that end in the target, the tensors and names for the sums before the last, and how many terms."""

    statements: tuple[Statement, ...]
    tensors: tuple[Tensor, ...]
    names: Names
    terms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The target of all sums, after which they are named, and the tensors that there are."""

    target: str
    tensors: Mapping[str, Tensor]

    def and_one(self, t: Tensor) -> Asked:
        return replace(self, tensors={**self.tensors, t.name: t})


def sums_first(program: Program) -> Program:
    """A sum of products is taken in the order of the fewest terms.

    `z[k] += Σ_n,i Q[k,i]·y[n,i]` → `z_sum[i] += Σ_n y[n,i]` and `z[k] += Σ_i Q[k,i]·z_sum[i]`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        for part in terms_apart(program, s):
            found = in_best_order(Asked(s.target, program.table), part, names)
            names = found.names
            tensors += found.tensors
            statements += found.statements
    return program.with_statements(statements, tensors)


def terms_apart(program: Program, s: Statement) -> list[Statement]:
    """A sum as its terms that gain by an order of their own, and the others together."""
    if s.operator != "+=" or not s.reduced or not isinstance(s.expression, sp.Add):
        return [s]
    terms = [replace(s, expression=term) for term in s.expression.args]
    asked, names = Asked(s.target, program.table), names_of(program)
    gaining = [t for t in terms if len(in_best_order(asked, t, names).statements) > 1]
    rest = [t.expression for t in terms if t not in gaining]
    return [*([replace(s, expression=sp.Add(*rest))] if rest else []), *gaining] if gaining else [s]


def in_best_order(asked: Asked, s: Statement, names: Names) -> Sums:
    """A statement as sums of the fewest terms; as it is where it has hardly more of them."""
    as_it_is = Sums((s,), (), names, typical_size(s, [r.index for r in s.domain]))
    if s.operator != "+=" or not 1 <= len(s.reduced) <= MOST_ORDERED:
        return as_it_is
    ways = []
    for inner, outer, tensor, taken in splits(asked, s, names):
        if out_of_bounds(inner, asked.tensors):  # what keeps a read inside its tensor stands in another factor
            continue
        rest = in_best_order(asked.and_one(tensor), outer, taken)
        terms = typical_size(inner, [r.index for r in inner.domain]) + rest.terms
        ways.append(Sums((inner, *rest.statements), (tensor, *rest.tensors), rest.names, terms))
    best = min(ways, key=lambda way: way.terms, default=as_it_is)
    return best if best.terms * WORTH_A_SUM <= as_it_is.terms else as_it_is


def splits(asked: Asked, s: Statement, names: Names) -> Iterator[tuple[Statement, Statement, Tensor, Names]]:
    """Ways to take a sum over some indices first: (the sum, what is left to do, the sum's tensor, the names)."""
    factors, parts = sp.Mul.make_args(s.expression), parts_of(s.guard)
    step = {s.scan.index} if s.scan is not None else set()
    reduced = [r.index for r in s.reduced if r.index not in step]
    for count in range(1, len(reduced) + 1):
        for over in map(frozenset, combinations(reduced, count)):
            inside = [f for f in factors if indices_of(f) & over]
            guards = [p for p in parts if indices_of(p) & over]
            around = step.union(*map(indices_of, (*inside, *guards)))
            if not inside or not over <= around or around >= {r.index for r in s.domain}:
                continue
            kept = [r for r in s.domain if r.index in around - over]
            taken = names.copy()
            total = Read(taken.fresh(f"{asked.target}_sum"), *(r.index for r in kept))
            guard = all_of(*(p for p in parts if indices_of(p) <= around))
            inner = replace(
                s, target=total.tensor, subscripts=total.subscripts, expression=sp.Mul(*inside), guard=guard
            )
            outer = replace(s, expression=sp.Mul(*(f for f in factors if f not in inside), total))
            outer = replace(outer, guard=all_of(*(p for p in parts if p not in guards)))
            yield (
                replace(inner, domain=tuple(r for r in s.domain if r.index in around)),
                replace(outer, domain=tuple(r for r in s.domain if r.index not in over)),
                Tensor(total.tensor, tuple(r.extent for r in kept), Role.HELPER),
                taken,
            )
