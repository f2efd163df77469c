"""The training loop around a module: rows, validation, stopping, where a NaN came from, the monitor, checkpoints."""

from __future__ import annotations

import json
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from sklearn.datasets import load_digits

from derivgen import Model, generate, layers, losses, optimizers, runtime
from derivgen.activations import relu, sigmoid, tanh
from derivgen.errors import DerivgenError
from derivgen.runtime.data import rows as rows_module
from derivgen.runtime.solve import objective
from derivgen.runtime.train import run as run_module
from derivgen.runtime.train import stepping
from derivgen.runtime.train.evaluation import validation_loss

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits_kernels.py"
BATCH = 32


@pytest.fixture(autouse=True)
def a_checkpoint_each_epoch(monkeypatch):
    """Where nothing else is said: five seconds are longer than a test."""
    monkeypatch.setattr(run_module, "SECONDS_BETWEEN", 0.0)


@pytest.fixture(scope="module")
def digits():
    return runtime.load(DIGITS)


@pytest.fixture(scope="module")
def images():
    x, y = load_digits(return_X_y=True)
    return {"x": (x[:600] / 16).astype(np.float32), "y": y[:600].astype(np.int64)}


def regression(rule=None) -> Model:
    """Two layers with batch normalization and dropout between: running and random tensors, and slots."""
    model = Model("regression", dtype="float64")
    N = model.batch("N")
    a = layers.dense(model.input("x", N, 3), 5, relu, name="hidden")
    a = layers.dropout(layers.batch_norm(a, name="norm"), 0.2, name="drop")
    z = layers.dense(a, 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    model.predict(z)
    model.update(rule or optimizers.adamw(0.01), {"*_b": {"weight_decay": 0}} if rule is None else None)
    return model


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    """A module with everything that a training must keep."""
    return runtime.load(generate(regression(), tmp_path_factory.mktemp("fit") / "regression_kernels.py"))


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3))
    return {"x": x, "t": (x @ [[1.0], [-2.0], [0.5]] + 0.1 * rng.normal(size=(90, 1)))}


