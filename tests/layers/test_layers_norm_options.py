"""Options of normalizations, and norms of weights, against PyTorch: in training, its steps, and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch, assert_close
from generated import execute, module_text
from refused import MARK, refuse
from torch import nn
from torch.nn.utils import parametrizations

from derivgen import layers, losses
from derivgen.declare.model import Model, TensorSymbol
from derivgen.project.gradcheck import gradcheck

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
Tensors = dict[str, torch.Tensor]

# ---- norms over several axes

AXES: dict[str, tuple[tuple[int, ...], Any, tuple[int, ...]]] = {
    "all axes of images": ((2, 3, 4, 2), (1, 2, 3), (3, 4, 2)),
    "the last two": ((2, 3, 4, 2), (-2, -1), (4, 2)),
    "in another order": ((2, 3, 4), [-1, 1], (3, 4)),
    "one, as a number": ((3, 4), 1, (4,)),
}


@pytest.mark.parametrize(("shape", "axis", "sizes"), AXES.values(), ids=AXES)
@both
def test_layer_norm_over_axes(shape: Any, axis: Any, sizes: Any, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.layer_norm(model.parameter("x", *shape), name="y", axis=axis)

    against_torch(declare, lambda t: F.layer_norm(t["x"], sizes, t["y_gain"], t["y_shift"]), dtype=dtype)


@pytest.mark.parametrize(("shape", "axis", "sizes"), AXES.values(), ids=AXES)
@both
def test_rms_norm_over_axes(shape: Any, axis: Any, sizes: Any, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.rms_norm(model.parameter("x", *shape), name="y", axis=axis, epsilon=1e-5)

    against_torch(declare, lambda t: F.rms_norm(t["x"], sizes, t["y_gain"], 1e-5), dtype=dtype)


@both
def test_layer_norm_over_an_axis_between(dtype: str) -> None:
    """Keras's axis: each place of an image by itself, over its channels."""

    def declare(model: Model) -> object:
        return layers.layer_norm(model.parameter("x", 2, 4, 3, 2), name="y", axis=1)

    def reference(t: Tensors) -> torch.Tensor:
        return F.layer_norm(t["x"].movedim(1, -1), (4,), t["y_gain"], t["y_shift"]).movedim(-1, 1)

    against_torch(declare, reference, dtype=dtype)


def test_layer_norm_over_axes_of_unknown_sizes() -> None:
    """Without gain and shift, whose sizes must be known."""
    model = Model("times", dtype="float64")
    N, T = model.batch("N"), model.batch("T")
    y = layers.layer_norm(model.input("x", N, T, 2), name="y", axis=(1, 2), scale=False, center=False)
    n, t, k = model.local_indices(*y.shape)
    model.minimize(sp.Sum((y[n, t, k] - model.parameter("w")) ** 2, n, t, k) / N)
    model.predict(y)
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    found = execute(module_text(model)).predict(np.zeros(1), x)
    assert np.allclose(found, F.layer_norm(torch.as_tensor(x), (5, 2)).numpy(), rtol=1e-12)


# ---- statistics of channels


