"""Recurrent layers: (batch, time, features) → (batch, time, units), each a few recurrences of `model.recur`.

Gates are packed as PyTorch has them, W[feature, gate, unit]. States are 0 before the first step if none are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import sympy as sp

from derivgen.declare.model import Size, TensorSymbol
from derivgen.form.functions import sigmoid
from derivgen.layers.checks import function
from derivgen.layers.recurrent_cells import (
    SEQUENCE,
    Asked,
    At,
    Cell,
    Step,
    Values,
    as_one,
    cell_of,
    recurrent,
    several,
    stacked,
)
from derivgen.layers.shape import concatenate

Activation: TypeAlias = Callable[[sp.Expr], sp.Expr]
Peepholes: TypeAlias = Callable[[Any], list[sp.Expr]]  # the tensor of the cell → what each gate sees of it
Recurrence: TypeAlias = tuple[dict[str, At], Step]  # members, and what gives their values


def simple_rnn(
    x: TensorSymbol,
    units: Size,
    activation: Activation = sp.tanh,
    *,
    name: str,
    reverse: bool = False,
    initial: Any = None,
    return_state: bool = False,
    lengths: TensorSymbol | None = None,
    num_layers: int = 1,
    dropout: float = 0.0,
) -> Any:
    """h = activation(x·W + h·U + b), where h on the right is that of the previous step.

    With `reverse` it is that of the next step, and time runs backwards. Weights `<name>_W` (features, units),
    `<name>_U` (units, units), `<name>_b`.

    - `initial`: the state before the first step, (batch, units), or (units,) for one that all rows share, such as a
      parameter.
    - `return_state`: return the sequence and the final state (batch, units), which another layer's `initial` may be.
    - `lengths`: labels (batch,), how many steps each row has. After them the sequence is 0, and the state stays; x is
      multiplied there too, so it must be finite. With `reverse` the first step is the row's last one.
    - `num_layers`: layers one over another, which are called `<name>_l0`, `<name>_l1`, …, and `<name>`, with `dropout`
      between them in training. `initial` is a list with one for each layer; the final states follow one another.

    As keras.layers.SimpleRNN with return_sequences, and torch.nn.RNN with one bias in place of its two.
    """
    asked = Asked("simple_rnn", units, reverse, initial, return_state, lengths, num_layers, dropout)

    def level(x: TensorSymbol, name: str, initial: Any) -> tuple[Any, ...]:
        cell, f = cell_of(x, name, initial, asked), function(x.model, "simple_rnn", activation)
        members = {SEQUENCE: cell.at}
        return cell.recur(members, lambda s: {SEQUENCE: f(cell.inputs + cell.states(s[SEQUENCE]))})

    return recurrent(x, name, asked, level)


def lstm(
    x: TensorSymbol,
    units: Size,
    *,
    name: str,
    reverse: bool = False,
    initial: Any = None,
    return_state: bool = False,
    lengths: TensorSymbol | None = None,
    num_layers: int = 1,
    dropout: float = 0.0,
    activation: Activation = sp.tanh,
    recurrent_activation: Activation = sigmoid,
    peephole: bool = False,
    projection: Size | None = None,
) -> Any:
    """Long short-term memory: c = f·c + i·g, h = o·tanh(c), with i, f, g, o from x·W + h·U + b.

    Weights `<name>_W` (features, 4, units), `<name>_U` (units, 4, units), `<name>_b` (4, units); the cell is the tensor
    `<name>_cell`. Options are those of simple_rnn, with two states: `initial` is a pair (h, c), and `return_state`
    gives the sequence, h and c; with several layers a pair for each.

    - `activation` stands for tanh, `recurrent_activation` for the sigmoid of i, f and o.
    - `peephole`: i and f add the cell of the step before, and o that of the step itself, times `<name>_P` (3, units)
      for input, output and forget gate, as P of ONNX's LSTM.
    - `projection`: h = (o·tanh(c))·V has this width, with `<name>_V` (units, projection); `<name>_U` is (projection,
      4, units) then.

    As keras.layers.LSTM with return_sequences, and torch.nn.LSTM with one bias in place of its two.
    """
    asked = Asked("lstm", units, reverse, initial, return_state, lengths, num_layers, dropout, (SEQUENCE, "cell"))

    def level(x: TensorSymbol, name: str, initial: Any) -> tuple[Any, ...]:
        cell = cell_of(x, name, initial, asked, 4, projection=projection)
        f, g = both_functions(x, "lstm", activation, recurrent_activation)
        members, step = lstm_step(cell, f, g, peepholes(cell) if peephole else lambda c: 4 * [sp.S.Zero])
        return cell.recur(members, step) if projection is None else projected(cell, members, step)

    return recurrent(x, name, asked, level)


def lstm_step(cell: Cell, activation: Activation, recurrent_activation: Activation, seen: Peepholes) -> Recurrence:
    """The members of a long short-term memory, and their step."""
    (n, t, j), words = cell.at, ("input", "forget", "new", "output")
    functions = recurrent_activation, recurrent_activation, activation, recurrent_activation

    def step(s: Values) -> Values:
        c, z, (start, keep, new, show) = s["cell"], s["gates"], (s[word][cell.at] for word in words)
        gates = enumerate(zip(words, functions, seen(c), strict=True))
        opened = {word: f(z[n, t, gate, j] + more) for gate, (word, f, more) in gates}
        kept = keep * cell.earlier("cell", c) + start * new
        h = show * activation(c[cell.at])
        return {SEQUENCE: h, "cell": kept, "gates": cell.inputs + cell.states(s[SEQUENCE]), **opened}

    return {SEQUENCE: cell.at, "cell": cell.at, "gates": cell.at_gates, **dict.fromkeys(words, cell.at)}, step


def peepholes(cell: Cell) -> Peepholes:
    """What the gates i, f, g, o see of the cell: that of the step before, and o that of the step itself."""
    P, j = cell.parameter("P", 3, cell.U.shape[-1]), cell.at[-1]

    def seen(c: Any) -> list[sp.Expr]:
        before = cell.earlier("cell", c)
        return [P[0, j] * before, P[2, j] * before, sp.S.Zero, P[1, j] * c[cell.at]]

    return seen


def projected(cell: Cell, members: dict[str, At], step: Step) -> tuple[Any, ...]:
    """The recurrence whose h is a product with V."""
    (n, t, j), p, (units, width) = cell.at, cell.at_state[-1], (cell.U.shape[-1], cell.U.shape[0])
    V = cell.parameter("V", units, width, init="glorot_uniform")

    def narrow(s: Values) -> Values:
        values = step(s)
        return {**values, "hidden": values[SEQUENCE], SEQUENCE: sp.Sum(s["hidden"][n, t, j] * V[j, p], j)}

    return cell.recur({**members, SEQUENCE: cell.at_state, "hidden": cell.at}, narrow)


def gru(
    x: TensorSymbol,
    units: Size,
    *,
    name: str,
    reverse: bool = False,
    initial: Any = None,
    return_state: bool = False,
    lengths: TensorSymbol | None = None,
    num_layers: int = 1,
    dropout: float = 0.0,
    activation: Activation = sp.tanh,
    recurrent_activation: Activation = sigmoid,
    reset_after: bool = True,
) -> Any:
    """Gated recurrent unit: h = (1 - z)·m + z·h with m = tanh(x·W + r·(h·U + a) + b) and gates r and z.

    Weights `<name>_W` (features, 3, units) and `<name>_U` (units, 3, units) for r, z and m, `<name>_b` (3, units), and
    `<name>_a` (units,), the bias that r multiplies. Options are those of simple_rnn.

    - `activation` stands for tanh, `recurrent_activation` for the sigmoid of r and z.
    - Without `reset_after`, m = tanh(x·W + (r·h)·U + b), and there is no a: the original unit, which is ONNX's with
      linear_before_reset = 0.

    As keras.layers.GRU with return_sequences, and torch.nn.GRU with one bias in place of each pair that is only added.
    """
    asked = Asked("gru", units, reverse, initial, return_state, lengths, num_layers, dropout)

    def level(x: TensorSymbol, name: str, initial: Any) -> tuple[Any, ...]:
        cell = cell_of(x, name, initial, asked, 3)
        f, g = both_functions(x, "gru", activation, recurrent_activation)
        return cell.recur(*(reset_after_step if reset_after else reset_before_step)(cell, f, g))

    return recurrent(x, name, asked, level)


def reset_after_step(cell: Cell, activation: Activation, recurrent_activation: Activation) -> Recurrence:
    """The members of a gated unit whose r multiplies a product, and their step."""
    (n, t, j), a = cell.at, cell.parameter("a", cell.U.shape[0])

    def step(s: Values) -> Values:
        inputs, state, z = s["inputs"], s["state"], s["update"][cell.at]
        r, update = (recurrent_activation(inputs[n, t, gate, j] + state[n, t, gate, j]) for gate in (0, 1))
        m = activation(inputs[n, t, 2, j] + r * (state[n, t, 2, j] + a[j]))
        h = (1 - z) * m + z * cell.earlier(SEQUENCE, s[SEQUENCE])
        return {SEQUENCE: h, "inputs": cell.inputs, "state": cell.states(s[SEQUENCE]), "update": update}

    return {SEQUENCE: cell.at, "inputs": cell.at_gates, "state": cell.at_gates, "update": cell.at}, step


def reset_before_step(cell: Cell, activation: Activation, recurrent_activation: Activation) -> Recurrence:
    """The members of a gated unit whose r multiplies the state, and their step.

    The weights of r and z are a let, so that the product with them is one of whole matrices, also in derivatives.
    """
    (n, t, j), (g, k) = cell.at, cell.model.local_indices(2, cell.U.shape[0], letters="gk")
    U = cell.model.let(f"{cell.name}_U_gates", (k, g, j), cell.U[k, g, j])

    def step(s: Values) -> Values:
        inputs, state, z, h = s["inputs"], s["state"], s["update"][cell.at], s[SEQUENCE]
        r, update = (recurrent_activation(inputs[n, t, gate, j] + state[n, t, gate, j]) for gate in (0, 1))
        m = activation(inputs[n, t, 2, j] + sp.Sum(s["reset"][n, t, k] * cell.U[k, 2, j], k))
        reset, mixed = r * cell.earlier(SEQUENCE, h), (1 - z) * s["new"][cell.at] + z * cell.earlier(SEQUENCE, h)
        gates = {"state": cell.states(h, U, (g, j)), "update": update, "reset": reset}
        return {SEQUENCE: mixed, "inputs": cell.inputs, **gates, "new": m}

    shorter = dict.fromkeys(("update", "reset", "new"), cell.at)
    return {SEQUENCE: cell.at, "inputs": cell.at_gates, "state": (n, t, g, j), **shorter}, step


def both_functions(
    x: TensorSymbol, layer: str, activation: Any, recurrent_activation: Any
) -> tuple[Activation, Activation]:
    """A layer's two activations."""
    gates = function(x.model, layer, recurrent_activation, "recurrent_activation")
    return function(x.model, layer, activation), gates