def same(a: runtime.Fit, b: runtime.Fit) -> None:
    """To the bit, but for the clock."""
    np.testing.assert_array_equal(a.parameters, b.parameters)
    for mine, other in zip(a.state, b.state, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert without_seconds(a) == without_seconds(b)
    assert (a.best_epoch, a.stopped) == (b.best_epoch, b.stopped)


def without_seconds(fit: runtime.Fit) -> list:
    return [(e.epoch, e.loss, e.validation_loss, dict(e.metrics), e.step, e.layers) for e in fit.history]


# ---- rows


def test_chunks_change_no_bit(modes, points, monkeypatch):
    whole = runtime.fit(modes, points, epochs=3, batch_size=8, validation_split=0.2)
    monkeypatch.setattr(rows_module, "CHUNK", 100)
    in_chunks = runtime.fit(modes, points, epochs=3, batch_size=8, validation_split=0.2)
    np.testing.assert_array_equal(whole.parameters, in_chunks.parameters)
    for mine, other in zip(whole.history, in_chunks.history, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-12)


def test_arrays_that_kernels_can_t_take_come_in_chunks(digits, images, tmp_path, monkeypatch):
    """Mapped from a file, by columns, labels of one byte: the same bits, and never the whole in memory."""
    wanted = runtime.fit(digits, images, epochs=2, validation_split=0.1, learning_rate=0.1)
    np.save(tmp_path / "x.npy", images["x"])
    mapped = {"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": images["y"].astype(np.uint8)}
    by_columns = {"x": np.asfortranarray(images["x"]), "y": images["y"]}
    for data in (mapped, by_columns):
        same(runtime.fit(digits, data, epochs=2, validation_split=0.1, learning_rate=0.1), wanted)
    taken = []
    monkeypatch.setattr(rows_module, "CHUNK", 20_000)
    take = rows_module.Feed.for_order
    monkeypatch.setattr(
        rows_module.Feed, "for_order", lambda feed, order: taken.append(len(order)) or take(feed, order)
    )
    runtime.fit(digits, mapped, epochs=1, learning_rate=0.1)
    assert max(taken) <= 5 * BATCH and sum(taken) == 600


def test_accumulated_batches_are_one_larger_batch(tmp_path, points):
    """Without normalization and dropout, whose results depend on the batch."""
    model = Model("plain", dtype="float64")
    z = layers.dense(layers.dense(model.input("x", model.batch("N"), 3), 4, tanh, name="hidden"), 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", sp.Symbol("N", integer=True, positive=True), 1)))
    model.update(optimizers.momentum(0.05))
    module = runtime.load(generate(model, tmp_path / "plain_kernels.py"))
    whole = runtime.fit(module, points, epochs=2, batch_size=28)
    parts = runtime.fit(module, points, epochs=2, batch_size=7, accumulate=4)  # the last of each: 6 rows, 6 of 28
    np.testing.assert_allclose(parts.parameters, whole.parameters, rtol=1e-11)
    assert parts.history[-1].step == whole.history[-1].step == 8
    assert parts.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=1e-11)


def test_accumulation_moves_running_tensors_and_draws_anew(modes, points):
    """As many moves of the running mean as batches, each with random numbers of its own."""
    fit = runtime.fit(modes, points, epochs=1, batch_size=30, accumulate=3, shuffle=False)
    parameters, steps = modes.initial_parameters(0), []
    for k in range(3):
        part = {name: array[30 * k : 30 * k + 30] for name, array in points.items()}
        steps.append(modes.mean_gradient(parameters, np.arange(30), 30, **part, seed=0, first_step=k))
    np.testing.assert_array_equal(fit.views["norm_running_mean"], modes.views(parameters)["norm_running_mean"])
    modes.update(parameters, np.mean([g for _, g in steps], axis=0), modes.optimizer_state())
    np.testing.assert_allclose(fit.parameters, parameters, rtol=1e-11)
    again = modes.mean_gradient(modes.initial_parameters(0), np.arange(30), 30, **part, seed=0, first_step=7)
    assert np.abs(again[1] - steps[-1][1]).max() > 1e-6


def test_drop_last(modes, points):
    assert runtime.fit(modes, points, epochs=1, batch_size=40, drop_last=True).history[0].step == 2
    with pytest.raises(ValueError, match="drop_last leaves no step: 90 rows"):
        runtime.fit(modes, points, epochs=1, batch_size=100, drop_last=True)


def test_validation_data_of_their_own(modes, points, monkeypatch):
    held = {name: array[60:] for name, array in points.items()}
    data = {name: array[:60] for name, array in points.items()}
    fit = runtime.fit(modes, data, epochs=2, batch_size=8, validation=held, metrics=["r2"])
    assert fit.history[-1].validation_loss == modes.loss(fit.parameters, **held)
    prediction = modes.predict(fit.parameters, held["x"])
    r2 = 1 - np.sum((held["t"] - prediction) ** 2) / np.sum((held["t"] - held["t"].mean()) ** 2)
    assert fit.history[-1].metrics["r2"] == pytest.approx(r2)
    with pytest.raises(TypeError, match="the input t is missing"):  # and not that of the training data
        runtime.fit(modes, data, validation={"x": data["x"]})
    monkeypatch.setattr(rows_module, "CHUNK", 16 * 4 * 7)  # 7 rows a part
    in_parts = runtime.fit(modes, data, epochs=2, batch_size=8, validation=held, metrics=["r2"])
    assert in_parts.history[-1].validation_loss == pytest.approx(fit.history[-1].validation_loss, rel=1e-12)
    assert in_parts.history[-1].metrics["r2"] == pytest.approx(r2)
    with pytest.raises(ValueError, match="either validation data or validation_split"):
        runtime.fit(modes, data, validation=held, validation_split=0.5)


def test_class_weights(tmp_path):
    model = Model("weighted", dtype="float64")
    N = model.batch("N")
    weights = model.input("class_weights", 3)
    z = layers.dense(model.input("x", N, 2), 3, name="out")
    model.minimize(losses.softmax_cross_entropy(z, model.labels("y", N, classes=3), class_weights=weights))
    module = runtime.load(generate(model, tmp_path / "weighted_kernels.py"))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 2)), "y": np.repeat([0, 1, 2], [25, 10, 5])}
    balanced = runtime.fit(module, data, epochs=2, class_weights="balanced")
    given = runtime.fit(module, {**data, "class_weights": 40 / (3 * np.array([25.0, 10, 5]))}, epochs=2)
    same(balanced, given)
    by_label = runtime.fit(module, data, epochs=2, class_weights={2: 5.0})
    same(by_label, runtime.fit(module, {**data, "class_weights": np.array([1.0, 1, 5])}, epochs=2))
    for bad, message in [
        ("balance", 'expected "balanced"'),
        ({7: 1.0}, "expected labels 0 .. 2, found 7"),
        ([1.0, 2.0], r"expected 3 finite numbers of at least 0, found \[1\. 2\.\]"),
        ([1.0, -2.0, 1.0], r"expected 3 finite numbers of at least 0, found \[ 1\. -2\.  1\.\]"),
        ({2: float("nan")}, r"expected 3 finite numbers of at least 0, found .*nan"),
    ]:
        with pytest.raises(ValueError, match=message):
            runtime.fit(module, data, class_weights=bad)


