"""Pools with each option against PyTorch; what PyTorch has not, against ONNX's definition as loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from refused import run
from test_layers_windows import by_time

from derivgen import layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
SIZES = {1: (2, 7, 3), 2: (2, 2, 5, 6), 3: (2, 2, 4, 5, 3)}


def pooled(kind: str, axes: int, *arguments: Any, **settings: Any) -> Callable[[Model], object]:
    layer = getattr(layers, f"{kind}_pool{axes}d")
    return lambda model: layer(model.parameter("x", *SIZES[axes]), *arguments, name="p", **settings)


# ---- with ceil_mode: window, stride, padding

CEIL = {
    "a last window": (2, None, 0),
    "a last window in the padding is none": (2, 3, 1),
    "over the end": (3, 2, 0),
    "by axis": ((3, 2), (2, 3), (1, 0)),
    "nothing is left": (3, 1, 1),
    "longer than the image": (6, 2, 1),
}


@pytest.mark.parametrize("case", CEIL.values(), ids=CEIL)
def test_max_pool2d_with_ceil_mode(case: tuple[Any, ...]) -> None:
    window, stride, padding = case
    declare = pooled("max", 2, window, stride=stride, padding=padding, ceil_mode=True)
    against_torch(declare, lambda t: F.max_pool2d(t["x"], window, stride, padding, 1, True))


@pytest.mark.parametrize("case", CEIL.values(), ids=CEIL)
@pytest.mark.parametrize("padded", [True, False], ids=["with padding", "without"])
def test_avg_pool2d_with_ceil_mode(case: tuple[Any, ...], padded: bool) -> None:
    """What lies behind the padding never counts."""
    window, stride, padding = case
    declare = pooled("avg", 2, window, stride=stride, padding=padding, ceil_mode=True, count_include_pad=padded)
    against_torch(declare, lambda t: F.avg_pool2d(t["x"], window, stride, padding, True, padded))


# ---- dilation of maxima: window, stride, padding, dilation

DILATED = {"plain": (2, 1, 0, 3), "padded": (3, 2, 1, 2), "by axis": ((2, 3), (1, 2), (0, 1), (3, 2))}


@pytest.mark.parametrize("case", DILATED.values(), ids=DILATED)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_dilated_max_pool2d(case: tuple[Any, ...], ceil_mode: bool) -> None:
    window, stride, padding, dilation = case
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    declare = pooled("max", 2, window, **settings)
    against_torch(declare, lambda t: F.max_pool2d(t["x"], window, **settings))


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_first_of_equal_maxima_takes_all_of_a_volume(dilation: int) -> None:
    """By depth, then by rows, as PyTorch."""
    x = -np.ones((1, 1, 4, 4, 4))
    x[0, 0, 2, 1:, 2:] = 0

    def declare(model: Model) -> object:
        return layers.max_pool3d(model.parameter("x", *x.shape), 2, name="p", stride=1, padding=1, dilation=dilation)

    against_torch(declare, lambda t: F.max_pool3d(t["x"], 2, 1, 1, dilation), {"x": x})


def test_dilated_max_pool1d() -> None:
    declare = pooled("max", 1, 3, stride=1, padding=1, dilation=2)
    against_torch(declare, lambda t: by_time(F.max_pool1d, t["x"], 3, 1, 1, 2))


# ---- what counts in a mean


@pytest.mark.parametrize("case", [(3, 1, 1), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (2, None, 1)])
@both
def test_avg_pool2d_without_padding(case: tuple[Any, ...], dtype: str) -> None:
    window, stride, padding = case
    declare = pooled("avg", 2, window, stride=stride, padding=padding, count_include_pad=False)
    against_torch(declare, lambda t: F.avg_pool2d(t["x"], window, stride, padding, False, False), dtype=dtype)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_avg_pool1d_without_padding(ceil_mode: bool) -> None:
    declare = pooled("avg", 1, 3, stride=2, padding=1, ceil_mode=ceil_mode, count_include_pad=False)
    against_torch(declare, lambda t: by_time(F.avg_pool1d, t["x"], 3, 2, 1, ceil_mode, False))


@both
def test_a_mean_without_padding_over_a_run_time_length(dtype: str) -> None:
    """The number of elements of a window follows from the length; a length of 1 has windows too."""

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        n, t, f = model.indices(n=N, t=T, f=2)
        x = layers.dense(model.input("x", N, T, 2), 2, name="d")
        y = layers.avg_pool1d(x, 3, name="p", stride=1, padding=(1, 1), count_include_pad=False)
        return sp.Sum(sp.sin(y[n, t, f]) * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = by_time(F.avg_pool1d, t["x"] @ t["d_W"] + t["d_b"], 3, 1, 1, False, False)
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    for rows in (1, 4):
        against_torch(declare, reference, dtype=dtype, rows=rows)


def test_a_mean_of_whole_windows_divides_by_a_number() -> None:
    """No let counts the elements."""
    model = Model("whole")
    y = layers.avg_pool2d(model.parameter("x", 2, 2, 6, 6), 2, name="p", ceil_mode=True, count_include_pad=False)
    model.minimize(y[0, 0, 0, 0])
    assert [d.name for d in model.definitions] == ["p"]


# ---- asymmetric padding and that of ONNX, by loops over windows


def windows_of(
    x: np.ndarray, window: int, stride: int, dilation: int, around: tuple[int, int]
) -> list[tuple[np.ndarray, int]]:
    """(the elements of each window of the last axis, how many of its taps lie on the axis)"""
    size = x.shape[-1]
    starts = range(-around[0], size + around[1] - dilation * (window - 1), stride)
    places = [[s + dilation * k for k in range(window) if 0 <= s + dilation * k < size] for s in starts]
    return [(x[..., each], len(each)) for each in places]


def auto_pad(word: str, size: int, window: int, stride: int) -> tuple[int, int]:
    """ONNX's definition of SAME_UPPER and SAME_LOWER."""
    total = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if word == "same_upper" else (more, less)


