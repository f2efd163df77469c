"""The intermediate form: a program is an ordered list of statements of one form.

    target[g(d)]  ⊕=  f(d)    for every d in a box D of indices, where the guard holds;  ⊕ is +, max or assignment

`f` is a scalar expression (see `expressions`), `g` its integer subscripts. Every tensor is complete before it is
read: all statements that write it come before the first that reads it. A `+=` target starts at 0, a `max=` target at
-∞. The form is closed under differentiation, so each stage takes a Program and gives a Program.

Statements in a row with one and the same `scan` run together, one step of its index after another, first or last step
first. So they may read what earlier steps have written: an element is complete before it is read (see `scans`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, Literal

import numpy as np
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.expressions import (
    TRUE,
    Conditions,
    Read,
    all_of,
    any_of,
    guarded_reads,
    indices_of,
    is_size,
    reads_of,
    rename_tensors,
    subexpressions,
    substitute,
)
from derivgen.form.functions import partial
from derivgen.form.tables import Formula

Operator = Literal["=", "+=", "max=", "argmax="]
# The pass that made a statement: one of PASSES, or the name of an output's derivatives by layer: "p_through_{}".
Direction = str
TOGETHER: Direction = "gradient"  # of rows whose values and adjoints are computed one after another
PASSES = ("forward", "backward", "tangent", "backward_tangent", TOGETHER)


class Role(Enum):
    INPUT = "input"
    LABELS = "labels"
    PARAMETER = "parameter"
    CONSTANT = "constant"
    LET = "let"  # declared by the user
    HELPER = "helper"  # an unnamed part of a let
    ADJOINT = "adjoint"  # a cotangent or a tangent
    SEED = "seed"  # given from outside: the direction of a tangent
    RUNNING = "running"  # in the flat vector like a parameter, but without a gradient: see Program.running
    RANDOM = "random"  # uniform numbers: see randomness
    MODE = "mode"  # model.training: see modes


GIVEN = (
    *(Role.INPUT, Role.LABELS, Role.PARAMETER, Role.RUNNING),
    *(Role.CONSTANT, Role.RANDOM, Role.MODE, Role.SEED),
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array of reals or of integers; `shape` holds integers and expressions of run-time sizes."""

    name: str
    shape: tuple[sp.Expr, ...]
    role: Role
    integer: bool = False
    classes: int | None = None  # LABELS: values are 0 .. classes - 1
    ignore: int | None = None  # LABELS: a value that makes its row count as absent
    initial: Any = None  # PARAMETER, RUNNING: the name of an initializer, an Initializer or an array
    value: np.ndarray | None = field(default=None, compare=False)  # CONSTANT
    formula: Formula | None = field(default=None, compare=False)  # CONSTANT: what gives the value, where a formula does
    of: str | None = None  # ADJOINT, SEED: the tensor whose cotangent or tangent this is


@dataclass(frozen=True, slots=True)
class Range:
    """An index and its extent: 0 .. extent - 1."""

    index: sp.Symbol
    extent: sp.Expr


