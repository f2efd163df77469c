"""The networks: for each its spec, and its loss in PyTorch and in JAX from parameters of the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from derivgen import Model, activations, layers, losses

Array = NDArray[np.generic]
Parameters = Mapping[str, Any]
Loss = Callable[[Parameters, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Network:
    """A batch of `batch` inputs of this shape, and targets: classes, or numbers of a shape."""

    name: str
    declare: Callable[[], Model]
    torch_loss: Loss
    jax_loss: Loss
    batch: int
    shape: tuple[int, ...]
    target: tuple[int, ...] | int  # a shape, or the number of classes
    batches: int = 4
    compiles: bool = True  # by torch.compile

    def data(self) -> tuple[Array, Array]:
        rng, rows = np.random.default_rng(0), self.batch * self.batches
        x = rng.standard_normal((rows, *self.shape)).astype(np.float32)
        if isinstance(self.target, int):
            return x, rng.integers(0, self.target, rows)
        return x, rng.standard_normal((rows, *self.target)).astype(np.float32)


# ---- LeNet


def lenet() -> Model:
    model = Model("bench_lenet")
    n = model.batch("N")
    a = model.input("x", n, 1, 28, 28)
    for k, filters in enumerate((8, 16), 1):
        a = layers.conv2d(a, filters, 5, activations.relu, name=f"conv{k}")
        a = layers.max_pool2d(a, 2, name=f"pool{k}")
    z = layers.dense(layers.flatten(a, name="flat"), 10, name="out")
    model.minimize(losses.softmax_cross_entropy(z, model.labels("y", n, classes=10)))
    return model


def torch_lenet(p: Parameters, x: Any, y: Any) -> Any:
    for k in (1, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, p[f"conv{k}_W"], p[f"conv{k}_b"])), 2)
    return F.cross_entropy(torch.addmm(p["out_b"], x.flatten(1), p["out_W"]), y)


def jax_lenet(p: Parameters, x: Any, y: Any) -> Any:
    window = (1, 1, 2, 2)
    for k in (1, 2):
        axes = ("NCHW", "OIHW", "NCHW")
        x = jax.lax.conv_general_dilated(x, p[f"conv{k}_W"], (1, 1), "VALID", dimension_numbers=axes)
        x = jax.nn.relu(x + p[f"conv{k}_b"][:, None, None])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    return jax_cross_entropy(x.reshape(x.shape[0], -1) @ p["out_W"] + p["out_b"], y)


def jax_cross_entropy(z: Any, y: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))


# ---- LSTM


def lstm() -> Model:
    model = Model("bench_lstm")
    n, steps, features, units = model.batch("N"), 32, 32, 64
    h = layers.lstm(model.input("x", n, steps, features), units, name="lstm")
    i, j = model.local_indices(n, units)
    last = model.let("last", (i, j), h[i, steps - 1, j])
    model.minimize(losses.mean_squared_error(last, model.input("y", n, units)))
    return model


def torch_lstm(p: Parameters, x: Any, y: Any) -> Any:
    features, _, units = p["lstm_W"].shape
    weights = [p["lstm_W"].reshape(features, -1).T, p["lstm_U"].reshape(units, -1).T, p["lstm_b"].reshape(-1)]
    start = torch.zeros(1, len(x), units)
    flat = [*weights, torch.zeros(4 * units)]
    return F.mse_loss(torch.lstm(x, (start, start), flat, True, 1, 0.0, True, False, True)[0][:, -1], y)


def jax_lstm(p: Parameters, x: Any, y: Any) -> Any:
    inputs = jnp.einsum("nti,igj->tngj", x, p["lstm_W"]) + p["lstm_b"]

    def step(state: Any, z: Any) -> Any:
        h, c = state
        z = z + jnp.einsum("nk,kgj->ngj", h, p["lstm_U"])
        s = jax.nn.sigmoid
        c = s(z[:, 1]) * c + s(z[:, 0]) * jnp.tanh(z[:, 2])
        return (s(z[:, 3]) * jnp.tanh(c), c), None

    start = jnp.zeros((x.shape[0], p["lstm_U"].shape[0]))
    return jnp.mean((jax.lax.scan(step, (start, start), inputs)[0][0] - y) ** 2)


# ---- a block of a transformer


def transformer() -> Model:
    model = Model("bench_transformer")
    n, steps, width = model.batch("N"), 64, 64
    x = model.input("x", n, steps, width)
    out = layers.transformer_block(x, 4, 4 * width, activations.gelu, name="block")
    model.minimize(losses.mean_squared_error(out, model.input("y", n, steps, width)))
    return model


def torch_transformer(p: Parameters, x: Any, y: Any) -> Any:
    def norm(x: Any, k: int) -> Any:
        return F.layer_norm(x, x.shape[-1:], p[f"block_norm{k}_gain"], p[f"block_norm{k}_shift"])

    def projected(x: Any, word: str) -> Any:
        W = p[f"block_attention_{word}_W"]
        z = x @ W.reshape(W.shape[0], -1) + (p[b].reshape(-1) if (b := f"block_attention_{word}_b") in p else 0)
        return z.reshape(*x.shape[:2], *W.shape[1:]).transpose(1, 2)

    a = norm(x, 1)
    mixed = F.scaled_dot_product_attention(*(projected(a, word) for word in ("query", "key", "value")))
    W = p["block_attention_out_W"]
    x = x + mixed.transpose(1, 2).reshape(*x.shape[:2], -1) @ W.reshape(-1, W.shape[-1]) + p["block_attention_out_b"]
    inner = F.gelu(norm(x, 2) @ p["block_dense1_W"] + p["block_dense1_b"])
    return F.mse_loss(x + inner @ p["block_dense2_W"] + p["block_dense2_b"], y)


def jax_transformer(p: Parameters, x: Any, y: Any) -> Any:
    def norm(x: Any, k: int) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * p[f"block_norm{k}_gain"] + p[f"block_norm{k}_shift"]

    def projected(x: Any, word: str) -> Any:
        return jnp.einsum("ntd,dhe->nthe", x, p[f"block_attention_{word}_W"]) + p.get(f"block_attention_{word}_b", 0)

    a = norm(x, 1)
    q, k, v = (projected(a, word) for word in ("query", "key", "value"))
    weights = jax.nn.softmax(jnp.einsum("nthe,nuhe->nhtu", q, k) / np.sqrt(q.shape[-1]))
    mixed = jnp.einsum("nhtu,nuhe->nthe", weights, v)
    x = x + jnp.einsum("nthe,hed->ntd", mixed, p["block_attention_out_W"]) + p["block_attention_out_b"]
    inner = jax.nn.gelu(norm(x, 2) @ p["block_dense1_W"] + p["block_dense1_b"], approximate=False)
    return jnp.mean((x + inner @ p["block_dense2_W"] + p["block_dense2_b"] - y) ** 2)


NETWORKS = (
    Network("LeNet", lenet, torch_lenet, jax_lenet, 32, (1, 28, 28), 10),
    Network("LSTM", lstm, torch_lstm, jax_lstm, 16, (32, 32), (64,), compiles=False),  # raises TypeError
    Network("transformer block", transformer, torch_transformer, jax_transformer, 8, (64, 64), (64, 64)),
)
