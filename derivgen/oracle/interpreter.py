"""The interpreter: executes a Program in arbitrary precision, statement by statement, as declared.

Slow, small and independent of every later stage: what rewrites, schedules and kernels are tested against. Numbers
are reals of mpmath under IEEE's rules for infinities and NaN, without a signed zero: nothing raises, nothing turns
complex.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce, singledispatch
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen.form.expressions import TRUE, Read, alternatives, conjuncts, is_size
from derivgen.form.functions import FUNCTIONS, partial, stop_gradient
from derivgen.form.program import GIVEN, Program, Statement, is_plain_index
from derivgen.form.randomness import random_tensors
from derivgen.form.reals import Real, maximum
from derivgen.oracle.quotients import Place, Quotient
from derivgen.oracle.reals import CONSTANTS, context, integer_power, power
from derivgen.oracle.tensor_values import Array, Store, blank, extent_of, filled, given_arrays, solved_sizes

Point = tuple[int, ...]  # the values of a statement's indices, in the order of its domain
Evaluator = Callable[[Point], Any]
Held = dict[tuple[Statement, sp.Expr], dict[Point, Real]]
Quotients = dict[tuple[sp.Expr, tuple[Place, ...]], list[Real]]  # a partial derivative at places → for each element


def run(
    program: Program,
    values: Mapping[str, ArrayLike],
    sizes: Mapping[str, int] | None = None,
    digits: int = 50,
    held: Held | None = None,
    whole: Program | None = None,
) -> dict[str, Array]:
    """Every tensor by name, given or computed, as an object array of mpf (of int where the tensor is integer).

    `values` names what is given; constants default to their own value, random tensors to the numbers of seed 0 and step
    0, `model.training` to 1. `sizes` are solved from the arrays' shapes where not given. `held` keeps the values of
    stop_gradient for a later run, which reuses them. `whole` is what the program is a part of, if it is: partial
    derivatives are taken of that. An element of an `=` target that no statement writes is NaN.

    Raises ValueError on unknown or missing names, other shapes and undetermined sizes, IndexError on a read or a
    write outside its tensor.
    """
    execution = Execution(program, values, sizes, digits, held, whole)
    execution.run()
    return {t.name: execution.stores[t.name].array for t in program.tensors if t.name in execution.stores}


class Execution:
    """A program with what it is given, as in `run`: once made, it can be executed again with other values of that.

    What stop_gradient holds is held from the first execution on.
    """

    def __init__(
        self,
        program: Program,
        values: Mapping[str, ArrayLike],
        sizes: Mapping[str, int] | None = None,
        digits: int = 50,
        held: Held | None = None,
        whole: Program | None = None,
    ) -> None:
        self.mp = mp = context(digits)
        arrays = given_arrays(program, values)
        self.sizes = solved_sizes(program, arrays, sizes or {})
        arrays |= {name: drawn for name, drawn in random_tensors(program, self.sizes).items() if name not in arrays}
        self.stores = {name: filled(mp, program.tensor(name), a) for name, a in arrays.items()}
        self.computed: list[
            tuple[list[Any], list[Any]]
        ] = []  # the elements of what is computed, and those to start from
        for tensor in program.tensors:
            if tensor.name not in self.stores and tensor.role not in GIVEN:
                self.stores[tensor.name] = store = blank(mp, tensor, program.statements, self.sizes)
                self.computed.append((store.elements, [*store.elements]))
        self.quotients: Quotients = {}
        held = {} if held is None else held
        self.runs: list[list[Ready]] = []
        for _, statements in itertools.groupby(program.statements, lambda s: s.scan):
            ready = []
            for statement in statements:
                positions = {r.index: k for k, r in enumerate(statement.domain)}
                extents = tuple(extent_of(r.extent, self.sizes) for r in statement.domain)
                known = (self.sizes, positions, extents, statement, held, whole or program, self.quotients)
                ready.append(_ready(Scope(mp, self.stores, *known)))
            self.runs.append(ready)

    def give(self, name: str, elements: Iterable[Any]) -> None:
        """Other elements in the place of those that were given, in row-major order."""
        store, count = self.stores[name], len(self.stores[name].elements)
        assert all(store.elements is not computed for computed, _ in self.computed), f"{name} is computed"
        store.elements[:] = elements if store.integer else map(self.mp.mpf, elements)
        assert len(store.elements) == count, f"{name} has {count} elements, {len(store.elements)} were given"

    def run(self) -> None:
        """Execute the program; the tensors are in `stores`."""
        for elements, start in self.computed:
            elements[:] = start
        self.quotients.clear()
        best: dict[tuple[str, int], Real] = {}
        for statements in self.runs:
            for step in _steps(statements[0].scope):
                for ready in statements:
                    _execute(ready, step, best)


# -- statements


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that the expressions of one statement may refer to."""

    mp: Any
    stores: Mapping[str, Store]
    sizes: Mapping[str, int]
    positions: Mapping[sp.Symbol, int]  # of the indices in a point
    extents: tuple[int, ...]
    statement: Statement
    held: Held
    whole: Program  # what partial derivatives are taken of
    quotients: Quotients


