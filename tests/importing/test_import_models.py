"""Models of PyTorch as specs: their predictions are PyTorch's, by both exporters and by from_torch."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from imported import assert_same, exported, imported_again, interpreted
from torch import nn

from derivgen.errors import DerivgenError
from derivgen.importing import from_torch, import_onnx

pytestmark = pytest.mark.filterwarnings("ignore")


def model(forward: Callable[..., torch.Tensor], **modules: nn.Module) -> nn.Module:
    """A module whose forward pass is a function of the input and of named modules."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, module in modules.items():
                self.add_module(name, module)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(x, **{name: getattr(self, name) for name in modules})

    return Made()


class Attention(nn.Module):
    """A causal self-attention of one block, with its mask as a buffer."""

    def __init__(self, steps: int = 4, classes: int = 7, features: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.embed, self.place = nn.Embedding(classes, features), nn.Parameter(torch.randn(steps, features))
        self.qkv, self.out = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.norm, self.head = nn.LayerNorm(features), nn.Linear(features, classes, bias=False)
        self.register_buffer("seen", torch.tril(torch.ones(steps, steps)).bool())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, steps = x.shape
        h = self.embed(x) + self.place[:steps]
        q, k, v = (z.view(rows, steps, self.heads, -1).transpose(1, 2) for z in self.qkv(self.norm(h)).chunk(3, dim=-1))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~self.seen[:steps, :steps], float("-inf")).softmax(-1)
        return self.head(h + self.out((weights @ v).transpose(1, 2).reshape(rows, steps, -1)))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.norm2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def root_mean_square(x: torch.Tensor, dense: nn.Module) -> torch.Tensor:
    return dense(x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def causal(x: torch.Tensor, conv: nn.Module, dense: nn.Module) -> torch.Tensor:
    return dense(F.relu(conv(F.pad(x.transpose(1, 2), (4, 0)))).transpose(1, 2))


def attended(x: torch.Tensor, q: nn.Module) -> torch.Tensor:
    heads = q(x).view(x.shape[0], -1, 2, 3).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads, is_causal=True).transpose(1, 2).flatten(2)


def branches(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x.clamp(max=1.5), -(x.abs() + 0.1).sqrt()) + torch.maximum(x, 0.3 * x)


def unet(x: torch.Tensor, **m: nn.Module) -> torch.Tensor:
    wide = m["down"](x)
    return m["end"](torch.cat([wide, m["up"](m["middle"](F.max_pool2d(wide, 2)))], 1))


FLAT, SEQUENCE, IMAGE, IDS = (2, 6), (2, 4, 6), (2, 3, 4, 4), (2, 4)
gru, lstm = nn.GRU(6, 4, batch_first=True, bidirectional=True), nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
block = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, norm_first=True, activation="gelu", dropout=0.0)
encoder = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "activations": (
        nn.Sequential(
            *(
                layer
                for f in (nn.LeakyReLU(0.2), nn.ELU(), nn.SELU(), nn.Softplus(), nn.Softsign(), nn.Hardsigmoid())
                for layer in (nn.Linear(6, 6), f)
            ),
            *(
                layer
                for f in (nn.Hardswish(), nn.SiLU(), nn.Mish(), nn.Hardtanh(), nn.ReLU6(), nn.GELU("tanh"))
                for layer in (nn.Linear(6, 6), f)
            ),
            *(nn.CELU(0.5), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 8), nn.GLU(), nn.LogSoftmax(-1)),
        ),
        FLAT,
    ),
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1, groups=1, bias=False),
            nn.PReLU(4),
            nn.Conv2d(4, 4, 1, groups=4),
            nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
            nn.Tanh(),
            nn.Conv2d(3, 2, (1, 2), dilation=(1, 2)),
            nn.AvgPool2d(2, padding=1),
            nn.Flatten(),
        ),
        IMAGE,
    ),
    "norms": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.InstanceNorm2d(4, affine=True)),
        IMAGE,
    ),
    "residual": (model(lambda x, a, b: b(a(x)).mean((2, 3)), a=Residual(), b=Residual()), IMAGE),
    "time_convolution": (
        nn.Sequential(
            nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 2)
        ),
        SEQUENCE,
    ),
    "causal": (model(causal, conv=nn.Conv1d(6, 4, 3, dilation=2), dense=nn.Linear(4, 2)), SEQUENCE),
    "layer_norms": (
        nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5, elementwise_affine=False), nn.LayerNorm(5, eps=1e-6)),
        SEQUENCE,
    ),
    "root_mean_square": (model(root_mean_square, dense=nn.Linear(6, 2)), SEQUENCE),
    "two_lstms": (model(lambda x, lstm: lstm(x)[0][:, -1], lstm=lstm), SEQUENCE),
    "last_states": (model(lambda x, gru: torch.cat([*gru(x)[1]], -1), gru=gru), SEQUENCE),
    "rnn": (model(lambda x, rnn: rnn(x)[0], rnn=nn.RNN(6, 4, nonlinearity="relu", batch_first=True)), SEQUENCE),
    "attention": (Attention(), IDS),
    "fused_attention": (model(attended, q=nn.Linear(6, 6)), SEQUENCE),
    "encoder": (encoder, SEQUENCE),
    "unet": (
        model(
            unet,
            down=nn.Conv2d(3, 2, 3, padding=1),
            middle=nn.Conv2d(2, 2, 1),
            up=nn.ConvTranspose2d(2, 2, 2, stride=2),
            end=nn.Conv2d(4, 1, 1),
        ),
        IMAGE,
    ),
    "pixels": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), IMAGE),
    "branches": (model(branches), FLAT),
    "einsum": (model(lambda x, k: torch.einsum("ntd,nud->ntu", k(x), x), k=nn.Linear(6, 6)), SEQUENCE),
    "standardized": (model(lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)), SEQUENCE),
}


