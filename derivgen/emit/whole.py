"""The compiled functions of the whole model: the forward pass, a step, the loops over batches and steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from derivgen import contract
from derivgen.emit.kernels import UNROLLED, KernelText
from derivgen.emit.layout import bracketed, compiled, indented
from derivgen.emit.modes import ModeText
from derivgen.emit.observation import observation
from derivgen.emit.places import Places, stretch, view_lines
from derivgen.emit.plan import Plan, count, field
from derivgen.emit.products import ASSIGN, FACTORS
from derivgen.emit.rule import RuleText, in_step, range_call
from derivgen.emit.scalar import ScalarText
from derivgen.expressions import size_symbol
from derivgen.program import Tensor
from derivgen.repeat import Run
from derivgen.schedule import Kernel
from derivgen.storage import element_count

SIZE_GLOBALS = ("memory", "Memory", "Workspace", "buffers", "new_memory", "aligned")  # where sizes are arguments
After = Callable[[Sequence[Kernel], int], list[str]]  # (the kernels of a call, depth) → lines
OUT_OF_RANGE = "return True, real(0)"
MANY = 16  # arrays of a tuple, beyond which the function that makes it is not inlined


class WholeModel:
    """Writes the functions that call the kernels."""

    # What holds the buffers, the function that makes it, and what they are for.
    workspace, laid_out_by, work_of = "Workspace", "buffers", "a step"

    def __init__(self, plan: Plan, kernels: dict[Kernel, KernelText], rule: RuleText) -> None:
        self.plan, self.program, self.kernels, self.rule = plan, plan.program, kernels, rule
        self.beside: list[str] = []  # arguments that stand beside those of every module
        self.state = ["steps", *plan.slots]
        self.in_place, self.places, self.modes = plan.training.in_place, Places(plan), ModeText(plan)
        self.text = ScalarText({name: k for k, (name, _) in enumerate(plan.program.sizes)}, str, local_size)

    def functions(self) -> list[str]:
        functions = [self.split(), self.buffers(), *self.modes.functions(), self.objective(), self.step()]
        functions += [self.evaluation()] if self.plan.evaluation is not None else []
        functions += self.rule.functions
        if self.plan.sample_axis:
            functions += [self.gather(), self.epoch(), self.gradient_by_batches()]
        functions += [self.descent(), self.loss_kernel(), self.gradient_kernel()]
        functions += observation(self) if self.plan.is_observed else []
        if self.plan.prediction is not None:
            functions.append(self.prediction())
        return functions

    def split(self) -> str:
        parts = []
        for t in self.plan.single_parameters:
            start = self.plan.offsets[t.name]
            part, shape = stretch("flat", str(start), str(start + count(t)), [str(extent) for extent in t.shape])
            parts += view_lines(field(t.name), part, shape, depth=2)
        if len(parts) < len(self.program.vector):
            parts.append("flat=flat,")
        doc = '"""The parts of a flat vector, shape (P,), as views."""'
        return compiled("split(flat)", doc, ["return Tensors(", *indented(parts), ")"], called("internal", len(parts)))

    def objective(self) -> str:
        doc = '"""The forward pass; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("forward(theta, data, work)", doc, [*self.calls("forward"), f"return {result}"], "pasted")

    def evaluation(self) -> str:
        doc = '"""The forward pass of `loss`, outside training; returns the objective."""'
        result = self.scalar_result(str(self.program.objective))
        return compiled("evaluate(theta, data, work)", doc, [*self.calls("evaluation"), f"return {result}"], "pasted")

    def calls(self, word: str) -> list[str]:
        return self.calls_of(self.plan.passes[word], word)

    def calls_of(self, kernels: Sequence[Kernel], word: str, after: After | None = None) -> list[str]:
        """The first kernels of a pass in order, equal ones in a row as a loop; after each call, lines of one's own."""
        runs = {run.start: run for run in self.plan.repeats.runs[[*self.plan.passes].index(word)]}
        lines, position = [], 0
        while position < len(kernels):
            run = runs.get(position, Run(position, 1, 1))
            blocks = [kernels[position + k * run.period :][: run.period] for k in range(run.count)]
            depth = 1 if run.count == 1 else 2
            calls = []
            for same in zip(*blocks, strict=True):
                calls += self.kernel_call(same, self.inputs_of(word), depth)
                if after is not None:
                    calls += after(same, depth)
            if run.count > 1:
                layers = f"{blocks[0][-1].layer}, …, {blocks[-1][-1].layer}"
                calls = [f"for k in range({run.count}):  # {layers}", *indented(calls)]
            lines += calls
            position += run.count * run.period
        return lines

    def inputs_of(self, word: str) -> Sequence[Tensor]:
        """The inputs that a pass is given."""
        return self.plan.prediction_inputs if word == "prediction" else self.plan.inputs

    def scalar_result(self, name: str) -> str:
        """The one element of a rank-0 tensor."""
        return f"{self.places.one(name)}[0]"

    def step(self) -> str:
        calls = self.calls("backward")
        written = {name for k in self.plan.training.kernels for name in k.written}
        unused = [f"{self.places.one(bar)}[:] = real(0)" for _, bar in self.program.gradients if bar not in written]
        lines = ["objective = forward(theta, data, work)", *calls, *unused, "return objective"]
        doc = '"""The forward and the backward pass; fills the parts of the gradient, and returns the objective."""'
        if self.in_place:
            doc = '"""The forward and the backward pass; products of matrices go to `into`, other gradients to bar."""'
        return compiled(self.step_call("bar", "into", FACTORS, "data"), doc, lines, "pasted")

    def step_call(self, bar: str, into: str, factors: str, data: str) -> str:
        """A step; where its products of matrices go, and by which factors, is said where that is not always the same."""
        direct = [into, factors] if self.in_place else []
        return f"step({', '.join(['theta', bar, *direct, data, 'work'])})"

    def update_lines(self, target: str, data: str) -> list[str]:
        """Lines of a step and of the update after it, or in part in it."""
        call = f"{target} = {self.step_call('bar', 'theta', FACTORS, data)}"
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
        read = "\n".join([*work, *calls])
        body = [
            *(["theta = split(borrowed(parameters))"] if "theta." in read else []),
            *(self.tuple_of("data", "PredictionData", given) if "data." in read else []),
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

    # ---- what callers in Python pass: arrays one by one, since numba takes a NamedTuple for microseconds to look at

    def arguments(self, tensors: Sequence[Tensor]) -> list[str]:
        """Names for arrays as arguments, past all that the functions refer to."""
        rule = self.plan.rule
        taken = {
            *contract.LOCALS,
            *contract.ARGUMENTS,
            *contract.PUBLIC,
            *contract.HELPERS,
            *contract.KERNEL_GLOBALS,
            *(text.name for text in self.kernels.values()),
            *self.modes.taken(),
            *self.beside,
        }
        taken |= {*(name for name, _ in rule.hyperparameters), *(str(slot) for slot, _ in rule.slots)}
        names = []
        for t in tensors:
            name = field(t.name)
            while name in taken:
                name += "_"
            taken.add(name)
            names.append(name)
        return names

    def tuple_of(self, target: str, kind: str, tensors: Sequence[Tensor]) -> list[str]:
        """Lines that gather arguments."""
        names = zip(tensors, self.arguments(tensors), strict=True)
        return bracketed(
            f"{target} = {kind}(", [f"{field(t.name)}=borrowed({name})" for t, name in names], ")", depth=1
        )

    def memory(self) -> list[str]:
        return [f"memory = Memory({', '.join(f'borrowed({name})' for name in self.plan.memories)})"]

    def whole_data(self) -> list[str]:
        """Lines that ready data and memory for a step on all the data."""
        data = self.tuple_of("data", "Data", self.plan.given)
        return [*data, *self.memory(), *self.buffers_for(self.plan.inputs)]

    def buffers_for(self, inputs: Sequence[Tensor], rows: str = "") -> list[str]:
        """Lines that lay out the buffers for run-time sizes as the inputs show them; `rows` are those of a batch."""
        given = {self.plan.sample_axis: rows} if rows else {}
        texts = [given.get(size) or self.size_of(size, inputs) for size in self.plan.runtime_sizes]
        return bracketed(f"work = {self.laid_out_by}(", ["memory", *texts], ")", depth=1)

    def buffers(self) -> str:
        """The views of a workspace's memory that a step works in."""
        storage = self.plan.storage
        parts = []
        for t in self.plan.workspace:
            memory = "memory.integers" if t.integer else "memory.reals"
            start, stop = storage.starts[t.name], sp.expand(storage.starts[t.name] + element_count(t))
            extents = [self.text.integer(extent) for extent in t.shape]
            part, shape = stretch(memory, self.text.integer(start), self.text.integer(stop), extents)
            parts += view_lines(field(t.name), part, shape, depth=2)
        shared = len({*storage.starts.values()}) < len(storage.starts)
        sharing = "; those that are never needed at once share it" if shared else ""
        doc = f'"""The buffers of {self.work_of}, as views of memory{sharing}."""'
        sizes = [local_size(size) for size in self.plan.runtime_sizes]
        signature = bracketed(f"def {self.laid_out_by}(", ["memory", *sizes], "):")
        body = [f"return {self.workspace}(", *indented(parts), ")"]
        return compiled(signature, doc, body, called("kernel", len(self.plan.workspace)))

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
            *self.buffers_for(self.plan.inputs, "rows"),
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
        doc = '"""(whether a row number or a label is out of range, else the mean loss); total becomes the mean gradient"""'
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
            *([f"{FACTORS} = memory.reals[-2:]"] if self.in_place else []),
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

    def kernel_call(self, kernels: Sequence[Kernel], inputs: Sequence[Tensor], depth: int) -> list[str]:
        """The call of a kernel, or of equal ones in a loop, where theta, bar, work and data of these inputs are at hand."""
        texts = [self.kernels[k] for k in kernels]
        arguments = [self.places.each(names) for names in zip(*(text.arguments for text in texts), strict=True)]
        arguments += [FACTORS] if texts[0].scaled else []
        arguments += [self.size_of(size, inputs) for size in texts[0].sizes]
        return bracketed(f"{texts[0].name}(", arguments, ")", depth)

    def size_of(self, size: str, inputs: Sequence[Tensor]) -> str:
        """A run-time size, read off an input; 1 where none of them shows it, and so nothing depends on it."""
        t = next((t for t in inputs if size_symbol(size) in t.shape), None)
        return f"data.{field(t.name)}.shape[{t.shape.index(size_symbol(size))}]" if t is not None else "1"


def local_size(size: str) -> str:
    """A run-time size as an argument of functions that refer to these other names."""
    return f"{size}_" if size.rstrip("_") in SIZE_GLOBALS else size


def called(usual: str, arrays: int) -> str:
    """The decorator of a function that returns a tuple of that many arrays."""
    return "outlined" if arrays > MANY else usual


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
