"""Arguments that layers of other frameworks have, and operators that ONNX does not test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from imported import exported, interpreted
from onnx import TensorProto, helper, numpy_helper
from test_import_models import IMAGE, SEQUENCE, assert_imported, model
from test_import_refused import node, saved
from torch import nn

from derivgen.importing import from_torch, import_onnx

pytestmark = pytest.mark.filterwarnings("ignore")


class Squeezed(nn.Module):
    """A depthwise convolution, weighted by its channels, beside a shortcut with a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False)
        self.norm, self.shortcut = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1, stride=2)
        self.squeeze, self.excite = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.hardswish(self.norm(self.depthwise(x)))
        weights = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(h, 1)))))
        return (weights * h + self.shortcut(x)).mean((2, 3))


SQUEEZED = [
    'depthwise = layers.conv2d(x, 3, 3, stride=2, padding=1, groups=3, bias=False, name="depthwise")',
    'norm = layers.batch_norm(depthwise, name="norm")',
    'hard_swish = model.let("hard_swish", (n, c, i, j), activations.hard_swish(norm[n, c, i, j]))',
    'pool = layers.global_avg_pool(hard_swish, name="pool")',
    'squeeze = layers.dense(pool, 2, activations.relu, name="squeeze")',
    'excite = layers.dense(squeeze, 3, activations.hard_sigmoid, name="excite")',
]


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.dropout = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True), nn.Dropout(0.5)
        self.out = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.lstm(self.dropout(x))[1][0]
        return self.out(self.dropout(torch.cat([h[-2], h[-1]], 1)))


CLASSIFIER = [
    'dropout = layers.dropout(x, 0.5, name="dropout")',
    'lstm = layers.bidirectional(layers.lstm, dropout, 4, name="lstm")',
    'lstm_l1 = layers.bidirectional(layers.lstm, lstm, 4, name="lstm_l1")',
    'lstm_l1_last = model.let("lstm_l1_last", (n, i), lstm_l1[n, 3, i])',
    'lstm_l1_first = model.let("lstm_l1_first", (n, i), lstm_l1[n, 0, i + 4])',
    'joined = layers.concatenate([lstm_l1_last, lstm_l1_first], name="joined")',
    'dropout_2 = layers.dropout(joined, 0.5, name="dropout_2")',
]


@pytest.mark.parametrize(
    ("kind", "shape", "wanted"),
    [(Squeezed, IMAGE, SQUEEZED), (Classifier, SEQUENCE, CLASSIFIER)],
    ids=["a squeeze is made of dense layers", "last states are read where they are"],
)
def test_a_module_becomes_these_lines(
    kind: type[nn.Module], shape: tuple[int, ...], wanted: list[str], tmp_path: Path
) -> None:
    module, x = kind().eval(), torch.randn(shape)
    lines = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py")).splitlines()
    start = lines.index(wanted[0])
    assert lines[start : start + len(wanted)] == wanted


def enlarged(x: torch.Tensor, **m: nn.Module) -> torch.Tensor:
    return m["pool"](m["norm"](m["up"](F.mish(m["instance"](m["spread"](m["most"](m["conv"](x))))))))


VOLUMES = [
    'conv = layers.conv3d(x, 3, 3, padding=1, padding_mode="reflect", name="conv")',
    'most = layers.max_pool3d(conv, 2, ceil_mode=True, name="most")',
    'spread = layers.conv_transpose3d(most, 3, 2, stride=2, groups=3, name="spread")',
    'instance = layers.instance_norm(spread, name="instance")',
    'mish = model.let("mish", (n, c, d, i, j), activations.mish(instance[n, c, d, i, j]))',
    'up = layers.upsample(mish, (2, 1, 1), name="up")',
    'norm = layers.layer_norm(up, axis=(1, 2, 3, 4), name="norm")',
    'pool = layers.avg_pool3d(norm, 3, stride=2, padding=1, count_include_pad=False, name="pool")',
]


@pytest.mark.parametrize("dynamo", [False, True])
def test_volumes(dynamo: bool, tmp_path: Path) -> None:
    parts: dict[str, nn.Module] = {"conv": nn.Conv3d(2, 3, 3, padding=1, padding_mode="reflect")}
    parts |= {"most": nn.MaxPool3d(2, ceil_mode=True), "spread": nn.ConvTranspose3d(3, 3, 2, 2, groups=3)}
    parts |= {"instance": nn.InstanceNorm3d(3, affine=True), "up": nn.Upsample(scale_factor=(2.0, 1.0, 1.0))}
    parts |= {"norm": nn.LayerNorm((3, 8, 4, 4)), "pool": nn.AvgPool3d(3, 2, 1, count_include_pad=False)}
    module, x = model(enlarged, **parts).eval(), torch.randn(2, 2, 3, 3, 3)
    file = exported(module, x, tmp_path / "m.onnx", dynamo=dynamo)
    lines = assert_imported(module, x, import_onnx(file, tmp_path / "spec.py")).splitlines()
    assert [line for line in lines if line in VOLUMES] == VOLUMES


