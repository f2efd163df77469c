"""The parts of an update rule that are the same for every parameter of a tensor are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from derivgen.form.expressions import Read, reads_of
from derivgen.update.ordered import Assignment, Ordered


@dataclass(frozen=True, slots=True)
class Hoisted:
    """A rule with what is the same for every parameter of a tensor taken out of its loop.

    `fixed`: assignments before the loop; `factors`: compound parts of the loop's expressions by name; `bare`: the
    names that the loop reads as they are; `loop`: what is left, reading those.
    """

    fixed: tuple[Assignment, ...]
    factors: dict[sp.Expr, Read]
    bare: tuple[str, ...]
    loop: tuple[Assignment, ...]

    @property
    def read(self) -> frozenset[str]:
        """The names of the step's and the tensor's values that are read."""
        before = [*(e for _, e in self.fixed), *self.factors]
        return frozenset({*self.bare, *(read.tensor for e in before for read in reads_of(e))})


def hoisted(order: Ordered) -> Hoisted:
    """The rule's loop, and what stands before it."""
    varying = order.varying
    factors: dict[sp.Expr, Read] = {}
    bare: dict[str, None] = {}

    def take(e: Any) -> Any:
        """The expression with what is fixed replaced by names."""
        if isinstance(e, Read) and e.tensor not in varying:
            bare[e.tensor] = None
        if isinstance(e, Read) or not e.args or e.is_number is True:
            return e
        if isinstance(e, sp.Expr) and not any(r.tensor in varying for r in reads_of(e)):
            return name_of(e)
        arguments = list(e.args)
        if isinstance(e, sp.Mul | sp.Add):
            own = [a for a in arguments if not a.is_number and not any(r.tensor in varying for r in reads_of(a))]
            if len(own) > 1:
                arguments = [name_of(e.func(*own)), *(a for a in arguments if a not in own)]
                return e.func(*(a if a in factors.values() else take(a) for a in arguments))
        return e.func(*map(take, arguments))

    def name_of(e: sp.Expr) -> Read:
        if e not in factors:
            factors[e] = Read(f"factor_{len(factors) + 1}")
        return factors[e]

    rest = tuple((target, take(e)) for target, e in order.loop)
    return Hoisted(order.fixed, factors, tuple(bare), rest)
