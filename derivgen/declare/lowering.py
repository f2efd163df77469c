"""The state of lowering a model: one recursive walk over a spec's expressions, each sum of which becomes a statement.

Its length is that of the refusals, each beside what it guards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from sympy.logic.boolalg import Boolean, BooleanAtom
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.tensor.indexed import Idx, Indexed, IndexedBase

from derivgen.declare.accepted import CONSTANTS, NOT_REAL, check_operation, number, real_gamma, shown
from derivgen.declare.around import part_around, turns
from derivgen.declare.comparisons import compared
from derivgen.declare.declarations import Declaration, Definition
from derivgen.declare.letters import Letters
from derivgen.declare.looked_up import looked_up
from derivgen.declare.model import KINDS, Model, TensorSymbol
from derivgen.declare.naming_order import NamingOrder
from derivgen.declare.scope import Scope
from derivgen.declare.suggestions import at_indices
from derivgen.errors import Place, Refused, counted
from derivgen.form import bounds
from derivgen.form.expressions import (
    TRUE,
    MaxOver,
    Read,
    about,
    all_of,
    any_of,
    conjuncts,
    guarded,
    guarded_reads,
    index_symbol,
    indicator,
    indices_of,
    is_size,
    named,
    negation,
    reads_of,
    size_symbol,
    split_guard,
    substitute,
)
from derivgen.form.functions import partial
from derivgen.form.inside import all_nonnegative, out_of_bounds
from derivgen.form.places import declare_in_order
from derivgen.form.program import Names, Operator, Program, Range, Role, Statement, Tensor
from derivgen.stages import reached

HELPER_NAMES = {"+=": "sum", "max=": "max"}
ELEMENTS = 2**47  # of a tensor: more than a processor can address

# What a read in a scope stands for: in a recurrence it may be that of an earlier step.
Earlier = Callable[[Read, Scope], sp.Expr]
Converter = Callable[["Lowering", Any, Scope], sp.Expr]  # what a declared derivative, or a named part, becomes


def itself(read: Read, _: Scope) -> sp.Expr:
    return read


def fixed(model: Model, size: sp.Expr) -> sp.Expr:
    """A size with what is fixed at generation as numbers, and run-time sizes as their internal symbols."""
    runtime = {s: size_symbol(s.name) for s in model.runtime_sizes}
    return sp.expand(substitute(size, {**{s: sp.Integer(v) for s, v in model.fixed_sizes.items()}, **runtime}))


def names_of_parts(model: Model) -> list[str]:
    """The names that a model's formulas give to parts of them, in order."""
    expressions = [e for d in model.definitions for e in (d.expression, *d.initial)]
    expressions += [model.objective.expression] if model.objective is not None else []
    nodes = (node for e in expressions for node in sp.preorder_traversal(e))
    return list(dict.fromkeys(node.name for node in nodes if isinstance(node, named)))


