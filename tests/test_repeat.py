"""Equal layers: one kernel, one loop, one stretch of memory; and the same numbers as the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from generated import check_module, execute, module_text

from derivgen import activations, layers, losses, optimizers
from derivgen.model import Model
from derivgen.pipeline import declared_program


def network(depth: int, width: int = 3, twist: int | None = None, rule: str = "gradient_descent") -> Model:
    """Equal layers between two others; one of them with another activation, if asked for."""
    model = Model("deep")
    n = model.batch("N")
    a = layers.dense(model.input("x", n, 4), width, activations.tanh, name="first")
    for k in range(1, depth + 1):
        a = layers.dense(a, width, activations.sigmoid if k == twist else activations.tanh, name=f"layer{k}")
    z = layers.dense(a, 2, activations.identity, name="last")
    model.minimize(losses.mean_squared_error(z, model.input("y", n, 2)))
    model.predict(z)
    model.update(getattr(optimizers, rule)())
    return model


def functions(text: str, part: str) -> list[str]:
    return [line[4:].split("(")[0] for line in text.splitlines() if line.startswith("def ") and f"_{part}(" in line]


def check(model: Model, rows: int = 5) -> None:
    declared = declared_program(model)
    rng = np.random.default_rng(0)
    values = {p.name: rng.standard_normal(tuple(map(int, p.shape))) for p in declared.parameters}
    values |= {"x": rng.standard_normal((rows, 4)), "y": rng.standard_normal((rows, 2))}
    assert check_module(execute(module_text(model)), declared, values) == []


def test_equal_layers_share_the_kernels_of_the_first() -> None:
    text = module_text(network(12))
    assert functions(text, "forward") == ["first_forward", "layer1_forward", "last_forward", "loss_forward"]
    assert functions(text, "backward") == ["first_backward", "layer1_backward", "last_backward", "loss_backward"]
    assert "for k in range(12):  # layer1, …, layer12" in text
    assert "for k in range(12):  # layer12, …, layer1" in text


@pytest.mark.parametrize("depth", [2, 3, 4, 12])
def test_gradients(depth: int) -> None:
    check(network(depth))


@pytest.mark.parametrize("twist", [1, 5, 8])
def test_a_layer_that_differs_stands_by_itself(twist: int) -> None:
    text = module_text(network(8, twist=twist))
    assert f"layer{twist}_forward" in functions(text, "forward")
    check(network(8, twist=twist))


def test_text_grows_by_the_tables_of_parameters_only() -> None:
    few, many = (module_text(network(depth)).splitlines() for depth in (4, 64))
    # Of each further layer: two rows of PARAMETERS and a draw; and its share of the list of initializers.
    assert len(many) - len(few) <= 4 * 60


@pytest.mark.parametrize("rule", ["gradient_descent", "momentum"])
def test_an_epoch_is_its_steps(rule: str) -> None:
    """Wide enough for updates in place under gradient descent; unequal batches at the end."""
    model = network(6, width=40, rule=rule)
    text = module_text(model)
    assert ("alpha_beta" in text) == (rule == "gradient_descent")
    module = execute(text)
    rng = np.random.default_rng(0)
    x, y, order = rng.standard_normal((10, 4)), rng.standard_normal((10, 2)), rng.permutation(10)
    epoch, steps = module.initial_parameters(1), module.initial_parameters(1)
    state, own = module.optimizer_state(), module.optimizer_state()
    module.train_epoch(epoch, state, order, 4, x, y, learning_rate=0.05)
    for start in range(0, 10, 4):
        rows = order[start : start + 4]
        module.update(steps, module.loss_and_gradient(steps, x[rows], y[rows])[1], own, learning_rate=0.05)
    assert np.abs(epoch - steps).max() <= 1e-13 * np.abs(steps).max()
    assert state.step[0] == own.step[0] == 3


def test_a_parameter_that_a_later_kernel_reads_is_not_updated_in_place() -> None:
    """Two layers of the same weights: the gradient has two parts, and the second reads the weights after the first."""
    import sympy as sp

    model = Model("tied")
    n = model.batch("N")
    x = model.input("x", n, 96)
    w = model.parameter("W", 96, 96, init="glorot_uniform")
    i, j, k = model.indices(i=n, j=96, k=96)
    a = model.let("a", (i, j), sp.tanh(sp.Sum(x[i, k] * w[k, j], k)))
    b = model.let("b", (i, j), sp.tanh(sp.Sum(a[i, k] * w[k, j], k)))
    model.minimize(sp.Sum(b[i, j] ** 2, i, j) / n)
    text = module_text(model)
    assert "alpha_beta" not in text
    assert text.count("gemm(") == 1 + 5  # its definition; two products forward, two for W, one for a
    assert "gemm(x.T, a_sum_bar, ADD, W_bar)" in text
