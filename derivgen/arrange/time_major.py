"""Tensors of scans with the axis of time first."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, replace_reads
from derivgen.form.program import GIVEN, Program, Range, Statement


@as_written()
def time_major(program: Program) -> Program:
    """Tensors that a scan accesses step by step have their time axis first, so that a step reads contiguous elements.

    The same holds for tensors that are computed from these point by point, and for their sources.

    `h[n,t,j] = tanh(a[n,t,j])` → `h[t,n,j] = tanh(a[t,n,j])`
    """
    if all(s.scan is None for s in program.statements):
        return program
    axes = time_axes(program)

    def moved(name: str, entries: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
        axis = axes.get(name, 0)
        return (*entries[axis : axis + 1], *entries[:axis], *entries[axis + 1 :])

    def move(read: Read) -> sp.Expr:
        return Read(read.tensor, *moved(read.tensor, tuple(replace_reads(i, move) for i in read.subscripts)))

    statements = [
        replace(changed, subscripts=moved(s.target, changed.subscripts), domain=time_first(s, axes))
        for s in program.statements
        for changed in [s.mapped(lambda e: replace_reads(e, move))]
    ]
    tensors = tuple(replace(t, shape=moved(t.name, t.shape)) for t in program.tensors)
    return replace(program, statements=tuple(statements), tensors=tensors)


def time_first(s: Statement, axes: dict[str, int]) -> tuple[Range, ...]:
    times = time_indices(s, axes)
    return tuple(sorted(s.domain, key=lambda r: r.index not in times))


def time_axes(program: Program) -> dict[str, int]:
    """The time axis of each tensor whose axes the program may order, found from the scans on."""
    free = {t.name for t in program.tensors if t.role not in GIVEN and t.name not in program.outputs}
    axes: dict[str, int] = {}
    refused: set[str] = set()
    count = -1
    while count < len(axes):
        count = len(axes)
        for s in program.statements:
            for index in time_indices(s, axes):
                for access in (s.write, *s.reads):
                    at = [axis for axis, i in enumerate(access.subscripts) if i == index]
                    if access.tensor in free - refused and at and axes.setdefault(access.tensor, at[0]) != at[0]:
                        refused.add(access.tensor)  # two axes of time: it stays as it is
    return {name: axis for name, axis in axes.items() if name not in refused}


def time_indices(s: Statement, axes: dict[str, int]) -> list[sp.Expr]:
    """The indices that run over time in a statement."""
    if s.scan is not None:
        return [s.scan.index]
    found = (a.subscripts[axes[a.tensor]] for a in (s.write, *s.reads) if a.tensor in axes)
    return list(dict.fromkeys(i for i in found if i.is_Symbol))
