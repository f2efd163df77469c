"""Plan, codes of kernels → the routines of a module, in the order of its text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from derivgen.code.check_routine import check_routine
from derivgen.code.extents import with_shown_extents
from derivgen.code.names import Locals
from derivgen.code.routine import Routine, Signature, as_function, signature_of
from derivgen.code.tree import Function
from derivgen.file.fixed_names import GLOBALS
from derivgen.form.as_written import as_written
from derivgen.plan.apart import check_apart
from derivgen.plan.module_plan import ModulePlan
from derivgen.schedule.schedule import Kernel
from derivgen.whole.derivatives import Derivative
from derivgen.whole.leaves import over_rows
from derivgen.whole.library import LIBRARY, PARTS
from derivgen.whole.observation import observation
from derivgen.whole.rule import Rule
from derivgen.whole.steps import Steps


@dataclass(frozen=True)
class Whole:
    """The routines of one module.

    `steps`: what a step is made of; `over_rows`: the sums over blocks of rows, if these are independent; `derived`: by
    function, what its derivatives are; `signatures`: those of what routines call.
    """

    steps: tuple[Routine, ...]
    over_rows: tuple[Routine, ...]
    derived: Mapping[str, tuple[Routine, ...]]
    signatures: Mapping[str, Signature]

    @property
    def routines(self) -> Iterator[Routine]:
        yield from self.steps
        for routines in self.derived.values():
            yield from routines


@as_written()
def whole_model(plan: ModulePlan, codes: Mapping[Kernel, Function], called: Collection[str]) -> Whole:
    """All routines of a module, each checked; `called`: names of a language's functions, which no local has."""
    for part in (plan, *plan.parts):
        check_apart(part)
    known = LIBRARY | {code.name: signature_of(code) for code in codes.values()}
    rule = Rule(plan, called)
    steps = Steps(plan, codes, rule)
    names = Locals({*GLOBALS, *plan.kernel_names.values()})
    known[PARTS] = Signature(steps.flat("flat"), result=steps.tensors)
    derived = [Derivative(part, codes, steps.tensors, names) for part in plan.parts]

    def checked(routine: Routine) -> Routine:
        """The routine, after those that it calls."""
        shown = with_shown(routine, known)
        known[shown.name] = shown.signature
        return check_routine(shown, known)

    return Whole(
        tuple(map(checked, in_order(steps, rule))),
        tuple(map(checked, over_rows(steps))),
        {d.function: tuple(map(checked, d.routines())) for d in derived},
        known,
    )


def with_shown(routine: Routine, known: Mapping[str, Signature]) -> Routine:
    """The routine with the lengths of its loops read off arrays, except for the shortest ones, as those of kernels."""
    function = as_function(routine, known)
    return replace(routine, body=with_shown_extents(replace(function, body=routine.body)).body)


def in_order(steps: Steps, rule: Rule) -> list[Routine]:
    plan, modes = steps.plan, steps.modes
    items = [steps.split(), steps.calls.buffers()]
    items += [modes.draw(steps.calls.work_type)] if modes.is_random else []
    items += [modes.take_next(steps.tensors, steps.calls.work_type)] if modes.running else []
    items += [steps.forward(), steps.step()]
    items += [steps.forward("evaluate", "evaluation")] if plan.evaluation is not None else []
    items += rule.functions()
    items += [steps.gather(), steps.epoch(), steps.gradient_by_batches()] if plan.sample_axis else []
    items += [steps.descent(), steps.loss(), steps.gradient()]
    items += [observation(steps)] if plan.is_observed else []
    return [*items, steps.prediction()] if plan.prediction is not None else items
