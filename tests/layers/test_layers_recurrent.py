"""Recurrent layers against PyTorch, with bad arguments, and compiled under numba's checks of bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from against_torch import against_torch
from generated import module_text
from torch.func import functional_call

from derivgen import layers, losses
from derivgen.declare.model import Model
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program

FEATURES, UNITS = 3, 5


def reference(
    kind: Any, v: dict[str, torch.Tensor], name: str, units: int = UNITS, reverse: bool = False
) -> torch.Tensor:
    """The layer in PyTorch, from our parameters: gates are rows there, and every gate has two biases."""
    x, b = v["x"], v[f"{name}_b"].reshape(-1)
    second = torch.zeros_like(b)
    if f"{name}_a" in v:
        second = torch.cat([second[:-units], v[f"{name}_a"]])
    parameters = {
        "weight_ih_l0": v[f"{name}_W"].reshape(x.shape[-1], -1).T,
        "weight_hh_l0": v[f"{name}_U"].reshape(units, -1).T,
        "bias_ih_l0": b,
        "bias_hh_l0": second,
    }
    module = kind(x.shape[-1], units, batch_first=True, dtype=torch.float64)
    out = functional_call(module, parameters, (x.flip(1) if reverse else x,))[0]
    return out.flip(1) if reverse else out


LAYERS = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_one_direction(layer: str, reverse: bool, dtype: str) -> None:
    def declare(model: Model) -> Any:
        return getattr(layers, layer)(model.parameter("x", 2, 4, FEATURES), UNITS, name="r", reverse=reverse)

    against_torch(declare, lambda v: reference(LAYERS[layer], v, "r", reverse=reverse), dtype=dtype)


def test_both_directions() -> None:
    def declare(model: Model) -> Any:
        return layers.bidirectional(layers.gru, model.parameter("x", 2, 3, FEATURES), UNITS, name="r")

    def both(v: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat(
            [reference(torch.nn.GRU, v, f"r_{way}", reverse=way == "backward") for way in ("forward", "backward")], -1
        )

    against_torch(declare, both)


def test_one_over_another() -> None:
    def declare(model: Model) -> Any:
        below = layers.lstm(model.parameter("x", 2, 4, FEATURES), 6, name="below")
        return layers.simple_rnn(below, 4, name="above", reverse=True)

    def stacked(v: dict[str, torch.Tensor]) -> torch.Tensor:
        below = reference(torch.nn.LSTM, v, "below", 6)
        return reference(torch.nn.RNN, {**v, "x": below}, "above", 4, reverse=True)

    against_torch(declare, stacked)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_tensor_without_time_is_refused(layer: str) -> None:
    model = Model("m")
    x = model.parameter("x", 2, FEATURES)
    getattr(layers, layer)(x, UNITS, name="r")
    model.minimize(x[0, 0])
    with pytest.raises(SpecError, match=rf"test_layers_recurrent.py:\d+: {layer} expects a tensor with axes"):
        declared_program(model)


RUN = """
import numpy as np
from derivgen import runtime
module = runtime.load("sequences_kernels.py")
rng = np.random.default_rng(0)
parameters, state = module.initial_parameters(), module.optimizer_state()
x, y = rng.standard_normal((7, 5, 20)).astype(np.float32), rng.integers(0, 3, 7)
first = module.loss(parameters, x, y)
for _ in range(30):
    module.train_epoch(parameters, state, rng.permutation(7), 3, x, y, learning_rate=0.5)
assert module.loss(parameters, x, y) < first / 2
assert module.predict(parameters, x[:, :1]).shape == (7, 1, 16)
"""


def sequences() -> Model:
    """Against time, then along it; wide enough for products of matrices over all steps at once."""
    model = Model("sequences")
    N, T = model.batch("N"), model.batch("T")
    h = layers.gru(model.input("x", N, T, 20), 16, name="below", reverse=True)
    h = layers.lstm(h, 16, name="over")
    n, j = model.indices(n=N, j=16)
    last = model.let("last", (n, j), h[n, T - 1, j])
    model.minimize(losses.softmax_cross_entropy(layers.dense(last, 3, name="out"), model.labels("y", N, classes=3)))
    model.predict(h)
    return model


def test_compiled_and_trained(tmp_path: Path) -> None:
    """LLVM does not optimize: it takes most of the time, and has nothing to do with the checks."""
    (tmp_path / "sequences_kernels.py").write_text(module_text(sequences(), "float32"), encoding="utf-8")
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", RUN]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