def in_channels_second(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """A module of PyTorch on (batch, …, channels) of fewer than four axes, else on (batch, channels, …)."""
    return f(x) if x.ndim > 3 else f(x.movedim(-1, 1)).movedim(1, -1)


SHAPES = {"sequences": (3, 5, 4), "images": (3, 4, 2, 3), "volumes": (2, 3, 2, 2, 3)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, False)])
@both
def test_instance_norm(shape: tuple[int, ...], scale: bool, center: bool, dtype: str) -> None:
    def declare(model: Model) -> object:
        x = model.parameter("x", *shape)
        return layers.instance_norm(x, name="y", scale=scale, center=center, epsilon=1e-3)

    def reference(t: Tensors) -> torch.Tensor:
        weights = (t["y_gain"], t["y_shift"]) if scale else (None, None)
        return in_channels_second(lambda x: F.instance_norm(x, None, None, *weights, eps=1e-3), t["x"])

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("affine", [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm_in_part(shape: tuple[int, ...], affine: tuple[bool, bool]) -> None:
    def declare(model: Model) -> object:
        return layers.batch_norm(model.parameter("x", *shape), name="y", scale=affine[0], center=affine[1])

    def reference(t: Tensors) -> torch.Tensor:
        gain, shift = (t[f"y_{word}"] if there else None for word, there in zip(("gain", "shift"), affine, strict=True))
        return in_channels_second(lambda x: F.batch_norm(x, None, None, gain, shift, True), t["x"])

    against_torch(declare, reference)


INSTANCE, BATCH = layers.instance_norm, layers.batch_norm
TRACKED: dict[str, tuple[Any, tuple[int, ...], Callable[[], nn.Module]]] = {
    "instances of sequences": (
        partial(INSTANCE, track_running_stats=True),
        (4, 5, 3),
        lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
    ),
    "instances of images": (
        partial(INSTANCE, track_running_stats=True, momentum=0.3, epsilon=0.01),
        (4, 3, 2, 3),
        lambda: nn.InstanceNorm2d(3, 0.01, 0.3, True, True),
    ),
    "instances, each for itself": (
        partial(INSTANCE, scale=False, center=False),
        (4, 3, 2, 3),
        lambda: nn.InstanceNorm2d(3),
    ),
    "volumes": (BATCH, (3, 2, 2, 3, 2), lambda: nn.BatchNorm3d(2)),
    "a mean over all batches": (partial(BATCH, momentum=None), (4, 3), lambda: nn.BatchNorm1d(3, momentum=None)),
    "statistics of the batch alone": (
        partial(BATCH, track_running_stats=False, scale=False, center=False),
        (4, 3, 2, 2),
        lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False),
    ),
}


def normalizing(layer: Callable[..., Any], shape: tuple[int, ...], dtype: str) -> ModuleType:
    """The module of a model that predicts what the layer gives."""
    model = Model("normalizing", dtype=dtype)
    N = model.batch("N")
    y = layer(model.input("x", N, *shape[1:]), name="y")
    at = model.local_indices(*y.shape)
    model.minimize(sp.Sum(y[at] ** 2, *at) * model.parameter("w", init="ones") / N)
    model.predict(y)
    return execute(module_text(model, dtype))


@pytest.mark.parametrize(("layer", "shape", "make"), TRACKED.values(), ids=TRACKED)
@both
def test_steps_and_evaluation(
    layer: Callable[..., Any], shape: tuple[int, ...], make: Callable[[], nn.Module], dtype: str
) -> None:
    """Three batches move the statistics, as PyTorch's three passes in training; then evaluation uses them."""
    module, reference, rng = normalizing(layer, shape, dtype), make().double().train(), np.random.default_rng(3)
    parameters, state = module.initial_parameters(), module.optimizer_state()
    for _ in range(3):
        x = rng.normal(1.0, 2.0, shape).astype(dtype)
        module.descend(parameters, state, 1, x, learning_rate=0.0)
        in_channels_second(reference, torch.as_tensor(x).double())
    views, buffers = module.views(parameters), dict(reference.named_buffers())
    for own, there in (("y_running_mean", "running_mean"), ("y_running_variance", "running_var")):
        assert (own in views) == (there in buffers)
        if own in views:
            assert_close(own, views[own], buffers[there].numpy(), dtype)
    x = rng.normal(1.0, 2.0, shape).astype(dtype)
    expected = in_channels_second(reference.eval(), torch.as_tensor(x).double()).detach().numpy()
    assert_close("in evaluation", module.predict(parameters, x), expected, dtype)


def test_a_mean_over_all_batches_of_instances() -> None:
    """PyTorch's layer does not change its statistics with momentum=None; here it is as in batch_norm."""
    module = normalizing(partial(INSTANCE, momentum=None, track_running_stats=True), (2, 3, 2, 2), "float64")
    parameters, state = module.initial_parameters(), module.optimizer_state()
    batches = np.random.default_rng(5).normal(1.0, 2.0, (4, 2, 3, 2, 2))
    for x in batches:
        module.descend(parameters, state, 1, x, learning_rate=0.0)
    views = module.views(parameters)
    assert np.allclose(views["y_running_mean"], batches.mean((0, 1, 3, 4)), rtol=1e-12)
    assert np.allclose(views["y_running_variance"], batches.var((3, 4), ddof=1).mean((0, 1)), rtol=1e-12)
    assert views["y_batches"] == 4


@both
def test_frozen_statistics(dtype: str) -> None:
    """In training too the running tensors are used, and stay: as PyTorch's layer in eval mode; gain and shift learn."""
    module = normalizing(partial(BATCH, training=False), (4, 3, 2, 2), dtype)
    reference, rng = nn.BatchNorm2d(3).double().eval(), np.random.default_rng(4)
    parameters, x = module.initial_parameters(), rng.normal(1.0, 2.0, (4, 3, 2, 2)).astype(dtype)
    for name, view in module.views(parameters).items():
        view[...] = rng.uniform(0.5, 2, view.shape)
        there = {"y_gain": "weight", "y_shift": "bias", "y_running_mean": "running_mean"}.get(name, "running_var")
        with torch.no_grad():
            if name != "w":
                getattr(reference, there).copy_(torch.as_tensor(view))
    loss, gradient = module.loss_and_gradient(parameters, x)
    expected = (reference(torch.as_tensor(x).double()) ** 2).sum() * float(module.views(parameters)["w"]) / 4
    expected.backward()
    assert_close("loss", loss, expected.detach().numpy(), dtype)
    for own, there in (("y_gain", reference.weight), ("y_shift", reference.bias)):
        assert there.grad is not None
        assert_close(own, module.views(gradient)[own], there.grad.numpy(), dtype)
    before, state = parameters.copy(), module.optimizer_state()
    module.train_epoch(parameters, state, np.arange(4), 2, x, learning_rate=0.01)
    for name, view in module.views(parameters).items():
        assert (view == module.views(before)[name]).all() == ("running" in name), name
    assert not hasattr(module, "take_next")


# ---- norms of weights

WEIGHTS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "of a dense layer": ((4, 3), -1),
    "of a convolution": ((4, 3, 2, 2), 0),
    "of one length": ((4, 3), None),
    "between": ((2, 4, 3), 1),
}