def test_data_that_the_model_does_not_take_are_named(digits, images):
    for more, message in [({"weights": [1.0]}, "its inputs are x, y"), ({"X": images["x"]}, "did you mean x")]:
        with pytest.raises(TypeError, match=f"data has {next(iter(more))}, which is no input of the model.*{message}"):
            runtime.fit(digits, {**images, **more})
    with pytest.raises(TypeError, match="validation has z"):
        runtime.fit(digits, images, validation={**images, "z": images["y"]})


def test_class_weights_need_an_input(digits, images):
    with pytest.raises(ValueError, match=r'declare class_weights = model\.input\("class_weights", classes\)'):
        runtime.fit(digits, images, class_weights="balanced")


# ---- the end of a training


def test_early_stopping_keeps_the_best(digits, images):
    """A rate at which the validation loss jumps about."""
    settings = {"epochs": 60, "validation_split": 0.3, "learning_rate": 2.0, "batch_size": 16}
    whole = runtime.fit(digits, images, **settings)
    fit = runtime.fit(digits, images, **settings, early_stopping=3, keep_best=True)
    validation = [e.validation_loss for e in fit.history]
    assert validation == [e.validation_loss for e in whole.history][: len(validation)]
    best = int(np.argmin(validation))
    assert fit.best_epoch == best + 1 == len(validation) - 3 < 57
    assert fit.stopped == f"no smaller loss since epoch {best + 1}: stopped after epoch {best + 4}"
    until_then = runtime.fit(digits, images, **{**settings, "epochs": best + 1})
    np.testing.assert_array_equal(fit.parameters, until_then.parameters)


def test_callbacks_see_and_change_the_parameters(digits, images):
    seen = []

    def clip(epoch, views):
        seen.append((epoch.epoch, epoch.loss))
        np.clip(views["W1"], -0.1, 0.1, out=views["W1"])
        return epoch.epoch == 3

    fit = runtime.fit(digits, images, epochs=9, learning_rate=0.1, callbacks=[clip])
    assert [e for e, _ in seen] == [1, 2, 3] and fit.stopped == "a callback ended the training after epoch 3"
    assert np.abs(fit.views["W1"]).max() <= np.float32(0.1)


# ---- NaN and infinity


def test_training_stops_at_the_first_bad_step(digits, images):
    """A row with a NaN: step, tensor, and the parameters before that step."""
    x = images["x"].copy()
    x[123, 7] = np.nan
    with pytest.raises(runtime.NonFiniteError, match=r"the input x holds nan at x\[123, 7\] \(1 such") as stop:
        runtime.fit(digits, {**images, "x": x}, epochs=3, seed=5, learning_rate=0.1)
    order = np.random.default_rng(5).permutation(np.arange(600))
    bad = int(np.flatnonzero(order == 123)[0]) // BATCH
    parameters, state = digits.initial_parameters(5), digits.optimizer_state()
    digits.train_epoch(parameters, state, order[: bad * BATCH], BATCH, **images, learning_rate=0.1)
    assert (stop.value.epoch, stop.value.step, stop.value.tensor) == (1, bad + 1, "x")
    np.testing.assert_array_equal(stop.value.parameters, parameters)
    np.testing.assert_array_equal(stop.value.state.step, state.step)


def test_a_gradient_that_is_not_finite_at_a_finite_loss(tmp_path):
    """√u at 0 has an infinite slope: of b, in the second step."""
    model = Model("slope", dtype="float64")
    N = model.batch("N")
    x, a, b = model.input("x", N), model.parameter("a", init=2.0), model.parameter("b", init=1.0)
    n = model.indices(n=N)
    model.minimize(sp.Sum((a - 1) ** 2 + sp.sqrt(sp.Abs(b * x[n])) * (b * x[n]) ** 0, n) / N)
    module = runtime.load(generate(model, tmp_path / "slope_kernels.py"))
    with pytest.raises(runtime.NonFiniteError, match=r"epoch 1, step 2: the gradient is not finite") as stop:
        runtime.fit(module, {"x": np.array([1.0, 0.0])}, batch_size=1, shuffle=False, epochs=2)
    assert stop.value.tensor == "b" and stop.value.step == 2
    assert np.isfinite(stop.value.parameters).all()


def test_a_training_that_diverges_names_the_parameter(modes, points):
    with pytest.raises(runtime.NonFiniteError, match="smaller learning rate") as stop:
        runtime.fit(modes, {**points, "t": points["t"] * 1e200}, epochs=50, learning_rate=1e150)
    assert np.isfinite(stop.value.parameters).all()


def test_a_model_without_samples_stops_too(tmp_path):
    model = Model("bowl", dtype="float64")
    v = model.parameter("v", init=1.0)
    model.minimize(v**4)
    module = runtime.load(generate(model, tmp_path / "bowl_kernels.py"))
    with pytest.raises(runtime.NonFiniteError, match=r"step \d: .*the parameter v grew"):
        runtime.fit(module, {}, epochs=30, learning_rate=100.0)


