"""Calls that several statements make, kept in tensors."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, substitute
from derivgen.form.functions import sigmoid
from derivgen.form.program import Program, Role, Statement, Tensor, names_of
from derivgen.rewrite.calls import calls_in, costly_calls, domain_of, pass_of
from derivgen.rewrite.scans import leave_scans


@as_written()
def keep_calls(program: Program) -> Program:
    """A costly call that is part of a forward formula, and that an adjoint or a tangent of its layer makes too, is a tensor.

    For a = z·sigmoid(z) the adjoint then reads sigmoid(z), and finds sigmoid(-z) in it. So is one that a tangent makes
    first.
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
            if last > pass_of(s) and call not in whole:
                domain = domain_of(s, call)
                read = kept[call] = Read(names.fresh(f"{s.layer}_{type(call).__name__}"), *(r.index for r in domain))
                tensors.append(Tensor(read.tensor, tuple(r.extent for r in domain), Role.HELPER))
                made = replace(s, target=read.tensor, subscripts=read.subscripts, operator="=", expression=call)
                statements.append(replace(made, domain=domain))
        if s.operator == "=":
            whole.add(s.expression)
        statements.append(replace(s, expression=substitute(s.expression, kept)))
    return leave_scans(program.with_statements(statements, tensors))
