"""A convolutional, a recurrent and an attention model: a step in PyTorch and one of the imported spec are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated import execute
from imported import exported
from torch import nn

from derivgen.importing import from_torch, import_onnx
from derivgen.project.project import render
from derivgen.project.spec import load_target
from derivgen.runtime import load_parameters

pytestmark = pytest.mark.filterwarnings("ignore")

STEP = 0.1
KEPT = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}  # batch norms stay layers


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(7, 4), nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)
        self.lstm.bias_hh_l0.requires_grad_(False)  # one bias here: the sum of PyTorch's two, which both would move

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embed(x))[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.block = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, dropout=0.0)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embed(x)).mean(1))


def convolutional() -> nn.Module:
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(1, 3, 3, padding=1))
    layers.add_module("norm", nn.BatchNorm2d(3))
    layers.add_module("relu", nn.ReLU())
    layers.add_module("pool", nn.MaxPool2d(2))
    layers.add_module("flat", nn.Flatten())
    layers.add_module("logits", nn.Linear(12, 3))
    return layers


MODELS = {"convolutional": convolutional, "recurrent": Recurrent, "attention": Attention}
INPUTS = {"convolutional": (4, 1, 4, 4), "recurrent": (4, 5), "attention": (4, 3, 3)}


def case(name: str, dtype: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    module = MODELS[name]().to(getattr(torch, dtype)).eval()
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    shape = INPUTS[name]
    x = torch.randint(0, 7, shape) if name == "recurrent" else torch.randn(shape, dtype=getattr(torch, dtype))
    return module, x, torch.tensor([0, 2, 1, 2])


def step_of_pytorch(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """The losses before and after a step, in training."""
    loss = nn.CrossEntropyLoss()
    before = loss(module.train()(x), y)
    before.backward()
    torch.optim.SGD(module.parameters(), lr=STEP).step()
    statistics = {name: b.clone() for name, b in module.named_buffers()}
    after = loss(module(x), y).item()
    module.load_state_dict(statistics, strict=False)
    module.eval()
    return [before.item(), after]


def step_of_spec(found: Any, x: np.ndarray, y: np.ndarray) -> tuple[list[float], np.ndarray]:
    """(the same of the spec, its predictions after the step), without numba."""
    target = load_target(str(found.spec))
    module = execute(render(target, target.output, None, False)[0])
    parameters = load_parameters(found.weights, module)
    before = module.loss_and_gradient(parameters.copy(), x, y)[0]
    module.train_epoch(parameters, module.optimizer_state(), np.arange(len(y)), len(y), x, y, learning_rate=STEP)
    after = module.loss_and_gradient(parameters.copy(), x, y)[0]
    return [float(before), float(after)], module.predict(parameters, x)


def imported(module: nn.Module, x: torch.Tensor, folder: Path, way: str) -> Any:
    if way == "from_torch":
        return from_torch(module, x, folder / "spec.py", loss="softmax_cross_entropy")
    return import_onnx(exported(module, x, folder / "m.onnx", **KEPT), folder / "spec.py", loss="softmax_cross_entropy")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_gives_the_losses_of_pytorch(name: str, dtype: str, tmp_path: Path) -> None:
    module, x, y = case(name, dtype)
    ours, predictions = step_of_spec(imported(module, x, tmp_path, "onnx"), x.numpy(), y.numpy())
    theirs = step_of_pytorch(module, x, y)
    assert abs(theirs[1] - theirs[0]) > 1e-3
    assert ours == pytest.approx(theirs, rel=1e-10 if dtype == "float64" else 1e-6)
    close = 1e-9 if dtype == "float64" else 1e-5
    assert predictions == pytest.approx(module(x).detach().numpy(), rel=close, abs=close)


@pytest.mark.parametrize("name", ["convolutional", "attention"])
def test_a_step_of_a_module_without_a_file(name: str, tmp_path: Path) -> None:
    module, x, y = case(name, "float32")
    ours, _ = step_of_spec(imported(module, x, tmp_path, "from_torch"), x.numpy(), y.numpy())
    assert ours == pytest.approx(step_of_pytorch(module, x, y), rel=1e-6)