@pytest.mark.parametrize("word", ["same_upper", "same_lower"])
@pytest.mark.parametrize(
    ("size", "window", "stride"), [(7, 2, 1), (7, 2, 2), (7, 4, 3), (6, 3, 2), (5, 3, 3), (4, 2, 2), (5, 1, 3)]
)
def test_padding_of_onnx(word: str, size: int, window: int, stride: int) -> None:
    """As many windows as strides are begun, also where Keras's "same" is meant, which is the upper one."""
    around = auto_pad(word, size, window, stride)

    def declare(model: Model) -> object:
        settings = {"stride": stride, "padding": word, "count_include_pad": False}
        y = layers.avg_pool1d(model.parameter("x", 2, size, 3), window, name="p", **settings)
        assert y.shape[1] == math.ceil(size / stride)
        return y

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        x = F.pad(t["x"].transpose(1, 2), around)
        ones = F.pad(torch.ones(1, 1, size, dtype=torch.float64), around)
        means, shares = F.avg_pool1d(x, window, stride), F.avg_pool1d(ones, window, stride)
        return (means / shares).transpose(1, 2)

    against_torch(declare, reference)


@both
def test_asymmetric_padding_of_maxima(dtype: str) -> None:
    """A pair for rows and a pair for columns; negative elements, so that padding of zeros would be seen."""
    x = -np.random.default_rng(3).uniform(1, 2, SIZES[2])
    declare = pooled("max", 2, (2, 4), stride=(1, 2), padding=((0, 1), (2, 1)))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.max_pool2d(F.pad(t["x"], (2, 1, 0, 1), value=-np.inf), (2, 4), (1, 2))

    against_torch(declare, reference, {"x": x}, dtype=dtype)


def test_same_padding_of_an_even_window_is_after() -> None:
    declare = pooled("max", 1, 2, stride=1, padding="same")
    against_torch(declare, lambda t: F.max_pool1d(F.pad(t["x"].transpose(1, 2), (0, 1), value=-9), 2, 1).mT)


@pytest.mark.parametrize("padded", [True, False], ids=["with padding", "without"])
def test_dilated_means_as_loops(padded: bool) -> None:
    """ONNX's AveragePool: PyTorch's has no dilation."""
    around, window, stride, dilation = (2, 1), 3, 2, 2
    x = np.random.default_rng(0).standard_normal((2, 7, 3))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = windows_of(np.arange(7), window, stride, dilation, around)
        means = [t["x"][:, each].sum(1) / (window if padded else count) for each, count in parts]
        return torch.stack(means, 1)

    settings = {"stride": stride, "dilation": dilation, "padding": around, "count_include_pad": padded}
    against_torch(pooled("avg", 1, window, **settings), reference, {"x": x})


# ---- Lp pools


@pytest.mark.parametrize(("p", "ceil_mode"), [(1, True), (2, False), (2.0, True), (3, True), (4, False), (1.5, False)])
@both
def test_lp_pool2d(p: float, ceil_mode: bool, dtype: str) -> None:
    x = np.random.default_rng(1).uniform(0.1, 2, SIZES[2])
    declare = pooled("lp", 2, p, (2, 3), stride=2, ceil_mode=ceil_mode)
    against_torch(declare, lambda t: F.lp_pool2d(t["x"], p, (2, 3), 2, ceil_mode), {"x": x}, dtype=dtype)


def test_lp_pool1d_of_both_signs() -> None:
    """An even power; the window is the stride."""
    against_torch(pooled("lp", 1, 4, 2), lambda t: by_time(F.lp_pool1d, t["x"], 4, 2))


@pytest.mark.parametrize("p", [2, 3, 4])
def test_lp_pool_of_zeros_has_no_derivative(p: int) -> None:
    """0, where the root of 0 has ∞."""
    x = np.zeros(SIZES[2])
    x[0, 0, 0, 0] = 2
    against_torch(pooled("lp", 2, p, (2, 3)), lambda t: F.lp_pool2d(t["x"], p, (2, 3)), {"x": x})


