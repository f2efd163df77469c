"""Program → a Program of the same values that stores less.

A tensor that is only read on a diagonal is only computed there, and a tensor that is only copied into a part of another
one is written there at once. Both matter where derivatives of derivatives are put together (see `second_order`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import sympy as sp

from derivgen.form.expressions import TRUE, Read, read_or_opposite, replace_reads, substitute
from derivgen.form.program import Program, Statement, Tensor, are_plain, is_internal, is_plain_index


def store_diagonals(program: Program) -> Program:
    """A tensor that is only read on a diagonal of two axes has one of them; its sources may then be such tensors too.

    `x[n,h,k] = a[n,h]·b[k]` and `z[n,h] = x[n,h,h]` → `x[n,h] = a[n,h]·b[h]` and `z[n,h] = x[n,h]`
    """
    before = None
    while program is not before:
        before = program
        for name in reversed([t.name for t in program.tensors]):
            while (pair := diagonal_of(program, name)) is not None:
                program = on_diagonal(program, name, *pair)
    return program


def diagonal_of(program: Program, name: str) -> tuple[int, int] | None:
    """Two axes of an internal tensor at which every read has the same subscript."""
    tensor = program.tensor(name)
    if not is_internal(program, name) or len(tensor.shape) < 2:
        return None
    reads = [r for s in program.readers.get(name, ()) for r in s.reads if r.tensor == name]
    writers = program.writers.get(name, [])
    for i, j in combinations(range(len(tensor.shape)), 2):
        alike = tensor.shape[i] == tensor.shape[j] and all(r.subscripts[i] == r.subscripts[j] for r in reads)
        if reads and alike and all(meeting(s, i, j) is not None for s in writers):
            return i, j
    return None


def meeting(s: Statement, i: int, j: int) -> dict[sp.Symbol, sp.Expr] | None:
    """The value of an index that makes two subscripts of a statement's target equal; None if there is none."""
    first, second = s.subscripts[i], s.subscripts[j]
    if first == second:
        return {}
    extents = {r.index: r.extent for r in s.domain if s.scan is None or r.index != s.scan.index}
    for own, other in ((second, first), (first, second)):
        if is_plain_index(own) and is_plain_index(other) and own in extents and extents[own] == extents.get(other):
            return {own: other}
    return None


def on_diagonal(program: Program, name: str, i: int, j: int) -> Program:
    """The program with the tensor on the diagonal of two axes, the second of which is gone."""

    def without(parts: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
        return (*parts[:j], *parts[j + 1 :])

    def change(read: Read) -> sp.Expr:
        subscripts = tuple(replace_reads(e, change) for e in read.subscripts)
        return Read(read.tensor, *(without(subscripts) if read.tensor == name else subscripts))

    statements = []
    for s in program.statements:
        if s.target == name:
            at = meeting(s, i, j)
            assert at is not None
            s = s.at(at)
            s = replace(s, subscripts=without(s.subscripts))
        statements.append(s.mapped(lambda e: replace_reads(e, change)) if name in s.sources else s)
    tensors = tuple(replace(t, shape=without(t.shape)) if t.name == name else t for t in program.tensors)
    return replace(program, tensors=tensors, statements=tuple(statements))


def write_through_copies(program: Program) -> Program:
    """A tensor that is only copied into a part of another one is written there at once.

    `x[d] = 2·w[d]` and `t[32·d] = x[d]` → `t[32·d] = 2·w[d]`
    """
    moved: dict[Statement, Statement] = {}
    for copy in program.statements:
        if (read := read_or_opposite(copy.expression)) is None:
            continue
        source = read.tensor
        if program.readers[source] == [copy] and is_internal(program, source) and len(program.writers[source]) == 1:
            writer = program.writers[source][0]
            if is_placing(copy, read, program.tensor(source)) and is_whole(writer, program.tensor(source)):
                moved[writer] = placed(writer, copy, read)
                moved[copy] = copy
    statements = [moved.get(s, s) for s in program.statements if moved.get(s) is not s]
    return program.with_statements(statements)


def is_placing(copy: Statement, read: Read, source: Tensor) -> bool:
    """Whether a copy takes each element of its source once."""
    at = read.subscripts
    plain = are_plain(at) and copy.operator == "=" and copy.guard == TRUE
    extents = {r.index: r.extent for r in copy.domain}
    return plain and copy.scan is None and {*extents} == {*at} and tuple(extents[i] for i in at) == source.shape


def is_whole(writer: Statement, source: Tensor) -> bool:
    return writer.operator == "=" and writer.scan is None and writer.covers(source.shape)


def placed(writer: Statement, copy: Statement, read: Read) -> Statement:
    """The writer with the copy's target and sign, its loops in the order of the copy's axes."""
    at = dict(zip(read.subscripts, writer.subscripts, strict=True))
    value = writer.expression if copy.expression == read else -writer.expression
    subscripts = tuple(substitute(i, at) for i in copy.subscripts)

    def place(index: sp.Symbol) -> tuple[int, int]:
        axis = next(k for k, i in enumerate(subscripts) if index in i.free_symbols)
        return axis, -int(subscripts[axis].coeff(index))

    domain = tuple(sorted(writer.domain, key=lambda r: place(r.index)))
    return replace(writer, target=copy.target, subscripts=subscripts, expression=value, domain=domain)
