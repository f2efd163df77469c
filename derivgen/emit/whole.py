"""The compiled functions of the whole model: the forward pass, a step, the loops over batches and steps."""

from __future__ import annotations

import sympy as sp

from derivgen.emit.kernels import KernelText
from derivgen.emit.layout import bracketed, indented, tuple_text
from derivgen.emit.plan import Plan, count, field
from derivgen.emit.rule import RuleText
from derivgen.expressions import size_symbol
from derivgen.program import Program, Role, Tensor
from derivgen.schedule import Kernel

OUT_OF_RANGE = "return True, real(0)"


class WholeModel:
    """Writes the functions that call the kernels."""

    def __init__(self, plan: Plan, kernels: dict[Kernel, KernelText], rule: RuleText) -> None:
        self.plan, self.program, self.kernels, self.rule = plan, plan.program, kernels, rule

    def functions(self) -> list[str]:
        functions = [self.split(), self.objective(), self.step(), "\n".join(self.rule.lines)]
        if self.plan.sample_axis:
            rows = self.first_rows()
            functions += [*([RESIZED] if "resized(" in rows else []), rows, self.gather(), self.epoch()]
        functions += [self.descent(), LOSS_KERNEL, GRADIENT_KERNEL]
        if self.plan.prediction is not None:
            functions.append(self.prediction())
        return functions

    def split(self) -> str:
        parts, offset = [], 0
        for t in self.program.parameters:
            stop = offset + count(t)
            reshape = f".reshape({', '.join(map(str, t.shape))})" if len(t.shape) > 1 else ""
            parts.append(f"{field(t.name)}=flat[{offset}:{stop}]{reshape},")
            offset = stop
        doc = '"""The parts of a flat vector, shape (P,), as views."""'
        return compiled("split(flat)", doc, ["return Tensors(", *indented(parts), ")"], "internal")

    def objective(self) -> str:
        calls = [
            line
            for k in self.plan.training.kernels
            if k.direction == "forward"
            for line in self.kernel_call(k, self.program)
        ]
        theta = ["theta = split(parameters)"] if any("theta." in line for line in calls) else []
        doc = '"""The forward pass; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("forward(parameters, data, work)", doc, [*theta, *calls, f"return {result}"], "internal")

    def scalar_result(self, name: str) -> str:
        """The one element of a rank-0 tensor."""
        role = self.program.tensor(name).role
        owner = "data" if role in (Role.INPUT, Role.CONSTANT) else "work"
        return f"{owner}.{field(name)}[0]"

    def step(self) -> str:
        backward = [k for k in self.plan.training.kernels if k.direction == "backward"]
        calls = [line for k in backward for line in self.kernel_call(k, self.program)]
        written = {name for k in self.plan.training.kernels for name in k.written}
        unused = [f"bar.{field(p)}[:] = real(0)" for p, bar in self.program.gradients if bar not in written]
        lines = [*(["theta = split(parameters)"] if any("theta." in c for c in calls) else [])]
        lines += ["bar = split(gradient)", "objective = forward(parameters, data, work)", *calls, *unused]
        doc = '"""The forward and the backward pass; fills gradient, shape (P,), and returns the objective."""'
        return compiled("step(parameters, gradient, data, work)", doc, [*lines, "return objective"], "internal")

    def prediction(self) -> str:
        assert self.plan.prediction is not None
        schedule = self.plan.prediction
        calls = [line for k in schedule.kernels for line in self.kernel_call(k, schedule.program)]
        theta = ["theta = split(parameters)"] if any("theta." in line for line in calls) else []
        doc = '"""The forward pass as far as the prediction needs it."""'
        return compiled("prediction_kernel(parameters, data, work)", doc, [*theta, *calls])

    def first_rows(self) -> str:
        """Views of the workspace for a batch that is smaller than the others."""
        axis = size_symbol(str(self.plan.sample_axis))
        parts = []
        for t in (*self.plan.gathered, *self.plan.buffers):
            name = f"work.{field(t.name)}"
            if t.shape and t.shape[0] == axis and not any(axis in e.free_symbols for e in t.shape[1:]):
                parts.append(f"{name}[:rows],")
            elif any(axis in e.free_symbols for e in t.shape):
                extents = [self.extent_text(name, i, e, axis) for i, e in enumerate(t.shape)]
                parts += bracketed("resized(", [name, tuple_text(extents)], "),", depth=2)
            else:
                parts.append(f"{name},")
        doc = '"""The workspace of a step over fewer rows."""'
        return compiled("first_rows(work, rows)", doc, ["return Workspace(", *indented(parts), ")"], "internal")

    def extent_text(self, name: str, axis: int, extent: sp.Expr, sample: sp.Symbol) -> str:
        if sample not in extent.free_symbols:
            return str(extent) if extent.is_Integer else f"{name}.shape[{axis}]"
        return str(extent.subs(sample, sp.Symbol("rows")))

    def gather(self) -> str:
        lines = []
        for t in self.plan.gathered:
            name, rank = field(t.name), len(t.shape)
            inner = ["i", "j", "k"][: rank - 1] if rank <= 4 else [f"i{axis}" for axis in range(1, rank)]
            loops = [f"for {index} in range({self.row_extent(t, axis)}):" for axis, index in enumerate(inner, start=1)]
            rest = "".join(f", {index}" for index in inner)
            copy = f"work.{name}[n{rest}] = data.{name}[row{rest}]"
            lines += [*(("    " * depth) + loop for depth, loop in enumerate(loops)), "    " * len(loops) + copy]
        doc = '"""The rows order[start], order[start + 1], … of the inputs, into the workspace."""'
        body = ["for n in range(rows):", *indented(["row = order[start + n]", *lines])]
        return compiled("gather(data, order, start, rows, work)", doc, body, "internal")

    def row_extent(self, t: Tensor, axis: int) -> str:
        extent = t.shape[axis]
        return str(extent) if extent.is_Integer else f"data.{field(t.name)}.shape[{axis}]"

    def epoch(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        rate = "".join(f", {name}" for name in hyper)
        first = self.plan.gathered[0]
        checks = [f"if order[i] < 0 or order[i] >= data.{field(first.name)}.shape[0]:", f"    {OUT_OF_RANGE}"]
        gathered = [t for t in self.plan.gathered if t.integer]
        for t in gathered:
            checks += label_check(t, "order[i]", OUT_OF_RANGE)
        whole = [t for t in self.plan.labels if t not in gathered]
        fields = [
            f"{field(t.name)}={'part' if t in self.plan.gathered else 'data'}.{field(t.name)},"
            for t in (*self.plan.inputs, *self.plan.constants)
        ]
        body = [
            *(line for t in whole for line in label_check(t, None, OUT_OF_RANGE)),
            "for i in range(order.shape[0]):",
            *indented(checks),
            "mean = real(0)",
            "seen = 0",
            "part = work",
            "for start in range(0, order.shape[0], batch_size):",
            *indented(
                [
                    "rows = min(batch_size, order.shape[0] - start)",
                    "if rows < batch_size:",
                    "    if drop_last:",
                    "        break",
                    "    part = first_rows(work, rows)",
                    "gather(data, order, start, rows, part)",
                    "batch = Data(",
                    *indented(fields),
                    ")",
                    "objective = step(parameters, gradient, batch, part)",
                    f"update_kernel(parameters, gradient, state{rate})",
                    "seen += rows",
                    "mean += (objective - mean) * (real(rows) / real(seen))",
                ]
            ),
            "return False, mean",
        ]
        doc = '"""(whether a row number or a label is out of range, else the mean loss by rows)"""'
        arguments = ["parameters", "gradient", "state", "order", "batch_size", "drop_last", "data", "work", *hyper]
        return compiled(bracketed("def epoch(", arguments, "):"), doc, body)

    def descent(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        rate = "".join(f", {name}" for name in hyper)
        body = [
            "for i in range(losses.shape[0]):",
            "    losses[i] = step(parameters, gradient, data, work)",
            f"    update_kernel(parameters, gradient, state{rate})",
        ]
        arguments = ["parameters", "gradient", "state", "losses", "data", "work", *hyper]
        doc = '"""As many steps as there are losses, on all the data."""'
        return compiled(bracketed("def descent(", arguments, "):"), doc, body)

    def kernel_call(self, kernel: Kernel, program: Program) -> list[str]:
        """The call of a kernel from a function that has theta, bar, data and work at hand."""
        text = self.kernels[kernel]
        bars = {bar: f"bar.{field(p)}" for p, bar in program.gradients}
        roles = {**program.table, **self.program.table}
        arguments = []
        for name in text.arguments:
            role = roles[name].role
            if role is Role.PARAMETER:
                arguments.append(f"theta.{field(name)}")
            elif role in (Role.INPUT, Role.LABELS, Role.CONSTANT):
                arguments.append(f"data.{field(name)}")
            else:
                arguments.append(bars.get(name, f"work.{field(name)}"))
        arguments += [self.size_of(size) for size in text.sizes]
        return bracketed(f"{text.name}(", arguments, ")", depth=1)

    def size_of(self, size: str) -> str:
        """A run-time size, read off an input."""
        t = next(t for t in self.plan.inputs if size_symbol(size) in t.shape)
        return f"data.{field(t.name)}.shape[{t.shape.index(size_symbol(size))}]"


def compiled(signature: str | list[str], doc: str, body: list[str], decorator: str = "kernel") -> str:
    """The text of a compiled function of the whole model; an `internal` one is called from compiled code only."""
    head = [f"def {signature}:"] if isinstance(signature, str) else signature
    return "\n".join([f"@{decorator}", *head, *indented([doc, *body])])


def label_check(t: Tensor, row: str | None, refusal: str) -> list[str]:
    """Lines that return where a label is neither a class nor the ignored value."""
    name, rank = f"data.{field(t.name)}", len(t.shape)
    indices = [row] if row else []
    lines, depth = [], 0
    for axis in range(len(indices), rank):
        lines.append("    " * depth + f"for i{axis} in range({name}.shape[{axis}]):")
        indices.append(f"i{axis}")
        depth += 1
    label = f"{name}[{', '.join(map(str, indices)) or '0'}]"
    ignored = "" if t.ignore is None else f" and {label} != {t.ignore}"
    condition = (
        f"({label} < 0 or {label} >= {t.classes}){ignored}" if ignored else f"{label} < 0 or {label} >= {t.classes}"
    )
    return [*lines, "    " * depth + f"if {condition}:", "    " * (depth + 1) + refusal]


LOSS_KERNEL = compiled(
    "loss_kernel(parameters, data, work)",
    '"""The objective, for callers in Python."""',
    ["return forward(parameters, data, work)"],
)
GRADIENT_KERNEL = compiled(
    "gradient_kernel(parameters, gradient, data, work)",
    '"""A step, for callers in Python."""',
    ["return step(parameters, gradient, data, work)"],
)

RESIZED = compiled(
    "resized(buffer, shape)",
    '"""The start of a buffer, as an array of a smaller shape."""',
    ["size = 1", "for extent in shape:", "    size *= extent", "return buffer.reshape(-1)[:size].reshape(shape)"],
    "internal",
)
