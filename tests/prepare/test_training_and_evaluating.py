"""Running tensors, random tensors and `model.training`, in the kernels, in the oracle, and against PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch
from compiled_types import doubles, doubles_in
from generated import check_module, execute, module_text
from scipy.optimize import minimize
from scipy.stats import chi2

from derivgen import Model, optimizers, runtime
from derivgen.activations import relu
from derivgen.form.randomness import philox, random_tensors, uniform
from derivgen.layers import batch_norm, dense, dropout
from derivgen.losses import mean_squared_error
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program, generate_body
from derivgen.prepare.modes import in_evaluation
from derivgen.project.gradcheck import cancelled, gradcheck, random_values
from derivgen.project.spec import load_target

ROWS, BATCH, FEATURES, RATE = 11, 4, 3, 0.05
MOMENTUM = 0.1


def data(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(1.0, 2.0, (ROWS, FEATURES)), "t": rng.normal(size=(ROWS, 2))}


def network(rule: optimizers.UpdateRule | None = None) -> Model:
    """Dense, batch norm, dropout, dense."""
    model = Model("network", dtype="float64")
    N = model.batch("N")
    x, t = model.input("x", N, FEATURES), model.input("t", N, 2)
    b = batch_norm(dense(x, 4, name="first", bias=False), name="bn", momentum=MOMENTUM)
    d = dropout(b, 0.3, name="drop")
    z = dense(d, 2, name="last")
    model.minimize(mean_squared_error(z, t))
    model.predict(z)
    if rule is not None:
        model.update(rule)
    return model


@pytest.fixture(scope="module")
def text() -> str:
    return module_text(network())


@pytest.fixture(scope="module")
def module(text) -> ModuleType:
    return execute(text)


def running(module: ModuleType, parameters: np.ndarray) -> dict[str, np.ndarray]:
    return {p.name: module.views(parameters)[p.name].copy() for p in module.PARAMETERS if not p.trained}


# ---- the generator


def test_philox_gives_the_published_words():
    """The known answers of its authors: Random123, kat_vectors."""
    ones = 0xFFFFFFFF
    digits_of_pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    known = {
        ((0, 0, 0, 0), (0, 0)): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ((ones,) * 4, (ones,) * 2): "408f276d 41c83b0e a20bc7c6 6d5451fd",
        (digits_of_pi, (0xA4093822, 0x299F31D0)): "d16cfe09 94fdcceb 5001e420 24126ea1",
    }
    model = Model("drawing")
    r = model.random("r", 4)
    model.minimize(r[0] * model.parameter("w"))
    emitted = execute(module_text(model)).philox
    for (counter, key), words in known.items():
        assert " ".join(f"{word:08x}" for word in philox(counter, key)) == words
        assert " ".join(f"{word:08x}" for word in emitted(*counter, *key)) == words


def test_numbers_are_uniform():
    """Mean, variance and a chi-square over 100 bins of 10^5 draws, each inside 99.9 % of its distribution."""
    count, bins = 100_000, 100
    drawn = uniform(7, 3, 0, count)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean() - 1 / 2) < 3.3 * np.sqrt(1 / 12 / count)
    assert abs(drawn.var() - 1 / 12) < 3.3 * np.sqrt(1 / 180 / count)
    statistic = np.sum((np.bincount((drawn * bins).astype(int)) - count / bins) ** 2) / (count / bins)
    assert chi2.ppf(0.0005, bins - 1) < statistic < chi2.ppf(0.9995, bins - 1)
    for lag in (1, 2, 3, 4):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 3.3 / np.sqrt(count)


def test_seeds_steps_and_tensors_have_numbers_of_their_own():
    streams = [(0, 0, 0), (1, 0, 0), (2**32, 0, 0), (0, 1, 0), (0, 2**32, 0), (0, 0, 1)]
    drawn = [uniform(*stream, 1000) for stream in streams]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.12
            assert np.mean(a == b) < 0.01


def drawing_model() -> Model:
    """Two random tensors, of which one has a number of elements that is no multiple of four, straight to predict."""
    model = Model("drawing", dtype="float64")
    N = model.batch("N")
    n, d = model.indices(n=N, d=3)
    x, w = model.input("x", N), model.parameter("w", 3, init="ones")
    r, s = model.random("r", N, 3), model.random("s")
    out = model.let("out", (n, d), r[n, d] + 2 * s)
    model.minimize(sp.Sum(x[n] * w[d] * out[n, d], n, d) / N)
    model.predict(out)
    return model


COMPILED = """
import sys, numpy as np
from derivgen import runtime
module = runtime.load(sys.argv[1])
x, parameters = np.arange(5.0), module.initial_parameters()
seeds = (0, 5, 2**40 + 3)
drawn = [module.predict(parameters, x, seed=s) for s in seeds]
losses = [module.loss(parameters, x, seed=s) for s in seeds]
gradients = [module.loss_and_gradient(parameters, x, seed=s)[1] for s in seeds]
np.savez(sys.argv[2], drawn=drawn, losses=losses, gradients=gradients)
"""


def test_compiled_uncompiled_and_oracle_draw_the_same_bits(tmp_path):
    path = tmp_path / "drawing_kernels.py"
    path.write_text(module_text(drawing_model()), encoding="utf-8")
    found = []
    for disabled in ("0", "1"):
        file = tmp_path / f"drawn_{disabled}.npz"
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        subprocess.run([sys.executable, "-c", COMPILED, path, file], env=environment, check=True)
        with np.load(file) as saved:
            found.append(dict(saved))
    declared = declared_program(drawing_model())
    for k, seed in enumerate((0, 5, 2**40 + 3)):
        random = random_tensors(declared, {"N": 5}, seed)
        for drawn in found:
            np.testing.assert_array_equal(drawn["drawn"][k], random["r"] + 2 * random["s"])
        values = {"x": np.arange(5.0), "w": np.ones(3), **random}
        loss = float(run(declared, values)["loss"][()])
        for drawn in found:
            assert drawn["losses"][k] == pytest.approx(loss, rel=1e-14)
            expected = np.sum(np.arange(5.0)[:, None] * (random["r"] + 2 * random["s"]), axis=0) / 5
            np.testing.assert_allclose(drawn["gradients"][k], expected, rtol=1e-14)


def test_float32_draws_what_float64_does():
    model = drawing_model()
    single, double = (execute(module_text(model, dtype)) for dtype in ("float32", "float64"))
    x = np.arange(6.0)
    a = single.predict(single.initial_parameters(), x.astype(np.float32), seed=9)
    b = double.predict(double.initial_parameters(), x, seed=9)
    np.testing.assert_array_equal(a, b.astype(np.float32))
    assert a.dtype == np.float32


# ---- against PyTorch


def test_dropout_against_torch_with_the_same_mask():
    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = (t["d_random"] >= 0.3).double()
        assert 0 < mask.mean() < 1
        return torch.tanh(t["x"]) * mask / 0.7

    def declare(model: Model) -> object:
        x, (i, j) = model.parameter("x", 5, 7), model.local_indices(5, 7)
        return dropout(model.let("a", (i, j), sp.tanh(x[i, j])), 0.3, name="d")

    for dtype in ("float64", "float32"):
        against_torch(declare, reference, dtype=dtype)


def test_dropout_of_rate_0_is_nothing_and_means_stay():
    against_torch(lambda m: dropout(m.parameter("x", 6, 3), 0, name="d"), lambda t: 1 * t["x"])
    model = Model("wide", dtype="float64")
    x, i = model.parameter("x", 4000, init="ones"), model.local_indices(4000)
    model.minimize(sp.Sum(dropout(x, 0.25, name="d")[i], *i) / 4000)
    module = execute(module_text(model))
    loss = module.loss_and_gradient(module.initial_parameters(), seed=1)[0]
    assert 0 < abs(loss - 1) < 4 * np.sqrt(0.25 / 0.75 / 4000)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4, 3), (3, 5, 4)], ids=["features", "images", "sequences"])
def test_batch_norm_against_torch(shape, dtype):
    axis = 1 if len(shape) == 4 else len(shape) - 1

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        x = t["x"].movedim(axis, 1)
        normal = torch.nn.functional.batch_norm(x, None, None, t["b_gain"], t["b_shift"], training=True)
        return normal.movedim(1, axis)

    against_torch(lambda m: batch_norm(m.parameter("x", *shape), name="b"), reference, dtype=dtype)


@pytest.mark.parametrize("shape", [(FEATURES,), (FEATURES, 4, 2)], ids=["features", "images"])
def test_running_values_and_evaluation_against_torch(shape):
    """Several steps of an epoch with a smaller last batch, then predict and loss by what has run."""
    model = Model("normal", dtype="float64")
    N = model.batch("N")
    out = batch_norm(model.input("x", N, *shape), name="b", momentum=0.2, epsilon=1e-3)
    i = model.local_indices(*out.shape)
    model.minimize(sp.Sum(out[i] ** 3, *i) / N)
    model.predict(out)
    module = execute(module_text(model))
    layer = (torch.nn.BatchNorm2d if len(shape) == 3 else torch.nn.BatchNorm1d)(
        FEATURES, momentum=0.2, eps=1e-3
    ).double()
    x = np.random.default_rng(0).normal(2.0, 3.0, (ROWS, *shape))
    parameters, state = module.initial_parameters(), module.optimizer_state()
    order = np.random.default_rng(1).permutation(ROWS)
    module.train_epoch(parameters, state, order, BATCH, x, learning_rate=0.0)
    for start in range(0, ROWS, BATCH):
        layer(torch.as_tensor(x[order[start : start + BATCH]]))
    views = module.views(parameters)
    np.testing.assert_allclose(views["b_running_mean"], layer.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(views["b_running_variance"], layer.running_var.numpy(), rtol=1e-12)
    layer.eval()
    expected = layer(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(module.predict(parameters, x), expected, rtol=1e-12)
    assert module.loss(parameters, x) == pytest.approx((expected**3).sum() / ROWS, rel=1e-11)
    assert module.loss(parameters, x, training=True) == module.loss_and_gradient(parameters, x)[0]
    assert module.loss(parameters, x, training=True) != pytest.approx(module.loss(parameters, x), rel=1e-3)


def test_a_batch_of_one_row_leaves_running_values_finite():
    """PyTorch refuses it; a last batch of one row must not spoil what has run."""
    module = execute(module_text(network()))
    parameters = module.initial_parameters()
    module.train_epoch(parameters, module.optimizer_state(), np.arange(5), 4, **data())
    assert np.isfinite(parameters).all()


# ---- against the oracle


def point(model: Model, seed: int = 3) -> tuple[Any, dict[str, np.ndarray]]:
    declared = declared_program(model)
    return declared, random_values(declared, "float64", 5, seed)


def test_values_and_gradients_against_the_oracle(module):
    check_module(module, *point(network()))


def test_another_seed_is_another_function_with_its_own_gradient(module):
    declared, values = point(network())
    flat = np.concatenate([np.ravel(values[t.name]) for t in declared.vector])
    inputs = {name: values[name] for name in ("x", "t")}
    drawn = random_tensors(declared, {"N": 5}, seed=12)
    wanted = run(declared, {**values, **drawn})
    loss, gradient = module.loss_and_gradient(flat, **inputs, seed=12)
    assert loss == pytest.approx(float(wanted["loss"][()]), rel=1e-13)
    assert module.loss(flat, **inputs, training=True, seed=12) == loss
    assert abs(loss - module.loss_and_gradient(flat, **inputs)[0]) > 1e-3 * loss
    from derivgen.oracle.differences import compare_gradients

    right = compare_gradients(declared, {**values, **drawn}, module.views(gradient))
    assert max(c.error for c in right) < 1e-11
    wrong = compare_gradients(declared, values, module.views(gradient))
    assert max(c.error for c in wrong) > 1e-3


def test_loss_and_predict_evaluate(module):
    declared, values = point(network())
    flat = np.concatenate([np.ravel(values[t.name]) for t in declared.vector])
    inputs = {name: values[name] for name in ("x", "t")}
    wanted = run(in_evaluation(declared), values)
    assert module.loss(flat, **inputs) == pytest.approx(float(wanted["loss"][()]), rel=1e-13)
    assert module.loss(flat, **inputs, seed=8) == module.loss(flat, **inputs)
    np.testing.assert_allclose(module.predict(flat, values["x"]), wanted["last"].astype(float), rtol=1e-12)
    assert run(declared, {**values, "training": 0})["loss"] == wanted["loss"]


def test_random_numbers_are_kept_until_they_are_read():
    """They are drawn first; u is needed no longer when r is read, and of the same size: they must not share memory."""
    model = Model("kept", dtype="float64")
    N = model.batch("N")
    n, d = model.indices(n=N, d=4)
    x, w, r = model.input("x", N, 4), model.parameter("w", 4), model.random("r", N, 4)
    u = model.let("u", (n, d), sp.sin(x[n, d]))
    v = model.let("v", n, sp.Sum(u[n, d], d))
    z = model.let("z", (n, d), v[n] * w[d])
    model.minimize(sp.Sum(z[n, d] ** 2 * r[n, d], n, d))
    model.predict(z)
    declared, values = point(model)
    check_module(execute(module_text(model)), declared, values)


def test_training_is_a_number_and_a_condition():
    model = Model("modes", dtype="float64")
    w, training = model.parameter("w", 3, init=[0.5, -1.0, 2.0]), model.training
    (i,) = model.local_indices(3)
    a = model.let("a", i, sp.Piecewise((sp.Sum(w[i] ** 2, i) * w[i], sp.Eq(training, 1)), (sp.sin(w[i]), True)))
    b = model.let("b", i, a[i] + 3 * training * w[i] + sp.Piecewise((1, training < 1), (0, True)))
    model.minimize(sp.Sum(b[i] ** 2, i))
    model.predict(b)
    module, declared = execute(module_text(model)), declared_program(model)
    values = {"w": np.array([0.5, -1.0, 2.0])}
    check_module(module, declared, values)
    evaluated = np.sin(values["w"]) + 1
    trained = (values["w"] ** 2).sum() * values["w"] + 3 * values["w"]
    np.testing.assert_allclose(module.predict(values["w"]), evaluated, rtol=1e-15)
    assert module.loss(values["w"]) == pytest.approx((evaluated**2).sum(), rel=1e-14)
    assert module.loss_and_gradient(values["w"])[0] == pytest.approx((trained**2).sum(), rel=1e-14)


def test_kernels_have_no_test_of_the_mode(text):
    assert text.count("if training:") == 1  # in loss_kernel, which forward pass to take
    evaluate = text.split("def evaluate(")[1].split("@")[0]
    calls = [line.split("(")[0].strip() for line in evaluate.splitlines() if line.startswith("    ") and "(" in line]
    assert calls == ["first_forward", "bn_evaluate", "last_value", "loss_value"]


# ---- steps


def numpy_network(values: dict[str, np.ndarray], mask: np.ndarray) -> tuple[float, dict, np.ndarray, np.ndarray]:
    """Loss, gradients, and the batch's mean and variance, by hand."""
    x, t, n = values["x"], values["t"], len(values["x"])
    h = x @ values["first_W"]
    mean, variance = h.mean(0), h.var(0)
    normal = (h - mean) / np.sqrt(variance + 1e-5)
    b = values["bn_gain"] * normal + values["bn_shift"]
    d = b * mask
    z = d @ values["last_W"] + values["last_b"]
    z_bar = 2 * (z - t) / z.size
    b_bar = (z_bar @ values["last_W"].T) * mask
    inner = b_bar * values["bn_gain"]
    h_bar = (inner - inner.mean(0) - normal * (inner * normal).mean(0)) / np.sqrt(variance + 1e-5)
    gradients = {
        "first_W": x.T @ h_bar,
        "bn_gain": (b_bar * normal).sum(0),
        "bn_shift": b_bar.sum(0),
        "last_W": d.T @ z_bar,
        "last_b": z_bar.sum(0),
    }
    return float(((z - t) ** 2).mean()), gradients, mean, variance * n / max(n - 1, 1)


