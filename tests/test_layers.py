"""Layers against PyTorch."""

from __future__ import annotations

import pytest
import torch
from against_torch import against_torch

from derivgen import activations, layers
from derivgen.model import Model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dense(dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.dense(model.parameter("x", 3, 4, 5), 6, activations.tanh, name="d")

    against_torch(declare, lambda t: torch.tanh(t["x"] @ t["d_W"] + t["d_b"]), dtype=dtype)
