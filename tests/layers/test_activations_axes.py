"""Activations along an axis, gated linear units, sparsemax and rrelu against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import agrees_with_the_oracle, execute, module_text

from derivgen import activations, layers
from derivgen.declare.model import Model

BOTH_DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])
Reference = Callable[[torch.Tensor, int], torch.Tensor]


def gated(gate: Callable[[torch.Tensor], torch.Tensor]) -> Reference:
    def reference(z: torch.Tensor, axis: int) -> torch.Tensor:
        value, other = z.chunk(2, axis)
        return value * gate(other)

    return reference


def torch_sparsemax(z: torch.Tensor, axis: int) -> torch.Tensor:
    """By sorting, as in the paper: the projection onto the simplex."""
    z = z.movedim(axis, -1)
    ordered = z.sort(-1, descending=True).values
    counts, sums = torch.arange(1, z.shape[-1] + 1), ordered.cumsum(-1)
    size = (1 + counts * ordered > sums).sum(-1, keepdim=True)
    bound = (sums.gather(-1, size - 1) - 1) / size
    return torch.relu(z - bound).movedim(-1, axis)


ALONG: dict[str, tuple[Callable[..., Any], Reference]] = {
    "softmax": (activations.softmax, F.softmax),
    "softmin": (activations.softmin, F.softmin),
    "log_softmax": (activations.log_softmax, F.log_softmax),
    "sparsemax": (activations.sparsemax, torch_sparsemax),
    "glu": (activations.glu, F.glu),
    "bilinear": (activations.bilinear, gated(lambda b: b)),
    "reglu": (activations.reglu, gated(F.relu)),
    "geglu": (activations.geglu, gated(F.gelu)),
    "geglu, tanh": (
        lambda z, **options: activations.geglu(z, approximate="tanh", **options),
        gated(lambda b: F.gelu(b, approximate="tanh")),
    ),
    "swiglu": (activations.swiglu, gated(F.silu)),
}


@pytest.mark.parametrize(
    ("shape", "axis", "dtype"),
    [((6,), 0, "float64"), ((4, 3), 0, "float32"), ((3, 4), -1, "float64"), ((2, 4, 3), 1, "float32")],
    ids=str,
)
@pytest.mark.parametrize("case", ALONG)
def test_an_activation_along_an_axis_is_that_of_torch(case: str, shape: tuple[int, ...], axis: int, dtype: str) -> None:
    activation, reference = ALONG[case]
    against_torch(
        lambda model: activation(model.parameter("z", *shape), name="a", axis=axis),
        lambda t: reference(t["z"], axis),
        dtype=dtype,
    )


@BOTH_DTYPES
def test_softmax_of_channels_is_torch_softmax2d(dtype: str) -> None:
    against_torch(
        lambda model: activations.softmax(model.parameter("z", 2, 3, 2, 4), name="a", axis=1),
        lambda t: torch.nn.Softmax2d()(t["z"]),
        dtype=dtype,
    )


@BOTH_DTYPES
@pytest.mark.parametrize("case", ["softmax", "softmin", "log_softmax", "sparsemax"])
def test_the_axis_may_be_that_of_rows_at_run_time(case: str, dtype: str) -> None:
    activation, reference = ALONG[case]

    def declare(model: Model) -> Any:
        N, D = model.batch("N"), model.sizes(D=3)
        n, d = model.indices(n=N, d=D)
        x, b = model.input("x", N, D), model.parameter("b", D)
        a = activation(model.let("z", (n, d), x[n, d] * b[d]), name="a", axis=0)
        return sp.Sum(x[n, d] ** 2 * a[n, d], n, d)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return (t["x"] ** 2 * reference(t["x"] * t["b"], 0)).sum()

    against_torch(declare, expected, dtype=dtype, rows=5)


def test_a_gated_layer_halves_channels_with_rows_at_run_time() -> None:
    """The feed-forward layer of a transformer, and a gate over the channels of images."""
    model = Model("gated")
    N = model.batch("N")
    x, pixels = model.input("x", N, 3), model.input("pixels", N, 4, 2, 2)
    z = layers.dense(activations.swiglu(layers.dense(x, 8, name="wide"), name="gate"), 2, name="out")
    c = activations.geglu(layers.conv2d(pixels, 4, 1, name="conv"), name="channels", axis=1)
    n, i, k, r, s = model.local_indices(N, 2, 2, 2, 2)
    model.minimize(sp.Sum(z[n, i] ** 2, n, i) + sp.Sum(c[n, k, r, s] ** 2, n, k, r, s))
    agrees_with_the_oracle(model, {"N": 2})


# ---- sparsemax


def test_sparsemax_of_ties_and_of_one_winner() -> None:
    logits = np.array([[1.0, 1, 1, 1], [3, 3, 0, 0], [9, 0, 0, 0], [0.5, 0.25, 0, -5], [1, 0, 0, 0]])
    against_torch(
        lambda model: activations.sparsemax(model.parameter("z", 5, 4), name="a"),
        lambda t: torch_sparsemax(t["z"], -1),
        {"z": logits},
    )


@BOTH_DTYPES
def test_sparsemax_far_apart(dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0], [1e4, 1e4 - 0.5, -1e4]], dtype)
    model = Model("far")
    a = activations.sparsemax(model.parameter("z", 2, 3, init=logits), name="a")
    n, i = model.local_indices(2, 3)
    model.minimize(sp.Sum(i * a[n, i], n, i))
    model.predict(a)
    module = execute(module_text(model, dtype))
    assert module.predict(module.initial_parameters()).tolist() == [[1, 0, 0], [0.75, 0.25, 0]]


# ---- rrelu


@BOTH_DTYPES
@pytest.mark.parametrize("bounds", [(), (0.25, 0.5)], ids=str)
def test_rrelu_draws_slopes(bounds: tuple[float, ...], dtype: str) -> None:
    low, high = bounds or (1 / 8, 1 / 3)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        slope = low + (high - low) * t["a_slopes"]
        return torch.where(t["z"] > 0, t["z"], slope * t["z"])

    against_torch(lambda model: activations.rrelu(model.parameter("z", 4, 5), *bounds, name="a"), expected, dtype=dtype)


def test_rrelu_in_evaluation_is_that_of_torch() -> None:
    z, model = np.random.default_rng(0).standard_normal((4, 5)), Model("evaluated")
    a = activations.rrelu(model.parameter("z", 4, 5, init=z), name="a")
    n, i = model.local_indices(4, 5)
    model.minimize(sp.Sum(a[n, i], n, i))
    model.predict(a)
    module = execute(module_text(model, "float64"))
    wanted = F.rrelu(torch.as_tensor(z), training=False).numpy()
    np.testing.assert_allclose(module.predict(module.initial_parameters()), wanted, rtol=1e-15)
