"""The interpreter's partial derivatives: central differences of the declared formulas, at raised precision.

Independent of `partials`: what stands between x and the value is computed again at shifted x. Each difference is taken
at half as many digits more than are wanted of it. With the step h = 10^(-digits/2), truncation is about
h² = 10^(-digits), and rounding 10^(-1.5·digits)/h.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derivgen.form.functions import partial
from derivgen.form.program import Program, Statement, closure, reached
from derivgen.form.reals import Real
from derivgen.oracle.reals import context

Place = tuple[int | None, ...]  # an element, or a part of a tensor: None is all along an axis


class Quotient:
    """The derivatives of a tensor's elements by others in turn, to this many digits.

    `whole` is the program; `make_execution` is the interpreter's class, which imports this one, and `sizes` and `held`
    are its own.
    """

    def __init__(
        self,
        make_execution: Callable[..., Any],
        whole: Program,
        sizes: Mapping[str, int],
        value: str,
        by: Sequence[str],
        digits: int,
        held: Any,
    ) -> None:
        *inner, self.x = by
        raised = digits + digits // 2 + 10
        self.value, self.mp = value, context(raised)
        self.h = self.mp.mpf(10) ** -(digits // 2 + 3)
        self.inner = Quotient(make_execution, whole, sizes, value, inner, raised, held) if inner else None
        self.part = part_between(whole, self.x, (value, *inner))
        self.make = functools.partial(make_execution, self.part, sizes=sizes, digits=raised, held=held, whole=whole)
        self.execution: Any = None

    def at(self, stores: Mapping[str, Any], places: Sequence[Place]) -> list[Real]:
        """By the element at each of these places, for the value's elements in row-major order.

        `stores` are all tensors at the point. Where a place is None all rows are shifted together: right where no row
        of the value comes from another one.
        """
        *inner, place = places
        execution, x = self.ready(stores), stores[self.x]
        start = [self.mp.mpf(v) for v in x.elements]
        moving = np.arange(len(start)).reshape(x.shape)[tuple(slice(None) if i is None else i for i in place)]

        def at(shift: Real) -> list[Real]:
            shifted = [*start]
            for k in moving.ravel().tolist():
                shifted[k] += shift
            execution.give(self.x, shifted)
            execution.run()
            moved = {**stores, **execution.stores}
            return self.inner.at(moved, inner) if self.inner else [*moved[self.value].elements]

        return [(after - before) / (2 * self.h) for after, before in zip(at(self.h), at(-self.h), strict=True)]

    def ready(self, stores: Mapping[str, Any]) -> Any:
        """The execution of the part at this point."""
        written = {s.target for s in self.part.statements}
        given = [t.name for t in self.part.tensors if t.name not in written]
        if self.execution is None:
            self.execution = self.make({name: stores[name].array for name in given})
        else:
            for name in given:
                self.execution.give(name, stores[name].elements)
        return self.execution


def part_between(whole: Program, x: str, outputs: Sequence[str]) -> Program:
    """The statements through which the outputs come from x, with the tensors that they need."""

    def sources(s: Statement) -> frozenset[str]:
        return s.sources

    wanted = closure(outputs, whole.statements, sources) & reached([x], whole.statements, sources)
    statements = tuple(s for s in whole.statements if s.target in wanted and s.target != x)
    needed = {x}.union(*({s.target, *sources(s)} for s in statements))
    if any(e.has(partial) for s in statements for e in (s.expression, s.guard)):
        needed |= closure(needed, whole.statements, sources)  # what stands between the tensors of partial derivatives
    tensors = tuple(t for t in whole.tensors if t.name in needed)
    no_outputs: dict[str, Any] = {"objective": None, "prediction": None, "gradients": (), "running": (), "results": ()}
    return replace(whole, tensors=tensors, statements=statements, **no_outputs)
