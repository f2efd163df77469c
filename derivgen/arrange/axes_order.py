"""Tensors of the program's own with that axis last along which most of the work runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy as sp

from derivgen.arrange.contractions import match_contraction
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, indices_of, replace_reads
from derivgen.form.program import GIVEN, Program, Statement, Tensor
from derivgen.form.sizes import typical_size

GAIN = 2  # how many times fewer elements must be reached across rows: a moved axis is one that a reader has to find


@as_written()
def axes_in_order(program: Program) -> Program:
    """The axis of a tensor that most loops run along comes last, so that its elements lie side by side there.

    `s[k,v] = e[k,v] - m[k]` and `z[t,k] = s[k,w[t]]` → `s[v,k] = e[k,v] - m[k]` and `z[t,k] = s[w[t],k]`
    """
    for t in program.tensors:
        if t.role not in GIVEN and t.name not in program.outputs and len(t.shape) > 1:
            program = best_order(program, t)
    return program


def best_order(program: Program, t: Tensor) -> Program:
    """The program with one axis of a tensor moved to its end, if that pays."""
    touching = [s for s in program.statements if t.name == s.target or t.name in s.sources]
    time = {s.scan.index for s in touching if s.scan is not None}
    first = {i for s in touching for a in accesses(s, t.name) for i in indices_of(a.subscripts[0])} & time
    cost = sum(across(program.table, s) for s in touching)
    if cost == 0:
        return program
    for axis in range(1 if first else 0, len(t.shape) - 1):
        table = {**program.table, t.name: replace(t, shape=moved(t.shape, axis))}
        after = [with_axis_last(s, t.name, axis) for s in touching]
        products = [s for s in touching if match_contraction(program.table, s) is not None]
        kept = all(match_contraction(table, with_axis_last(s, t.name, axis)) is not None for s in products)
        if kept and sum(across(table, s) for s in after) * GAIN <= cost:
            changed = dict(zip(touching, after, strict=True))
            tensors = tuple(table[o.name] for o in program.tensors)
            return replace(program, tensors=tensors, statements=tuple(changed.get(s, s) for s in program.statements))
    return program


def across(tensors: Mapping[str, Tensor], s: Statement) -> int:
    """How many elements a statement reaches across rows, in loops of the best order; a product of matrices none."""
    if match_contraction(tensors, s) is not None or not s.domain:
        return 0
    places = [a for name in {s.target, *s.sources} for a in accesses(s, name)]
    step = {s.scan.index} if s.scan is not None else set()
    inner = [r.index for r in s.domain if r.index not in step] or [s.domain[0].index]
    far = (sum(any(i in indices_of(e) for e in a.subscripts[:-1]) for a in places) for i in inner)
    return min(far) * typical_size(s, [r.index for r in s.domain])


def accesses(s: Statement, name: str) -> list[Read]:
    return [a for a in dict.fromkeys((s.write, *s.reads)) if a.tensor == name]


def moved(entries: Sequence[sp.Expr], axis: int) -> tuple[sp.Expr, ...]:
    return (*entries[:axis], *entries[axis + 1 :], entries[axis])


def with_axis_last(s: Statement, name: str, axis: int) -> Statement:
    def change(read: Read) -> sp.Expr:
        subscripts = [replace_reads(i, change) for i in read.subscripts]
        return Read(read.tensor, *(moved(subscripts, axis) if read.tensor == name else subscripts))

    changed = s.mapped(lambda e: replace_reads(e, change))
    return replace(changed, subscripts=moved(changed.subscripts, axis)) if s.target == name else changed
