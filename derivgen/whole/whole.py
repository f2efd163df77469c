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
from derivgen.form.program import Tensor
from derivgen.plan.apart import check_apart
from derivgen.plan.module_plan import ModulePlan
from derivgen.schedule.schedule import Kernel
from derivgen.whole.derivatives import Derivative
from derivgen.whole.labels import labels_in_range
from derivgen.whole.library import LIBRARY, OBSERVE, UNIFORM
from derivgen.whole.observation import observation
from derivgen.whole.rule import Rule
from derivgen.whole.steps import Steps

Item = Routine | str  # a routine, or the name of a function that a language brings


@dataclass(frozen=True)
class Whole:
    """The routines of one module.

    `steps`: what a step is made of; `derived`: by function, what its derivatives are; `labels`: the check of labels,
    and that of the prediction's where it is another; `signatures`: of all that routines call.
    """

    steps: tuple[Item, ...]
    derived: Mapping[str, tuple[Routine, ...]]
    labels: Mapping[str, Routine]
    signatures: Mapping[str, Signature]

    @property
    def routines(self) -> Iterator[Routine]:
        yield from (item for item in self.steps if isinstance(item, Routine))
        for routines in self.derived.values():
            yield from routines
        yield from self.labels.values()


@as_written()
def whole_model(plan: ModulePlan, codes: Mapping[Kernel, Function], called: Collection[str]) -> Whole:
    """All routines of a module, each checked; `called`: names of a language's functions, which no local has."""
    for part in (plan, *plan.parts):
        check_apart(part)
    known = LIBRARY | {code.name: signature_of(code) for code in codes.values()}
    rule = Rule(plan, called)
    steps = Steps(plan, codes, rule)
    names = Locals({*GLOBALS, *plan.kernel_names.values()})
    derived = [Derivative(part, codes, steps.tensors, names) for part in plan.parts]

    def checked(routine: Routine) -> Routine:
        """The routine, after those that it calls."""
        shown = with_shown(routine, known)
        known[shown.name] = shown.signature
        return check_routine(shown, known)

    return Whole(
        tuple(item if isinstance(item, str) else checked(item) for item in in_order(steps, rule)),
        {d.function: tuple(map(checked, d.routines())) for d in derived},
        {name: checked(routine) for name, routine in label_checks(plan).items()},
        known,
    )


def with_shown(routine: Routine, known: Mapping[str, Signature]) -> Routine:
    """The routine with the lengths of its loops read off arrays, but for the shortest ones, as those of kernels."""
    function = as_function(routine, known)
    return replace(routine, body=with_shown_extents(replace(function, body=routine.body)).body)


def in_order(steps: Steps, rule: Rule) -> list[Item]:
    plan, modes = steps.plan, steps.modes
    items: list[Item] = [steps.split(), steps.calls.buffers()]
    items += [UNIFORM] if plan.random else []
    items += [modes.draw(steps.calls.work_type)] if modes.is_random else []
    items += [modes.take_next(steps.tensors, steps.calls.work_type)] if modes.running else []
    items += [steps.forward(), steps.step()]
    items += [steps.forward("evaluate", "evaluation")] if plan.evaluation is not None else []
    items += rule.functions()
    items += [steps.gather(), steps.epoch(), steps.gradient_by_batches()] if plan.sample_axis else []
    items += [steps.descent(), steps.loss(), steps.gradient()]
    items += [OBSERVE, observation(steps)] if plan.is_observed else []
    return [*items, steps.prediction()] if plan.prediction is not None else items


def label_checks(plan: ModulePlan) -> dict[str, Routine]:
    """The check of all labels, and that of the labels of the prediction, by the prefix of its name."""
    checks = {"": labels_in_range("labels_in_range", plan.labels)} if plan.labels else {}
    own = prediction_labels(plan)
    return checks | ({"prediction_": labels_in_range("prediction_labels_in_range", own)} if own else {})


def prediction_labels(plan: ModulePlan) -> list[Tensor]:
    """The labels that `predict` is given, where the checks of a step won't do: they look at other arguments."""
    if plan.prediction is None:
        return []
    given = plan.prediction_inputs
    labels = [t for t in given if t.integer]
    same = [(t, given.index(t)) for t in labels] == [(t, plan.inputs.index(t)) for t in plan.labels]
    return [] if same else labels
