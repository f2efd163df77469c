"""Convolutions and pooling against PyTorch, sequences in the order (batch, time, feature)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch

from derivgen import activations, layers
from derivgen.declare.model import Model
from derivgen.form.as_written import as_written
from derivgen.form.program import Statement
from derivgen.pipeline import declared_program

both = pytest.mark.parametrize("dtype", ["float64", "float32"])


def by_time(function: Callable[..., torch.Tensor], x: torch.Tensor, *rest: Any) -> torch.Tensor:
    """A function of PyTorch's on (batch, feature, time), applied to (batch, time, feature)."""
    return function(x.transpose(1, 2), *rest).transpose(1, 2)


# ---- convolutions: kernel size, stride, padding, dilation, groups

IMAGES = {
    "plain": (3, 1, 0, 1, 1),
    "one tap": (1, 1, 0, 1, 1),
    "strided past the end": (3, 2, 0, 1, 1),
    "padded": ((2, 3), 1, (1, 2), 1, 1),
    "same": (3, 1, "same", (1, 2), 1),
    "dilated": ((3, 2), 1, 1, (2, 3), 1),
    "groups": (3, (2, 1), 1, 1, 2),
    "depthwise": ((3, 2), 1, 0, 1, 4),
    "all at once": ((3, 2), (2, 3), (2, 1), (1, 2), 2),
}


@pytest.mark.parametrize("case", IMAGES.values(), ids=IMAGES)
@both
def test_conv2d(case: tuple[Any, ...], dtype: str) -> None:
    size, *rest = case
    stride, padding, dilation, groups = rest

    def declare(model: Model) -> object:
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return layers.conv2d(model.parameter("x", 2, 4, 5, 6), 4, size, activations.tanh, name="c", **settings)

    against_torch(declare, lambda t: torch.tanh(F.conv2d(t["x"], t["c_W"], t["c_b"], *rest)), dtype=dtype)


SEQUENCES = {
    "plain": (3, 1, 0, 1, 1),
    "even window": (2, 2, 1, 1, 1),
    "same": (5, 1, "same", 1, 1),
    "same, every second": (3, 2, "same", 2, 1),
    "several filters a group": (3, 1, 1, 1, 2),
    "depthwise with two filters each": (2, 1, 0, 3, 3),
}


@pytest.mark.parametrize("case", SEQUENCES.values(), ids=SEQUENCES)
@both
def test_conv1d(case: tuple[Any, ...], dtype: str) -> None:
    size, stride, padding, dilation, groups = case
    features = 3 if groups == 3 else 4

    def declare(model: Model) -> object:
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x = model.parameter("x", 2, 7, features)
        return layers.conv1d(x, 6, size, activations.sigmoid, name="c", **settings)

    number = dilation * (size - 1) // 2 if padding == "same" else padding

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.sigmoid(by_time(F.conv1d, t["x"], t["c_W"], t["c_b"], stride, number, dilation, groups))

    against_torch(declare, reference, dtype=dtype)


def test_causal_conv1d() -> None:
    """A step of the output sees itself and what was before it."""

    def declare(model: Model) -> object:
        x = model.parameter("x", 2, 6, 3)
        return layers.conv1d(x, 2, 3, name="c", padding="causal", dilation=2, bias=False)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return by_time(lambda x: F.conv1d(F.pad(x, (4, 0)), t["c_W"], dilation=2), t["x"])

    against_torch(declare, reference)


