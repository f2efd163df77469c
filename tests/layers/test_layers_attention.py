"""Attention, positions and blocks against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch

from derivgen import layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
Tensors = dict[str, torch.Tensor]


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """(batch, heads, time, features); `seen` is true where a query may look; one that sees nothing gives 0."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    powers = torch.exp(scores) * seen
    return powers / torch.where(seen.any(-1, keepdim=True), powers.sum(-1, keepdim=True), 1) @ value


@both
def test_scaled_dot_product_attention(dtype: str) -> None:
    def declare(model: Model) -> object:
        q, k, v = model.parameter("q", 2, 3, 4), model.parameter("k", 2, 5, 4), model.parameter("v", 2, 5, 2)
        return layers.scaled_dot_product_attention(q, k, v, name="y")

    against_torch(declare, lambda t: F.scaled_dot_product_attention(t["q"], t["k"], t["v"]), dtype=dtype)


@both
def test_causal_attention_with_heads(dtype: str) -> None:
    """(batch, time, heads, features), as Keras has it; PyTorch has heads before time."""

    def declare(model: Model) -> object:
        q, k, v = (model.parameter(name, 2, 4, 3, 2) for name in "qkv")
        return layers.scaled_dot_product_attention(q, k, v, name="y", causal=True)

    def reference(t: Tensors) -> torch.Tensor:
        heads = (t[name].transpose(1, 2) for name in "qkv")
        return F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize("causal", [False, True])
@both
def test_masked_attention(causal: bool, dtype: str) -> None:
    """The second sequence is masked whole, and of the third the first step, which is all that causal query 0 sees."""
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype)

    def declare(model: Model) -> object:
        q, k, v = (model.parameter(name, 3, 4, 2) for name in "qkv")
        return layers.scaled_dot_product_attention(q, k, v, name="y", causal=causal, mask=model.input("mask", 3, 4))

    def reference(t: Tensors) -> torch.Tensor:
        seen = (t["mask"] > 0)[:, None, :].expand(3, 4, 4)
        return attention(t["q"], t["k"], t["v"], seen.tril() if causal else seen)

    against_torch(declare, reference, {"mask": mask}, dtype)


def test_a_row_that_sees_nothing_is_0_with_finite_gradients() -> None:
    """Scores of any size are not looked at where they are masked."""
    q = np.full((1, 1, 1), 1000.0)

    def declare(model: Model) -> object:
        k = model.parameter("k", 1, 2, 1)
        tensors = (model.parameter("q", 1, 1, 1), k, model.parameter("v", 1, 2, 1))
        return layers.scaled_dot_product_attention(*tensors, name="y", lengths=model.labels("size", 1, classes=3))

    for size in (0, 1):
        values = {"size": np.array([size]), "q": q, "k": np.array([[[-1.0], [1.0]]]), "v": np.array([[[2.0], [3.0]]])}
        against_torch(declare, lambda t, size=size: t["v"][:, :1] * size, values)


@both
def test_attention_by_lengths(dtype: str) -> None:
    def declare(model: Model) -> object:
        q, k, v = (model.parameter(name, 4, 3, 2) for name in "qkv")
        return layers.scaled_dot_product_attention(q, k, v, name="y", lengths=model.labels("size", 4, classes=4))

    def reference(t: Tensors) -> torch.Tensor:
        return attention(t["q"], t["k"], t["v"], (torch.arange(3) < t["size"][:, None])[:, None, :].expand(4, 3, 3))

    against_torch(declare, reference, {"size": np.array([2, 0, 3, 1])}, dtype)


def multi_head(
    t: Tensors, x: torch.Tensor, memory: torch.Tensor, name: str, heads: int, **settings: Any
) -> torch.Tensor:
    """PyTorch's own multi-head attention with this layer's weights."""
    words, width = ("query", "key", "value"), x.shape[-1]
    weights = [t[f"{name}_{word}_W"].flatten(1).T for word in words]
    biases = torch.cat([t[f"{name}_query_b"].flatten(), torch.zeros(width), t[f"{name}_value_b"].flatten()])
    out = t[f"{name}_out_W"].flatten(0, 1).T
    y, _ = F.multi_head_attention_forward(
        *(each.transpose(0, 1) for each in (x, memory, memory)),
        width,
        heads,
        None,
        biases,
        None,
        None,
        False,
        0.0,
        out,
        t[f"{name}_out_b"],
        use_separate_proj_weight=True,
        q_proj_weight=weights[0],
        k_proj_weight=weights[1],
        v_proj_weight=weights[2],
        need_weights=False,
        **settings,
    )
    return y.transpose(0, 1)


@pytest.mark.parametrize("heads", [1, 3, 6])
@both
def test_multi_head_attention(heads: int, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.multi_head_attention(model.parameter("x", 2, 3, 6), heads, name="y")

    against_torch(declare, lambda t: multi_head(t, t["x"], t["x"], "y", heads), dtype=dtype)


def test_multi_head_attention_to_a_memory_with_a_mask() -> None:
    def declare(model: Model) -> object:
        x, memory = model.parameter("x", 2, 3, 4), model.parameter("m", 2, 5, 3)
        return layers.multi_head_attention(x, 2, name="y", memory=memory, mask=model.input("mask", 2, 5))

    mask = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1.0]])

    def reference(t: Tensors) -> torch.Tensor:
        return multi_head(t, t["x"], t["m"], "y", 2, key_padding_mask=t["mask"] == 0)

    against_torch(declare, reference, {"mask": mask})