class ByHand:
    """Gradient descent on the network in numpy, masks by the oracle."""

    def __init__(self, module: ModuleType, parameters: np.ndarray, seed: int) -> None:
        self.values = {name: view.copy() for name, view in module.views(parameters).items()}
        self.declared, self.seed, self.steps, self.losses = declared_program(network()), seed, 0, list[float]()

    def step(self, rows: dict[str, np.ndarray]) -> None:
        drawn = random_tensors(self.declared, {"N": len(rows["x"])}, self.seed, self.steps)["drop_random"]
        loss, gradients, mean, variance = numpy_network({**self.values, **rows}, (drawn >= 0.3) / 0.7)
        for name, gradient in gradients.items():
            self.values[name] -= RATE * gradient
        for name, value in (("bn_running_mean", mean), ("bn_running_variance", variance)):
            self.values[name] = (1 - MOMENTUM) * self.values[name] + MOMENTUM * value
        self.losses.append(loss)
        self.steps += 1

    def check(self, module: ModuleType, parameters: np.ndarray) -> None:
        for name, view in module.views(parameters).items():
            np.testing.assert_allclose(view, self.values[name], rtol=1e-11, atol=1e-14, err_msg=name)


def test_an_epoch_against_numpy(module):
    parameters, state = module.initial_parameters(3), module.optimizer_state()
    by_hand, order = ByHand(module, parameters, seed=21), np.random.default_rng(2).permutation(ROWS)
    for _ in range(2):
        mean = module.train_epoch(parameters, state, order, BATCH, **data(), learning_rate=RATE, seed=21)
        for start in range(0, ROWS, BATCH):
            by_hand.step({name: a[order[start : start + BATCH]] for name, a in data().items()})
    by_hand.check(module, parameters)
    weights = [min(BATCH, ROWS - start) for start in range(0, ROWS, BATCH)]
    assert mean == pytest.approx(np.average(by_hand.losses[-len(weights) :], weights=weights), rel=1e-12)
    assert state.step[0] == by_hand.steps


