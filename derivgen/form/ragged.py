"""Sums over rows of a ragged array: an index runs between two limits that tables have for each of other indices.

`z[v] += Σ_k x[k]·w[v] if k ≥ start[v] and k < end[v]`: the loop over k runs inside that over v, where it is short. The
other way round, most points would have nothing to do.
"""

from __future__ import annotations

import sympy as sp

from derivgen.form.expressions import conjuncts, indices_of, reads_of
from derivgen.form.inside import limit_of
from derivgen.form.program import Range, Statement


def read_at(s: Statement) -> frozenset[sp.Symbol]:
    """The indices at which the tables are read that limit others of a statement from both sides."""
    found: set[sp.Symbol] = set()
    for r in s.domain:
        limits = [limit for c in conjuncts(s.guard) if (limit := limit_of(c, r.index)) is not None]
        at = {relation[0]: indices_of(sp.Tuple(*reads_of(limit))) for relation, limit in limits if reads_of(limit)}
        if {"<", ">"} <= {side for side, indices in at.items() if indices}:
            found |= at["<"] | at[">"]
    return frozenset(found)


def innermost(s: Statement) -> list[Range]:
    """The ranges of a statement whose loops may be the innermost one."""
    asked = read_at(s)
    return [r for r in s.domain if r.index not in asked] or list(s.domain)
