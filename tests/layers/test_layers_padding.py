"""What surrounds a convolution: modes, pairs of numbers and words, against PyTorch; the same as a layer of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from test_layers_pools import auto_pad
from test_layers_windows import by_time, guarded_statements

from derivgen import activations, layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
modes = pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
MARGINS = {"alike": (1, (1, 1, 1, 1)), "by axis": ((0, 2), (2, 2, 0, 0)), "by end": (((2, 1), (0, 3)), (0, 3, 2, 1))}


# ---- modes


@pytest.mark.parametrize("case", MARGINS.values(), ids=MARGINS)
@modes
def test_conv2d_in_a_mode(mode: str, case: tuple[Any, ...]) -> None:
    """`case`: the padding, and PyTorch's form of it."""
    padding, flat = case

    def declare(model: Model) -> object:
        settings = {"padding": padding, "padding_mode": mode, "groups": 2, "stride": (1, 2)}
        return layers.conv2d(model.parameter("x", 2, 4, 5, 6), 4, 2, activations.tanh, name="c", **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.tanh(F.conv2d(F.pad(t["x"], flat, mode), t["c_W"], t["c_b"], (1, 2), 0, 1, 2))

    against_torch(declare, reference)


@modes
def test_a_mode_with_all_that_it_can_have(mode: str) -> None:
    """The margin is as long as what continues into it: a length of 3, of which "reflect" has no other 3."""
    most = 2 if mode == "reflect" else 3

    def declare(model: Model) -> object:
        return layers.conv1d(model.parameter("x", 2, 3, 2), 3, 3, name="c", padding=most, padding_mode=mode)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return by_time(F.conv1d, by_time(F.pad, t["x"], (most, most), mode), t["c_W"], t["c_b"])

    against_torch(declare, reference)


@modes
@both
def test_conv3d_in_a_mode(mode: str, dtype: str) -> None:
    def declare(model: Model) -> object:
        x = model.parameter("x", 1, 2, 3, 4, 3)
        return layers.conv3d(x, 2, (2, 3, 2), name="c", padding=(1, 1, 0), stride=(1, 2, 1), padding_mode=mode)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv3d(F.pad(t["x"], (0, 0, 1, 1, 1, 1), mode), t["c_W"], t["c_b"], (1, 2, 1))

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize(("mode", "length"), [("replicate", 3), ("replicate", 1), ("circular", 1)])
def test_modes_of_a_run_time_length(mode: str, length: int) -> None:
    """What is continued by the ends alone, or by one element, needs no number; a length of 1 is enough."""
    margin = (2, 1) if mode == "replicate" else (1, 1)

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = layers.conv1d(model.input("x", N, T, 2), 2, 3, name="c", padding=margin, padding_mode=mode)
        n, t, f = model.local_indices(*y.shape)
        return sp.Sum(sp.sin(y[n, t, f]) * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = by_time(F.conv1d, by_time(F.pad, t["x"], margin, mode), t["c_W"], t["c_b"])
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    against_torch(declare, reference, rows=length)


def test_only_the_margins_have_branches() -> None:
    """One let for each axis that has some, so that there are three branches, not nine; the sum has none."""
    model = Model("guarded")
    y = layers.conv2d(model.parameter("x", 2, 3, 5, 5), 4, 3, name="c", padding=1, padding_mode="reflect")
    model.minimize(y[0, 0, 0, 0])
    assert [s.target for s in guarded_statements(model)] == ["c_padded_rows", "c_padded"]


# ---- words

EVEN = [(2, 1, 1), (4, 1, 1), (2, 1, 3), ((2, 3), 1, 1), ((4, 2), 1, (1, 2))]


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch copies the input then
@pytest.mark.parametrize("case", EVEN)
def test_same_padding_of_even_windows(case: tuple[Any, ...]) -> None:
    """The odd element is after, as in PyTorch and Keras."""
    size, stride, dilation = case

    def declare(model: Model) -> object:
        x = model.parameter("x", 2, 3, 6, 5)
        return layers.conv2d(x, 2, size, name="c", stride=stride, dilation=dilation, padding="same")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv2d(t["x"], t["c_W"], t["c_b"], stride, "same", dilation)

    against_torch(declare, reference)


@pytest.mark.parametrize("word", ["same_upper", "same_lower"])
@pytest.mark.parametrize(("window", "stride"), [((2, 3), (1, 2)), ((4, 2), (3, 2)), ((1, 5), (2, 3))])
def test_padding_of_onnx(word: str, window: tuple[int, int], stride: tuple[int, int]) -> None:
    """SAME_UPPER, which is Keras's "same", and SAME_LOWER: as many windows as strides are begun."""
    (top, bottom), (left, right) = (auto_pad(word, *each) for each in zip((7, 6), window, stride, strict=True))

    def declare(model: Model) -> object:
        y = layers.conv2d(model.parameter("x", 2, 2, 7, 6), 2, window, name="c", stride=stride, padding=word)
        assert y.shape[2:] == tuple(math.ceil(size / step) for size, step in zip((7, 6), stride, strict=True))
        return y

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv2d(F.pad(t["x"], (left, right, top, bottom)), t["c_W"], t["c_b"], stride)

    against_torch(declare, reference)


def test_words_of_a_run_time_length() -> None:
    """With stride 1 the words ask for no length; "valid" is none around."""

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        y = model.input("x", N, T, 2)
        for k, word in enumerate(("same", "same_upper", "same_lower")):
            y = layers.conv1d(y, 2, 2, activations.tanh, name=f"c{k}", padding=word)
        y = layers.conv1d(y, 2, 1, name="c3", padding="valid")
        n, t, f = model.local_indices(*y.shape)
        return sp.Sum(sp.sin(y[n, t, f]) * (t + 1), n, t, f)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = t["x"].mT
        for k, around in enumerate(((0, 1), (0, 1), (1, 0))):
            y = torch.tanh(F.conv1d(F.pad(y, around), t[f"c{k}_W"], t[f"c{k}_b"]))
        y = F.conv1d(y, t["c3_W"], t["c3_b"]).mT
        return (torch.sin(y) * torch.arange(1, y.shape[1] + 1)[:, None]).sum()

    against_torch(declare, reference, rows=4)


# ---- transposed convolutions: groups, pairs, volumes


@pytest.mark.parametrize(("groups", "filters"), [(2, 2), (2, 6), (4, 4), (4, 8)])
@both
def test_conv_transpose2d_in_groups(groups: int, filters: int, dtype: str) -> None:
    settings = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": groups}

    def declare(model: Model) -> object:
        return layers.conv_transpose2d(model.parameter("x", 2, 4, 3, 4), filters, (3, 2), name="c", **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv_transpose2d(t["x"], t["c_W"], t["c_b"], **settings)

    against_torch(declare, reference, dtype=dtype)


@pytest.mark.parametrize(("groups", "dilation"), [(2, 1), (4, 3)])
def test_conv_transpose1d_in_groups(groups: int, dilation: int) -> None:
    """A pair of paddings is what is cut off before and after."""

    def declare(model: Model) -> object:
        settings = {"stride": 2, "padding": (2, 1), "dilation": dilation, "groups": groups}
        x = model.parameter("x", 2, 5, 4)
        return layers.conv_transpose1d(x, 4, 3, activations.tanh, name="c", **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        whole = by_time(F.conv_transpose1d, t["x"], t["c_W"], t["c_b"], 2, 0, 0, groups, dilation)
        return torch.tanh(whole[:, 2:-1])

    against_torch(declare, reference)


@both
def test_conv_transpose3d(dtype: str) -> None:
    settings = {"stride": (2, 1, 3), "padding": (1, 0, 1), "output_padding": (1, 0, 2), "groups": 2}

    def declare(model: Model) -> object:
        x = model.parameter("x", 1, 4, 2, 3, 2)
        return layers.conv_transpose3d(x, 2, (3, 2, 1), name="c", dilation=(1, 2, 1), **settings)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.conv_transpose3d(t["x"], t["c_W"], t["c_b"], dilation=(1, 2, 1), **settings)

    against_torch(declare, reference, dtype=dtype)


VOLUMES = {
    "plain": (2, 1, 0, 1, 1),
    "padded": ((1, 3, 2), 1, (0, 1, 1), 1, 2),
    "all at once": ((2, 2, 3), (2, 1, 3), (1, 0, 2), (1, 2, 1), 2),
    "same": (3, 1, "same", 1, 4),
}


@pytest.mark.parametrize("case", VOLUMES.values(), ids=VOLUMES)
@both
def test_conv3d(case: tuple[Any, ...], dtype: str) -> None:
    size, *rest = case
    settings = dict(zip(("stride", "padding", "dilation", "groups"), rest, strict=True))

    def declare(model: Model) -> object:
        return layers.conv3d(model.parameter("x", 2, 4, 3, 4, 3), 4, size, activations.tanh, name="c", **settings)

    against_torch(declare, lambda t: torch.tanh(F.conv3d(t["x"], t["c_W"], t["c_b"], *rest)), dtype=dtype)


# ---- margins as a layer


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", MARGINS.values(), ids=MARGINS)
def test_pad_of_images(mode: str, case: tuple[Any, ...]) -> None:
    padding, flat = case
    value = 1.5 if mode == "constant" else 0.0

    def declare(model: Model) -> object:
        return layers.pad(model.parameter("x", 2, 2, 4, 5), padding, mode, value, name="p")

    against_torch(declare, lambda t: F.pad(t["x"], flat, mode, value if mode == "constant" else None))


def test_pad_of_a_sequence_and_of_a_volume() -> None:
    """A pair along time; a number for three axes."""
    shapes = {"x": (2, 4, 3), "y": (1, 2, 2, 3, 2)}

    def declare(model: Model) -> object:
        x, y = (model.parameter(name, *shape) for name, shape in shapes.items())
        a, b = layers.pad(x, (0, 2), name="a"), layers.pad(y, 1, "replicate", name="b")
        return sp.Add(*(sp.Sum(sp.sin(z[at] + at[1]) * (at[2] + 1), *at) for z, at in ((a, at(a)), (b, at(b)))))

    def at(z: Any) -> tuple[Any, ...]:
        return z.model.local_indices(*z.shape)

    def total(z: torch.Tensor) -> torch.Tensor:
        rows, weights = (torch.arange(z.shape[k]).reshape(-1, *[1] * (z.dim() - 1 - k)) for k in (1, 2))
        return (torch.sin(z + rows) * (weights + 1)).sum()

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return total(F.pad(t["x"], (0, 0, 0, 2))) + total(F.pad(t["y"], (1,) * 6, "replicate"))

    against_torch(declare, reference)


def test_pad_of_minus_infinity_before_a_maximum() -> None:
    """A value that is no finite number."""

    def declare(model: Model) -> object:
        padded = layers.pad(model.parameter("x", 2, 4, 3), 1, value=float("-inf"), name="a")
        return layers.max_pool1d(padded, 3, name="p", stride=1)

    against_torch(declare, lambda t: by_time(F.max_pool1d, t["x"], 3, 1, 1))