@dataclass(frozen=True, slots=True)
class Scan:
    """The steps of a recurrence: its index is in the domain of each of its statements; `reverse`: last step first."""

    name: str
    index: sp.Symbol
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What a statement of a derivative comes from: the statement that was differentiated, and by which of its reads.

    `winner`: the place of its maximum.
    """

    statement: Statement
    reads: tuple[Read, ...]
    winner: tuple[tuple[sp.Symbol, Read], ...] = ()


@dataclass(frozen=True)
class Statement:
    """target[subscripts] operator expression, over the domain, where the guard holds.

    `argmax=` stands beside a `max=` of the same expression: the target holds the value of the index `winner` at the
    first maximum.
    """

    target: str
    subscripts: tuple[sp.Expr, ...]
    operator: Operator
    expression: sp.Expr
    domain: tuple[Range, ...]
    guard: Boolean = TRUE
    layer: str = ""  # the let that it belongs to
    direction: Direction = "forward"
    winner: sp.Symbol | None = None
    scan: Scan | None = None
    origin: Origin | None = field(default=None, compare=False, repr=False)  # as derive/ made it, until it is simplified

    def with_parts(
        self,
        *,
        subscripts: tuple[sp.Expr, ...] | None = None,
        expression: sp.Expr | None = None,
        guard: Boolean | None = None,
    ) -> Statement:
        """The statement with other parts; itself where they are the same, so that a pass can tell what it changed."""
        given = (("subscripts", subscripts), ("expression", expression), ("guard", guard))
        changed: dict[str, Any] = {
            name: part for name, part in given if part is not None and part != getattr(self, name)
        }
        return replace(self, **changed) if changed else self

    def mapped(self, change: Callable[[Any], Any]) -> Statement:
        """The statement with a function applied to its subscripts, its expression and its guard."""
        subscripts = tuple(map(change, self.subscripts))
        return self.with_parts(subscripts=subscripts, expression=change(self.expression), guard=change(self.guard))

    def at(self, places: Mapping[sp.Expr, sp.Expr]) -> Statement:
        """The statement with expressions in place of some of its indices, which leave its domain."""
        changed = self.mapped(lambda e: substitute(e, places))
        domain = tuple(r for r in self.domain if r.index not in places)
        return replace(changed, subscripts=tuple(map(sp.expand, changed.subscripts)), domain=domain)

    def renamed(self, names: Mapping[str, str]) -> Statement:
        """The statement with other names of tensors, where it writes them and where it reads them."""
        if self.target not in names and names.keys().isdisjoint(self.sources):
            return self
        return replace(self.mapped(lambda e: rename_tensors(e, names)), target=names.get(self.target, self.target))

    @cached_property
    def smooth_sources(self) -> frozenset[str]:
        """The tensors that its value depends on smoothly."""
        return frozenset(read.tensor for read, _, smooth in guarded_reads(self.expression) if smooth)

    @cached_property
    def _hash(self) -> int:
        return hash((self.target, self.operator, self.subscripts, self.expression, self.domain, self.guard))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def fault(self) -> str | None:
        """The first invariant that the statement by itself breaks, in words."""
        return next((found for invariant in OF_STATEMENTS if (found := invariant(self))), None)

    @cached_property
    def write(self) -> Read:
        return Read(self.target, *self.subscripts)

    @cached_property
    def reduced(self) -> tuple[Range, ...]:
        """The part of the domain that the target's subscripts do not use."""
        used: set[sp.Symbol] = set()
        for subscript in self.subscripts:
            used |= indices_of(subscript)
        return tuple(r for r in self.domain if r.index not in used)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        return tuple(reads_of(self.guard, self.expression, *self.subscripts))

    @cached_property
    def sources(self) -> frozenset[str]:
        """The tensors that it reads."""
        return frozenset(read.tensor for read in self.reads)

    @cached_property
    def sizes(self) -> frozenset[sp.Symbol]:
        """The run-time sizes that it speaks of."""
        expressions = (*self.subscripts, self.expression, self.guard, *(r.extent for r in self.domain))
        return frozenset(symbol for e in expressions for symbol in e.free_symbols if is_size(symbol))

    def covers(self, shape: tuple[sp.Expr, ...], guarded: bool = False) -> bool:
        """Whether it writes every element of a target of this shape, at plain indices; `guarded`: or skips some."""
        extents = {r.index: r.extent for r in self.domain}
        plain = are_plain(self.subscripts) and (guarded or self.guard == TRUE)
        return plain and tuple(extents[s] for s in self.subscripts) == shape


def is_plain_index(subscript: sp.Expr) -> bool:
    return isinstance(subscript, sp.Symbol) and subscript in indices_of(subscript)


def are_plain(subscripts: Sequence[sp.Expr]) -> bool:
    """Whether subscripts are indices, no two of them the same."""
    return all(map(is_plain_index, subscripts)) and len(set(subscripts)) == len(subscripts)