@dataclass(frozen=True, slots=True)
class Ready:
    """A statement as functions of a point: the position in its target, the value, and whether the guard holds."""

    scope: Scope
    offset: Callable[[Point], int]
    value: Evaluator
    condition: Callable[[Point], bool] | None


def _ready(scope: Scope) -> Ready:
    s = scope.statement
    evaluator = _integer if scope.stores[s.target].integer and s.operator != "argmax=" else _real
    condition = _condition(s.guard, scope) if s.guard != TRUE else None
    return Ready(scope, _offset(s.write, scope), evaluator(s.expression, scope), condition)


def _steps(scope: Scope) -> Iterable[int | None]:
    """The steps of a statement's scan in their order, or None once."""
    scan = scope.statement.scan
    if scan is None:
        return [None]
    steps = range(scope.extents[scope.positions[scan.index]])
    return reversed(steps) if scan.reverse else steps


def _execute(ready: Ready, step: int | None, best: dict[tuple[str, int], Real]) -> None:
    """Run one statement over its box, or one step of it; `best` keeps, for each arg-max, the maximum so far."""
    scope, offset, value = ready.scope, ready.offset, ready.value
    statement, elements = scope.statement, scope.stores[scope.statement.target].elements
    box = [range(extent) for extent in scope.extents]
    if statement.scan is not None and step is not None:
        box[scope.positions[statement.scan.index]] = range(step, step + 1)
    points: Iterable[Point] = itertools.product(*box)
    if ready.condition is not None:
        points = filter(ready.condition, points)
    match statement.operator:
        case "=":
            for p in points:
                elements[offset(p)] = value(p)
        case "+=":
            for p in points:
                k = offset(p)
                elements[k] = elements[k] + value(p)
        case "max=":
            for p in points:
                k = offset(p)
                elements[k] = maximum(scope.mp, elements[k], value(p))
        case "argmax=":
            winner = scope.positions[statement.winner]
            for p in points:
                k, found = offset(p), value(p)
                previous = best.get((statement.target, k))
                if previous is None or found > previous or (found != found and previous == previous):
                    best[statement.target, k] = found
                    elements[k] = p[winner]


def _offset(read: Read, scope: Scope) -> Callable[[Point], int]:
    """The position of a tensor's element at these subscripts; outside the tensor is an IndexError."""
    tensor, store = read.tensor, scope.stores[read.tensor]
    plain = [scope.positions.get(s, -1) for s in read.subscripts]
    # An index that cannot leave its axis needs no check: most reads by far.
    if all(k >= 0 and scope.extents[k] <= extent for k, extent in zip(plain, store.shape, strict=True)):
        if len(plain) == 1:
            return operator.itemgetter(plain[0])
        if len(plain) == 2:
            (row, column), width = plain, store.shape[1]
            return lambda p: p[row] * width + p[column]
        if len(plain) == 3:
            (page, row, column), (area, width, _) = plain, store.strides
            return lambda p: p[page] * area + p[row] * width + p[column]
    axes = list(zip([_integer(s, scope) for s in read.subscripts], store.shape, store.strides, strict=True))

    def offset(p: Point) -> int:
        total = 0
        for subscript, extent, stride in axes:
            i = subscript(p)
            if not 0 <= i < extent:
                raise IndexError(f"{scope.statement.target}: subscript {i} of {read} is outside {tensor}'s {extent}")
            total += i * stride
        return total

    return offset


