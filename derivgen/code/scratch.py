"""Small arrays of a function's own, each element at a fixed place, as locals.

p = scratch(1, 3); for n: p[0, 0] = x[n]; p[0, 1] = y[n]; z[n] = p[0, 0]·p[0, 1]
→  for n: p_0 = x[n]; p_1 = y[n]; z[n] = p_0·p_1
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, Function, Scratch
from derivgen.code.visit import mapped, places_of, statements_in, with_blocks
from derivgen.code.walk import Fresh
from derivgen.form.expressions import Read, substitute


def scratch_in_locals(function: Function) -> Function:
    """The function without the arrays of its own of which each element that is used has its number."""
    fresh = Fresh(function)
    names: dict[sp.Expr, sp.Expr] = {}
    for own in [code for code in function.body if isinstance(code, Scratch)]:
        touched = dict.fromkeys(place for code in statements_in(function.body) for place in places_of(code))
        places = [place for place in touched if place.tensor == own.name]
        if all(i.is_Integer for place in places for i in place.subscripts):
            names |= {place: Read(fresh.name(name_of(place, own))) for place in places}
    gone = {place.tensor for place in names if isinstance(place, Read)}
    body = tuple(code for code in function.body if not (isinstance(code, Scratch) and code.name in gone))
    return function.with_body(renamed(body, names)) if gone else function


def name_of(place: Read, own: Scratch) -> str:
    numbers = place.subscripts if own.shape[0] != 1 else place.subscripts[1:]
    return "_".join([place.tensor, *map(str, numbers)])


def renamed(block: Block, names: dict[sp.Expr, sp.Expr]) -> Block:
    def statement(code: Code) -> Code:
        code = with_blocks(code, partial(renamed, names=names))
        change = partial(substitute, mapping=names)
        if isinstance(code, Assign) and code.place in names:
            return replace(code, place=names[code.place], value=change(code.value))
        return code if isinstance(code, Scratch) else mapped(code, change)

    return tuple(map(statement, block))