def case(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A module with weights that are all different, and an input."""
    module, shape = MODELS[name]
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    for buffer in (b for b in module.buffers() if b.is_floating_point()):
        buffer += 0.1 * torch.rand(buffer.shape)
    return module.eval(), torch.randint(0, 7, shape) if shape == IDS else torch.randn(shape)


def assert_imported(module: nn.Module, x: torch.Tensor, found: Any) -> str:
    text = found.spec.read_text()
    name = text.split(" = model.batch")[1].split("\n")[1:]
    given = next(line for line in name if "= model.input" in line or "= model.labels" in line).split(" = ")[0]
    expected = module(x).detach().numpy()
    assert_same(interpreted(found, **{given: x.numpy()}).astype(expected.dtype), expected)
    return text


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_pytorch(name: str, tmp_path: Path) -> None:
    module, x = case(name)
    assert_imported(module, x, import_onnx(exported(module, x, tmp_path / "m.onnx"), tmp_path / "spec.py"))


@pytest.mark.parametrize("name", ["residual", "attention", "fused_attention"])
def test_the_newer_exporter_gives_the_same(name: str, tmp_path: Path) -> None:
    module, x = case(name)
    file = exported(module, x, tmp_path / "m.onnx", dynamo=True)
    assert_imported(module, x, import_onnx(file, tmp_path / "spec.py"))


@pytest.mark.parametrize("name", ["activations", "last_states", "attention", "time_convolution"])
def test_a_module_is_imported_without_a_file(name: str, tmp_path: Path) -> None:
    module, x = case(name)
    assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert not module.training


def test_dropout_and_batch_norm_stay_what_they_are(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 2)).eval()
    x = torch.randn(2, 6)
    text = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert 'layers.batch_norm(dense0, name="norm1")' in text
    assert 'layers.dropout(relu2, 0.3, name="dropout3")' in text


@pytest.mark.parametrize("name", ["attention", "convolutions", "branches", "two_lstms"])
def test_specs_are_formatted_as_by_ruff(name: str, tmp_path: Path) -> None:
    module, x = case(name)
    found = import_onnx(exported(module, x, tmp_path / "m.onnx"), tmp_path / "spec.py")
    for command in (["format", "--check"], ["check", "--select", "E,F,I"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", str(found.spec)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Crossed(nn.Module):
    """Attention to another sequence, with numbers and a vector along time that are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, kdim=3, vdim=3)
        self.scale, self.along = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.randn(6, 1))
        self.dense = nn.Linear(6, 6, bias=False)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        mixed = self.attention(query, memory, memory, need_weights=False)[0]
        return self.dense(self.scale * mixed) + self.along


def test_two_inputs(tmp_path: Path) -> None:
    module, inputs = Crossed().eval(), (torch.randn(2, 6, 6), torch.randn(2, 4, 3))
    found = from_torch(module, inputs, tmp_path / "spec.py")
    text, expected = found.spec.read_text(), module(*inputs).detach().numpy()
    named = dict(zip(("query", "memory"), (x.numpy() for x in inputs), strict=True))
    assert_same(interpreted(found, **named).astype(np.float32), expected)
    assert 'scale = model.parameter("scale", init="ones")' in text
    assert "dense[n, t, k] + along[t]" in text  # as long as the features, and no bias


