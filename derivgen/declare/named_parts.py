"""`named("discount", exp(-rate * maturity))` in formulas: a part of that name, computed where it first stands."""

from __future__ import annotations

import sympy as sp

from derivgen.declare.lowering import Lowering
from derivgen.declare.scope import Scope
from derivgen.errors import Refused
from derivgen.file import contract
from derivgen.form.expressions import Read, all_of, conjuncts, guarded, indices_of, named, reads_of
from derivgen.form.inside import out_of_bounds
from derivgen.form.program import Role, Statement, Tensor


def named_part(lowering: Lowering, e: named, scope: Scope) -> sp.Expr:
    """The read of a part that has a name; the first one defines it, over the indices that the expression has."""
    value = lowering.body(lowering.convert(e.args[1], scope))
    free = tuple(r for r in scope.ranges.values() if r.index in indices_of(value))
    own = tuple(r.index for r in free)
    if e.name in lowering.parts:
        known, subscripts = lowering.parts[e.name]
        if known != e.args[1] or subscripts != own:
            raise Refused(f"{lowering.layer}: {e.name} is the name of two parts: {known} and {e.args[1]}: rename one")
        return Read(e.name, *own)
    why = contract.refusal(e.name, "part")
    if why is None and e.name in lowering.model._names:
        why = f"the name {e.name} is used twice: it is {contract.article(lowering.model._names[e.name])} already"
    if why is not None:
        raise Refused(f"{lowering.layer}: {why}")
    statement = Statement(e.name, own, "=", value, free, layer=lowering.layer)
    lowering.tensors[e.name] = Tensor(e.name, tuple(r.extent for r in free), Role.LET)
    if out_of_bounds(statement, lowering.tensors):  # what the branch around it keeps inside
        used = [c for c in conjuncts(scope.path) if not reads_of(c) and indices_of(c) <= {*own}]
        statement = statement.with_parts(expression=guarded(value, all_of(*used)))
    lowering.emit(statement)
    lowering.parts[e.name] = e.args[1], own
    return Read(e.name, *own)