def test_a_descent_against_numpy(module):
    parameters, state = module.initial_parameters(3), module.optimizer_state()
    by_hand = ByHand(module, parameters, seed=4)
    losses = module.descend(parameters, state, 3, **data(), learning_rate=RATE, seed=4)
    losses = [*losses, *module.descend(parameters, state, 2, **data(), learning_rate=RATE, seed=4)]
    for _ in range(5):
        by_hand.step(data())
    by_hand.check(module, parameters)
    np.testing.assert_allclose(losses, by_hand.losses, rtol=1e-12)


def test_an_epoch_is_its_steps(module):
    """One call for each batch, with the same state, draws the same numbers."""
    whole, steps = module.initial_parameters(3), module.initial_parameters(3)
    order, states = np.arange(ROWS)[::-1].copy(), [module.optimizer_state() for _ in range(2)]
    module.train_epoch(whole, states[0], order, BATCH, **data(), learning_rate=RATE, seed=5)
    for start in range(0, ROWS, BATCH):
        module.train_epoch(steps, states[1], order[start : start + BATCH], BATCH, **data(), learning_rate=RATE, seed=5)
    np.testing.assert_array_equal(whole, steps)


def test_the_first_step_is_loss_and_gradient(module):
    parameters = module.initial_parameters(3)
    loss, gradient = module.loss_and_gradient(parameters, **data(), seed=6)
    stepped, state = parameters.copy(), module.optimizer_state()
    assert module.descend(stepped, state, 1, **data(), learning_rate=RATE, seed=6)[0] == loss
    trained = sum(np.prod(p.shape, dtype=int) for p in module.PARAMETERS if p.trained)
    np.testing.assert_allclose(stepped[:trained], (parameters - RATE * gradient)[:trained], rtol=1e-15)


