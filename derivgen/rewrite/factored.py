"""Sums with the factors that several of their terms share outside."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import sympy as sp

from derivgen.form.expressions import Read, reads_of, subexpressions, sympy_order


def factored(expression: sp.Expr) -> sp.Expr:
    """The expression with each factor that several terms of a sum share outside of these.

    What saves most comes first: `a·p + a·b·q + b·r` → `a·(p + b·q) + b·r`. Arguments of functions and conditions stay
    as they are: the forward pass has the same ones.
    """
    if isinstance(expression, sp.Piecewise):
        return sp.Piecewise(*((factored(value), condition) for value, condition in expression.args))
    if not isinstance(expression, sp.Add | sp.Mul):
        return expression
    parts = [factored(part) for part in expression.args]
    if expression.is_Add:
        return together(parts)
    return sp.Mul(*(f for part in parts for f in (number_and_rest(part) if part.is_Add else (part,))))


def together(terms: Sequence[sp.Expr]) -> sp.Expr:
    """The sum of the terms."""
    factors = [shareable(t) for t in terms]
    counts = Counter(f for own in factors for f in own)
    saved = {f: (count - 1) * operations(f) for f, count in counts.items() if count > 1}
    if not saved:
        return sp.Add(*terms)
    shared = min(saved, key=lambda f: (-saved[f], sympy_order(f)))
    inside = together([without(t, shared) for t, own in zip(terms, factors, strict=True) if shared in own])
    rest = together([t for t, own in zip(terms, factors, strict=True) if shared not in own])
    return sp.Add(sp.Mul(shared, *number_and_rest(inside)), rest)


def without(term: sp.Expr, factor: sp.Expr) -> sp.Expr:
    return sp.Mul(*(f for f in sp.Mul.make_args(term) if f != factor))


def shareable(term: sp.Expr) -> list[sp.Expr]:
    """The factors of a term that may be taken out of it; a single read stays one.

    What is left is no sum: among other terms it would be added up in another order, in which a difference loses digits.
    """
    factors = [f for f in sp.Mul.make_args(term) if not f.is_Number]
    if len(factors) == 1:
        return [f for f in factors if f.is_Add]
    left_alone = {a for a, b in itertools.permutations(factors, 2) if b.is_Add} if len(factors) == 2 else set[sp.Expr]()
    return [f for f in factors if reads_of(f) and f not in left_alone]


def operations(factor: sp.Expr) -> int:
    """About how many operations a factor costs, with its multiplication."""
    return len([node for node in subexpressions(factor) if isinstance(node, Read)])


def number_and_rest(total: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """(the number that all terms of a sum have as a factor, negative where all terms are; the sum without it)"""
    if total is sp.S.Zero:
        return sp.S.One, total
    terms = sp.Add.make_args(total)
    numbers = [t.as_coeff_Mul()[0] for t in terms]
    sign = -1 if all(number.is_negative for number in numbers) else 1
    number = sign * (abs(numbers[0]) if len({abs(n) for n in numbers}) == 1 else total.primitive()[0])
    return number, sp.Add(*(divided(t, number) for t in terms))


def divided(term: sp.Expr, number: sp.Expr) -> sp.Expr:
    """A term without a number that is a factor of it."""
    own, rest = term.as_coeff_Mul()
    return sp.Mul(sp.sign(own / number) if abs(own) == abs(number) else own / number, rest)
