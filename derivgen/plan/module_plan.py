"""What a module's text is written from."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from derivgen.code.names import past
from derivgen.derive.over_rows import MEAN, SHARED
from derivgen.derive.second_order import Request
from derivgen.file.fixed_names import GLOBALS
from derivgen.form.expressions import size_symbol, sympy_order
from derivgen.form.program import TOGETHER, Program, Role, Tensor
from derivgen.form.sizes import flat_size
from derivgen.plan.derivative_plan import DerivativePlan
from derivgen.plan.names import digits_name, kernel_name
from derivgen.plan.plan import Plan, accessed, count, kernels_of
from derivgen.plan.ranges import Part
from derivgen.plan.tables import Table, table_of
from derivgen.schedule.repeat import canonical, outline
from derivgen.schedule.schedule import Kernel, Schedule
from derivgen.update.groups import Group, Setting, setting_for
from derivgen.update.notation import remarks


@dataclass(frozen=True)
class ModulePlan(Plan):
    """All that the text is written from: the schedules of a step and of the prediction, and the update rule.

    `evaluation`: the forward pass of `loss`, where it is another than that of a step. `objective`: the forward pass of
    a step by itself, where a step computes values and adjoints of rows together. `derived`: the functions of
    derivatives that are asked for. `mixed_axes`: the run-time sizes along which rows of the prediction depend on one
    another. `combined`: how the objective follows from those of blocks of rows, as `derive/over_rows.py` says.
    """

    prediction: Schedule | None = None
    evaluation: Schedule | None = None
    objective: Schedule | None = None
    groups: tuple[Group, ...] = ()
    derived: tuple[tuple[Request, Schedule], ...] = ()
    mixed_axes: tuple[str, ...] = ()
    combined: str | None = None

    @property
    def training(self) -> Schedule:
        """The schedule of a step."""
        return self.schedule

    @property
    def sample_axis(self) -> str | None:
        return sample_axis(self.program)

    @cached_property
    def parts(self) -> tuple[DerivativePlan, ...]:
        """What the text of each derivative's function is written from."""
        return tuple(DerivativePlan(s, self.rule, self.dtype, r, self) for r, s in self.derived)

    @cached_property
    def memories(self) -> list[str]:
        """The arrays that buffers lie in."""
        integers = any(plan.storage.integers != 0 for plan in (self, *self.parts))
        return ["reals", *(["integers"] if integers else [])]

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return tuple(s for s in (self.training, self.objective, self.evaluation, self.prediction) if s is not None)

    @property
    def has_modes(self) -> bool:
        """Whether a step draws, leaves running tensors changed, or has another forward pass than `loss`."""
        return super().has_modes or self.evaluation is not None

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """How the module makes its constants."""
        return tuple(table_of(t, self.dtype) for t in self.constants)

    @property
    def is_in_blocks(self) -> bool:
        """Whether the objective follows from those of blocks of rows."""
        return self.combined is not None and self.sample_axis is not None

    @property
    def is_mean(self) -> bool:
        """Whether the objective is the mean of those of blocks, by rows."""
        return self.combined == MEAN

    @property
    def share(self) -> Tensor | None:
        """The constant that a block of rows has a value of its own of: its share of what has no rows."""
        return self.constants[-1] if self.combined == SHARED else None

    @property
    def gathered(self) -> tuple[Tensor, ...]:
        axis = self.sample_axis
        return tuple(t for t in self.inputs if axis and t.shape and t.shape[0] == size_symbol(axis))

    @property
    def prediction_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that `predict` and the functions of its derivatives take.

        These are what their kernels read, and one for each run-time size. A derivative may read what the prediction
        does not: of a product with a factor that is always 0, say, the other factor.
        """
        assert self.prediction is not None
        schedules = [self.prediction, *(s for request, s in self.derived if request.of_prediction)]
        read = {name for s in schedules for k in s.kernels for name in k.read}
        given = [t for t in self.inputs if t.name in read]
        shown = {e for t in given for e in t.shape}
        for size in sorted(set().union(*(s.sizes for p in schedules for s in p.program.statements)), key=sympy_order):
            if size not in shown:
                given.append(next(t for t in self.inputs if size in t.shape))
                shown |= set(given[-1].shape)
        return tuple(t for t in self.inputs if t in given)

    @property
    def predicted_by_row(self) -> bool:
        """Whether the prediction has a row for each sample, made of this sample alone."""
        axis = self.sample_axis
        if self.prediction is None or self.combined is None or axis is None or axis in self.mixed_axes:
            return False
        return self.prediction_program.tensor(str(self.prediction_name)).shape[:1] == (size_symbol(axis),)

    @property
    def prediction_program(self) -> Program:
        assert self.prediction is not None
        return self.prediction.program

    @property
    def prediction_name(self) -> str | None:
        return self.prediction_program.prediction

    @property
    def parameter_count(self) -> int:
        """The length of the flat vector."""
        return flat_size(self.program)

    @property
    def trained_count(self) -> int:
        """The length of the part of the flat vector that has a gradient."""
        return sum(count(t) for t in self.program.parameters)

    @property
    def untrained(self) -> int:
        """The length of the rest: what running tensors take."""
        return self.parameter_count - self.trained_count

    @cached_property
    def equal(self) -> dict[Kernel, Kernel]:
        """For each kernel that of the first layer that computes the same: they share a function."""
        first: dict[object, Kernel] = {}
        outlines = Counter(outline(k) for _, k in self.kernels_forwards)
        equal = {
            k: first.setdefault(canonical(program, k), k) if outlines[outline(k)] > 1 else k
            for program, k in self.kernels_forwards
        }
        return {k: equal[k] for _, k in self.all_kernels}

    @cached_property
    def programs(self) -> dict[Kernel, Program]:
        return {kernel: program for program, kernel in self.all_kernels}

    @property
    def kernels_forwards(self) -> list[tuple[Program, Kernel]]:
        """All kernels in the order of the forward pass, those of the backward pass last."""
        ways: dict[bool, list[tuple[Program, Kernel]]] = {False: [], True: []}
        for item in self.all_kernels:
            ways[item[1].direction == "backward"].append(item)
        return [*ways[False], *reversed(ways[True])]

    @cached_property
    def kernel_names(self) -> dict[Kernel, str]:
        """The name of each kernel's function, past the module's other names; equal kernels have that of the first.

        A kernel that `loss` has otherwise than the training is `<layer>_evaluate`, one of the prediction's own is
        `<layer>_predict`, and one of a derivative's own ends with the name of that function.
        """
        words = dict.fromkeys(self.training.kernels, "{name}")
        beside = [("{layer}_value", self.objective), ("{layer}_evaluate", self.evaluation)]
        beside.append(("{layer}_predict", self.prediction))
        beside += [("{name}_for_" + part.function, part.schedule) for part in self.parts]
        for word, schedule in beside:
            for kernel in schedule.kernels if schedule is not None else ():
                words.setdefault(kernel, word)
        taken, names = {*GLOBALS, *self.array_names}, dict[Kernel, str]()
        for kernel in (k for _, k in self.all_kernels if self.equal[k] is k):
            name = kernel_name(kernel)
            name = words[kernel].format(layer=kernel.layer, name=name) if name in taken else name
            names[kernel] = past(name, taken)
            taken.add(names[kernel])
        return names

    @property
    def array_names(self) -> list[str]:
        """The names of arrays that stand in the module, and of their digits."""
        arrays = dict.fromkeys(f"{word}_{t.name}" for word in ("CONSTANT", "INITIAL") for t in self.program.tensors)
        return [*arrays, *(digits_name(name, arrays) for name in arrays)]

    @cached_property
    def layers(self) -> list[tuple[str, tuple[str, ...]]]:
        """The layers of a step in order, each with the parameters that its forward kernel reads.

        What gives a single number, as the loss, is a layer only of parameters that no other one reads.
        """
        left = dict.fromkeys(t.name for t in self.program.parameters)
        layers = []
        for kernel in self.passes["forward"]:
            if self.observed(kernel):
                layers.append((kernel.layer, tuple(n for n in kernel.read if n in left)))
        read = {name for _, names in layers for name in names}
        others = tuple(name for name in left if name not in read)
        return [*layers, (str(self.program.objective), others)] if others else layers

    def observed(self, kernel: Kernel) -> str | None:
        """What a layer's kernel gives, None where that is a single number."""
        tensors = [self.table[name] for name in kernel.written]
        return next((t.name for t in tensors if t.name == kernel.layer and t.shape and not t.integer), None)

    @property
    def is_observed(self) -> bool:
        """Whether some layer gives an array."""
        return any(map(self.observed, self.passes["forward"]))

    @property
    def all_kernels(self) -> list[tuple[Program, Kernel]]:
        """Those of functions of derivatives too, each with the program that knows its tensors."""
        return kernels_of([*self.schedules, *(schedule for _, schedule in self.derived)])

    @cached_property
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels of the forward pass, the backward pass, the evaluation and the prediction.

        Where a step computes values and adjoints together, what comes before the first such kernel is a pass too.
        """
        kernels = self.training.kernels
        if self.objective is None:
            backward = [k for k in kernels if k.direction == "backward"]
            passes = {"forward": [k for k in kernels if k not in backward], "backward": backward}
        else:
            first = list(itertools.takewhile(lambda k: k.direction not in ("backward", TOGETHER), kernels))
            passes = {"forward": list(self.objective.kernels), "first": first, "backward": [*kernels[len(first) :]]}
        beside = {"evaluation": self.evaluation, "prediction": self.prediction}
        return {**passes, **{word: list(s.kernels) for word, s in beside.items() if s is not None}}

    @property
    def slots(self) -> list[str]:
        """The names of what the update rule keeps."""
        return [slot.name for slot, _ in self.rule.slots]

    @property
    def update_parts(self) -> list[Part]:
        """What the update rule changes, by setting; a tensor is a range of its own where the rule needs its norm."""
        apart = "tensor_norm" in self.rule.uses
        parts: dict[Setting, Part] = {}
        for t in self.program.parameters:
            setting = setting_for(t.name, self.groups)
            if setting is None:
                continue
            start, part = self.offsets[t.name], parts.setdefault(setting, Part(setting, [], []))
            ranges = part.ranges
            joined = ranges.pop()[0] if ranges and ranges[-1][1] == start and not apart else start
            ranges.append((joined, start + count(t)))
            part.names.append(t.name)
        return list(parts.values())

    @property
    def update_remarks(self) -> list[str]:
        """What the rule's formulas leave open, in words."""
        said = remarks(self.rule, self.groups, [t.name for t in self.program.parameters])
        return [f"{names}: {words}" for names, words in said]

    @cached_property
    def timelines(self) -> list[list[tuple[str, ...]]]:
        """What is needed together: a step needs the inputs throughout, and the caller the results."""
        inputs = tuple(t.name for t in self.gathered)
        returned = (str(self.program.objective),) if self.objective is not None else ()
        last = (*inputs, *returned, *(self.program.outputs if self.program.running else ()))
        timelines = [[(*inputs, *self.drawn_names(self.training)), *accessed(self.training), last]]
        for schedule in self.schedules[1:]:
            timelines.append([self.drawn_names(schedule), *accessed(schedule), schedule.program.outputs])
        return timelines


def sample_axis(program: Program) -> str | None:
    """The first run-time size, if some input has it as its first axis, and none elsewhere."""
    inputs = program.of_role(Role.INPUT, Role.LABELS)
    first = next((name for name, value in program.sizes if not value.is_Integer), None)
    if first is None or axes_beyond_first(inputs, first):
        return None
    return first if any(t.shape and t.shape[0] == size_symbol(first) for t in inputs) else None


def axes_beyond_first(inputs: Sequence[Tensor], size: str) -> list[Tensor]:
    """The inputs with a size at another axis than the first, of which no rows can be gathered."""
    return [t for t in inputs if size_symbol(size) in t.shape[1:]]
