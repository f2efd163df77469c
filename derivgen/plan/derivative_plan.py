"""What the text of a function of derivatives is written from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from derivgen.derive.second_order import Request
from derivgen.file import contract
from derivgen.file.fixed_names import BESIDE_ARRAYS, BESIDE_RESULTS, OF_MODES
from derivgen.form.program import PASSES, Program, Role, Tensor
from derivgen.plan.plan import Plan, accessed, fields_past
from derivgen.schedule.schedule import Kernel


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

    @property
    def passes(self) -> dict[str, list[Kernel]]:
        """The kernels before the first backward one, the backward ones, and those of each output's derivatives."""
        passes: dict[str, list[Kernel]] = {"forward": [], "backward": []}
        for kernel in self.schedule.kernels:
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
        return [[self.drawn_names(self.schedule), *accessed(self.schedule), self.program.outputs]]


def output_of(kernel: Kernel) -> str:
    """The output whose derivatives a kernel computes; of a pass over the whole model, nothing."""
    return "" if kernel.direction in PASSES else kernel.direction.partition("_through_{}")[0]
