"""Loops whose iterations do not depend on one another, but for sums that all add to: vectors of them run at once.

for n: s += x[n]²; y[n] = 2·x[n]  →  iterations are independent, and s is a sum of them
for t: h[t + 1] = h[t]/2          →  they are not
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, For, If, Let
from derivgen.code.visit import places_of, statements_in
from derivgen.form.expressions import Read, reads_of


def sums_of_independent(loop: For) -> tuple[str, ...] | None:
    """The locals to which iterations add; None if an iteration may see what another one has written.

    Only loops without loops inside are told.
    """
    codes = tuple(statements_in(loop.body))
    if loop.steps or not all(isinstance(code, Let | Assign | If) for code in codes):
        return None
    own = {name for code in codes if (name := local_made(code)) is not None}
    totals = {name for code in codes if (name := local_added_to(code)) is not None} - own
    read = {place.tensor for code in codes for place in reads(code)}
    plain = all(
        isinstance(code, Let | If) or is_stored(code) or local_added_to(code) or local_made(code) for code in codes
    )
    independent = plain and not totals & read and made(loop.body, own, frozenset()) is not None and all_own_places(loop)
    return tuple(sorted(totals)) if independent else None


def local_made(code: Code) -> str | None:
    """The local that a statement gives a value."""
    if isinstance(code, Let):
        return code.name
    return code.place.tensor if isinstance(code, Assign) and code.operator == "=" and not is_stored(code) else None


def local_added_to(code: Code) -> str | None:
    added = isinstance(code, Assign) and code.operator == "+=" and not is_stored(code) and not code.double
    return code.place.tensor if isinstance(code, Assign) and added else None


def is_stored(code: Code) -> bool:
    return isinstance(code, Assign) and bool(code.place.subscripts)


def reads(code: Code) -> list[Read]:
    """What a statement itself reads, other than the total that it adds to."""
    match code:
        case Let():
            return reads_of(code.value)
        case Assign():
            return [*reads_of(code.value), *reads_of(*code.place.subscripts)]
        case If():
            return reads_of(code.condition)
        case _:
            return []


def made(block: Block, own: Set[str], before: Set[str]) -> Set[str] | None:
    """The locals of an iteration that have a value after a block; None if one is read that may have none.

    That one would be handed on from an iteration to the next.
    """
    known = before
    for code in block:
        needed = {place.tensor for place in reads(code)} | {local_added_to(code)}
        if needed & own - known:
            return None
        if isinstance(code, If):
            ways = [made(way, own, known) for way in (code.body, code.otherwise)]
            if ways[0] is None or ways[1] is None:
                return None
            known = ways[0] & ways[1]
        elif (name := local_made(code)) is not None:
            known = known | {name}
    return known


def all_own_places(loop: For) -> bool:
    """Whether each iteration has elements for itself, of each array that the loop writes."""
    codes = tuple(statements_in(loop.body))
    written = {code.place.tensor for code in codes if isinstance(code, Assign) and code.place.subscripts}
    places = [place for code in codes for place in places_of(code)]
    return all(has_own_place((p for p in places if p.tensor == name), loop.index) for name in written)


def has_own_place(places: Iterable[Read], index: sp.Symbol) -> bool:
    """Whether one axis has the same subscript in all accesses, one that differs between iterations."""
    axes: Sequence[tuple[sp.Expr, ...]] = tuple(zip(*(place.subscripts for place in places), strict=True))
    return any(len(set(axis)) == 1 and differs(axis[0], index) for axis in axes)


def differs(e: sp.Expr, index: sp.Symbol) -> bool:
    """Whether an expression has another value for each value of an index."""
    return not reads_of(e) and index not in sp.expand(e - index).free_symbols