@pytest.mark.parametrize(("shape", "axis"), WEIGHTS.values(), ids=WEIGHTS)
@both
def test_weight_norm(shape: tuple[int, ...], axis: int | None, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.weight_norm(model.parameter("v", *shape), name="W", axis=axis)

    def reference(t: Tensors) -> torch.Tensor:
        kept = axis if axis is None or axis >= 0 else axis + len(shape)
        gain = t["W_gain"].reshape([-1 if a == kept else 1 for a in range(len(shape))])
        length = torch.linalg.vector_norm(t["v"], dim=[a for a in range(len(shape)) if a != kept], keepdim=True)
        return gain * t["v"] / length

    against_torch(declare, reference, dtype=dtype)


IN, OUT, SIDE, FILTERS = 3, 4, 4, 2
STEPS, RATE = 4, 0.1


def of_dense(x: Any, parametrization: Any) -> Any:
    return layers.dense(x, OUT, name="y", parametrization=parametrization)


def of_images(x: Any, parametrization: Any) -> Any:
    return layers.conv2d(x, FILTERS, 3, name="y", padding=1, parametrization=parametrization)


def of_sequences(x: Any, parametrization: Any) -> Any:
    return layers.conv1d(x, FILTERS, 3, name="y", parametrization=parametrization)


LAYERS: dict[str, tuple[Any, tuple[int, ...], Callable[[], nn.Module]]] = {
    "dense": (of_dense, (IN,), lambda: nn.Linear(IN, OUT)),
    "images": (of_images, (IN, SIDE, SIDE), lambda: nn.Conv2d(IN, FILTERS, 3, padding=1)),
    "sequences": (of_sequences, (SIDE, IN), lambda: nn.Conv1d(IN, FILTERS, 3)),
}
KINDS: dict[str, tuple[Any, Any]] = {
    "weight_norm": (layers.weight_norm, parametrizations.weight_norm),
    "spectral_norm": (layers.spectral_norm, parametrizations.spectral_norm),
    "three iterations": (
        partial(layers.spectral_norm, n_power_iterations=3),
        partial(parametrizations.spectral_norm, n_power_iterations=3),
    ),
}


def set_as(reference: nn.Module, views: Mapping[str, np.ndarray]) -> None:
    """PyTorch's layer with these parameters, and these vectors."""
    values = {name: torch.as_tensor(view).double() for name, view in views.items()}
    kind: Any = reference.parametrizations
    W = values["y_W"].T if isinstance(reference, nn.Linear) else values["y_W"]
    with torch.no_grad():
        reference.bias.copy_(values["y_b"])
        if "y_weights_gain" in values:
            kind.weight.original0.copy_(values["y_weights_gain"].reshape(kind.weight.original0.shape))
            kind.weight.original1.copy_(W)
        else:
            kind.weight.original.copy_(W)
            kind.weight[0]._u.copy_(values["y_weights_u"])
            kind.weight[0]._v.copy_(values["y_weights_v"].flatten())


def parts_of(reference: nn.Module) -> dict[str, torch.Tensor]:
    kind: Any = reference.parametrizations
    gain = hasattr(kind.weight, "original0")
    W = kind.weight.original1 if gain else kind.weight.original
    found = {"y_W": W.T if isinstance(reference, nn.Linear) else W, "y_b": reference.bias}
    if gain:
        return {**found, "y_weights_gain": kind.weight.original0.flatten()}
    return {**found, "y_weights_u": kind.weight[0]._u, "y_weights_v": kind.weight[0]._v}


@pytest.mark.parametrize(("own", "there"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("layer", "shape", "make"), LAYERS.values(), ids=LAYERS)
@both
def test_steps_with_a_parametrization(own: Any, there: Any, layer: Any, shape: Any, make: Any, dtype: str) -> None:
    """Losses and parameters of some steps of gradient descent, then the loss in evaluation."""
    model = Model("parametrized", dtype=dtype)
    N = model.batch("N")
    y = layer(model.input("x", N, *shape), own)
    model.minimize(losses.mean_squared_error(y, model.input("t", N, *y.shape[1:])))
    model.predict(y)
    module, rng = execute(module_text(model, dtype)), np.random.default_rng(6)
    x = rng.normal(size=(5, *shape)).astype(dtype)
    parameters, state = module.initial_parameters(3), module.optimizer_state()
    t = rng.normal(size=module.predict(parameters, x).shape).astype(dtype)
    reference = there(make().double()).train()
    set_as(reference, module.views(parameters))
    optimizer, expected = torch.optim.SGD(reference.parameters(), RATE), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (
            (
                (
                    in_channels_second(reference, torch.as_tensor(x).double())
                    if x.ndim > 2
                    else reference(torch.as_tensor(x).double())
                )
                - torch.as_tensor(t).double()
            )
            .square()
            .mean()
        )
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    found = module.descend(parameters, state, STEPS, x, t, learning_rate=RATE)
    assert_close("losses", found, np.array(expected), dtype)
    for name, tensor in parts_of(reference).items():
        wanted = tensor.detach().numpy()
        assert_close(name, module.views(parameters)[name].reshape(wanted.shape), wanted, dtype)
    seen = torch.as_tensor(x).double()
    result = (in_channels_second(reference.eval(), seen) if x.ndim > 2 else reference.eval()(seen)).detach().numpy()
    assert_close("in evaluation", module.predict(parameters, x), result, dtype)


def test_spectral_norm_gives_a_matrix_of_norm_1_after_steps() -> None:
    model = Model("spectral", dtype="float64")
    W = layers.spectral_norm(model.parameter("V", 5, 4, init="glorot_uniform"), name="W")
    i, j = model.local_indices(5, 4)
    model.minimize(sp.Sum(W[i, j] ** 2, i, j))
    model.predict(W)
    module = execute(module_text(model))
    parameters, state = module.initial_parameters(), module.optimizer_state()
    module.descend(parameters, state, 200, learning_rate=0.0)
    assert abs(np.linalg.norm(module.predict(parameters), 2) - 1) <= 1e-12


@pytest.mark.parametrize("layer", [layers.weight_norm, layers.spectral_norm])
def test_zeros_have_no_norm_to_divide_by(layer: Any) -> None:
    """NaN, as in PyTorch; of weight_norm in the unit alone that is 0."""
    model = Model("zeros", dtype="float64")
    W = layer(model.parameter("V", 3, 2, init=np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 2.0]])), name="W")
    i, j = model.local_indices(3, 2)
    model.minimize(sp.Sum(W[i, j], i, j))
    model.predict(W)
    module = execute(module_text(model))
    with np.errstate(all="ignore"):
        if layer is layers.weight_norm:
            found = module.predict(module.initial_parameters())
            assert np.isnan(found[:, 0]).all() and np.allclose(found[:, 1], [1 / 3, 2 / 3, 2 / 3])
        assert np.isnan(module.predict(0 * module.initial_parameters())).all()


