"""The ways to train agree: compiled epochs and descents against single gradients and θ - ηg."""

from __future__ import annotations

import numpy as np
import pytest
from generated import execute, module_text

from derivgen import Model, optimizers, runtime
from derivgen.layers import dense
from derivgen.losses import mean_squared_error, softmax_cross_entropy

RATE, ROWS, BATCH = 0.3, 23, 5


def classifier(rule=None) -> Model:
    import sympy as sp

    model = Model("classifier", dtype="float64")
    N = model.batch("N")
    x = model.input("x", N, 6)
    scale = model.input("scale")  # without the sample axis: passed whole
    y = model.labels("y", N, classes=4)
    n, j = model.indices(n=N, j=5)
    hidden = dense(x, 5, sp.tanh, name="hidden")
    scaled = model.let("scaled", (n, j), hidden[n, j] * scale)
    logits = dense(scaled, 4, name="logits")
    model.minimize(softmax_cross_entropy(logits, y))
    model.predict(logits)
    if rule is not None:
        model.update(rule)
    return model


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    path = tmp_path_factory.mktemp("modules") / "classifier_kernels.py"
    path.write_text(module_text(classifier()))
    return runtime.load(path)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(ROWS, 6)), "scale": np.array(1.5), "y": rng.integers(0, 4, ROWS)}


def rows_of(data, rows):
    return {"x": data["x"][rows], "scale": data["scale"], "y": data["y"][rows]}


def close(found, wanted):
    assert np.abs(found - wanted).max() <= 1e-12 * np.abs(wanted).max()


def test_an_epoch_is_its_steps(module, data):
    """A permuted order, and a short last batch."""
    order = np.random.default_rng(1).permutation(ROWS)
    by_epoch, by_step = module.initial_parameters(3), module.initial_parameters(3)
    state = module.optimizer_state()
    mean = module.train_epoch(by_epoch, state, order, BATCH, **data, learning_rate=RATE)
    losses, weights = [], []
    for start in range(0, ROWS, BATCH):
        rows = order[start : start + BATCH]
        loss, gradient = module.loss_and_gradient(by_step, **rows_of(data, rows))
        by_step -= RATE * gradient
        losses.append(loss)
        weights.append(len(rows))
    close(by_epoch, by_step)
    assert mean == pytest.approx(np.average(losses, weights=weights), rel=1e-12)
    assert state.step[0] == len(losses)


