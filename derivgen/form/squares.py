"""Roots of sums of squares, norms, whose derivative is 0 where they are 0.

(Σ_a (X[i,a] - X[j,a])²)^(3/4)  →  root(Σ_a …)^(3/2), whose derivative at 0 is 3/2·0^(1/2)·0, and not ∞·0
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import TRUE, Read, bottom_up, split_guard
from derivgen.form.functions import root
from derivgen.form.program import Program

HALF = sp.Rational(1, 2)


def is_square(e: sp.Expr, squares: Container[str]) -> bool:
    """Whether e is a sum of squares: even powers with positive weights, or one of these tensors, which sum them."""
    match e:
        case sp.Add():
            return all(is_square(a, squares) for a in e.args)
        case sp.Mul():
            found = [is_square(a, squares) for a in e.args]
            return any(found) and all(own or is_weight(a) for own, a in zip(found, e.args, strict=True))
        case sp.Pow():
            return bool(e.exp.is_Integer and e.exp.is_positive and e.exp % 2 == 0)
        case sp.Piecewise():
            value, guard = split_guard(e)
            return guard != TRUE and is_square(value, squares)
    return isinstance(e, Read) and e.tensor in squares


def is_weight(e: sp.Expr) -> bool:
    """Whether e is positive whatever its arguments: SymPy takes a scale 1/l or exp(-s) out of a square."""
    if isinstance(e, sp.Pow):
        return bool(e.exp.is_Integer and e.exp % 2 == 0) or is_weight(e.base)
    return isinstance(e, sp.exp | sp.cosh) or bool(e.is_number and e.is_positive)


def as_root(e: sp.Basic, squares: Container[str]) -> sp.Basic:
    """A power from √u to below u, of a sum of squares u, by that root; anything else as it is."""
    if isinstance(e, sp.Pow) and e.exp.is_Number and HALF <= e.exp < 1 and is_square(e.base, squares):
        exact = sp.Rational(2 * e.exp)  # of 0.75, as it may be written, 3/2
        return root(e.base) ** (exact if exact.q <= 2 else 2 * e.exp)
    return e


def with_roots(program: Program) -> Program:
    """The program with such powers by their roots, to be differentiated."""
    squares, statements = set[str](), []
    for s in program.statements:
        expression, guard = (bottom_up(e, lambda node: as_root(node, squares)) for e in (s.expression, s.guard))
        statements.append(replace(s, expression=expression, guard=guard))
        if s.operator in ("=", "+=") and is_square(s.expression, squares):
            squares.add(s.target)
    return program.with_statements(statements)