def test_a_parametrization_of_ones_own() -> None:
    """A function of weights: here one that leaves out the connections that a mask has 0 for."""
    mask = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])

    def masked(W: TensorSymbol, *, name: str, axis: int) -> Any:
        assert axis == 1
        i, j = W.model.local_indices(*W.shape)
        return W.model.let(name, (i, j), W[i, j] * W.model.constant(f"{name}_mask", mask)[i, j])

    def declare(model: Model) -> object:
        return layers.dense(model.parameter("x", 4, 3), 2, name="y", parametrization=masked)

    against_torch(declare, lambda t: t["x"] @ (t["y_W"] * torch.as_tensor(mask)) + t["y_b"])


@pytest.mark.parametrize("layer", [partial(INSTANCE, track_running_stats=True), partial(BATCH, training=False)])
def test_gradcheck_of_statistics(layer: Any) -> None:
    model = Model("checked", dtype="float64")
    N = model.batch("N")
    y = layer(layers.conv2d(model.input("x", N, 1, 3, 3), 2, 2, name="c"), name="y")
    at = model.local_indices(*y.shape)
    model.minimize(sp.Sum(y[at] ** 3, *at) / N)
    assert all(c.error <= 1e-10 for c in gradcheck(model, quick=True))


# ---- bad arguments

