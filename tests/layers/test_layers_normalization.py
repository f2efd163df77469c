"""Normalizations against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against_torch import against_torch

from derivgen import layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (2, 2, 3, 5)])
@both
def test_layer_norm(shape: tuple[int, ...], dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.layer_norm(model.parameter("x", *shape), name="y")

    against_torch(declare, lambda t: F.layer_norm(t["x"], shape[-1:], t["y_gain"], t["y_shift"]), dtype=dtype)


@pytest.mark.parametrize(("scale", "center"), [(True, False), (False, True), (False, False)])
def test_layer_norm_in_part(scale: bool, center: bool) -> None:
    def declare(model: Model) -> object:
        return layers.layer_norm(model.parameter("x", 3, 5), name="y", epsilon=0.1, scale=scale, center=center)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = F.layer_norm(t["x"], (5,), t["y_gain"] if scale else None, None, 0.1)
        return y + t["y_shift"] if center else y

    against_torch(declare, reference)


@both
def test_layer_norm_of_a_constant_row(dtype: str) -> None:
    """The deviation is √epsilon then, and the gradient finite."""
    x = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]], dtype)

    def declare(model: Model) -> object:
        return layers.layer_norm(model.parameter("x", 3, 3), name="y")

    against_torch(declare, lambda t: F.layer_norm(t["x"], (3,), t["y_gain"], t["y_shift"]), {"x": x}, dtype)


@both
def test_rms_norm(dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.rms_norm(model.parameter("x", 2, 3, 4), name="y", epsilon=1e-5)

    against_torch(declare, lambda t: F.rms_norm(t["x"], (4,), t["y_gain"], 1e-5), dtype=dtype)


def test_rms_norm_without_gain_at_0() -> None:
    x = np.array([[1.0, -2.0], [0.0, 0.0]])

    def declare(model: Model) -> object:
        return layers.rms_norm(model.parameter("x", 2, 2), name="y", scale=False)

    against_torch(declare, lambda t: F.rms_norm(t["x"], (2,), None, 1e-6), {"x": x})


GROUPS = {
    "images": ((2, 6, 2, 3), 3),
    "one group": ((2, 4, 3, 2), 1),
    "each channel": ((2, 3, 2, 2), 3),
    "rows": ((3, 6), 2),
    "volumes": ((2, 4, 2, 3, 2), 2),
}


@pytest.mark.parametrize("case", GROUPS.values(), ids=GROUPS)
@both
def test_group_norm(case: Any, dtype: str) -> None:
    shape, groups = case

    def declare(model: Model) -> object:
        return layers.group_norm(model.parameter("x", *shape), groups, name="y")

    against_torch(declare, lambda t: F.group_norm(t["x"], groups, t["y_gain"], t["y_shift"]), dtype=dtype)


def test_group_norm_of_sequences() -> None:
    def declare(model: Model) -> object:
        return layers.group_norm(model.parameter("x", 2, 5, 4), 2, name="y", center=False)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.group_norm(t["x"].transpose(1, 2), 2, t["y_gain"]).transpose(1, 2)

    against_torch(declare, reference)
