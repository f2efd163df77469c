"""What the functions that call kernels are written from, and the facts that several parts of their text need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import sympy as sp

from derivgen.code.names import past
from derivgen.form.program import Direction, Program, Role, Tensor
from derivgen.form.sizes import element_count, offsets
from derivgen.schedule.memory import Storage, members_apart, share_memory
from derivgen.schedule.repeat import Call, Repeats, arguments_of, find_repeats
from derivgen.schedule.schedule import Kernel, Schedule
from derivgen.update.rule import UpdateRule

ONE = sp.Integer(1)

# NamedTuple has methods of these names, and takes no field that starts with an underscore.
NO_FIELDS = ("count", "index", "view")  # methods of tuples; and what numba takes for a method of arrays


def field(name: str) -> str:
    """The name of a tensor as the field of a NamedTuple; other names give other fields."""
    if name.startswith("_"):
        return f"under{name}"
    if name.startswith("under_"):
        return f"under__{name}"
    return f"{name}_" if name.rstrip("_") in NO_FIELDS else name


def fields_past(tensors: Iterable[Tensor], taken: Iterable[str]) -> list[str]:
    """The names of tensors as fields, but past those that are taken, and each other's."""
    used, names = set(taken), []
    for t in tensors:
        names.append(past(field(t.name), used))
        used.add(names[-1])
    return names


@dataclass(frozen=True)
class Plan(ABC):
    """The schedules that work in one set of buffers; the rule and the dtype of their module.

    The first schedule is that of a step, or of a function of derivatives.
    """

    schedule: Schedule
    rule: UpdateRule
    dtype: str

    @property
    @abstractmethod
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels of each list of calls, by its name."""

    @property
    @abstractmethod
    def timelines(self) -> list[list[tuple[str, ...]]]:
        """What is needed together, of each schedule in order of execution."""

    @property
    @abstractmethod
    def equal(self) -> dict[Kernel, Kernel]:
        """For each kernel of the module the one whose function it shares."""

    @property
    @abstractmethod
    def programs(self) -> dict[Kernel, Program]:
        """For each kernel of the module the program that it is written from, which orders its arguments."""

    @property
    @abstractmethod
    def memories(self) -> list[str]:
        """The arrays that buffers lie in."""

    @property
    def flat(self) -> str:
        """The field that has a flat vector beside its parts."""
        return past("flat", [t.name for t in self.program.vector])

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return (self.schedule,)

    @property
    def gathered(self) -> tuple[Tensor, ...]:
        """The inputs of which rows are copied into buffers."""
        return ()

    @property
    def local_names(self) -> dict[str, str]:
        """The tensors that the functions have by themselves, as arrays of these names."""
        return {}

    @property
    def program(self) -> Program:
        return self.schedule.program

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

    @property
    def random(self) -> tuple[Tensor, ...]:
        """The random tensors that some kernel reads."""
        return tuple(t for t in self.program.of_role(Role.RANDOM) if any(t in self.drawn(s) for s in self.schedules))

    def drawn(self, schedule: Schedule) -> tuple[Tensor, ...]:
        """The random tensors that a schedule's kernels read."""
        read = {name for k in schedule.kernels for name in k.read}
        return tuple(t for t in schedule.program.of_role(Role.RANDOM) if t.name in read)

    @property
    def has_modes(self) -> bool:
        """Whether a step draws, or leaves running tensors changed."""
        return bool(self.random or self.program.running)

    def drawn_names(self, schedule: Schedule) -> tuple[str, ...]:
        return tuple(t.name for t in self.drawn(schedule))

    @property
    def table(self) -> dict[str, Tensor]:
        """The tensors of all programs, by name."""
        return {t.name: t for schedule in reversed(self.schedules) for t in schedule.program.tensors}

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
    def repeats(self) -> Repeats:
        """Runs of equal calls in each of the passes, and the families of tensors that they go through."""
        numbers = {k: n for n, k in enumerate(self.equal)}
        lists: list[tuple[Direction, list[Call]]] = [
            (
                "backward" if word == "backward" else "forward",
                [Call(numbers[self.equal[k]], arguments_of(self.programs[k], k)) for k in kernels],
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
            kinds |= {p: ("theta", shape), bar: ("bar", shape, bar in self.schedule.in_place)}
        return kinds | {t.name: (t.role, t.shape) for t in (*self.random, *self.program.of_role(Role.RUNNING))}

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
    def places(self) -> dict[tuple[str, ...], int]:
        """How many members of each family of buffers are kept at once."""
        buffers = {t.name for t in (*self.random, *self.buffers)}
        return {f: members_apart(f, self.timelines) for f in self.repeats.families if f[0] in buffers}

    @cached_property
    def workspace(self) -> tuple[Tensor, ...]:
        """Gathered inputs, random tensors, buffers; a family of several places is one tensor under its first name."""
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


def kernels_of(schedules: Iterable[Schedule]) -> list[tuple[Program, Kernel]]:
    """Each kernel once, with the program that knows its tensors."""
    programs: dict[Kernel, Program] = {}
    for schedule in schedules:
        for kernel in schedule.kernels:
            programs.setdefault(kernel, schedule.program)
    return [(program, kernel) for kernel, program in programs.items()]


def accessed(schedule: Schedule) -> list[tuple[str, ...]]:
    """What each kernel is given, in order of execution."""
    return [(*k.read, *k.written) for k in schedule.kernels]


def count(tensor: Tensor) -> int:
    return int(element_count(tensor))
