"""The compiled functions behind a module's `activations`: a forward pass with a look at what each layer gives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from derivgen.form.expressions import size_symbol
from derivgen.form.program import Tensor
from derivgen.print.layout import bracketed
from derivgen.print.module.places import progression
from derivgen.print.module.whole import WholeModel
from derivgen.print.text import compiled
from derivgen.schedule.schedule import Kernel

OBSERVE = '''\
@internal
def observe(values, rows, observed):
    """(root mean square of the values, share of units that are 0 in every row)"""
    flat = values.reshape(rows, values.size // rows)
    squares = 0.0
    dead = 0
    for unit in range(flat.shape[1]):
        alive = False
        for row in range(rows):
            squares += float(flat[row, unit]) * float(flat[row, unit])
            alive |= flat[row, unit] != real(0)
        dead += not alive
    observed[0] = math.sqrt(squares / flat.size)
    observed[1] = dead / flat.shape[1]'''


def observation(whole: WholeModel) -> list[str]:
    """The functions of a model that has a layer to look at."""
    return [OBSERVE, forward_pass(whole)]


def forward_pass(whole: WholeModel) -> str:
    """The forward pass with a look at what each layer gives."""
    plan = whole.plan
    kernels = plan.passes["forward"]
    last = max(k for k, kernel in enumerate(kernels) if plan.observed(kernel))
    calls = whole.calls_of(kernels[: last + 1], "forward", partial(look, whole))
    work = whole.buffers_for(plan.inputs)
    tuples = whole.tuples_for(kernels[: last + 1], plan.inputs)
    lines = [
        *(["theta = split(borrowed(parameters))"] if "theta" in tuples else []),
        *(whole.tuple_of("data", "Data", plan.given) if "data" in tuples else []),
        *whole.memory(),
        *work,
        *whole.modes.drawing("0"),
        *calls,
    ]
    doc = '"""The forward pass of a step; observed[k] is what `observe` says of layer k."""'
    arguments = ["parameters", "observed", *whole.arguments(plan.given), *plan.memories]
    arguments += whole.modes.step_arguments()
    return compiled(bracketed("def observation(", arguments, "):"), doc, lines)


def look(whole: WholeModel, kernels: Sequence[Kernel], depth: int) -> list[str]:
    """The line that looks at a layer's values, after its kernel; none for a layer of a single number."""
    plan = whole.plan
    seen = [plan.observed(k) for k in kernels]
    if None in seen:
        return []
    rows = rows_of(whole, whole.program.tensor(str(seen[0])))
    layers = [layer for layer, _ in plan.layers]
    numbers = [layers.index(k.layer) for k in kernels]
    number = progression(numbers[0], numbers[1] - numbers[0] if len(numbers) > 1 else 0)
    values = whole.places.each([str(name) for name in seen])
    return bracketed("observe(", [values, rows, f"observed[{number}]"], ")", depth)


def rows_of(whole: WholeModel, t: Tensor) -> str:
    """How many rows of units a tensor has: of samples, and of the axes before them, as time; 1 without samples."""
    plan = whole.plan
    axis = size_symbol(plan.sample_axis) if plan.sample_axis else None
    if axis not in t.shape:
        return "1"
    before = t.shape[: t.shape.index(axis) + 1]
    if not all(e.is_Integer or e.is_Symbol for e in before):
        return "1"
    texts = [str(e) if e.is_Integer else whole.size_of(str(e), plan.inputs) for e in before if e != 1]
    return " * ".join(texts)
