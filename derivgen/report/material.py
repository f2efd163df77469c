"""What a page is made from: a state of a spec, with the plan and the code of its kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from derivgen.code.tree import Function
from derivgen.declare.model import Model
from derivgen.explain.model import ModelExplanation
from derivgen.form.program import TOGETHER, Program, Role, Statement, Tensor
from derivgen.pipeline import declared_program, module_codes, plan_module, stable_program
from derivgen.plan.module_plan import ModulePlan
from derivgen.prepare.modes import in_evaluation, in_training
from derivgen.report.typeset import HtmlPage
from derivgen.review.state import State
from derivgen.schedule.schedule import Kernel

ADJOINTS = ("backward", "backward_tangent", TOGETHER)  # directions of statements that make adjoints


@dataclass(frozen=True)
class Material:
    """To be made, and read, where names are in order and SymPy leaves formulas as written."""

    state: State
    declared: Program
    plan: ModulePlan
    codes: dict[Kernel, Function]
    explanation: ModelExplanation

    @property
    def model(self) -> Model:
        return self.state.model

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """What the page has a row for: each definition, each running tensor's next value, the objective."""
        defined = (d.name for d in self.model.definitions)
        return tuple(dict.fromkeys((*defined, *self.declared.nexts, self.objective)))

    @property
    def objective(self) -> str:
        return str(self.declared.objective)

    @cached_property
    def table(self) -> dict[str, Tensor]:
        """All tensors by name, adjoints too."""
        programs = [program for program, _ in self.plan.all_kernels]
        tensors = (t for p in (self.declared, self.explanation.stable, *programs) for t in p.tensors)
        return {t.name: t for t in (*tensors, *self.explanation.bars.tensors)}

    @cached_property
    def live(self) -> Program:
        """The declared statements that the objective or the prediction needs."""
        return self.declared.live(self.declared.outputs)

    @cached_property
    def step_kernels(self) -> list[tuple[Program, Kernel]]:
        """The kernels of steps, losses and predictions, each with the program that knows its tensors."""
        programs = {kernel: program for program, kernel in reversed(self.plan.all_kernels)}
        return [(programs[k], k) for k in dict.fromkeys(k for s in self.plan.schedules for k in s.kernels)]

    def function(self, kernel: Kernel) -> str:
        """The name of the function that does what a kernel does."""
        return self.codes[self.plan.equal[kernel]].name

    def derivation(self, kernel: Kernel) -> tuple[Program, list[Statement]]:
        """A function of derivatives before it is simplified, and of its statements those that a kernel is there for."""
        request, schedule = next(item for item in self.plan.derived if kernel in item[1].kernels)
        program = self.derived[request.function]
        homes = {(k.layer, k.direction): k for k in schedule.kernels}
        found = dict[str, Kernel]()
        for s in reversed(program.statements):
            own = homes.get((s.layer, s.direction)) or found.get(s.target)  # else that of the first which reads it
            found |= dict.fromkeys(s.sources, own) if own else {}
        made = [s for s in program.statements if s.origin]
        return program, [s for s in made if (homes.get((s.layer, s.direction)) or found.get(s.target)) is kernel]

    @cached_property
    def derived(self) -> dict[str, Program]:
        """The functions of derivatives, before they are simplified."""
        modes = {True: in_training, False: in_evaluation}
        return {r.function: r.build(stable_program(modes[r.in_training](self.declared))) for r, _ in self.plan.derived}

    def owner(self, tensor: str, layer: str = "") -> str:
        """The row of a tensor: its own, that of the tensor whose derivative it is, or that which it is named after."""
        found = self.table.get(tensor)
        if tensor not in self.rows and found is not None and found.of is not None:
            return self.owner(found.of, layer)
        words = tensor.split("_")
        stems = ("_".join(words[:count]) for count in range(len(words), 0, -1))
        named = next((stem for stem in stems if stem in self.rows), layer)
        return named if named in self.rows else self.objective

    def position(self, layer: str) -> int:
        """That of the row which a layer belongs to."""
        return self.rows.index(self.owner(layer, layer))

    def origins(self, s: Statement) -> tuple[str, ...]:
        """The rows that a statement comes from: of an adjoint, those whose adjoints it reads; else its target's.

        An adjoint that reads none comes from what the objective's own adjoint, 1, has reached.
        """
        if not self.is_adjoint(s.target) or s.direction not in ADJOINTS:
            return (self.owner(s.target, s.layer),)
        bars = (r.tensor for r in s.reads if self.is_adjoint(r.tensor))
        if found := tuple(dict.fromkeys(self.owner(bar, s.layer) for bar in bars)):
            return found
        reached = self.objective in self.contributors[s.target]
        return (self.objective if reached else self.owner(s.layer, s.layer),)

    @cached_property
    def contributors(self) -> dict[str, set[str]]:
        """By adjoint, the rows whose statements contribute to it."""
        found = defaultdict[str, set[str]](set)
        for s, adjoints in self.explanation.adjoints.items():
            for adjoint in adjoints:
                found[adjoint.target].add(self.owner(s.target, s.layer))
        return found

    def is_adjoint(self, tensor: str) -> bool:
        found = self.table.get(tensor)
        return found is not None and found.role is Role.ADJOINT

    def parameters_of(self, row: str) -> Iterator[str]:
        """The parameters that a row is the first to read."""
        seen = set[str]()
        for s in self.declared.statements:
            new = [t.name for t in self.declared.parameters if t.name in s.sources and t.name not in seen]
            seen.update(new)
            if self.owner(s.target, s.layer) == row:
                yield from new


def material(state: State) -> Material:
    declared = declared_program(state.model)
    plan = plan_module(state.model, declared, state.dtype, state.header.parallel)
    training = in_training(declared)
    used = {s.target for s in declared.live(declared.outputs).statements}
    explanation = ModelExplanation(state.model, training, stable_program(training), HtmlPage, used)
    return Material(state, declared, plan, module_codes(plan), explanation)
