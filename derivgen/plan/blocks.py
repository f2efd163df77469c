"""How many rows are computed at once, where more of them are independent of one another."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from derivgen.code.tree import Function
from derivgen.form.expressions import size_symbol
from derivgen.form.sizes import typical
from derivgen.plan.cost_report import cost_report
from derivgen.plan.module_plan import ModulePlan
from derivgen.schedule.cost import BYTE, REAL_BYTES
from derivgen.schedule.schedule import Kernel

LEAST, MOST = 32, 2**20  # rows: powers of two, so that blocks draw whole fours of random numbers
WORTH = 200_000  # nanoseconds: threads of Python take turns some microseconds before and after each block
PARTS = 20  # a block does so many times the work that comes with each of them: what has no rows, the gradients' sum


def rows_a_block(plan: ModulePlan, codes: Mapping[Kernel, Function]) -> int | None:
    """The rows of a block; None where those of different blocks depend on one another."""
    if plan.combined is None or plan.sample_axis is None:
        return None
    report, axis = cost_report(plan, codes), size_symbol(plan.sample_axis)
    itemsize = REAL_BYTES[plan.dtype]
    passes = report.totals[1:2] if plan.objective is not None else report.totals[:2]
    work = sp.expand(sp.Add(*(row.cost.nanoseconds(itemsize) for row in passes)))
    each = float(typical(work.coeff(axis)))
    beside = float(typical(work.coeff(axis, 0))) + float(6 * itemsize * BYTE) * plan.parameter_count
    block = LEAST
    while block < MOST and block * each < max(WORTH, PARTS * beside):
        block *= 2
    return block
