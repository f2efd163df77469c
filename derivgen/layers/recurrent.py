"""Recurrent layers: (batch, time, features) → (batch, time, units), each a few recurrences of `model.recur`.

Gates are packed as PyTorch has them, W[feature, gate, unit]. States are 0 before the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derivgen.declare.model import Size, TensorSymbol
from derivgen.form.functions import sigmoid
from derivgen.layers.checks import function, is_tensor, whole_number
from derivgen.layers.shape import concatenate
from derivgen.layers.weights import glorot


def simple_rnn(
    x: TensorSymbol,
    units: Size,
    activation: Callable[[sp.Expr], sp.Expr] = sp.tanh,
    *,
    name: str,
    reverse: bool = False,
) -> Any:
    """h = activation(x·W + h·U + b), where h on the right is that of the previous step.

    With `reverse` it is that of the next step, and time runs backwards. Weights `<name>_W` (features, units),
    `<name>_U` (units, units), `<name>_b`. As keras.layers.SimpleRNN with return_sequences, and torch.nn.RNN with one
    bias in place of its two.
    """
    if not is_tensor(x, "simple_rnn", range(3, 4), "(batch, time, features)"):
        return x
    cell, f = cell_of(x, "simple_rnn", units, name, reverse), function(x.model, "simple_rnn", activation)
    return x.model.recur(name, cell.at, lambda h: f(cell.inputs + cell.states(h)))


def lstm(x: TensorSymbol, units: Size, *, name: str, reverse: bool = False) -> Any:
    """Long short-term memory: c = f·c + i·g, h = o·tanh(c), with i, f, g, o from x·W + h·U + b.

    Weights `<name>_W` (features, 4, units), `<name>_U` (units, 4, units), `<name>_b` (4, units); the cell is the tensor
    `<name>_cell`. As keras.layers.LSTM with return_sequences, and torch.nn.LSTM with one bias in place of its two.
    """
    if not is_tensor(x, "lstm", range(3, 4), "(batch, time, features)"):
        return x
    cell = cell_of(x, "lstm", units, name, reverse, 4)
    n, t, j = cell.at

    def step(h: Any, c: Any, z: Any, *gates: Any) -> tuple[sp.Expr, ...]:
        start, keep, new, show = (gate[cell.at] for gate in gates)
        kept = keep * c[n, cell.before, j] + start * new
        opened = (f(z[n, t, gate, j]) for gate, f in enumerate((sigmoid, sigmoid, sp.tanh, sigmoid)))
        return show * sp.tanh(c[n, t, j]), kept, cell.inputs + cell.states(h), *opened

    members = [name, *(f"{name}_{word}" for word in ("cell", "gates", "input", "forget", "new", "output"))]
    return x.model.recur(members, [cell.at, cell.at, cell.at_gates, *4 * [cell.at]], step)[0]


def gru(x: TensorSymbol, units: Size, *, name: str, reverse: bool = False) -> Any:
    """Gated recurrent unit: h = (1 - z)·m + z·h with m = tanh(x·W + r·(h·U + a) + b) and gates r and z.

    Weights `<name>_W` (features, 3, units) and `<name>_U` (units, 3, units) for r, z and m, `<name>_b` (3, units), and
    `<name>_a` (units,), the bias that r multiplies. As keras.layers.GRU with return_sequences, and torch.nn.GRU with
    one bias in place of each pair that is only added.
    """
    if not is_tensor(x, "gru", range(3, 4), "(batch, time, features)"):
        return x
    cell = cell_of(x, "gru", units, name, reverse, 3)
    (n, t, j), a = cell.at, x.model.parameter(f"{name}_a", cell.units)

    def step(h: Any, inputs: Any, state: Any, update: Any) -> tuple[sp.Expr, ...]:
        reset, z = sigmoid(inputs[n, t, 0, j] + state[n, t, 0, j]), update[n, t, j]
        new = sp.tanh(inputs[n, t, 2, j] + reset * (state[n, t, 2, j] + a[j]))
        mixed = (1 - z) * new + z * h[n, cell.before, j]
        return mixed, cell.inputs, cell.states(h), sigmoid(inputs[n, t, 1, j] + state[n, t, 1, j])

    members = [name, f"{name}_inputs", f"{name}_state", f"{name}_update"]
    return x.model.recur(members, [cell.at, cell.at_gates, cell.at_gates, cell.at], step)[0]


def bidirectional(layer: Callable[..., Any], x: TensorSymbol, units: Size, *, name: str, **options: Any) -> Any:
    """A recurrent layer forwards and another one backwards in time, concatenated: (batch, time, 2·units).

    Their names are `<name>_forward` and `<name>_backward`. As keras.layers.Bidirectional.
    """
    if not callable(layer):
        x.model.problem(f"bidirectional: layer must be a function such as layers.gru, found {layer!r}")
        return x
    ways = [
        layer(x, units, name=f"{name}_{way}", reverse=way == "backward", **options) for way in ("forward", "backward")
    ]
    return concatenate(ways, name=name)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a recurrent layer's steps are made of: x·W + b and, of a state h, h·U, at (n, t, j) or, with gates,
    (n, t, g, j); and where the step before is.
    """

    units: int
    at: tuple[Any, ...]
    at_gates: tuple[Any, ...]
    before: sp.Expr
    inputs: sp.Expr
    states: Callable[[Any], sp.Expr]


def cell_of(x: TensorSymbol, layer: str, units: Size, name: str, reverse: bool, *gates: int) -> Cell:
    """A cell with the weights W (features, gates, units), U (units, gates, units) and b (gates, units).

    Without gates, without that axis.
    """
    model, features, units = x.model, x.shape[-1], whole_number(x.model, layer, "units", units)
    W = model.parameter(f"{name}_W", features, *gates, units, init=glorot(model, [features], [*gates, units]))
    U = model.parameter(f"{name}_U", units, *gates, units, init="orthogonal")
    b = model.parameter(f"{name}_b", *gates, units)
    n, t, i, *g, j, k = model.local_indices(*x.shape, *gates, units, units, letters="ntigjk" if gates else "ntijk")
    before = t + 1 if reverse else t - 1
    inputs = sp.Sum(x[n, t, i] * W[(i, *g, j)], i) + b[(*g, j)]
    return Cell(units, (n, t, j), (n, t, *g, j), before, inputs, lambda h: sp.Sum(h[n, before, k] * U[(k, *g, j)], k))