def test_a_hyperparameter_that_is_not_finite_is_named(modes, points):
    with pytest.raises(runtime.NonFiniteError, match="the hyperparameter learning_rate is nan") as stop:
        runtime.fit(modes, points, learning_rate=np.nan)
    assert (stop.value.tensor, stop.value.step) == ("learning_rate", 1)


def test_what_a_callback_breaks_is_not_kept(digits, images, tmp_path):
    def broken(epoch, views):
        if epoch.epoch == 2:
            views["b1"][3] = np.nan

    run = {"epochs": 4, "checkpoints": tmp_path / "run", "checkpoint_every": 1, "keep": 1}
    with pytest.raises(runtime.NonFiniteError, match=r"a callback made it nan at b1\[3\]") as stop:
        runtime.fit(digits, images, callbacks=[broken], **run)
    assert len(stop.value.fit.history) == 2
    resumed = runtime.fit(digits, images, resume=True, **run)
    same(resumed, runtime.fit(digits, images, epochs=4, checkpoints=tmp_path / "other", checkpoint_every=1))


def test_every_difference_is_told_on_resuming(digits, images, tmp_path):
    runtime.fit(digits, images, epochs=1, checkpoints=tmp_path)
    with pytest.raises(
        DerivgenError, match="batch_size 32, here it is 8, seed 0, here it is 1: give the same settings"
    ):
        runtime.fit(digits, images, epochs=2, checkpoints=tmp_path, resume=True, batch_size=8, seed=1)


def test_a_training_in_a_callback_is_another_one(digits, images):
    def inner(epoch, views):
        if epoch.epoch == 3:
            runtime.fit(digits, {**images, "x": images["x"] * np.float32(np.nan)}, epochs=1)

    with pytest.raises(runtime.NonFiniteError, match="epoch 1, step 1") as stop:
        runtime.fit(digits, images, epochs=4, callbacks=[inner])
    assert len(stop.value.fit.history) == 3


def test_what_is_refused_leaves_an_old_history(digits, images, tmp_path):
    path = tmp_path / "h.jsonl"
    runtime.fit(digits, images, epochs=1, history=path)
    old = path.read_bytes()
    for bad in ({"drop_last": True, "batch_size": 10**6}, {"callbacks": [3]}, {"metrics": ["accuracy"], "target": "x"}):
        with pytest.raises((ValueError, TypeError)):
            runtime.fit(digits, images, epochs=1, history=path, **bad)
    with pytest.raises(TypeError, match="float32"):
        runtime.fit(digits, {**images, "x": images["x"] > 0}, epochs=1, history=path)
    assert path.read_bytes() == old


@pytest.mark.parametrize("data", [([1.0],), None, np.zeros(3)])
def test_data_must_be_named(digits, data):
    with pytest.raises(TypeError, match="data must be a mapping from inputs' names to arrays, found"):
        runtime.fit(digits, data)


def test_losses_whose_mean_alone_overflows_are_no_end(tmp_path):
    """In float32 the difference of two such losses is infinite, and so would be an epoch's running mean."""
    model = Model("huge")
    N = model.batch("N")
    x, w, n = model.input("x", N), model.parameter("w", init="ones"), model.indices(n=N)
    model.minimize(sp.Sum(x[n] + 0 * w, n) / N + 0 * w**2)
    module = runtime.load(generate(model, tmp_path / "huge_kernels.py"))
    x = np.array([3e38, -3e38, 3e38, -1e38], np.float32)
    fit = runtime.fit(module, {"x": x}, batch_size=1, epochs=1, shuffle=False)
    assert fit.history[0].loss == pytest.approx(0.5e38, rel=1e-5)


