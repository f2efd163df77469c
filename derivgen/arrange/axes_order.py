"""Tensors of the program's own with their axes in the order in which most of the work runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.arrange.contractions import match_contraction
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, indices_of, replace_reads
from derivgen.form.program import GIVEN, Program, Range, Statement, Tensor
from derivgen.form.ragged import innermost
from derivgen.form.sizes import typical_size

GAIN = 2  # how many times fewer elements must be reached across rows: a moved axis is one that a reader has to find
SHARE = 0.1  # of the work: several tensors get another order only where it is about so much
FEW = 16  # elements side by side: with fewer, a loop along them is no better than one that reaches across rows

Order = tuple[int, ...]  # the axes of a tensor, by their places before


@as_written()
def axes_in_order(program: Program) -> Program:
    """The axis of a tensor that most loops run along comes last, so that its elements lie side by side there.

    That of a batch of matrix products comes first, so that each of its matrices lies in one piece; with it, that of
    tensors which are computed from each other point by point.

    `s[k,v] = e[k,v] - m[k]` and `z[t,k] = s[k,w[t]]` → `s[v,k] = e[k,v] - m[k]` and `z[t,k] = s[w[t],k]`
    `y[n,k,i] = Σ_j q[k,i,j]·x[n,k,j]` → `y[k,n,i] = Σ_j q[k,i,j]·x[k,n,j]`
    """
    batches = strided_batches(program)
    for t in program.tensors:
        if is_free(program, t.name):
            axes = range(len(t.shape))
            if t.name in batches:
                own = [(k, without(axes, k)) for k in batches[t.name]]
                fronts = [[(k, last, *rest), (k, *rest, last)] for k, (*rest, last) in own]
                changed = best_order(program, tied(program, t.name), fronts)
                batches = batches if changed is program else strided_batches(changed)
                program = changed
            lasts = [[(*without(axes, k), k)] for k in axes[:-1]]
            changed = best_order(program, [t.name], lasts)
            alike = tied(program, t.name) if changed is program and hinder(program, [t.name]) else []
            program = best_order(program, alike, lasts) if len(alike) > 1 and hinder(program, alike) else changed
    return program


def is_free(program: Program, name: str) -> bool:
    """Whether the program may order the axes of a tensor."""
    t = program.tensor(name)
    return t.role not in GIVEN and name not in program.outputs and len(t.shape) > 1


def without(axes: Sequence[int], axis: int) -> list[int]:
    return [k for k in axes if k != axis]


def strided_batches(program: Program) -> dict[str, list[int]]:
    """The axes of tensors that number the matrices of batches of products, where none of these lies in one piece."""
    found: dict[str, list[int]] = {}
    for s in program.statements:
        product = match_contraction(program.table, s)
        for o in (product.left, product.right, product.out) if product is not None and product.batch else ():
            if not o.leading_batch:
                found[o.tensor] = sorted({*found.get(o.tensor, ()), *o.batch_axes} - {0})
    return found


def tied(program: Program, name: str) -> list[str]:
    """A tensor and those that are computed from each other point by point, each element from one at the same place."""
    names = [name]
    for one in names:
        for s in program.statements:
            places = {a.tensor: a.subscripts for a in (s.write, *s.reads)}
            if one in places and match_contraction(program.table, s) is None:
                names += [n for n, i in places.items() if i == places[one] and n not in names and is_free(program, n)]
    return names


def hinder(program: Program, names: Sequence[str]) -> bool:
    """Whether the order of these tensors' axes makes a good part of the work, without products, reach across rows."""
    touching = touched(program, names)
    far = sum(across(program.table, s) for s in touching)
    if not far or any(match_contraction(program.table, s) is not None for s in touching):
        return False
    return SHARE * sum(typical_size(s, [r.index for r in s.domain]) for s in touching) <= far


def touched(program: Program, names: Sequence[str]) -> list[Statement]:
    return list(dict.fromkeys(s for n in names for s in (*program.writers.get(n, ()), *program.readers.get(n, ()))))


def best_order(program: Program, names: Sequence[str], choices: Sequence[Sequence[Order]]) -> Program:
    """The program with the axes of some tensors in the best of these orders, of those choices of which one pays."""
    touching = touched(program, names)
    limit = sum(across(program.table, s) for s in touching) / GAIN
    found: list[Ordered] = []
    for orders in choices if limit else ():
        own = [o for order in orders if (o := Ordered.of(program, names, touching, order)).is_possible]
        found += own if any(o.far() <= limit for o in own) else []
    best = min(found, key=lambda o: o.far(few=1), default=None)
    return program if best is None else best.program


