"""What recurrent layers have in common: weights, states before the first and after the last step, lengths, and layers
one over another.

The tensors of a cell are the members of one recurrence. Each has a word, and is called `<name>_<word>`; the word of the
layer's sequence is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy as sp

from derivgen.declare.model import Model, Size, TensorSymbol
from derivgen.layers.checks import are_lengths, is_tensor, shape_among, whole_number
from derivgen.layers.dropout import dropout, probability
from derivgen.layers.weights import glorot

At: TypeAlias = tuple[Any, ...]
Values: TypeAlias = dict[str, Any]  # a member's word → its tensor, or its value at a step
Step: TypeAlias = Callable[[Values], Values]  # tensors → values
Level: TypeAlias = Callable[[TensorSymbol, str, Any], tuple[Any, ...]]  # (x, name, initial) → sequence, final states

SEQUENCE, UNMASKED, KEPT = "", "unmasked", "kept"


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments that all recurrent layers have; `states` are the words of what one step passes to the next."""

    layer: str
    units: Size
    reverse: bool
    initial: Any
    return_state: bool
    lengths: Any
    num_layers: int
    dropout: float
    states: tuple[str, ...] = (SEQUENCE,)


@dataclass(frozen=True, slots=True)
class Cell:
    """What the steps of a recurrent layer are made of.

    `at` is (n, t, j) over batch, time and units; `at_gates` is (n, t, g, j), or `at` without gates; `at_state` is
    (n, t, p) over the width of the state h, which is `at` without a projection. The step before t is `before`.
    `inputs` is x·W + b, at `at_gates`. Row n has the step t where the condition `inside` holds, which is None without
    lengths. `rows` are (n, p) or (n, j) of each state, and `start` is its value before the first step.
    """

    asked: Asked
    model: Model
    name: str
    at: At
    at_gates: At
    at_state: At
    before: sp.Expr
    last: sp.Expr
    inputs: sp.Expr
    U: Any
    inside: Any
    rows: Mapping[str, At]
    start: Mapping[str, Any]

    def parameter(self, word: str, *sizes: Any, init: str | None = None) -> Any:
        """A parameter of the cell's own."""
        return self.model.parameter(f"{self.name}_{word}", *sizes, init=init)

    def states(self, h: TensorSymbol, U: TensorSymbol | None = None, at: At = ()) -> sp.Expr:
        """h·U of the state one step before; of another matrix than the cell's, at its indices after the first."""
        n, k = self.at[0], self.model.local_indices(self.U.shape[0], letters="k")[0]
        W, last = (self.U, self.at_gates[2:]) if U is None else (U, at)
        return sp.Sum(h[n, self.before, k] * W[(k, *last)], k)

    def earlier(self, word: str, state: TensorSymbol) -> sp.Expr:
        """A state one step before."""
        n, j = self.rows[word]
        return state[n, self.before, j]

    def recur(self, members: Mapping[str, At], step: Step) -> tuple[Any, ...]:
        """The sequence, then the final states if these are asked for; `members` are the indices of each tensor."""
        if self.inside is not None:
            members, step = {**members, UNMASKED: self.at_state, KEPT: self.at_state}, self.kept(step)
        names = [f"{self.name}_{word}" if word else self.name for word in members]
        initial = [self.start.get(SEQUENCE if word == KEPT else word) for word in members]

        def values(*tensors: Any) -> list[Any]:
            found = step(dict(zip(members, tensors, strict=True)))
            return [found[word] for word in members]

        made = self.model.recur(names, list(members.values()), values, initial)
        return (made[0], *self.final(dict(zip(members, made, strict=True))))

    def kept(self, step: Step) -> Step:
        """The step with lengths: after a row's last step the states stay as they are, and the sequence is 0.

        What a step gives without lengths is a tensor of its own: its sums and functions stand under no condition then.
        """

        def longer(s: Values) -> Values:
            states = {word: s[word or KEPT] for word in self.rows}
            values, h = step({**s, **states}), s[UNMASKED][self.at_state]
            new = {**values, SEQUENCE: h}
            kept = {word or KEPT: self.where_inside(new[word], self.earlier(word, c)) for word, c in states.items()}
            return {**values, UNMASKED: values[SEQUENCE], SEQUENCE: self.where_inside(h, 0), **kept}

        return longer

    def where_inside(self, value: sp.Expr, otherwise: Any) -> sp.Expr:
        """A value at the steps that the row has, and another one after them."""
        return sp.Piecewise((value, self.inside), (otherwise, True))

    def final(self, made: Values) -> list[Any]:
        """The states after the last step, `<name>_final` and `<name>_cell_final`; none if they are not asked for."""
        if not self.asked.return_state:
            return []
        final = []
        for word, (n, j) in self.rows.items():
            state: Any = made.get(word or KEPT, made[word])
            name = f"{self.name}_{word}_final" if word else f"{self.name}_final"
            final.append(self.model.let(name, (n, j), state[n, self.last, j]))
        return final


