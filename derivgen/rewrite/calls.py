"""Calls of functions that are worth keeping, and the passes that statements belong to."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.form.expressions import TRUE, Read, guarded_reads, indices_of, reads_of, subexpressions, sympy_order
from derivgen.form.functions import CHEAP
from derivgen.form.program import Range, Statement


def pass_of(s: Statement) -> int:
    """Values first, then tangents, then all that goes backwards."""
    return {"forward": 0, "tangent": 1}.get(s.direction, 2)


def calls_in(s: Statement) -> list[sp.Expr]:
    return [node for node in subexpressions(s.expression) if is_costly(node)]


def is_costly(node: sp.Basic) -> bool:
    return isinstance(node, sp.Function) and not isinstance(node, (*CHEAP, sp.Piecewise)) and bool(reads_of(node))


def costly_calls(s: Statement) -> list[sp.Expr]:
    """The outermost costly calls in a sum or an assignment that are made at every point, but not its whole value."""
    if s.operator not in ("=", "+=") or s.guard is not TRUE or not calls_in(s):
        return []
    always = {read for read, path, _ in guarded_reads(s.expression) if not path}
    found: dict[sp.Expr, None] = {}

    def visit(node: sp.Basic) -> None:
        if is_costly(node) and node is not s.expression and always.issuperset(reads_of(node)):
            found[node] = None
        elif not isinstance(node, Read | sp.Piecewise):
            for argument in in_order(node):
                visit(argument)

    visit(s.expression)
    return list(found)


def in_order(node: sp.Basic) -> Sequence[sp.Basic]:
    """Arguments, the terms of a sum in the order that they have without their signs: a turned sign moves no call."""
    if not isinstance(node, sp.Add):
        return node.args
    return sorted(node.args, key=lambda term: sympy_order(-term if term.could_extract_minus_sign() else term))


def domain_of(s: Statement, call: sp.Expr) -> tuple[Range, ...]:
    return tuple(r for r in s.domain if r.index in indices_of(call))