class Decoder(nn.Module):
    """A state that is learned, one of another layer, and a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(6, 4, batch_first=True), nn.LSTM(6, 4, batch_first=True, bidirectional=True)
        self.start = nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, h = self.encoder(x, self.start.expand(-1, x.shape[0], -1).contiguous())
        _, (last, cell) = self.decoder(x, (h.expand(2, -1, -1).contiguous(), torch.cat([h, h.tanh()])))
        return torch.cat([*last, *cell], -1)


def test_states(tmp_path: Path) -> None:
    module, x = Decoder().eval(), torch.randn(SEQUENCE)
    text = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert 'encoder = layers.gru(x, 4, initial=start, name="encoder")' in text
    assert "decoder, (decoder_forward_final, decoder_forward_cell_final), (" in text and "return_state=True" in text


def test_lengths_that_are_an_input(tmp_path: Path) -> None:
    module = nn.LSTM(6, 3, bidirectional=True)
    x, lengths = torch.randn(5, 4, 6), torch.tensor([5, 2, 1, 4])
    order = np.r_[0:3, 9:12, 3:6, 6:9]  # of PyTorch's gates, as ONNX has them
    names = dict(module.named_parameters())
    W, R, B1, B2 = (
        np.stack([names[f"{part}_l0{end}"].detach().numpy()[order] for end in ("", "_reverse")])
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    arrays = {"W": W, "R": R, "B": np.concatenate([B1, B2], 1)}
    nodes = [
        node("LSTM", ["x", "W", "R", "B", "lengths"], ["", "h", "c"], hidden_size=3, direction="bidirectional"),
        node("Concat", ["h", "c"], axis=0),
    ]
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, "N", 6]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"]),
    ]
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, "N", 3])]
    graph = helper.make_graph(nodes, "g", given, out, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "m.onnx")
    found = import_onnx(tmp_path / "m.onnx", tmp_path / "spec.py")
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected = torch.cat(module(packed)[1]).detach().numpy()
    assert interpreted(found, x=x.numpy(), lengths=lengths.numpy()) == pytest.approx(expected, abs=1e-6)
    assert 'lengths = model.labels("lengths", N, classes=6)' in found.spec.read_text()


X = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
PLAIN: dict[str, tuple[Any, np.ndarray]] = {
    "GlobalLpPool": (node("GlobalLpPool", ["x"], p=3), (np.abs(X) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)),
    "hard": (node("Shrink", ["x"], lambd=0.3), np.where(np.abs(X) > np.float32(0.3), X, 0)),
    "soft": (node("Shrink", ["x"], lambd=0.3, bias=0.3), np.sign(X) * np.maximum(np.abs(X) - 0.3, 0)),
    "between": (node("Shrink", ["x"], lambd=0.3, bias=0.1), np.where(np.abs(X) > 0.3, X - 0.1 * np.sign(X), 0)),
    "Trilu": (node("Trilu", ["x"]), np.triu(X)),
    "below": (node("Trilu", ["x"], upper=0), np.tril(X)),
    "odd": (
        node("LpPool", ["x"], p=1, kernel_shape=[2, 2], strides=[2, 2]),
        np.abs(X).reshape(2, 3, 2, 2, 2, 2).sum((3, 5)),
    ),
    "DCR": (
        node("SpaceToDepth", ["x"], blocksize=2),
        X.reshape(2, 3, 2, 2, 2, 2).transpose(0, 3, 5, 1, 2, 4).reshape(2, 12, 2, 2),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_operators_that_onnx_does_not_test(name: str, tmp_path: Path) -> None:
    made, expected = PLAIN[name]
    found = import_onnx(saved(tmp_path / "m.onnx", [made], shape=("N", 3, 4, 4)), tmp_path / "spec.py")
    assert interpreted(found, x=X) == pytest.approx(expected, abs=1e-6)


def test_one_hot(tmp_path: Path) -> None:
    module = model(lambda x, out: out(F.one_hot(x, 5).float()), out=nn.Linear(5, 2)).eval()
    x = torch.tensor([[0, 4, 2], [1, 1, 3]])
    text = assert_imported(module, x, import_onnx(exported(module, x, tmp_path / "m.onnx"), tmp_path / "spec.py"))
    assert 'one_hot = layers.one_hot(x, name="one_hot")' in text


def test_running_sums_and_places(tmp_path: Path) -> None:
    module = model(lambda x, out: out(x).cumsum(1) + x.argmax(-1, keepdim=True), out=nn.Linear(6, 3)).eval()
    x = torch.randn(SEQUENCE)
    text = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert "layers.cumsum(out, axis=1, name=" in text and "layers.argmax(x, name=" in text


def test_a_root_mean_square_is_a_norm(tmp_path: Path) -> None:
    module, x = nn.Sequential(nn.Linear(6, 4), nn.RMSNorm(4, eps=1e-6)).eval(), torch.randn(SEQUENCE)
    text = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert 'norm = layers.rms_norm(dense0, name="norm")' in text