def test_convolution_of_a_run_time_length() -> None:
    """Stride 1 needs no size; two such sizes at once."""

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        n, t, f = model.indices(n=N, t=T, f=2)
        y = layers.conv1d(model.input("x", N, T, 3), 2, 3, activations.tanh, name="c", padding="same")
        return sp.Sum(y[n, t, f] ** 2 * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = torch.tanh(by_time(F.conv1d, t["x"], t["c_W"], t["c_b"], 1, 1))
        return (y**2 * torch.arange(1, 6)[:, None]).sum()

    against_torch(declare, reference, rows=5)


# ---- transposed: kernel size, stride, padding, output padding, dilation

TRANSPOSED = {
    "plain": (3, 1, 0, 0, 1),
    "one tap": (1, 1, 0, 0, 1),
    "one tap, spread": (1, 3, 0, 2, 1),
    "taps fill strides": (4, 2, 1, 0, 1),
    "last stride not filled": (3, 2, 1, 1, 1),
    "stride past the taps": (2, 3, 0, 2, 1),
    "dilated": (3, 1, 2, 0, 2),
    "dilated and strided alike": (2, 3, 1, 1, 3),
    "dilated past the stride": (3, 2, 3, 2, 3),
}


@pytest.mark.parametrize("case", TRANSPOSED.values(), ids=TRANSPOSED)
@both
def test_conv_transpose1d(case: tuple[int, ...], dtype: str) -> None:
    size, stride, padding, output_padding, dilation = case

    def declare(model: Model) -> object:
        settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        return layers.conv_transpose1d(model.parameter("x", 2, 5, 3), 2, size, activations.tanh, name="c", **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        rest = (stride, padding, output_padding, 1, dilation)
        return torch.tanh(by_time(F.conv_transpose1d, t["x"], t["c_W"], t["c_b"], *rest))

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize(
    "case", [(3, 2, 1, 1, 1), ((2, 3), (1, 2), 0, (0, 1), (2, 1)), ((1, 2), (2, 1), 0, (1, 0), (1, 3))]
)
@both
def test_conv_transpose2d(case: tuple[Any, ...], dtype: str) -> None:
    size, stride, padding, output_padding, dilation = case

    def declare(model: Model) -> object:
        settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        x = model.parameter("x", 2, 3, 3, 4)
        return layers.conv_transpose2d(x, 2, size, name="c", bias=False, **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv_transpose2d(t["x"], t["c_W"], None, stride, padding, output_padding, 1, dilation)

    against_torch(declare, reference, dtype=dtype)


def test_conv_transpose1d_of_a_run_time_length() -> None:
    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = layers.conv_transpose1d(model.input("x", N, T, 2), 3, 3, name="c", stride=2, padding=1)
        n, t, f = model.local_indices(*y.shape)
        return sp.Sum(sp.sin(y[n, t, f]) * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = by_time(F.conv_transpose1d, t["x"], t["c_W"], t["c_b"], 2, 1)
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    against_torch(declare, reference, rows=4)


# ---- pooling: window, stride, padding

POOLS = {
    "plain": (2, None, 0),
    "overlapping": (3, 1, 0),
    "padded": (3, 2, 1),
    "by axis": ((2, 3), (1, 2), (1, 0)),
    "one wide": ((1, 3), (2, 1), 0),
    "one": (1, 2, 0),
}


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize(
    ("layer", "reference"), [(layers.max_pool2d, F.max_pool2d), (layers.avg_pool2d, F.avg_pool2d)], ids=["max", "avg"]
)
@both
def test_pool2d(layer: Any, reference: Any, case: tuple[Any, ...], dtype: str) -> None:
    window, stride, padding = case

    def declare(model: Model) -> object:
        return layer(model.parameter("x", 2, 2, 5, 6), window, name="p", stride=stride, padding=padding)

    against_torch(declare, lambda t: reference(t["x"], window, stride, padding), dtype=dtype)


@pytest.mark.parametrize("case", [(2, None, 0), (3, 2, 1)])
@pytest.mark.parametrize(
    ("layer", "reference"), [(layers.max_pool1d, F.max_pool1d), (layers.avg_pool1d, F.avg_pool1d)], ids=["max", "avg"]
)
def test_pool1d(layer: Any, reference: Any, case: tuple[Any, ...]) -> None:
    window, stride, padding = case

    def declare(model: Model) -> object:
        return layer(model.parameter("x", 2, 7, 3), window, name="p", stride=stride, padding=padding)

    against_torch(declare, lambda t: by_time(reference, t["x"], window, stride, padding))


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 4, 5)])
@both
def test_global_pools(shape: tuple[int, ...], dtype: str) -> None:
    axes = (1,) if len(shape) == 3 else (2, 3)

    def largest(model: Model) -> object:
        return layers.global_max_pool(model.parameter("x", *shape), name="p")

    def mean(model: Model) -> object:
        return layers.global_avg_pool(model.parameter("x", *shape), name="p")

    against_torch(largest, lambda t: t["x"].amax(axes), dtype=dtype)
    against_torch(mean, lambda t: t["x"].mean(axes), dtype=dtype)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_first_of_equal_maxima_takes_all(padding: int) -> None:
    """By rows, as PyTorch; padding is none of them, though the elements are negative."""
    x = -np.ones((1, 1, 4, 4))
    x[0, 0, 2, 2:] = 0

    def declare(model: Model) -> object:
        return layers.max_pool2d(model.parameter("x", 1, 1, 4, 4), 3, name="p", stride=1, padding=padding)

    against_torch(declare, lambda t: F.max_pool2d(t["x"], 3, 1, padding), {"x": x})


# ---- guards


def test_a_convolution_without_padding_has_no_guard() -> None:
    model = Model("unguarded")
    y = layers.conv2d(model.parameter("x", 2, 3, 5, 5), 4, 3, name="c", stride=2)
    model.minimize(y[0, 0, 0, 0])
    assert not [s.target for s in guarded_statements(model)]


def guarded_statements(model: Model) -> list[Statement]:
    statements = declared_program(model).statements
    return [s for s in statements if s.guard != sp.true or s.expression.has(sp.Piecewise)]


def test_only_the_padding_has_a_guard() -> None:
    model = Model("guarded")
    y = layers.conv2d(model.parameter("x", 2, 3, 5, 5), 4, 3, name="c", padding=1)
    model.minimize(y[0, 0, 0, 0])
    assert [s.target for s in guarded_statements(model)] == ["c_padded"]


def test_guard_in_a_convolution_in_a_nonlinearity_in_a_sum() -> None:
    """In one expression: the guard on the inner sum's index stays inside both."""

    @as_written()
    def declare(model: Model) -> object:
        i, r = model.indices(i=5, r=3)
        x, K = model.parameter("x", 5), model.parameter("K", 3, init="normal")
        inside = sp.And(i + r - 1 >= 0, i + r - 1 < 5)
        inner = sp.Sum(sp.Piecewise((x[i + r - 1] * K[r], inside), (0, True)), r)
        return sp.Sum(sp.tanh(inner) * (i + 1), i)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        inner = F.conv1d(t["x"][None, None], t["K"][None, None], padding=1)[0, 0]
        return (torch.tanh(inner) * torch.arange(1, 6)).sum()

    against_torch(declare, reference)


@both
def test_a_small_convolutional_net(dtype: str) -> None:
    def declare(model: Model) -> object:
        a = layers.conv2d(model.parameter("x", 2, 2, 5, 5), 4, 3, activations.relu, name="c1", padding="same")
        a = layers.max_pool2d(layers.group_norm(a, 2, name="g"), 2, name="p")
        a = layers.conv2d(a, 4, 2, activations.tanh, name="c2", groups=2)
        return layers.dense(layers.flatten(a, name="f"), 3, name="d")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        a = torch.relu(F.conv2d(t["x"], t["c1_W"], t["c1_b"], padding="same"))
        a = F.max_pool2d(F.group_norm(a, 2, t["g_gain"], t["g_shift"]), 2)
        a = torch.tanh(F.conv2d(a, t["c2_W"], t["c2_b"], groups=2))
        return a.flatten(1) @ t["d_W"] + t["d_b"]

    against_torch(declare, reference, dtype=dtype)
