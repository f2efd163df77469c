"""States, lengths, projections and layers over layers of recurrent layers, against PyTorch's modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch
from generated import module_text
from recurrent_cases import LAYERS, Tensors, flat, in_torch, total, total_of_torch

from derivgen import activations, layers, losses
from derivgen.declare.model import Model

ROWS, STEPS, FEATURES, UNITS = 3, 4, 3, 5
LENGTHS = np.array([2, 4, 1])


def sequences(model: Model) -> Any:
    return model.parameter("x", ROWS, STEPS, FEATURES)


def lengths(model: Model, values: Any = LENGTHS) -> Any:
    return model.labels("lengths", len(values), classes=STEPS + 3)


def backwards(
    layer: str, v: Tensors, name: str, x: torch.Tensor, initial: list[torch.Tensor], row_lengths: Any
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A layer against time: the second direction of PyTorch's module, whose first one has the same parameters."""
    same = {f"{name}_{way}{word[len(name) :]}": tensor for word, tensor in v.items() for way in ("forward", "backward")}
    out, states = in_torch(layer, same, name, x, 1, True, [*initial, *initial], row_lengths)
    return out[..., out.shape[-1] // 2 :], states[len(states) // 2 :]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_initial_and_final_states(layer: str, reverse: bool, masked: bool) -> None:
    words = ("h", "c") if layer == "lstm" else ("h",)

    def declare(model: Model) -> Any:
        start = [model.parameter(f"start_{word}", ROWS, UNITS) for word in words]
        options = {"lengths": lengths(model)} if masked else {}
        initial = tuple(start) if layer == "lstm" else start[0]
        function = getattr(layers, layer)
        outputs = function(
            sequences(model), UNITS, name="r", reverse=reverse, initial=initial, return_state=True, **options
        )
        assert [str(out.name) for out in outputs] == ["r", "r_final", "r_cell_final"][: len(outputs)]
        return total(outputs)

    def reference(v: Tensors) -> torch.Tensor:
        start = [v[f"start_{word}"] for word in words]
        own = {name: tensor for name, tensor in v.items() if name.startswith("r_")}
        given = v["lengths"] if masked else None
        if reverse:
            out, states = backwards(layer, own, "r", v["x"], start, given)
        else:
            out, states = in_torch(layer, own, "r", v["x"], initial=start, lengths=given)
        return total_of_torch([out, *states])

    against_torch(declare, reference, {"lengths": LENGTHS} if masked else None)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_learned_start_that_rows_share_in_float32(layer: str) -> None:
    words = ("h", "c") if layer == "lstm" else ("h",)

    def declare(model: Model) -> Any:
        start = [model.parameter(f"start_{word}", UNITS) for word in words]
        options = {"initial": start, "lengths": lengths(model), "return_state": True}
        return total(getattr(layers, layer)(sequences(model), UNITS, name="r", **options))

    def reference(v: Tensors) -> torch.Tensor:
        start = [v[f"start_{word}"].expand(ROWS, UNITS) for word in words]
        out, states = in_torch(layer, v, "r", v["x"], initial=start, lengths=v["lengths"])
        return total_of_torch([out, *states])

    against_torch(declare, reference, {"lengths": LENGTHS}, "float32")


def by_rows(layer: str, v: Tensors, x: torch.Tensor, start: list[torch.Tensor], reverse: bool) -> list[torch.Tensor]:
    """(sequence, final states), each row by itself, which may have no step."""
    rows, finals = [], []
    for n, length in enumerate(v["lengths"].tolist()):
        own, states = x[n : n + 1, : min(length, STEPS)], [state[n : n + 1] for state in start]
        out = torch.zeros(1, STEPS, UNITS, dtype=torch.float64)
        if length:
            made, states = in_torch(layer, v, "r", own.flip(1) if reverse else own, initial=states)
            made = made.flip(1) if reverse else made
            out = torch.cat([made, torch.zeros(1, STEPS - made.shape[1], UNITS, dtype=torch.float64)], 1)
        rows.append(out)
        finals.append(states)
    return [torch.cat(rows), *(torch.cat(state) for state in zip(*finals, strict=True))]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", ["simple_rnn", "lstm"])
def test_rows_without_a_step_and_lengths_past_the_end(layer: str, reverse: bool) -> None:
    words = ("h", "c") if layer == "lstm" else ("h",)

    def declare(model: Model) -> Any:
        start = [model.parameter(f"start_{word}", ROWS, UNITS) for word in words]
        options = {"lengths": lengths(model), "return_state": True, "reverse": reverse}
        return total(getattr(layers, layer)(sequences(model), UNITS, name="r", initial=start, **options))

    def reference(v: Tensors) -> torch.Tensor:
        return total_of_torch(by_rows(layer, v, v["x"], [v[f"start_{word}"] for word in words], reverse))

    against_torch(declare, reference, {"lengths": np.array([0, 3, STEPS + 2])})


@pytest.mark.parametrize("masked", [False, True])
def test_a_projection(masked: bool) -> None:
    """Sizes are symbols here."""

    def declare(model: Model) -> Any:
        N, T, H, P = model.sizes(N=ROWS, T=STEPS, H=UNITS, P=2)
        x, start = (
            model.parameter("x", N, T, FEATURES),
            (model.parameter("start_h", N, P), model.parameter("start_c", N, H)),
        )
        options = {"lengths": lengths(model)} if masked else {}
        return total(layers.lstm(x, H, name="r", initial=start, return_state=True, projection=P, **options))

    def reference(v: Tensors) -> torch.Tensor:
        start, given = [v["start_h"], v["start_c"]], v["lengths"] if masked else None
        out, states = in_torch("lstm", v, "r", v["x"], initial=start, lengths=given)
        return total_of_torch([out, *states])

    against_torch(declare, reference, {"lengths": LENGTHS} if masked else None)


def test_a_projection_in_both_directions_and_two_layers() -> None:
    def declare(model: Model) -> Any:
        outputs = layers.bidirectional(
            layers.lstm, sequences(model), 4, name="r", num_layers=2, projection=2, return_state=True
        )
        return total(flat(outputs))

    def reference(v: Tensors) -> torch.Tensor:
        out, states = in_torch("lstm", v, "r", v["x"], 2, True)
        return total_of_torch([out, *states])

    against_torch(declare, reference)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_over_layers(layer: str, both: bool) -> None:
    """What one stack returns starts another one."""
    pair = layer == "lstm"

    def declare(model: Model) -> Any:
        def stack(x: Any, name: str, **options: Any) -> Any:
            options |= {"name": name, "num_layers": 2, "lengths": size, "return_state": True}
            if both:
                return layers.bidirectional(getattr(layers, layer), x, UNITS, **options)
            return getattr(layers, layer)(x, UNITS, **options)

        size = lengths(model)
        x, *states = stack(sequences(model), "r")
        assert len(states) == 2
        return total(flat(stack(x, "s", initial=states)))

    def reference(v: Tensors) -> torch.Tensor:
        x, states = in_torch(layer, v, "r", v["x"], 2, both, lengths=v["lengths"])
        assert len(states) == 2 * (1 + both) * (1 + pair)
        out, states = in_torch(layer, v, "s", x, 2, both, states, v["lengths"])
        return total_of_torch([out, *states])

    against_torch(declare, reference, {"lengths": LENGTHS})


def test_states_of_both_directions_some_of_them_omitted() -> None:
    def declare(model: Model) -> Any:
        start = model.parameter("start", UNITS)
        options = {"initial": (None, (start, None)), "return_state": True}
        y, forward, backward = layers.bidirectional(layers.lstm, sequences(model), UNITS, name="r", **options)
        return total([y, *forward, *backward])

    def reference(v: Tensors) -> torch.Tensor:
        zeros = torch.zeros(ROWS, UNITS, dtype=torch.float64)
        out, states = in_torch("lstm", v, "r", v["x"], 1, True, [zeros, zeros, v["start"].expand(ROWS, UNITS), zeros])
        return total_of_torch([out, *states])

    against_torch(declare, reference)


@pytest.mark.parametrize("both", [False, True])
def test_dropout_between_layers(both: bool) -> None:
    rate = 0.25

    def declare(model: Model) -> Any:
        options = {"name": "r", "num_layers": 3, "dropout": rate}
        if both:
            return layers.bidirectional(layers.simple_rnn, sequences(model), UNITS, activation=sp.tanh, **options)
        return layers.simple_rnn(sequences(model), UNITS, **options)

    def reference(v: Tensors) -> torch.Tensor:
        x = v["x"]
        for name in ("r_l0", "r_l1", "r"):
            x = in_torch("simple_rnn", v, name, x, 1, both)[0]
            if name != "r":
                x = x / (1 - rate) * (v[f"{name}_dropout_random"] >= rate)
        return x

    against_torch(declare, reference)


@pytest.mark.parametrize("layer", LAYERS)
def test_sizes_that_are_known_at_run_time(layer: str) -> None:
    """Three rows of three steps, all of them in one loss; the final state decides with the sequence."""

    def declare(model: Model) -> Any:
        N, T = model.batch("N"), model.batch("T")
        x, target = model.input("x", N, T, FEATURES), model.input("target", N, T, UNITS)
        size = model.labels("lengths", N, classes=1000)
        y, h, *_ = getattr(layers, layer)(x, UNITS, name="r", reverse=True, lengths=size, return_state=True)
        n, j = model.indices(n=N, j=UNITS)
        return losses.mean_squared_error(y, target) + sp.Sum(h[n, j] ** 2, n, j)

    def reference(v: Tensors) -> torch.Tensor:
        own = {name: tensor for name, tensor in v.items() if name.startswith("r_")}
        out, (h, *_) = backwards(layer, own, "r", v["x"], [], v["lengths"])
        return torch.nn.functional.mse_loss(out, v["target"]) + (h**2).sum()

    against_torch(declare, reference, {"lengths": np.array([3, 1, 2])})


def test_an_activation_of_both_directions() -> None:
    def declare(model: Model) -> Any:
        return layers.bidirectional(
            layers.simple_rnn, sequences(model), UNITS, name="r", activation=activations.relu, lengths=lengths(model)
        )

    def reference(v: Tensors) -> torch.Tensor:
        ways = []
        for way in ("forward", "backward"):
            h = torch.zeros(ROWS, UNITS, dtype=torch.float64)
            outputs = {}
            for t in range(STEPS) if way == "forward" else reversed(range(STEPS)):
                new = torch.relu(v["x"][:, t] @ v[f"r_{way}_W"] + h @ v[f"r_{way}_U"] + v[f"r_{way}_b"])
                inside = (t < v["lengths"])[:, None]
                h, outputs[t] = torch.where(inside, new, h), torch.where(inside, new, 0)
            ways.append(torch.stack([outputs[t] for t in range(STEPS)], 1))
        return torch.cat(ways, -1)

    against_torch(declare, reference, {"lengths": LENGTHS})


RUN = """
import numpy as np
from derivgen import runtime
module = runtime.load("masked_kernels.py")
rng = np.random.default_rng(0)
parameters, state = module.initial_parameters(), module.optimizer_state()
x, y = rng.standard_normal((7, 5, 6)).astype(np.float32), rng.integers(0, 3, 7)
h, lengths = rng.standard_normal((7, 4)).astype(np.float32), np.array([5, 0, 2, 1, 9, 4, 3])
first = module.loss(parameters, x, lengths, h, y)
for _ in range(30):
    module.train_epoch(parameters, state, rng.permutation(7), 3, x, lengths, h, y, learning_rate=0.5)
assert module.loss(parameters, x, lengths, h, y) < first
predicted = module.predict(parameters, x, lengths, h)
other = np.where(np.arange(5)[None, :, None] < lengths[:, None, None], x, 7).astype(np.float32)
assert np.array_equal(predicted, module.predict(parameters, other, lengths, h))
assert predicted[0].all() and predicted[3, 0].all()
assert not predicted[3, 1:].any() and not predicted[1].any()
"""


def masked() -> Model:
    """Against time, then along it, with all that reads at a row's ends."""
    model = Model("masked")
    N, T = model.batch("N"), model.batch("T")
    x, size = model.input("x", N, T, 6), model.labels("lengths", N, classes=10)
    y, h = layers.gru(x, 4, name="below", reverse=True, lengths=size, initial=model.input("h", N, 4), return_state=True)
    y, *states = layers.lstm(y, 4, name="over", lengths=size, initial=(h, None), return_state=True, peephole=True)
    out = layers.dense(layers.concatenate(states, name="states"), 3, name="out")
    model.minimize(losses.softmax_cross_entropy(out, model.labels("y", N, classes=3)))
    model.predict(y)
    return model


def test_compiled_under_checks_of_bounds(tmp_path: Path) -> None:
    """What lies after a row's length changes nothing."""
    (tmp_path / "masked_kernels.py").write_text(module_text(masked(), "float32"), encoding="utf-8")
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
