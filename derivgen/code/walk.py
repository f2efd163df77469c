"""What passes over code share: new names, and a walk that knows what holds at each statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sympy as sp

from derivgen.code.names import past
from derivgen.code.proof import Point
from derivgen.code.tree import Block, Code, For, Function, If, statements_in, written_by
from derivgen.form.expressions import Read


class Fresh:
    """New names of locals in a function."""

    def __init__(self, function: Function) -> None:
        self.taken = {*function.taken}
        self.taken |= {name for code in statements_in(function.body) if (name := written_by(code)) is not None}

    def name(self, wanted: str) -> str:
        name = past(wanted, self.taken)
        self.taken.add(name)
        return name

    def numbered(self, word: str, number: int = 1) -> str:
        """The first name of word_1, word_2, …, from this number on, that is free."""
        while f"{word}_{number}" in self.taken:
            number += 1
        return self.name(f"{word}_{number}")


def inside(code: Code, point: Point, change: Callable[[Block, Point], Block]) -> Code:
    """The statement with a function applied to each block inside, at the point where it stands."""
    match code:
        case For():
            return replace(code, body=change(code.body, point.inside(code)))
        case If():
            body = change(code.body, point.where(code.condition))
            return replace(code, body=body, otherwise=change(code.otherwise, point.otherwise(code.condition)))
        case _:
            return code


def is_invariant(e: sp.Basic, indices: Iterable[sp.Symbol], written: Iterable[str]) -> bool:
    """Whether an expression speaks of none of these indices, and reads nothing of what is written."""
    return e.free_symbols.isdisjoint(indices) and not any(r.tensor in written for r in e.atoms(Read))
