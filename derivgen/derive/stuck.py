"""Parameters that no training moves: at the initial values their gradient is 0, and so it stays.

Two layers whose weights start at zeros are such: the gradient of each has the other one as a factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, reads_of, substitute
from derivgen.form.program import Program, Statement, Tensor
from derivgen.initializers import Initializer

# The number that a tensor holds in all of its elements; None where they may be any numbers.
Value: TypeAlias = sp.Expr | None


class NotFinite(Exception):
    """Raised where a formula divides by 0 at the initial values: 0 times that is no 0."""


@as_written()
def stuck_parameters(program: Program, frozen: Iterable[str] = ()) -> tuple[str, ...]:
    """The parameters that a program has a gradient of, and that no training moves from their initial values.

    What has a gradient that may be another number than 0 takes other values; with these the gradients are looked at
    again, until no more parameters move. Zeros behind random weights move at the first step, and then the weights do.
    Of a model that is not finite at the initial values nothing is said.
    """
    start = {t.name: value_at_start(t) for t in program.parameters}
    trained = {name: bar for name, bar in program.gradients if bar in program.writers and name not in {*frozen}}
    while trained:
        try:
            values = values_of(program, start)
        except NotFinite:
            return ()
        moving = [name for name, bar in trained.items() if values[bar] != 0]
        if not moving:
            break
        start |= dict.fromkeys(moving)
        trained = {name: bar for name, bar in trained.items() if name not in moving}
    return tuple(trained)


def value_at_start(tensor: Tensor) -> Value:
    """The number that a parameter starts with in all of its elements, if there is one."""
    initial = tensor.initial
    if isinstance(initial, Initializer):
        same = initial.arguments[:1] if initial.distribution == "constant" else ()
    else:
        same = tuple(np.unique(initial))
    return sp.nsimplify(same[0]) if len(same) == 1 else None


def values_of(program: Program, start: Mapping[str, Value]) -> dict[str, Value]:
    """What all tensors hold where the parameters hold that.

    What steps of a recurrence read of steps before them is 0 at first, then what these hold, until nothing changes.
    """
    values: dict[str, Value] = {t.name: None for t in program.tensors if t.name not in program.writers} | dict(start)
    while True:
        before = dict(values)
        for s in program.statements:
            values[s.target] = joined(s, values)
        if values == before:
            return values


def joined(s: Statement, values: Mapping[str, Value]) -> Value:
    """What the target of a statement holds after it."""
    new = value_of(s, values)
    if s.operator == "+=":
        return values.get(s.target, sp.S.Zero) if new == 0 else None
    return new if values.get(s.target, new) == new else None


def value_of(s: Statement, values: Mapping[str, Value]) -> Value:
    """What a statement writes, or adds."""
    known = {read: value for read in s.reads if (value := values.get(read.tensor, sp.S.Zero)) is not None}
    try:
        guard = substitute(s.guard, known)
        if guard == sp.false:
            return sp.S.Zero
        value = substitute(s.expression, known) if s.operator != "argmax=" else None
    except ZeroDivisionError:  # SymPy's Mod raises it
        raise NotFinite from None
    if value is not None and not value.free_symbols and not reads_of(value):
        value = value.evalf()  # of our own functions too
    if value is not None and value.has(sp.zoo, sp.nan, sp.oo, -sp.oo) and not s.expression.has(sp.oo, -sp.oo):
        raise NotFinite
    return value if value is not None and value.is_Number and (guard == TRUE or value == 0) else None
