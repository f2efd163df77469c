"""Proofs that subscripts stay inside their tensors: exact linear arithmetic over indices, sizes and integer reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, is_index, is_size, negation

MAX_CASES = 64  # alternatives of a guard; past it what has the most counts as unknown, which only refuses more

# An affine form: its coefficients by atom (a symbol or an integer read), the constant under 1.
Linear = dict[sp.Basic, Fraction]
Case = list[Linear]  # forms that are all ≥ 0


def linear(expression: sp.Expr, is_integer: Callable[[Read], bool]) -> Linear | None:
    """The affine form of an expression, or None if it has none over integers."""
    if expression.is_Rational:
        return {sp.S.One: Fraction(int(expression.p), int(expression.q))}
    if is_index(expression) or is_size(expression) or (isinstance(expression, Read) and is_integer(expression)):
        return {expression: Fraction(1)}
    if isinstance(expression, sp.Add):
        return combine([(Fraction(1), linear(a, is_integer)) for a in expression.args])
    if isinstance(expression, sp.Mul) and expression.args[0].is_Rational:
        factor = Fraction(int(expression.args[0].p), int(expression.args[0].q))
        return combine([(factor, linear(sp.Mul(*expression.args[1:]), is_integer))])
    if isinstance(expression, sp.Mul) and all(is_size(a) for a in expression.args):
        return {expression: Fraction(1)}
    return None


def combine(parts: Iterable[tuple[Fraction, Linear | None]]) -> Linear | None:
    total: Linear = {}
    for factor, form in parts:
        if form is None:
            return None
        for atom, coefficient in form.items():
            total[atom] = total.get(atom, Fraction(0)) + factor * coefficient
    return {atom: c for atom, c in total.items() if c}


def shifted(form: Linear, by: int) -> Linear:
    return combine([(Fraction(1), form), (Fraction(1), {sp.S.One: Fraction(by)})]) or {}


def negated(form: Linear) -> Linear:
    return {atom: -c for atom, c in form.items()}


def cases_of(condition: Boolean, is_integer: Callable[[Read], bool]) -> list[Case]:
    """The condition as alternatives of conjunctions of affine forms ≥ 0; what is not affine says nothing."""
    if condition == sp.false:
        return []
    if isinstance(condition, sp.And):
        parts = sorted((cases_of(c, is_integer) for c in condition.args), key=len)
        cases: list[Case] = [[]]
        for part in parts:
            if len(cases) * len(part) <= MAX_CASES:
                cases = [[*case, *more] for case in cases for more in part]
        return cases
    if isinstance(condition, sp.Or):
        return list(itertools.chain(*(cases_of(c, is_integer) for c in condition.args)))
    if isinstance(condition, sp.Not):  # of a comparison of reals ≤ for not > says too much, and then says nothing
        inner = condition.args[0]
        if isinstance(inner, sp.Symbol):
            return [[]]
        exact = isinstance(inner, sp.core.relational.Relational)
        return cases_of(inner.negated if exact else negation(inner), is_integer)
    if isinstance(condition, sp.core.relational.Relational):
        if (sides := by_arguments(condition)) is not None:
            return cases_of(sides, is_integer)
        form = linear(sp.expand(condition.lhs - condition.rhs), is_integer)
        if form is not None:
            scale = math.lcm(*(c.denominator for c in form.values()))
            return relation_cases(condition, {atom: c * scale for atom, c in form.items()})
    return [[]]


def by_arguments(condition: Boolean) -> Boolean | None:
    """A comparison with a minimum or a maximum as comparisons with its arguments: i < min(a, b) as i < a and i < b."""
    if condition.rel_op not in ("<", "<=", ">", ">=") or not condition.has(sp.Min, sp.Max):
        return None
    ahead = sp.expand(condition.rhs - condition.lhs if condition.rel_op[0] == "<" else condition.lhs - condition.rhs)
    for term in sp.Add.make_args(ahead):
        for extreme, sign in ((term, 1), (-term, -1)):
            if isinstance(extreme, sp.Min | sp.Max):
                relation = sp.Gt if condition.rel_op in ("<", ">") else sp.Ge
                sides = [relation(ahead - term + sign * a, 0, evaluate=False) for a in extreme.args]
                together = sp.And if isinstance(extreme, sp.Min) is (sign == 1) else sp.Or
                return together(*sides, evaluate=False)
    return None


def relation_cases(condition: sp.core.relational.Relational, form: Linear) -> list[Case]:
    """Over the integers, a > b is a - b - 1 ≥ 0, and a ≠ b is one of two inequalities."""
    match condition.rel_op:
        case ">=":
            return [[form]]
        case ">":
            return [[shifted(form, -1)]]
        case "<=":
            return [[negated(form)]]
        case "<":
            return [[shifted(negated(form), -1)]]
        case "==":
            return [[form, negated(form)]]
        case _:
            return [[shifted(form, -1)], [shifted(negated(form), -1)]]


def always_nonnegative(claim: Linear, case: Case) -> bool:
    """Whether claim ≥ 0 follows: its negation, -claim - 1 ≥ 0, contradicts the case (Fourier-Motzkin elimination)."""
    forms = [*case, shifted(negated(claim), -1)]
    while True:
        if any(not (set(f) - {sp.S.One}) and f.get(sp.S.One, Fraction(0)) < 0 for f in forms):
            return True
        atoms = {atom for f in forms for atom in f if atom is not sp.S.One}
        if not atoms:
            return False
        atom = min(atoms, key=lambda a: (sum(a in f for f in forms), str(a)))
        above = [f for f in forms if f.get(atom, Fraction(0)) > 0]
        below = [f for f in forms if f.get(atom, Fraction(0)) < 0]
        kept = [f for f in forms if atom not in f]
        for low, high in itertools.product(above, below):
            kept.append(combine([(-high[atom], low), (low[atom], high)]) or {})
        forms = unique(kept)


def unique(forms: list[Linear]) -> list[Linear]:
    return list({frozenset(f.items()): f for f in forms}.values())
