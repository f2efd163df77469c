"""Recurrent layers: (batch, time, features) → (batch, time, units), each a few recurrences of `model.recur`.

Gates are packed as PyTorch has them, W[feature, gate, unit]. States are 0 before the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from derivgen.functions import sigmoid
from derivgen.layers.checks import is_tensor
from derivgen.layers.shape import concatenate
from derivgen.layers.weights import glorot
from derivgen.model import Size, TensorSymbol


def simple_rnn(
    x: TensorSymbol,
    units: Size,
    activation: Callable[[sp.Expr], sp.Expr] = sp.tanh,
    *,
    name: str,
    reverse: bool = False,
) -> Any:
    """h = activation(x·W + h·U + b), h that of the step before; reverse: of the step after, from the last step on.

    Weights `<name>_W` (features, units), `<name>_U` (units, units), `<name>_b`. As keras.layers.SimpleRNN with
    return_sequences, and torch.nn.RNN with one of its two equal biases.
    """
    if not is_tensor(x, "simple_rnn", range(3, 4), "(batch, time, features)"):
        return x
    W, U, b = weights(x, units, name)
    n, t, i, j, k = x.model.local_indices(*x.shape, units, units, letters="ntijk")
    before = t + 1 if reverse else t - 1

    def step(h: Any) -> sp.Expr:
        return activation(sp.Sum(x[n, t, i] * W[i, j], i) + sp.Sum(h[n, before, k] * U[k, j], k) + b[j])

    return x.model.recur(name, (n, t, j), step)


def lstm(x: TensorSymbol, units: Size, *, name: str, reverse: bool = False) -> Any:
    """Long short-term memory: c = f·c + i·g, h = o·tanh(c), by gates i, f, g, o of x·W + h·U + b.

    Weights `<name>_W` (features, 4, units), `<name>_U` (units, 4, units), `<name>_b` (4, units); the cell is the tensor
    `<name>_cell`. As keras.layers.LSTM with return_sequences, and torch.nn.LSTM with one
    of its two equal biases.
    """
    if not is_tensor(x, "lstm", range(3, 4), "(batch, time, features)"):
        return x
    W, U, b = weights(x, units, name, 4)
    n, t, i, g, j, k = x.model.local_indices(*x.shape, 4, units, units, letters="ntigjk")
    before = t + 1 if reverse else t - 1

    def step(h: Any, c: Any, z: Any) -> tuple[sp.Expr, ...]:
        start, keep, show = (sigmoid(z[n, t, gate, j]) for gate in (0, 1, 3))
        gates = sp.Sum(x[n, t, i] * W[i, g, j], i) + sp.Sum(h[n, before, k] * U[k, g, j], k) + b[g, j]
        return show * sp.tanh(c[n, t, j]), keep * c[n, before, j] + start * sp.tanh(z[n, t, 2, j]), gates

    members = [name, f"{name}_cell", f"{name}_gates"]
    return x.model.recur(members, [(n, t, j), (n, t, j), (n, t, g, j)], step)[0]


def gru(x: TensorSymbol, units: Size, *, name: str, reverse: bool = False) -> Any:
    """Gated recurrent unit: h = (1 - z)·m + z·h with m = tanh(x·W + r·(h·U + a) + b), by gates r and z.

    Weights `<name>_W` (features, 3, units) and `<name>_U` (units, 3, units) of r, z and m, `<name>_b` (3, units), and
    `<name>_a` (units,), the bias inside of r. As keras.layers.GRU with return_sequences, and torch.nn.GRU, of whose
    equal biases one is here.
    """
    if not is_tensor(x, "gru", range(3, 4), "(batch, time, features)"):
        return x
    W, U, b = weights(x, units, name, 3)
    a = x.model.parameter(f"{name}_a", units)
    n, t, i, g, j, k = x.model.local_indices(*x.shape, 3, units, units, letters="ntigjk")
    before = t + 1 if reverse else t - 1

    def step(h: Any, inputs: Any, state: Any, update: Any) -> tuple[sp.Expr, ...]:
        reset = sigmoid(inputs[n, t, 0, j] + state[n, t, 0, j])
        new = sp.tanh(inputs[n, t, 2, j] + reset * (state[n, t, 2, j] + a[j]))
        z = update[n, t, j]
        return (
            (1 - z) * new + z * h[n, before, j],
            sp.Sum(x[n, t, i] * W[i, g, j], i) + b[g, j],
            sp.Sum(h[n, before, k] * U[k, g, j], k),
            sigmoid(inputs[n, t, 1, j] + state[n, t, 1, j]),
        )

    members = [name, f"{name}_inputs", f"{name}_state", f"{name}_update"]
    left = [(n, t, j), (n, t, g, j), (n, t, g, j), (n, t, j)]
    return x.model.recur(members, left, step)[0]


def bidirectional(layer: Callable[..., Any], x: TensorSymbol, units: Size, *, name: str, **options: Any) -> Any:
    """A recurrent layer forwards and another one backwards in time, side by side: (batch, time, 2·units).

    Their names are `<name>_forward` and `<name>_backward`. As keras.layers.Bidirectional.
    """
    ways = [
        layer(x, units, name=f"{name}_{way}", reverse=way == "backward", **options) for way in ("forward", "backward")
    ]
    return concatenate(ways, name=name)


def weights(x: TensorSymbol, units: Size, name: str, *gates: int) -> tuple[Any, Any, Any]:
    """W (features, gates, units), U (units, gates, units) and b (gates, units); without gates, without that axis."""
    model, features = x.model, x.shape[-1]
    W = model.parameter(f"{name}_W", features, *gates, units, init=glorot(model, [features], [*gates, units]))
    U = model.parameter(f"{name}_U", units, *gates, units, init="orthogonal")
    return W, U, model.parameter(f"{name}_b", *gates, units)
