"""What `fit` gives: its text, the loss of its parameters, its predictions."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from time import perf_counter, sleep

import numpy as np
import pytest
from contract_module import write_module

from derivgen import Model, generate, layers, losses, runtime


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    model = Model("line", dtype="float64")
    N = model.batch("N")
    x, y = model.input("x", N, 2), model.input("y", N, 1)
    z = layers.dense(x, 1, name="z")
    model.minimize(losses.mean_squared_error(z, y))
    model.predict(z)
    return runtime.load(generate(model, tmp_path_factory.mktemp("result") / "line_kernels.py"))


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(60, 2))
    return {"x": x, "y": x @ [[1.0], [2.0]]}


def test_the_loss_is_that_of_the_epoch_of_the_parameters(module, data):
    """A callback moves the parameters far away after the third epoch, so that this is the best one."""

    def disturb(epoch, views):
        views["z_b"][...] += 100 * (epoch.epoch == 3)

    last = runtime.fit(module, data, epochs=5, batch_size=60, callbacks=[disturb])
    best = runtime.fit(module, data, epochs=5, batch_size=60, keep_best=True, callbacks=[disturb])
    found = [epoch.loss for epoch in best.history]
    assert best.best_epoch == 1 + int(np.argmin(found)) == 3
    assert last.loss == found[-1] and best.loss == min(found) != found[-1]
    assert [epoch.loss for epoch in last.history] == found


def test_the_text_says_how_training_went(module, data):
    fit = runtime.fit(module, data, epochs=50, validation_split=0.2, early_stopping=2, learning_rate=0.9)
    first, end = fit.history[0], fit.history[-1]
    assert fit.stopped
    assert repr(fit) == (
        f"Fit(loss {first.loss:.4g} -> {end.loss:.4g}, validation {first.validation_loss:.4g} -> "
        f"{end.validation_loss:.4g}, best epoch {fit.best_epoch}; {fit.spent}; {fit.stopped})"
    )
    one = runtime.fit(module, data, epochs=1)
    assert re.fullmatch(r"Fit\(loss [\d.]+ -> [\d.]+, best epoch 1; 1 epoch in [\d.e-]+ s\)", repr(one))


def test_the_time_is_that_of_the_whole_call(module, data):
    """Callbacks are no part of an epoch's seconds, as compiling before the first epoch is none."""
    begun = perf_counter()
    fit = runtime.fit(module, data, epochs=2, callbacks=[lambda *_: sleep(0.3)])
    whole = perf_counter() - begun
    assert sum(epoch.seconds for epoch in fit.history) + 0.5 < fit.seconds <= whole
    assert replace(fit, seconds=7.84, compiling_seconds=7.71).spent == "2 epochs in 7.8 s, 7.7 s of it for compiling"
    assert replace(fit, seconds=0.0123, compiling_seconds=0.0).spent == "2 epochs in 0.012 s"
    assert replace(fit, seconds=1.0, compiling_seconds=0.0, resumed_epochs=1).spent == "1 more epoch in 1.0 s"
    assert replace(fit, resumed_epochs=2).spent == "nothing was left to do"


def test_predictions_are_those_of_the_parameters(module, data):
    fit = runtime.fit(module, data, epochs=2)
    wanted = module.predict(fit.parameters, data["x"])
    for inputs in (data, {"x": data["x"]}, {"x": data["x"].astype(np.float32).astype(np.float64)}):
        assert np.allclose(fit.predict(inputs), wanted, atol=1e-6)
    assert fit.predict(data).tobytes() == wanted.tobytes()
    with pytest.raises(TypeError, match="the input x is missing from the data"):
        fit.predict({"y": data["y"]})


def test_a_training_that_ended_in_its_first_epoch(tmp_path):
    bowl = runtime.load(write_module(tmp_path, "bowl", "float64"))
    with pytest.raises(runtime.NonFiniteError) as error:
        runtime.fit(bowl, {}, parameters=np.full(len(bowl.initial_parameters()), np.nan))
    assert repr(error.value.fit) == "Fit(no epoch was done)"
    assert math.isnan(error.value.fit.loss)
