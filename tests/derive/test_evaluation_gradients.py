"""Gradients outside training: against differences of the declared formulas, and against PyTorch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from generated import execute, module_text
from second_order_oracle import OF_EVALUATION, point_of
from sympy import Eq, Piecewise, Sum
from torch import nn

from derivgen import Model, activations, layers, losses, optimizers
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program, generate_body
from derivgen.project import gradcheck
from derivgen.project.gradcheck import random_values

CLASSES, SIDE = 3, 4


def pictures(model: Model) -> Any:
    """Logits by a convolution, batch normalization, dropout and a dense layer."""
    N = model.batch("N")
    a = layers.conv2d(model.input("x", N, 1, SIDE, SIDE), 3, 3, padding="same", name="seen")
    a = layers.flatten(activated(layers.batch_norm(a, name="norm"), sp.tanh, "curved"), name="flat")
    return layers.dense(layers.dropout(a, 0.4, name="drop"), CLASSES, name="logits")


def activated(x: Any, f: Callable[[Any], Any], name: str) -> Any:
    i = x.model.local_indices(*x.shape)
    return x.model.let(name, i, f(x[i]))


def classifier(dtype: str = "float64") -> Model:
    model = Model("classifier", dtype=dtype)
    logits = pictures(model)
    model.minimize(losses.softmax_cross_entropy(logits, model.labels("y", logits.shape[0], classes=CLASSES)))
    model.predict(logits)
    model.update(optimizers.adam())
    model.second_order(*OF_EVALUATION)
    return model


def sequences() -> Model:
    """A sequence of unknown length, normalized over its steps; a scalar input."""
    model = Model("sequences", dtype="float64")
    N, T = model.batch("N"), model.batch("T")
    x, scale = model.input("x", N, T, 2), model.input("scale")
    y = layers.dropout(layers.batch_norm(layers.dense(x, 3, sp.sin, name="d"), name="norm"), 0.3, name="drop")
    n, t, k = model.local_indices(*y.shape)
    model.minimize(Sum(y[n, t, k] ** 2, n, t, k) / (N * T) * scale**2)
    model.second_order(*OF_EVALUATION)
    return model


def drawing() -> Model:
    """Random numbers outside training, too, in another formula."""
    model = Model("drawing", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, w, r = model.input("x", N), model.parameter("w", 2), model.random("r", N)
    noise = Piecewise((r[n] * w[1] ** 2, Eq(model.training, 1)), (sp.exp(w[1] * r[n] * x[n]), True))
    model.minimize(Sum((w[0] * x[n] - noise) ** 2, n) / N)
    model.second_order(*OF_EVALUATION)
    return model


@pytest.mark.parametrize("make", [classifier, sequences, drawing], ids=lambda make: make.__name__)
def test_they_are_derivatives_of_the_declared_formulas(make: Callable[[], Model]) -> None:
    model = make()
    values = random_values(declared_program(model), "float64", 3, 0)
    values |= {name: np.abs(value) + 0.5 for name, value in values.items() if name.endswith("variance")}
    point_of(execute(module_text(model)), model, values).check()


class Reference(nn.Module):
    """The classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.logits = nn.Linear(3 * SIDE**2, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(torch.dropout(torch.tanh(self.norm(self.seen(x))).flatten(1), 0.4, self.training))


def reference(module: ModuleType, parameters: np.ndarray) -> Reference:
    """PyTorch's with these parameters, in double precision."""
    made, views = Reference().double().eval(), module.views(parameters)
    names = {"weight": "_W", "bias": "_b"}, {"weight": "_gain", "bias": "_shift"}
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            layer, _, part = name.partition(".")
            own = names[layer == "norm"].get(part, f"_{part}").replace("_var", "_variance")
            if part != "num_batches_tracked":
                value = torch.as_tensor(views[f"{layer}{own}"]).double()
                tensor.copy_(value.T if name == "logits.weight" else value)
    return made


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_they_are_those_of_pytorch_in_evaluation(dtype: str, tolerance: float) -> None:
    module, rng = execute(module_text(classifier(dtype), dtype)), np.random.default_rng(1)
    parameters = module.initial_parameters(1)
    parameters += np.abs(0.3 * rng.normal(size=parameters.shape)).astype(parameters.dtype)
    x, y = rng.normal(size=(5, 1, SIDE, SIDE)).astype(parameters.dtype), rng.integers(0, CLASSES, 5)
    model, seen = reference(module, parameters), torch.as_tensor(x).double().requires_grad_()
    expected = nn.functional.cross_entropy(model(seen), torch.as_tensor(y))
    expected.backward()
    loss, gradient = module.loss_and_gradient(parameters, x, y, training=False)
    assert abs(loss - expected.item()) <= tolerance * abs(expected.item())
    views = module.views(gradient)
    for name, tensor in model.named_parameters():
        layer, _, part = name.partition(".")
        kinds = {"weight": "gain", "bias": "shift"} if layer == "norm" else {"weight": "W", "bias": "b"}
        found, wanted = views[f"{layer}_{kinds[part]}"], tensor.grad.numpy()
        wanted = wanted.T if name == "logits.weight" else wanted
        assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max(), name
    _, inputs = module.evaluation_input_gradients(parameters, x, y)
    assert np.abs(inputs["x"] - seen.grad.numpy()).max() <= tolerance * seen.grad.abs().max().item()


def test_the_gradient_is_that_of_the_function_by_its_name() -> None:
    module = execute(module_text(classifier()))
    values = random_values(declared_program(classifier()), "float64", 3, 0)
    data = {"x": values["x"], "y": values["y"]}
    parameters = module.initial_parameters(2)
    loss, gradient = module.loss_and_gradient(parameters, **data, training=False, seed=3)
    again, same = module.evaluation_gradient(parameters, **data)
    assert loss == again == module.loss(parameters, **data) and gradient.tobytes() == same.tobytes()
    training, other = module.loss_and_gradient(parameters, **data, seed=3)
    assert training == module.loss(parameters, **data, training=True, seed=3) and not np.allclose(gradient, other)
    with pytest.raises(TypeError, match="parameters"):
        module.loss_and_gradient(parameters.tolist(), **data, training=False)


def test_steps_outside_training_leave_the_running_tensors() -> None:
    """Fine-tuning with the statistics that are there."""
    module = execute(module_text(classifier()))
    values = random_values(declared_program(classifier()), "float64", 6, 0)
    data, parameters, state = {"x": values["x"], "y": values["y"]}, module.initial_parameters(2), None
    state, before = module.optimizer_state(), parameters.copy()
    found = []
    for _ in range(20):
        loss, gradient = module.loss_and_gradient(parameters, **data, training=False)
        module.update(parameters, gradient, state)
        found.append(loss)
    still = [p.name for p in module.PARAMETERS if not p.trained]
    assert found[-1] < found[0] and len(still) == 2
    assert all((module.views(parameters)[name] == module.views(before)[name]).all() for name in still)


def test_a_seed_draws_where_the_loss_draws() -> None:
    module = execute(module_text(drawing()))
    x, parameters = np.linspace(-1, 1, 4), np.array([0.3, 0.7])
    for seed in (0, 5):
        loss, _ = module.loss_and_gradient(parameters, x, training=False, seed=seed)
        assert loss == module.loss(parameters, x, seed=seed) == module.evaluation_gradient(parameters, x, seed=seed)[0]
    assert module.evaluation_gradient(parameters, x, seed=0)[0] != loss


def test_a_module_for_threads_has_the_same() -> None:
    """Its steps run in blocks of rows, this one over all of them."""
    model = Model("wide", dtype="float64")
    N = model.batch("N")
    x, t = model.input("x", N, 6), model.input("t", N, 2)
    hidden = layers.dropout(layers.dense(x, 5, sp.tanh, name="hidden"), 0.5, name="drop")
    model.minimize(losses.mean_squared_error(layers.dense(hidden, 2, name="out"), t))
    model.second_order("evaluation_gradient")
    modules = [execute(generate_body(model, "float64", parallel).body) for parallel in (False, True)]
    assert modules[1].COMBINED is not None
    values = random_values(declared_program(model), "float64", 7, 0)
    results = [
        m.loss_and_gradient(m.initial_parameters(), values["x"], values["t"], training=False)[1] for m in modules
    ]
    assert results[0].tobytes() == results[1].tobytes()


def test_gradcheck_compares_both_modes() -> None:
    found = gradcheck.gradcheck(classifier(), quick=True)
    assert [c.parameter for c in found if c.parameter.startswith("norm_gain")] == [
        "norm_gain",
        "norm_gain, in evaluation",
    ]
    assert all(c.error <= 1e-9 for c in found)


def test_compiled(tmp_path: Path) -> None:
    from derivgen.runtime import load

    path = tmp_path / "classifier_kernels.py"
    path.write_text(module_text(classifier()), encoding="utf-8")
    values = random_values(declared_program(classifier()), "float64", 3, 0)
    values |= {name: np.abs(value) + 0.5 for name, value in values.items() if name.endswith("variance")}
    point_of(load(path), classifier(), values).check()


@pytest.mark.parametrize(
    ("function", "usual"),
    [("evaluation_gradient", "loss_and_gradient"), ("evaluation_input_gradients", "loss_and_input_gradients")],
)
def test_a_model_without_modes_has_none(function: str, usual: str) -> None:
    model = Model("still")
    model.minimize(model.parameter("w") ** 2)
    model.second_order(function)
    with pytest.raises(SpecError) as refused:
        module_text(model)
    message = str(refused.value)
    assert re.search(r"test_evaluation_gradients\.py:\d+: ", message)
    assert f"{function} needs a model that uses model.training: use {usual}" in message


def test_only_a_module_that_is_asked_for_it_has_the_argument() -> None:
    model = classifier()
    model.requests = ()
    module = execute(module_text(model))
    assert "training" not in inspect.signature(module.loss_and_gradient).parameters
    model.second_order("evaluation_input_gradients")
    assert "training" not in inspect.signature(execute(module_text(model)).loss_and_gradient).parameters


def test_attribution_of_a_prediction_is_a_derivative_that_is_predicted() -> None:
    """In a let that `predict` returns, `model.derivative` is taken outside training."""
    model = Model("attributed", dtype="float64")
    N = model.batch("N")
    x, y = model.input("x", N, 4), model.labels("y", N, classes=2)
    a = layers.dropout(layers.dense(x, 3, sp.tanh, name="hidden"), 0.5, name="drop")
    p = activations.softmax(layers.dense(a, 2, name="logits"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    n, c, d = model.indices(n=N, c=2, d=4)
    model.predict(model.let("saliency", (n, c, d), model.derivative(p[n, c], x[n, d])))
    module, inputs = execute(module_text(model)), np.random.default_rng(0).normal(size=(3, 4))
    weights = {name: torch.as_tensor(view) for name, view in module.views(module.initial_parameters(1)).items()}

    def probabilities(row: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(row @ weights["hidden_W"] + weights["hidden_b"])
        return torch.softmax(hidden @ weights["logits_W"] + weights["logits_b"], 0)

    expected = [torch.autograd.functional.jacobian(probabilities, row).numpy() for row in torch.as_tensor(inputs)]
    assert np.allclose(module.predict(module.initial_parameters(1), inputs), expected, rtol=1e-12, atol=0)