def test_a_step_is_found_whose_losses_after_it_are_finite(tmp_path, monkeypatch):
    """Where nobody looks at each epoch it is found later, and is the same; epochs since then are taken back."""
    model = Model("bounded")
    N = model.batch("N")
    x, w, n = model.input("x", N), model.parameter("w", init="ones"), model.indices(n=N)
    model.minimize(sp.Sum(sp.Min(x[n] * w, 2), n) / N)
    theta, g, t = optimizers.theta, optimizers.g, optimizers.t
    model.update(optimizers.rule("leap", [(theta, sp.Piecewise((sp.oo, sp.Eq(t, 5)), (theta - g / 100, True)))]))
    module = runtime.load(generate(model, tmp_path / "bounded_kernels.py"))
    data = {"x": np.linspace(1, 2, 6, dtype=np.float32)}
    stops = []
    for epochs, options in [(40, {}), (40, {"callbacks": [lambda epoch, views: None]}), (2, {})]:
        with pytest.raises(runtime.NonFiniteError, match=r"epoch 2, step 5: .*the parameter w became inf") as stop:
            runtime.fit(module, data, batch_size=2, epochs=epochs, **options)
        stops.append(stop.value)
    good = runtime.fit(module, data, batch_size=2, epochs=1)

    def interrupted(self, epoch):
        if epoch.epoch >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("derivgen.runtime.train.progress.Told.epoch", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:  # which comes before the next look
        runtime.fit(module, data, batch_size=2, epochs=40, progress=True)
    assert len(stop.value.fit.history) == 0 and np.isfinite(stop.value.fit.parameters).all()
    with pytest.raises(runtime.NonFiniteError) as early:
        runtime.fit(module, data, batch_size=2, epochs=40, early_stopping=3)
    assert early.value.fit.stopped == ""
    for stop in stops:
        assert (stop.epoch, stop.step, stop.state.step[0]) == (2, 5, 4)
        assert [epoch.loss for epoch in stop.fit.history] == [good.history[0].loss] and stop.fit.best_epoch == 1
        np.testing.assert_array_equal(stop.parameters, stops[0].parameters)
        assert np.isfinite(stop.parameters).all() and stop.parameters[0] != good.parameters[0]


def test_parts_of_the_rows_draw_numbers_of_their_own(tmp_path, monkeypatch):
    model = Model("noisy")
    N = model.batch("N")
    x, u = model.input("x", N, 2), model.random("u", N, 2)
    n, d = model.indices(n=N, d=2)
    z = layers.dense(model.let("a", (n, d), x[n, d] + u[n, d]), 1, name="z")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    model.predict(z)
    module = runtime.load(generate(model, tmp_path / "noisy_kernels.py"))
    parameters = module.initial_parameters()
    data = {"x": np.zeros((12, 2), np.float32), "t": np.zeros((12, 1), np.float32)}
    order = np.arange(12)
    wanted = module.mean_gradient(parameters, order, 2, **data, seed=3)
    monkeypatch.setattr(rows_module, "CHUNK", 200)  # 4 rows a part of x and t, 6 of x
    prediction = runtime.predict(module, parameters, data)
    np.testing.assert_array_equal(prediction[:6], module.predict(parameters, data["x"][:6]))
    assert len(np.unique(prediction)) == 12
    loss, gradient = objective.objective_of(module, data, parameters, seed=3, batch_size=2).gradient()(parameters)
    assert loss == pytest.approx(wanted[0], rel=1e-6)
    np.testing.assert_allclose(gradient, wanted[1], rtol=1e-5)
    feed = rows_module.Feed(module, data)
    measured = validation_loss(module, parameters, feed, order)
    by_part = [module.loss(parameters, data["x"][:4], data["t"][:4], seed=k) for k in range(3)]
    assert measured == pytest.approx(np.mean(by_part), rel=1e-6) and len(set(by_part)) == 3


# ---- monitor


def deep(activation, depth=30) -> Model:
    model = Model("deep")
    N = model.batch("N")
    a = model.input("x", N, 8)
    for k in range(depth):
        a = layers.dense(a, 8, activation, name=f"layer{k}", init="glorot_uniform")
    z = layers.dense(a, 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    return model


@pytest.fixture(scope="module")
def sigmoids(tmp_path_factory):
    return runtime.load(generate(deep(sigmoid), tmp_path_factory.mktemp("deep") / "deep_kernels.py"))


@pytest.fixture(scope="module")
def deep_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8)).astype(np.float32)
    return {"x": x, "t": x[:, :1] * 3}


def test_the_monitor_names_vanishing_gradients(sigmoids, deep_data):
    with pytest.warns(UserWarning, match=r"the gradient vanishes in layers layer0, …, layer\d+ \(\d\d\)"):
        fit = runtime.fit(sigmoids, deep_data, epochs=2, monitor=True)
    records = {r.layer: r for r in fit.history[-1].layers}
    # What the warning is of: the last layers learn, the first do not.
    assert records["layer0"].gradient < 1e-9 * records["out"].gradient
    views = sigmoids.views(sigmoids.loss_and_gradient(fit.parameters, **deep_data)[1])
    whole = np.concatenate([views[name].ravel() for name in ("layer0_W", "layer0_b")])
    assert records["layer0"].gradient == pytest.approx(np.sqrt(np.mean(whole**2)), rel=1e-3)


