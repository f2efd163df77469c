"""What a module costs: a row for each layer, the update and each function of derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.code.common_kernels import for_its_kernel
from derivgen.code.cost import function_cost
from derivgen.code.tree import Function
from derivgen.form.as_written import as_written
from derivgen.form.program import TOGETHER, Direction
from derivgen.form.sizes import element_count
from derivgen.plan.blocks import rows_a_block
from derivgen.plan.derivative_plan import DerivativePlan
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import Plan
from derivgen.schedule.cost import INTEGER_BYTES, REAL_BYTES, Cost, total, update_cost
from derivgen.schedule.schedule import Kernel, Schedule


@dataclass(frozen=True, slots=True)
class Row:
    """The cost of the kernels of a layer in one direction, or of all those of a part of a step."""

    name: str
    part: str
    kernels: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Report:
    """The layers in order of execution, the totals of the parts of a step, and the workspace in bytes.

    `functions`: those of derivatives that the module has, each with the bytes of its own workspace. `parameters`: how
    many numbers a gradient has; `block`: how many rows are computed at once, None where that is all of them.
    """

    model: str
    dtype: str
    layers: tuple[Row, ...]
    totals: tuple[Row, ...]  # forward, backward, update, step
    workspace: sp.Expr
    sizes: tuple[str, ...]  # those known at run time
    functions: tuple[tuple[Row, sp.Expr], ...]
    parameters: int
    block: int | None

    @property
    def step(self) -> Cost:
        return self.totals[-1].cost


@as_written()
def cost_report(plan: ModulePlan, codes: Mapping[Kernel, Function]) -> Report:
    """What a step of the model costs, and a call of each function of derivatives.

    `codes`: those of the kernels, of which equal ones share one. A step is the forward and the backward pass, and the
    update of all parameters.
    """
    itemsize = REAL_BYTES[plan.dtype]
    costs = {kernel: function_cost(for_its_kernel(code), itemsize) for kernel, code in codes.items()}
    costs = {kernel: costs[first] for kernel, first in plan.equal.items()}  # equal ones cost the same
    layers = (*draw_rows(plan, itemsize), *layer_rows(plan.training, costs))
    passes = passes_of(plan, layers, itemsize, costs)
    taken = Cost(moved=sp.Integer(2 * itemsize * plan.untrained))  # by running tensors
    update = Row("total", "update", 1, (update_cost(plan.rule, plan.trained_count, itemsize) + taken).expanded())
    step = sum_of([*layers, update], "step")
    totals = (*passes, update, step)
    runtime = tuple(name for name, value in plan.program.sizes if not value.is_Integer)
    functions = tuple((call_row(part, itemsize, costs), workspace_bytes(part)) for part in plan.parts)
    block = rows_a_block(plan, total(row.cost for row in (passes[1:] if plan.objective is not None else passes)))
    return Report(
        plan.program.name,
        plan.dtype,
        layers,
        totals,
        workspace_bytes(plan),
        runtime,
        functions,
        plan.parameter_count,
        block,
    )


def passes_of(plan: ModulePlan, layers: Sequence[Row], itemsize: int, costs: Mapping[Kernel, Cost]) -> tuple[Row, Row]:
    """The forward pass, of which tangents that a spec asks for are part, and the backward pass.

    Where a step computes values and adjoints together, the second row is both, and the first is what `loss` computes.
    """
    if plan.objective is not None:
        own = [*draw_rows(plan, itemsize), *layer_rows(plan.objective, costs)]
        return sum_of(own, "forward"), sum_of(layers, TOGETHER)
    return (
        sum_of([row for row in layers if row.part != "backward"], "forward"),
        sum_of([row for row in layers if row.part == "backward"], "backward"),
    )


def call_row(plan: DerivativePlan, itemsize: int, costs: Mapping[Kernel, Cost]) -> Row:
    """A call of a function of derivatives."""
    rows = [*draw_rows(plan, itemsize), *layer_rows(plan.schedule, costs)]
    return replace(sum_of(rows, "call"), name=plan.function)


def draw_rows(plan: Plan, itemsize: int) -> tuple[Row, ...]:
    """A row a random tensor: a call for each element."""
    counts = {t.name: element_count(t) for t in plan.drawn(plan.schedule)}
    return tuple(Row(name, "forward", 1, Cost(calls=n, moved=n * itemsize)) for name, n in counts.items())


def layer_rows(schedule: Schedule, costs: Mapping[Kernel, Cost]) -> tuple[Row, ...]:
    """A row a layer and direction, in order of execution."""
    groups: dict[tuple[str, Direction], list[Kernel]] = {}
    for kernel in schedule.kernels:
        groups.setdefault((kernel.layer, kernel.direction), []).append(kernel)
    return tuple(
        Row(layer, direction, len(kernels), total(costs[k] for k in kernels))
        for (layer, direction), kernels in groups.items()
    )


def sum_of(rows: Sequence[Row], part: str) -> Row:
    return Row("total", part, sum(row.kernels for row in rows), total(row.cost for row in rows).expanded())


def workspace_bytes(plan: Plan) -> sp.Expr:
    """The memory of a function's buffers; that of a step has the rows of a batch that `train_epoch` gathers too."""
    return sp.expand(plan.storage.reals * REAL_BYTES[plan.dtype] + plan.storage.integers * INTEGER_BYTES)


def in_sizes(e: sp.Expr, values: Mapping[str, int]) -> sp.Expr:
    """An expression with numbers for these run-time sizes."""
    found = sp.expand(e)
    return found.xreplace({s: sp.Integer(values[s.name]) for s in found.free_symbols if s.name in values})


def with_sizes(report: Report, values: Mapping[str, int]) -> Report:
    """The report with numbers for these run-time sizes; names of other sizes have no effect."""

    def at(e: sp.Expr) -> sp.Expr:
        return in_sizes(e, values)

    def valued(row: Row) -> Row:
        return replace(row, cost=row.cost.mapped(at))

    return replace(
        report,
        layers=tuple(map(valued, report.layers)),
        totals=tuple(map(valued, report.totals)),
        workspace=at(report.workspace),
        functions=tuple((valued(row), at(bytes_)) for row, bytes_ in report.functions),
    )