def test_steps_and_seeds_have_masks_of_their_own(module):
    def losses(seed: int) -> np.ndarray:
        parameters = module.initial_parameters(3)
        return module.descend(parameters, module.optimizer_state(), 4, **data(), learning_rate=0.0, seed=seed)

    assert len(set(losses(0))) == 4  # the parameters of the objective do not move
    np.testing.assert_array_equal(losses(0), losses(0))
    assert not set(losses(0)) & set(losses(1))


def test_rows_of_a_batch_draw_by_their_position():
    """The element's number is the row's position in the step's batch: rows of the data do not matter."""
    model = drawing_model()
    module, x = execute(module_text(model)), np.arange(ROWS * 1.0)
    parameters, state = module.initial_parameters(), module.optimizer_state()
    order = np.array([7, 2, 9])
    loss = module.train_epoch(parameters, state, order, 3, x, learning_rate=0.0, seed=1)
    drawn = random_tensors(declared_program(model), {"N": 3}, 1)
    assert loss == pytest.approx(np.sum(x[order, None] * (drawn["r"] + 2 * drawn["s"])) / 3, rel=1e-13)


# ---- the flat vector


def test_running_tensors_stand_at_the_end_and_are_marked(module):
    names = ["first_W", "bn_gain", "bn_shift", "last_W", "last_b", "bn_running_mean", "bn_running_variance"]
    assert [p.name for p in module.PARAMETERS] == list(module.views(module.initial_parameters())) == names
    assert [p.trained for p in module.PARAMETERS] == [True] * 5 + [False] * 2
    offsets = np.cumsum([0, *(np.prod(p.shape, dtype=int) for p in module.PARAMETERS)])
    assert [p.offset for p in module.PARAMETERS] == offsets[:-1].tolist()
    assert len(module.initial_parameters()) == offsets[-1]
    assert running(module, module.initial_parameters(5)).keys() == {"bn_running_mean", "bn_running_variance"}
    np.testing.assert_array_equal(running(module, module.initial_parameters(5))["bn_running_mean"], np.zeros(4))
    np.testing.assert_array_equal(running(module, module.initial_parameters(5))["bn_running_variance"], np.ones(4))


