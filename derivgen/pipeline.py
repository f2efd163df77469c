"""The stages in order: a model goes in, a module's text comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from derivgen.arrange.arrange import arrange
from derivgen.code.common_kernels import Coded, with_common_kernels
from derivgen.code.passes import kernel_code
from derivgen.code.tree import Function
from derivgen.declare.lower import lower
from derivgen.declare.model import Model
from derivgen.declare.suspicious import summed_and_on_the_left, zeros_that_stay
from derivgen.derive.by_row import mixed_axes
from derivgen.derive.cotangents import tensors_behind
from derivgen.derive.differentiate import adjoint
from derivgen.derive.over_rows import over_rows, with_share
from derivgen.derive.partials import with_tangents
from derivgen.derive.second_order import derived_program, request_for
from derivgen.errors import Problem
from derivgen.file.contract import DTYPES
from derivgen.file.fixed_names import GLOBALS
from derivgen.file.headers import Generated
from derivgen.form.as_written import as_written
from derivgen.form.expressions import size_symbol
from derivgen.form.formulas import folded, formulas
from derivgen.form.functions import stop_gradient
from derivgen.form.notation import print_program
from derivgen.form.places import names_in_order
from derivgen.form.program import TOGETHER, Program, Role, Tensor, renamed_apart
from derivgen.form.squares import with_roots
from derivgen.plan.cost_report import Report, cost_report
from derivgen.plan.cost_text import header_lines
from derivgen.plan.derivative_plan import pass_after_pass
from derivgen.plan.module_plan import ModulePlan, axes_beyond_first, sample_axis
from derivgen.plan.summary import summary_text
from derivgen.prepare.decaying_sums import decaying_sums
from derivgen.prepare.decays_by_kind import decays_by_kind
from derivgen.prepare.determined import at_determined_indices
from derivgen.prepare.equal_constants import equal_constants, with_equal_ones_told
from derivgen.prepare.matrices import matrices
from derivgen.prepare.modes import has_modes, in_evaluation, in_training
from derivgen.prepare.powers import powers_of_one
from derivgen.prepare.reach_back import reach_back
from derivgen.prepare.running_sums import running_sums
from derivgen.prepare.shifted_tables import shifted_tables
from derivgen.prepare.shorten import shorten
from derivgen.prepare.stabilize import stabilize
from derivgen.prepare.whole_steps import whole_steps
from derivgen.print.c.casadi import write_casadi
from derivgen.print.c.module import Sources, write_sources
from derivgen.print.elementary import CALLED
from derivgen.print.kernels import RESERVED, documented
from derivgen.print.module.module import kernels_by_layer, write_module
from derivgen.print.module.native import write_built, write_native
from derivgen.print.naming import check_names
from derivgen.print.templates import generator_digest
from derivgen.schedule.parallel import in_threads
from derivgen.schedule.schedule import Kernel, Schedule, schedule, share_kernels
from derivgen.simplify.simplify import simplify
from derivgen.stages import reached, watched
from derivgen.update.notation import rule_words
from derivgen.update.rule import factors_of
from derivgen.whole.whole import Whole, whole_model


def declared_program(model: Model) -> Program:
    """The program as the user declared it; raises SpecError with every problem of the spec."""
    return lower(model)


def declared_formulas(declared: Program) -> list[str]:
    """The formulas of what a module computes, as its user declared them, by the names that the module has."""
    return formulas(with_equal_ones_told(declared.live(declared.outputs)))


def stable_program(declared: Program) -> Program:
    """What the declared program computes, without overflow and cancellation, its partial derivatives as tangents."""
    reached("rewrite what could overflow")
    once = shifted_tables(equal_constants(declared.live(declared.outputs)))
    running = running_sums(decaying_sums(decays_by_kind(reach_back(powers_of_one(whole_steps(once))))))
    tame = shorten(matrices(stabilize(running)))
    return with_roots(at_determined_indices(with_tangents(tame)))


def training_program(stable: Program) -> Program:
    """Objective, gradients and the next values of running tensors, simplified."""
    reached("differentiate")
    return simplify(adjoint(stable.live([str(stable.objective), *stable.nexts])))


def zero_by_structure(declared: Program, order: int) -> set[str]:
    """The parameters whose gradient, or with `order` 2 whose product with the Hessian, no statement writes: it is 0."""
    stable = stable_program(in_training(declared))
    request = request_for("hessian_vector_product", declared)
    program = training_program(stable) if order == 1 else derived_program(request, stable)
    bars = dict(program.gradients)
    return {p.name for p in declared.parameters if bars.get(p.name) not in program.writers}


def evaluation_program(stable: Program) -> Program:
    """The objective alone, simplified."""
    return simplify(stable.live([str(stable.objective)]))


def prediction_program(stable: Program) -> Program:
    """What `predict` returns, simplified."""
    return simplify(stable.live([str(stable.prediction)]))


def plan_module(
    model: Model,
    declared: Program,
    dtype: str,
    parallel: bool = False,
    functions: Sequence[str] | None = None,
) -> ModulePlan:
    """All that the module's text is written from.

    `parallel`: large loops run in threads; `functions` of derivatives are those that the spec asks for if None.
    """
    modes = has_modes(declared)
    stepping, evaluating = (stable_program(mode(declared)) for mode in (in_training, in_evaluation))
    combined, stable, evaluated = in_blocks(stepping, evaluating)
    threaded = in_threads if parallel and combined is None else lambda result: result
    in_place = factors_of(model.rule) is not None and not model.groups
    training = threaded(schedule(arrange(training_program(stable)), in_place=in_place, together=True))
    known = [training]

    def beside(program: Program) -> Schedule:
        """The schedule of a program that shares buffers, and kernels where it can, with those before it."""
        arranged = renamed_apart(arrange(program), *(other.program for other in known))
        known.append(share_kernels(threaded(schedule(arranged, together=True)), known))
        return known[-1]

    def apart(program: Program) -> Schedule:
        """The schedule of a program with buffers of its own."""
        own = pass_after_pass(threaded(schedule(arrange(program))))
        known.append(share_kernels(own, known, buffers=False))
        return known[-1]

    apart_from_step = any(k.direction == TOGETHER for k in training.kernels)
    objective = beside(evaluation_program(stable)) if apart_from_step else None
    evaluation = beside(evaluation_program(evaluated)) if modes else None
    predicted = prediction_program(evaluated) if declared.prediction is not None else None
    prediction = beside(predicted) if predicted is not None else None
    requests = [request_for(name, declared) for name in (model.requests if functions is None else functions)]
    derived = tuple((r, apart(derived_program(r, stable if r.in_training else evaluated))) for r in requests)
    mixed = mixed_axes(predicted) if predicted is not None else ()
    return ModulePlan(
        training,
        model.rule,
        dtype,
        prediction,
        evaluation,
        objective,
        groups=model.groups,
        derived=derived,
        mixed_axes=mixed,
        combined=combined,
    )


def in_blocks(stepping: Program, evaluating: Program) -> tuple[str | None, Program, Program]:
    """How the objective follows from those of blocks of rows, and both programs as blocks have them."""
    axis = sample_axis(stepping)
    summed = axis and stepping.parameters and not stepping.running
    kinds = {over_rows(p, size_symbol(str(axis))) for p in (stepping, evaluating)} if summed else {None}
    if None in kinds or len(kinds) > 1:
        return None, stepping, evaluating
    return kinds.pop(), with_share(stepping, size_symbol(str(axis))), with_share(evaluating, size_symbol(str(axis)))


def module_codes(plan: ModulePlan) -> dict[Kernel, Function]:
    """The code of each kernel that the module has."""
    names, main = plan.kernel_names, {plan.equal[k] for s in plan.schedules for k in s.kernels}
    own = sorted((item for item in plan.kernels_forwards if item[1] in names), key=lambda item: item[1] not in main)
    coded = (Coded(program, k, kernel_code(program, k, names[k], RESERVED)) for program, k in own)
    codes = with_common_kernels(coded, RESERVED, GLOBALS)
    return {kernel: codes[kernel] for kernel in names}


def routines(plan: ModulePlan, codes: Mapping[Kernel, Function]) -> Whole:
    """The code of the functions that call kernels."""
    return whole_model(plan, codes, CALLED)


def module_text(
    declared: Program,
    plan: ModulePlan,
    codes: Mapping[Kernel, Function],
    block: int | None = None,
    parallel: bool = False,
) -> str:
    """The module's text after its header docstring."""
    return check_names(
        write_module(
            folded(declared_formulas(declared)),
            plan,
            codes,
            routines(plan, codes),
            block,
            parallel,
        )
    )


