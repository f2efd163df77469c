"""What only some models need around their steps: draws of random tensors, and the next values of running ones."""

from __future__ import annotations

from derivgen.file.fixed_names import OF_MODES
from derivgen.form.randomness import KEY_STEPS, MULTIPLIERS, ROUNDS, numbers
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import Plan
from derivgen.print.layout import STEP, indented
from derivgen.print.module.places import Places
from derivgen.schedule.schedule import Schedule

SEED, TRAINING, FIRST_STEP = "seed", "training", "first_step"

UNIFORM = f'''\
@internal
def philox(a, b, c, d, key, key_2):
    """Four random words of the counter (a, b, c, d): Philox 4x32-{ROUNDS} (Salmon et al. 2011), all words of 32 bits"""
    for _ in range({ROUNDS}):
        p, q = 0x{MULTIPLIERS[0]:X} * a, 0x{MULTIPLIERS[1]:X} * c
        a, c = (q >> 32) & 0xFFFFFFFF ^ b ^ key, (p >> 32) & 0xFFFFFFFF ^ d ^ key_2
        b, d = q & 0xFFFFFFFF, p & 0xFFFFFFFF
        key, key_2 = (key + 0x{KEY_STEPS[0]:X}) & 0xFFFFFFFF, (key_2 + 0x{KEY_STEPS[1]:X}) & 0xFFFFFFFF
    return a, b, c, d


@internal
def fraction(word):
    """A number in [0, 1) of a word's upper 24 bits, which float32 holds too."""
    return real(word >> 8) * real(2.0**-24)


@internal
def uniform(seed, step, number, out):
    """Fills a random tensor, the one with this number: four elements of each counter (element // 4, number, step)."""
    flat = out.reshape(out.size)
    seed_1, seed_2 = seed & 0xFFFFFFFF, seed >> 32
    step_1, step_2 = int(step) & 0xFFFFFFFF, int(step) >> 32
    whole = flat.shape[0] // 4
    for block in range(whole):
        a, b, c, d = philox(block, number, step_1, step_2, seed_1, seed_2)
        flat[4 * block] = fraction(a)
        flat[4 * block + 1] = fraction(b)
        flat[4 * block + 2] = fraction(c)
        flat[4 * block + 3] = fraction(d)
    words = philox(whole, number, step_1, step_2, seed_1, seed_2)
    for k in range(flat.shape[0] - 4 * whole):
        flat[4 * whole + k] = fraction(words[k])'''


class ModeText:
    """Writes the functions of randomness and of running tensors, their calls, and the arguments that they need."""

    def __init__(self, plan: ModulePlan) -> None:
        self.plan, self.places = plan, Places(plan)
        self.draws = bool(plan.drawn(plan.training))
        self.running = plan.program.running

    def functions(self) -> list[str]:
        made = [UNIFORM] if self.plan.random else []
        if self.draws:
            doc = '"""The random numbers of a step."""'
            lines = self.uniform_lines(self.plan.training, "step")
            made.append("\n".join(["@internal", "def draw(seed, step, work):", *indented([doc, *lines])]))
        if self.running:
            doc = '"""Each running tensor takes its next value, as the forward pass gave it."""'
            lines = [line for pair in self.running for line in self.copy(*pair)]
            made.append("\n".join(["@internal", "def take_next(theta, work):", *indented([doc, *lines])]))
        return made

    # ---- lines

    def copy(self, name: str, following: str) -> list[str]:
        """A copy element by element: numba takes long to compile one of arrays, whose shapes it compares."""
        axes = range(len(self.plan.program.tensor(name).shape))
        place = ", ".join(f"i{axis}" for axis in axes) or "0"
        lines = [f"{STEP * axis}for i{axis} in range(old.shape[{axis}]):" for axis in axes]
        lines.append(f"{STEP * len(axes)}old[{place}] = new[{place}]")
        return [f"old, new = {self.places.one(name)}, {self.places.one(following)}", *lines]

    def uniform_lines(self, schedule: Schedule, step: str) -> list[str]:
        return uniform_lines(self.plan, self.places, schedule, step)

    def drawing(self, step: str) -> list[str]:
        """The line that draws for a step."""
        return [f"draw(seed, {step}, work)"] if self.draws else []

    def taking(self) -> list[str]:
        """The line after a step's update."""
        return ["take_next(theta, work)"] if self.running else []

    def without_gradient(self) -> list[str]:
        """The line that fills the rest of a gradient that a step leaves alone."""
        return [f"gradient[{self.plan.trained_count}:] = real(0)"] if self.plan.untrained else []

    # ---- arguments

    def step_arguments(self) -> list[str]:
        return [SEED] if self.draws else []

    def batch_arguments(self) -> list[str]:
        return [SEED, FIRST_STEP] if self.draws else []

    def loss_arguments(self) -> list[str]:
        evaluation = self.plan.evaluation
        draws = self.draws or (evaluation is not None and bool(self.plan.drawn(evaluation)))
        return [*([TRAINING] if evaluation is not None else []), *([SEED] if draws else [])]

    def prediction_arguments(self) -> list[str]:
        return [SEED] if self.plan.prediction is not None and self.plan.drawn(self.plan.prediction) else []


def uniform_lines(plan: Plan, places: Places, schedule: Schedule, step: str) -> list[str]:
    """Lines that fill the random tensors of a schedule."""
    number = numbers(plan.program)
    return [f"uniform(seed, {step}, {number[t.name]}, {places.one(t.name)})" for t in plan.drawn(schedule)]


def taken_names(plan: Plan) -> set[str]:
    """Names that arguments of compiled functions must not have."""
    return {*OF_MODES} if plan.has_modes else set()
