"""A model's lets and objective straight from the SymPy trees of its spec: no lowering, no statements, no interpreter.

Slow and lazy, in mpmath: an element is evaluated when something asks for it, an inner index of the same name hides an
outer one, and a branch that is not taken is not looked at.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp
from sympy.tensor.indexed import Idx, Indexed

from derivgen import MaxOver, stop_gradient
from derivgen.declare.model import Model
from derivgen.oracle.reals import context

Environment = Mapping[sp.Symbol, int]

DIGITS = 50
RELATIONS = {
    sp.Eq: operator.eq,
    sp.Ne: operator.ne,
    sp.Lt: operator.lt,
    sp.Le: operator.le,
    sp.Gt: operator.gt,
    sp.Ge: operator.ge,
}
NAMES = {sp.Abs: "fabs", sp.ceiling: "ceil"}  # of mpmath, where they are not SymPy's


class Direct:
    """The values of a model's lets and of its objective at a point."""

    def __init__(self, model: Model, values: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
        self.model, self.mp = model, context(DIGITS)
        constants = {name: d.value for name, d in model.declarations.items() if d.value is not None}
        self.arrays = {**constants, **values}
        self.sizes = {**model.fixed_sizes, **{s: sizes[s.name] for s in model.runtime_sizes}}
        self.definitions = {d.name: d for d in model.definitions}
        self.seen: dict[tuple[Any, ...], Any] = {}

    def objective(self) -> Any:
        assert self.model.objective is not None
        return self.body(self.model.objective.expression, {})

    def element(self, name: str, place: tuple[int, ...]) -> Any:
        """One element of a tensor; outside of it is an IndexError."""
        if name not in self.definitions:
            array = self.arrays[name]
            assert len(place) == array.ndim
            if any(not 0 <= i < extent for i, extent in zip(place, array.shape, strict=True)):
                raise IndexError(f"{name}{list(place)} is outside of {array.shape}")
            value = array[place].item()
            return value if isinstance(value, int) else self.mp.mpf(value)
        d = self.definitions[name]
        if d.recurrence and (name, *place) not in self.seen:
            tops = [self.integer(index.upper, {}) for index in d.indices]
            before = [(axis, max(-i, i - top)) for axis, (i, top) in enumerate(zip(place, tops, strict=True))]
            outside = [(axis, steps) for axis, steps in before if steps > 0]
            if len(outside) == 1:
                (axis, steps), env = outside[0], dict(zip(d.indices, place, strict=True))
                return self.body(
                    d.initial[min(steps, len(d.initial)) - 1], {i: env[i] for i in env if i != d.indices[axis]}
                )
        if any(not 0 <= i <= self.integer(index.upper, {}) for i, index in zip(place, d.indices, strict=True)):
            raise IndexError(f"{name}{list(place)} is outside of it")
        if (name, *place) not in self.seen:
            self.seen[name, *place] = self.body(d.expression, dict(zip(d.indices, place, strict=True)))
        return self.seen[name, *place]

    # ---- what has indices of its own

    def body(self, e: sp.Expr, env: Environment) -> Any:
        """A summand or the value of a let: 0 where a label inside an index is the ignored one."""
        for name, subscripts in labels_inside_indices(e):
            ignored = self.model.declarations[name].ignore
            if ignored is not None:
                place = tuple(self.integer(s, env) for s in subscripts)
                inside = all(0 <= i < extent for i, extent in zip(place, self.arrays[name].shape, strict=True))
                if inside and self.arrays[name][place] == ignored:
                    return self.mp.zero
        return self.value(e, env)

    def reduction(self, e: Any, env: Environment) -> Any:
        key = (e, *((s, env[s]) for s in sorted(env, key=str) if s in e.free_symbols))
        if key not in self.seen:
            limits = [*e.limits] if isinstance(e, sp.Sum) else [(i,) for i in e.args[1:]]
            terms = [self.body(e.args[0], inner) for inner in self.inside(limits[::-1], env)]
            self.seen[key] = sum(terms, self.mp.zero) if isinstance(e, sp.Sum) else max(terms)
        return self.seen[key]

    def inside(self, limits: list[Any], env: Environment) -> Iterator[Environment]:
        """The environments of a reduction's points; the first limit is the outermost."""
        if not limits:
            yield env
            return
        (index, *given), *rest = limits
        low, high = given or (index.lower, index.upper)
        for i in range(self.integer(low, env), self.integer(high, env) + 1):
            yield from self.inside(rest, {**env, index: i})

    # ---- expressions

    def integer(self, e: sp.Expr, env: Environment) -> int:
        value = self.value(e, env)
        assert value == int(value), f"{e} is {value}"
        return int(value)

    def value(self, e: Any, env: Environment) -> Any:
        mp = self.mp
        match e:
            case Idx() if e in env:
                return env[e]
            case sp.Symbol() if e in env or e in self.sizes:
                return env[e] if e in env else self.sizes[e]
            case sp.Symbol():
                return self.element(e.name, ())
            case Indexed():
                return self.element(e.base.name, tuple(self.integer(s, env) for s in e.indices))
            case sp.Sum() | MaxOver():
                return self.reduction(e, env)
            case sp.Integer():
                return int(e)
            case sp.Rational():
                return mp.mpf(e.p) / e.q
            case sp.Float():
                return mp.mpf(float(e))
            case sp.NumberSymbol():
                return +getattr(mp, "e" if e is sp.E else str(e))
            case sp.Piecewise():
                return self.value(next(p.args[0] for p in e.args if self.holds(p.args[1], env)), env)
            case sp.KroneckerDelta():
                return int(self.value(e.args[0], env) == self.value(e.args[1], env))
            case stop_gradient():
                return self.value(e.args[0], env)
        values = [self.value(a, env) for a in e.args]
        match e:
            case sp.Add():
                return sum(values, 0)
            case sp.Mul():
                return math.prod(values)
            case sp.Pow():
                base, exponent = mp.mpf(values[0]), values[1]
                return base**exponent if isinstance(exponent, int) else mp.power(base, exponent)
            case sp.Max() | sp.Min():
                return (max if isinstance(e, sp.Max) else min)(values)
            case sp.Mod():
                return values[0] - values[1] * mp.floor(mp.mpf(values[0]) / values[1])
        return getattr(mp, NAMES.get(e.func, e.func.__name__))(*map(mp.mpf, values))

    def holds(self, c: Any, env: Environment) -> bool:
        """A condition; parts that read nothing are tested first, since they keep the others inside their tensors."""
        match c:
            case sp.logic.boolalg.BooleanAtom():
                return bool(c)
            case sp.And():
                return all(self.holds(part, env) for part in sorted(c.args, key=reads))
            case sp.Or():
                return any(self.holds(part, env) for part in sorted(c.args, key=reads))
            case sp.Not():
                return not self.holds(c.args[0], env)
            case sp.ITE():
                return self.holds(c.args[1 if self.holds(c.args[0], env) else 2], env)
        return RELATIONS[c.func](*(self.value(side, env) for side in c.args))


def reads(e: sp.Basic) -> bool:
    return e.has(Indexed)


def labels_inside_indices(e: sp.Basic, inside: bool = False) -> Iterator[tuple[str, tuple[sp.Expr, ...]]]:
    """(name, subscripts) of each tensor that is read inside an index, outside the reductions in the expression."""
    if isinstance(e, sp.Sum | MaxOver):
        return
    if isinstance(e, Indexed):
        if inside:
            yield e.base.name, e.indices
        yield from itertools.chain.from_iterable(labels_inside_indices(s, True) for s in e.indices)
    else:
        for a in e.args:
            yield from labels_inside_indices(a, inside)