def cell_of(
    x: TensorSymbol, name: str, initial: Any, asked: Asked, *gates: int, projection: Size | None = None
) -> Cell:
    """A cell with the weights W (features, gates, units), U (width, gates, units) and b (gates, units).

    Without gates, without that axis. The width of the state is `projection`, or units if that is None.
    """
    model, units = x.model, whole_number(x.model, asked.layer, "units", asked.units)
    width = units if projection is None else whole_number(model, asked.layer, "projection", projection)
    W = model.parameter(f"{name}_W", x.shape[-1], *gates, units, init=glorot(model, [x.shape[-1]], [*gates, units]))
    U = model.parameter(f"{name}_U", width, *gates, units, init="orthogonal")
    b = model.parameter(f"{name}_b", *gates, units)
    n, t, i, *g, j = model.local_indices(*x.shape, *gates, units, letters="ntigj" if gates else "ntij")
    p = j if projection is None else model.local_indices(width, letters="p")[0]
    before, last = (t + 1, sp.Integer(0)) if asked.reverse else (t - 1, x.shape[1] - 1)
    inputs, inside = sp.Sum(x[n, t, i] * W[(i, *g, j)], i) + b[(*g, j)], within(x, asked, n, t)
    rows = {word: (n, j if word else p) for word in asked.states}
    start = starts(x, asked, initial, rows)
    return Cell(asked, model, name, (n, t, j), (n, t, *g, j), (n, t, p), before, last, inputs, U, inside, rows, start)


def within(x: TensorSymbol, asked: Asked, n: Any, t: Any) -> Any:
    """The condition that row n has the step t; None where no lengths are given, or other ones than there can be."""
    if asked.lengths is None or not are_lengths(x.model, asked.layer, asked.lengths, x.shape[0]):
        return None
    return t < asked.lengths[n]


def starts(x: TensorSymbol, asked: Asked, initial: Any, rows: Mapping[str, At]) -> dict[str, Any]:
    """The value of each state before the first step, 0 where none is given."""
    given = several(x.model, asked.layer, initial, len(rows), "a pair (h, c), one for each state")
    start: dict[str, Any] = {}
    for (word, row), state in zip(rows.items(), given, strict=True):
        width = row[-1].upper + 1
        possible = [(x.shape[0], width), (width,)]
        fits = state is not None and shape_among(x.model, asked.layer, "initial", state, possible) is not None
        start[word] = state[row[-len(state.shape) :]] if fits else 0
    return start


def several(model: Model, layer: str, initial: Any, count: int, form: str) -> Sequence[Any]:
    """The parts of an initial state, a list or a tuple; None for each part if it is None or does not fit.

    A single part may also stand by itself.
    """
    if initial is None or (isinstance(initial, list | tuple) and len(initial) == count):
        return initial or [None] * count
    if count == 1:
        return [initial]
    model.problem(f"{layer}: initial must be {form}, found {initial!r}")
    return [None] * count


# ---- layers one over another


def recurrent(x: TensorSymbol, name: str, asked: Asked, level: Level) -> Any:
    """A recurrent layer, or several; after a refusal of x, that in the places of all that it returns."""
    if is_tensor(x, asked.layer, range(3, 4), "(batch, time, features)"):
        return stacked(x, name, asked, level)
    states = len(asked.states) if asked.return_state else 0
    return stacked(x, name, asked, lambda x, *_: (x, *[x] * states))


def stacked(x: TensorSymbol, name: str, asked: Asked, level: Level) -> Any:
    """Layers one over another, with dropout between them: the last is called `<name>`, others `<name>_l0`, ….

    It returns the sequence of the last one, then the final states if there are any: those of one layer, or those of
    each layer as one.
    """
    count = whole_number(x.model, asked.layer, "num_layers", asked.num_layers)
    rate, states = rate_between(x.model, asked, count), []
    starts = several(x.model, asked.layer, asked.initial, count, f"a list of {count}, one for each layer")
    for k, start in enumerate(starts, start=1):
        own = name if k == count else f"{name}_l{k - 1}"
        x, *final = level(x, own, start)
        states.append(final)
        x = x if k == count or rate.is_zero else dropout(x, rate, name=f"{own}_dropout")
    if not states[0]:
        return x
    return (x, *(states[0] if count == 1 else map(as_one, states)))


def rate_between(model: Model, asked: Asked, count: int) -> Any:
    """The rate of the dropout between layers; a single one that has dropout is noted."""
    rate = probability(model, asked.layer, "dropout", asked.dropout)
    if count == 1 and not rate.is_zero:
        model.problem(
            f"{asked.layer}: dropout is between layers, found dropout={asked.dropout} with num_layers=1: use "
            "layers.dropout before or after it"
        )
    return rate


def as_one(states: Sequence[Any]) -> Any:
    """The states of a layer as `initial` takes them: a tensor, or a tuple of several."""
    return states[0] if len(states) == 1 else tuple(states)