@dataclass(frozen=True)
class Program:
    """Tensors in order of declaration, statements in order of execution, and what is asked of them."""

    name: str
    tensors: tuple[Tensor, ...]
    statements: tuple[Statement, ...]
    sizes: tuple[tuple[str, sp.Expr], ...]  # name → its integer, or its symbol where known at run time
    objective: str | None = None
    prediction: str | None = None
    gradients: tuple[tuple[str, str], ...] = ()  # parameter → its adjoint
    running: tuple[tuple[str, str], ...] = ()  # running tensor → what it takes the value of after a step
    results: tuple[str, ...] = ()  # what else is asked for, by itself
    residuals: tuple[str, ...] = ()  # the objective is half the sum of their squares

    def tensor(self, name: str) -> Tensor:
        return self.table[name]

    @cached_property
    def table(self) -> Mapping[str, Tensor]:
        return {t.name: t for t in self.tensors}

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The order in which tensors stand in a sum or a product: data, then parameters, then adjoints."""
        last = {Role.PARAMETER: 1, Role.RUNNING: 1, Role.CONSTANT: 1, Role.ADJOINT: 2}
        ordered = sorted(self.tensors, key=lambda t: last.get(t.role, 0))
        return {t.name: position for position, t in enumerate(ordered)}

    @cached_property
    def writers(self) -> Mapping[str, Sequence[Statement]]:
        """The statements that write each tensor, in order."""
        writers: dict[str, list[Statement]] = {}
        for s in self.statements:
            writers.setdefault(s.target, []).append(s)
        return writers

    @cached_property
    def readers(self) -> Mapping[str, Sequence[Statement]]:
        """The statements that read each tensor, in order."""
        readers: dict[str, list[Statement]] = {}
        for s in self.statements:
            for name in s.sources:
                readers.setdefault(name, []).append(s)
        return readers

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        names = (
            *(self.objective, self.prediction, *(adjoint for _, adjoint in self.gradients)),
            *self.nexts,
            *self.results,
        )
        return tuple(dict.fromkeys(n for n in names if n is not None))

    @property
    def nexts(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.running)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.of_role(Role.PARAMETER)

    @property
    def vector(self) -> tuple[Tensor, ...]:
        """The tensors in the flat vector: the parameters, then the running tensors."""
        return (*self.parameters, *self.of_role(Role.RUNNING))

    def of_role(self, *roles: Role) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors if t.role in roles)

    def with_statements(self, statements: Iterable[Statement], tensors: Iterable[Tensor] = ()) -> Program:
        """The program with other statements, and with more tensors; itself where that is no change."""
        statements, tensors = tuple(statements), tuple(tensors)
        same = len(statements) == len(self.statements) and all(map(operator.is_, statements, self.statements))
        return self if same and not tensors else replace(self, tensors=(*self.tensors, *tensors), statements=statements)

    def live(self, outputs: Iterable[str]) -> Program:
        """The program with only the statements that these outputs need, and no tensor that nothing names.

        It is the program itself if that is no change.
        """
        wanted = set(outputs)
        needed = closure(wanted, self.statements, lambda s: s.sources)
        tensors = tuple(t for t in self.tensors if t.role in GIVEN or t.name in needed)
        live = replace(
            self,
            tensors=tensors,
            statements=tuple(s for s in self.statements if s.target in needed),
            objective=self.objective if self.objective in wanted else None,
            prediction=self.prediction if self.prediction in wanted else None,
            gradients=tuple((p, bar) for p, bar in self.gradients if bar in wanted),
            running=tuple((t, name) for t, name in self.running if name in wanted),
            results=tuple(name for name in self.results if name in wanted),
        )
        return self if live == self else live


def map_expressions(program: Program, change: Callable[[sp.Expr], sp.Expr]) -> Program:
    """The program with a function applied to every statement's expression and guard."""
    changed = (s.with_parts(expression=change(s.expression), guard=change(s.guard)) for s in program.statements)
    return program.with_statements(changed)


def is_internal(program: Program, name: str) -> bool:
    tensor = program.tensor(name)
    return tensor.role in (Role.HELPER, Role.ADJOINT) and name not in program.outputs


def closure(
    outputs: Iterable[str], statements: Sequence[Statement], sources: Callable[[Statement], Iterable[str]]
) -> set[str]:
    """The outputs, and all tensors behind them; `sources` are the tensors that a statement's target comes from."""
    found, count = set(outputs), -1
    while count < len(found):  # once, except for recurrences
        count = len(found)
        for s in reversed(statements):
            if s.target in found:
                found.update(sources(s))
    return found


def reached(
    given: Iterable[str], statements: Sequence[Statement], sources: Callable[[Statement], Iterable[str]]
) -> set[str]:
    """The given tensors, and all that come from them."""
    found, count = set(given), -1
    while count < len(found):
        count = len(found)
        for s in statements:
            if s.target not in found and not found.isdisjoint(sources(s)):
                found.add(s.target)
    return found


