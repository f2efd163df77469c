"""Guards that statements share, imply or take from what they read."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import TRUE, Read, is_guarded, parts_of, replace_reads
from derivgen.form.inside import is_inside
from derivgen.form.program import Program, Statement, is_internal, is_plain_index
from derivgen.rewrite.conditions import at, guard_outside, implies, is_lone, knows


def guards_outside(program: Program) -> Program:
    """An assignment of a value or 0 is an accumulation under a guard."""
    statements = []
    for s in program.statements:
        whole = s.operator == "=" and s.scan is None and s.covers(program.tensor(s.target).shape)
        if whole and is_guarded(s.expression):
            value, condition = s.expression.args[0].args
            s = replace(s, operator="+=", expression=value, guard=condition)
        statements.append(s)
    return program.with_statements(statements)


def forget_implied_guards(program: Program) -> Program:
    """X[d] += Y[d] where g, and Y is 0 elsewhere: X[d] = Y[d]."""
    table = program.table
    writers: dict[str, list[Statement]] = {}
    for s in program.statements:
        writers.setdefault(s.target, []).append(s)

    def is_implied(s: Statement) -> bool:
        source = s.expression
        if s.operator != "+=" or s.guard == TRUE or s.scan is not None or s.reduced or not isinstance(source, Read):
            return False
        if not all(map(is_plain_index, (*s.subscripts, *source.subscripts))):
            return False
        if not all(is_inside(access, (), s.domain, table) for access in (s.write, source)):
            return False  # the guard is what keeps an index in its range
        known = writers.get(source.tensor, [])
        return bool(known) and all(
            w.operator == "+="
            and all(map(is_plain_index, w.subscripts))
            and implies(parts_of(at(w, source, guard_outside(w))), s.guard)
            for w in known
        )

    return replace(
        program, statements=tuple(replace(s, guard=TRUE) if is_implied(s) else s for s in program.statements)
    )


def read_through_guarded_copies(program: Program) -> Program:
    """A lone guarded copy that is read under its guard only is read as its source."""
    statements = list(program.statements)
    for copy in program.statements:
        if not is_lone(program, copy) or copy.scan is not None or not is_internal(program, copy.target):
            continue
        copy = next(t for t in statements if t.target == copy.target)  # others have been read through
        if not isinstance(copy.expression, Read) or not all(knows(t, copy) for t in statements):
            continue

        def through(read: Read, copy: Statement = copy) -> sp.Expr:
            return at(copy, read, copy.expression) if read.tensor == copy.target else read

        statements = [replace(t, expression=replace_reads(t.expression, through)) for t in statements if t is not copy]
    return program.with_statements(statements).live(program.outputs)
