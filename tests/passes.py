"""Passes of programs: what a random program computes before and after each, and what a worked example reads like.

The interpreter works at 30 digits: a value that a pass only computes in another way agrees to nearly all of them, and a
run takes some milliseconds, because the programs are small. The programs up to each pass are made once a process.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from guarded_specs import GuardedWriter
from random_specs import Spec, for_each_spec, many
from statements import SILENT, program_of

from derivgen.arrange import arrange
from derivgen.derive.differentiate import adjoint
from derivgen.derive.partials import with_tangents
from derivgen.derive.second_order import request_for
from derivgen.errors import SpecError
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.notation import print_program
from derivgen.form.program import Program, Role, Tensor
from derivgen.oracle.interpreter import run
from derivgen.oracle.tensor_values import extent_of
from derivgen.pipeline import declared_program
from derivgen.prepare.decaying_sums import decaying_sums
from derivgen.prepare.decays_by_kind import decays_by_kind
from derivgen.prepare.equal_constants import equal_constants
from derivgen.prepare.modes import in_training
from derivgen.prepare.reach_back import reach_back
from derivgen.prepare.running_sums import running_sums
from derivgen.prepare.shifted_tables import shifted_tables
from derivgen.prepare.shorten import shorten
from derivgen.prepare.stabilize import stabilize
from derivgen.simplify import simplify

Pass = Callable[[Program], Program]
Values = Mapping[str, Any]

FREE, GUARDED = 60, many(30)  # random specs of either kind
MOST_REFUSED = many(2)  # of the guarded ones: lowering need not follow every proof
DIGITS, TOLERANCE = 30, 1e-15  # sums in another order lose some of the digits, at cancellations most
DERIVED = ("hessian", "hessian_vector_product", "hessian_diagonal", "gauss_newton_vector_product")
PREPARE: tuple[Pass, ...] = (
    in_training,
    equal_constants,
    shifted_tables,
    reach_back,
    decays_by_kind,
    decaying_sums,
    running_sums,
    stabilize,
    shorten,
    with_tangents,
)


def passes_of(stage: ModuleType) -> tuple[Pass, ...]:
    """The passes in a stage's module in their order: all functions in its tables, however those group them."""
    return tuple(p for name, table in vars(stage).items() if not name.startswith("_") for p in functions_in(table))


def functions_in(table: Any) -> Iterator[Pass]:
    if isinstance(table, tuple | list):
        parts: Iterable[Any] = table
    elif isinstance(table, dict):
        parts = table.values()
    elif is_dataclass(table) and not isinstance(table, type):
        parts = [getattr(table, f.name) for f in fields(table)]
    else:
        return
    for part in parts:
        if getattr(part, "__annotations__", {}) == {"program": "Program", "return": "Program"}:
            yield part
        else:
            yield from functions_in(part)


def folder_passes(folder: ModuleType) -> tuple[Pass, ...]:
    """The functions Program → Program in the files of a folder."""
    files = [
        importlib.import_module(f"{folder.__name__}.{file.name}") for file in pkgutil.iter_modules(folder.__path__)
    ]
    own = [f for file in files for f in vars(file).values() if getattr(f, "__module__", "") == file.__name__]
    return tuple(f for f in own if [*getattr(f, "__annotations__", {}).values()] == ["Program", "Program"])


@dataclass(eq=False)
class Case:
    """A random spec at a point, and what its programs compute there."""

    spec: Spec
    declared: Program
    values: dict[str, Any]
    known: dict[int, tuple[Program, dict[str, Any]]] = field(default_factory=dict)

    def outputs(self, program: Program) -> dict[str, Any]:
        if id(program) not in self.known:
            self.known[id(program)] = program, outputs_of(program, self.values, dict(self.spec.runtime))
        return self.known[id(program)][1]


@dataclass(frozen=True)
class Step:
    """A pass on the program that the passes before it made."""

    run: Pass
    case: Case
    before: Program
    after: Program | Exception

    def check(self) -> bool:
        """The pass gives a program, and one that computes the same; whether it is another one."""
        try:
            if isinstance(self.after, Exception):
                raise self.after
            if self.after == self.before or not self.is_sound:
                return False
            assert_same(self.case.outputs(self.before), self.case.outputs(self.after))
        except Exception as error:
            shown = "" if isinstance(self.after, Exception) else f"\nafter\n{print_program(self.after)}"
            error.add_note(f"{self.run.__name__} of\n{print_program(self.before)}{shown}\nin\n{self.case.spec}")
            raise
        return True

    @property
    def is_sound(self) -> bool:
        """Whether the program before the pass can be run: if not, the test of an earlier pass says so."""
        try:
            self.case.outputs(self.before)
        except IndexError:
            return False
        return True


