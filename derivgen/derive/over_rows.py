"""Program → how its objective follows from those of blocks of rows, each computed as if its rows were all of the data.

loss += Σ_n (y[n] - p[n])²                → the sum of theirs
loss = loss_sum/N + penalty               → their mean, in which a block has the share of its rows
loss = loss_sum + penalty                 → the sum of theirs, where a block has that share of the penalty
v[n] = v[n - 1] + x[n], loss = loss_sum²  → no way: rows, or blocks, depend on one another
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
import sympy as sp

from derivgen.derive.by_row import is_at_row, is_of_one_row, outside_reads
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, indices_of, is_size, reads_of
from derivgen.form.program import Program, Role, Statement, Tensor, names_of

FREE, ROWS = "of no row", "of one row"  # what else a tensor's elements are
SUM, MEAN, MIXED = "sum", "mean", "mixed"
SHARED = "share"  # a sum, where a block has a share of what has no rows
SHARE = "block_share"
SUMS = {  # what a sum of two kinds of terms is
    frozenset({FREE, MEAN}): MEAN,
    frozenset({FREE, SUM}): SHARED,
    frozenset({FREE, SHARED}): SHARED,
    frozenset({SUM, SHARED}): SHARED,
}


def over_rows(program: Program, size: sp.Expr) -> str | None:
    """SUM, MEAN or SHARED, where `size` is the number of rows; None where blocks don't give the objective."""
    kinds = kinds_over(program.live([str(program.objective)]), size)
    kind = (kinds or {}).get(str(program.objective))
    return kind if kind in (SUM, MEAN, SHARED) else None


def with_share(program: Program, size: sp.Expr) -> Program:
    """The program with a factor at the terms that have no rows: a block's share of them, 1 where all rows are one.

    `loss = loss_sum + penalty` → `loss = loss_sum + penalty·block_share`
    """
    kinds = kinds_over(program.live([str(program.objective)]), size)
    if kinds is None or SHARED not in kinds.values():
        return program
    share = Tensor(names_of(program).fresh(SHARE), (), Role.CONSTANT, value=np.ones(()))
    rows = Rows(program.table, size, kinds)

    def shared(s: Statement) -> Statement:
        if kinds.get(s.target) != SHARED or rows.is_over(s):
            return s
        terms = sp.Add.make_args(sp.expand_mul(s.expression))
        return replace(s, expression=sp.Add(*(t * Read(share.name) if rows.term(t) == FREE else t for t in terms)))

    tensors = (*program.tensors, share)
    return check_program(replace(program, tensors=tensors, statements=tuple(map(shared, program.statements))))


def kinds_over(program: Program, size: sp.Expr) -> dict[str, str] | None:
    """What each tensor is; None where rows, or blocks of them, depend on one another."""
    kinds = {t.name: ROWS if size in t.shape else FREE for t in program.tensors}
    early: dict[str, str] = {}  # what steps of a recurrence read of tensors before the statement that writes these
    written: set[str] = set()
    for s in program.statements:
        early |= {name: kinds[name] for name in s.sources & program.writers.keys() - written}
        found = Rows(program.table, size, kinds).kind(s)
        kinds[s.target] = both(kinds[s.target], found) if s.target in written else found
        written.add(s.target)
    apart = MIXED not in kinds.values() and all(kinds[name] == kind for name, kind in early.items())
    return kinds if apart else None


def both(a: str, b: str) -> str:
    """What a sum of two such terms is."""
    return a if a == b else SUMS.get(frozenset({a, b}), MIXED)


class Rows:
    """What statements make of tensors whose kinds are known."""

    def __init__(self, table: Mapping[str, Tensor], size: sp.Expr, kinds: Mapping[str, str]) -> None:
        self.table, self.size, self.kinds = table, size, kinds

    def kind(self, s: Statement) -> str:
        if s.guard.has(self.size):
            return MIXED
        if any(e.has(self.size) for e in self.table[s.target].shape):
            alone = is_of_one_row(s, self.table, self.size) and not self.reads(s.reads, SUM, MEAN, SHARED)
            return ROWS if alone else MIXED
        if self.is_over(s):
            return self.summed(s)
        places = [r for e in (s.guard, *s.subscripts) for r in reads_of(e)]
        if self.reads(s.reads, ROWS) or self.reads(places, SUM, MEAN, SHARED):
            return MIXED
        return self.linear(s)

    def is_over(self, s: Statement) -> bool:
        return any(r.extent.has(self.size) for r in s.domain)

    def reads(self, reads: Iterable[Read], *kinds: str) -> bool:
        return any(self.kinds[r.tensor] in kinds for r in reads)

    def summed(self, s: Statement) -> str:
        """Of a sum over rows."""
        over = [r for r in s.domain if r.extent.has(self.size)]
        loose = {i for e in (s.expression, s.guard, *s.subscripts) for i in indices_of(outside_reads(e))}
        if (
            s.operator != "+="
            or [r.extent for r in over] != [self.size]
            or over[0].index in loose
            or self.reads(s.reads, SUM, MEAN, SHARED)
            or not all(is_at_row(a, self.table[a.tensor].shape, self.size, over[0].index) for a in (s.write, *s.reads))
        ):
            return MIXED
        return reduce(both, (self.scaled(SUM, term) for term in sp.Add.make_args(s.expression)))

    def scaled(self, kind: str, factor: sp.Expr) -> str:
        """Of a sum or a mean, times a factor."""
        if not factor.has(self.size):
            return kind
        return MEAN if kind == SUM and not sp.Mul(factor, self.size).has(self.size) else MIXED

    def linear(self, s: Statement) -> str:
        """Of what is no sum over rows, but may read some."""
        if not self.reads(s.reads, SUM, MEAN, SHARED) and any(map(is_at_run_time, (r.extent for r in s.domain))):
            return MIXED  # as much work again for each block
        kind = reduce(both, map(self.term, sp.Add.make_args(sp.expand_mul(s.expression))))
        return kind if kind == FREE or s.operator in ("=", "+=") else MIXED

    def term(self, term: sp.Expr) -> str:
        factors = sp.Mul.make_args(term)
        sums = [f for f in factors if self.reads(reads_of(f), SUM, MEAN, SHARED)]
        if not sums:
            count = not sp.Mul(term, 1 / self.size).has(self.size)  # a row's part, times the number of rows
            return FREE if not term.has(self.size) else SUM if count else MIXED
        if len(sums) > 1 or not isinstance(sums[0], Read):
            return MIXED
        return self.scaled(self.kinds[sums[0].tensor], sp.Mul(*(f for f in factors if f is not sums[0])))


def is_at_run_time(size: sp.Expr) -> bool:
    return any(map(is_size, size.free_symbols))
