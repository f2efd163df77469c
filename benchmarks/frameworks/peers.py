"""Each way to train a workload: a function that runs one epoch, and one that gives the parameters so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import torch
from handwritten_tiny import EPOCHS
from workloads import Array, Workload

RATE = 0.01


@dataclass(frozen=True, slots=True)
class Trainer:
    """`epoch` returns when all its work is done; `parameters` are in the order of the layers."""

    epoch: Callable[[], object]
    parameters: Callable[[], list[Array]]


def derivgen(w: Workload, order: Array, folder: Path) -> Trainer:
    module = w.module(folder)
    x, y = w.data()
    parameters, state = module.initial_parameters(0), module.optimizer_state()
    flat = [a for pair in w.parameters() for a in pair]
    for view, start in zip(module.views(parameters).values(), flat, strict=True):
        view[...] = start
    return Trainer(
        lambda: module.train_epoch(parameters, state, order, w.batch, x, y, learning_rate=RATE),
        lambda: list(module.views(parameters).values()),
    )


def by_hand(w: Workload, order: Array, folder: Path) -> Trainer:
    x, y = w.data()
    pairs = w.parameters()
    flat = np.concatenate([a.ravel() for pair in pairs for a in pair])
    epoch, shapes = EPOCHS[w.name], [a.shape for pair in pairs for a in pair]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return Trainer(
        lambda: epoch(flat, order, w.batch, x, y, RATE),
        lambda: [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)],
    )


# ---- PyTorch


def torch_loss(w: Workload, layers: list[list[torch.Tensor]], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    for k, (weights, bias) in enumerate(layers, 1):
        x = torch.addmm(bias, x, weights)
        if k < len(layers):
            x = torch.tanh(x) if w.activation == "tanh" else torch.relu(x)
    if w.loss == "softmax":
        return torch.nn.functional.cross_entropy(x, y)
    if w.loss == "squared":
        return torch.nn.functional.mse_loss(x, y)
    return torch.nn.functional.binary_cross_entropy_with_logits(x[:, 0], y)


def torch_trainer(w: Workload, order: Array, compiled: bool) -> Trainer:
    x, y = (torch.from_numpy(a) for a in w.data())
    rows = torch.from_numpy(order)
    layers = [[torch.from_numpy(a.copy()).requires_grad_() for a in pair] for pair in w.parameters()]
    flat = [p for layer in layers for p in layer]
    optimizer = torch.optim.SGD(flat, lr=RATE)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch_loss(w, layers, x, y)

    update = optimizer.step
    if compiled:
        loss, update = torch.compile(loss), torch.compile(optimizer.step)

    def epoch() -> None:
        for start in range(0, w.rows, w.batch):
            batch = rows[start : start + w.batch]
            loss(x[batch], y[batch]).backward()
            update()
            optimizer.zero_grad()

    return Trainer(epoch, lambda: [p.detach().numpy() for p in flat])


def torch_eager(w: Workload, order: Array, folder: Path) -> Trainer:
    return torch_trainer(w, order, compiled=False)


def torch_compile(w: Workload, order: Array, folder: Path) -> Trainer:
    torch._dynamo.reset()
    return torch_trainer(w, order, compiled=True)


# ---- JAX


def jax_step(w: Workload) -> Callable[..., object]:
    def loss(parameters, x, y):
        for k, (weights, bias) in enumerate(parameters, 1):
            x = x @ weights + bias
            if k < len(parameters):
                x = jnp.tanh(x) if w.activation == "tanh" else jax.nn.relu(x)
        if w.loss == "softmax":
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1))
        if w.loss == "squared":
            return jnp.mean((x - y) ** 2)
        z = x[:, 0]
        return jnp.mean(jax.nn.softplus(z) - y * z)

    def step(parameters, x, y, rows):
        value, gradient = jax.value_and_grad(loss)(parameters, x[rows], y[rows])
        return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradient), value

    return step


def jax_jitted_step(w: Workload, order: Array, folder: Path) -> Trainer:
    step = jax.jit(jax_step(w), donate_argnums=0)
    x, y = (jnp.asarray(a) for a in w.data())
    batches = [jnp.asarray(order[s : s + w.batch]) for s in range(0, w.rows, w.batch)]
    kept = [jax.tree.map(jnp.asarray, w.parameters())]

    def epoch() -> None:
        for batch in batches:
            kept[0], _ = step(kept[0], x, y, batch)
        jax.block_until_ready(kept[0])

    return Trainer(epoch, lambda: [np.asarray(p) for pair in kept[0] for p in pair])


def jax_scan(w: Workload, order: Array, folder: Path) -> Trainer:
    step = jax_step(w)
    x, y = (jnp.asarray(a) for a in w.data())
    batches = jnp.asarray(order.reshape(w.batches, w.batch))
    kept = [jax.tree.map(jnp.asarray, w.parameters())]

    def all_batches(parameters, x, y, batches):
        return jax.lax.scan(lambda p, rows: step(p, x, y, rows), parameters, batches)

    scanned = jax.jit(all_batches, donate_argnums=0)

    def epoch() -> None:
        kept[0], values = scanned(kept[0], x, y, batches)
        jax.block_until_ready((kept[0], values))

    return Trainer(epoch, lambda: [np.asarray(p) for pair in kept[0] for p in pair])


# ---- PyTensor


def pytensor_numba(w: Workload, order: Array, folder: Path) -> Trainer:
    x, y = (pytensor.shared(a) for a in w.data())
    flat = [pytensor.shared(a.copy()) for pair in w.parameters() for a in pair]
    rows = pt.lvector("rows")
    z, target = x[rows], y[rows]
    for k in range(0, len(flat), 2):
        z = z @ flat[k] + flat[k + 1]
        if k + 2 < len(flat):
            z = pt.tanh(z) if w.activation == "tanh" else pt.maximum(z, 0)
    if w.loss == "softmax":
        loss = -pt.mean(pt.special.log_softmax(z, axis=1)[pt.arange(w.batch), target])
    elif w.loss == "squared":
        loss = pt.mean((z - target) ** 2)
    else:
        loss = pt.mean(pt.softplus(z[:, 0]) - target * z[:, 0])
    rate = np.float32(RATE)
    updates = [(p, p - rate * g) for p, g in zip(flat, pytensor.grad(loss, flat), strict=True)]
    step = pytensor.function([rows], loss, updates=updates, mode="NUMBA")
    step.trust_input = True
    batches = [order[s : s + w.batch] for s in range(0, w.rows, w.batch)]

    def epoch() -> None:
        for batch in batches:
            step(batch)

    return Trainer(epoch, lambda: [p.get_value() for p in flat])


# Every workload has these; those with an epoch in `handwritten_tiny` have `by_hand` as well.
TRAINERS: dict[str, Callable[[Workload, Array, Path], Trainer]] = {
    "derivgen": derivgen,
    "PyTorch eager": torch_eager,
    "torch.compile": torch_compile,
    "JAX step": jax_jitted_step,
    "JAX scan": jax_scan,
    "PyTensor": pytensor_numba,
}
