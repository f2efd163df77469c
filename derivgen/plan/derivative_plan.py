"""What the text of a function of derivatives is written from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from derivgen.derive.second_order import Request
from derivgen.file import contract
from derivgen.file.fixed_names import BESIDE_ARRAYS, BESIDE_RESULTS, OF_MODES
from derivgen.form.program import PASSES, Program, Role, Tensor
from derivgen.plan.plan import Plan, accessed, fields_past
from derivgen.schedule.schedule import Kernel, Schedule

FORWARDS = ("forward", "tangent")  # directions of a pass that comes first


class Whole(Protocol):
    """What a function of derivatives takes from the plan of its module."""

    @property
    def program(self) -> Program: ...
    @property
    def parameter_count(self) -> int: ...
    @property
    def inputs(self) -> tuple[Tensor, ...]: ...
    @property
    def labels(self) -> tuple[Tensor, ...]: ...
    @property
    def prediction_inputs(self) -> tuple[Tensor, ...]: ...
    @property
    def has_modes(self) -> bool: ...
    @property
    def memories(self) -> list[str]: ...
    @property
    def offsets(self) -> dict[str, int]: ...
    @property
    def equal(self) -> dict[Kernel, Kernel]: ...
    @property
    def programs(self) -> dict[Kernel, Program]: ...
    @property
    def kernel_names(self) -> dict[Kernel, str]: ...


@dataclass(frozen=True)
class DerivativePlan(Plan):
    """A function, and the plan of the whole module."""

    request: Request
    whole: Whole

    @property
    def function(self) -> str:
        return self.request.function

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
        used = {*BESIDE_ARRAYS, *BESIDE_RESULTS, *self.whole.kernel_names.values()}
        used |= {*OF_MODES} if self.whole.has_modes else set()
        used |= {t.name for t in self.program.of_role(Role.INPUT, Role.LABELS)}
        given = {t.name: contract.VECTORS[self.function] for t in self.weights}  # one at most, as is documented
        results = fields_past(self.results, used.union(given.values()))
        return {**dict(zip((t.name for t in self.results), results, strict=True)), **given}

    @cached_property
    def memories(self) -> list[str]:
        return self.whole.memories

    @cached_property
    def equal(self) -> dict[Kernel, Kernel]:
        return self.whole.equal

    @cached_property
    def programs(self) -> dict[Kernel, Program]:
        return self.whole.programs

    @property
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels before the first backward one, the backward ones, and those of each output's derivatives.

        If an output's kernels must run between those of others, all are backward ones.
        """
        passes, kernels = by_pass(self.schedule.kernels), self.schedule.kernels
        if in_a_row(passes) == kernels:
            return passes
        start = next(k for k, kernel in enumerate(kernels) if kernel.direction not in FORWARDS)
        return {"forward": [*kernels[:start]], "backward": [*kernels[start:]]}

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
        return [[self.drawn_names(self.schedule), *accessed(self.schedule), self.program.outputs]]


def pass_after_pass(schedule: Schedule) -> Schedule:
    """The schedule with the kernels of each pass in a row, unless what one of them reads or writes forbids that."""
    kernels = in_a_row(by_pass(schedule.kernels))
    place = {id(kernel): k for k, kernel in enumerate(kernels)}
    pairs = itertools.combinations(schedule.kernels, 2)
    turned = ((a, b) for a, b in pairs if place[id(a)] > place[id(b)])
    return schedule if any(depend(a, b) for a, b in turned) else replace(schedule, kernels=kernels)


def by_pass(kernels: Sequence[Kernel]) -> dict[str, list[Kernel]]:
    passes: dict[str, list[Kernel]] = {"forward": [], "backward": []}
    for kernel in kernels:
        word = output_of(kernel) or ("forward" if kernel.direction in FORWARDS else "backward")
        last = next(reversed([w for w, kernels in passes.items() if kernels]), "forward")
        passes.setdefault(last if word == "forward" else word, []).append(kernel)
    return passes


def in_a_row(passes: Mapping[str, Sequence[Kernel]]) -> tuple[Kernel, ...]:
    return tuple(kernel for kernels in passes.values() for kernel in kernels)


def depend(a: Kernel, b: Kernel) -> bool:
    """Whether one of two kernels writes what the other one accesses."""
    return not {*a.written}.isdisjoint((*b.written, *b.read)) or not {*b.written}.isdisjoint(a.read)


def output_of(kernel: Kernel) -> str:
    """The output whose derivatives a kernel computes; of a pass over the whole model, nothing."""
    return "" if kernel.direction in PASSES else kernel.direction.partition("_through_{}")[0]
