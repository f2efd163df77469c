"""What imported specs look like: as a person writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import succeed
from imported import exported
from test_import_training import MODELS, case
from torch import nn

from derivgen.importing import from_torch, import_onnx
from derivgen.importing.elements import number_text
from derivgen.importing.names import identifier, layer_name, layer_of

pytestmark = pytest.mark.filterwarnings("ignore")

CONVOLUTIONAL = '''"""The model of m.onnx, written by derivgen import.

Its weights are in network.safetensors.
"""

from derivgen import Model, activations, layers, losses

model = Model("network")
N = model.batch("N")
x = model.input("x", N, 1, 4, 4)
conv = layers.conv2d(x, 3, 3, activations.relu, padding=1, name="conv")
pool = layers.max_pool2d(conv, 2, name="pool")
pool_flat = layers.flatten(pool, name="pool_flat")
logits = layers.dense(pool_flat, 3, name="logits")
y = model.labels("y", N, classes=3)
model.minimize(losses.softmax_cross_entropy(logits, y))
model.predict(logits)
'''

RECURRENT = '''"""The model of m.onnx, written by derivgen import.

Its weights are in network.safetensors.
"""

from derivgen import Model, layers, losses

model = Model("network")
N = model.batch("N")
n, j = model.indices(n=N, j=3)
x = model.labels("x", N, 5, classes=7)
embed = layers.embedding(x, 4, name="embed")
lstm = layers.lstm(embed, 3, name="lstm")
lstm_last = model.let("lstm_last", (n, j), lstm[n, 4, j])
head = layers.dense(lstm_last, 3, name="head")
y = model.labels("y", N, classes=3)
model.minimize(losses.softmax_cross_entropy(head, y))
model.predict(head)
'''

ATTENTION = '''"""The model of m.onnx, written by derivgen import.

Its weights are in network.safetensors.
"""

from sympy import Sum

from derivgen import Model, activations, layers, losses

model = Model("network")
N = model.batch("N")
n, d, t = model.indices(n=N, d=4, t=3)
x = model.input("x", N, 3, 3)
embed = layers.dense(x, 4, name="embed")
block_self_attn = layers.multi_head_attention(embed, 2, name="block_self_attn")
block_added = layers.add(embed, block_self_attn, name="block_added")
block_norm1 = layers.layer_norm(block_added, name="block_norm1")
block_linear1 = layers.dense(block_norm1, 6, activations.relu, name="block_linear1")
block_linear2 = layers.dense(block_linear1, 4, name="block_linear2")
block_added_2 = layers.add(block_norm1, block_linear2, name="block_added_2")
block_norm2 = layers.layer_norm(block_added_2, name="block_norm2")
mean = model.let("mean", (n, d), Sum(block_norm2[n, t, d], t) / 3)
head = layers.dense(mean, 3, name="head")
y = model.labels("y", N, classes=3)
model.minimize(losses.softmax_cross_entropy(head, y))
model.predict(head)
'''


@pytest.mark.parametrize("name, text", list(zip(MODELS, (CONVOLUTIONAL, RECURRENT, ATTENTION), strict=True)))
def test_the_whole_text(name: str, text: str, tmp_path: Path) -> None:
    module, x, _ = case(name, "float32")
    file = exported(module, x, tmp_path / "m.onnx")
    output = succeed("import", file, "--loss", "softmax_cross_entropy", "-o", tmp_path / "network.py")
    assert (tmp_path / "network.py").read_text() == text
    assert output.startswith(f"wrote {tmp_path / 'network.py'} and {tmp_path / 'network.safetensors'}, ")
    assert output.endswith(f" numbers. Next:\n    derivgen generate {tmp_path / 'network.py'}\n")


def test_a_missing_loss_is_said(tmp_path: Path) -> None:
    file = exported(nn.Linear(3, 2).eval(), torch.randn(2, 3), tmp_path / "m.onnx")
    lines = import_onnx(file, tmp_path / "m.py").spec.read_text().splitlines()
    assert lines[-4:] == [
        'y = model.input("y", N, 2)',
        "# The file has no loss: put the one of the training here (derivgen import --loss NAME).",
        "model.minimize(losses.mean_squared_error(dense, y))",
        "model.predict(dense)",
    ]


def test_a_mask_is_a_condition(tmp_path: Path) -> None:
    class Masked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(1, 2)
            return scores.masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf")).softmax(-1) @ x

    text = import_onnx(exported(Masked(), torch.randn(2, 4, 3), tmp_path / "m.onnx")).spec.read_text()
    assert "(exp(scores[n, t, u]) / Sum(Piecewise((exp(scores[n, t, u]), u <= t), (0, True)), u), u <= t)," in text


class Scaled(nn.Module):
    """Attention that is not the library's: its scores are not divided by the root of their size."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (z.view(*x.shape[:2], 2, 3).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
        weights = (q @ k.transpose(-2, -1) / 3).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(x.shape))


def test_other_attention_is_a_few_formulas(tmp_path: Path) -> None:
    file = exported(Scaled().eval(), torch.randn(2, 4, 6), tmp_path / "m.onnx")
    lines = import_onnx(file).spec.read_text().splitlines()
    start = lines.index('qkv = layers.dense(x, 18, name="qkv")') + 1
    assert lines[start : start + 4] == [
        'scores = model.let("scores", (n, h, t, u), Sum(qkv[n, t, 3 * h + e] * qkv[n, u, 3 * h + e + 6], e) / 3)',
        'weights = activations.softmax(scores, name="weights")',
        'context = model.let("context", (n, t, 3 * h + e), Sum(weights[n, h, t, u] * qkv[n, u, 3 * h + e + 12], u))',
        'out = layers.dense(context, 6, name="out")',
    ]


def test_weights_that_layers_share_are_said(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    found = from_torch(Tied(), torch.randint(0, 7, (2, 3)), tmp_path / "tied.py")
    assert found.notes == ("head.weight is one tensor of 2 layers in the file; here each layer trains a copy.",)
    text = found.spec.read_text()
    assert found.notes[0] in text and 'name="embed")' in text and 'name="head")' in text


@pytest.mark.parametrize(
    "name, layer, kind, called",
    [
        ("conv1.weight", "conv1", "conv", "conv1"),
        ("0.weight", "0", "dense", "dense0"),
        ("encoder.layers.0.norm1.bias", "encoder.layers.0.norm1", "norm", "encoder_layers0_norm1"),
        ("features.3.weight", "features.3", "conv", "features_conv3"),
        ("attention.in_proj_bias", "attention.in_proj", "dense", "attention_in_proj"),
        ("rnn.weight_ih_l1_reverse", "rnn_l1", "lstm", "rnn_l1"),
        ("scale", "", "norm", "norm"),
    ],
)
def test_names_of_layers(name: str, layer: str, kind: str, called: str) -> None:
    assert layer_of(name) == layer
    assert layer_name(layer, kind) == called


def test_names_that_python_does_not_have() -> None:
    assert [identifier(name) for name in ("onnx::Conv_21", "/a/b", "été", "x", "3", "")] == [
        "onnx_Conv21",
        "a_b",
        "t",
        "x",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "value, text",
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (1 / 3, "1 / 3"),
        (0.7071067690849304, "1 / sqrt(2)"),
        (1.41421354, "sqrt(2)"),
        (-0.25, "-0.25"),
        (1.4426950216293335, "1.442695"),
        (float("-inf"), "-oo"),
    ],
)
def test_numbers_are_written_as_they_were_meant(value: float, text: str) -> None:
    assert number_text(value)[0] == text
