"""Program → the same program for each row alone: what is summed over rows is that of one row, and has their axis."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.expressions import Read, indices_of, is_size, replace_reads, substitute
from derivgen.program import Program, Range, Statement, Tensor, check_program, is_plain_index, names_of


def by_row(program: Program) -> Program:
    """The program with its sample axis, the first run-time size, as a size of 1, once for each row."""
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
        self.gained: set[str] = set()  # tensors that get the axis of rows, as their first

    def result(self) -> Program:
        statements = [self.statement(s) for s in self.program.statements]
        tensors = [self.tensor(t) for t in self.program.tensors]
        return replace(self.program, tensors=tuple(tensors), statements=tuple(statements))

    def tensor(self, t: Tensor) -> Tensor:
        return replace(t, shape=(self.size, *t.shape)) if t.name in self.gained else t

    def statement(self, s: Statement) -> Statement:
        rows = {r.index for r in s.domain if r.extent == self.size}
        by_rows = any(self.size in self.table[r.tensor].shape or r.tensor in self.gained for r in s.reads)
        if not rows and not by_rows:
            return self.at_one(s)
        if any(self.size.has(e) or e.has(self.size) for r in s.domain if r.index not in rows for e in [r.extent]):
            self.refuse(s)
        s = replace(
            s,
            subscripts=tuple(substitute(e, dict.fromkeys(rows, self.index)) for e in s.subscripts),
            expression=substitute(s.expression, dict.fromkeys(rows, self.index)),
            guard=substitute(s.guard, dict.fromkeys(rows, self.index)),
            domain=(Range(self.index, self.size), *(r for r in s.domain if r.index not in rows)),
        )
        if self.size in self.table[s.target].shape:
            self.check(s, s.write)
        else:
            self.gained.add(s.target)
            s = replace(s, subscripts=(self.index, *s.subscripts))
        changed = replace(
            s,
            expression=replace_reads(s.expression, lambda read: self.read(s, read)),
            guard=replace_reads(s.guard, lambda read: self.read(s, read)),
        )
        return self.at_one(changed)

    def at_one(self, s: Statement) -> Statement:
        """The statement where the number of rows is 1, and that of the row 0."""
        one = {self.size: sp.Integer(1)}
        outside = replace_reads(s.expression, lambda read: sp.Integer(0))
        if self.index in outside.free_symbols or self.index in indices_of(s.guard):
            self.refuse(s)
        return replace(s, expression=substitute(s.expression, one), guard=substitute(s.guard, one))

    def read(self, s: Statement, read: Read) -> Read:
        self.check(s, read)
        return Read(read.tensor, self.index, *read.subscripts) if read.tensor in self.gained else read

    def check(self, s: Statement, access: Read) -> None:
        """Rows are read and written at the row itself."""
        for i, extent in zip(access.subscripts, self.table[access.tensor].shape, strict=True):
            if (extent == self.size and i != self.index) or (extent != self.size and extent.has(self.size)):
                self.refuse(s)

    def refuse(self, s: Statement) -> None:
        raise DerivgenError(
            f"per_sample_gradients: {s.layer or s.target} takes its rows by number or by another row's number, so that "
            "a row alone has no loss of its own: leave per_sample_gradients out of model.second_order"
        )


def row_index(program: Program, size: sp.Expr) -> sp.Symbol:
    """The index that statements use for rows most."""
    found = [r.index for s in program.statements for r in s.domain if r.extent == size and is_plain_index(r.index)]
    if found:
        return max(dict.fromkeys(found), key=found.count)
    return sp.Symbol(names_of(program).fresh("n"), integer=True, nonnegative=True)
