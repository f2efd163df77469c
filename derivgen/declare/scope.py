"""The indices and the condition in scope where a spec's expression is lowered."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import TRUE, all_of
from derivgen.form.program import Range


@dataclass
class Scope:
    """The indices that are in scope, outermost first, and the condition under which an expression is evaluated."""

    ranges: dict[sp.Symbol, Range] = field(default_factory=dict)  # by the spec's symbol
    path: Boolean = TRUE

    def under(self, condition: Boolean) -> Scope:
        return Scope(self.ranges, all_of(self.path, condition))

    def within(self, bound: dict[sp.Symbol, Range]) -> Scope:
        outer = {s: r for s, r in self.ranges.items() if s not in bound}
        return Scope({**outer, **bound}, self.path)

    @property
    def order(self) -> list[sp.Symbol]:
        return [r.index for r in self.ranges.values()]
