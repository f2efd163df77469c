"""Equal layers: one kernel, one loop, one stretch of memory; and the same numbers as the formulas."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from generated import check_module, execute, module_text
from random_specs import IMPORTS, Spec

from derivgen import activations, layers, losses, optimizers
from derivgen.declare.model import Model
from derivgen.pipeline import declared_program
from derivgen.runtime import load


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
    assert functions(text, "forward") == ["first_forward", "last_forward", "loss_forward"]  # the first for all sizes
    assert functions(text, "backward") == ["first_backward", "layer1_backward", "last_backward"]
    rows = text.split("def last_gradient(")[1].split("):")[0]
    assert re.findall(r"(\w+): ", rows)[:3] == [
        "y",
        "last_sum",
        "b",
    ]  # of the rows of the last layer, and the loss
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
    # Of each further layer: two rows of PARAMETERS, one of LAYERS, a draw; and its share of the list of initializers.
    assert len(many) - len(few) <= 5 * 60


def transformer(blocks: int) -> Model:
    """Equal blocks of 13 kernels, each with a table of positions of its own."""
    model = Model("deep")
    n = model.batch("N")
    T, C = model.sizes(T=3, C=3)
    x, y = model.labels("x", n, T, classes=C), model.labels("y", n, T, classes=C)
    a = layers.embedding(x, 4, name="embedded")
    for k in range(1, blocks + 1):
        a = layers.transformer_block(a, 2, 5, name=f"block{k}", causal=True, rotary=True)
    p = activations.softmax(layers.dense(a, C, name="logits"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.predict(p)
    return model


def test_equal_blocks_of_layers_are_a_loop() -> None:
    one, six = (module_text(transformer(blocks)) for blocks in (1, 6))
    assert functions(six, "forward") == functions(one, "forward")
    assert six.count("for k in range(6):  # block1, …, block6") >= 2  # of the step, and of what predicts
    assert six.count("for k in range(6):  # block6, …, block1") >= 1
    assert len(six.splitlines()) <= 1.2 * len(one.splitlines())


def test_gradients_of_equal_blocks() -> None:
    model = transformer(3)
    declared = declared_program(model)
    rng = np.random.default_rng(0)
    values = {p.name: rng.standard_normal(tuple(map(int, p.shape))) for p in declared.parameters}
    values |= {name: rng.integers(0, 3, (1, 3)) for name in ("x", "y")}
    assert check_module(execute(module_text(model)), declared, values) == []


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


# ---- what is in a family and what is not

SKIPS = {
    "a skip connection": "model.minimize(Sum((a8[n, h] + a4[n, h])**2, n, h)/N)",
    "a penalty on one layer": "model.minimize(Sum(a8[n, h]**2, n, h)/N + Sum(w4[g, h]**2, g, h)/100)",
    "layers without a gradient": "model.minimize(Sum(a4[n, h]**2, n, h)/N)\nmodel.predict(a8)",
    "a prediction from inside": "model.minimize(Sum(a8[n, h]**2, n, h)/N)\nmodel.predict(a3)",
}


@pytest.mark.parametrize("name", SKIPS)
def test_layers_that_are_equal_in_part(name: str) -> None:
    lines = ['model = Model("random")\nN = model.batch("N")\nH = model.sizes(H=3)']
    lines += ['n, h, g = model.indices(n=N, h=H, g=H)\na0 = model.input("a0", N, H)']
    for k in range(1, 9):
        lines.append(f'w{k}, b{k} = model.parameter("w{k}", H, H), model.parameter("b{k}", H)')
        body = f"tanh(Sum(a{k - 1}[n, g]*w{k}[g, h], g) + b{k}[h])"
        lines.append(f'a{k} = model.let("a{k}", (n, h), {body})')
    oracle_of("\n".join([*lines, SKIPS[name]]), a0=(5, 3))


def test_a_family_of_numbers() -> None:
    lines = ['model = Model("random")\nN = model.batch("N")\nn = model.indices(n=N)\nx = model.input("x", N)']
    lines.append('a0 = model.let("a0", (), Sum(x[n], n)/N)')
    for k in range(1, 7):
        lines.append(f'w{k} = model.parameter("w{k}")\na{k} = model.let("a{k}", (), tanh(a{k - 1}*w{k}))')
    oracle_of("\n".join([*lines, "model.minimize(a6)"]), x=(5,))


def oracle_of(text: str, **shapes: tuple[int, ...]) -> None:
    """Gradients and loss of the spec's module against the oracle."""
    model = Spec(IMPORTS + text + "\n", (), 0).model()
    declared = declared_program(model)
    rng = np.random.default_rng(0)
    values = {p.name: rng.standard_normal(tuple(map(int, p.shape))) for p in declared.parameters}
    values |= {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    assert check_module(execute(module_text(model)), declared, values) == []


# ---- updates in place

READERS = {
    "two factors of one product": """A = model.parameter("A", I, K, init="normal")
B = model.parameter("B", K, J, init="normal")
z = model.let("z", (i, j), Sum(A[i, k]*B[k, j], k)/9)
model.minimize(Sum((x[i, j] - z[i, j])**2, i, j)/100)""",
    "its own parameter": """W = model.parameter("W", I, K, init="normal")
model.minimize(Sum(x[i, j]*stop_gradient(W[j, k])*W[i, k], i, j, k)/100)""",
    "a later layer": """A = model.parameter("A", I, K, init="normal")
z = model.let("z", (i, j), tanh(Sum(x[i, k]*A[k, j], k)))
u = model.let("u", (i, j), tanh(Sum(z[i, k]*A[k, j], k)))
model.minimize(Sum(u[i, j]**2, i, j))""",
}


@pytest.mark.parametrize("name", READERS)
def test_no_update_in_place_changes_what_is_still_read(name: str, tmp_path: Path) -> None:
    """Compiled, since BLAS reads and writes at once where plain numpy would not."""
    head = 'model = Model("random")\nI, J, K = model.sizes(I=96, J=96, K=96)\n'
    head += 'i, j, k = model.indices(i=I, j=J, k=K)\nx = model.input("x", I, J)\n'
    path = tmp_path / "tied_kernels.py"
    path.write_text(module_text(Spec(f"{IMPORTS}{head}{READERS[name]}\n", (), 0).model()), encoding="utf-8")
    module = load(path)
    x = np.random.default_rng(0).standard_normal((96, 96))
    found, wanted = module.initial_parameters(0), module.initial_parameters(0)
    module.descend(found, module.optimizer_state(), 2, x, learning_rate=0.01)
    for _ in range(2):
        module.update(wanted, module.loss_and_gradient(wanted, x)[1], module.optimizer_state(), learning_rate=0.01)
    assert np.abs(found - wanted).max() <= 1e-12 * np.abs(wanted).max()
    assert np.abs(found - module.initial_parameters(0)).max() > 1e-3 * np.abs(wanted).max()
