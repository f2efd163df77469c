"""Comparisons of integers in one form, whichever way a spec writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import sympy as sp
from sympy.logic.boolalg import Boolean, BooleanAtom

from derivgen.form import bounds
from derivgen.form.expressions import ORDERED, Read, all_of, any_of


def compared(condition: Boolean, is_integer: Callable[[Read], bool]) -> Boolean:
    """An affine condition on integers without fractions, one on a single of them with an integer on the right.

    SymPy makes `i >= 1/2` of `2*i - 1 >= 0`, here `i >= 1`, and both `f[i] <= 1` and `2 >= f[i] + 1` of `f[i] < 2`.
    A distance is a comparison on either side: `Abs(i - j) < 3` is `i - j < 3` and `j - i < 3`, and bounds a loop.
    """
    if isinstance(condition, BooleanAtom):
        return condition
    if isinstance(condition, ORDERED) and (sides := of_distance(condition, is_integer)) is not None:
        return sides
    form = bounds.linear(sp.expand(condition.lhs - condition.rhs), is_integer)
    if form is None:
        return condition
    if isinstance(condition, ORDERED) and len(form.keys() - {sp.S.One}) == 1:
        (atom,) = form.keys() - {sp.S.One}
        turned = condition if form[atom] > 0 else condition.reversed
        limit = -form.get(sp.S.One, Fraction(0)) / form[atom]
        if limit.denominator == 1:
            return turned.func(atom, limit.numerator)
        return atom >= math.ceil(limit) if turned.rel_op in (">", ">=") else atom <= math.floor(limit)
    scale = math.lcm(*(c.denominator for c in form.values()))
    if scale == 1:
        return condition
    return condition.func(sp.expand(condition.lhs * scale), sp.expand(condition.rhs * scale))


def of_distance(condition: Boolean, is_integer: Callable[[Read], bool]) -> Boolean | None:
    """|u| < v as u < v and -u < v, |u| > v as u > v or -u > v, where both are integers; None of another condition."""
    form = condition if isinstance(condition.lhs, sp.Abs) else condition.reversed
    if not isinstance(form.lhs, sp.Abs):
        return None
    inner, limit = form.lhs.args[0], form.rhs
    if any(bounds.linear(sp.expand(e), is_integer) is None for e in (inner, limit)):
        return None
    sides = (compared(form.func(u, limit), is_integer) for u in (inner, sp.expand(-inner)))
    return all_of(*sides) if form.rel_op in ("<", "<=") else any_of(*sides)
