"""Sums over rows, a block at a time: what callers in Python call where there are more rows than a block.

A leaf is a number of blocks. Threads share leaves out; what leaves give is added in one order, whoever computes them.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from derivgen.code.routine import ASSIGN, SIZE, TRUTH, Routine, Type, array
from derivgen.code.tree import (
    Arrays,
    Assign,
    Bind,
    Block,
    Borrowed,
    Call,
    Extent,
    For,
    If,
    Item,
    Kind,
    Let,
    Number,
    Receive,
    Return,
    RowsOf,
)
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.program import Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.whole.calls import DATA
from derivgen.whole.library import ADD_IN_TREE, MEET
from derivgen.whole.modes import ROW
from derivgen.whole.steps import (
    GRADIENT,
    OBJECTIVE,
    PARAMETERS,
    ROWS,
    SHARE,
    Steps,
    batch_size,
    batch_start,
    order_array,
    row_index,
    rows_in_order,
)

OBJECTIVES, GRADIENTS, OF_BLOCK = "objectives", "leaf_gradients", "of_block"
OF_LEAF, BLOCK, ALL = "rows_of_leaf", "rows_of_block", "rows_of_all"
STOP, LOSSES, IN_BATCH = "stop", "losses", "rows_of_batch"
MEMBER, MEMBERS, MEETING = "member", "members", "meeting"


def over_rows(steps: Steps) -> list[Routine]:
    """What sums over blocks of rows, where these are independent."""
    if not steps.plan.is_in_blocks:
        return []
    loss, gradient = steps.loss(), steps.gradient()
    return [of_leaves(loss, steps.plan), of_leaves(gradient, steps.plan), epoch_by_leaves(steps)]


def of_leaves(kernel: Routine, plan: ModulePlan) -> Routine:
    """The sums of a kernel for callers in Python, the objective or its gradient, over the blocks of each leaf."""
    leaf, first = index_symbol("leaf"), index_symbol("first")
    given = {name: t for name, t in kernel.arguments.items() if name not in kernel.loose}
    axis = size_symbol(str(plan.sample_axis))
    by_row = [name for name, t in given.items() if isinstance(t, Tensor) and t.shape[:1] == (axis,)]
    gradients = GRADIENT in kernel.arguments

    def passed(name: str, t: Type) -> Arrays | Number:
        if t in (Kind.INTEGER, SIZE, TRUTH):
            return Number(Read(ROW) + first if name == ROW else sp.Symbol(name) if t == TRUTH else Read(name))
        return OF_BLOCK if name == GRADIENT else RowsOf(name, first, Read(ROWS)) if name in by_row else name

    call = Call(kernel.name, tuple(passed(*own) for own in kernel.arguments.items()))
    sums = of_leaf(plan, kernel.arguments, Extent(by_row[0], 0), Read(ALL), (), call, gradients)
    arguments: dict[str, Type] = {PARAMETERS: kernel.arguments[PARAMETERS], **sums_of(plan, gradients)}
    counts = [OF_LEAF, BLOCK, *([ALL] if is_weighed(plan) else [])]
    arguments |= dict.fromkeys(counts, Kind.INTEGER)
    arguments |= {name: t for name, t in kernel.arguments.items() if name not in (PARAMETERS, GRADIENT)}
    what = "gradient" if gradients else "objective"
    words = (f"The {what} of each leaf: what {kernel.name} gives for its blocks of rows, added up.",)
    positive = tuple(sp.Ge(Read(name), 1) for name in counts)
    return Routine(f"{what}s_of_leaves", arguments, (For(leaf, Extent(OBJECTIVES, 0), sums),), words, given=positive)


def epoch_by_leaves(steps: Steps) -> Routine:
    """The steps on batches with more rows than a block, in each of the threads that share the leaves out."""
    plan, calls, modes = steps.plan, steps.calls, steps.modes
    leaf, first, start = index_symbol("leaf"), index_symbol("first"), batch_start()
    names = calls.arguments(plan.given)
    ready = (*steps.gathered(Read(ROWS), start + first), *modes.drawing(Read("state.step", 0), first))
    step = steps.step_call("bar", ASSIGN, "batch")
    stopped = Return((sp.true,))
    meet = (Call(MEET, (MEETING, Number(Read(MEMBERS)))), If(sp.Gt(Read(MEETING, 1), 0), (stopped,)))
    rates = tuple(Number(Read(name), Kind.DOUBLE) for name in steps.hyperparameters)
    alone = (
        Call(ADD_IN_TREE, (OBJECTIVES, GRADIENTS)),
        Assign(Read(LOSSES, start), "=", Read(OBJECTIVES, 0), double=True),
        Call("update_kernel", (PARAMETERS, Item(GRADIENTS, sp.S.Zero), "state", *rates)),
    )
    rows = Read(IN_BATCH)
    batch = (
        Let(IN_BATCH, sp.Min(batch_size(), rows_in_order() - start), Kind.INTEGER),
        For(
            leaf,
            Extent(OBJECTIVES, 0),
            of_leaf(plan, names, rows, rows, ready, step, gradients=True),
            start=Read(MEMBER),
            step=Read(MEMBERS),
        ),
        *meet,
        If(sp.Eq(Read(MEMBER), 0), alone),
        *meet,
    )
    body = (
        calls.data(DATA, plan.given),
        *steps.range_checks(stopped),
        Bind("state", steps.state()),
        calls.memory(),
        Bind("theta", Call("split", (Borrowed(PARAMETERS),))),
        Bind("bar", Call("split", (Borrowed(OF_BLOCK),))),
        *modes.without_gradient(OF_BLOCK),
        For(start, rows_in_order(), batch, step=batch_size()),
        Return((sp.false,)),
    )
    numbers = dict.fromkeys(("batch_size", OF_LEAF, BLOCK, MEMBER, MEMBERS), Kind.INTEGER)
    arguments = steps.flat(PARAMETERS) | steps.slots | {LOSSES: array(LOSSES, rows_in_order())}
    arguments |= sums_of(plan, gradients=True) | {"order": order_array()} | numbers
    arguments |= {MEETING: array(MEETING, 2, integer=True)} | names | calls.memories
    arguments |= modes.arguments(modes.step_arguments()) | steps.hyperparameters
    words = (
        "Whether the steps ended early, for a row number or a label out of range, or since another thread failed.",
        "Each thread, one of `members`, computes leaves of a batch; the first one adds them up, and updates.",
    )
    positive = tuple(sp.Ge(Read(name), 0 if name == MEMBER else 1) for name in numbers)
    return Routine("epoch_by_leaves", arguments, body, words, given=positive)


def is_weighed(plan: ModulePlan) -> bool:
    """Whether a block's objective is weighed by its share of the rows, or has that share as a constant."""
    return plan.is_mean or plan.share is not None


