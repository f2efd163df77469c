"""What only some models need around their steps: draws of random tensors, and the next values of running ones."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.code.routine import TRUTH, Group, Linkage, Routine, Type
from derivgen.code.tree import Assign, Bind, Block, Call, Code, Extent, Fill, For, Kind, Number
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.program import Tensor
from derivgen.form.randomness import numbers
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import Plan
from derivgen.schedule.schedule import Schedule
from derivgen.whole.library import UNIFORM
from derivgen.whole.places import Places

ZERO = sp.S.Zero
SEED, TRAINING, FIRST_STEP, STEP_NUMBER, ROW = "seed", "training", "first_step", "step_number", "row"
TYPES: dict[str, Type] = {
    SEED: Kind.INTEGER,
    FIRST_STEP: Kind.INTEGER,
    STEP_NUMBER: Kind.INTEGER,
    ROW: Kind.INTEGER,
    TRAINING: TRUTH,
}


class Modes:
    """The functions of randomness and of running tensors, their calls, and the arguments that they need."""

    def __init__(self, plan: ModulePlan) -> None:
        self.plan, self.places = plan, Places(plan)
        self.is_random = bool(plan.drawn(plan.training))
        self.running = plan.program.running

    def draw(self, work: Group) -> Routine:
        arguments: dict[str, Type] = {SEED: Kind.INTEGER, STEP_NUMBER: Kind.INTEGER, ROW: Kind.INTEGER, "work": work}
        body = self.draws(self.plan.training, Read(STEP_NUMBER), Read(ROW))
        return Routine(
            "draw", arguments, body, ("The random numbers of a step, of samples from this row on.",), Linkage.INTERNAL
        )

    def take_next(self, theta: Group, work: Group) -> Routine:
        body = tuple(code for number, pair in enumerate(self.running, 1) for code in self.copy(number, *pair))
        words = ("Each running tensor takes its next value, as the forward pass gave it.",)
        return Routine("take_next", {"theta": theta, "work": work}, body, words, Linkage.INTERNAL)

    # ---- statements

    def copy(self, number: int, name: str, following: str) -> Block:
        """A copy element by element: numba takes long to compile one of arrays, whose shapes it compares."""
        old, new = (f"{word}_{number}" if len(self.running) > 1 else word for word in ("old", "new"))
        shape = self.plan.program.tensor(name).shape
        indices = [index_symbol(f"i{axis}") for axis, _ in enumerate(shape)]
        place = indices or [sp.S.Zero]
        code: Code = Assign(Read(old, *place), "=", Read(new, *place))
        for axis in reversed(range(len(shape))):
            code = For(indices[axis], Extent(old, axis), (code,))
        return (Bind(old, self.places.one(name)), Bind(new, self.places.one(following)), code)

    def draws(self, schedule: Schedule, step: sp.Expr, row: sp.Expr) -> Block:
        return draws(self.plan, self.places, schedule, step, row, self.plan.sample_axis)

    def drawing(self, step: sp.Expr, row: sp.Expr = ZERO) -> Block:
        """What draws for a step, or for a block of its rows."""
        return (Call("draw", (Number(Read(SEED)), Number(step), Number(row), "work")),) if self.is_random else ()

    def taking(self) -> Block:
        """What follows a step's update."""
        return (Call("take_next", ("theta", "work")),) if self.running else ()

    def without_gradient(self, gradient: str) -> Block:
        """What fills the rest of a gradient that a step leaves alone."""
        start = sp.Integer(self.plan.trained_count)
        return (Fill(gradient, sp.S.Zero, start),) if self.plan.untrained else ()

    # ---- arguments

    @staticmethod
    def arguments(names: Sequence[str]) -> dict[str, Type]:
        return {name: TYPES[name] for name in names}

    def step_arguments(self) -> list[str]:
        return [SEED] if self.is_random else []

    def batch_arguments(self) -> list[str]:
        return [SEED, FIRST_STEP] if self.is_random else []

    def gradient_arguments(self) -> list[str]:
        return [SEED, STEP_NUMBER, ROW] if self.is_random else []

    def loss_arguments(self) -> list[str]:
        evaluation = self.plan.evaluation
        draws = self.is_random or (evaluation is not None and bool(self.plan.drawn(evaluation)))
        return [*([TRAINING] if evaluation is not None else []), *([SEED, ROW] if draws else [])]

    def prediction_arguments(self) -> list[str]:
        return [SEED, ROW] if self.plan.prediction is not None and self.plan.drawn(self.plan.prediction) else []


def draws(
    plan: Plan, places: Places, schedule: Schedule, step: sp.Expr, row: sp.Expr = ZERO, sample_axis: str | None = None
) -> Block:
    """The calls that fill the random tensors of a schedule, those with samples from this row on."""
    number = numbers(plan.program)

    def call(t: Tensor) -> Call:
        first = row if sample_axis is not None and t.shape[:1] == (size_symbol(sample_axis),) else ZERO
        given = (Read(SEED), step, sp.Integer(number[t.name]), first)
        return Call(UNIFORM, (*map(Number, given), places.one(t.name)))

    return tuple(map(call, plan.drawn(schedule)))
