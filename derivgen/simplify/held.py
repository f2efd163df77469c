"""Values that a tensor holds, or is made to hold, are read instead of computed again."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, substitute
from derivgen.form.functions import sigmoid
from derivgen.form.program import Program, Role, Statement, Tensor, names_of
from derivgen.rewrite.calls import calls_in, costly_calls, domain_of, pass_of
from derivgen.rewrite.held import Reuse, held_by
from derivgen.rewrite.scans import leave_scans
from derivgen.stages import reached


@as_written()
def keep_calls(program: Program) -> Program:
    """A costly call that a later pass of the same layer makes too is a tensor of its own.

    An adjoint of a = z·sigmoid(z) then reads sigmoid(z), and finds sigmoid(-z) in it.

    `a[n] = z[n]·sigmoid(z[n])` → `a_sigmoid[n] = sigmoid(z[n])` and `a[n] = a_sigmoid[n]·z[n]`
    """
    passes: dict[tuple[str, sp.Expr], int] = {}  # the last pass in which a layer makes a call
    for s in program.statements:
        for call in calls_in(s):
            passes[s.layer, call] = max(passes.get((s.layer, call), 0), pass_of(s))
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    whole = set[sp.Expr]()  # the calls that are all of an earlier tensor
    for s in program.statements:
        kept: dict[sp.Expr, Read] = {}
        for call in costly_calls(s):
            partner = sigmoid(-call.args[0]) if isinstance(call, sigmoid) else call
            last = max(passes.get((s.layer, c), 0) for c in (call, partner))
            if last > pass_of(s) and call not in {*whole, -s.expression}:
                domain = domain_of(s, call)
                read = kept[call] = Read(names.fresh(f"{s.layer}_{type(call).__name__}"), *(r.index for r in domain))
                tensors.append(Tensor(read.tensor, tuple(r.extent for r in domain), Role.HELPER))
                made = replace(s, target=read.tensor, subscripts=read.subscripts, operator="=", expression=call)
                statements.append(replace(made, domain=domain))
        if s.operator == "=":
            whole |= {s.expression, -s.expression}
        statements.append(replace(s, expression=substitute(s.expression, kept)))
    return leave_scans(program.with_statements(statements, tensors))


def reuse_held_values(program: Program) -> Program:
    """A value that an earlier statement of the same pass, or of a pass before it, holds is read.

    `a[n] = tanh(z[n])` and `z_bar[n] = a_bar[n]·(1 - tanh(z[n])²)` → `z_bar[n] = a_bar[n]·(1 - a[n]²)`
    """
    reuse = Reuse(program)
    statements = list(program.statements)
    readers: dict[str | Read, set[int]] = {}
    for position, s in enumerate(statements):
        note_reads(readers, s, position)
    for position, s in enumerate(statements):
        held = held_by(s, program.tensor(s.target)) if len(program.writers[s.target]) == 1 else None
        if held is None:
            continue
        reached("simplify the formulas", s.layer)
        fewest = min((readers[part] for part in held.parts), key=len, default=set[int]())
        for later in sorted(k for k in fewest if k > position and pass_of(statements[k]) >= pass_of(s)):
            changed = reuse.apply(statements[later], held)
            if changed is not statements[later].expression:
                statements[later] = replace(statements[later], expression=changed)
                note_reads(readers, statements[later], later)
    return program.with_statements(statements)


def note_reads(readers: dict[str | Read, set[int]], s: Statement, position: int) -> None:
    """Note which statement reads what; reads from before a change stay noted, which costs only time."""
    parts: list[str | Read] = [*s.sources, *s.reads]
    for part in parts:
        readers.setdefault(part, set()).add(position)
