"""The expressions that an update rule may have: arithmetic, cases by comparisons, functions of the docs' table."""

from __future__ import annotations

import sympy as sp
from sympy.core.relational import Relational
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean, BooleanAtom

from derivgen.form.expressions import subexpressions
from derivgen.form.functions import DERIVATIVES, digamma, loggamma, stop_gradient, trigamma

NOT_IN_RULES = (loggamma, digamma, trigamma)


def check_expression(where: str, expression: sp.Expr) -> None:
    """ValueError where a part is none that the text of an update can have."""
    for node in subexpressions(expression):
        if why := refusal(node):
            raise ValueError(f"{where} {why}")


def refusal(node: sp.Basic) -> str | None:
    """Why a part of an expression can't stand in a rule, or None if it can."""
    if isinstance(node, sp.Symbol):
        return None
    name = node.func.__name__
    if isinstance(node, Boolean):
        return refusal_of_condition(node)
    if node.is_number and (node is sp.nan or node.is_extended_real is False):
        return f"has {node}, which is no real number"
    match node:
        case sp.Piecewise() if node.args[-1].args[1] != sp.true:
            return "has a Piecewise without a default: end it by (value, True)"
        case ExprCondPair() if not isinstance(node.args[0], sp.Expr):
            return f"has the condition {node.args[0]} as a value: write Piecewise((1, {node.args[0]}), (0, True))"
        case ExprCondPair() if isinstance(node.args[1], sp.Symbol):
            return f"has {node.args[1]} as a condition: compare it with a number"
        case stop_gradient():
            return f"has {node}, which means nothing in a rule: write {node.args[0]}"
        case sp.Number() | sp.NumberSymbol() | sp.Add() | sp.Mul() | sp.Pow() | sp.Piecewise() | ExprCondPair():
            return None
    if node.func in NOT_IN_RULES:
        return f"uses {name}, which only models have: numpy has none to compute it once in a step"
    return None if node.func in DERIVATIVES else f"uses {name}, which derivgen does not know"


def refusal_of_condition(node: Boolean) -> str | None:
    if isinstance(node, sp.ITE) or (isinstance(node, Relational) and node.has(sp.Piecewise)):
        return "has a Piecewise in a condition: give it a name by an assignment of its own"
    if isinstance(node, Relational):
        side = next((side for side in node.args if not isinstance(side, sp.Expr)), None)
        return None if side is None else f"compares the condition {side}: write it with And, Or and Not"
    if isinstance(node, sp.And | sp.Or | sp.Not):
        bare = next((part for part in node.args if isinstance(part, sp.Symbol)), None)
        return None if bare is None else f"has {bare} as a condition: compare it with a number"
    if isinstance(node, BooleanAtom):
        return None
    return f"has {node.func.__name__} in a condition: write it with comparisons, And, Or and Not"
