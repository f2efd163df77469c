"""The state of lowering a model: the tensors and the statements so far, and what the present definition is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.declare.accepted import shown
from derivgen.declare.declarations import Declaration
from derivgen.declare.letters import Letters
from derivgen.declare.model import KINDS, Model
from derivgen.declare.naming_order import NamingOrder
from derivgen.declare.scope import Scope
from derivgen.errors import Place, Refused
from derivgen.form.expressions import (
    Read,
    all_of,
    any_of,
    guarded,
    guarded_reads,
    is_size,
    named,
    negation,
    reads_of,
    size_symbol,
    split_guard,
    substitute,
)
from derivgen.form.inside import out_of_bounds
from derivgen.form.places import declare_in_order
from derivgen.form.program import Names, Program, Role, Statement, Tensor

ELEMENTS = 2**47  # of a tensor: more than a processor can address

# What a read in a scope stands for: in a recurrence it may be that of an earlier step.
Earlier = Callable[[Read, Scope], sp.Expr]


def itself(read: Read, _: Scope) -> sp.Expr:
    return read


def names_of_parts(model: Model) -> list[str]:
    """The names that a model's formulas give to parts of them, in order."""
    expressions = [e for d in model.definitions for e in (d.expression, *d.initial)]
    expressions += [model.objective.expression] if model.objective is not None else []
    nodes = (node for e in expressions for node in sp.preorder_traversal(e))
    return list(dict.fromkeys(node.name for node in nodes if isinstance(node, named)))


class State(ABC):
    """The state of one lowering, whose walk over expressions is that of `Lowering`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors: dict[str, Tensor] = {}
        self.statements: list[Statement] = []
        parts = names_of_parts(model)
        self.names = Names({*model._names, *parts})
        # What has a name in formulas, and at which indices.
        self.parts: dict[str, tuple[sp.Expr, tuple[sp.Symbol, ...]]] = {}
        self.place: Place | None = None
        self.layer = ""
        self.naming_order = NamingOrder(model.runtime_sizes)
        self.helpers: dict[Statement, str] = {}  # of the present definition: equal parts share one
        self.matrices: dict[tuple[object, ...], str] = {}  # likewise, the tensors of SymPy matrices
        self.looked_up: dict[object, str] = {}  # tables of subscripts, by their values
        self.letters = Letters(model, self.names)
        self.definitions = list(model.definitions)
        self.running: list[tuple[str, str]] = []
        self.objective = ""
        self.earlier: Earlier = itself
        rule = model.rule
        own = (*(name for name, _ in rule.hyperparameters), *(str(slot) for slot, _ in rule.slots))
        declare_in_order([*model._names, *own, *parts])
        for declaration in model.declarations.values():
            if declaration.role is not Role.LET:
                self.tensors[declaration.name] = self.declared(declaration)

    def declared(self, d: Declaration) -> Tensor:
        shape = tuple(self.fixed(extent) for extent in d.shape)
        if d.role in (Role.PARAMETER, Role.RUNNING) and not all(extent.is_Integer for extent in shape):
            kind = KINDS.get(d.role, d.role.value)
            self.model.problem(f"{kind} {d.name}: its sizes must be fixed at generation, found {shape}", d.place)
        for axis, extent in enumerate(shape):
            self.check_sizes(extent, d.name, d.place)
            if d.role in (Role.INPUT, Role.LABELS) and not (extent.is_Integer or is_size(extent)):
                self.model.problem(
                    f"axis {axis} of {d.name} has the size {extent}: an input's axis is an integer or a declared size",
                    d.place,
                )
        elements = sp.Mul(*(extent for extent in shape if extent.is_Integer))
        if elements > ELEMENTS and all(not extent.is_Integer or extent <= ELEMENTS for extent in shape):
            self.model.problem(f"{d.name} has {shown(elements)} elements: expected at most 2^47", d.place)
        return Tensor(d.name, shape, d.role, d.integer, d.classes, d.ignore, d.initial, d.value, d.formula)

    def fixed(self, size: sp.Expr) -> sp.Expr:
        """A size with what is fixed at generation as numbers, and run-time sizes as their internal symbols."""
        runtime = {s: size_symbol(s.name) for s in self.model.runtime_sizes}
        known = {s: sp.Integer(v) for s, v in self.model.fixed_sizes.items()}
        return sp.expand(substitute(size, {**known, **runtime}))

    def check_sizes(self, extent: sp.Expr, name: str, place: Place | None) -> None:
        known = {size_symbol(s.name) for s in self.model.runtime_sizes}
        unknown = sorted(str(s) for s in extent.free_symbols if s not in known)
        if extent.is_Integer and not 1 <= extent <= ELEMENTS:
            wanted = "at least 1" if extent < 1 else "at most 2^47"
            self.model.problem(f"{name}: expected a size of {wanted}, found {shown(extent)}", place)
        if unknown:
            self.model.problem(f"{name}: {unknown[0]} is no declared size: use model.sizes or model.batch", place)

    # ---- definitions

    def emit(self, statement: Statement) -> None:
        """Append a statement, once its reads are proved to stay inside their tensors."""
        if message := next(iter(out_of_bounds(statement, self.tensors)), None):
            raise Refused(f"{self.layer}: {message}")
        self.statements.append(statement)

    def body(self, expression: sp.Expr) -> sp.Expr:
        """A summand or a let's value, under the guard that no label that it is read through is the ignored one."""
        value, guard = split_guard(expression)
        found: dict[Read, set[frozenset[Boolean]]] = {}
        for read, path, _ in guarded_reads(value):
            for label in reads_of(*read.subscripts):
                if self.tensors[label.tensor].ignore is not None:
                    found.setdefault(label, set()).add(frozenset(path))
        if not found:
            return expression
        present = []
        for label, paths in found.items():
            is_present = sp.Ne(label, self.tensors[label.tensor].ignore)
            least = [path for path in paths if not any(other < path for other in paths)]
            present += [any_of(*map(negation, path), is_present) for path in least]
        return guarded(value, all_of(guard, *present))

    @abstractmethod
    def convert(self, e: Any, scope: Scope) -> Any:
        """The internal form of a user's expression."""

    def is_integer(self, read: Read) -> bool:
        return self.tensors[read.tensor].integer

    def program(self) -> Program:
        sizes = [(s.name, sp.Integer(v)) for s, v in self.model.fixed_sizes.items()]
        sizes += [(s.name, size_symbol(s.name)) for s in self.model.runtime_sizes]
        order = {name: position for position, name in enumerate(self.tensors)}
        tensors = sorted(self.tensors.values(), key=lambda t: (t.role in (Role.LET, Role.HELPER), order[t.name]))
        return Program(
            self.model.name,
            tuple(tensors),
            tuple(self.statements),
            tuple(sizes),
            objective=self.objective,
            prediction=self.model.prediction,
            running=tuple(self.running),
            residuals=self.model.residuals,
        )