def bidirectional(
    layer: Callable[..., Any],
    x: TensorSymbol,
    units: Size,
    *,
    name: str,
    initial: Any = None,
    return_state: bool = False,
    num_layers: int = 1,
    dropout: float = 0.0,
    **options: Any,
) -> Any:
    """A recurrent layer forwards and another one backwards in time, concatenated: (batch, time, 2·units).

    Their names are `<name>_forward` and `<name>_backward`; `options`, such as `lengths`, are arguments of both.
    `initial` is a pair (forward, backward), each as the layer takes it; `return_state` gives the sequence, then the
    states forwards and those backwards. With `num_layers` each layer sees both directions of the one below, and the
    states are a pair for each. As keras.layers.Bidirectional, and torch.nn.LSTM with its option of this name.
    """
    if not callable(layer):
        x.model.problem(f"bidirectional: layer must be a function such as layers.gru, found {layer!r}")
        return (x, x, x) if return_state else x
    asked = Asked("bidirectional", units, False, initial, return_state, None, num_layers, dropout)
    options |= {"return_state": True} if return_state else {}

    def level(x: TensorSymbol, name: str, initial: Any) -> tuple[Any, ...]:
        starts = several(x.model, "bidirectional", initial, 2, "a pair (forward, backward)")
        given = [{**options, **({} if start is None else {"initial": start})} for start in starts]
        forward = layer(x, units, name=f"{name}_forward", reverse=False, **given[0])
        return side_by_side(forward, layer(x, units, name=f"{name}_backward", reverse=True, **given[1]), name)

    return stacked(x, name, asked, level)


def side_by_side(forward: Any, backward: Any, name: str) -> tuple[Any, ...]:
    """What two layers return, as one: their sequences concatenated, then the states of each."""
    if isinstance(forward, tuple):
        return (concatenate([forward[0], backward[0]], name=name), as_one(forward[1:]), as_one(backward[1:]))
    return (concatenate([forward, backward], name=name),)
