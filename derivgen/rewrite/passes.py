"""Passes: functions Program → Program of the same values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from derivgen.form.check import check_program
from derivgen.form.program import Program
from derivgen.stages import reached

Pass = Callable[[Program], Program]


def run(stage: str, passes: Sequence[Pass], program: Program) -> Program:
    """The program after each pass in turn; each result is checked."""
    reached(f"{stage} the formulas")
    for change in passes:
        program = check_program(change(program))
    return program