def _element(read: Read, scope: Scope) -> Evaluator:
    elements, offset = scope.stores[read.tensor].elements, _offset(read, scope)
    return lambda p: elements[offset(p)]


# -- integers: subscripts


def _is_integer(e: sp.Basic, scope: Scope) -> bool:
    if isinstance(e, Read):
        return scope.stores[e.tensor].integer
    if isinstance(e, sp.Add | sp.Mul):
        return all(_is_integer(a, scope) for a in e.args)
    return isinstance(e, sp.Integer) or e in scope.positions or is_size(e)


def _integer(e: sp.Expr, scope: Scope) -> Evaluator:
    """An integer expression as a Python int."""
    if not _is_integer(e, scope):
        value, mp = _real(e, scope), scope.mp
        return lambda p: _whole(mp, value(p), e)
    if isinstance(e, Read):
        return _element(e, scope)
    if e in scope.positions:
        return operator.itemgetter(scope.positions[e])
    if isinstance(e, sp.Add | sp.Mul):
        return _fold(operator.add if e.is_Add else operator.mul, [_integer(a, scope) for a in e.args])
    constant = extent_of(e, scope.sizes)
    return lambda p: constant


def _whole(mp: Any, value: Real, e: sp.Expr) -> int:
    if not mp.isint(value):
        raise IndexError(f"{e} is {value}, expected an integer")
    return int(value)


def _fold(operation: Callable[[Any, Any], Any], parts: list[Evaluator]) -> Evaluator:
    if len(parts) == 2:
        first, second = parts
        return lambda p: operation(first(p), second(p))
    return lambda p: reduce(operation, [part(p) for part in parts])


# -- reals


@singledispatch
def _real(e: Any, scope: Scope) -> Evaluator:
    """A real expression as an mpf: by default, of a function with a record or a row of CONSTANTS."""
    if e in CONSTANTS:
        constant = +getattr(scope.mp, CONSTANTS[e])
        return lambda p: constant
    if e.func not in FUNCTIONS:
        raise TypeError(f"{scope.statement.target}: {e} has no meaning in a program")
    function = functools.partial(FUNCTIONS[e.func].real, scope.mp)
    parts = [_real(a, scope) for a in e.args]
    match parts:
        case [u]:
            return lambda p: function(u(p))
        case [u, v]:
            return lambda p: function(u(p), v(p))
    return lambda p: function(*[part(p) for part in parts])


@_real.register(sp.Add)
def _(e: Any, scope: Scope) -> Evaluator:
    return _fold(operator.add, [_real(a, scope) for a in e.args])


@_real.register(sp.Mul)
def _(e: Any, scope: Scope) -> Evaluator:
    if e.args[0] == -1:
        rest = _fold(operator.mul, [_real(a, scope) for a in e.args[1:]])
        return lambda p: -rest(p)
    return _fold(operator.mul, [_real(a, scope) for a in e.args])


@_real.register(sp.Pow)
def _(e: Any, scope: Scope) -> Evaluator:
    mp, base = scope.mp, _real(e.base, scope)
    if e.exp == 2:
        return lambda p: base(p) ** 2
    if isinstance(e.exp, sp.Integer):
        k = int(e.exp)
        return lambda p: integer_power(mp, base(p), k)
    exponent = _real(e.exp, scope)
    return lambda p: power(mp, base(p), exponent(p))


@_real.register(sp.Rational)
def _(e: Any, scope: Scope) -> Evaluator:
    constant = scope.mp.mpf(int(e.p)) / int(e.q)
    return lambda p: constant


