"""Program → the same program for each row alone: what is summed over rows is that of one row, and has their axis.

Also whether rows are alone as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, index_symbol, indices_of, is_size, replace_reads, substitute
from derivgen.form.program import Program, Range, Statement, Tensor, is_plain_index, names_of


def by_row(program: Program) -> Program:
    """Each row is computed as if it were all of the data: the first run-time size is 1, sums over rows get an axis.

    `loss += Σ_n a[n]²/N` → `loss[n] += a[n]²`
    """
    size = next((value for _, value in program.sizes if is_size(value)), None)
    if size is None:
        raise DerivgenError("per_sample_gradients: the model has no sample axis, so there are no samples")
    return check_program(ByRow(program, size).result())


class ByRow:
    """The state of one such change."""

    def __init__(self, program: Program, size: sp.Expr) -> None:
        self.program, self.size = program, size
        self.index = row_index(program, size)
        self.table = program.table
        self.gained = self.gaining()

    def result(self) -> Program:
        statements = [self.statement(s) for s in self.program.statements]
        tensors = [self.tensor(t) for t in self.program.tensors]
        return replace(self.program, tensors=tuple(tensors), statements=tuple(statements))

    def tensor(self, t: Tensor) -> Tensor:
        return replace(t, shape=(self.size, *t.shape)) if t.name in self.gained else t

    def gaining(self) -> set[str]:
        """The tensors that get the axis of rows, as their first: the objective, and what else a row makes different."""

        def differs(name: str) -> bool:
            return name in gained or self.size in self.table[name].shape

        gained, count = {str(self.program.objective)}, 0
        while count < len(gained):
            count = len(gained)
            for s in self.program.statements:
                over_rows = any(r.extent == self.size for r in s.domain)
                if not differs(s.target) and (over_rows or any(map(differs, s.sources))):
                    gained.add(s.target)
        return gained

    def statement(self, s: Statement) -> Statement:
        rows = {r.index for r in s.domain if r.extent == self.size}
        if s.target not in self.gained and self.size not in self.table[s.target].shape:
            return self.at_one(s)
        if any(self.size.has(e) or e.has(self.size) for r in s.domain if r.index not in rows for e in [r.extent]):
            self.refuse(s)
        s = s.at(dict.fromkeys(rows, self.index))
        s = replace(s, domain=(Range(self.index, self.size), *s.domain))
        self.check(s, s.write)
        if s.target in self.gained:
            s = replace(s, subscripts=(self.index, *s.subscripts))
        changed = replace(
            s,
            operator="=" if s.operator == "max=" and not s.reduced else s.operator,
            expression=replace_reads(s.expression, lambda read: self.read(s, read)),
            guard=replace_reads(s.guard, lambda read: self.read(s, read)),
        )
        return self.at_one(changed)

    def at_one(self, s: Statement) -> Statement:
        """The statement where the number of rows is 1, and that of the row 0."""
        one = {self.size: sp.Integer(1)}
        if self.index in indices_of(outside_reads(s.expression)) | indices_of(outside_reads(s.guard)):
            self.refuse(s)
        return replace(s, expression=substitute(s.expression, one), guard=substitute(s.guard, one))

    def read(self, s: Statement, read: Read) -> Read:
        self.check(s, read)
        at = tuple(replace_reads(i, lambda inner: self.read(s, inner)) for i in read.subscripts)
        return Read(read.tensor, self.index, *at) if read.tensor in self.gained else Read(read.tensor, *at)

    def check(self, s: Statement, access: Read) -> None:
        """Rows are read and written at the row itself, and nothing else at its number."""
        if not is_at_row(access, self.table[access.tensor].shape, self.size, self.index):
            self.refuse(s)

    def refuse(self, s: Statement) -> None:
        raise DerivgenError(
            f"per_sample_gradients: {s.layer or s.target} reads its rows by number or by another row's number, so that "
            "a single row has no loss: leave per_sample_gradients out of model.second_order"
        )


def mixed_axes(program: Program) -> tuple[str, ...]:
    """The run-time sizes along which a row of what the program gives depends on other rows, its number, or their count.

    N of `mean[] += x[n]/N` and of `v[n] = v[n - 1] + x[n]`, not that of `y[n] = exp(k*x[n])`.
    """
    table = program.table
    sizes = [(name, size) for name, size in program.sizes if is_size(size)]
    return tuple(name for name, size in sizes if not all(is_of_one_row(s, table, size) for s in program.statements))


def is_of_one_row(s: Statement, table: Mapping[str, Tensor], size: sp.Expr) -> bool:
    """Whether a row of the target is made of that row of what is read, or neither has rows along this size."""
    rows = [r.index for r in s.domain if r.extent.has(size)]
    index = rows[0] if rows else sp.Dummy()
    loose = indices_of(outside_reads(s.expression)) | indices_of(outside_reads(s.guard))
    return (
        rows == [i for i, extent in zip(s.subscripts, table[s.target].shape, strict=True) if extent == size]
        and index not in loose
        and not any(e.has(size) for e in (s.expression, s.guard))
        and all(is_at_row(a, table[a.tensor].shape, size, index) for a in (s.write, *s.reads))
    )


def is_at_row(access: Read, shape: tuple[sp.Expr, ...], size: sp.Expr, index: sp.Symbol) -> bool:
    """Whether rows are read or written at the row of this index, and nothing else at its number."""
    return all(
        i == index if extent == size else not extent.has(size) and index not in indices_of(outside_reads(i))
        for i, extent in zip(access.subscripts, shape, strict=True)
    )


def outside_reads(expression: sp.Basic) -> sp.Basic:
    """The expression with a symbol for each read: with 0, factors would go too."""
    return replace_reads(expression, lambda read: sp.Dummy())


def row_index(program: Program, size: sp.Expr) -> sp.Symbol:
    """The index that statements use for rows most."""
    found = [r.index for s in program.statements for r in s.domain if r.extent == size and is_plain_index(r.index)]
    if found:
        return max(dict.fromkeys(found), key=found.count)
    return index_symbol(names_of(program).fresh("n"))
