"""Blocks of layers that are met as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from derivgen.activations import relu, sigmoid, tanh
from derivgen.declare.model import TensorSymbol
from derivgen.layers.attention import multi_head_attention
from derivgen.layers.checks import is_tensor
from derivgen.layers.convolution import conv1d
from derivgen.layers.dense import dense
from derivgen.layers.normalization import layer_norm
from derivgen.layers.shape import add
from derivgen.layers.windows import AXES


def transformer_block(
    x: TensorSymbol,
    num_heads: int,
    units: int | sp.Expr,
    activation: Callable[[sp.Expr], sp.Expr] = relu,
    *,
    name: str,
    causal: bool = False,
    mask: TensorSymbol | None = None,
    lengths: TensorSymbol | None = None,
    rotary: bool = False,
    epsilon: float = 1e-5,
    window: int | None = None,
    attn_bias: TensorSymbol | None = None,
    scale: float | sp.Expr | None = None,
    softcap: float | None = None,
    num_kv_heads: int | None = None,
) -> Any:
    """Attention, then two dense layers with `units` in between, each after a norm and with a residual connection.

    Input and output are (batch, time, features); the parts are `<name>_norm1`, `_attention`, `_norm2`, `_dense1`,
    `_dense2`. The arguments of the attention are those of multi_head_attention. As torch.nn.TransformerEncoderLayer
    with norm_first, without dropout.
    """
    if not is_tensor(x, "transformer_block", range(3, 4), AXES[1]):
        return x
    seen: dict[str, Any] = {"causal": causal, "mask": mask, "lengths": lengths, "window": window}
    seen |= {"attn_bias": attn_bias, "scale": scale, "softcap": softcap, "num_kv_heads": num_kv_heads, "rotary": rotary}
    normed = layer_norm(x, name=f"{name}_norm1", epsilon=epsilon)
    mixed = add(x, multi_head_attention(normed, num_heads, name=f"{name}_attention", **seen), name=f"{name}_mixed")
    inner = dense(layer_norm(mixed, name=f"{name}_norm2", epsilon=epsilon), units, activation, name=f"{name}_dense1")
    return add(mixed, dense(inner, x.shape[-1], name=f"{name}_dense2"), name=name)


def wavenet_block(
    x: TensorSymbol,
    filters: int | sp.Expr,
    kernel_size: int = 2,
    *,
    name: str,
    dilation: int = 1,
    skip: int | sp.Expr | None = None,
) -> tuple[Any, Any]:
    """A gated, dilated, causal convolution: returns (residual, skip), (batch, time, features) and (batch, time, skip).

    gate = tanh(x ∗ W_f + b_f)·sigmoid(x ∗ W_g + b_g), with `filters` channels; residual = x + gate·W + b, skip = gate·V
    + c. The parts are `<name>_filter`, `_switch`, `_gate`, `_out`, `_skip`; `skip` is `filters` if omitted. Source: van
    den Oord et al. 2016.
    """
    if not is_tensor(x, "wavenet_block", range(3, 4), AXES[1]):
        return x, x
    window: dict[str, Any] = {"padding": "causal", "dilation": dilation}
    signal = conv1d(x, filters, kernel_size, tanh, name=f"{name}_filter", **window)
    switch = conv1d(x, filters, kernel_size, sigmoid, name=f"{name}_switch", **window)
    at = x.model.local_indices(*signal.shape, letters="ntc")
    gate = x.model.let(f"{name}_gate", at, signal[at] * switch[at])
    residual = add(x, dense(gate, x.shape[-1], name=f"{name}_out"), name=name)
    return residual, dense(gate, filters if skip is None else skip, name=f"{name}_skip")
