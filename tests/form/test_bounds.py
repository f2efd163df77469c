"""What a condition on integers is to the proofs of accesses: alternatives of affine forms that are at least 0."""

from __future__ import annotations

import itertools

import pytest
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.bounds import cases_of
from derivgen.form.expressions import index_symbol, size_symbol

i, j, n = index_symbol("i"), index_symbol("j"), size_symbol("n")


@pytest.mark.parametrize(
    "condition",
    [
        sp.Lt(i, sp.Min(n, j + 2)),
        sp.Lt(i, -j + sp.Min(n, 3)),
        sp.Ge(sp.Min(n, j + 2), i),
        sp.Le(sp.Max(i, j - 1), n),
        sp.Lt(i, sp.Max(n, j + 1)),
        sp.Gt(sp.Max(i, j), n + 1),
        sp.Ge(i - sp.Min(j, n), 1),
        sp.Lt(i + sp.Max(j, n - 2), sp.Min(n, 4)),
    ],
    ids=str,
)
def test_comparisons_with_minima_and_maxima(condition: Boolean) -> None:
    cases = cases_of(condition, lambda read: False)
    for at in itertools.product(range(5), range(5), range(1, 6)):
        point = dict(zip((i, j, n), map(sp.Integer, at), strict=True))
        values = [[sum(c * atom.subs(point) for atom, c in form.items()) for form in case] for case in cases]
        assert any(all(value >= 0 for value in case) for case in values) == bool(condition.subs(point)), at
