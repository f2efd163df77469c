"""Recurrent layers: (time, batch, feature) in ONNX, with a weight for each direction, and its gates below another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.draft import Constant, Draft, LayerStatement, Operand
from derivgen.importing.elements import Index, Number, Read, Tensor, Value, piecewise
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.names import layer_name, layer_of
from derivgen.importing.operators.views import labels_of, moved, part

# Of each layer: where the gates of derivgen stand among those of ONNX.
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
LAYER = {"LSTM": "layers.lstm", "GRU": "layers.gru", "RNN": "layers.simple_rnn"}
WAYS = {"forward": ("",), "reverse": ("",), "bidirectional": ("_forward", "_backward")}


def recurrent(
    draft: Draft,
    node: Node,
    x: Value,
    W: Constant,
    R: Constant,
    B: Constant | None = None,
    lengths: Operand = None,
    *more: Operand,
) -> tuple[Value, ...]:
    """The layer; `more` are the initial states, and the peepholes of an LSTM."""
    if node.get("layout", 0):
        return rows_first(draft, node, x, W, R, B, lengths, *more)
    count, P = STATES[node.operator], more[2] if len(more) > 2 else None
    source = draft.tensor(replace(x, axes=(x.axes[1], x.axes[0], x.axes[2])))
    tensors = {"initial": initial_states(draft, node, more[:count])}
    tensors["lengths"] = lengths_of(draft, source, lengths)
    call = outputs(draft, node, source, name_of(node, W), R.array.shape[-1], weights_of(node, W, R, B, P))
    call.tensors = {word: given for word, given in tensors.items() if given is not None}
    if any(ending.endswith("_P") for ending in call.weights):
        call.options["peephole"] = "True"
    return states_of(draft, node, call)


def name_of(node: Node, W: Constant) -> str:
    path, word = layer_of(W.name) or node.path, LAYER[node.operator].removeprefix("layers.")
    return layer_name(path, word) if path else word


def rows_first(draft: Draft, node: Node, x: Value, *given: Any) -> tuple[Value, ...]:
    """Layout 1: the batch is the first axis of the input, of the states and of the outputs."""
    W, R, B, lengths, *states = given
    count = STATES[node.operator]
    states = [s and moved(draft.value(s), 1, 0) if k < count else s for k, s in enumerate(states)]
    plain = replace(node, attributes={**node.attributes, "layout": 0})
    sequence, *last = recurrent(draft, plain, moved(x, 0, 1), W, R, B, lengths, *states)
    return moved(sequence, 2, 0), *(moved(state, 0, 1) for state in last)


def weights_of(node: Node, W: Constant, R: Constant, B: Constant | None, P: Operand) -> dict[str, np.ndarray]:
    """The weights of each direction."""
    weights: dict[str, np.ndarray] = {}
    for k, ending in enumerate(WAYS[node.get("direction", "forward")]):
        bias = np.zeros(2 * len(W.array[k]), W.array.dtype) if B is None else B.array[k]
        weights |= {f"{ending}{e}": a for e, a in gates(node, W.array[k], R.array[k], bias).items()}
        if isinstance(P, Constant) and P.array.any():
            weights[f"{ending}_P"] = P.array[k].reshape(3, -1)
    return weights


def outputs(
    draft: Draft, node: Node, source: Tensor, name: str, units: int, weights: dict[str, np.ndarray]
) -> LayerStatement:
    """The call of the layer."""
    way, layer = node.get("direction", "forward"), LAYER[node.operator]
    (batch, time, _), both, options = source.shape, way == "bidirectional", activations_of(node)
    first = [] if both or node.operator != "RNN" else [options.pop("activation", None)]
    options |= {"reverse": "True"} if way == "reverse" else {}
    options |= {"reset_after": "False"} if node.operator == "GRU" and not node.get("linear_before_reset", 0) else {}
    arguments = (layer, units) if both else (units, *filter(None, first))
    shape, layer = (batch, time, units * (2 if both else 1)), "layers.bidirectional" if both else layer
    call: LayerStatement = draft.layer(layer, source, name, shape, *arguments, weights=weights, **options).statement
    return call


def states_of(draft: Draft, node: Node, call: LayerStatement) -> tuple[Value, ...]:
    """(all hidden states, the last ones, the last cells)"""
    (batch, time, width), both = call.tensor.shape, call.function == "layers.bidirectional"
    n, t, d = draft.axis(batch, "n"), draft.axis(time, "t"), draft.axis(2 if both else 1, "d")
    j, units = draft.axis(width / (2 if both else 1), "j"), width / (2 if both else 1)
    row, step, unit = (draft.joined(axis) for axis in (n, t, j))
    hidden = Value((t, d, n, j), Read(call.tensor, (row, step, unit + units * draft.joined(d))), alone=True)
    if not returns_states(draft, node, call):
        last = last_step(node, time, d)
        return hidden, Value((d, n, j), Read(call.tensor, (row, last, unit + units * draft.joined(d))))
    return hidden, *final_states(draft, node, call, (batch, units))


def returns_states(draft: Draft, node: Node, call: LayerStatement) -> bool:
    """Whether somebody reads a state that is no part of the sequence."""
    read = [name and draft.graph.uses[name] for name in (*node.outputs[1:], "")]
    apart = "lengths" in call.tensors
    apart = apart or (call.function == "layers.bidirectional" and not call.tensor.shape[1].is_Integer)
    return bool((read[0] and apart) or any(read[1:]))


def final_states(draft: Draft, node: Node, call: LayerStatement, shape: tuple[Any, ...]) -> list[Value]:
    """The last hidden states and the last cells, each of both directions."""
    call.options["return_state"] = "True"
    words = ("_final", "_cell_final")[: STATES[node.operator]]
    for way in WAYS[node.get("direction", "forward")]:
        for word in words:
            call.states[way + word] = Tensor(f"{call.tensor.name}{way}{word}", shape, call)
    return [beside(draft, [state for e, state in call.states.items() if is_of(e, word)]) for word in words]


def is_of(ending: str, word: str) -> bool:
    return ending.endswith(word) and ending.endswith("_cell_final") == (word == "_cell_final")


def beside(draft: Draft, tensors: Sequence[Tensor]) -> Value:
    """(direction, batch, unit) of one tensor or two, these by a let."""
    first = draft.whole(tensors[0], "nj")
    if len(tensors) == 1:
        return replace(first, axes=((), *first.axes), alone=False)
    d, places = draft.index(2, "d"), first.element.subscripts  # type: ignore[attr-defined]
    element = piecewise(first.element, Index("Eq({}, 0)", (d,)), Read(tensors[1], places))
    return draft.named(Value(((d,), *first.axes), element, name=f"{tensors[0].name.replace('_forward', '')}s"))


def initial_states(draft: Draft, node: Node, states: Sequence[Operand]) -> Any:
    """The argument `initial`: None, a tensor or a pair, and a pair of these of two directions."""
    if all(is_zero(state) for state in states):
        return None
    ways = range(len(WAYS[node.get("direction", "forward")]))
    return as_one([as_one([initial_state(draft, state, k) for state in states]) for k in ways])


def as_one(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


def is_zero(state: Operand) -> bool:
    if isinstance(state, Constant):
        return not state.array.any()
    return state is None or state.element == Number(0)


def initial_state(draft: Draft, state: Operand, way: int) -> Tensor:
    """One direction's state: (batch, units), or (units,) where all rows have the same."""
    if isinstance(state, Constant) and (state.array == state.array[:, :1]).all():
        state = replace(state, array=state.array[:, :1])
    if state is None or (isinstance(state, Constant) and state.array.shape[1] > 1):
        raise Refusal("initial states of which one is missing, or that differ from row to row, are not covered")
    value = part(draft, draft.value(state), 0, way, 1)
    rows = {*value.axes[1]}
    shared = not any(rows & s.free_symbols for e in value.element.walk() for s in getattr(e, "subscripts", ()))
    return draft.tensor(replace(value, axes=value.axes[2:] if shared else value.axes[1:]))