@pytest.mark.parametrize("p", [2, 3])
def test_global_lp_pool_of_zeros_has_no_derivative(p: int) -> None:
    """In one channel of two all is 0, in the other one some."""
    x = np.zeros(SIZES[2])
    x[0, 0, 0, :2] = 2, -3

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.lp_pool2d(t["x"].abs(), p, x.shape[2:])[..., 0, 0]

    against_torch(lambda m: layers.global_lp_pool(m.parameter("x", *x.shape), p, name="p"), reference, {"x": x})


def test_padding_adds_nothing_to_a_norm() -> None:
    declare = pooled("lp", 2, 2, 3, stride=2, padding=1)
    against_torch(declare, lambda t: F.lp_pool2d(F.pad(t["x"], (1, 1, 1, 1)), 2, 3, 2))


@pytest.mark.parametrize(("p", "axes"), [(1, 2), (2, 1), (2, 3), (3, 2), (2.5, 1)])
def test_global_lp_pool(p: float, axes: int) -> None:
    """Both signs: the powers are those of absolute values."""

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        x = t["x"].movedim(1, -1) if axes == 1 else t["x"].flatten(2)
        return torch.linalg.vector_norm(x, p, dim=-1)

    against_torch(lambda m: layers.global_lp_pool(m.parameter("x", *SIZES[axes]), p, name="p"), reference)


def test_global_lp_pool_of_a_run_time_length() -> None:
    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        n, f = model.indices(n=N, f=2)
        x = layers.dense(model.input("x", N, T, 2), 2, name="d")
        return sp.Sum(layers.global_lp_pool(x, 3, name="p")[n, f] * (f + 1), n, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        x = t["x"] @ t["d_W"] + t["d_b"]
        return (torch.linalg.vector_norm(x, 3, dim=1) * torch.arange(1, 3)).sum()

    against_torch(declare, reference, rows=4)


# ---- volumes


@pytest.mark.parametrize("ceil_mode", [False, True])
@both
def test_max_pool3d(ceil_mode: bool, dtype: str) -> None:
    settings = {"stride": (2, 1, 2), "padding": (1, 0, 1), "dilation": (1, 2, 1), "ceil_mode": ceil_mode}
    against_torch(pooled("max", 3, 2, **settings), lambda t: F.max_pool3d(t["x"], 2, **settings), dtype=dtype)


@pytest.mark.parametrize("padded", [True, False], ids=["with padding", "without"])
def test_avg_pool3d(padded: bool) -> None:
    settings = {"stride": 2, "padding": (0, 1, 1), "ceil_mode": True, "count_include_pad": padded}
    declare = pooled("avg", 3, (2, 3, 2), **settings)
    against_torch(declare, lambda t: F.avg_pool3d(t["x"], (2, 3, 2), **settings))


def test_lp_pool3d() -> None:
    against_torch(pooled("lp", 3, 2, 2), lambda t: F.lp_pool3d(t["x"], 2, 2))


@pytest.mark.parametrize(
    ("layer", "reference"), [(layers.global_max_pool, torch.amax), (layers.global_avg_pool, torch.mean)]
)
def test_global_pools_of_volumes(layer: Any, reference: Any) -> None:
    against_torch(lambda m: layer(m.parameter("x", *SIZES[3]), name="p"), lambda t: reference(t["x"], (2, 3, 4)))


# ---- so many windows


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize(("axes", "count"), [(1, 3), (1, 1), (2, (2, 1)), (2, (4, 6)), (3, (2, 1, 4))])
def test_adaptive_pools(kind: str, axes: int, count: Any) -> None:
    shape = {1: (2, 6, 3), 2: (2, 2, 4, 6), 3: (1, 2, 4, 2, 4)}[axes]
    name = f"adaptive_{kind}_pool{axes}d"

    def declare(model: Model) -> object:
        return getattr(layers, name)(model.parameter("x", *shape), count, name="p")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        pool = getattr(F, name)
        return by_time(pool, t["x"], count) if axes == 1 else pool(t["x"], count)

    against_torch(declare, reference)


# ---- by the command

SPEC = """\
from derivgen import Model, layers, losses

model = Model("net")
x = model.input("x", model.batch("N"), 1, 5, 6)
a = layers.conv2d(x, 2, 2, name="c", padding="same", padding_mode="circular")
a = layers.avg_pool2d(a, 3, name="p", stride=2, padding=1, ceil_mode=True, count_include_pad=False)
a = layers.lp_pool2d(a, 3, 2, name="l", stride=1)
model.minimize(losses.mean_squared_error(a, model.input("target", *a.shape)))
"""


def test_gradcheck_of_a_spec(tmp_path: Path) -> None:
    """A spec as a user writes it: the command compares the gradient with differences."""
    (tmp_path / "net.py").write_text(SPEC, encoding="utf-8")
    result = run("gradcheck", tmp_path / "net.py")
    assert result.exit_code == 0, result.output