@dataclass(frozen=True, slots=True)
class Ordered:
    """A program with some tensors in another order of axes, and those of its statements that this changes."""

    program: Program
    touching: tuple[Statement, ...]
    is_possible: bool

    @classmethod
    def of(cls, program: Program, names: Sequence[str], touching: Sequence[Statement], order: Order) -> Ordered:
        table = dict(program.table)
        table |= {n: replace(table[n], shape=in_order(table[n].shape, order)) for n in names}
        after = {s: with_axes(s, names, order) for s in touching}
        statements = tuple(after.get(s, s) for s in program.statements)
        batches = ((batch_of(program.table, s), batch_of(table, own)) for s, own in after.items())
        kept = not (order[0] and is_in_time(touching, names)) and all(old in (None, new) for old, new in batches)
        changed = replace(program, tensors=tuple(table.values()), statements=statements)
        return cls(changed, tuple(after.values()), kept)

    def far(self, few: int = 0) -> int:
        return sum(across(self.program.table, s, few) for s in self.touching)


def is_in_time(statements: Iterable[Statement], names: Iterable[str]) -> bool:
    """Whether the first axis of one of these tensors is the steps of a recurrence."""
    own = list(statements)
    time = {s.scan.index for s in own if s.scan is not None}
    places = [a for s in own for name in names for a in accesses(s, name)]
    return any(i in time for a in places for i in indices_of(a.subscripts[0]))


def batch_of(tensors: Mapping[str, Tensor], s: Statement) -> int | None:
    """Over how many indices a statement is a batch of products of matrices; None for what is no such product."""
    product = match_contraction(tensors, s)
    return None if product is None else len(product.batch)


def across(tensors: Mapping[str, Tensor], s: Statement, few: int = 0) -> int:
    """How many elements a statement reaches across rows, in loops of the best order.

    Those of a product of matrices are its operands that do not lie in one piece. `few`: as how many elements a point
    counts in a loop that has too few for vectors.
    """
    if not s.domain:
        return 0
    product = match_contraction(tensors, s)
    if product is not None:
        apart = [o.read for o in (product.left, product.right, product.out) if not o.leading_batch]
        return sum(typical_size(s, [r.index for r in s.domain if r.index in read.subscripts]) for read in apart)
    places = dict.fromkeys((s.write, *s.reads))
    step = None if s.scan is None else s.scan.index
    inner = [r.index for r in innermost(s) if r.index != step] or [s.domain[0].index]
    outer = [outer_subscripts(tensors, a) for a in places]
    short = {r.index for r in s.domain if is_short(r)}
    far = (sum(any(i in indices_of(e) for e in own) for own in outer) + few * (i in short) for i in inner)
    return min(far) * typical_size(s, [r.index for r in s.domain])


def outer_subscripts(tensors: Mapping[str, Tensor], a: Read) -> list[sp.Expr]:
    """The subscripts along which neighbours lie apart: all but that of the last axis of more than one element."""
    return [i for i, extent in zip(a.subscripts, tensors[a.tensor].shape, strict=True) if extent != 1][:-1]


def is_short(r: Range) -> bool:
    """Whether a loop has too few points for vectors."""
    return bool(r.extent.is_Integer and r.extent < FEW)


def accesses(s: Statement, name: str) -> list[Read]:
    return [a for a in dict.fromkeys((s.write, *s.reads)) if a.tensor == name]


def in_order(entries: Sequence[sp.Expr], order: Order) -> tuple[sp.Expr, ...]:
    return tuple(entries[axis] for axis in order)


def with_axes(s: Statement, names: Sequence[str], order: Order) -> Statement:
    """The statement where some tensors have another order of axes, and the loops over them that order."""
    changed = reached_in_order(s, names, order)
    moved = next(a for a in (changed.write, *changed.reads) if a.tensor in names)
    places = {i: k for k, i in enumerate(moved.subscripts)}
    own = iter(sorted((r for r in s.domain if r.index in places), key=lambda r: places[r.index]))
    return replace(changed, domain=tuple(next(own) if r.index in places else r for r in s.domain))


def reached_in_order(s: Statement, names: Sequence[str], order: Order) -> Statement:
    """The statement where some tensors have another order of axes."""

    def change(read: Read) -> sp.Expr:
        subscripts = [replace_reads(i, change) for i in read.subscripts]
        return Read(read.tensor, *(in_order(subscripts, order) if read.tensor in names else subscripts))

    changed = s if s.sources.isdisjoint(names) else s.mapped(lambda e: replace_reads(e, change))
    if s.target in names:
        changed = replace(changed, subscripts=in_order(changed.subscripts, order))
    return changed
