"""Sums over rows, a block at a time: what callers in Python call where there are more rows than a block."""

from __future__ import annotations

import sympy as sp

from derivgen.code.routine import SIZE, TRUTH, Routine, Type, array
from derivgen.code.tree import Arrays, Assign, Block, Call, Extent, For, Kind, Let, Number, Receive, RowsOf
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.program import Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.whole.modes import ROW
from derivgen.whole.steps import GRADIENT, OBJECTIVE, PARAMETERS, ROWS, SHARE, row_index

OBJECTIVES, GRADIENTS, OF_BLOCK = "objectives", "leaf_gradients", "of_block"
OF_LEAF, BLOCK, ALL = "rows_of_leaf", "rows_of_block", "rows_of_all"
STOP = "stop"


def of_leaves(kernel: Routine, plan: ModulePlan) -> Routine:
    """The sums of a kernel for callers in Python, the objective or its gradient, over the blocks of each leaf."""
    leaf, first, i = index_symbol("leaf"), index_symbol("first"), row_index()
    axis = size_symbol(str(plan.sample_axis))
    given = {name: t for name, t in kernel.arguments.items() if name not in kernel.loose}
    by_row = [name for name, t in given.items() if isinstance(t, Tensor) and t.shape[:1] == (axis,)]
    leaves, rows, of_all = Extent(OBJECTIVES, 0), Extent(by_row[0], 0), sp.Integer(plan.parameter_count)
    gradients = GRADIENT in kernel.arguments
    counted = plan.is_mean or plan.share is not None
    share = next((name for name, t in kernel.arguments.items() if t is plan.share), None)

    def passed(name: str, t: Type) -> Arrays | Number:
        if t in (Kind.INTEGER, SIZE, TRUTH):
            return Number(Read(ROW) + first if name == ROW else sp.Symbol(name) if t == TRUTH else Read(name))
        return OF_BLOCK if name == GRADIENT else RowsOf(name, first, Read(ROWS)) if name in by_row else name

    def each(code: Assign) -> Block:
        """For each element of a gradient."""
        return (For(i, of_all, (code,)),) if gradients else ()

    weight = Read(SHARE) if plan.is_mean else sp.S.One
    value, sums = Read(OBJECTIVES, leaf), Read(GRADIENTS, leaf, i)
    block: Block = (
        Let(ROWS, sp.Min(Read(BLOCK), Read(STOP) - first), Kind.INTEGER),
        *((Let(SHARE, Read(ROWS) / Read(ALL)),) if counted else ()),
        *((Assign(Read(share, 0), "=", Read(SHARE)),) if share is not None else ()),
        Receive(Read(OBJECTIVE), "=", Call(kernel.name, tuple(passed(*own) for own in kernel.arguments.items()))),
        Assign(value, "+=", Read(OBJECTIVE) * weight, double=True),
        *each(Assign(sums, "+=", Read(OF_BLOCK, i) * weight)),
    )
    body = (
        *each(Assign(sums, "=", sp.S.Zero)),
        Assign(value, "=", sp.S.Zero, double=True),
        Let(STOP, sp.Min(leaf * Read(OF_LEAF) + Read(OF_LEAF), rows), Kind.INTEGER),
        For(first, Read(STOP), block, start=leaf * Read(OF_LEAF), step=Read(BLOCK)),
    )
    arguments: dict[str, Type] = {PARAMETERS: kernel.arguments[PARAMETERS], OBJECTIVES: array(OBJECTIVES, leaves)}
    if gradients:
        arguments |= {GRADIENTS: array(GRADIENTS, leaves, of_all), OF_BLOCK: array(OF_BLOCK, of_all)}
    counts = [OF_LEAF, BLOCK, *([ALL] if counted else [])]
    arguments |= dict.fromkeys(counts, Kind.INTEGER)
    arguments |= {name: t for name, t in kernel.arguments.items() if name not in (PARAMETERS, GRADIENT)}
    what = "gradient" if gradients else "objective"
    words = (f"The {what} of each leaf: what {kernel.name} gives for its blocks of rows, added up.",)
    positive = tuple(sp.Ge(Read(name), 1) for name in counts)
    return Routine(f"{what}s_of_leaves", arguments, (For(leaf, leaves, body),), words, given=positive)
