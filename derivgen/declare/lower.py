"""Declaration → Program: each `Sum` and `MaxOver` becomes a statement of its own, the rest scalar expressions.

Input: a `Model`. Output: a checked Program, its tensors in order of declaration and its statements in order of
definition; fixed sizes are numbers in it. Every expression is rebuilt in the internal form (`expressions`), bound
indices renamed apart, and each read proved to stay inside its tensor; what is not accepted becomes a problem at the
line of its definition.
"""

from __future__ import annotations

from itertools import groupby

from derivgen.declare.checks import check_use
from derivgen.declare.lowering import Lowering
from derivgen.declare.model import Model
from derivgen.declare.parts import distributed, share_parts, share_sums
from derivgen.declare.recurrences import define_recurrence
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.program import Program


@as_written()
def lower(model: Model) -> Program:
    """The declared program; raises SpecError with all problems of the spec."""
    return check_program(distributed(as_declared(model)))


@as_written(distribute=False)
def as_declared(model: Model) -> Program:
    """The program with its formulas' numbers where the spec has them, and what formulas share in tensors."""
    lowering = Lowering(model)
    for recurrence, members in groupby(model.definitions, lambda d: d.recurrence):
        if recurrence:
            define_recurrence(lowering, list(members))
        else:
            for definition in members:
                lowering.define(definition)
    lowering.minimize()
    lowering.next_values()
    check_use(model, lowering.tensors, lowering.statements)
    model.refuse_problems()
    return share_parts(share_sums(check_program(lowering.program())))
