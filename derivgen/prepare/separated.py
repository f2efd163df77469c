"""Exponents that are sums of parts with indices of their own: exp(f[n,j] + A[j,k]) is exp(f[n,j])·exp(A[j,k]).

Σ_j exp(f[n,j] + A[j,k]) takes N·J·K exponentials; as a product of matrices it takes N·J + J·K. Each part is kept
relative to its own maximum, so that nothing overflows. Where the two maxima are far from each other the product loses
digits, and vanishes in the end: where it is not above ENOUGH, the sum is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.form.expressions import indices_of, reads_of
from derivgen.form.program import Statement

# It leaves either dtype its digits: no term that counts is denormal, and a quotient by the sum does not overflow.
ENOUGH = sp.Float("1e-18")


def parts_of_exponent(s: Statement, exponent: sp.Expr) -> tuple[sp.Expr, ...]:
    """The parts of an exponent of which each has an index of the target that no other has; none where it has no such.

    `f[n,j] + A[j,k] + b[j]`, summed over j, → `f[n,j] + b[j]` and `A[j,k]`
    """
    reduced = {r.index for r in s.reduced}
    if reads_of(s.guard) or indices_of(s.guard) & reduced:  # a sum that is taken whole, or not at all
        return ()
    terms = sorted(sp.Add.make_args(sp.expand_mul(exponent)), key=lambda t: -len(indices_of(t) - reduced))
    parts: list[list[sp.Expr]] = []
    for term in terms:
        own = indices_of(term) - reduced
        home = next((part for part in reversed(parts) if own <= indices_of(part[0])), None)
        if home is None:
            parts.append([term])
        else:
            home.append(term)
    found = tuple(sp.Add(*(t for t in sp.Add.make_args(sp.expand_mul(exponent)) if t in part)) for part in parts)
    return found if len(found) > 1 and all(indices_of(p) & reduced for p in found) and are_apart(found, reduced) else ()


def are_apart(parts: Sequence[sp.Expr], reduced: set[sp.Symbol]) -> bool:
    """Whether each part has an index that is not summed over, and that no other part has."""
    own = [indices_of(p) - reduced for p in parts]
    return all(mine - set().union(*(other for other in own if other is not mine)) for mine in own)
