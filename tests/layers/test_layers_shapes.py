"""Every layer of the library, in both dtypes, at odd sizes and at sizes of 1: values and all gradients by PyTorch.

What each option does is in the other files of layers; this one leaves no layer and no dtype out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against_torch import against_torch
from sampled import some
from test_activations import ALONG_THE_LAST_AXIS, ELEMENTWISE
from test_activations_axes import ALONG
from test_layers_attention import angles, attention, multi_head
from test_layers_cumulative import RUNNING
from test_layers_recurrent import LAYERS as RECURRENT
from test_layers_recurrent import reference as recurrent
from test_layers_windows import by_time
from test_library_form import public
from test_losses import BOTH

from derivgen import activations, layers, losses
from derivgen.declare.model import Model

Tensors = dict[str, torch.Tensor]


def tensors(model: Model, shapes: dict[str, tuple[int, ...]]) -> list[Any]:
    return [model.parameter(name, *shape) for name, shape in shapes.items()]


def by_largest(W: torch.Tensor, t: dict[str, torch.Tensor]) -> torch.Tensor:
    """W / σ after a power iteration, by vectors that are constants."""
    matrix = W.flatten(0, -2).T
    with torch.no_grad():
        u = F.normalize(matrix @ t["y_v"].flatten(), dim=0)
        v = F.normalize(matrix.T @ u, dim=0)
    return W / (u @ matrix @ v)


def channels_second(function: Callable[..., torch.Tensor], x: torch.Tensor, *rest: Any) -> torch.Tensor:
    """A function of PyTorch's on (batch, channels, …), applied to (…, channels)."""
    return function(x.movedim(-1, 1), *rest).movedim(1, -1)


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Neighbours as complex numbers."""
    turn = torch.polar(torch.ones((), dtype=torch.float64), angles(x.shape[1], x.shape[-1]))
    turn = turn.reshape(x.shape[1], *[1] * (x.dim() - 3), -1)
    return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * turn).reshape(x.shape)


def sinusoidal(x: torch.Tensor) -> torch.Tensor:
    angle = angles(x.shape[1], x.shape[-1])
    return x + torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, : x.shape[-1]]


def both_ways(layer: str) -> Callable[[Tensors], torch.Tensor]:
    def reference(t: Tensors) -> torch.Tensor:
        units = t["r_forward_U"].shape[0]
        ways = ("forward", "backward")
        return torch.cat([recurrent(RECURRENT[layer], t, f"r_{way}", units, way == "backward") for way in ways], -1)

    return reference


def rotary_heads(t: Tensors, seen: torch.Tensor) -> torch.Tensor:
    """Heads that are turned, and see what a mask, lengths and the order of time leave."""
    parts = [torch.einsum("ntd,dhe->nthe", t["x"], t[f"y_{w}_W"]) + t[f"y_{w}_b"] for w in ("query", "key", "value")]
    heads = [part.transpose(1, 2) for part in (rotated(parts[0]), rotated(parts[1]), parts[2])]
    mixed = attention(*heads, seen[:, None]).transpose(1, 2)
    return torch.einsum("nthe,hed->ntd", mixed, t["y_out_W"]) + t["y_out_b"]


def block(t: Tensors) -> torch.Tensor:
    features = t["x"].shape[-1]
    normed = F.layer_norm(t["x"], (features,), t["y_norm1_gain"], t["y_norm1_shift"])
    x = t["x"] + multi_head(t, normed, normed, "y_attention", 3)
    normed = F.layer_norm(x, (features,), t["y_norm2_gain"], t["y_norm2_shift"])
    return x + F.gelu(normed @ t["y_dense1_W"] + t["y_dense1_b"]) @ t["y_dense2_W"] + t["y_dense2_b"]


def gated(t: Tensors) -> torch.Tensor:
    def causal(word: str) -> torch.Tensor:
        W = t[f"y_{word}_W"]
        return by_time(F.conv1d, F.pad(t["x"], (0, 0, 2 * (W.shape[-1] - 1), 0)), W, t[f"y_{word}_b"], 1, 0, 2)

    gate = torch.tanh(causal("filter")) * torch.sigmoid(causal("switch"))
    residual = t["x"] + gate @ t["y_out_W"] + t["y_out_b"]
    return torch.cat([residual, gate @ t["y_skip_W"] + t["y_skip_b"]], -1)


SEEN = {"mask": np.array([[1, 0, 1], [1, 1, 1.0]]), "lengths": np.array([3, 2])}


def seen(t: Tensors) -> torch.Tensor:
    visible = (t["mask"] > 0) & (torch.arange(3) < t["lengths"][:, None])
    return visible[:, None, :].expand(2, 3, 3).tril()


def seen_by(m: Model) -> dict[str, Any]:
    return {"causal": True, "mask": m.input("mask", 2, 3), "lengths": m.labels("lengths", 2, classes=4)}


# layer: (a tensor's shape, what is declared of it, PyTorch's of the same, values)
CASES: list[tuple[str, tuple[int, ...], Any, Callable[[Tensors], torch.Tensor], dict[str, np.ndarray]]] = [
    *(
        ("dense", shape, lambda x, m: layers.dense(x, 3, name="d", bias=False), lambda t: t["x"] @ t["d_W"], {})
        for shape in [(1,), (1, 1), (7, 5), (1, 2, 3, 1)]
    ),
    *(
        (name, shape, lambda x, m, name=name: getattr(layers, name)(x, name="y"), lambda t, f=f: f(t["x"], -1), {})
        for name, (f, _) in RUNNING.items()
        for shape in [(1,), (3, 1, 5)]
    ),
    *(
        (
            name,
            shape,
            lambda x, m, name=name: getattr(layers, name)(x, name="y"),
            lambda t, f=f: f(t["x"], -1) + 0 * t["x"].sum(),
            {},
        )
        for name, f in (("argmax", torch.argmax), ("argmin", torch.argmin))
        for shape in [(2, 1), (3, 1, 5)]
    ),
    (
        "one_hot",
        (),
        lambda x, m: layers.dense(layers.one_hot(m.labels("ids", 2, 3, classes=4), name="y"), 2, name="d", bias=False),
        lambda t: F.one_hot(t["ids"], 4).double() @ t["d_W"],
        {"ids": np.array([[0, 3, 1], [2, 2, 3]])},
    ),
    *(
        (
            "embedding",
            (),
            lambda x, m, shape=ids.shape: layers.embedding(m.labels("ids", *shape, classes=3), 5, name="e"),
            lambda t: F.embedding(t["ids"], t["e_W"]),
            {"ids": ids},
        )
        for ids in (np.array([2]), np.array([[0, 2, 2], [1, 1, 0]]), np.zeros((1, 1, 2), int))
    ),
    *(
        (
            "conv1d",
            shape,
            lambda x, m: layers.conv1d(x, 3, 2, name="c", padding="causal", dilation=3, groups=3),
            lambda t: by_time(F.conv1d, F.pad(t["x"], (0, 0, 3, 0)), t["c_W"], t["c_b"], 1, 0, 3, 3),
            {},
        )
        for shape in [(1, 1, 3), (3, 7, 3)]
    ),
    *(
        (
            "conv2d",
            shape,
            lambda x, m: layers.conv2d(x, 2, (1, 3), name="c", stride=(2, 3), padding=(0, 2), dilation=(1, 2)),
            lambda t: F.conv2d(t["x"], t["c_W"], t["c_b"], (2, 3), (0, 2), (1, 2)),
            {},
        )
        for shape in [(1, 1, 1, 1), (1, 3, 7, 5)]
    ),
    *(
        (
            "conv_transpose1d",
            shape,
            lambda x, m: layers.conv_transpose1d(x, 3, 3, name="c", stride=4, padding=1, output_padding=2),
            lambda t: by_time(F.conv_transpose1d, t["x"], t["c_W"], t["c_b"], 4, 1, 2),
            {},
        )
        for shape in [(1, 1, 1), (3, 5, 2)]
    ),
    *(
        (
            "conv_transpose2d",
            shape,
            lambda x, m: layers.conv_transpose2d(x, 1, (3, 2), name="c", stride=(2, 1), padding=(1, 0)),
            lambda t: F.conv_transpose2d(t["x"], t["c_W"], t["c_b"], (2, 1), (1, 0)),
            {},
        )
        for shape in [(1, 1, 1, 1), (1, 2, 3, 5)]
    ),
    *(
        (
            "conv3d",
            shape,
            lambda x, m: layers.conv3d(x, 2, (1, 3, 2), name="c", stride=(2, 3, 1), padding=(0, 1, 1)),
            lambda t: F.conv3d(t["x"], t["c_W"], t["c_b"], (2, 3, 1), (0, 1, 1)),
            {},
        )
        for shape in [(1, 1, 1, 1, 1), (1, 3, 2, 5, 3)]
    ),
    *(
        (
            "conv_transpose3d",
            shape,
            lambda x, m: layers.conv_transpose3d(x, 1, (3, 2, 1), name="c", stride=(2, 1, 3), padding=(1, 0, 0)),
            lambda t: F.conv_transpose3d(t["x"], t["c_W"], t["c_b"], (2, 1, 3), (1, 0, 0)),
            {},
        )
        for shape in [(1, 1, 1, 1, 1), (1, 2, 3, 1, 2)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, 3, name="p", stride=2, padding=1), lambda t, g=g: by_time(g, t["x"]), {})
        for name, f, g in (
            ("max_pool1d", layers.max_pool1d, lambda x: F.max_pool1d(x, 3, 2, 1)),
            ("avg_pool1d", layers.avg_pool1d, lambda x: F.avg_pool1d(x, 3, 2, 1)),
        )
        for shape in [(1, 1, 1), (2, 7, 3)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, 3, name="p", padding="same"), lambda t, g=g: g(t["x"], 3, None, 1), {})
        for name, f, g in (
            ("max_pool2d", layers.max_pool2d, F.max_pool2d),
            ("avg_pool2d", layers.avg_pool2d, F.avg_pool2d),
        )
        for shape in [(1, 1, 1, 1), (1, 2, 7, 4)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, 3, name="p", padding="same"), lambda t, g=g: g(t["x"], 3, None, 1), {})
        for name, f, g in (
            ("max_pool3d", layers.max_pool3d, F.max_pool3d),
            ("avg_pool3d", layers.avg_pool3d, F.avg_pool3d),
        )
        for shape in [(1, 1, 3, 3, 3), (1, 2, 5, 3, 4)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, (1, 2), name="p"), lambda t, g=g: g(t["x"], (1, 2)), {})
        for name, f, g in (
            ("adaptive_avg_pool2d", layers.adaptive_avg_pool2d, F.adaptive_avg_pool2d),
            ("adaptive_max_pool2d", layers.adaptive_max_pool2d, F.adaptive_max_pool2d),
        )
        for shape in [(1, 1, 1, 2), (1, 2, 3, 4)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, 3, name="p"), lambda t, g=g: by_time(g, t["x"], 3), {})
        for name, f, g, shape in (
            ("adaptive_avg_pool1d", layers.adaptive_avg_pool1d, F.adaptive_avg_pool1d, (1, 3, 1)),
            ("adaptive_max_pool1d", layers.adaptive_max_pool1d, F.adaptive_max_pool1d, (2, 9, 2)),
        )
    ),
    *(
        (name, (1, 2, 3, 1, 4), lambda x, m, f=f: f(x, 1, name="p"), lambda t, g=g: g(t["x"], 1), {})
        for name, f, g in (
            ("adaptive_avg_pool3d", layers.adaptive_avg_pool3d, F.adaptive_avg_pool3d),
            ("adaptive_max_pool3d", layers.adaptive_max_pool3d, F.adaptive_max_pool3d),
        )
    ),
    *(
        ("lp_pool1d", shape, lambda x, m: layers.lp_pool1d(x, 4, 1, name="p"), lambda t: t["x"].abs(), {})
        for shape in [(1, 1, 1), (2, 7, 3)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, 2, 2, name="p", stride=1), lambda t, g=g: g(t["x"], 2, 2, 1), {})
        for name, f, g, shape in (
            ("lp_pool2d", layers.lp_pool2d, F.lp_pool2d, (1, 2, 7, 2)),
            ("lp_pool3d", layers.lp_pool3d, F.lp_pool3d, (1, 1, 2, 3, 2)),
        )
    ),
    *(
        (
            "global_lp_pool",
            shape,
            lambda x, m: layers.global_lp_pool(x, name="p"),
            lambda t: torch.linalg.vector_norm(t["x"], dim=dims(t["x"])),
            {},
        )
        for shape in [(1, 1, 1), (2, 7, 3), (3, 1, 1, 5)]
    ),
    *(
        (
            "local_response_norm",
            shape,
            lambda x, m: layers.local_response_norm(x, 3, 0.5, name="y"),
            lambda t: F.local_response_norm(t["x"], 3, 0.5),
            {},
        )
        for shape in [(1, 1, 1, 1), (2, 5, 1, 3)]
    ),
    *(
        (
            "pad",
            shape,
            lambda x, m: layers.pad(x, ((0, 2), 1), "circular", name="p"),
            lambda t: F.pad(t["x"], (1, 1, 0, 2), "circular"),
            {},
        )
        for shape in [(1, 1, 2, 1), (2, 3, 5, 7)]
    ),
    *(
        (
            "upsample",
            shape,
            lambda x, m: layers.upsample(x, (3, 1), name="u"),
            lambda t: F.interpolate(t["x"], scale_factor=(3, 1)),
            {},
        )
        for shape in [(1, 1, 1, 1), (1, 3, 2, 5)]
    ),
    (
        "pixel_shuffle",
        (1, 9, 1, 5),
        lambda x, m: layers.pixel_shuffle(x, 3, name="p"),
        lambda t: F.pixel_shuffle(t["x"], 3),
        {},
    ),
    (
        "pixel_unshuffle",
        (1, 1, 3, 9),
        lambda x, m: layers.pixel_unshuffle(x, 3, name="p"),
        lambda t: F.pixel_unshuffle(t["x"], 3),
        {},
    ),
    *(
        (
            "unfold",
            shape,
            lambda x, m: layers.unfold(x, (1, 3), name="u", padding=(0, 1)),
            lambda t: F.unfold(t["x"], (1, 3), 1, (0, 1)).mT,
            {},
        )
        for shape in [(1, 1, 1, 1), (1, 3, 2, 5)]
    ),
    *(
        (
            "fold",
            shape,
            lambda x, m: layers.fold(x, (2, 3), (1, 3), name="f", padding=(0, 1)),
            lambda t: F.fold(t["x"].mT, (2, 3), (1, 3), 1, (0, 1)),
            {},
        )
        for shape in [(1, 6, 3), (2, 6, 9)]
    ),
    *(
        (name, shape, lambda x, m, f=f: f(x, name="p"), lambda t, g=g: g(t["x"], dims(t["x"])), {})
        for name, f, g in (
            ("global_max_pool", layers.global_max_pool, torch.amax),
            ("global_avg_pool", layers.global_avg_pool, torch.mean),
        )
        for shape in [(1, 1, 1), (2, 7, 3), (3, 1, 1, 5), (2, 1, 3, 1, 2)]
    ),
    *(
        (
            "layer_norm",
            shape,
            lambda x, m: layers.layer_norm(x, name="y"),
            lambda t: F.layer_norm(t["x"], t["x"].shape[-1:], t["y_gain"], t["y_shift"]),
            {},
        )
        for shape in [(1, 7), (2, 1, 2, 3)]  # of two elements all values are ±1, and the gradient cancels
    ),
    *(
        (
            "rms_norm",
            shape,
            lambda x, m: layers.rms_norm(x, name="y"),
            lambda t: F.rms_norm(t["x"], t["x"].shape[-1:], t["y_gain"], 1e-6),
            {},
        )
        for shape in [(1, 7), (2, 1, 3, 2)]
    ),
    *(
        (
            "group_norm",
            shape,
            lambda x, m: layers.group_norm(x, 3, name="y"),
            lambda t: channels_second(F.group_norm, t["x"], 3, t["y_gain"], t["y_shift"]),
            {},
        )
        for shape in [(1, 9), (2, 5, 3)]
    ),
    *(
        (
            "batch_norm",
            shape,
            lambda x, m: layers.batch_norm(x, name="y"),
            lambda t: channels_second(F.batch_norm, t["x"], None, None, t["y_gain"], t["y_shift"], True),
            {},
        )
        for shape in [(3, 1), (1, 5, 3)]
    ),
    *(
        (
            "instance_norm",
            shape,
            lambda x, m: layers.instance_norm(x, name="y"),
            lambda t: channels_second(F.instance_norm, t["x"], None, None, t["y_gain"], t["y_shift"]),
            {},
        )
        for shape in [(1, 5, 3), (2, 7, 1)]
    ),
    *(
        (
            "weight_norm",
            shape,
            lambda x, m: layers.weight_norm(x, name="y"),
            lambda t: t["y_gain"] * t["x"] / torch.linalg.vector_norm(t["x"].flatten(0, -2), dim=0),
            {},
        )
        for shape in [(7, 1), (2, 1, 3)]
    ),
    *(
        ("spectral_norm", shape, lambda x, m: layers.spectral_norm(x, name="y"), lambda t: by_largest(t["x"], t), {})
        for shape in [(5, 2), (2, 1, 3)]
    ),
    *(
        (
            "dropout",
            shape,
            lambda x, m: layers.dropout(x, 0.5, name="d"),
            lambda t: t["x"] * (t["d_random"] >= 0.5) / 0.5,
            {},
        )
        for shape in [(17,), (3, 1, 5)]
    ),
    *(
        (
            layer,
            shape,
            lambda x, m, layer=layer, units=units: getattr(layers, layer)(x, units, name="r", reverse=units == 1),
            lambda t, layer=layer, units=units: recurrent(RECURRENT[layer], t, "r", units, units == 1),
            {},
        )
        for layer in RECURRENT
        for shape, units in (((1, 1, 1), 3), ((3, 5, 2), 1))
    ),
    *(
        (
            "bidirectional",
            shape,
            lambda x, m, layer=layer: layers.bidirectional(getattr(layers, layer), x, 2, name="r"),
            both_ways(layer),
            {},
        )
        for layer, shape in zip(RECURRENT, [(1, 1, 3), (2, 3, 1), (1, 5, 2)], strict=True)
    ),
    *(
        ("flatten", shape, lambda x, m: layers.flatten(x, name="f"), lambda t: t["x"].flatten(1), {})
        for shape in [(3, 1), (1, 3, 1, 5)]
    ),
    *(
        ("reshape", shape, lambda x, m: layers.reshape(x, (3, 5), name="s"), lambda t: t["x"].reshape(-1, 3, 5), {})
        for shape in [(1, 15), (2, 5, 3), (2, 3, 1, 5)]
    ),
    (
        "concatenate",
        (1, 1, 3),
        lambda x, m: layers.concatenate([x, *tensors(m, {"y": (1, 5, 3), "z": (1, 2, 3)})], 1, name="c"),
        lambda t: torch.cat([t["x"], t["y"], t["z"]], 1),
        {},
    ),
    (
        "add",
        (3, 1, 5),
        lambda x, m: layers.add(x, *tensors(m, {"y": (3, 1, 5), "z": (3, 1, 5)}), name="a"),
        lambda t: t["x"] + t["y"] + t["z"],
        {},
    ),
    *(
        (
            "scaled_dot_product_attention",
            (2, 3, *heads, 5),
            lambda x, m, heads=heads: layers.scaled_dot_product_attention(
                x, *tensors(m, {"k": (2, 3, *heads, 5), "v": (2, 3, *heads, 1)}), name="y", **seen_by(m)
            ),
            lambda t: attention(
                *(t[name].movedim(1, -2) for name in "xkv"), seen(t).reshape(2, *[1] * (t["x"].dim() - 3), 3, 3)
            ).movedim(-2, 1),
            SEEN,
        )
        for heads in [(), (3,), (1, 2)]
    ),
    (
        "multi_head_attention",
        (2, 3, 6),
        lambda x, m: layers.multi_head_attention(x, 3, name="y", rotary=True, **seen_by(m)),
        lambda t: rotary_heads(t, seen(t)),
        SEEN,
    ),
    (
        "multi_head_attention",
        (1, 5, 7),
        lambda x, m: layers.multi_head_attention(x, 7, name="y", memory=m.parameter("memory", 1, 1, 2)),
        lambda t: multi_head(t, t["x"], t["memory"], "y", 7),
        {},
    ),
    *(
        (
            "sinusoidal_positions",
            shape,
            lambda x, m: layers.sinusoidal_positions(x, name="y"),
            lambda t: sinusoidal(t["x"]),
            {},
        )
        for shape in [(1, 1, 1), (2, 7, 5)]
    ),
    *(
        ("rotary_positions", shape, lambda x, m: layers.rotary_positions(x, name="y"), lambda t: rotated(t["x"]), {})
        for shape in [(1, 1, 2), (2, 7, 6), (1, 3, 5, 2)]
    ),
    (
        "transformer_block",
        (1, 5, 3),
        lambda x, m: layers.transformer_block(x, 3, 7, activations.gelu, name="y"),
        block,
        {},
    ),
    (
        "wavenet_block",
        (1, 5, 3),
        lambda x, m: layers.concatenate(layers.wavenet_block(x, 1, 3, name="y", dilation=2), name="both"),
        gated,
        {},
    ),
]


def dims(x: torch.Tensor) -> tuple[int, ...]:
    """The axes of places."""
    return (1,) if x.dim() == 3 else tuple(range(2, x.dim()))


IN_BOTH = [*((case, "float64") for case in CASES), *((case, "float32") for case in some(CASES))]


@pytest.mark.parametrize(
    ("case", "dtype"), IN_BOTH, ids=lambda part: part if isinstance(part, str) else f"{part[0]} {part[1]}"
)
def test_as_torch(case: Any, dtype: str) -> None:
    _, shape, declare, reference, values = case
    given = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in values.items()}
    against_torch(lambda m: declare(m.parameter("x", *shape) if shape else None, m), reference, given, dtype)


def test_no_layer_is_left_out() -> None:
    assert set(layers.__all__) - {name for name, *_ in CASES} == set()


def test_no_activation_is_left_out() -> None:
    """Those of tables, and two which have tests of their own."""
    tested = {case.split(",")[0] for case in (*ELEMENTWISE, *ALONG_THE_LAST_AXIS, *ALONG)}
    assert set(public(activations)) - tested == {"prelu", "rrelu"}


def test_no_loss_is_left_out() -> None:
    """Those of the table, and those which have tests of their own."""
    tested = {case.split(",")[0] for case in BOTH}
    left = {name for name in public(losses) if not name.startswith(tuple(tested))}
    files = Path(__file__).parent.glob("test_losses*.py")
    called = {name for file in files for name in re.findall(r"losses\.(\w+)", file.read_text(encoding="utf-8"))}
    assert left - called == set()