def test_names_of_a_layers_own_tensors_are_free(tmp_path: Path) -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.norm_mean = nn.BatchNorm1d(6), nn.Linear(6, 6)
            self.y = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.y(self.norm(self.norm_mean(x)))

    module, x = Norm().eval(), torch.randn(2, 6)
    text = assert_imported(module, x, from_torch(module, x, tmp_path / "spec.py"))
    assert 'name="norm_mean")' in text and 'name="norm_2")' in text and 'model.input("y_2", N, 2)' in text


def test_axes_of_one_element_are_no_obstacle(tmp_path: Path) -> None:
    module, x = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid(), nn.Linear(1, 1), nn.Tanh()).eval(), torch.randn(2, 4, 6)
    found = import_onnx(exported(module, x, tmp_path / "m.onnx"), tmp_path / "spec.py")
    text = assert_imported(module, x, found)
    assert 'dense0 = layers.dense(x, 1, activations.sigmoid, name="dense0")' in text
    assert 'dense2 = layers.dense(dense0, 1, activations.tanh, name="dense2")' in text


def test_what_pytorch_does_not_export_is_an_error_in_words(tmp_path: Path) -> None:
    broken = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))
    with pytest.raises(DerivgenError, match="PyTorch does not export the module: "):
        from_torch(broken, torch.randn(2, 3), tmp_path / "spec.py")
    assert broken.training and not list(tmp_path.iterdir())


def test_time_may_be_known_at_run_time(tmp_path: Path) -> None:
    module = model(
        lambda x, lstm, out: out(lstm(x)[0]).softmax(-1), lstm=nn.LSTM(6, 4, batch_first=True), out=nn.Linear(4, 3)
    )
    axes = {"x": {0: "rows", 1: "steps"}}
    file = exported(module.eval(), torch.randn(2, 4, 6), tmp_path / "m.onnx", dynamic_axes=axes)
    found = import_onnx(file, tmp_path / "spec.py")
    assert 'N, T = model.batch("N"), model.batch("T")' in found.spec.read_text()
    assert_imported(module, torch.randn(3, 7, 6), found)


def test_attention_over_a_time_known_at_run_time(tmp_path: Path) -> None:
    module = model(lambda x, q: (q(x) @ x.transpose(1, 2) / 2).softmax(-1) @ x, q=nn.Linear(6, 6))
    axes = {"x": {0: "rows", 1: "steps"}}
    file = exported(module, torch.randn(2, 4, 6), tmp_path / "m.onnx", dynamic_axes=axes)
    assert_imported(module, torch.randn(3, 5, 6), import_onnx(file, tmp_path / "spec.py"))


def test_a_batch_that_the_file_has_as_a_number_is_a_run_time_size(tmp_path: Path) -> None:
    module, x = case("encoder")
    found = import_onnx(exported(module, x, tmp_path / "m.onnx", dynamic_axes={}), tmp_path / "spec.py")
    assert 'N = model.batch("N")' in found.spec.read_text()
    assert_imported(module, torch.randn(5, 4, 6), found)


def test_double_precision_stays(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double().eval()
    x = torch.randn(2, 6, dtype=torch.float64)
    text = assert_imported(module, x, import_onnx(exported(module, x, tmp_path / "m.onnx"), tmp_path / "spec.py"))
    assert 'Model("spec", dtype="float64")' in text


def test_frozen_tables_are_not_trained(tmp_path: Path) -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(6, 3)
            self.register_buffer("waves", torch.sin(torch.arange(24.0)).reshape(4, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dense(x + self.waves)

    module, x = Waves(), torch.randn(2, 4, 6)
    module.dense.requires_grad_(False)
    found = from_torch(module, x, tmp_path / "spec.py")
    text = assert_imported(module, x, found)
    assert "dense.weight is frozen in PyTorch, and trained here: see model.update(groups=…)." in found.notes
    assert 'waves = model.running("waves", 4, 6, next=lambda i, j: waves[i, j])  # it is not trained' in text


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    module, x = case("encoder")
    file = exported(module, x, tmp_path / "m.onnx")
    first, second = (imported_again(file, tmp_path / f"{k}" / "spec.py") for k in "ab")
    assert first == second
