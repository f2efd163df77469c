"""Peepholes, the reset before the product, and activations: ONNX's LSTM and GRU, which PyTorch's modules do not have.

The operators' definitions are written out step by step. ONNX's weights have gates as rows, in its own order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from against_torch import against_torch
from recurrent_cases import Tensors, total, total_of_torch

from derivgen import activations, layers
from derivgen.declare.model import Model

ROWS, STEPS, FEATURES, UNITS = 3, 4, 3, 5
LENGTHS = np.array([2, 4, 1])

Function = Callable[[torch.Tensor], torch.Tensor]
Step = Callable[[torch.Tensor, list[torch.Tensor]], list[torch.Tensor]]


def operator(x: torch.Tensor, start: list[torch.Tensor], lengths: Any, reverse: bool, step: Step) -> list[torch.Tensor]:
    """Y and the last states of an operator, each row and step by itself: past sequence_lens Y is 0."""
    outputs, finals = [], []
    for n, length in enumerate(lengths.tolist()):
        states = [state[n] for state in start]
        y = [torch.zeros_like(states[0]) for _ in range(STEPS)]
        for t in reversed(range(length)) if reverse else range(length):
            states = step(x[n, t], states)
            y[t] = states[0]
        outputs.append(torch.stack(y))
        finals.append(states)
    return [torch.stack(outputs), *(torch.stack(state) for state in zip(*finals, strict=True))]


def lstm_step(v: Tensors, f: Function, g: Function) -> Step:
    """ONNX's LSTM, with f for its gates, and g for its activations g and h.

    it = f(Xt·Wiᵀ + Ht-1·Riᵀ + Pi ⊙ Ct-1 + b), ft the same with Pf; ct = g(Xt·Wcᵀ + Ht-1·Rcᵀ + b);
    Ct = ft ⊙ Ct-1 + it ⊙ ct; ot = f(Xt·Woᵀ + Ht-1·Roᵀ + Po ⊙ Ct + b); Ht = ot ⊙ h(Ct).
    """
    P_i, P_o, P_f = v["r_P"] if "r_P" in v else torch.zeros(3, UNITS, dtype=torch.float64)

    def step(x: torch.Tensor, states: list[torch.Tensor]) -> list[torch.Tensor]:
        H, C = states
        z_i, z_f, z_c, z_o = (x @ v["r_W"][:, g] + H @ v["r_U"][:, g] + v["r_b"][g] for g in range(4))
        i, forget, c = f(z_i + P_i * C), f(z_f + P_f * C), g(z_c)
        C = forget * C + i * c
        H = f(z_o + P_o * C) * g(C)
        return [H @ v["r_V"] if "r_V" in v else H, C]

    return step


def gru_step(v: Tensors, f: Function, g: Function) -> Step:
    """ONNX's GRU with linear_before_reset = 0.

    zt = f(Xt·Wzᵀ + Ht-1·Rzᵀ + b), rt the same; ht = g(Xt·Whᵀ + (rt ⊙ Ht-1)·Rhᵀ + b); Ht = (1 - zt) ⊙ ht + zt ⊙ Ht-1.
    """

    def step(x: torch.Tensor, states: list[torch.Tensor]) -> list[torch.Tensor]:
        (H,) = states
        W, U, b = v["r_W"], v["r_U"], v["r_b"]
        r, z = (f(x @ W[:, g] + H @ U[:, g] + b[g]) for g in (0, 1))
        h = g(x @ W[:, 2] + (r * H) @ U[:, 2] + b[2])
        return [(1 - z) * h + z * H]

    return step


STEPS_OF = {"lstm": lstm_step, "gru": gru_step}


def against_the_operator(
    layer: str,
    lengths: Any,
    reverse: bool,
    functions: tuple[Function, Function] = (torch.sigmoid, torch.tanh),
    width: int = UNITS,
    dtype: str = "float64",
    **options: Any,
) -> None:
    """The sequence, the final states, and all gradients, from given initial states."""
    widths = [width, UNITS] if layer == "lstm" else [UNITS]

    def declare(model: Model) -> Any:
        x = model.parameter("x", ROWS, STEPS, FEATURES)
        start = [model.parameter(f"start_{k}", ROWS, width) for k, width in enumerate(widths)]
        size = {} if lengths is None else {"lengths": model.labels("lengths", ROWS, classes=STEPS + 1)}
        given = {"initial": start, "reverse": reverse, "return_state": True, **size, **options}
        return total(getattr(layers, layer)(x, UNITS, name="r", **given))

    def reference(v: Tensors) -> torch.Tensor:
        start = [v[f"start_{k}"] for k in range(len(widths))]
        own = torch.full((ROWS,), STEPS) if lengths is None else v["lengths"]
        return total_of_torch(operator(v["x"], start, own, reverse, STEPS_OF[layer](v, *functions)))

    against_torch(declare, reference, None if lengths is None else {"lengths": lengths}, dtype)


CASES = {
    "peepholes": ("lstm", {"peephole": True}),
    "the reset before the product": ("gru", {"reset_after": False}),
}


@pytest.mark.parametrize(
    ("lengths", "reverse", "dtype"),
    [(None, False, "float64"), (LENGTHS, True, "float64"), (np.array([0, 3, 4]), False, "float32")],
    ids=["all steps", "lengths, reverse", "a row without a step, float32"],
)
@pytest.mark.parametrize("case", CASES)
def test_as_the_operator(case: str, lengths: Any, reverse: bool, dtype: str) -> None:
    layer, options = CASES[case]
    against_the_operator(layer, lengths, reverse, dtype=dtype, **options)


def test_peepholes_with_a_projection() -> None:
    against_the_operator("lstm", LENGTHS, True, width=2, peephole=True, projection=2)


def clipped(z: Any) -> Any:
    """ONNX's clip = 0.5 of a tanh, as a user writes it."""
    return activations.tanh(activations.hard_tanh(z, -0.5, 0.5))


def hard_sigmoid(z: torch.Tensor) -> torch.Tensor:
    """PyTorch's own has a derivative with a sixth in float32."""
    return (z / 6 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("case", CASES)
def test_activations(case: str) -> None:
    layer, options = CASES[case]
    functions = hard_sigmoid, lambda z: torch.tanh(z.clamp(-0.5, 0.5))
    own = {"activation": clipped, "recurrent_activation": activations.hard_sigmoid}
    against_the_operator(layer, None, False, functions, **options, **own)


def test_activations_with_the_reset_after() -> None:
    """keras.layers.GRU with reset_after: m = activation(x·W + b + r·(h·U + a))."""

    def declare(model: Model) -> Any:
        x = model.parameter("x", ROWS, STEPS, FEATURES)
        options = {"activation": activations.softsign, "recurrent_activation": activations.tanh}
        return layers.gru(x, UNITS, name="r", **options)

    def reference(v: Tensors) -> torch.Tensor:
        h, outputs = torch.zeros(ROWS, UNITS, dtype=torch.float64), []
        for t in range(STEPS):
            inputs = torch.einsum("ni,igj->ngj", v["x"][:, t], v["r_W"]) + v["r_b"]
            state = torch.einsum("nk,kgj->ngj", h, v["r_U"])
            r, z = torch.tanh(inputs[:, 0] + state[:, 0]), torch.tanh(inputs[:, 1] + state[:, 1])
            m = torch.nn.functional.softsign(inputs[:, 2] + r * (state[:, 2] + v["r_a"]))
            h = (1 - z) * m + z * h
            outputs.append(h)
        return torch.stack(outputs, 1)

    against_torch(declare, reference)
