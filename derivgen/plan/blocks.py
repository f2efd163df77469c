"""How many rows are computed at once, where more of them are independent of one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy as sp

from derivgen.code.tree import Function
from derivgen.derive.over_rows import MEAN
from derivgen.form.expressions import size_symbol
from derivgen.form.sizes import typical
from derivgen.plan.cost_report import cost_report
from derivgen.plan.module_plan import ModulePlan
from derivgen.schedule.cost import REAL_BYTES, Cost, total
from derivgen.schedule.schedule import Kernel

LEAST, MOST = 32, 2**20  # rows: powers of two, so that blocks draw whole fours of random numbers
WORTH = 200_000  # nanoseconds: threads of Python take turns some microseconds before and after each block
PARTS = 20  # a block does so many times the work that comes with each of them
CLEARED, ADDED, WEIGHED = 1, 3, 2  # how often each element of a gradient moves for that


def rows_a_block(plan: ModulePlan, codes: Mapping[Kernel, Function]) -> int | None:
    """The rows of a block; None where those of different blocks depend on one another."""
    if plan.combined is None or plan.sample_axis is None:
        return None
    report, axis, itemsize = cost_report(plan, codes), size_symbol(plan.sample_axis), REAL_BYTES[plan.dtype]
    passes = report.totals[1:2] if plan.objective is not None else report.totals[:2]
    work = total(row.cost for row in passes)
    each = nanoseconds(work, itemsize, axis, 1)
    moves = CLEARED + ADDED + (WEIGHED if plan.combined == MEAN else 0)
    gradient = Cost(moved=sp.Integer(moves * itemsize * plan.parameter_count))
    beside = nanoseconds(replace(work, moved=sp.S.Zero) + gradient, itemsize, axis, 0)
    block = LEAST
    while block < MOST and block * each < max(WORTH, PARTS * beside):
        block *= 2
    return block


def nanoseconds(cost: Cost, itemsize: int, axis: sp.Symbol, power: int) -> float:
    """The time that goes with the rows, or with none of them."""
    return float(typical(cost.nanoseconds(itemsize).coeff(axis, power)))