def lengths_of(draft: Draft, source: Tensor, lengths: Operand) -> Tensor | None:
    """The argument `lengths`: labels; None where all rows have all steps."""
    if lengths is None or (isinstance(lengths, Constant) and (lengths.array == source.shape[1]).all()):
        return None
    return labels_of(lengths, source.shape[1] + 1, "lengths")[1].tensor


def last_step(node: Node, time: sp.Expr, d: Sequence[sp.Symbol]) -> sp.Expr:
    """The step that a direction ends at: the last one forwards, the first one backwards."""
    if d:
        return sp.expand((time - 1) * (1 - d[0]))
    return sp.S.Zero if node.get("direction", "forward") == "reverse" else time - 1


def gates(node: Node, W: np.ndarray, R: np.ndarray, B: np.ndarray) -> dict[str, np.ndarray]:
    """The weights as derivgen has them: W (features, gates, units), U (units, gates, units), b (gates, units)."""
    kind, units = node.operator, R.shape[-1]
    order = list(GATES[kind])
    matrices = [M.reshape(len(order), units, -1)[order].transpose(2, 0, 1) for M in (W, R)]
    inputs, states = B.reshape(2, len(order), units)[:, order]
    b = inputs + states
    if kind == "RNN":
        return {"_W": matrices[0][:, 0], "_U": matrices[1][:, 0], "_b": b[0]}
    if kind == "GRU" and node.get("linear_before_reset", 0):
        b[2] = inputs[2]
        return {"_W": matrices[0], "_U": matrices[1], "_b": b, "_a": states[2]}
    return {"_W": matrices[0], "_U": matrices[1], "_b": b}


# Activations of ONNX without numbers of their own.
FUNCTIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh"}


def activations_of(node: Node) -> dict[str, str]:
    """The options that are not the library's: tanh, and a sigmoid for gates."""
    names = [v.decode() if isinstance(v, bytes) else v for v in node.get("activations") or []]
    gated = node.operator != "RNN"
    words = ["recurrent_activation"] * gated + ["activation"] * (2 if node.operator == "LSTM" else 1)
    pairs = set(zip(words * len(WAYS[node.get("direction", "forward")]), names, strict=False))
    if len(dict(pairs)) < len(pairs) or not {name for _, name in pairs} <= FUNCTIONS.keys():
        raise Refusal(f"the activations {', '.join(names)} are not covered: use the same ones for all, without numbers")
    usual = {"recurrent_activation": "Sigmoid", "activation": "Tanh"}
    return {word: f"activations.{FUNCTIONS[name]}" for word, name in sorted(pairs) if name != usual[word]}


TABLE = dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent)