class Lowering:
    """The state of one lowering: tensors and statements so far."""

    def __init__(self, model: Model, declared_partial: Converter, named_part: Converter) -> None:
        self.model, self.declared_partial, self.named_part = model, declared_partial, named_part
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
        self.earlier: Earlier = itself
        rule = model.rule
        own = (*(name for name, _ in rule.hyperparameters), *(str(slot) for slot, _ in rule.slots))
        declare_in_order([*model._names, *own, *parts])
        for declaration in model.declarations.values():
            if declaration.role is not Role.LET:
                self.tensors[declaration.name] = self.declared(declaration)

    def declared(self, d: Declaration) -> Tensor:
        shape = tuple(fixed(self.model, extent) for extent in d.shape)
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

    def check_sizes(self, extent: sp.Expr, name: str, place: Place | None) -> None:
        known = {size_symbol(s.name) for s in self.model.runtime_sizes}
        unknown = sorted(str(s) for s in extent.free_symbols if s not in known)
        if extent.is_Integer and not 1 <= extent <= ELEMENTS:
            wanted = "at least 1" if extent < 1 else "at most 2^47"
            self.model.problem(f"{name}: expected a size of {wanted}, found {shown(extent)}", place)
        if unknown:
            self.model.problem(f"{name}: {unknown[0]} is no declared size: use model.sizes or model.batch", place)

    # ---- definitions

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
        ranges = {i: Range(self.letters.index_of(i, self.place), fixed(self.model, i.upper + 1)) for i in d.indices}
        for r in ranges.values():
            self.check_sizes(r.extent, f"index {r.index}", d.place)
        scope = Scope(ranges)
        left = tuple(sp.expand(self.convert(s, scope)) for s in d.left)
        shape = tuple(sp.expand(self.largest(s, scope) + 1) for s in left)
        self.tensors[d.name] = Tensor(d.name, shape, Role.LET)
        return ranges, left

    def assign(self, name: str, expression: sp.Expr, scope: Scope, left: tuple[sp.Expr, ...] = ()) -> None:
        """name[left] = expression; a lone Sum or MaxOver at plain indices is written without a helper between."""
        if isinstance(expression, sp.Sum | MaxOver) and left == tuple(scope.order):
            self.reduce(expression, scope, name, left)
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

    # ---- reductions

    def reduce(self, e: Any, scope: Scope, target: str = "", subscripts: tuple[sp.Symbol, ...] = ()) -> sp.Expr:
        """The statement of a Sum or a MaxOver; gives the read of what it defines."""
        bound, guard = self.limits(e, scope)
        inner = scope.within(bound)
        own = {r.index for r in bound.values()}
        seen = [about(c, indices_of(c) - own) for c in conjuncts(scope.path)]
        summand = self.body(self.convert(e.args[0], Scope(inner.ranges, all_of(guard, *seen))))
        if isinstance(e, sp.Sum):  # what is 0 under its guard adds nothing; a maximum may be that 0
            summand, body_guard = split_guard(summand)
            guard = all_of(guard, body_guard)
        operator: Operator = "+=" if isinstance(e, sp.Sum) else "max="
        if target:
            bound_ranges = self.apart(bound, subscripts)
            domain = (*(r for r in scope.ranges.values()), *bound_ranges.values())
            renaming = {bound[s].index: r.index for s, r in bound_ranges.items()}
            summand, guard = substitute(summand, renaming), substitute(guard, renaming)
            self.emit(Statement(target, subscripts, operator, summand, domain, guard, self.layer))
            return Read(target, *subscripts)
        return self.helper(operator, summand, guard, scope, bound)

    def apart(self, bound: dict[sp.Symbol, Range], taken: tuple[sp.Symbol, ...]) -> dict[sp.Symbol, Range]:
        """Bound indices that would capture one on the left, renamed."""
        return {s: replace(r, index=self.fresh_index(r.index)) if r.index in taken else r for s, r in bound.items()}

    def fresh_index(self, index: sp.Symbol) -> sp.Symbol:
        return index_symbol(self.names.fresh(index.name))

    def helper(
        self, operator: Operator, summand: sp.Expr, guard: Boolean, scope: Scope, bound: dict[sp.Symbol, Range]
    ) -> sp.Expr:
        """An unnamed reduction as a tensor of its own, over the outer indices that it depends on.

        The condition of the branch that it stands in goes with it, as far as it speaks of those indices; the rest
        of it too where the reads need it to stay inside their tensors.
        """
        own = {r.index for r in bound.values()}
        outer = [r for s, r in scope.ranges.items() if s not in bound]
        path = [about(c, indices_of(c) - own) for c in conjuncts(scope.path)]
        needed = (indices_of(summand) | indices_of(guard)) - own
        inside = [about(c, needed) for c in path]
        for conditions in (inside, path):
            used = needed.union(*(indices_of(c) for c in conditions))
            free = tuple(r for r in outer if r.index in used)
            target = tuple(r.index for r in free)
            domain = (*free, *bound.values())
            condition = all_of(guard, *conditions)
            statement = Statement("", target, operator, summand, domain, condition, layer=self.layer)
            if not out_of_bounds(statement, self.tensors):
                break
        if statement not in self.helpers:
            name = self.helpers[statement] = self.names.fresh(f"{self.layer}_{HELPER_NAMES[operator]}")
            self.tensors[name] = Tensor(name, tuple(r.extent for r in free), Role.HELPER)
            self.emit(replace(statement, target=name))
        return Read(self.helpers[statement], *target)

    def limits(self, e: Any, scope: Scope) -> tuple[dict[sp.Symbol, Range], Boolean]:
        """The bound indices with their full ranges, and the guard of limits that are narrower."""
        bound: dict[sp.Symbol, Range] = {}
        guards: list[Boolean] = []
        limits = e.limits if isinstance(e, sp.Sum) else [(i,) for i in e.args[1:]]
        for limit in reversed(limits):
            symbol, *given = limit
            if symbol in bound:  # an inner index of the same name hides this one: the sum repeats what it holds
                hidden = bound.pop(symbol)
                bound[sp.Dummy()] = replace(hidden, index=self.fresh_index(hidden.index))
            inner = scope.within(bound)
            index = self.letters.index_of(symbol, self.place)
            lower, upper = self.given_limits(symbol, given, inner)
            extent = fixed(self.model, symbol.upper + 1) if isinstance(symbol, Idx) else self.largest(upper, inner) + 1
            if lower != 0:
                guards.append(index >= lower)
            if sp.expand(upper + 1 - extent) != 0:
                guards.append(index <= upper)
            bound[symbol] = Range(index, extent)
        # SymPy's innermost limit is the first; in a box the order is free, so it is the one that was written.
        return dict(reversed(bound.items())), all_of(*guards)

    def given_limits(self, symbol: sp.Symbol, given: list[sp.Expr], inner: Scope) -> tuple[sp.Expr, sp.Expr]:
        if not given and isinstance(symbol, Idx):
            given = [symbol.lower, symbol.upper]
        if len(given) != 2:
            raise Refused(
                f"{self.layer}: {symbol} has no range: make it by model.indices(...), or write Sum(..., ({symbol}, 0, "
                "K - 1))"
            )
        lower, upper = (sp.expand(self.convert(limit, inner)) for limit in given)
        if isinstance(symbol, Idx):
            extent = fixed(self.model, symbol.upper + 1)
            claims = (lower, extent - 1 - upper)
            if not all_nonnegative(claims, inner.path, tuple(inner.ranges.values()), self.tensors):
                raise Refused(
                    f"{self.layer}: the limits {lower} .. {upper} of {symbol} may leave its range 0 .. {extent - 1}: "
                    "sum over an index with a longer range, or narrow the limits"
                )
        if any(abs(number) > ELEMENTS for limit in (lower, upper) for number in limit.atoms(sp.Integer)):
            raise Refused(f"{self.layer}: the sum over {symbol} has too many terms, expected at most 2^47")
        for limit in (lower, upper):
            if bounds.linear(limit, self.is_integer) is None:
                raise Refused(f"{self.layer}: the limit {limit} of {symbol} is not affine in indices and sizes")
        return lower, upper

    def largest(self, upper: sp.Expr, scope: Scope) -> sp.Expr:
        """The largest value of an affine limit over the indices in scope."""
        largest = upper
        for r in scope.ranges.values():
            if largest.coeff(r.index).is_negative:
                largest = largest.subs(r.index, 0)
            largest = largest.subs(r.index, r.extent - 1)
        return sp.expand(largest)

    # ---- expressions

    def convert(self, e: Any, scope: Scope) -> Any:
        """The internal form of a user's expression; reductions inside it become statements."""
        if isinstance(e, Idx) or (isinstance(e, sp.Symbol) and e in scope.ranges):
            return self.index(e, scope)
        if isinstance(e, sp.Symbol):
            return self.symbol(e)
        if isinstance(e, Indexed):
            return self.read(e, scope)
        if isinstance(e, sp.Sum | MaxOver):
            return self.reduce(e, scope)
        if isinstance(e, MatrixElement):
            return self.element(e, scope)
        if isinstance(e, named):
            return self.named_part(self, e, scope)
        if isinstance(e, partial):
            return self.declared_partial(self, e, scope)
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

    def read(self, e: Indexed, scope: Scope) -> sp.Expr:
        name = e.base.name
        if name not in self.tensors and name in self.model.refused_names:
            return sp.Integer(1)
        # SymPy may have rebuilt the base, which then has no model.
        if name in self.tensors and getattr(e.base, "model", self.model) is not self.model:
            raise Refused(f"{self.layer}: {name} is a tensor of another model: declare it in this one")
        if not isinstance(e.base, TensorSymbol) or name not in self.tensors:
            raise Refused(f"{self.layer}: {name} is not declared: make it by model.input, model.parameter or model.let")
        tensor = self.tensors[name]
        if len(e.indices) != len(tensor.shape):
            found, axes = len(e.indices), len(tensor.shape)
            raise Refused(
                f"{self.layer}: {e} is read with {counted(found, 'subscript')}, {name} has {counted(axes, 'axis')}: "
                f"write {at_indices(e.base, self.model.declared_indices)}"
            )
        if (part := part_around(e)) is not None and (branches := self.around(e, part, scope)) is not None:
            return branches
        return self.earlier(Read(name, *(self.subscript(e, axis, scope) for axis in range(len(e.indices)))), scope)

    def subscript(self, e: Indexed, axis: int, scope: Scope) -> sp.Expr:
        """A subscript of an element: an integer combination, or else a read of a table of its values."""
        subscript = sp.expand(self.convert(e.indices[axis], scope))
        if self.is_linear(subscript):
            return subscript
        extent, ranges = self.tensors[e.base.name].shape[axis], scope.ranges.values()
        rest = sp.Add(*(term for term in sp.Add.make_args(subscript) if self.is_linear(term)))
        try:
            found = looked_up(subscript, extent, scope.path, ranges)
        except Refused as outside:
            raise Refused(f"{self.layer}: {e}: {outside}") from None
        if found is not None:
            rest = sp.S.Zero
        else:
            found = looked_up(subscript - rest, None, scope.path, ranges)
        if found is None:
            raise Refused(
                f"{self.layer}: {e} has the subscript {subscript}, expected an integer combination of indices, sizes "
                f"and integer tensors, or a formula of indices with fixed sizes{self.advice_on(subscript)}"
            )
        table, own = found
        values = table.shape, np.asarray(table.value).tobytes()
        if values not in self.looked_up:
            name = self.looked_up[values] = self.names.fresh(f"{e.base.name}_at")
            self.tensors[name] = replace(table, name=name)
        return Read(self.looked_up[values], *own) + rest

    def advice_on(self, subscript: sp.Expr) -> str:
        reals = sorted({r.tensor for r in reads_of(subscript) if not self.is_integer(r)})
        if reals:
            return f": {reals[0]} holds reals; compute integers before, and give them by model.labels"
        return "" if reads_of(subscript) or subscript.is_integer else f": round it, as floor({subscript})"

    def is_linear(self, subscript: sp.Expr) -> bool:
        """Whether it is an integer combination of indices, sizes and integer tensors."""
        form = bounds.linear(subscript, self.is_integer)
        return form is not None and all(c.denominator == 1 for c in form.values())

    def around(self, e: Indexed, part: sp.Mod, scope: Scope) -> sp.Expr | None:
        """An element whose subscript goes round an axis, as a branch for each of a few turns; None: more of them."""
        value, period = (sp.expand(self.convert(a, scope)) for a in part.args)
        found = turns(value, period, scope.path, tuple(scope.ranges.values()), self.tensors)
        if found is None:
            return None
        pairs, rest = [], scope
        for k in found:
            test = TRUE if k == found[-1] else compared(sp.Lt(value, (k + 1) * period), self.is_integer)
            subscripts = (s.xreplace({part: part.args[0] - k * part.args[1]}) for s in e.indices)
            pairs.append((self.read(e.func(e.base, *subscripts), rest.under(test)), test))
            rest = rest.under(negation(test))
        return sp.Piecewise(*pairs)

    def element(self, e: MatrixElement, scope: Scope) -> sp.Expr:
        """An element of a SymPy matrix at indices: the matrix is a tensor, each of its entries a statement."""
        matrix, *places = e.args
        if not isinstance(matrix, sp.MatrixBase):
            raise Refused(f"{self.layer}: {matrix} is a matrix without entries, expected sp.Matrix([[…], …])")
        subscripts = [sp.expand(self.convert(place, scope)) for place in places]
        entries = [self.body(self.convert(entry, scope)) for entry in matrix.flat()]
        guard = all_of(*(c for c in conjuncts(scope.path) if not reads_of(c)))
        used = {i for entry in (*entries, guard) for i in indices_of(entry)}
        free = tuple(r for r in scope.ranges.values() if r.index in used)
        key = (matrix, free, guard)
        if key not in self.matrices:
            name = self.matrices[key] = self.names.fresh(f"{self.layer}_matrix")
            shape = (*(r.extent for r in free), *map(sp.Integer, matrix.shape))
            self.tensors[name] = Tensor(name, shape, Role.HELPER)
            own = tuple(r.index for r in free)
            for (row, column), entry in zip(itertools.product(*map(range, matrix.shape)), entries, strict=True):
                place = (*own, sp.Integer(row), sp.Integer(column))
                self.emit(Statement(name, place, "=", guarded(entry, guard), free, layer=self.layer))
        return Read(self.matrices[key], *(r.index for r in free), *subscripts)

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