class Names:
    """Fresh names: `base`, then `base_2`, `base_3`, … past those that are taken."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = frozenset(taken)
        self._made: set[str] = set()
        self._last: dict[str, int] = {}  # the number of the last name of each base

    def copy(self) -> Names:
        other = Names(self._taken)
        other._made, other._last = {*self._made}, {**self._last}
        return other

    def fresh(self, base: str) -> str:
        name, number = base, self._last.get(base, 1)
        while name in self._taken or name in self._made:
            number += 1
            name = f"{base}_{number}"
        self._made.add(name)
        self._last[base] = number
        return name


def names_of(program: Program) -> Names:
    indices = (r.index.name for s in program.statements for r in s.domain)
    return Names([*(t.name for t in program.tensors), *(name for name, _ in program.sizes), *indices])


@as_written()
def renamed_apart(program: Program, *others: Program) -> Program:
    """The program with new names for helpers whose names other tensors of the other programs have.

    Buffers of two programs are known by name: two of one name are one.
    """
    theirs = {t.name: t for other in others for t in other.tensors}
    names = Names([*(t.name for t in program.tensors), *theirs])
    renamed = {
        t.name: names.fresh(t.name)
        for t in program.tensors
        if t.name in theirs and (t.shape, t.integer) != (theirs[t.name].shape, theirs[t.name].integer)
    }
    statements = [s.renamed(renamed) for s in program.statements]
    tensors = tuple(replace(t, name=renamed.get(t.name, t.name)) for t in program.tensors)
    prediction = renamed.get(str(program.prediction), program.prediction)
    return replace(program, tensors=tensors, statements=tuple(statements), prediction=prediction)


class InvariantError(AssertionError):
    """A stage gave a malformed program: a bug of ours, never of the user's."""


# Each invariant of a statement gives what is wrong, or nothing.


def indices_are_known(s: Statement) -> str | None:
    own = {r.index for r in s.domain}
    if len(own) != len(s.domain):
        return "an index stands twice in the domain"
    loose = {i for e in (s.guard, s.expression, *s.subscripts) for i in indices_of(e)} - own
    return f"index {sorted(map(str, loose))[0]} is not in the domain" if loose else None


def assigns_once(s: Statement) -> str | None:
    if s.operator == "=" and s.reduced:
        return "plain assignment along an index that the target does not have"
    return None


def steps_are_its_own(s: Statement) -> str | None:
    if s.scan is not None and s.scan.index not in {r.index for r in s.domain}:
        return f"the scan's index {s.scan.index} is not in the domain"
    return None


OF_STATEMENTS = (indices_are_known, assigns_once, steps_are_its_own)


def run_of(statements: Sequence[Statement], position: int) -> range:
    """The positions of the statements that run together with the one at a position."""
    scan, start, stop = statements[position].scan, position, position + 1
    while scan is not None and start > 0 and statements[start - 1].scan == scan:
        start -= 1
    while scan is not None and stop < len(statements) and statements[stop].scan == scan:
        stop += 1
    return range(start, stop)


def steps_after(subscript: sp.Expr, scan: Scan) -> sp.Expr:
    """How many steps after the scan's present one a subscript is, in the order of the steps."""
    shift = subscript - scan.index
    return -shift if scan.reverse else shift


def time_shift(subscript: sp.Expr, scan: Scan) -> int | None:
    """How many steps after the scan's present one a subscript is, where that is a number."""
    later = steps_after(subscript, scan)
    return int(later) if later.is_Integer else None


def differentiable_reads(statement: Statement, active: Container[str] | None = None) -> dict[Read, Boolean]:
    """Each read that the value depends on smoothly, with the condition under which it is evaluated.

    Those of tensors in `active` alone, if it is given.
    """
    paths: dict[Read, list[Conditions]] = {}
    for read, path, smooth in guarded_reads(statement.expression):
        if smooth and (active is None or read.tensor in active):
            paths.setdefault(read, []).append(path)
    return {read: any_of(*(all_of(*path) for path in found)) for read, found in paths.items()}


def partials_in(s: Statement) -> list[partial]:
    """The partial derivatives in a statement, each once, in order."""
    nodes = (node for e in (s.expression, s.guard) for node in subexpressions(e))
    return list(dict.fromkeys(node for node in nodes if isinstance(node, partial)))


def variables_of(program: Program) -> set[str]:
    """The tensors by which something is differentiated."""
    return {x.tensor for s in program.statements for e in partials_in(s) for x in e.args[1:]}