def sums_of(plan: ModulePlan, gradients: bool) -> dict[str, Type]:
    """The arrays that sums are added up in, of leaves and of a block."""
    leaves, of_all = Extent(OBJECTIVES, 0), plan.parameter_count
    found: dict[str, Type] = {OBJECTIVES: array(OBJECTIVES, leaves)}
    more = {GRADIENTS: array(GRADIENTS, leaves, of_all), OF_BLOCK: array(OF_BLOCK, of_all)} if gradients else {}
    return found | more


def of_leaf(
    plan: ModulePlan,
    arguments: Mapping[str, Type],
    rows: sp.Expr,
    whole: sp.Expr,
    ready: Block,
    call: Call,
    gradients: bool,
) -> Block:
    """A leaf's sums, a block at a time: what readies a block, then a call for its objective, or also for its gradient.

    `rows`: those that leaves lie in; `whole`: those of which a block has a share.
    """
    leaf, first, i = index_symbol("leaf"), index_symbol("first"), row_index()
    share = next((name for name, t in arguments.items() if t is plan.share), None)

    def each(code: Assign) -> Block:
        """For each element of a gradient."""
        return (For(i, sp.Integer(plan.parameter_count), (code,)),) if gradients else ()

    weight = Read(SHARE) if plan.is_mean else sp.S.One
    value, sums = Read(OBJECTIVES, leaf), Read(GRADIENTS, leaf, i)
    block: Block = (
        Let(ROWS, sp.Min(Read(BLOCK), Read(STOP) - first), Kind.INTEGER),
        *((Let(SHARE, Read(ROWS) / whole),) if is_weighed(plan) else ()),
        *((Assign(Read(share, 0), "=", Read(SHARE)),) if share is not None else ()),
        *ready,
        Receive(Read(OBJECTIVE), "=", call),
        Assign(value, "+=", Read(OBJECTIVE) * weight, double=True),
        *each(Assign(sums, "+=", Read(OF_BLOCK, i) * weight)),
    )
    return (
        *each(Assign(sums, "=", sp.S.Zero)),
        Assign(value, "=", sp.S.Zero, double=True),
        Let(STOP, sp.Min(leaf * Read(OF_LEAF) + Read(OF_LEAF), rows), Kind.INTEGER),
        For(first, Read(STOP), block, start=leaf * Read(OF_LEAF), step=Read(BLOCK)),
    )
