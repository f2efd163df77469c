"""What a module's text is written from, and the facts that several parts of it need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from derivgen.expressions import is_size, size_symbol
from derivgen.optimizers import UpdateRule
from derivgen.program import Program, Role, Tensor
from derivgen.schedule import Schedule
from derivgen.storage import Storage, share_memory

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

    `parallel_update`: the update's loop runs in threads.
    """

    training: Schedule
    prediction: Schedule | None
    rule: UpdateRule
    dtype: str
    parallel_update: bool = False

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
    def prediction_name(self) -> str | None:
        return self.prediction_program.prediction

    @property
    def parameter_count(self) -> int:
        return sum(count(t) for t in self.program.parameters)

    @property
    def buffers(self) -> tuple[Tensor, ...]:
        """The tensors that the workspace holds, in order of their first write."""
        found: dict[str, Tensor] = {}
        outside = {bar for _, bar in self.program.gradients}
        tables = {**(self.prediction.program.table if self.prediction else {}), **self.program.table}
        for schedule in filter(None, (self.training, self.prediction)):
            for kernel in schedule.kernels:
                found.update({name: tables[name] for name in kernel.written if name not in outside})
        return tuple(found.values())

    @cached_property
    def storage(self) -> Storage:
        """Where the gathered inputs and the buffers lie: a step needs the inputs throughout, the caller the prediction."""
        inputs = [t.name for t in self.gathered]
        timelines = [[inputs, *accessed(self.training), inputs]]
        if self.prediction is not None:
            timelines.append([*accessed(self.prediction), [str(self.prediction_name)]])
        return share_memory((*self.gathered, *self.buffers), timelines)

    @property
    def runtime_sizes(self) -> tuple[str, ...]:
        """The run-time sizes that some buffer's shape depends on, in order of declaration."""
        used = {s.name for t in (*self.buffers, *self.gathered) for e in t.shape for s in e.free_symbols}
        return tuple(name for name, value in self.program.sizes if not value.is_Integer and name in used)


def axes_beyond_first(inputs: Sequence[Tensor], size: str) -> list[Tensor]:
    """The inputs with a size at another axis than the first, of which no rows can be gathered."""
    return [t for t in inputs if size_symbol(size) in t.shape[1:]]


def accessed(schedule: Schedule) -> list[tuple[str, ...]]:
    """What each kernel is given, in order of execution."""
    return [(*k.read, *k.written) for k in schedule.kernels]


def count(tensor: Tensor) -> int:
    return int(sp.Mul(*tensor.shape))