@names_in_order()
def cost_of(model: Model, dtype: str) -> Report:
    """What the functions of a model's module cost; raises SpecError with every problem of the spec."""
    plan = plan_module(model, declared_program(model), dtype)
    return cost_report(plan, module_codes(plan))


@names_in_order()
def summary_of(model: Model, report: Report, width: int) -> str:
    """A model at a glance, with what it costs by a report, in lines of this width."""
    return summary_text(declared_program(model), report, width, update_words(model))


def update_words(model: Model, given: Mapping[str, float] | None = None) -> str:
    """The update rule with its hyperparameters, which are the given ones where there are some."""
    default = "" if model.update_place else ", as the spec has no model.update"
    return f"{rule_words(model.rule, given)}{default}"


@as_written()
@names_in_order()
def docstrings(model: Model) -> dict[str, tuple[str, ...]]:
    """The lines of the docstring of each kernel of the layers, by its name, in the order of the module."""
    plan = plan_module(model, declared_program(model), model.dtype or DTYPES[0], functions=())
    codes = module_codes(plan)
    kernels = [kernel for group in kernels_by_layer(plan, codes).values() for kernel in group]
    return {codes[k].name: documented(codes[k]) for k in kernels}


@as_written()
@names_in_order()
def spec_digest(model: Model) -> str:
    """The digest that the header of the model's module has; raises SpecError with every problem of the spec."""
    return digest(model, declared_program(model))


