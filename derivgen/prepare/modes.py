"""Program → the same program in training or in evaluation: `model.training` is 1 or 0, and dead branches are gone."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, replace_reads
from derivgen.form.program import Program, Role, Statement, Tensor, is_plain_index


def has_modes(program: Program) -> bool:
    """Whether training and evaluation differ."""
    return bool(program.of_role(Role.MODE))


def in_training(program: Program) -> Program:
    """The program that loss_and_gradient, train_epoch and descend compute: model.training is 1.

    `a[n] = (2·x[n] if training ≥ 1 else x[n])` → `a[n] = 2·x[n]`
    """
    return resolved(program, sp.Integer(1))


def in_evaluation(program: Program) -> Program:
    """The program that loss and predict compute: model.training is 0, and running tensors stay as they are.

    `a[n] = (2·x[n] if training ≥ 1 else x[n])` → `a[n] = x[n]`
    """
    return resolved(replace(program, running=()), sp.Integer(0))


@as_written()
def resolved(program: Program, training: sp.Integer) -> Program:
    """The program with a number for `model.training`."""
    modes = {t.name for t in program.of_role(Role.MODE)}
    if not modes:
        return program

    def decided(e: sp.Basic) -> sp.Basic:
        return replace_reads(e, lambda read: training if read.tensor in modes else read)

    statements = [s.mapped(decided) for s in program.statements]
    pairs = zip(statements, program.statements, strict=True)
    copies = {s.target for s, former in pairs if s != former and repeats_a_tensor(s)}
    tensors = tuple(as_part(t, copies) for t in program.tensors if t.name not in modes)
    return check_program(replace(program, tensors=tensors, statements=tuple(statements)))


def repeats_a_tensor(s: Statement) -> bool:
    """Whether another tensor holds the same values at the same indices: dropout is such a copy in evaluation."""
    plain = isinstance(s.expression, Read) and all(map(is_plain_index, s.subscripts))
    return plain and s.operator == "=" and s.guard == sp.true and s.expression.subscripts == s.subscripts


def as_part(t: Tensor, copies: set[str]) -> Tensor:
    """A let that is a copy in one mode only is none there: `simplify` reads through it."""
    return replace(t, role=Role.HELPER) if t.name in copies else t
