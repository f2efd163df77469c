"""What a module's text is written from, and the facts that several parts of it need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import sympy as sp

from derivgen import contract
from derivgen.blocks import flat_size, offsets
from derivgen.emit.rule import Part
from derivgen.expressions import is_size, size_symbol
from derivgen.program import PASSES, Direction, Program, Role, Tensor
from derivgen.repeat import Call, Repeats, arguments_of, canonical, find_repeats
from derivgen.rule_groups import Group, Setting, setting_for
from derivgen.rule_notation import remarks
from derivgen.schedule import Kernel, Schedule
from derivgen.second_order import Request
from derivgen.storage import Storage, element_count, members_apart, share_memory
from derivgen.update_rule import UpdateRule

ONE = sp.Integer(1)

# NamedTuple has methods of these names, and takes no field that starts with an underscore.
TUPLE_METHODS = ("count", "index")


def field(name: str) -> str:
    """The name of a tensor as the field of a NamedTuple; other names give other fields."""
    if name.startswith("_"):
        return f"under{name}"
    if name.startswith("under_"):
        return f"under__{name}"
    return f"{name}_" if name.rstrip("_") in TUPLE_METHODS else name


@dataclass(frozen=True)
class Plan:
    """All that the text is written from: the training schedule, the prediction's, the rule and the dtype.

    `evaluation`: the forward pass of `loss`, where it is another than that of a step. `parallel_update`: the update's loop runs in threads.
    """

    training: Schedule
    prediction: Schedule | None
    rule: UpdateRule
    dtype: str
    evaluation: Schedule | None = None
    parallel_update: bool = False
    groups: tuple[Group, ...] = ()
    derived: tuple[tuple[Request, Schedule], ...] = ()

    @property
    def program(self) -> Program:
        return self.training.program

    @property
    def sample_axis(self) -> str | None:
        """The first run-time size, if some input has it as its first axis, and none elsewhere."""
        first = next((name for name, value in self.program.sizes if not value.is_Integer), None)
        if first is None or axes_beyond_first(self.inputs, first):
            return None
        return first if any(t.shape and t.shape[0] == size_symbol(first) for t in self.inputs) else None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.program.of_role(Role.INPUT, Role.LABELS)

    @property
    def labels(self) -> tuple[Tensor, ...]:
        return self.program.of_role(Role.LABELS)

    @property
    def constants(self) -> tuple[Tensor, ...]:
        return self.program.of_role(Role.CONSTANT)

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What a step reads besides the parameters."""
        return (*self.inputs, *self.constants)

    @cached_property
    def parts(self) -> tuple[DerivativePlan, ...]:
        """What the text of each derivative's function is written from."""
        return tuple(DerivativePlan(s, None, self.rule, self.dtype, request=r, whole=self) for r, s in self.derived)

    @cached_property
    def memories(self) -> list[str]:
        """The arrays that buffers lie in."""
        integers = any(plan.storage.integers != 0 for plan in (self, *self.parts))
        return ["reals", *(["integers"] if integers else [])]

    @cached_property
    def local_names(self) -> dict[str, str]:
        """The tensors that the functions of the whole model have by themselves, as arrays of these names."""
        return {}

    @property
    def random(self) -> tuple[Tensor, ...]:
        """The random tensors that some kernel reads."""
        return tuple(t for t in self.program.of_role(Role.RANDOM) if any(t in self.drawn(s) for s in self.schedules))

    def drawn(self, schedule: Schedule) -> tuple[Tensor, ...]:
        """The random tensors that a schedule's kernels read."""
        read = {name for k in schedule.kernels for name in k.read}
        return tuple(t for t in schedule.program.of_role(Role.RANDOM) if t.name in read)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return tuple(s for s in (self.training, self.evaluation, self.prediction) if s is not None)

    @property
    def gathered(self) -> tuple[Tensor, ...]:
        axis = self.sample_axis
        return tuple(t for t in self.inputs if axis and t.shape and t.shape[0] == size_symbol(axis))

    @property
    def prediction_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the prediction's kernels need: those that they read, and one for each run-time size."""
        assert self.prediction is not None
        read = {name for k in self.prediction.kernels for name in k.read}
        given = [t for t in self.inputs if t.name in read]
        shown = {e for t in given for e in t.shape}
        for s in self.prediction_program.statements:
            for size in {
                x for e in (s.expression, *(r.extent for r in s.domain)) for x in e.free_symbols if is_size(x)
            }:
                if size not in shown:
                    given.append(next(t for t in self.inputs if size in t.shape))
                    shown |= set(given[-1].shape)
        return tuple(t for t in self.inputs if t in given)

    @property
    def prediction_program(self) -> Program:
        assert self.prediction is not None
        return self.prediction.program

    @property
    def table(self) -> dict[str, Tensor]:
        """The tensors of all programs, by name."""
        return {t.name: t for schedule in reversed(self.schedules) for t in schedule.program.tensors}

    @property
    def single_parameters(self) -> tuple[Tensor, ...]:
        """What of the flat vector no run of equal calls goes through, nor through its gradient."""
        bars = dict(self.program.gradients)
        return tuple(t for t in self.program.vector if not {t.name, bars.get(t.name)} & set(self.families))

    @property
    def loops_over_parameters(self) -> bool:
        """Whether a run of equal calls goes through parts of a flat vector."""
        return any(plan.families.keys() & plan.offsets.keys() for plan in (self, *self.parts))

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

    @property
    def buffers(self) -> tuple[Tensor, ...]:
        """The tensors that the workspace holds, in order of their first write."""
        found: dict[str, Tensor] = {}
        outside = {bar for _, bar in self.program.gradients} | {*self.local_names}
        tables = self.table
        for schedule in self.schedules:
            for kernel in schedule.kernels:
                found.update({name: tables[name] for name in kernel.written if name not in outside})
        return tuple(found.values())

    @cached_property
    def equal(self) -> dict[Kernel, Kernel]:
        """For each kernel that of the first layer that computes the same: they share a function."""
        first: dict[object, Kernel] = {}
        by_layer = sorted(self.all_kernels, key=lambda item: item[1].direction == "backward")
        backward = [item for item in by_layer if item[1].direction == "backward"]
        kernels = [*by_layer[: len(by_layer) - len(backward)], *reversed(backward)]
        equal = {k: first.setdefault(canonical(program, k), k) for program, k in kernels}
        return {k: equal[k] for _, k in self.all_kernels}

    @property
    def layers(self) -> list[tuple[str, tuple[str, ...]]]:
        """The layers of a step in order, each with the parameters that its forward kernel reads.

        What gives a single number, as the loss, is a layer only of parameters that no other one reads.
        """
        left = [t.name for t in self.program.parameters]
        layers = []
        for kernel in self.passes["forward"]:
            if self.observed(kernel):
                layers.append((kernel.layer, tuple(n for n in kernel.read if n in left)))
        read = {name for _, names in layers for name in names}
        others = tuple(name for name in left if name not in read)
        return [*layers, (str(self.program.objective), others)] if others else layers

    def observed(self, kernel: Kernel) -> str | None:
        """What a layer's kernel gives, None where that is a single number."""
        tensors = [self.program.tensor(name) for name in kernel.written]
        return next((t.name for t in tensors if t.name == kernel.layer and t.shape and not t.integer), None)

    @property
    def is_observed(self) -> bool:
        """Whether some layer gives an array."""
        return any(map(self.observed, self.passes["forward"]))

    @property
    def all_kernels(self) -> list[tuple[Program, Kernel]]:
        """Each kernel once, with the program that knows its tensors."""
        programs: dict[Kernel, Program] = {}
        for schedule in (*self.schedules, *(schedule for _, schedule in self.derived)):
            for kernel in schedule.kernels:
                programs.setdefault(kernel, schedule.program)
        return [(program, kernel) for kernel, program in programs.items()]

    @property
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels of the forward pass, the backward pass, the evaluation and the prediction."""
        passes = {
            "forward": [k for k in self.training.kernels if k.direction != "backward"],
            "backward": [k for k in self.training.kernels if k.direction == "backward"],
        }
        beside = {"evaluation": self.evaluation, "prediction": self.prediction}
        return {**passes, **{word: list(s.kernels) for word, s in beside.items() if s is not None}}

    @cached_property
    def repeats(self) -> Repeats:
        """Runs of equal calls in each of the passes, and the families of tensors that they go through."""
        numbers = {k: n for n, k in enumerate(self.equal)}
        programs = {k: program for program, k in self.all_kernels}
        lists: list[tuple[Direction, list[Call]]] = [
            (
                "backward" if word == "backward" else "forward",
                [Call(numbers[self.equal[k]], arguments_of(programs[k], k)) for k in kernels],
            )
            for word, kernels in self.passes.items()
        ]
        return find_repeats(lists, self.kinds, lambda family: self.stride(family) is not None)

    @property
    def kinds(self) -> dict[str, object]:
        """What members of one family have in common, of each tensor that may be in one."""
        kinds: dict[str, object] = {t.name: ("work", t.shape, t.integer) for t in self.buffers}
        for p, bar in self.program.gradients:
            shape = self.program.tensor(p).shape
            kinds |= {p: ("theta", shape), bar: ("bar", shape, bar in self.training.in_place)}
        return kinds | {t.name: (t.role, t.shape) for t in (*self.random, *self.program.of_role(Role.RUNNING))}

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
    def offsets(self) -> dict[str, int]:
        """Where each parameter, and its gradient, and each running tensor starts in a flat vector."""
        starts = offsets(self.program)
        return {**starts, **{bar: starts[p] for p, bar in self.program.gradients}}

    def stride(self, family: tuple[str, ...]) -> int | None:
        """The distance of a family's members in a flat vector, 0 for one of buffers; None if they are not in step."""
        if not set(family) & set(self.offsets):
            return 0
        starts = [self.offsets[name] for name in family]
        steps = {b - a for a, b in pairwise(starts)}
        return steps.pop() if len(steps) == 1 else None

    @cached_property
    def families(self) -> dict[str, tuple[tuple[str, ...], int]]:
        """For each member of a family, the family and its place in it."""
        return {name: (family, k) for family in self.repeats.families for k, name in enumerate(family)}

    @cached_property
    def timelines(self) -> list[list[tuple[str, ...]]]:
        """What is needed together: a step needs the inputs throughout, and the caller the results."""
        inputs = tuple(t.name for t in self.gathered)
        last = (*inputs, *(self.program.outputs if self.program.running else ()))
        timelines = [[(*inputs, *self.drawn_names(self.training)), *accessed(self.training), last]]
        for schedule in self.schedules[1:]:
            timelines.append([self.drawn_names(schedule), *accessed(schedule), schedule.program.outputs])
        return timelines

    def drawn_names(self, schedule: Schedule) -> tuple[str, ...]:
        return tuple(t.name for t in self.drawn(schedule))

    @cached_property
    def places(self) -> dict[tuple[str, ...], int]:
        """How many members of each family of buffers are kept at once."""
        buffers = {t.name for t in (*self.random, *self.buffers)}
        return {f: members_apart(f, self.timelines) for f in self.repeats.families if f[0] in buffers}

    @cached_property
    def workspace(self) -> tuple[Tensor, ...]:
        """Gathered inputs, random tensors and buffers, a family of several places as one tensor under its first name."""
        stored = []
        for t in (*self.gathered, *self.random, *self.buffers):
            family, k = self.families.get(t.name, ((t.name,), 0))
            places = self.places.get(family, 1)
            if k == 0:
                stored.append(replace(t, shape=(sp.Integer(places), *(t.shape or (ONE,))) if places > 1 else t.shape))
        return tuple(stored)

    @cached_property
    def storage(self) -> Storage:
        """Where the workspace's tensors lie."""
        first = {name: family[0] for name, (family, _) in self.families.items()}
        timelines = [[[first.get(name, name) for name in names] for names in line] for line in self.timelines]
        return share_memory(self.workspace, timelines)

    @property
    def runtime_sizes(self) -> tuple[str, ...]:
        """The run-time sizes that some buffer's shape depends on, in order of declaration."""
        used = {s.name for t in (*self.buffers, *self.random, *self.gathered) for e in t.shape for s in e.free_symbols}
        return tuple(name for name, value in self.program.sizes if not value.is_Integer and name in used)