@as_written()
@names_in_order()
@watched("generate")
def generate_body(
    model: Model,
    dtype: str = DTYPES[0],
    parallel: bool = False,
    name: str | None = None,
    functions: Sequence[str] | None = None,
) -> Generated:
    """The module of a model; raises SpecError with every problem of the spec.

    `parallel` and `functions` as in `plan_module`; `name` stands in the module's `__name__`, by which numba's cache and
    sys.modules know it; the model's own if None.
    """
    declared = declared_program(model)
    plan = plan_module(model, declared if name is None else replace(declared, name=name), dtype, parallel, functions)
    codes = module_codes(plan)
    costs = cost_report(plan, codes)
    return described(model, declared, plan, costs, module_text(declared, plan, codes, costs.block, parallel))


def described(model: Model, declared: Program, plan: ModulePlan, costs: Report, body: str) -> Generated:
    """A text with what its header says."""
    return Generated(
        name=model.name,
        body=body,
        spec_digest=digest(model, declared),
        sizes=sizes_line(declared),
        costs=header_lines(costs),
        warnings=(
            *unused_parameters(model, declared),
            *summed_and_on_the_left(model),
            *zeros_that_stay(model, plan.training.program),
        ),
        generator=generator_digest()[:8],
    )


@as_written()
@names_in_order()
@watched("generate")
def generate_sources(
    model: Model, dtype: str = DTYPES[0], rows: int | None = None, stem: str | None = None, casadi: bool = False
) -> tuple[Generated, Generated, Sources]:
    """The header and the file of C of a model; raises SpecError with every problem of the spec.

    `rows`: how many rows callers have, if that is known; `stem`: the name of both files without what it ends in;
    `casadi`: whether the sources have the text for CasADi too.
    """
    declared = declared_program(model)
    plan = plan_module(model, declared, dtype)
    codes = module_codes(plan)
    words = folded(declared_formulas(declared))
    stem = stem or f"{model.name}_kernels"
    sources = write_sources(words, plan, codes, routines(plan, codes), rows, stem)
    if casadi:
        sources = replace(sources, casadi=write_casadi(plan, sources.functions, sources.workspaces, rows, stem))
    header = described(model, declared, plan, cost_report(plan, codes), sources.header)
    return header, replace(header, body=sources.file), sources