def test_drop_last_leaves_the_short_batch_out(module, data):
    order = np.random.default_rng(1).permutation(ROWS)
    dropped, shorter = module.initial_parameters(3), module.initial_parameters(3)
    module.train_epoch(dropped, module.optimizer_state(), order, BATCH, **data, learning_rate=RATE, drop_last=True)
    whole = order[: ROWS // BATCH * BATCH]
    module.train_epoch(shorter, module.optimizer_state(), whole, BATCH, **data, learning_rate=RATE)
    np.testing.assert_array_equal(dropped, shorter)


def test_rows_may_repeat_and_be_left_out(module, data):
    order = np.array([4, 4, 0, 7])
    by_epoch, by_step = module.initial_parameters(3), module.initial_parameters(3)
    module.train_epoch(by_epoch, module.optimizer_state(), order, 8, **data, learning_rate=RATE)
    by_step -= RATE * module.loss_and_gradient(by_step, **rows_of(data, order))[1]
    close(by_epoch, by_step)


def test_a_descent_is_its_steps(module, data):
    by_descent, by_step = module.initial_parameters(3), module.initial_parameters(3)
    losses = module.descend(by_descent, module.optimizer_state(), 7, **data, learning_rate=RATE)
    for step in range(7):
        loss, gradient = module.loss_and_gradient(by_step, **data)
        assert losses[step] == pytest.approx(loss, rel=1e-12)
        by_step -= RATE * gradient
    close(by_descent, by_step)


def test_a_mean_gradient_is_that_of_all_its_rows(module, data):
    """By batches, the last of them smaller."""
    parameters, order = module.initial_parameters(3), np.random.default_rng(1).permutation(ROWS)[:17]
    loss, gradient = module.mean_gradient(parameters, order, BATCH, **data)
    whole_loss, whole = module.loss_and_gradient(parameters, **rows_of(data, order))
    assert loss == pytest.approx(whole_loss, rel=1e-12)
    close(gradient, whole)
    np.testing.assert_array_equal(parameters, module.initial_parameters(3))
    with pytest.raises(ValueError, match=r"order: expected row numbers 0 \.\. 22, found 23 at position 1"):
        module.mean_gradient(parameters, np.array([0, 23]), BATCH, **data)


def test_activations_are_those_of_the_layers(module, data):
    """The hidden layer, what it is scaled to, and the logits, by their formulas; the loss is no layer."""
    parameters = module.initial_parameters(3)
    views = module.views(parameters)
    views["hidden_W"][:, 2] = views["hidden_b"][2] = 0  # tanh(0) = 0 in every row
    hidden = np.tanh(data["x"] @ views["hidden_W"] + views["hidden_b"])
    layers = {"hidden": hidden, "scaled": hidden * data["scale"]}
    layers["logits"] = layers["scaled"] @ views["logits_W"] + views["logits_b"]
    found = dict(zip((layer.name for layer in module.LAYERS), module.activations(parameters, **data), strict=True))
    compared = [name for name in layers if name in found]
    assert {"scaled", "logits"} <= {*compared}
    for name in compared:
        values = layers[name]
        wanted = [np.sqrt(np.mean(values**2)), np.mean((values == 0).all(axis=0))]
        np.testing.assert_allclose(found[name], wanted, rtol=1e-12)
    assert found["scaled"][1] == 0.2
    assert "loss" not in found
    assert {layer.name: layer.parameters for layer in module.LAYERS}["logits"] == ("logits_W", "logits_b")


def test_update_is_one_step_in_place(module, data):
    parameters, expected = module.initial_parameters(3), module.initial_parameters(3)
    gradient = module.loss_and_gradient(parameters, **data)[1]
    state = module.optimizer_state()
    module.update(parameters, gradient, state, learning_rate=RATE)
    close(parameters, expected - RATE * gradient)
    assert state.step[0] == 1


def test_a_gradient_is_a_fresh_array(module, data):
    """Minimizers keep the last one."""
    parameters = module.initial_parameters(3)
    first = module.loss_and_gradient(parameters, **data)[1]
    kept = first.copy()
    second = module.loss_and_gradient(module.initial_parameters(4), **data)[1]
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    assert np.abs(first - second).max() > 0


def test_views_are_views_in_order_of_declaration(module):
    parameters = module.initial_parameters(3)
    views = module.views(parameters)
    assert list(views) == [p.name for p in module.PARAMETERS] == ["hidden_W", "hidden_b", "logits_W", "logits_b"]
    views["logits_b"][2] = 42
    assert parameters[module.PARAMETERS[3].offset + 2] == 42
    assert views["hidden_W"].shape == (6, 5)


def test_threads_have_workspaces_of_their_own(module, data):
    from concurrent.futures import ThreadPoolExecutor

    points = [module.initial_parameters(seed) for seed in range(8)]
    alone = [module.loss_and_gradient(p, **data)[1] for p in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: module.loss_and_gradient(p, **data)[1], points * 5))
    for position, gradient in enumerate(together):
        np.testing.assert_array_equal(gradient, alone[position % 8])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rules_with_slots_follow_their_formulas(dtype):
    """Adam and momentum on a quadratic, against their formulas in numpy at the module's precision."""
    rules = {"adam": optimizers.adam(learning_rate=0.02), "momentum": optimizers.momentum(0.02, momentum=0.8)}
    for name, rule in rules.items():
        model = Model(name)
        w = model.parameter("w", 3, init=np.array([1.0, -2.0, 3.0]))
        target = model.constant("target", np.zeros(3))
        model.minimize(mean_squared_error(w, target))
        model.update(rule)
        module = execute(module_text(model, dtype))
        parameters, state = module.initial_parameters(), module.optimizer_state()
        wanted, m, v = parameters.astype(float), np.zeros(3), np.zeros(3)
        module.descend(parameters, state, 20)
        for t in range(1, 21):
            g = 2 * wanted / 3
            if name == "adam":
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
                wanted -= 0.02 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            else:
                m = 0.8 * m + g
                wanted -= 0.02 * m
        assert np.abs(parameters - wanted).max() <= (1e-12 if dtype == "float64" else 1e-5) * np.abs(wanted).max()
        assert state.step[0] == 20
        assert parameters.dtype == dtype


def test_a_gradient_that_is_a_sum_of_the_forward_pass():
    """d(w·Σs)/dw = Σs, which `loss` computes without a gradient to put it into."""
    import sympy as sp

    model = Model("linear")
    N = model.batch("N")
    s, (n,) = model.input("s", N), model.local_indices(N)
    model.minimize(sp.Sum(s[n], n) * model.parameter("w", init="ones"))
    module, values = execute(module_text(model)), np.array([2.0, 3.0])
    assert module.loss(module.initial_parameters(), values) == 5
    loss, gradient = module.loss_and_gradient(module.initial_parameters(), values)
    assert (loss, gradient.tolist()) == (5, [5])
