"""Windows as rows and back, pixels as channels and back, larger images, and neighbours among channels: by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from test_layers_windows import by_time

from derivgen import layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])

# window, dilation, padding, stride
WINDOWS = {
    "plain": (2, 1, 0, 1),
    "side by side": ((5, 3), 1, 0, (5, 3)),
    "apart": ((1, 2), 1, 0, (2, 4)),
    "overlapping": (3, 1, 1, 2),
    "by axis": ((3, 2), (1, 2), (1, 2), (2, 1)),
    "dilated past the stride": (2, 3, 1, (2, 1)),
    "all of it": ((5, 6), 1, 0, 1),
    "one element": (1, 1, 0, 1),
}


@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
def test_unfold(case: tuple[Any, ...]) -> None:
    window, dilation, padding, stride = case

    def declare(model: Model) -> object:
        settings = {"dilation": dilation, "padding": padding, "stride": stride}
        return layers.unfold(model.parameter("x", 2, 3, 5, 6), window, name="u", **settings)

    against_torch(declare, lambda t: F.unfold(t["x"], window, dilation, padding, stride).mT)


@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
@both
def test_fold(case: tuple[Any, ...], dtype: str) -> None:
    window, dilation, padding, stride = case
    features, rows = F.unfold(torch.zeros(1, 3, 5, 6), window, dilation, padding, stride).shape[1:]

    def declare(model: Model) -> object:
        settings = {"dilation": dilation, "padding": padding, "stride": stride}
        return layers.fold(model.parameter("x", 2, rows, features), (5, 6), window, name="f", **settings)

    against_torch(declare, lambda t: F.fold(t["x"].mT, (5, 6), window, dilation, padding, stride), dtype=dtype)


def test_unfold_is_a_convolution() -> None:
    """A dense layer of windows, as of patches of an image; padding by ends."""

    def declare(model: Model) -> object:
        x = model.parameter("x", 2, 3, 4, 4)
        return layers.dense(layers.unfold(x, 3, name="u", padding=((1, 0), (0, 2)), stride=2), 5, name="d")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        W = t["d_W"].T.reshape(5, 3, 3, 3)
        return F.conv2d(F.pad(t["x"], (0, 2, 1, 0)), W, t["d_b"], 2).flatten(2).mT

    against_torch(declare, reference)


def test_windows_of_a_run_time_size() -> None:
    """Stride 1 needs no size: how many rows of windows there are is known at run time."""

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = layers.unfold(model.input("x", N, 2, T, 4), 3, name="u", padding=1)
        y = layers.dense(y, 2, name="d")
        at = model.local_indices(*y.shape)
        return sp.Sum(sp.sin(y[at]) * (at[1] + 1), *at)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = F.unfold(t["x"], 3, 1, 1).mT @ t["d_W"] + t["d_b"]
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    against_torch(declare, reference, rows=3)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffles(factor: int) -> None:
    """One undoes the other."""

    def shuffled(model: Model) -> object:
        return layers.pixel_shuffle(model.parameter("x", 2, 2 * factor**2, 3, 2), factor, name="p")

    def unshuffled(model: Model) -> object:
        return layers.pixel_unshuffle(model.parameter("x", 2, 2, 3 * factor, 2 * factor), factor, name="p")

    against_torch(shuffled, lambda t: F.pixel_shuffle(t["x"], factor))
    against_torch(unshuffled, lambda t: F.pixel_unshuffle(t["x"], factor))


@pytest.mark.parametrize(
    ("shape", "factor"), [((2, 4, 3), 3), ((2, 3, 2, 4), 2), ((2, 3, 2, 4), (1, 3)), ((1, 2, 2, 3, 2), (2, 1, 3))]
)
def test_upsample(shape: tuple[int, ...], factor: Any) -> None:
    def larger(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=factor)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return by_time(larger, t["x"]) if len(shape) == 3 else larger(t["x"])

    against_torch(lambda m: layers.upsample(m.parameter("x", *shape), factor, name="u"), reference)


def test_upsample_of_a_run_time_size() -> None:
    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = layers.dense(layers.upsample(model.input("x", N, T, 2), 2, name="u"), 2, name="d")
        n, t, f = model.local_indices(*y.shape)
        return sp.Sum(sp.sin(y[n, t, f]) * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = t["x"].repeat_interleave(2, 1) @ t["d_W"] + t["d_b"]
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    against_torch(declare, reference)


# ---- neighbours among channels

NORMS: dict[str, tuple[int, dict[str, float]]] = {
    "defaults": (3, {}),
    "an even size": (2, {"alpha": 0.7, "beta": 0.6, "k": 1.5}),
    "one channel": (1, {"alpha": 0.7}),
    "more than there are": (9, {"alpha": 2, "beta": 1, "k": 2}),
}
SHAPES = [(3, 4), (2, 3, 4), (2, 4, 3, 2), (1, 4, 2, 1, 3)]


def norm(size: int, **settings: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.local_response_norm(x, size, **settings)


@pytest.mark.parametrize("case", NORMS.values(), ids=NORMS)
@both
def test_local_response_norm(case: tuple[int, dict[str, float]], dtype: str) -> None:
    size, settings = case

    def declare(model: Model) -> object:
        return layers.local_response_norm(model.parameter("x", 2, 4, 3, 2), size, name="y", **settings)

    against_torch(declare, lambda t: norm(size, **settings)(t["x"]), dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_local_response_norm_along_the_channels(shape: tuple[int, ...]) -> None:
    """The last axis of rows and of sequences, the second one of images and volumes."""

    def declare(model: Model) -> object:
        return layers.local_response_norm(model.parameter("x", *shape), 3, 0.5, name="y")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        if len(shape) == 2:
            return norm(3, alpha=0.5)(t["x"][..., None])[..., 0]
        return by_time(norm(3, alpha=0.5), t["x"]) if len(shape) == 3 else norm(3, alpha=0.5)(t["x"])

    against_torch(declare, reference)
