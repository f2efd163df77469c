"""Determinants and inverses of small matrices of SymPy keep their differences: they are not multiplied out."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import Model
from derivgen.form.as_written import as_written


def edges(size: int, x, base, along) -> list[list]:
    """The edges of a simplex from its first corner, as rows."""
    return [[x(along[k], a) - x(base, a) for a in range(size)] for k in range(size)]


def exact(rows: list[list[Fraction]]) -> Fraction:
    """The determinant by Leibniz's formula."""
    size, total = len(rows), Fraction(0)
    for order in permutations(range(size)):
        swaps = sum(order[a] > order[b] for a in range(size) for b in range(a + 1, size))
        term = Fraction((-1) ** swaps)
        for k, column in enumerate(order):
            term *= rows[k][column]
        total += term
    return total


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("by_inverse", [False, True])
def test_volumes_far_from_the_origin(size: int, by_inverse: bool) -> None:
    points = 1e5 + np.random.default_rng(0).normal(size=(size + 1, size))
    with as_written():
        model = Model("volume", dtype="float64")
        X = model.parameter("X", size + 1, size)
        m = sp.Matrix(edges(size, lambda k, a: X[k, a], 0, range(1, size + 1)))
        model.minimize(m.inv()[0, 0] if by_inverse else m.det())
        found = execute(module_text(model)).loss(points.ravel())
    rows = edges(size, lambda k, a: Fraction(points[k, a]), 0, range(1, size + 1))
    cofactor = exact([row[1:] for row in rows[1:]]) / exact(rows)
    assert abs(found / float(cofactor if by_inverse else exact(rows)) - 1) < 1e-14


def test_other_matrices_are_sympy_s() -> None:
    with as_written():
        a = sp.Symbol("a")
        assert sp.Matrix([[1, 2], [3, 4]]).inv() == sp.Matrix([[-2, 1], [sp.Rational(3, 2), -sp.Rational(1, 2)]])
        assert sp.Matrix(4, 4, lambda i, j: a if i == j else 0).det() == a**4
        assert sp.diag(a, 2).inv() == sp.diag(1 / a, sp.Rational(1, 2))
        with pytest.raises(sp.matrices.exceptions.NonInvertibleMatrixError):
            sp.Matrix([[a, a], [1, 1]]).inv()