@as_written()
@names_in_order()
@watched("generate")
def generate_native(
    model: Model, dtype: str, stem: str, parallel: bool = False, name: str | None = None
) -> tuple[Generated, dict[str, str]]:
    """A module that calls a library of C, and what the library is compiled from, by the files' names.

    Raises SpecError with every problem of the spec. `stem`: of those names; `parallel`: threads take blocks of rows, or
    large loops; `name`: of the model, its own if None.
    """
    declared = declared_program(model)
    plan = plan_module(model, declared if name is None else replace(declared, name=name), dtype, parallel)
    codes = module_codes(plan)
    words, whole = folded(declared_formulas(declared)), routines(plan, codes)
    costs = cost_report(plan, codes)
    sources = write_sources(words, plan, codes, whole, None, stem, by_python=True)
    texts = {f"{stem}.h": sources.header, f"{stem}.c": sources.file}
    built_from = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    body = check_names(write_native(words, plan, whole, sources, built_from, costs.block, parallel))
    texts[f"{stem}_built.c"] = write_built(built_from, dtype)
    return described(model, declared, plan, costs, body), texts


def digest(model: Model, declared: Program) -> str:
    """Changes where the generated module would mean something else; blind to the layout of the spec."""
    facts: list[Any] = [print_program(declared), declared.sizes, declared.objective, declared.prediction, model.rule]
    order = declared.residuals if len(declared.residuals) > 1 else ()
    facts += [part for part in (model.groups, model.requests, order) if part]
    for t in declared.tensors:
        values = [None if a is None else a.tolist() if hasattr(a, "tolist") else a for a in (t.initial, t.value)]
        facts.append((t.name, t.shape, t.role.value, t.classes, t.ignore, values))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def sizes_line(program: Program) -> str:
    """`D = 64, H = 32; N at run time`."""
    fixed = ", ".join(f"{name} = {value}" for name, value in program.sizes if value.is_Integer)
    runtime = ", ".join(name for name, value in program.sizes if not value.is_Integer)
    parts = [fixed, f"{runtime} at run time" if runtime else ""]
    return "; ".join(p for p in parts if p) or "none"


def unused_parameters(model: Model, program: Program) -> tuple[Problem, ...]:
    """A warning for each parameter that the objective does not depend on."""
    warnings = []
    training = in_training(program)
    needed = tensors_behind(training, str(program.objective))
    for t in program.parameters:
        if t.name not in needed:
            warnings.append(Problem(model.declarations[t.name].place, why_no_gradient(training, t.name)))
    warnings += [Problem(model.declarations[t.name].place, without_epochs(t.name)) for t in ungathered(program)]
    return tuple(warnings)


def why_no_gradient(program: Program, parameter: str) -> str:
    """Why the gradient with respect to a parameter is 0: nothing reads it, or nothing reads it smoothly."""
    live = program.live([str(program.objective)]).statements
    if not any(parameter in s.sources for s in live):
        return f"the objective does not depend on parameter {parameter}: its gradient is 0"
    if any(e.has(stop_gradient) for s in live for e in (s.expression, s.guard)):
        return (
            f"the objective depends on {parameter} only through conditions or stop_gradient: its derivative is taken "
            "as 0"
        )
    return (
        f"the objective depends on {parameter} only through conditions: its derivative is 0 wherever it exists; a "
        "jump contributes nothing"
    )


def ungathered(program: Program) -> list[Tensor]:
    first = next((name for name, value in program.sizes if not value.is_Integer), "")
    return axes_beyond_first(program.of_role(Role.INPUT, Role.LABELS), first) if first else []


def without_epochs(name: str) -> str:
    return (
        f"input {name} has the sample axis elsewhere than first, so that no rows of it can be gathered: the module "
        "has no train_epoch; descend takes all the data"
    )
