"""The compiled functions of the whole model: the forward pass, a step, the loops over batches and steps."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.emit.kernels import KernelText
from derivgen.emit.layout import bracketed, indented, tuple_text
from derivgen.emit.plan import Plan, count, field
from derivgen.emit.products import ASSIGN, FACTORS
from derivgen.emit.rule import RuleText
from derivgen.emit.scalar import ScalarText
from derivgen.expressions import size_symbol
from derivgen.program import Program, Role, Tensor
from derivgen.schedule import Kernel

SIZE_GLOBALS = ("memory", "Memory", "Workspace", "buffers", "new_memory", "part")  # where sizes are arguments
OUT_OF_RANGE = "return True, real(0)"


class WholeModel:
    """Writes the functions that call the kernels."""

    def __init__(self, plan: Plan, kernels: dict[Kernel, KernelText], rule: RuleText) -> None:
        self.plan, self.program, self.kernels, self.rule = plan, plan.program, kernels, rule
        self.in_place = plan.training.in_place
        self.text = ScalarText({name: k for k, (name, _) in enumerate(plan.program.sizes)}, str, local_size)

    def functions(self) -> list[str]:
        functions = [self.split(), PART, self.buffers(), self.objective(), self.step(), *self.rule.functions]
        if self.plan.sample_axis:
            functions += [self.gather(), self.epoch()]
        functions += [self.descent(), self.loss_kernel(), self.gradient_kernel()]
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
        doc = '"""The forward pass; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("forward(theta, data, work)", doc, [*calls, f"return {result}"], "internal")

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
        lines = ["objective = forward(theta, data, work)", *calls, *unused, "return objective"]
        doc = '"""The forward and the backward pass; fills the parts of the gradient, and returns the objective."""'
        if self.in_place:
            doc = '"""The forward and the backward pass; products of matrices go to `into`, other gradients to bar."""'
        return compiled(self.step_call("bar", "into", FACTORS, "data"), doc, lines, "internal")

    def step_call(self, bar: str, into: str, factors: str, data: str) -> str:
        """A step; where its products of matrices go, and by which factors, is said where that is not always the same."""
        direct = [into, factors] if self.in_place else []
        return f"step({', '.join(['theta', bar, *direct, data, 'work'])})"

    def update_lines(self, target: str, data: str) -> list[str]:
        """Lines of a step and of the update after it, or in part in it."""
        call = f"{target} = {self.step_call('bar', 'theta', FACTORS, data)}"
        rates = [name for name, _ in self.plan.rule.hyperparameters]
        passed = ["parameters", "gradient", "state"]
        if not self.in_place:
            return [call, *bracketed("update_kernel(", [*passed, *rates], ")", depth=2)]
        lines = ["state.step[0] += 1", *self.rule.factors, call]
        for start, stop in self.ranges_of_bars():
            lines += bracketed("update_range(", [*passed, str(start), str(stop), *rates], ")", depth=2)
        return lines

    def ranges_of_bars(self) -> list[tuple[int, int]]:
        """The stretches of the flat vector that a step does not update itself."""
        ranges: list[tuple[int, int]] = []
        offset = 0
        bars = dict(self.program.gradients)
        for t in self.program.parameters:
            stop = offset + count(t)
            if bars[t.name] not in self.in_place:
                joined = ranges.pop()[0] if ranges and ranges[-1][1] == offset else offset
                ranges.append((joined, stop))
            offset = stop
        return ranges

    def prediction(self) -> str:
        assert self.plan.prediction is not None
        schedule, name = self.plan.prediction, str(self.plan.prediction_name)
        calls = [line for k in schedule.kernels for line in self.kernel_call(k, schedule.program)]
        uses_theta = any("theta." in line for line in calls)
        given = [f"data.{field(t.name)}" for t in self.plan.prediction_inputs]
        uses_data = any(line.startswith("data.") or " data." in line for line in calls) or bool(given)
        result = f"work.{field(name)}"
        result = f"{result}.copy()" if schedule.program.tensor(name).shape else f"{result}[0]"
        body = [
            *(["theta = split(borrowed(parameters))"] if uses_theta else []),
            *(["data = borrowed(data)"] if uses_data else []),
            *self.buffers_for(self.plan.prediction_inputs),
            *calls,
            f"return {result}",
        ]
        doc = '"""The forward pass as far as the prediction needs it; returns the prediction."""'
        return compiled("prediction_kernel(parameters, data, memory)", doc, body)

    def loss_kernel(self) -> str:
        lines = [*self.borrowings(), "return forward(theta, data, work)"]
        return compiled("loss_kernel(parameters, data, memory)", '"""The objective, for callers in Python."""', lines)

    def gradient_kernel(self) -> str:
        step = f"return {self.step_call('bar', 'bar', ASSIGN, 'data')}"
        lines = [*self.borrowings(), "bar = split(borrowed(gradient))", step]
        doc = '"""A step, for callers in Python."""'
        return compiled("gradient_kernel(parameters, gradient, data, memory)", doc, lines)

    def borrowings(self) -> list[str]:
        """Lines that ready parameters, data and memory for a step on all the data."""
        lines = ["theta = split(borrowed(parameters))", "data = borrowed(data)"]
        return [*lines, *self.buffers_for(self.plan.inputs)]

    def buffers_for(self, inputs: Sequence[Tensor], rows: str = "") -> list[str]:
        """Lines that lay out the buffers for run-time sizes as the inputs show them; `rows` are those of a batch."""
        given = {self.plan.sample_axis: rows} if rows else {}
        texts = [given.get(size) or self.size_of(size, inputs) for size in self.plan.runtime_sizes]
        return bracketed("work = buffers(", ["borrowed(memory)", *texts], ")", depth=1)

    def buffers(self) -> str:
        """The views of a workspace's memory that a step works in."""
        storage = self.plan.storage
        parts = []
        for t in (*self.plan.gathered, *self.plan.buffers):
            memory = "integers" if t.integer else "reals"
            shape = tuple_text([self.text.integer(extent) for extent in t.shape] or ["1"])
            arguments = [f"memory.{memory}", self.text.integer(storage.starts[t.name]), shape]
            parts += bracketed(f"{field(t.name)}=part(", arguments, "),", depth=2)
        doc = '"""The buffers of a step, as views of memory; those that are never needed at once share it."""'
        sizes = [local_size(size) for size in self.plan.runtime_sizes]
        signature = bracketed("def buffers(", ["memory", *sizes], "):")
        return compiled(signature, doc, ["return Workspace(", *indented(parts), ")"])

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
        rows = f"work.{field(self.plan.gathered[0].name)}.shape[0]"
        body = [f"for n in range({rows}):", *indented(["row = order[start + n]", *lines])]
        return compiled("gather(data, order, start, work)", doc, body, "internal")

    def row_extent(self, t: Tensor, axis: int) -> str:
        extent = t.shape[axis]
        return str(extent) if extent.is_Integer else f"data.{field(t.name)}.shape[{axis}]"

    def epoch(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        first = self.plan.gathered[0]
        checks = [f"if order[i] < 0 or order[i] >= data.{field(first.name)}.shape[0]:", f"    {OUT_OF_RANGE}"]
        gathered = [t for t in self.plan.gathered if t.integer]
        for t in gathered:
            checks += label_check(t, "order[i]", OUT_OF_RANGE)
        whole = [t for t in self.plan.labels if t not in gathered]
        fields = [
            f"{field(t.name)}={'work' if t in self.plan.gathered else 'data'}.{field(t.name)},"
            for t in (*self.plan.inputs, *self.plan.constants)
        ]
        body = [
            "data = borrowed(data)",
            *(line for t in whole for line in label_check(t, None, OUT_OF_RANGE)),
            "for i in range(order.shape[0]):",
            *indented(checks),
            *self.descent_start(),
            "rows = min(batch_size, order.shape[0])",
            *self.buffers_for(self.plan.inputs, "rows"),
            "mean = real(0)",
            "seen = 0",
            "for start in range(0, order.shape[0], batch_size):",
            *indented(
                [
                    "if order.shape[0] - start < rows:",
                    "    if drop_last:",
                    "        break",
                    "    rows = order.shape[0] - start",
                    *indented(self.buffers_for(self.plan.inputs, "rows")),
                    "gather(data, order, start, work)",
                    "batch = Data(",
                    *indented(fields),
                    ")",
                    *self.update_lines("objective", "batch"),
                    "seen += rows",
                    "mean += (objective - mean) * (real(rows) / real(seen))",
                ]
            ),
            "return False, mean",
        ]
        doc = '"""(whether a row number or a label is out of range, else the mean loss by rows)"""'
        arguments = ["parameters", "gradient", "state", "order", "batch_size", "drop_last", "data", "memory", *hyper]
        return compiled(bracketed("def epoch(", arguments, "):"), doc, body)

    def descent_start(self) -> list[str]:
        """Lines that ready what an update changes."""
        return [
            "parameters = borrowed(parameters)",
            "gradient = borrowed(gradient)",
            "state = borrowed(state)",
            "theta = split(parameters)",
            "bar = split(gradient)",
            *([f"{FACTORS} = borrowed(memory).reals[-2:]"] if self.in_place else []),
        ]

    def descent(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        body = [
            "data = borrowed(data)",
            *self.descent_start(),
            *self.buffers_for(self.plan.inputs),
            "for i in range(losses.shape[0]):",
            *indented(self.update_lines("losses[i]", "data")),
        ]
        arguments = ["parameters", "gradient", "state", "losses", "data", "memory", *hyper]
        doc = '"""As many steps as there are losses, on all the data."""'
        return compiled(bracketed("def descent(", arguments, "):"), doc, body)

    def kernel_call(self, kernel: Kernel, program: Program) -> list[str]:
        """The call of a kernel from a function that has theta, bar, data and work at hand."""
        text = self.kernels[kernel]
        places = {bar: "into" if bar in self.in_place else "bar" for _, bar in program.gradients}
        bars = {bar: f"{places[bar]}.{field(p)}" for p, bar in program.gradients}
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
        arguments += [FACTORS] if text.scaled else []
        arguments += [self.size_of(size, self.plan.inputs) for size in text.sizes]
        return bracketed(f"{text.name}(", arguments, ")", depth=1)

    def size_of(self, size: str, inputs: Sequence[Tensor]) -> str:
        """A run-time size, read off an input; 1 where none of them shows it, and so nothing depends on it."""
        t = next((t for t in inputs if size_symbol(size) in t.shape), None)
        return f"data.{field(t.name)}.shape[{t.shape.index(size_symbol(size))}]" if t is not None else "1"


def local_size(size: str) -> str:
    """A run-time size as an argument of functions that refer to these other names."""
    return f"{size}_" if size.rstrip("_") in SIZE_GLOBALS else size


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


PART = compiled(
    "part(flat, start, shape)",
    '"""An array of this shape from a flat one, as a view."""',
    ["size = 1", "for extent in shape:", "    size *= extent", "return flat[start : start + size].reshape(shape)"],
    "internal",
)
