"""A spec's `model.derivative(…)` → `partial(…)` in a statement, or its refusal."""

from __future__ import annotations

import sympy as sp
from sympy.tensor.indexed import Indexed

from derivgen.declare.scope import Scope
from derivgen.declare.state import State
from derivgen.derive.partials import Tangents
from derivgen.errors import Refused
from derivgen.form.expressions import Read, indices_of
from derivgen.form.functions import partial
from derivgen.form.notation import Plain
from derivgen.form.program import Program, Role, is_plain_index

TEXT = Plain({}).expression


def declared_partial(state: State, e: partial, scope: Scope) -> sp.Expr:
    """The derivative in the internal form; raises Refused where it is none of a let, mixes rows, or is 0."""
    check_complete(state, e)
    value, *variables = reads = [state.convert(argument, scope) for argument in e.args]
    for argument, read in zip(e.args, reads, strict=True):
        if not isinstance(read, Read):
            raise Refused(f"{state.layer}: {argument} in a derivative is no element of a tensor")
    if state.tensors[value.tensor].role is not Role.LET:
        raise Refused(
            f"{state.layer}: the derivative of {TEXT(value)}: expected an element of a let, found "
            f"{state.tensors[value.tensor].role.value} {value.tensor}: give the expression a let"
        )
    for x in variables:
        check_variable(state, value, x)
    made = partial(*reads)
    if any(s.target == value.tensor for s in state.statements):  # else its own definition was refused
        check_value(state, made)
    return made


def check_complete(state: State, e: partial) -> None:
    """Inside a recurrence its members are not complete, and have no derivative."""
    by_name = {d.name: d for d in state.definitions}
    own = by_name[state.layer].recurrence if state.layer in by_name else ""
    for argument in e.args:
        name = argument.base.name if isinstance(argument, Indexed) else argument.name
        if own and name in by_name and by_name[name].recurrence == own:
            raise Refused(f"{state.layer}: {name} is a part of this recurrence: take its derivatives in a later let")


def check_variable(state: State, value: Read, x: Read) -> None:
    tensor, what = (
        state.tensors[x.tensor],
        f"{state.layer}: the derivative of {TEXT(value)} with respect to {TEXT(x)}",
    )
    if tensor.integer:
        raise Refused(
            f"{what}: expected a real tensor, found integers: nothing can be differentiated with respect to {x.tensor}"
        )
    if x.tensor == value.tensor:
        raise Refused(f"{what}: it is 1 where both are one element, else 0: write that number")
    for subscript, extent in zip(x.subscripts, tensor.shape, strict=True):
        if not (subscript.is_Integer or is_plain_index(subscript)):
            raise Refused(f"{what}: expected an element at indices and numbers, found {TEXT(subscript)}: read it there")
        elsewhere = subscript not in value.subscripts and any(subscript in indices_of(s) for s in value.subscripts)
        if elsewhere and not extent.is_Integer:
            raise Refused(
                f"{what} reads {value.tensor} at other {TEXT(subscript)} than its own: define it at its own row"
            )


def check_value(state: State, e: partial) -> None:
    """Raise Refused if rows depend on one another or the derivative is 0 everywhere; its tangents tell."""
    value, *variables = e.args
    program = Program(state.model.name, tuple(state.tensors.values()), tuple(state.statements), ())
    try:
        found = Tangents(program.live([read.tensor for read in e.args])).value(e)
    except Refused as refusal:
        raise Refused(f"{state.layer}: {refusal}") from None
    if found == 0:
        by = ", ".join(map(TEXT, variables))
        raise Refused(
            f"{state.layer}: the derivative of {TEXT(value)} with respect to {by} is 0 everywhere: write 0, "
            "or look for what should depend on it"
        )