PREAMBLE = """\
from sympy import Sum
from derivgen import Model, layers

model = Model("bad")
N = model.batch("N")
images, sequences = model.input("images", N, 4, 5, 6), model.input("sequences", N, 7, 4)
rows, W = model.input("rows", N, 4), model.parameter("W", 4, 3, init="normal")
vector = model.parameter("vector", 4)
"""
ENDING = """
at = model.local_indices(*z.shape)
model.minimize(Sum(z[at] ** 2, *at) + vector[0] + W[0, 0])
"""
REFUSED = {
    "the batch": ("layer_norm(rows, name='z', axis=0)", ["layer_norm: axis", "after the batch", "-1 to -1", "found 0"]),
    "an axis too many": ("rms_norm(images, name='z', axis=(3, 4))", ["rms_norm: axis", "1 to 3", "(3, 4)"]),
    "an axis twice": ("layer_norm(images, name='z', axis=(1, -3))", ["each once", "(1, -3)"]),
    "no axis": ("layer_norm(images, name='z', axis=())", ["axis", "found ()"]),
    "an axis in words": ("layer_norm(images, name='z', axis='last')", ["axis", "'last'"]),
    "instances: rank": ("instance_norm(rows, name='z')", ["instance_norm", "(batch, time, feature)", "rows of shape"]),
    "instances: epsilon": ("instance_norm(images, name='z', epsilon=0)", ["instance_norm: epsilon", "found 0"]),
    "instances: momentum": (
        "instance_norm(images, name='z', track_running_stats=True, momentum=-1)",
        ["instance_norm: momentum", "from 0 to 1, or None", "found -1"],
    ),
    "frozen: epsilon": ("batch_norm(rows, name='z', training=False, epsilon=-1)", ["batch_norm: epsilon", "found -1"]),
    "the batch alone: epsilon": ("batch_norm(rows, name='z', track_running_stats=False, epsilon=0)", ["epsilon"]),
    "weights: axis": ("weight_norm(W, name='z', axis=2)", ["weight_norm: axis", "from 0 to 1", "or None", "found 2"]),
    "weights: rank": ("spectral_norm(vector, name='z')", ["spectral_norm", "vector of shape (4,)"]),
    "weights: no axis": ("spectral_norm(W, name='z', axis=None)", ["spectral_norm: axis", "found None"]),
    "weights: one axis": ("weight_norm(vector, name='z')", ["weight_norm", "vector of shape (4,)"]),
    "iterations": ("spectral_norm(W, name='z', n_power_iterations=0)", ["n_power_iterations", "at least 1", "found 0"]),
    "epsilon": ("spectral_norm(W, name='z', epsilon=0)", ["spectral_norm: epsilon", "found 0"]),
    "dense": ("dense(rows, 3, name='z', parametrization='weight_norm')", ["dense: parametrization", "'weight_norm'"]),
    "convolution": ("conv2d(images, 3, 3, name='z', parametrization=1)", ["conv2d: parametrization", "found 1"]),
}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_bad_arguments_are_refused(call: str, words: list[str], tmp_path: Any) -> None:
    (message,) = refuse(tmp_path, f"{PREAMBLE}z = layers.{call}  {MARK}\n{ENDING}")
    assert all(word in message for word in words), message
