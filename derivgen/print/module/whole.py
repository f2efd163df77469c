"""The compiled functions of the whole model: the forward pass, a step, the loops over batches and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from derivgen.code.extents import UNROLLED
from derivgen.form.program import Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import count, field
from derivgen.plan.ranges import in_step
from derivgen.print.kernels import ALPHA_BETA, ASSIGN, KernelText
from derivgen.print.layout import bracketed, indented
from derivgen.print.module.calls import KernelCalls
from derivgen.print.module.modes import ModeText
from derivgen.print.module.places import view_lines
from derivgen.print.module.rule import RuleText, range_call
from derivgen.print.text import compiled
from derivgen.schedule.schedule import Kernel

OUT_OF_RANGE = "return True, real(0)"


class WholeModel(KernelCalls):
    """Writes them."""

    plan: ModulePlan

    def __init__(self, plan: ModulePlan, kernels: Mapping[Kernel, KernelText], rule: RuleText) -> None:
        super().__init__(plan, kernels)
        self.rule, self.modes = rule, ModeText(plan)
        self.state = ["steps", *plan.slots]
        self.in_place = plan.training.in_place

    def inputs_of(self, word: str) -> Sequence[Tensor]:
        return self.plan.prediction_inputs if word == "prediction" else self.plan.inputs

    def functions(self, observation: Sequence[str]) -> list[str]:
        """All of them, those that observe a step between the kernels and the prediction."""
        functions = [self.split(), self.buffers(), *self.modes.functions(), self.objective(), self.step()]
        functions += [self.evaluation()] if self.plan.evaluation is not None else []
        functions += self.rule.functions
        if self.plan.sample_axis:
            functions += [self.gather(), self.epoch(), self.gradient_by_batches()]
        functions += [self.descent(), self.loss_kernel(), self.gradient_kernel()]
        functions += observation
        if self.plan.prediction is not None:
            functions.append(self.prediction())
        return functions

    def split(self) -> str:
        parts = []
        for t in self.plan.single_parameters:
            start = self.plan.offsets[t.name]
            parts += view_lines(field(t.name), "flat", str(start), [str(extent) for extent in t.shape], depth=2)
        if len(parts) < len(self.program.vector):
            parts.append(f"{self.plan.flat}=flat,")
        doc = '"""The parts of a flat vector, shape (P,), as views."""'
        return compiled("split(flat)", doc, ["return Tensors(", *indented(parts), ")"], "internal")

    def objective(self) -> str:
        doc = '"""The forward pass; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("forward(theta, data, work)", doc, [*self.calls("forward"), f"return {result}"], "pasted")

    def evaluation(self) -> str:
        doc = '"""The forward pass of `loss`, outside training; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("evaluate(theta, data, work)", doc, [*self.calls("evaluation"), f"return {result}"], "pasted")

    def step(self) -> str:
        calls = self.calls("backward")
        written = {name for k in self.plan.training.kernels for name in k.written}
        unused = [f"{self.places.one(bar)}[:] = real(0)" for _, bar in self.program.gradients if bar not in written]
        lines = ["objective = forward(theta, data, work)", *calls, *unused, "return objective"]
        doc = '"""The forward and the backward pass; fills the parts of the gradient, and returns the objective."""'
        if self.in_place:
            doc = '"""The forward and the backward pass; products of matrices go to `into`, other gradients to bar."""'
        return compiled(self.step_call("bar", "into", ALPHA_BETA, "data"), doc, lines, "pasted")

    def step_call(self, bar: str, into: str, factors: str, data: str) -> str:
        """The call of a step; where products go, and by which factors, is said where that is not always the same."""
        direct = [into, factors] if self.in_place else []
        return f"step({', '.join(['theta', bar, *direct, data, 'work'])})"

    def update_lines(self, target: str, data: str) -> list[str]:
        """Lines of a step and of the update after it, or in part in it."""
        call = f"{target} = {self.step_call('bar', 'theta', ALPHA_BETA, data)}"
        rates = [name for name, _ in self.plan.rule.hyperparameters]
        passed = ["parameters", "gradient", "state"]
        draws, taking = self.modes.drawing("state.step[0]"), self.modes.taking()
        if not self.in_place:
            return [*draws, call, *bracketed("update_kernel(", [*passed, *rates], ")", depth=2), *taking]
        lines = [*draws, "state.step[0] += 1", *self.rule.factors, call]
        for starts, length in in_step(self.ranges_of_bars()):
            lines += range_call(starts, length, rates, depth=2)
        return [*lines, *taking]

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
        calls = self.calls("prediction")
        result = self.places.one(name)
        result = f"{result}.copy()" if schedule.program.tensor(name).shape else f"{result}[0]"
        given = (*self.plan.prediction_inputs, *self.plan.constants)
        work = self.buffers_for(self.plan.prediction_inputs)
        tuples = self.tuples_for(self.plan.passes["prediction"], self.plan.prediction_inputs)
        body = [
            *(["theta = split(borrowed(parameters))"] if "theta" in tuples else []),
            *(self.tuple_of("data", "PredictionData", given) if "data" in tuples else []),
            *self.memory(),
            *work,
            *self.modes.uniform_lines(schedule, "0"),
            *calls,
            f"return {result}",
        ]
        doc = '"""The forward pass as far as the prediction needs it; returns the prediction."""'
        arguments = ["parameters", *self.arguments(given), *self.plan.memories, *self.modes.prediction_arguments()]
        return compiled(bracketed("def prediction_kernel(", arguments, "):"), doc, body)

    def loss_kernel(self) -> str:
        forward = [*self.modes.drawing("0"), "return forward(theta, data, work)"]
        if (evaluation := self.plan.evaluation) is not None:
            draws = self.modes.uniform_lines(evaluation, "0")
            forward = ["if training:", *indented(forward), *draws, "return evaluate(theta, data, work)"]
        lines = ["theta = split(borrowed(parameters))", *self.whole_data(), *forward]
        arguments = ["parameters", *self.arguments(self.plan.given), *self.plan.memories, *self.modes.loss_arguments()]
        return compiled(
            bracketed("def loss_kernel(", arguments, "):"), '"""The objective, for callers in Python."""', lines
        )

    def gradient_kernel(self) -> str:
        split = ["theta = split(borrowed(parameters))", "bar = split(borrowed(gradient))"]
        around = [*self.modes.without_gradient(), *self.whole_data(), *self.modes.drawing("0")]
        lines = [*split, *around, f"return {self.step_call('bar', 'bar', ASSIGN, 'data')}"]
        arguments = ["parameters", "gradient", *self.arguments(self.plan.given), *self.plan.memories]
        arguments += self.modes.step_arguments()
        return compiled(
            bracketed("def gradient_kernel(", arguments, "):"), '"""A step, for callers in Python."""', lines
        )

    def whole_data(self) -> list[str]:
        """Lines that ready data and memory for a step on all the data."""
        data = self.tuple_of("data", "Data", self.plan.given)
        return [*data, *self.memory(), *self.buffers_for(self.plan.inputs)]

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
        """As a kernel's loop has it, see UNROLLED."""
        extent = t.shape[axis]
        known = extent.is_Integer and extent <= UNROLLED
        return str(extent) if known else f"work.{field(t.name)}.shape[{axis}]"

    def epoch(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        shorter = ["if order.shape[0] - start < rows:", "    if drop_last:", "        break"]
        shorter.append("    rows = order.shape[0] - start")
        body = [
            *self.tuple_of("data", "Data", self.plan.given),
            *self.range_checks(),
            *self.descent_start(),
            *self.batches(shorter, [*self.update_lines("objective", "batch"), *self.mean_lines()]),
            "return False, mean",
        ]
        doc = '"""(whether a row number or a label is out of range, else the mean loss by rows)"""'
        arguments = ["parameters", "gradient", *self.state, "order", "batch_size", "drop_last"]
        arguments += [*self.arguments(self.plan.given), *self.plan.memories, *self.modes.step_arguments(), *hyper]
        return compiled(bracketed("def epoch(", arguments, "):"), doc, body)

    def batches(self, shorter: list[str], lines: list[str]) -> list[str]:
        """The loop over batches, with the lines for each; `shorter` are those that count a last, smaller one."""
        fields = [
            f"{field(t.name)}={'work' if t in self.plan.gathered else 'data'}.{field(t.name)}," for t in self.plan.given
        ]
        loop = [
            *shorter,
            *self.buffers_for(self.plan.inputs, {str(self.plan.sample_axis): "rows"}),
            "gather(data, order, start, work)",
            "batch = Data(",
            *indented(fields),
            ")",
            *lines,
        ]
        head = ["rows = batch_size", "mean = real(0)", "seen = 0"]
        return [*head, "for start in range(0, order.shape[0], batch_size):", *indented(loop)]

    @staticmethod
    def mean_lines() -> list[str]:
        return ["seen += rows", "mean += (objective - mean) * (real(rows) / real(seen))"]

    def gradient_by_batches(self) -> str:
        """The mean gradient of several batches, for callers in Python."""
        call = f"objective = {self.step_call('bar', 'bar', ASSIGN, 'batch')}"
        adding = [
            f"for i in range({self.plan.trained_count if self.plan.untrained else 'total.shape[0]'}):",
            "    total[i] += (gradient[i] - total[i]) * (real(rows) / real(seen))",
        ]
        draws = self.modes.drawing("first_step + start // batch_size")
        body = [
            *self.tuple_of("data", "Data", self.plan.given),
            *self.range_checks(),
            "parameters = borrowed(parameters)",
            "gradient = borrowed(gradient)",
            *self.memory(),
            "theta = split(parameters)",
            "bar = split(gradient)",
            *self.batches(
                ["rows = min(rows, order.shape[0] - start)"],
                [*draws, call, *self.modes.taking(), *self.mean_lines(), *adding],
            ),
            "return False, mean",
        ]
        doc = '"""(whether a row number or a label is out of range, the mean loss); total becomes the mean gradient"""'
        arguments = ["parameters", "gradient", "total", "order", "batch_size", *self.arguments(self.plan.given)]
        arguments += [*self.plan.memories, *self.modes.batch_arguments()]
        return compiled(bracketed("def gradient_by_batches(", arguments, "):"), doc, body)

    def range_checks(self) -> list[str]:
        """Lines that end the epoch where a row number, or a label that it will read, is out of range."""
        gathered = [t for t in self.plan.gathered if t.integer]
        rows = f"data.{field(self.plan.gathered[0].name)}.shape[0]"
        checks = [f"if order[i] < 0 or order[i] >= {rows}:", f"    {OUT_OF_RANGE}"]
        for t in gathered:
            checks += label_check(t, f"data.{field(t.name)}", "order[i]", OUT_OF_RANGE)
        whole = [t for t in self.plan.labels if t not in gathered]
        lines = [line for t in whole for line in label_check(t, f"data.{field(t.name)}", None, OUT_OF_RANGE)]
        return [*lines, "for i in range(order.shape[0]):", *indented(checks)]

    def descent_start(self) -> list[str]:
        """Lines that ready what an update changes."""
        return [
            "parameters = borrowed(parameters)",
            "gradient = borrowed(gradient)",
            f"state = State({', '.join(f'borrowed({name})' for name in self.state)})",
            *self.memory(),
            "theta = split(parameters)",
            "bar = split(gradient)",
            *([f"{ALPHA_BETA} = memory.reals[-2:]"] if self.in_place else []),
        ]

    def descent(self) -> str:
        hyper = [name for name, _ in self.plan.rule.hyperparameters]
        body = [
            *self.tuple_of("data", "Data", self.plan.given),
            *self.descent_start(),
            *self.buffers_for(self.plan.inputs),
            "for i in range(losses.shape[0]):",
            *indented(self.update_lines("losses[i]", "data")),
        ]
        arguments = ["parameters", "gradient", *self.state, "losses", *self.arguments(self.plan.given)]
        arguments += [*self.plan.memories, *self.modes.step_arguments(), *hyper]
        doc = '"""As many steps as there are losses, on all the data."""'
        return compiled(bracketed("def descent(", arguments, "):"), doc, body)


def label_check(t: Tensor, name: str, row: str | None, refusal: str) -> list[str]:
    """Lines that return where a label in the array of this name is neither a class nor the ignored value."""
    rank = len(t.shape)
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