def test_their_gradient_is_0_and_scipy_leaves_them_alone(module):
    start = module.initial_parameters(3)
    start[-8:] = np.arange(1, 9)
    loss, gradient = module.loss_and_gradient(start, **data(), seed=2)
    np.testing.assert_array_equal(gradient[-8:], np.zeros(8))
    assert np.all(gradient[:-8] != 0)
    found = minimize(lambda p: module.loss_and_gradient(p, **data(), seed=2), start, jac=True, options={"maxiter": 5})
    assert found.fun < loss
    np.testing.assert_array_equal(found.x[-8:], start[-8:])


def decayed_adam() -> optimizers.UpdateRule:
    """Adam that also shrinks every parameter."""
    adam = optimizers.adam()
    decay = optimizers.hyperparameter("decay")
    *slots, (theta, change) = adam.assignments
    shrunk = [*slots, (theta, change - decay * theta)]
    return optimizers.rule("decayed", shrunk, dict(adam.slots), decay=0.1, **dict(adam.hyperparameters))


def shrinking_descent() -> optimizers.UpdateRule:
    eta, theta, g = optimizers.hyperparameter("learning_rate"), optimizers.theta, optimizers.g
    return optimizers.rule("shrinking", [(theta, (1 - eta) * theta - eta * g)], learning_rate=0.1)


RULES = {"momentum": optimizers.momentum(), "decay": decayed_adam(), "shrinking": shrinking_descent()}


@pytest.mark.parametrize("name", RULES)
def test_update_rules_leave_them_alone(name):
    module = execute(module_text(network(RULES[name])))
    parameters, state = module.initial_parameters(3), module.optimizer_state()
    parameters[-8:] = np.arange(1, 9)
    before = parameters.copy()
    module.update(parameters, np.ones_like(parameters), state)
    np.testing.assert_array_equal(parameters[-8:], before[-8:])
    assert np.all(parameters[:-8] != before[:-8])
    # By an epoch they change as their next values say, whatever the rule: the first step's are those of any other.
    plain = execute(module_text(network()))
    ours, theirs = before.copy(), before.copy()
    module.train_epoch(ours, module.optimizer_state(), np.arange(BATCH), BATCH, **data())
    plain.train_epoch(theirs, plain.optimizer_state(), np.arange(BATCH), BATCH, **data())
    np.testing.assert_array_equal(ours[-8:], theirs[-8:])
    assert np.all(ours[-8:] != before[-8:])


@pytest.mark.parametrize("name", ["gradient descent", "shrinking", "momentum"])
def test_large_models_are_updated_in_place_and_running_tensors_take_their_values(name):
    """Beyond 4,096 parameters, products of matrices are added to them at once; the last weights run beside."""
    rules = {**RULES, "gradient descent": optimizers.gradient_descent(0.1)}
    model = Model("large", dtype="float64")
    N = model.batch("N")
    n, i, j = model.indices(n=N, i=70, j=60)
    x, W = model.input("x", N, 70), model.parameter("W", 70, 60, init="glorot_uniform")
    h = model.let("h", (n, j), sp.tanh(sp.Sum(x[n, i] * W[i, j], i)))
    d = dropout(h, 0.5, name="drop")
    count = model.running("count", next=lambda: count + 1)
    model.running("last", 70, 60, next=lambda k, m: W[k, m])
    model.minimize(sp.Sum(d[n, j] ** 2, n, j) / N)
    model.update(rules[name])
    text = module_text(model)
    assert ("alpha_beta" in text) is (name != "momentum")
    module, x = execute(text), np.random.default_rng(0).normal(size=(6, 70))
    parameters, state = module.initial_parameters(0), module.optimizer_state()
    by_update, state_by_update = parameters.copy(), module.optimizer_state()
    module.update(by_update, module.loss_and_gradient(parameters, x[:2], seed=3)[1], state_by_update)
    before = module.views(parameters.copy())
    module.train_epoch(parameters, state, np.arange(2), 2, x, seed=3)
    views = module.views(parameters)
    np.testing.assert_allclose(views["W"], module.views(by_update)["W"], rtol=1e-12)
    assert views["W"].tolist() != before["W"].tolist()
    np.testing.assert_array_equal(views["last"], before["W"])
    module.train_epoch(parameters, state, np.arange(6), 2, x, seed=3)
    assert views["count"] == state.step[0] == 4


