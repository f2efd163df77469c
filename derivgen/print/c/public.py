"""The functions of C that callers use: those that Python's callers have, each with a status, and checks before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.code.routine import Group, Routine, array, as_function, proof_of
from derivgen.code.tree import Block, Call, Code, Copied, Fill, Kind, Number, Return
from derivgen.code.visit import indices_in, statements_in
from derivgen.form.expressions import Read, size_symbol, substitute
from derivgen.form.program import Role, Tensor
from derivgen.plan.derivative_plan import DerivativePlan
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.c.kernels import Parameter, Text, function_text, shapes_of
from derivgen.print.c.routines import RETURNED, Bound, Fields, Module, RoutinePrinter
from derivgen.print.c.scalar import Variable
from derivgen.print.c.words import RESULT
from derivgen.print.layout import Part, indented, line
from derivgen.whole.calls import STATE
from derivgen.whole.labels import label_check
from derivgen.whole.modes import FIRST_STEP
from derivgen.whole.steps import STEPS

UPDATE = "update_kernel"  # which an epoch calls too
BY_BATCHES = "gradient_by_batches"
CHECKED = ("epoch", BY_BATCHES)  # labels are checked with the numbers of rows
OF_BLOCKS = ("loss_kernel", "gradient_kernel")  # what callers in Python call for each block of rows
MOST_STEPS = 2**53  # which a double still counts
LOSSES = "losses.shape[0]"  # steps, of which there may be none
SHAPE = re.compile(r", shape \([^)]*\)")  # what Python's callers get; C's own line of shapes says how arrays lie

NAMES = {
    "loss_kernel": ("loss", "The objective at these parameters."),
    "gradient_kernel": ("loss_and_gradient", "The objective, and its gradient with respect to each parameter."),
    "prediction_kernel": ("predict", "The prediction for these inputs."),
    UPDATE: ("update", "One step of the update rule, in place."),
    "epoch": (
        "train_epoch",
        "One pass over the rows in `order`, batch_size at a time, in place; the result is the mean loss by rows.",
    ),
    "gradient_by_batches": ("mean_gradient", "The mean loss of the rows in `order`, and in `total` its gradient."),
    "descent": ("descend", "As many steps on all the data as there are losses, in place; `losses` has that of each."),
    "observation": (
        "activations",
        "What each layer gives: (root mean square, share of units that are 0 in every row), layer by layer.",
    ),
}


@dataclass(frozen=True, slots=True)
class Public:
    """A function for callers: its name in Python, and its text; the tensors that its arguments are."""

    of: str  # the routine that it is
    function: str
    text: Text
    tensors: Mapping[str, str]

    @property
    def prototype(self) -> list[str]:
        *head, last = self.text.lines[: len(self.text.head)]
        return [*head, f"{last};"]


def write_public(routine: Routine, plan: ModulePlan, module: Module, by_python: bool = False) -> Public:
    """A routine as callers have it. `by_python`: only a module of Python calls it, which has checked the settings, and
    which computes blocks of rows: it gives each its share of what has no rows, where that is needed.
    """
    meanings = {f"{p.function}_kernel": (p.function, f"{SHAPE.sub('', p.request.meaning)}.") for p in plan.parts}
    function, words = (NAMES | meanings)[routine.name]
    called = replace(routine, words=(words, *routine.words[1:]))
    if routine.name == UPDATE:
        arguments = routine.arguments.items()
        given = tuple(Number(Read(name), t) if isinstance(t, Kind) else name for name, t in arguments)
        called = replace(routine, body=(Call(UPDATE, given),))
    if routine.name == BY_BATCHES:
        called = replace(called, body=after_checks(Fill("total", sp.S.Zero), routine.body))
    as_code = as_function(called, module.signatures)
    printer = PublicPrinter(called, module, as_code, proof_of(called, as_code), plan, by_python)
    tensors = {name: t.name for name, t in called.arguments.items() if isinstance(t, Tensor)}
    return Public(routine.name, function, printer.whole(f"{module.name}_{function}"), tensors)


def after_checks(code: Code, body: Block) -> Block:
    """The statements with one more, after those that may end the function before its end."""
    checks = [n for n, own in enumerate(body[:-1]) if any(isinstance(c, Return) for c in statements_in((own,)))]
    place = max(checks, default=-1) + 1
    return (*body[:place], code, *body[place:])


class PublicPrinter(RoutinePrinter):
    """Writes a routine with its checks; constants are the module's own, but for one that is given."""

    def __init__(  # type: ignore[no-untyped-def]
        self, routine: Routine, module: Module, function, proof, plan: ModulePlan, by_python: bool
    ) -> None:
        super().__init__(routine, module, function, proof)
        self.plan, self.by_python = plan, by_python
        given = plan.share if by_python and routine.name in OF_BLOCKS else None
        arrays = ((name, t) for name, t in routine.arguments.items() if isinstance(t, Tensor))
        self.result_shape: tuple[sp.Expr, ...] = (sp.S.One,)
        self.constants = {name: t for name, t in arrays if t.role is Role.CONSTANT and t != given}

    def whole(self, name: str) -> Text:
        body = self.block(self.routine.body, 1)
        labels = self.label_checks()
        sizes = self.sizes()
        returning = [] if body and body[-1].startswith("return ") else [f"return {self.status('OK')};"]
        lines = [*self.size_checks(sizes), *self.setting_checks(), *labels, *body, *returning]
        parameters = [p for p in self.parameters() if p.of not in self.constants]
        words = (*self.routine.words, *shapes_of(self.arrays_of(parameters), self))
        return function_text(name, "int", words, sizes, [*parameters, *self.results], lines, self)

    def arrays_of(self, parameters: Sequence[Parameter]) -> list[tuple[str, Tensor]]:
        """The arrays that callers pass; the memory of an epoch is that of a batch."""
        arrays: dict[str, Tensor] = {}
        for p in parameters:
            owner, _, part = p.of.rpartition(".")
            group, alone = self.routine.arguments.get(owner), self.routine.arguments.get(p.of)
            if isinstance(group, Group):
                arrays[slot_name(part)] = group.fields[part]
            elif isinstance(alone, Tensor):
                arrays[p.of] = alone
        if self.routine.name in CHECKED:
            batch = {size_symbol(str(self.plan.sample_axis)): size_symbol("batch_size")}
            for name in self.plan.memories:
                arrays[name] = replace(arrays[name], shape=tuple(substitute(e, batch) for e in arrays[name].shape))
        shape = self.result_shape if self.results else None
        return [*arrays.items(), *([(RETURNED, array(RESULT, *shape))] if shape is not None else [])]

    def argument(self, name: str, group: Group) -> Bound:
        """The state of the update rule has the names of its slots."""
        if group.kind != STATE:
            return super().argument(name, group)
        arrays = ((part, self.name(slot_name(part)), t) for part, t in group.fields.items())
        return Fields({part: self.array(f"{name}.{part}", own, t) for part, own, t in arrays})

    def status(self, word: str) -> str:
        return f"{self.module.prefix}_{word}"

    def variable(self, name: str) -> Variable:
        found = super().variable(name)
        return replace(found, base=constant_name(self.constants[name].name)) if name in self.constants else found

    # ---- checks

    def refused(self, conditions: Sequence[str], status: str) -> list[str]:
        if not conditions:
            return []
        return [f"if ({' || '.join(conditions)}) {{", *indented([f"return {self.status(status)};"]), "}"]

    def size_checks(self, sizes: Sequence[str]) -> list[str]:
        sizes = [size for size in sizes if size != LOSSES]
        counts = [*sizes, *(["batch_size"] if "batch_size" in self.routine.arguments else [])]
        return self.refused([f"{self.name(size)} < 1" for size in counts], "BAD_SIZE")

    def setting_checks(self) -> list[str]:
        """Those of numbers that must not be negative, NaN fails too; and of counts of steps."""
        if self.by_python:
            return []
        rule = self.plan.rule
        names = [name for name, t in self.routine.arguments.items() if t is Kind.DOUBLE]
        signs = dict.fromkeys(rule.nonnegative, ">=") | dict.fromkeys(rule.positive, ">")
        wrong = [f"!({self.name(name)} {signs[name]} 0.0)" for name in names if name in signs]
        steps = [f"{self.name(STEPS)}[0]"] if self.counts_steps else []
        steps += [self.name(FIRST_STEP)] if FIRST_STEP in self.routine.arguments else []
        return self.refused([*wrong, *(f"{n} < 0 || {n} > {MOST_STEPS}" for n in steps)], "BAD_SETTING")

    @property
    def counts_steps(self) -> bool:
        groups = (t for t in self.routine.arguments.values() if isinstance(t, Group))
        return STEPS in self.routine.arguments or any(group.kind == STATE for group in groups)

    def label_checks(self) -> list[str]:
        """The loops that end the function where a label is no class."""
        if self.routine.name in CHECKED:
            return []
        labels = [(n, t) for n, t in self.routine.arguments.items() if isinstance(t, Tensor) and t.classes is not None]
        checks = tuple(label_check(t, name, Return((sp.true, sp.S.Zero))) for name, t in labels)
        lines = self.block(checks, 1, (-1, 0))
        self.scalar.names -= {str(i) for i in indices_in(checks)}
        return lines

    # ---- what is returned

    def returned(self, code: Return, depth: int) -> list[str]:
        match code.results:
            case (sp.logic.boolalg.BooleanTrue(), _):
                return [f"return {self.status('OUT_OF_RANGE')};"]
            case (sp.logic.boolalg.BooleanFalse(), sp.Expr() as value):
                return self.stored(self.value(value), self.real, depth)
            case (Copied(copied),):
                self.result_shape = self.shapes.array(copied).shape
                return super().returned(code, depth)
            case (Call() as call,):
                return self.stored(self.call(call), self.returned_by(call), depth)
            case (sp.Expr() as value,):
                return self.stored(self.value(value), self.real, depth)
        raise AssertionError(f"{code} returns nothing that C can")

    def stored(self, value: Part, type_: str, depth: int) -> list[str]:
        """`*result = value; return DIGITS_OK;`, the last line only at the end of the function."""
        self.result(type_)
        own = line(f"*{RESULT} = ", value, ";", depth)
        return [*own, f"return {self.status('OK')};"] if depth > 1 else own


def slot_name(part: str) -> str:
    """How callers know a part of the state of an update rule."""
    return STEPS if part == "step" else part


def constant_name(tensor: str) -> str:
    return f"constant_{tensor}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """How many reals and integers a function's buffers take: C's functions that tell it."""

    function: str | None  # the derivative, None for the functions of a step
    sizes: tuple[str, ...]
    reals: sp.Expr
    integers: sp.Expr | None


def workspaces(plan: ModulePlan) -> list[Workspace]:
    """That of a step, and those of derivatives."""
    reals = plan.storage.reals + (2 if plan.training.in_place else 0)  # the factors of products
    found = [workspace_of(None, plan, sp.sympify(reals))]
    return [*found, *(workspace_of(p.function, p, sp.sympify(p.storage.reals)) for p in plan.parts if p.workspace)]


def workspace_of(function: str | None, plan: ModulePlan | DerivativePlan, reals: sp.Expr) -> Workspace:
    integers = plan.storage.integers if len(plan.memories) > 1 else None
    return Workspace(function, tuple(plan.runtime_sizes), reals, None if integers is None else sp.sympify(integers))
