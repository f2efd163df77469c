"""Recurrent layers: (time, batch, feature) in ONNX, with a weight for each direction, and its gates below another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import sympy as sp

from derivgen.importing.draft import Constant, Draft, Operand
from derivgen.importing.elements import Number, Read, Tensor, Value
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.names import layer_name, layer_of

# Of each layer: where the gates of derivgen stand among those of ONNX.
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
LAYER = {"LSTM": "layers.lstm", "GRU": "layers.gru", "RNN": "layers.simple_rnn"}
WAYS = {"forward": ("",), "reverse": ("",), "bidirectional": ("_forward", "_backward")}


def recurrent(
    draft: Draft,
    node: Node,
    x: Value,
    W: Constant,
    R: Constant,
    B: Constant | None = None,
    _: Operand = None,
    *states: Operand,
) -> tuple[Value, ...]:
    refuse_states(draft, states)
    units, way, kind = R.array.shape[-1], node.get("direction", "forward"), node.operator
    path = layer_of(W.name) or node.path
    name = layer_name(path, LAYER[kind][7:]) if path else LAYER[kind][7:]
    source = draft.tensor(replace(x, axes=(x.axes[1], x.axes[0], x.axes[2])))
    weights: dict[str, np.ndarray] = {}
    for k, ending in enumerate(WAYS[way]):
        bias = np.zeros(2 * len(W.array[k]), W.array.dtype) if B is None else B.array[k]
        weights |= {f"{ending}{e}": a for e, a in gates(kind, W.array[k], R.array[k], bias).items()}
    return outputs(draft, node, source, name, units, way, weights)


def outputs(
    draft: Draft, node: Node, source: Tensor, name: str, units: int, way: str, weights: dict[str, np.ndarray]
) -> tuple[Value, ...]:
    """(all hidden states, the last ones); the last cell state has no name outside of the layer."""
    (batch, time, _), both, activation = source.shape, way == "bidirectional", activation_of(node)
    options = {"reverse": True if way == "reverse" else None, "activation": activation if both and activation else None}
    arguments = (LAYER[node.operator], units) if both else (units, *([activation] if activation else []))
    shape, layer = (batch, time, units * (2 if both else 1)), "layers.bidirectional" if both else LAYER[node.operator]
    tensor = draft.layer(layer, source, name, shape, *arguments, weights=weights, **options)
    n, t, d = draft.axis(batch, "n"), draft.axis(time, "t"), draft.axis(2 if both else 1, "d")
    j = draft.index(units, "j")
    places = [axis[0] if axis else sp.S.Zero for axis in (n, t)]
    unit, last = j + units * (d[0] if d else 0), last_step(draft, node, time, way, d)
    hidden = Value((t, d, n, (j,)), Read(tensor, (*places, unit)), alone=True)
    return hidden, Value((d, n, (j,)), Read(tensor, (places[0], last, unit)))


def last_step(draft: Draft, node: Node, time: sp.Expr, way: str, d: Sequence[sp.Symbol]) -> sp.Expr:
    """The step that a direction ends at: the last one forwards, the first one backwards."""
    if d and not time.is_Integer and any(draft.graph.uses[name] for name in node.outputs[1:2]):
        raise Refusal("the last states of two directions need a number of steps that is known: use all states")
    return sp.expand((time - 1) * (1 - d[0])) if d else time - 1 if way == "forward" else sp.S.Zero


def gates(kind: str, W: np.ndarray, R: np.ndarray, B: np.ndarray) -> dict[str, np.ndarray]:
    """The weights as derivgen has them: W (features, gates, units), U (units, gates, units), b (gates, units)."""
    order, units = list(GATES[kind]), R.shape[-1]
    matrices = [M.reshape(len(order), units, -1)[order].transpose(2, 0, 1) for M in (W, R)]
    inputs, states = B.reshape(2, len(order), units)[:, order]
    if kind == "RNN":
        return {"_W": matrices[0][:, 0], "_U": matrices[1][:, 0], "_b": (inputs + states)[0]}
    b = inputs + states
    if kind == "GRU":
        b[2] = inputs[2]
    return {"_W": matrices[0], "_U": matrices[1], "_b": b} | ({"_a": states[2]} if kind == "GRU" else {})


def activation_of(node: Node) -> str:
    names = {v.decode() if isinstance(v, bytes) else v for v in node.get("activations") or []}
    if node.operator == "RNN" and names == {"Relu"}:
        return "activations.relu"
    if node.operator == "RNN" and not names <= {"Tanh"}:
        raise Refusal(f"an RNN with {', '.join(sorted(names))} is not covered: use tanh or relu")
    return ""


def refuse_states(draft: Draft, states: Sequence[Operand]) -> None:
    for state in states:
        zero = state is None or (isinstance(state, Constant) and not state.array.any())
        if not zero and not (isinstance(state, Value) and state.element == Number(0)):
            raise Refusal("an initial state that is not 0 is not covered: leave it out in PyTorch")


TABLE = dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent)