def test_running_tensors_change_all_at_once():
    """a ← b, b ← a + b: the values of the step before, not of each other's change."""
    model = Model("fibonacci", dtype="float64")
    a = model.running("a", init="zeros", next=lambda: b)
    b = model.running("b", init="ones", next=lambda: a + b)
    model.minimize((model.parameter("w") - a) ** 2)
    module = execute(module_text(model))
    parameters = module.initial_parameters()
    module.descend(parameters, module.optimizer_state(), 10)
    assert parameters[1:].tolist() == [55, 89]


def test_a_next_value_without_indices_may_be_an_expression():
    model = Model("last", dtype="float64")
    w = model.parameter("w", init="ones")
    model.running("seen", next=2 * w)
    model.minimize(w**2)
    module = execute(module_text(model))
    parameters = module.initial_parameters()
    module.descend(parameters, module.optimizer_state(), 1, learning_rate=0.25)
    assert parameters.tolist() == [0.5, 2.0]


def test_power_iteration_reads_what_is_declared_later():
    """A next value may use lets that read the running tensor itself."""
    model = Model("spectral", dtype="float64")
    W = model.parameter("W", 3, 4, init="normal")
    i, j = model.indices(i=3, j=4)
    u = model.running("u", 3, init="ones", next=lambda k: up[k] / sp.sqrt(sp.Sum(up[i] ** 2, i)))
    v = model.let("v", j, sp.Sum(W[i, j] * u[i], i))
    up = model.let("up", i, sp.Sum(W[i, j] * v[j], j) / sp.sqrt(sp.Sum(v[j] ** 2, j)))
    model.minimize(sp.Sum(v[j] ** 2, j))
    module = execute(module_text(model))
    parameters, state = module.initial_parameters(1), module.optimizer_state()
    module.descend(parameters, state, 200, learning_rate=0.0)
    left = np.linalg.svd(module.views(parameters)["W"])[0][:, 0]
    np.testing.assert_allclose(np.abs(module.views(parameters)["u"]), np.abs(left), rtol=1e-9)


# ---- equal layers


def test_equal_layers_share_kernels_and_loops():
    model = Model("deep", dtype="float64")
    N = model.batch("N")
    a, t = model.input("x", N, 4), model.input("t", N, 4)
    for k in range(4):
        a = dropout(batch_norm(dense(a, 4, relu, name=f"d{k}", bias=False), name=f"b{k}"), 0.2, name=f"r{k}")
    model.minimize(mean_squared_error(a, t))
    model.predict(a)
    text = module_text(model)
    assert "for k in range" in text
    declared = declared_program(model)
    module, values = execute(text), random_values(declared, "float64", 5, 1)
    check_module(module, declared, values)
    flat = np.concatenate([np.ravel(values[p.name]) for p in declared.vector])
    wanted = run(declared, values)
    module.descend(flat, module.optimizer_state(), 1, values["x"], values["t"])
    for name, following in declared.running:
        np.testing.assert_allclose(module.views(flat)[name], wanted[following].astype(float), rtol=1e-11)


# ---- what surrounds


def test_the_digest_covers_them():
    def digest(**changes: Any) -> str:
        model = Model("digest", dtype="float64")
        w = model.parameter("w", 3)
        r = model.random("r", changes.get("size", 3))
        m = model.running("m", 3, init=changes.get("init", "zeros"), next=lambda i: changes.get("rate", 0.5) * m[i])
        (i,) = model.local_indices(3)
        mode = changes.get("mode", 1)
        model.minimize(sp.Sum(sp.Piecewise((w[i] * r[i], sp.Eq(model.training, mode)), (w[i], True)), i))
        return generate_body(model).spec_digest

    variants = [{}, {"size": 4}, {"init": "ones"}, {"rate": 0.25}, {"mode": 0}]
    assert len({digest(**v) for v in variants}) == len(variants)
    assert digest() == digest()


def test_fit_gives_its_seed_to_the_draws(text, tmp_path):
    module = execute(text)
    same = [runtime.fit(module, data(), epochs=2, batch_size=BATCH, seed=5, shuffle=False).parameters for _ in range(2)]
    np.testing.assert_array_equal(*same)
    parameters, state = module.initial_parameters(5), module.optimizer_state()
    for _ in range(2):
        module.train_epoch(parameters, state, np.arange(ROWS), BATCH, **data(), seed=5)
    np.testing.assert_array_equal(same[0], parameters)


def test_a_parallel_module_computes_the_same(module):
    parallel = execute(_assembled(generate_body(network(), "float64", parallel=True)))
    parameters = module.initial_parameters(3)
    np.testing.assert_array_equal(
        parallel.loss_and_gradient(parameters, **data(), seed=1)[1],
        module.loss_and_gradient(parameters, **data(), seed=1)[1],
    )


def _assembled(generated: Any) -> str:
    from derivgen.file import headers

    return headers.assemble(generated, "spec.py", headers.command_line("spec.py"))


