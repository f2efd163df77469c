"""Tensors that hold nothing of their own, copies and constants, are read through."""

from __future__ import annotations

import sympy as sp

from derivgen.form.expressions import Read, indices_of, read_or_opposite, reads_of, replace_reads
from derivgen.form.program import Program, Role, Statement, is_internal
from derivgen.rewrite.calls import pass_of
from derivgen.rewrite.conditions import read_through


def read_through_constants(program: Program) -> Program:
    """A helper or an adjoint that holds one number everywhere is read as that number.

    So is a let that is 0, 1 or -1, which shortens what reads it; other numbers keep the name that their user gave them.

    `h[n] = 2` and `z[n] = h[n]·x[n]` → `z[n] = 2·x[n]`
    """
    statements: list[Statement] = []
    numbers: dict[str, sp.Expr] = {}
    for s in program.statements:
        if not numbers.keys().isdisjoint(s.sources):
            s = s.mapped(lambda e: replace_reads(e, lambda r: numbers.get(r.tensor, r)))
        whole = s.operator == "=" and s.covers(program.tensor(s.target).shape)
        free = s.scan is None  # in a scan, earlier statements may read it
        if whole and free and is_number(s.expression) and needs_no_name(program, s):
            numbers[s.target] = s.expression
        else:
            statements.append(s)
    return program.with_statements(statements)


def is_number(e: sp.Expr) -> bool:
    return not indices_of(e) | {*reads_of(e)}


def needs_no_name(program: Program, s: Statement) -> bool:
    """Whether a tensor that holds one number may go: an internal one, or a let that makes terms or factors go."""
    name = s.target
    vanishes = s.expression in (sp.S.Zero, sp.S.One, sp.S.NegativeOne) and name not in program.outputs
    return is_internal(program, name) or (vanishes and program.tensor(name).role is Role.LET)


def read_through_copies(program: Program) -> Program:
    """A copy, or its opposite, is read as its source, or the source takes a copy's name if that says more.

    `h[n,i] = x[i,n]` and `z[n] += Σ_i h[n,i]` → `z[n] += Σ_i x[i,n]`
    """
    while (copy := next((s for s in program.statements if is_copy(program, s)), None)) is not None:
        program = without_copy(program, copy)
    return program


def is_copy(program: Program, s: Statement) -> bool:
    copies = s.operator == "=" and read_or_opposite(s.expression) is not None
    return copies and (named_after(program, s) or readable_as(program, s))


def readable_as(program: Program, s: Statement) -> bool:
    """Whether reads of the target may become reads of the source."""
    return is_internal(program, s.target) and s.covers(program.tensor(s.target).shape)


def named_after(program: Program, s: Statement) -> bool:
    """Whether the source may take the target's name: it is internal, of equal shape, and that name says more."""
    source = s.expression
    if not isinstance(source, Read) or not is_internal(program, source.tensor) or source.subscripts != s.subscripts:
        return False
    target = program.tensor(s.target)
    internal = is_internal(program, s.target)
    better = not internal or (is_of_let(program, s.target) and not is_of_let(program, source.tensor))
    # A gradient belongs to the backward pass: the forward pass, by itself, has no place for it, nor use for its name.
    passes = {pass_of(t) for t in program.writers.get(source.tensor, ())}
    early = (s.target in program.outputs or internal) and passes != {pass_of(s)}
    return better and not early and program.tensor(source.tensor).shape == target.shape and s.covers(target.shape)


def without_copy(program: Program, copy: Statement) -> Program:
    rest = [s for s in program.statements if s is not copy]
    if named_after(program, copy):
        return program.with_statements(s.renamed({copy.expression.tensor: copy.target}) for s in rest)
    return program.with_statements(read_through(s, copy) for s in rest)


def is_of_let(program: Program, name: str) -> bool:
    """Whether a tensor is a user's let, or the adjoint or the tangent of one that the program has."""
    tensor, table = program.table.get(name), program.table
    while tensor is not None and tensor.of is not None:
        tensor = table.get(tensor.of)
    return tensor is not None and tensor.role is Role.LET
