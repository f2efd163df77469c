"""The function behind a module's `activations`: a forward pass with a look at what each layer gives."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.code.routine import Routine, array
from derivgen.code.tree import Block, Call, Item, Number
from derivgen.form.expressions import size_symbol
from derivgen.form.program import Tensor
from derivgen.schedule.schedule import Kernel
from derivgen.whole.calls import DATA
from derivgen.whole.library import OBSERVE
from derivgen.whole.places import run_index
from derivgen.whole.steps import Steps


def observation(steps: Steps) -> Routine:
    """The forward pass with a look at what each layer gives."""
    plan, calls = steps.plan, steps.calls
    kernels = plan.passes["forward"]
    last = max(k for k, kernel in enumerate(kernels) if plan.observed(kernel))
    kernels = kernels[: last + 1]
    needed = calls.bundles(kernels, plan.inputs)
    body = (
        *((steps.theta(),) if "theta" in needed else ()),
        *((calls.data(DATA, plan.given),) if "data" in needed else ()),
        calls.memory(),
        calls.work(plan.inputs),
        *steps.modes.drawing(sp.S.Zero),
        *calls.of_kernels(kernels, "forward", lambda same: look(steps, same)),
    )
    arguments = steps.outside({"observed": array("observed", len(plan.layers), 2)})
    arguments |= steps.modes.arguments(steps.modes.step_arguments())
    words = ("The forward pass of a step; observed[k] is what `observe` says of layer k.",)
    return Routine("observation", arguments, body, words)


def look(steps: Steps, kernels: Sequence[Kernel]) -> Block:
    """The look at a layer's values, after its kernel; none for a layer of a single number."""
    plan = steps.plan
    seen = [plan.observed(k) for k in kernels]
    if None in seen:
        return ()
    rows = rows_of(steps, steps.program.tensor(str(seen[0])))
    layers = [layer for layer, _ in plan.layers]
    numbers = [layers.index(k.layer) for k in kernels]
    number = numbers[0] + (numbers[1] - numbers[0]) * run_index() if len(numbers) > 1 else sp.Integer(numbers[0])
    values = steps.calls.places.each([str(name) for name in seen])
    return (Call(OBSERVE, (values, Number(rows), Item("observed", number))),)


def rows_of(steps: Steps, t: Tensor) -> sp.Expr:
    """How many rows of units a tensor has: of samples, and of the axes before them, as time; 1 without samples."""
    plan = steps.plan
    axis = size_symbol(plan.sample_axis) if plan.sample_axis else None
    if axis not in t.shape:
        return sp.S.One
    before = t.shape[: t.shape.index(axis) + 1]
    if not all(e.is_Integer or e.is_Symbol for e in before):
        return sp.S.One
    return sp.Mul(*(e if e.is_Integer else steps.calls.size_of(str(e), plan.inputs) for e in before))