def test_causal_multi_head_attention_of_a_run_time_length() -> None:
    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = layers.multi_head_attention(model.input("x", N, T, 4), 2, name="y", causal=True)
        n, t, i = model.local_indices(N, T, 4)
        return sp.Sum(y[n, t, i] ** 2 * (i + 1), n, t, i)

    def reference(t: Tensors) -> torch.Tensor:
        unseen = torch.ones(3, 3, dtype=torch.bool).triu(1)
        y = multi_head(t, t["x"], t["x"], "y", 2, attn_mask=unseen)
        return (y**2 * torch.arange(1, 5)).sum()

    against_torch(declare, reference)


# ---- positions


def angles(time: int, features: int) -> torch.Tensor:
    frequencies = 10000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64) / features)
    return torch.arange(time)[:, None] * frequencies


@pytest.mark.parametrize("features", [4, 5])
@both
def test_sinusoidal_positions(features: int, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.sinusoidal_positions(model.parameter("x", 2, 7, features), name="y")

    def reference(t: Tensors) -> torch.Tensor:
        table = torch.zeros(7, features, dtype=torch.float64)
        table[:, 0::2] = torch.sin(angles(7, features))
        table[:, 1::2] = torch.cos(angles(7, features))[:, : features // 2]
        return t["x"] + table

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 3, 4)])
@both
def test_rotary_positions(shape: tuple[int, ...], dtype: str) -> None:
    """As a product of complex numbers: a pair of neighbours is one."""

    def declare(model: Model) -> object:
        return layers.rotary_positions(model.parameter("x", *shape), name="y")

    def reference(t: Tensors) -> torch.Tensor:
        turn = torch.polar(torch.ones((), dtype=torch.float64), angles(5, shape[-1]))
        turn = turn.reshape(5, *[1] * (len(shape) - 3), -1)
        pairs = torch.view_as_complex(t["x"].reshape(*shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turn).reshape(shape)

    against_torch(declare, reference, dtype=dtype)


def test_rotary_attention_sees_distances_only() -> None:
    """Queries and keys, all equal, match by how far apart they are."""

    def declare(model: Model) -> object:
        return layers.multi_head_attention(model.parameter("x", 1, 3, 4), 2, name="y", rotary=True)

    def reference(t: Tensors) -> torch.Tensor:
        parts = {}
        for word in ("query", "key", "value"):
            part = torch.einsum("ntd,dhe->nthe", t["x"], t[f"y_{word}_W"]) + t[f"y_{word}_b"]
            if word != "value":
                turn = torch.polar(torch.ones((), dtype=torch.float64), angles(3, 2))[:, None, :]
                part = torch.view_as_real(torch.view_as_complex(part.reshape(1, 3, 2, 1, 2)) * turn).reshape(1, 3, 2, 2)
            parts[word] = part.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(*parts.values()).transpose(1, 2)
        return torch.einsum("nthe,hed->ntd", mixed, t["y_out_W"]) + t["y_out_b"]

    against_torch(declare, reference)


# ---- blocks


@both
def test_transformer_block(dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.transformer_block(model.parameter("x", 2, 3, 4), 2, 5, name="b", causal=True)

    def reference(t: Tensors) -> torch.Tensor:
        unseen = torch.ones(3, 3, dtype=torch.bool).triu(1)
        normed = F.layer_norm(t["x"], (4,), t["b_norm1_gain"], t["b_norm1_shift"])
        x = t["x"] + multi_head(t, normed, normed, "b_attention", 2, attn_mask=unseen)
        normed = F.layer_norm(x, (4,), t["b_norm2_gain"], t["b_norm2_shift"])
        return x + torch.relu(normed @ t["b_dense1_W"] + t["b_dense1_b"]) @ t["b_dense2_W"] + t["b_dense2_b"]

    against_torch(declare, reference, dtype=dtype)


@both
def test_wavenet_blocks(dtype: str) -> None:
    """Two of them, the skips added."""

    def declare(model: Model) -> object:
        x, first = layers.wavenet_block(model.parameter("x", 2, 6, 2), 3, name="a", skip=4)
        x, second = layers.wavenet_block(x, 3, 3, name="b", dilation=2, skip=4)
        return layers.concatenate([x, layers.add(first, second, name="skips")], name="y")

    def block(t: Tensors, x: torch.Tensor, name: str, dilation: int) -> tuple[torch.Tensor, torch.Tensor]:
        def causal(word: str) -> torch.Tensor:
            W = t[f"{name}_{word}_W"]
            padded = F.pad(x.transpose(1, 2), (dilation * (W.shape[-1] - 1), 0))
            return F.conv1d(padded, W, t[f"{name}_{word}_b"], dilation=dilation).transpose(1, 2)

        gate = torch.tanh(causal("filter")) * torch.sigmoid(causal("switch"))
        return x + gate @ t[f"{name}_out_W"] + t[f"{name}_out_b"], gate @ t[f"{name}_skip_W"] + t[f"{name}_skip_b"]

    def reference(t: Tensors) -> torch.Tensor:
        x, first = block(t, t["x"], "a", 1)
        x, second = block(t, x, "b", 2)
        return torch.cat([x, first + second], -1)

    against_torch(declare, reference, dtype=dtype)