def outputs_of(program: Program, values: Values, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What is asked of a program, at these values of what it is given, and `seeds`."""
    found = run(program, given_to(program, values, sizes), sizes, digits=DIGITS)
    return {name: found[name] for name in program.outputs}


def given_to(program: Program, values: Values, sizes: Mapping[str, int]) -> dict[str, Any]:
    return {name: v for name, v in {**values, **seeds(program, sizes)}.items() if name in program.table}


def seeds(program: Program, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The directions and weights that a program is given."""
    found = program.of_role(Role.SEED)
    shapes = {t.name: tuple(extent_of(e, sizes) for e in t.shape) for t in found}
    return {name: np.random.default_rng(len(name)).uniform(-1, 1, shape) for name, shape in shapes.items()}


def assert_same(before: Values, after: Values, tolerance: float = TOLERANCE) -> None:
    """Equal to nearly all digits, relative to 1 or to the value; a NaN is one on both sides, and so is an infinity."""
    assert before.keys() == after.keys()
    for name, wanted in before.items():
        assert np.shape(wanted) == np.shape(after[name])
        for a, b in zip(np.ravel(wanted), np.ravel(after[name]), strict=True):
            same = a == b or (a != a and b != b) or abs(a - b) <= tolerance * (1 + abs(a))
            assert same, f"{name} is\n{after[name]}, before the pass\n{wanted}"


# ---- worked examples


@dataclass(frozen=True)
class Example:
    """Statements before and after a pass, as they print; the rest is what `statements.program_of` is told."""

    before: str
    after: str
    roles: Mapping[str, Role] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None
    same: bool = True  # whether the pass gives a program of the same values
    tables: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @as_written()
    def check(self, run: Pass) -> None:
        before, wanted = lines_of(self.before), lines_of(self.after)
        program = program_of(before, self.roles, self.shapes, self.outputs, self.tables)
        printed = print_program(program)
        assert any(name in before for name in SILENT) or printed == before, f"prints as\n{printed}"
        found = check_program(run(program))
        assert print_program(found) == wanted, f"{run.__name__} gives\n{print_program(found)}\nand not\n{wanted}"
        if self.same:
            values = {t.name: drawn(t) for t in program.of_role(*DRAWN)}
            assert_same(outputs_of(program, values, SIZES), outputs_of(found, values, SIZES))


SIZES = {"N": 3}
DRAWN = Role.PARAMETER, Role.INPUT, Role.LABELS, Role.RUNNING, Role.RANDOM


def kept(before: str, **more: Any) -> Example:
    """An example that a pass must leave as it is."""
    return Example(before, before, **more)


def lines_of(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def drawn(t: Tensor) -> np.ndarray:
    """Positive numbers, or classes."""
    rng, shape = np.random.default_rng(len(t.name)), tuple(extent_of(e, SIZES) for e in t.shape)
    return rng.integers(0, t.classes, shape) if t.classes else rng.uniform(0.5, 1.5, shape)


def examples_of(table: Mapping[Pass, Iterable[Example]]) -> list[Any]:
    """The examples as parameters of a test, each with its pass."""
    return [
        pytest.param(p, example, id=f"{p.__name__}-{k}")
        for p, examples in table.items()
        for k, example in enumerate(examples)
    ]


def by_name(passes: Iterable[Pass]) -> list[Any]:
    """Passes as parameters of a test, each once."""
    return [pytest.param(p, id=p.__name__) for p in dict.fromkeys(passes)]


# ---- the random programs


@functools.cache
def cases() -> tuple[Case, ...]:
    found: list[Case] = []

    def add(spec: Spec) -> None:
        declared = declared_program(spec.model())
        found.append(Case(spec, declared, spec.values(declared)))

    for_each_spec(add, FREE, start=800)
    refused = 0
    for number in range(GUARDED):
        try:
            add(GuardedWriter(Random(number)).spec())
        except SpecError:
            refused += 1
    assert refused <= MOST_REFUSED
    return tuple(found)


Walk = tuple[Step, ...]


def walk(case: Case, program: Program, passes: Iterable[Pass]) -> Walk:
    """Each pass on the program that the one before it gave, up to one that fails."""
    steps: list[Step] = []
    for p in passes:
        steps.append(stepped(p, case, program))
        if isinstance(steps[-1].after, Exception):
            break
        program = steps[-1].after
    return tuple(steps)


@as_written()
def stepped(p: Pass, case: Case, program: Program) -> Step:
    try:
        return Step(p, case, program, check_program(p(program)))
    except Exception as error:
        return Step(p, case, program, error)


def ends(walks: Iterable[Walk]) -> Iterator[tuple[Case, Program]]:
    """The programs after all passes."""
    last = [steps[-1] for steps in walks]
    yield from ((step.case, step.after) for step in last if isinstance(step.after, Program))


@functools.cache
def prepared() -> tuple[Walk, ...]:
    return tuple(walk(case, case.declared.live(case.declared.outputs), PREPARE) for case in cases())


@functools.cache
def derivatives() -> tuple[tuple[Case, Program | Exception], ...]:
    """Functions of derivatives, simplified on the way to them: those that specs ask for, and others of some."""
    found: list[tuple[Case, Program | Exception]] = []
    for k, (case, stable) in enumerate(ends(prepared())):
        for name in (*case.spec.model().requests, *(DERIVED[k // 3 % len(DERIVED)] for _ in range(k % 3 == 0))):
            try:
                program = check_program(request_for(name, case.declared).build(stable))
                case.outputs(program)
                found.append((case, program))
            except Exception as error:
                found.append((case, error))
    return tuple(found)


@functools.cache
def simplified() -> tuple[Walk, ...]:
    """Of each spec the training and what it predicts, and functions of derivatives."""
    roots = [(case, program) for case, program in derivatives() if isinstance(program, Program)]
    for case, stable in ends(prepared()):
        roots.append((case, adjoint(stable.live([str(stable.objective), *stable.nexts]))))
        if stable.prediction is not None:
            roots.append((case, stable.live([stable.prediction])))
    return tuple(walk(case, root, (simplify.forget_stop_gradients, *passes_of(simplify))) for case, root in roots)


@functools.cache
def arranged() -> tuple[Walk, ...]:
    return tuple(walk(case, program, passes_of(arrange)) for case, program in ends(simplified()))


def steps_of(p: Pass, walks: Iterable[Walk]) -> list[Step]:
    return [step for steps in walks for step in steps if step.run is p]


def check_steps(p: Pass, walks: Iterable[Walk]) -> int:
    """All steps of a pass compute the same before and after it; how many of them it changed."""
    return sum(step.check() for step in steps_of(p, walks))
