"""Additions that are assignments, products or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import TRUE, indices_of
from derivgen.form.program import Program, Range, Statement, Tensor, are_plain


def assign_once(program: Program) -> Program:
    """A lone accumulation that sums over nothing is an assignment, and a lone sum of nothing assigns 0.

    `z[n] += x[n]` → `z[n] = x[n]`
    """
    statements = []
    for s in program.statements:
        if s.operator == "+=" and len(program.writers[s.target]) == 1:
            shape = program.tensor(s.target).shape
            if does_nothing(s) and are_plain(s.subscripts):
                # A guard that never holds may have kept an index inside that is longer than the tensor's axis.
                domain = tuple(Range(i, extent) for i, extent in zip(s.subscripts, shape, strict=True))
                s = replace(s, operator="=", expression=sp.Integer(0), domain=domain, guard=TRUE)
            elif not s.reduced and s.covers(shape):
                s = replace(s, operator="=")
        statements.append(s)
    return program.with_statements(statements)


def does_nothing(s: Statement) -> bool:
    return s.guard == sp.false or (s.operator == "+=" and s.expression == 0)


def drop_zero_additions(program: Program) -> Program:
    """A statement that adds 0, or whose guard never holds, goes if its target has another writer.

    `z[n] += 0` and `z[n] += x[n]` → `z[n] += x[n]`
    """
    writers = Counter(s.target for s in program.statements)
    statements = []
    for s in program.statements:
        if does_nothing(s) and writers[s.target] > 1:
            writers[s.target] -= 1
        else:
            statements.append(s)
    return program.with_statements(statements)


def assign_parts(program: Program) -> Program:
    """Accumulations into parts of a tensor are assignments if the parts are disjoint and make up the whole tensor.

    `z[0,n] += x[n]` and `z[1,n] += y[n]` → `z[0,n] = x[n]` and `z[1,n] = y[n]`
    """
    parts = {name for name, found in program.writers.items() if are_parts(program.tensor(name), found)}
    statements = (replace(s, operator="=") if s.target in parts else s for s in program.statements)
    return program.with_statements(statements)


def are_parts(tensor: Tensor, writers: Sequence[Statement]) -> bool:
    """Whether the several writers have the numbers 0, 1, … of one axis, each with all of the other axes."""
    for axis, extent in enumerate(tensor.shape):
        others = tensor.shape[:axis] + tensor.shape[axis + 1 :]
        numbers = {s.subscripts[axis] for s in writers}
        if extent == len(writers) > 1 and numbers == set(map(sp.Integer, range(len(writers)))):
            rest = [replace(s, subscripts=s.subscripts[:axis] + s.subscripts[axis + 1 :]) for s in writers]
            return all(s.operator == "+=" and not s.reduced and s.covers(others) for s in rest)
    return False


def count_instead_of_adding(program: Program) -> Program:
    """A sum over an index that its terms do not have is a product with the number of the terms.

    `z[n] += Σ_i x[n]` → `z[n] += 8·x[n]` for 8 values of i
    """
    statements = []
    for s in program.statements:
        used = indices_of(s.expression) | indices_of(s.guard) | ({s.scan.index} if s.scan is not None else set())
        alike = [r for r in s.reduced if r.index not in used] if s.operator == "+=" else []
        if alike:
            count = sp.Mul(*(r.extent for r in alike))
            s = replace(s, expression=count * s.expression, domain=tuple(r for r in s.domain if r not in alike))
        statements.append(s)
    return program.with_statements(statements)
