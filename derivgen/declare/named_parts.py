"""`named("discount", exp(-rate * maturity))` in formulas: a part of that name, computed where it first stands."""

from __future__ import annotations

import sympy as sp

from derivgen.declare.scope import Scope
from derivgen.declare.state import State
from derivgen.errors import Refused
from derivgen.file import contract
from derivgen.form.expressions import Read, all_of, conjuncts, guarded, indices_of, named, reads_of
from derivgen.form.inside import out_of_bounds
from derivgen.form.program import Role, Statement, Tensor


def named_part(state: State, e: named, scope: Scope) -> sp.Expr:
    """The read of a part that has a name; the first one defines it, over the indices that the expression has."""
    value = state.body(state.convert(e.args[1], scope))
    free = tuple(r for r in scope.ranges.values() if r.index in indices_of(value))
    own = tuple(r.index for r in free)
    if e.name in state.parts:
        known, subscripts = state.parts[e.name]
        if known != e.args[1] or subscripts != own:
            raise Refused(f"{state.layer}: {e.name} is the name of two parts: {known} and {e.args[1]}: rename one")
        return Read(e.name, *own)
    why = contract.refusal(e.name, "part")
    if why is None and e.name in state.model._names:
        why = f"the name {e.name} is used twice: it is {contract.article(state.model._names[e.name])} already"
    if why is not None:
        raise Refused(f"{state.layer}: {why}")
    statement = Statement(e.name, own, "=", value, free, layer=state.layer)
    state.tensors[e.name] = Tensor(e.name, tuple(r.extent for r in free), Role.LET)
    if out_of_bounds(statement, state.tensors):  # what the branch around it keeps inside
        used = [c for c in conjuncts(scope.path) if not reads_of(c) and indices_of(c) <= {*own}]
        statement = statement.with_parts(expression=guarded(value, all_of(*used)))
    state.emit(statement)
    state.parts[e.name] = e.args[1], own
    return Read(e.name, *own)