@dataclass(frozen=True)
class DerivativePlan(Plan):
    """A function of derivatives: its schedule in the place of the training's, in the plan of the whole module."""

    request: Request = None  # type: ignore[assignment]  # fields of the base have defaults
    whole: Plan = None  # type: ignore[assignment]

    @property
    def function(self) -> str:
        return self.request.function

    @property
    def workspace_name(self) -> str:
        """`HessianWorkspace`"""
        return "".join(word.capitalize() for word in self.function.split("_")) + "Workspace"

    @property
    def given_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that callers pass."""
        return self.whole.prediction_inputs if self.request.of_prediction else self.whole.inputs

    @property
    def results(self) -> tuple[Tensor, ...]:
        return tuple(self.program.tensor(name) for name in self.program.results)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """What is given besides, of another shape than the parameters."""
        parameters = {t.name for t in self.program.parameters}
        return tuple(t for t in self.program.of_role(Role.SEED) if t.of not in parameters)

    @property
    def directions(self) -> tuple[Tensor, ...]:
        """What is given besides, as a flat vector."""
        return tuple(t for t in self.program.of_role(Role.SEED) if t not in self.weights)

    @cached_property
    def local_names(self) -> dict[str, str]:
        used = {*contract.LOCALS, *contract.ARGUMENTS, *contract.PUBLIC, *contract.HELPERS, *contract.KERNEL_GLOBALS}
        used |= {t.name for t in self.program.of_role(Role.INPUT, Role.LABELS)}
        names: dict[str, str] = {}
        for t in (*self.results, *self.weights):
            name = field(t.name)
            while name in used:
                name += "_"
            used.add(name)
            names[t.name] = name
        return names

    @cached_property
    def memories(self) -> list[str]:
        return self.whole.memories

    @property
    def single_parameters(self) -> tuple[Tensor, ...]:
        return self.whole.single_parameters

    @cached_property
    def equal(self) -> dict[Kernel, Kernel]:
        return self.whole.equal

    @property
    def sample_axis(self) -> None:
        """None: no rows are gathered."""

    @property
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels before the first backward one, the backward ones, and those of each output's derivatives."""
        passes: dict[str, list[Kernel]] = {"forward": [], "backward": []}
        for kernel in self.training.kernels:
            word = output_of(kernel) or ("forward" if kernel.direction in ("forward", "tangent") else "backward")
            last = next(reversed([w for w, kernels in passes.items() if kernels]), "forward")
            passes.setdefault(last if word == "forward" else word, []).append(kernel)
        return passes

    @cached_property
    def offsets(self) -> dict[str, int]:
        known = self.whole.offsets
        dots = {t.name: known[str(t.of)] for t in self.directions}
        return {**super().offsets, **dots}

    @property
    def kinds(self) -> dict[str, object]:
        theta = {t.name: ("theta", t.shape) for t in self.program.parameters}
        return {**super().kinds, **theta, **{t.name: ("dot", t.shape) for t in self.directions}}

    @cached_property
    def timelines(self) -> list[list[tuple[str, ...]]]:
        return [[self.drawn_names(self.training), *accessed(self.training), self.program.outputs]]


def output_of(kernel: Kernel) -> str:
    """The output whose derivatives a kernel computes; of a pass over the whole model, nothing."""
    return "" if kernel.direction in PASSES else kernel.direction.partition("_through_{}")[0]


def axes_beyond_first(inputs: Sequence[Tensor], size: str) -> list[Tensor]:
    """The inputs with a size at another axis than the first, of which no rows can be gathered."""
    return [t for t in inputs if size_symbol(size) in t.shape[1:]]


def accessed(schedule: Schedule) -> list[tuple[str, ...]]:
    """What each kernel is given, in order of execution."""
    return [(*k.read, *k.written) for k in schedule.kernels]


def count(tensor: Tensor) -> int:
    return int(element_count(tensor))