def test_the_monitor_names_exploding_gradients(sigmoids, deep_data):
    """At a rate far too high the last layer's parameters grow from step to step."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(runtime.NonFiniteError) as stop:
            runtime.fit(sigmoids, deep_data, epochs=50, batch_size=64, learning_rate=30.0, monitor=True)
    said = [str(w.message) for w in caught] + [str(stop.value)]
    assert any("the gradient explodes in layer out" in text for text in said), said
    assert "out_" in stop.value.tensor or stop.value.tensor == "loss"


def test_the_monitor_counts_dead_units(tmp_path):
    model = Model("dead")
    N = model.batch("N")
    z = layers.dense(layers.dense(model.input("x", N, 4), 10, relu, name="hidden"), 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    module = runtime.load(generate(model, tmp_path / "dead_kernels.py"))
    parameters = module.initial_parameters()
    module.views(parameters)["hidden_b"][:8] = -100
    data = {"x": np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32), "t": np.ones((50, 1), np.float32)}
    with pytest.warns(UserWarning, match=r"layer hidden: 80% of its units are dead"):
        fit = runtime.fit(module, data, epochs=1, parameters=parameters, monitor=True)
    assert next(r for r in fit.history[0].layers if r.layer == "hidden").dead == pytest.approx(0.8)
    assert any(text.startswith("layer hidden: 80% of its units are dead") for text in fit.warnings)


def test_dead_units_of_a_recurrence_are_told_over_all_times(tmp_path):
    """Time is the first axis of its tensors: a unit is dead if it is 0 in every row at every time."""
    model = Model("recurrence", dtype="float64")
    N, T, K = model.batch("N"), *model.sizes(T=5, K=4)
    n, t, k, j = model.indices(n=N, t=T, k=K, j=K)
    x, W, b = model.input("x", N, T, K), model.parameter("W", K, K, init="orthogonal"), model.parameter("b", K)
    h = model.recur("h", (n, t, k), lambda h: sp.Max(sp.Sum(h[n, t - 1, j] * W[j, k], j) + x[n, t, k] + b[k], 0))
    model.minimize(sp.Sum(h[n, T - 1, k] ** 2, n, k) / N)
    module = runtime.load(generate(model, tmp_path / "recurrence_kernels.py"))
    parameters = module.initial_parameters()
    module.views(parameters)["b"][1] = -100
    x = np.random.default_rng(0).normal(size=(20, 5, 4))
    found = dict(zip((layer.name for layer in module.LAYERS), module.activations(parameters, x), strict=True))
    assert found["h"][1] == 0.25


def test_the_monitor_changes_no_bit(modes, points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watched = runtime.fit(modes, points, epochs=3, monitor=True)
    np.testing.assert_array_equal(watched.parameters, runtime.fit(modes, points, epochs=3).parameters)


# ---- checkpoints


SETTINGS = {"batch_size": 8, "validation_split": 0.2, "seed": 3, "metrics": ["r2"], "keep_best": True}


@pytest.mark.parametrize("every", [None, 5, 9])
def test_a_resumed_training_ends_in_the_same_bits(modes, points, tmp_path, every, monkeypatch):
    """Cut off in the middle of an epoch, and at its end."""
    monkeypatch.setattr(rows_module, "CHUNK", 400)
    folder, settings = tmp_path / "run", {**SETTINGS, "checkpoint_every": every}
    whole = runtime.fit(modes, points, epochs=6, checkpoints=tmp_path / "whole", **settings)

    def killed(epoch, views):
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.fit(modes, points, epochs=6, checkpoints=folder, callbacks=[killed], **settings)
    resumed = runtime.fit(modes, points, epochs=6, checkpoints=folder, resume=True, **settings)
    same(resumed, whole)
    assert 1 <= len(list(folder.iterdir())) <= 3
    again = runtime.fit(modes, points, epochs=6, checkpoints=folder, resume=True, **settings)  # nothing left to do
    same(again, whole)
    longer = runtime.fit(modes, points, epochs=8, checkpoints=folder, resume=True, **settings)
    same(longer, runtime.fit(modes, points, epochs=8, checkpoints=tmp_path / "longer", **settings))


def test_checkpoints_of_another_training_are_refused(modes, points, tmp_path, digits, images):
    folder = tmp_path / "run"
    runtime.fit(modes, points, epochs=1, checkpoints=folder, batch_size=8, learning_rate=0.02)

    def resume(module=modes, data=points, **changes):
        settings = {"epochs": 2, "batch_size": 8, "learning_rate": 0.02, **changes}
        return runtime.fit(module, data, checkpoints=folder, resume=True, **settings)

    for changes, message in [
        ({"batch_size": 9}, "batch_size 8, here it is 9"),
        ({"seed": 1}, "seed 0, here it is 1"),
        ({"learning_rate": 0.03}, r"learning_rate 0\.02, here it is 0\.03"),
        ({"beta_1": 0.8}, r"beta_1 not given, here it is 0\.8"),
        ({"data": {name: a[:80] for name, a in points.items()}}, r"x float64 of shape \(90, 3\), .*here it is .*80"),
        ({"data": {**points, "t": points["t"] + 1}}, r"t float64 of shape \(90, 1\), checksum .*the same data"),
        ({"keep_best": True}, "keep_best False, here it is True"),
        ({"module": digits, "data": images}, "spec|model"),
    ]:
        with pytest.raises(DerivgenError, match=message):
            resume(**changes)
    with pytest.raises(DerivgenError, match="has checkpoints of a training already"):
        runtime.fit(modes, points, checkpoints=folder)
    with pytest.raises(ValueError, match="leave parameters and state out"):
        resume(parameters=modes.initial_parameters())
    with pytest.raises(ValueError, match="needs the folder"):
        runtime.fit(modes, points, resume=True)
    assert len(resume().history) == 2


def test_a_checkpoint_that_can_t_be_written_loses_nothing(modes, points, tmp_path):
    folder = tmp_path / "run"

    def block(epoch, views):
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("in the way")

    with pytest.raises(runtime.CheckpointError, match=r"run.*can't be written: File exists") as error:
        runtime.fit(modes, points, epochs=2, batch_size=8, checkpoints=folder, callbacks=[block])
    with pytest.raises(runtime.CheckpointError, match="run"):  # known before the first step
        runtime.fit(modes, points, epochs=2, batch_size=8, checkpoints=folder, callbacks=[pytest.fail])
    trained = error.value.fit
    np.testing.assert_array_equal(trained.parameters, runtime.fit(modes, points, epochs=1, batch_size=8).parameters)
    assert folder.read_text() == "in the way"


def test_history_is_in_the_file_after_each_epoch_and_goes_on(modes, points, tmp_path):
    path, lines = tmp_path / "history.jsonl", []
    settings = {"history": path, "checkpoints": tmp_path / "run", "batch_size": 30}

    def count(epoch, views):
        lines.append(len(path.read_text().splitlines()))
        if epoch.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.fit(modes, points, epochs=9, callbacks=[count], **settings)
    assert lines == [1, 2, 3, 4]
    fit = runtime.fit(modes, points, epochs=6, resume=True, **settings)
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    assert runtime.read_history(path)[-1].loss == fit.history[-1].loss


def test_whatever_ends_a_training_keeps_what_was_reached(modes, points):
    def stop(epoch, views):
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupt:
        runtime.fit(modes, points, epochs=9, callbacks=[stop], keep_best=True)
    reached = interrupt.value.fit
    same(reached, runtime.fit(modes, points, epochs=3, keep_best=True))
    on = runtime.fit(modes, points, epochs=1, parameters=reached.last, state=reached.state, seed=1)
    assert on.history[0].step == reached.history[-1].step + 3


def test_numbers_of_numpy_go_into_checkpoints(modes, points, tmp_path):
    settings = {"batch_size": np.int64(8), "seed": np.int64(3), "validation_split": np.float64(0.2)}
    fit = runtime.fit(modes, points, epochs=np.int64(2), checkpoints=tmp_path, drop_last=np.bool_(True), **settings)
    again = runtime.fit(
        modes,
        points,
        epochs=2,
        checkpoints=tmp_path,
        resume=True,
        batch_size=8,
        seed=3,
        validation_split=0.2,
        drop_last=True,
    )
    same(again, fit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"callbacks": [3]}, "callbacks must be functions"),
        ({"validation": {"x": np.ones((3, 3), bool), "t": np.ones((3, 1))}}, "x: expected dtype float64"),
        ({"metrics": ["accuracy"]}, "accuracy"),
    ],
)
def test_what_does_not_fit_is_found_before_the_first_step(modes, points, arguments, message):
    before = modes.train_epoch
    try:
        modes.train_epoch = lambda *_, **__: pytest.fail("a step was taken")
        with pytest.raises((TypeError, ValueError), match=message):
            runtime.fit(modes, points, **arguments)
    finally:
        modes.train_epoch = before


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learning_rat": 0.1}, TypeError, "no argument learning_rat.*did you mean learning_rate"),
        ({"epoch": 3}, TypeError, "no argument epoch.*did you mean epochs"),
        ({"learning_rate": -0.1}, ValueError, "at least 0, found -0.1"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, found float"),
        ({"accumulate": 0}, ValueError, "accumulate must be at least 1"),
        ({"early_stopping": 0}, ValueError, "early_stopping must be at least 1"),
        ({"metrics": ["acuracy"]}, ValueError, "accuracy"),
        ({"metrics": ["r2"], "target": "z"}, ValueError, "no input z"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(modes, points, arguments, error, message):
    with pytest.raises(error, match=message):
        runtime.fit(modes, points, **arguments)


def test_a_second_interrupt_takes_nothing_away(modes, points, monkeypatch):
    settle = stepping.Steps.settle

    def interrupted_again(self):
        signal.raise_signal(signal.SIGINT)
        return settle(self)

    monkeypatch.setattr(stepping.Steps, "settle", interrupted_again)
    with pytest.raises(KeyboardInterrupt) as stopped:
        runtime.fit(modes, points, callbacks=[lambda *_: signal.raise_signal(signal.SIGINT)])
    assert len(stopped.value.fit.history) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_masks_are_not_lost_on_the_way_to_the_module(modes, points):
    """Rows are copied before the module sees them."""
    masked = {name: np.ma.array(array) for name, array in points.items()}
    start, state = modes.initial_parameters(), modes.optimizer_state()
    name, array = next(iter(masked.items()))
    for arguments, what in (
        ({"data": {**points, name: array}}, name),
        ({"data": points, "validation": masked}, name),
        ({"data": points, "parameters": np.ma.array(start)}, "parameters"),
        ({"data": points, "state": state._replace(step=np.ma.array(state.step))}, "state.step"),
    ):
        with pytest.raises(TypeError, match=f"{what}: expected a numpy array without a mask"):
            runtime.fit(modes, **arguments)
    for search in (runtime.minimize, runtime.curvature):
        with pytest.raises(TypeError, match=f"{name}: expected a numpy array without a mask"):
            search(modes, {**points, name: array}, parameters=start)
    with pytest.raises(TypeError, match="parameters: expected a numpy array without a mask"):
        runtime.minimize(modes, points, parameters=np.ma.array(start))


def test_a_state_that_is_none_is_refused_in_words(modes, points):
    state = modes.optimizer_state()
    slot = state._fields[-1]
    for wrong, error, message in (
        (tuple(state), TypeError, "state: expected what optimizer_state.. returns, found tuple"),
        (state._replace(**{slot: None}), ValueError, f"state.{slot}: expected .*, found object of shape"),
        (state._replace(step=np.zeros(2, np.int64)), ValueError, "state.step: expected int64 of shape .1,."),
    ):
        with pytest.raises(error, match=message):
            runtime.fit(modes, points, epochs=1, state=wrong)


# ---- without the compiler


def test_what_is_interpreted_is_trained_the_same_and_compiles_nothing(modes, points):
    before = modes.COMPILING.seconds
    tried = runtime.fit(modes, points, epochs=2, batch_size=BATCH, interpret=True, validation_split=0.2)
    assert modes.COMPILING.seconds == before and tried.compiling_seconds == 0
    wanted = runtime.fit(modes, points, epochs=2, batch_size=BATCH, validation_split=0.2)
    assert np.abs(tried.parameters - wanted.parameters).max() <= 1e-13 * np.abs(wanted.parameters).max()
    more = [
        runtime.fit(modes, points, epochs=1, parameters=fit.last, state=fit.state, interpret=not k)
        for k, fit in enumerate((tried, wanted))
    ]
    assert np.abs(more[0].parameters - more[1].parameters).max() <= 1e-12 * np.abs(wanted.parameters).max()


def test_what_is_interpreted_goes_on_from_a_compiled_training(modes, points, tmp_path):
    for interpret in (False, True):
        runtime.fit(modes, points, epochs=1 + interpret, checkpoints=tmp_path, resume=interpret, interpret=interpret)
    assert runtime.latest_checkpoint(tmp_path) is not None


def test_compiling_is_told_from_training(tmp_path, points, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    module = runtime.load(generate(regression(), tmp_path / "fresh_kernels.py"))
    fit = runtime.fit(module, points, epochs=1)
    assert 0.2 < fit.compiling_seconds <= fit.history[0].seconds + 0.5
    assert runtime.fit(module, points, epochs=1).compiling_seconds == 0


@pytest.mark.parametrize("path", ["regression_kernels.py", Path("regression_kernels.py")])
def test_a_path_is_no_module(points, path):
    words = r"expected a generated module, found \w+: give runtime\.load\('regression_kernels\.py'\)"
    for function in (runtime.fit, runtime.minimize, runtime.least_squares):
        with pytest.raises(TypeError, match=words):
            function(path, points)
    with pytest.raises(TypeError, match=words):
        runtime.predict(path, np.zeros(3), points)


def test_a_loss_that_rose_is_warned_of(modes, points):
    with pytest.warns(
        UserWarning, match=r"the loss of the first 90 rows rose from .*: the training diverged, so use a smaller"
    ):
        worse = runtime.fit(modes, points, epochs=3, learning_rate=1e3)
    assert any("rose from" in warning for warning in worse.warnings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.fit(modes, points, epochs=3)
        runtime.fit(modes, points, epochs=1, learning_rate=1e3, parameters=worse.last)
