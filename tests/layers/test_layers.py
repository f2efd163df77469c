"""Layers against PyTorch: dense, embedding, and those that put tensors together or give them other shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch

from derivgen import activations, layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])


@both
def test_dense(dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.dense(model.parameter("x", 3, 4, 5), 6, activations.tanh, name="d")

    against_torch(declare, lambda t: torch.tanh(t["x"] @ t["d_W"] + t["d_b"]), dtype=dtype)


@both
def test_embedding(dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.embedding(model.labels("ids", 3, 4, classes=5), 2, name="e")

    ids = {"ids": np.array([[0, 1, 4, 1], [4, 4, 4, 0], [2, 1, 0, 1]])}
    against_torch(declare, lambda t: torch.nn.functional.embedding(t["ids"], t["e_W"]), ids, dtype=dtype)


def test_embedding_of_ignored_ids_is_0() -> None:
    def declare(model: Model) -> object:
        return layers.embedding(model.labels("ids", 4, classes=3, ignore=-1), 2, name="e")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return t["e_W"][t["ids"].clamp(min=0)] * (t["ids"] >= 0)[:, None]

    against_torch(declare, reference, {"ids": np.array([-1, 2, 0, -1])})


def test_embedding_of_a_constant() -> None:
    ids = [[3, 0], [1, 3]]

    def declare(model: Model) -> object:
        return layers.embedding(model.constant("ids", ids), 2, name="e")

    against_torch(declare, lambda t: t["e_W"][torch.tensor(ids)])


@both
def test_flatten(dtype: str) -> None:
    def declare(model: Model) -> object:
        x = layers.flatten(model.parameter("x", 2, 3, 1, 4), name="flat")
        return layers.dense(x, 2, name="d")

    against_torch(declare, lambda t: t["x"].flatten(1) @ t["d_W"] + t["d_b"], dtype=dtype)


SHAPES = {
    "apart": ((12,), (4, 3)),
    "together": ((4, 3), (12,)),
    "apart and together": ((2, 6, 2), (4, 6)),
    "nested axes": ((2, 12), (6, 4)),
    "single elements": ((4, 1, 6), (1, 2, 2, 6, 1)),
    "no common axes": ((4, 6), (3, 8)),
    "the same": ((3, 4), (3, 4)),
}


@pytest.mark.parametrize(("old", "new"), SHAPES.values(), ids=SHAPES)
def test_reshape(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    def declare(model: Model) -> object:
        return layers.reshape(model.parameter("x", 2, *old), new, name="y")

    against_torch(declare, lambda t: t["x"].reshape(2, *new))


def test_reshape_behind_run_time_axes() -> None:
    """(N, T, H·E) → (N, T, H, E), N and T known at run time."""

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        H, E = model.sizes(H=3, E=2)
        n, t, h, e = model.indices(n=N, t=T, h=H, e=E)
        y = layers.reshape(model.input("x", N, T, H * E), (T, H, E), name="y")
        return sp.Sum(y[n, t, h, e] * model.parameter("k", H, E)[h, e] * (t + 1), n, t, h, e)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        times = torch.arange(1, 4)[:, None, None]
        return (t["x"].reshape(3, 3, 3, 2) * t["k"] * times).sum()

    against_torch(declare, reference)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@both
def test_concatenate_three(axis: int, dtype: str) -> None:
    shapes = {name: [2, 3, 2] for name in "xyz"}
    for size, shape in zip((2, 1, 4), shapes.values(), strict=True):
        shape[axis] = size

    def declare(model: Model) -> object:
        parts = [model.parameter(name, *shape) for name, shape in shapes.items()]
        return layers.concatenate(parts, axis, name="all")

    against_torch(declare, lambda t: torch.cat([t["x"], t["y"], t["z"]], axis), dtype=dtype)


def test_concatenate_one_and_the_same_twice() -> None:
    def declare(model: Model) -> object:
        x = model.parameter("x", 2, 3)
        return layers.concatenate([layers.concatenate([x], name="one"), x, x], name="y")

    against_torch(declare, lambda t: torch.cat([t["x"]] * 3, -1))


@both
def test_add(dtype: str) -> None:
    def declare(model: Model) -> object:
        x, y = model.parameter("x", 2, 3), model.parameter("y", 2, 3)
        return layers.add(x, y, x, name="z")

    against_torch(declare, lambda t: 2 * t["x"] + t["y"], dtype=dtype)


def test_every_layer_is_in_the_docs() -> None:
    spec = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8")
    assert [name for name in layers.__all__ if f"`{name}(" not in spec] == []