@_real.register(sp.Float)
def _(e: Any, scope: Scope) -> Evaluator:
    constant = scope.mp.make_mpf(e._mpf_)  # exactly: 0.1 is the double 0.1
    return lambda p: constant


@_real.register(sp.Symbol)
def _(e: Any, scope: Scope) -> Evaluator:
    if e not in scope.positions:
        constant = scope.mp.mpf(extent_of(e, scope.sizes))
        return lambda p: constant
    position = scope.positions[e]
    numbers = [scope.mp.mpf(i) for i in range(scope.extents[position])]
    return lambda p: numbers[p[position]]


@_real.register(Read)
def _(e: Any, scope: Scope) -> Evaluator:
    element, mpf = _element(e, scope), scope.mp.mpf
    return (lambda p: mpf(element(p))) if scope.stores[e.tensor].integer else element


@_real.register(sp.Piecewise)
def _(e: Any, scope: Scope) -> Evaluator:
    branches = [(_condition(pair.args[1], scope), _real(pair.args[0], scope)) for pair in e.args]
    nan = scope.mp.nan

    def taken(p: Point) -> Real:
        for condition, value in branches:
            if condition(p):
                return value(p)
        return nan

    return taken


@_real.register(stop_gradient)
def _(e: Any, scope: Scope) -> Evaluator:
    value, held = _real(e.args[0], scope), scope.held.setdefault((scope.statement, e), {})

    def held_value(p: Point) -> Real:
        if p not in held:
            held[p] = value(p)
        return scope.mp.mpf(held[p])

    return held_value


@_real.register(partial)
def _(e: Any, scope: Scope) -> Evaluator:
    read, *variables = e.args
    offset, places = _offset(read, scope), [_place(x, read, scope) for x in variables]
    known, by = scope.quotients, tuple(x.tensor for x in variables)
    quotient = Quotient(Execution, scope.whole, scope.sizes, read.tensor, by, scope.mp.dps, scope.held)

    def element(p: Point) -> Real:
        at = (e, tuple(place(p) for place in places))
        if at not in known:
            known[at] = [scope.mp.mpf(v) for v in quotient.at(scope.stores, at[1])]
        return known[at][offset(p)]

    return element


def _place(x: Read, value: Read, scope: Scope) -> Callable[[Point], Place]:
    """The element of x by which a value is differentiated, None along rows, which the value has for itself."""
    shape = scope.whole.tensor(x.tensor).shape
    rows = [
        is_plain_index(s) and s in value.subscripts and not e.is_Integer
        for s, e in zip(x.subscripts, shape, strict=True)
    ]
    places = [_integer(s, scope) for s in x.subscripts]
    return lambda p: tuple(None if row else place(p) for row, place in zip(rows, places, strict=True))


# -- conditions

RELATIONS: dict[type, Callable[[Any, Any], bool]] = {
    sp.Eq: operator.eq,
    sp.Ne: operator.ne,
    sp.Lt: operator.lt,
    sp.Le: operator.le,
    sp.Gt: operator.gt,
    sp.Ge: operator.ge,
}


def _condition(c: Any, scope: Scope) -> Callable[[Point], bool]:
    """A condition; And and Or stop at the first part that decides, what others may need first."""
    if c in (sp.true, sp.false):
        truth = bool(c)
        return lambda p: truth
    if isinstance(c, sp.And):
        parts = [_condition(part, scope) for part in conjuncts(c)]
        return lambda p: all(part(p) for part in parts)
    if isinstance(c, sp.Or):
        parts = [_condition(part, scope) for part in alternatives(c)]
        return lambda p: any(part(p) for part in parts)
    if isinstance(c, sp.Not):
        negated = _condition(c.args[0], scope)
        return lambda p: not negated(p)
    if c.func not in RELATIONS:
        raise TypeError(f"{scope.statement.target}: {c} has no meaning as a condition")
    evaluator = _integer if all(_is_integer(side, scope) for side in c.args) else _real
    return _fold(RELATIONS[c.func], [evaluator(side, scope) for side in c.args])
