"""Tests of recurrent layers: PyTorch's modules with our parameters, and several outputs as one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp
import torch
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import fixed

LAYERS = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
Tensors = dict[str, torch.Tensor]


def weight(k: int, shape: Sequence[int]) -> np.ndarray:
    """The weight of each element of the k-th output."""
    return np.random.default_rng(k).standard_normal(shape)


def total(outputs: Sequence[TensorSymbol]) -> sp.Expr:
    """The sum of all elements of tensors with fixed sizes, each with a weight of its own."""
    terms = []
    for k, out in enumerate(outputs):
        model: Model = out.model
        at = model.local_indices(*out.shape)
        weights = model.constant(f"weight_{k}", weight(k, [int(fixed(model, size)) for size in out.shape]))
        terms.append(sp.Sum(weights[at] * out[at], *at))
    return sp.Add(*terms)


def total_of_torch(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """The same of PyTorch's."""
    weighted = [(torch.as_tensor(weight(k, out.shape)) * out).sum() for k, out in enumerate(outputs)]
    return torch.stack(weighted).sum()


def flat(states: Any) -> list[Any]:
    """The tensors of nested tuples and lists, in their order."""
    return [each for state in states for each in flat(state)] if isinstance(states, list | tuple) else [states]


def in_torch(
    layer: str,
    v: Tensors,
    name: str,
    x: torch.Tensor,
    num_layers: int = 1,
    both: bool = False,
    initial: Sequence[torch.Tensor] = (),
    lengths: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(the sequence, the final states) of PyTorch's module with the parameters of our layer.

    States are those of the first layer forwards, the first layer backwards, and so on, each (batch, width), for lstm
    h and c of each; `initial` are such, or none for zeros.
    """
    parameters: Tensors = {}
    for k in range(num_layers):
        level = name if k == num_layers - 1 else f"{name}_l{k}"
        for suffix, way in (("", "_forward"), ("_reverse", "_backward")) if both else (("", ""),):
            parameters |= of_one(v, level + way, f"_l{k}{suffix}")
    units, width = v[f"{name}{'_forward' * both}_W"].shape[-1], v[f"{name}{'_forward' * both}_U"].shape[0]
    options: dict[str, Any] = {"bidirectional": both, "num_layers": num_layers, "dtype": torch.float64}
    options |= {"proj_size": width} if width != units else {}
    module = LAYERS[layer](x.shape[-1], units, batch_first=True, **options)
    pair = layer == "lstm"
    start = [torch.stack(list(initial[k :: 2 if pair else 1])) for k in range(2 if pair else 1)] if initial else None
    given = x if lengths is None else pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, final = functional_call(module, parameters, (given, (tuple(start) if pair else start[0]) if start else None))
    if lengths is not None:
        out = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0]
    return out, [each for states in zip(*final, strict=True) for each in states] if pair else list(final)


def of_one(v: Tensors, name: str, suffix: str) -> Tensors:
    """PyTorch's parameters of one layer and direction: gates are rows there, and every gate has two biases."""
    W, U, b = (v[f"{name}_{word}"] for word in "WUb")
    second = torch.zeros_like(b.reshape(-1))
    if f"{name}_a" in v:
        second = torch.cat([second[: -W.shape[-1]], v[f"{name}_a"]])
    found = {"weight_ih": W.reshape(W.shape[0], -1).T, "weight_hh": U.reshape(U.shape[0], -1).T}
    found |= {"bias_ih": b.reshape(-1), "bias_hh": second}
    found |= {"weight_hr": v[f"{name}_V"].T} if f"{name}_V" in v else {}
    return {word + suffix: tensor for word, tensor in found.items()}
