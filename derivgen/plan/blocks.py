"""How many rows are computed at once, where more of them are independent of one another."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import size_symbol
from derivgen.form.sizes import typical
from derivgen.plan.module_plan import ModulePlan
from derivgen.schedule.cost import REAL_BYTES, Cost

LEAST, MOST = 32, 2**20  # rows: powers of two, so that blocks draw whole fours of random numbers
WORTH = 200_000  # nanoseconds: threads of Python take turns some microseconds before and after each block
PARTS = 20  # a block does so many times the work that comes with each of them
FEWEST_LEAVES, MOST_LEAVES = 4, 64
TOGETHER = 2**24  # numbers that the gradients of all leaves have
CLEARED, ADDED, WEIGHED = 1, 3, 2  # how often each element of a gradient moves for that


def rows_a_block(plan: ModulePlan, work: Cost) -> int | None:
    """The rows of a block; None where those of different blocks depend on one another. `work`: that of a gradient."""
    if not plan.is_in_blocks:
        return None
    axis, itemsize = size_symbol(str(plan.sample_axis)), REAL_BYTES[plan.dtype]
    each = nanoseconds(work, itemsize, axis, 1)
    moves = CLEARED + ADDED + (WEIGHED if plan.is_mean else 0)
    gradient = Cost(moved=sp.Integer(moves * itemsize * plan.parameter_count))
    beside = nanoseconds(replace(work, moved=sp.S.Zero) + gradient, itemsize, axis, 0)
    block = LEAST
    while block < MOST and block * each < max(WORTH, PARTS * beside):
        block *= 2
    return block


def leaves_of(parameters: int) -> int:
    """How many leaves the tree has along which gradients of blocks are added: a power of two."""
    return max(FEWEST_LEAVES, min(MOST_LEAVES, TOGETHER >> parameters.bit_length()))


def nanoseconds(cost: Cost, itemsize: int, axis: sp.Symbol, power: int) -> float:
    """The time that goes with the rows, or with none of them."""
    return float(typical(cost.nanoseconds(itemsize).coeff(axis, power)))
