"""Lowering a model: one recursive walk over a spec's expressions, each sum of which becomes a statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.logic.boolalg import BooleanAtom
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.tensor.indexed import Idx, Indexed, IndexedBase

from derivgen.declare.accepted import CONSTANTS, NOT_REAL, check_operation, number, real_gamma
from derivgen.declare.comparisons import compared
from derivgen.declare.declarations import Declaration, Definition
from derivgen.declare.declared_partials import declared_partial
from derivgen.declare.named_parts import named_part
from derivgen.declare.reads import matrix_element, tensor_element
from derivgen.declare.scope import Scope
from derivgen.declare.state import Earlier, State, itself
from derivgen.declare.suggestions import at_indices
from derivgen.declare.sums import largest, reduced
from derivgen.errors import Refused, counted
from derivgen.form.expressions import (
    TRUE,
    MaxOver,
    Read,
    all_of,
    any_of,
    indicator,
    is_size,
    named,
    negation,
    size_symbol,
)
from derivgen.form.functions import partial
from derivgen.form.program import Range, Role, Statement, Tensor
from derivgen.stages import reached


class Lowering(State):
    """The walk over one model."""

    @contextmanager
    def inside(self, name: str, earlier: Earlier = itself) -> Iterator[None]:
        """Statements that are made here are those of this let; messages are about it."""
        self.layer, self.helpers, self.matrices, self.earlier = name, {}, {}, earlier
        try:
            yield
        finally:
            self.earlier = itself

    def define(self, d: Definition) -> None:
        """The statements of one let."""
        reached("read the model", d.name)
        self.letters.choose(d)
        ranges, left = self.declare_let(d)
        scope, first = Scope(ranges), len(self.statements)
        try:
            self.assign(d.name, d.expression, scope, left)
        except Refused as refusal:
            self.model.problem(str(refusal), d.place)
        if d.layer:
            self.check_part(d)
            self.statements[first:] = [replace(s, layer=d.layer) for s in self.statements[first:]]

    def check_part(self, d: Definition) -> None:
        """The first let after a part of a layer that is no other part of it must be the layer's own."""
        after = self.definitions[self.definitions.index(d) + 1 :]
        whole = next((other for other in after if other.layer != d.layer), None)
        if whole is None or (whole.name, whole.layer, whole.recurrence) != (d.layer, "", ""):
            found = "no other let" if whole is None else whole.name
            message = f"let {d.name}: expected let {d.layer} after the parts of layer {d.layer}, found {found}"
            self.model.problem(
                f"{message}: declare the parts one after another, and then the let of that name", d.place
            )

    def declare_let(self, d: Definition) -> tuple[dict[sp.Symbol, Range], tuple[sp.Expr, ...]]:
        """(the ranges of a definition's indices, its subscripts); declares its tensor, now the present one."""
        self.place, self.layer, self.helpers, self.matrices = d.place, d.name, {}, {}
        ranges = {i: Range(self.letters.index_of(i, self.place), self.fixed(i.upper + 1)) for i in d.indices}
        for r in ranges.values():
            self.check_sizes(r.extent, f"index {r.index}", d.place)
        scope = Scope(ranges)
        left = tuple(sp.expand(self.convert(s, scope)) for s in d.left)
        shape = tuple(sp.expand(largest(self, s, scope) + 1) for s in left)
        self.tensors[d.name] = Tensor(d.name, shape, Role.LET)
        return ranges, left

    def assign(self, name: str, expression: sp.Expr, scope: Scope, left: tuple[sp.Expr, ...] = ()) -> None:
        """name[left] = expression; a lone Sum or MaxOver at plain indices is written without a helper between."""
        if isinstance(expression, sp.Sum | MaxOver) and left == tuple(scope.order):
            reduced(self, expression, scope, name, left)
            return
        body = self.body(self.convert(expression, scope))
        self.emit(Statement(name, left, "=", body, tuple(scope.ranges.values()), layer=self.layer))

    def minimize(self) -> None:
        """The objective's statement, unless the objective is a let of its own."""
        objective = self.model.objective
        if objective is None:
            if not self.model.objective_refused:
                self.model.problem(
                    f"model {self.model.name} has no objective: call model.minimize(...), or model.least_squares(...) "
                    "for a fit to data",
                    self.model.place,
                )
            return
        self.place = objective.place
        self.letters.choose(objective)
        lets = {d.name for d in self.model.definitions}
        expression = objective.expression
        if isinstance(expression, sp.Symbol) and expression.name in lets and not is_size(expression):
            self.objective = expression.name
            return
        self.helpers, self.matrices = {}, {}
        self.objective = self.layer = self.names.fresh("loss" if "loss" not in self.model._names else "objective")
        self.tensors[self.objective] = Tensor(self.objective, (), Role.LET)
        try:
            self.assign(self.objective, expression, Scope())
        except Refused as refusal:
            self.model.problem(str(refusal).replace(f"{self.layer}: ", "the objective: "), objective.place)

    def next_values(self) -> None:
        """The statement of each running tensor's next value, after all that it may read."""
        for d in self.model.declarations.values():
            if d.role is Role.RUNNING and d.next is not None:
                indices = self.model.local_indices(*d.shape)
                name, value = self.names.fresh(f"{d.name}_next"), self.next_value(d, indices)
                definition = Definition(name, indices, value, d.place, indices)
                self.running.append((d.name, definition.name))
                self.definitions.append(definition)
                self.define(definition)

    def next_value(self, d: Declaration, indices: tuple[Idx, ...]) -> sp.Expr:
        """The value of a running tensor's `next` at these indices; 0 where it was refused."""
        try:
            found = d.next(*indices) if callable(d.next) else d.next
            value = sp.sympify(found, strict=True)
        except Exception as error:  # whatever the user's function raises
            what = (
                "gave no expression"
                if isinstance(error, sp.SympifyError)
                else f"raised {type(error).__name__}: {error}"
            )
            self.model.problem(f"next of running tensor {d.name} {what}: it must have {self.axes(d)}", d.place)
            return sp.Integer(0)
        if not isinstance(value, sp.Expr):
            self.model.problem(f"next of running tensor {d.name} must be a real expression, found {value}", d.place)
            return sp.Integer(0)
        return value

    def axes(self, d: Declaration) -> str:
        return f"{counted(len(d.shape), 'index')}, and gives an expression in tensors that are declared"

    # ---- expressions

    def convert(self, e: Any, scope: Scope) -> Any:
        """The internal form of a user's expression; reductions inside it become statements."""
        if isinstance(e, Idx) or (isinstance(e, sp.Symbol) and e in scope.ranges):
            return self.index(e, scope)
        if isinstance(e, sp.Symbol):
            return self.symbol(e)
        if isinstance(e, Indexed):
            return tensor_element(self, e, scope)
        if isinstance(e, sp.Sum | MaxOver):
            return reduced(self, e, scope)
        if isinstance(e, MatrixElement):
            return matrix_element(self, e, scope)
        if isinstance(e, named):
            return named_part(self, e, scope)
        if isinstance(e, partial):
            return declared_partial(self, e, scope)
        if isinstance(e, sp.Piecewise):
            return self.piecewise(e, scope)
        if isinstance(e, sp.ITE):  # SymPy's form of a comparison of a Piecewise
            test = self.convert(e.args[0], scope)
            then, other = (
                self.convert(e.args[1], scope.under(test)),
                self.convert(e.args[2], scope.under(negation(test))),
            )
            return any_of(all_of(test, then), all_of(negation(test), other))
        if isinstance(e, sp.And):  # conditions on indices alone are tested first, and guard the others
            tests = sorted(e.args, key=self.naming_order)
            on_indices = [self.convert(a, scope) for a in tests if not a.has(Indexed)]
            inner = scope.under(all_of(*on_indices))
            return all_of(*on_indices, *(self.convert(a, inner) for a in tests if a.has(Indexed)))
        if isinstance(e, sp.Or):
            return any_of(*(self.convert(a, scope) for a in sorted(e.args, key=self.naming_order)))
        if isinstance(e, sp.Not):
            return negation(self.convert(e.args[0], scope))
        if isinstance(e, sp.KroneckerDelta):
            return indicator(sp.Eq(*(self.convert(a, scope) for a in e.args)))
        if isinstance(e, sp.re | sp.conjugate):  # SymPy's, of Abs(exp(asin(u))): all numbers are real here
            return self.convert(e.args[0], scope)
        if isinstance(e, IndexedBase):
            raise Refused(
                f"{self.layer}: {e} is a tensor: read it at indices, {at_indices(e, self.model.declared_indices)}"
            )
        if e.is_Number or e in CONSTANTS or isinstance(e, (BooleanAtom, *NOT_REAL)):
            return number(e, self.layer)
        if (real := real_gamma(e)) is not e:
            return self.convert(real, scope)
        check_operation(e, self.layer)
        ordered = sorted(e.args, key=self.naming_order) if len(e.args) > 1 else e.args
        converted = {a: self.convert(a, scope) for a in ordered}
        if isinstance(e, sp.core.relational.Relational):
            return compared(e.func(*(converted[a] for a in e.args)), self.is_integer)
        return e.func(*(converted[a] for a in e.args))

    def index(self, e: Any, scope: Scope) -> sp.Expr:
        if e not in scope.ranges:
            if not self.left():
                raise Refused(
                    f"{self.layer} has no indices and uses index {e}, which is not summed: write Sum(..., {e}); "
                    "if it stands in a condition around an inner sum, give that sum its own let"
                )
            left = f"{self.layer}[{','.join(self.left())}]"
            raise Refused(
                f"{left} uses index {e}, which is neither on the left nor summed: "
                f"write Sum(..., {e}) or add {e} to {self.layer}'s indices; a maximum over {e} is MaxOver(..., {e})"
            )
        return scope.ranges[e].index

    def left(self) -> list[str]:
        return [
            self.letters.index_of(i, self.place).name
            for d in self.definitions
            if d.name == self.layer
            for i in d.indices
        ]

    def symbol(self, e: sp.Symbol) -> sp.Expr:
        if e in self.model.fixed_sizes:
            return sp.Integer(self.model.fixed_sizes[e])
        if e in self.model.runtime_sizes:
            return size_symbol(e.name)
        tensor = self.tensors.get(e.name)
        if tensor is None and e.name in self.model.refused_names:
            return sp.Integer(1)  # the model is refused for it already
        if tensor is None:
            raise Refused(
                f"{self.layer}: {e} is not declared: make it by model.parameter, model.input, model.constant or an "
                "index"
            )
        if tensor.shape:
            raise Refused(
                f"{self.layer}: {e} is a tensor with {counted(len(tensor.shape), 'axis')}: read it at indices"
            )
        return Read(e.name)

    def piecewise(self, e: sp.Piecewise, scope: Scope) -> sp.Expr:
        pairs, rest = [], scope
        for pair in e.args:
            value, condition = pair.args
            test = self.convert(condition, rest)
            inside = rest.under(test)
            if inside.path != sp.false:  # else the conditions around say that it is never taken
                pairs.append((self.convert(value, inside), test))
            rest = rest.under(negation(test))
        if test != TRUE and rest.path != sp.false:  # SymPy leaves out a default that is never reached
            raise Refused(f"{self.layer}: a Piecewise without a default: close it with (value, True)")
        if not pairs:
            return sp.Integer(0)
        pairs[-1] = (pairs[-1][0], TRUE)
        return sp.Piecewise(*pairs)