def test_explain_shows_what_training_computes():
    from derivgen.explain.model import explain_model

    shown = explain_model(network())
    assert "bn_running_mean_next[i] = 0.1·bn_mean[i] + 0.9·bn_running_mean[i]" in shown
    assert "drop_random" in shown
    assert "training" not in shown


def test_what_evaluation_alone_needs_is_no_unused_let():
    from derivgen.explain.model import explain_model

    model = Model("modes", dtype="float64")
    w, i = model.parameter("w", 3), model.indices(i=3)
    kept = model.let("kept", i, w[i] + 1)
    model.let("unused", i, w[i] + 2)
    z = model.let("z", i, sp.Piecewise((w[i], sp.Eq(model.training, 1)), (kept[i] ** 2, True)))
    model.minimize(sp.Sum(z[i] ** 2, i))
    assert "needs unused." in explain_model(model)


# ---- refusals

PREAMBLE = """\
import sympy as sp
from derivgen import Model, optimizers
from derivgen.layers import dropout

model = Model("bad")
N = model.batch("N")
n, d = model.indices(n=N, d=3)
x, w = model.input("x", N, 3), model.parameter("w", 3)
"""
ENDING = "model.minimize(sp.Sum(x[n, d] * w[d], n, d) / N)\n"

REFUSED = {
    "axes, no function": ('model.running("m", 3, next=w[d])', "give next as a function of them"),
    "unknown name": ('model.running("m", 3, next=lambda i: nothing[i])', "NameError: name 'nothing' is not defined"),
    "wrong number of indices": ('model.running("m", 3, next=lambda i, j: w[i])', "it must have 1 index"),
    "no expression": ('model.running("m", 3, next=lambda i: "w")', "gave no expression"),
    "a condition": ('model.running("m", 3, next=lambda i: w[i] > 0)', "must be a real expression"),
    "a loose index": ('model.running("m", 3, next=lambda i: w[d])', "index d, which is neither on the left nor summed"),
    "run-time size": ('model.running("m", N, next=lambda i: 0)', "sizes must be fixed at generation"),
    "initializer": ('model.running("m", 3, init="nice", next=lambda i: 0)', "running tensor m: no initializer"),
    "outside": ('model.running("m", 4, next=lambda i: w[i])', "may leave axis 0 of w"),
    "random written to": ('model.random("r", 3)\nmodel.let("r", d, w[d])', "r is used twice: it is a random tensor"),
    "running written to": (
        'model.running("m", 3, next=lambda i: 0)\nmodel.let("m", d, w[d])',
        "m is used twice: it is a running tensor",
    ),
    "random in a subscript": ('r = model.random("r")\nmodel.let("a", (), w[r])', "expected an integer combination"),
    "input named seed": ('model.random("r", 3)\nmodel.input("seed", N)', "give the input another name"),
    "input named training": ('model.training\nmodel.input("training", N)', "training is used twice"),
    "training after a let of that name": ('model.let("training", d, w[d])\nmodel.training', "training is used twice"),
    "size that no input has": ('M = model.batch("M")\nmodel.random("r", M)', "size M is used, but no input has it"),
    "rate": ('dropout(x, 1.5, name="drop")', "rate must be at least 0 and less than 1"),
}


@pytest.mark.parametrize("body, message", REFUSED.values(), ids=REFUSED)
def test_bad_uses_are_refused_at_their_line(body, message, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(f"{PREAMBLE}{body}\n{ENDING}", encoding="utf-8")
    with pytest.raises(ValueError) as found:
        declared_program(load_target(str(path)).model)
    problems = found.value.problems
    assert len(problems) == 1, problems
    assert message in problems[0].message
    line = PREAMBLE.count("\n") + body.count("\n") + 1
    expected = line if "no input has it" not in message else 5
    assert (Path(problems[0].place.file).name, problems[0].place.line) == ("bad.py", expected)


def test_names_that_only_some_modules_take_are_free_in_others():
    model = Model("free", dtype="float64")
    N = model.batch("N")
    seed, training = model.input("seed", N), model.input("training", N)
    (n,) = model.local_indices(N)
    model.minimize(sp.Sum(seed[n] * training[n], n) * model.parameter("w", init="ones"))
    module = execute(module_text(model))
    assert module.loss(module.initial_parameters(), np.array([2.0]), training=np.array([3.0])) == 6


@pytest.mark.parametrize("name", ["seed", "draw"])
def test_a_hyperparameter_with_a_name_of_the_functions_is_refused_where_the_module_draws(name):
    model = Model("bad")
    theta, g, rate = optimizers.theta, optimizers.g, optimizers.hyperparameter(name)
    r = model.random("r")
    model.minimize(r * model.parameter("w"))
    with pytest.raises(ValueError, match=f"{name} is (a name of the update rule|an argument of runtime.fit)"):
        model.update(optimizers.rule("own", [(theta, theta - rate * g)], **{name: 0.1}))
        declared_program(model)


def test_bad_seeds_are_refused(module):
    parameters, state = module.initial_parameters(), module.optimizer_state()
    for bad, error in ((-1, ValueError), (2**63, ValueError), (0.5, TypeError), (True, TypeError)):
        for call in (
            lambda bad: module.loss(parameters, **data(), seed=bad),
            lambda bad: module.loss_and_gradient(parameters, **data(), seed=bad),
            lambda bad: module.train_epoch(parameters, state, np.arange(3), 2, **data(), seed=bad),
            lambda bad: module.descend(parameters, state, 1, **data(), seed=bad),
        ):
            with pytest.raises(error, match="seed"):
                call(bad)
    assert state.step[0] == 0


# ---- compiled


def test_no_float64_in_a_float32_module(tmp_path):
    """Of all its functions, as numba types them."""
    text, calls = module_text(network(optimizers.adam()), "float32"), dict[str, tuple[Any, ...]]()
    single, inputs = execute(text, calls), {name: a.astype(np.float32) for name, a in data().items()}
    parameters = single.initial_parameters(0)
    single.loss(parameters, **inputs)
    single.loss_and_gradient(parameters, **inputs)
    single.predict(parameters, inputs["x"])
    single.train_epoch(parameters, single.optimizer_state(), np.arange(5), 2, **inputs)
    single.descend(parameters, single.optimizer_state(), 1, **inputs)
    assert {"uniform", "philox", "fraction", "draw", "take_next", "evaluate", "bn_evaluate"} <= {*calls}
    path = tmp_path / "single_kernels.py"
    path.write_text(text, encoding="utf-8")
    assert doubles_in(runtime.load(path), calls, {*calls} - {"fraction"}) == []
    assert doubles(runtime.load(path).fraction.py_func, (5,)) == []


def test_the_text_is_clean_for_ruff(text, tmp_path):
    path = tmp_path / "network_kernels.py"
    path.write_text(text, encoding="utf-8")
    for words in (["check", "--isolated"], ["format", "--check", "--line-length", "120", "--isolated"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, path], check=True)


def test_the_compiled_module_agrees(text, module, tmp_path):
    path = tmp_path / "network_kernels.py"
    path.write_text(text, encoding="utf-8")
    compiled = runtime.load(path)
    ours, theirs = compiled.initial_parameters(3), module.initial_parameters(3)
    order = np.arange(ROWS)
    for m, parameters in ((compiled, ours), (module, theirs)):
        m.train_epoch(parameters, m.optimizer_state(), order, BATCH, **data(), learning_rate=RATE, seed=2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    assert compiled.loss(ours, **data()) == pytest.approx(module.loss(ours, **data()), rel=1e-13)
    np.testing.assert_allclose(compiled.predict(ours, data()["x"]), module.predict(ours, data()["x"]), rtol=1e-12)


# ---- gradcheck


def test_gradcheck_of_a_gradient_that_is_0_by_cancellation():
    """A bias before batch norm: rounding leaves 1e-17 of it, which is no error; a wrong gradient there is one."""
    model = Model("biased", dtype="float64")
    N = model.batch("N")
    x, (n, j) = model.input("x", N, 2), model.local_indices(N, 3)
    z = batch_norm(dense(x, 3, name="first"), name="bn")
    model.minimize(sp.Sum(z[n, j] ** 3, n, j) / N)
    found = {c.parameter: c for c in gradcheck(model)}
    assert max(c.error for c in found.values()) < 1e-13
    assert "it is 0" in found["first_b"].checked
    assert cancelled(found["first_b"], np.array([0.0, 1e-6]), 1.0).error == 1e-6
    assert cancelled(found["first_b"], np.array([np.nan]), 1.0).error != 0


# ---- with recurrences


def test_a_recurrence_with_a_mask_of_its_own_dropout_and_batch_norm():
    """Tensors of a recurrence are laid out anew, time first; what is drawn must stay as it is numbered."""
    model = Model("recurrent", dtype="float64")
    N = model.batch("N")
    T, D, H = model.sizes(T=4, D=3, H=2)
    n, t, d, j, k = model.indices(n=N, t=T, d=D, j=H, k=H)
    x, W, U = model.input("x", N, T, D), model.parameter("W", D, H), model.parameter("U", H, H)
    r = model.random("r", N, T, H)
    kept = sp.Piecewise((2, r[n, t, j] >= 0.5), (0, True))
    mask = sp.Piecewise((kept, sp.Eq(model.training, 1)), (1, True))

    def step(h: Any) -> sp.Expr:
        inner = sp.Sum(x[n, t, d] * W[d, j], d) + sp.Sum(h[n, t - 1, k] * U[k, j], k)
        return sp.tanh(inner) * mask

    h = model.recur("h", (n, t, j), step, initial=0)
    b = batch_norm(dropout(h, 0.3, name="drop"), name="bn")
    carried = model.running("carried", H, next=lambda i: h[0, T - 1, i] + carried[i])
    model.minimize(sp.Sum(b[n, t, j] ** 3 + h[n, t, j] ** 2, n, t, j) / N)
    model.predict(b)
    declared, values = point(model)
    module = execute(module_text(model))
    check_module(module, declared, values)
    flat = np.concatenate([np.ravel(values[p.name]) for p in declared.vector])
    wanted = run(declared, values)
    module.descend(flat, module.optimizer_state(), 1, values["x"])
    for name, following in declared.running:
        np.testing.assert_allclose(module.views(flat)[name], wanted[following].astype(float), rtol=1e-11)
