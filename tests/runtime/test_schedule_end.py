"""`fit` says before it starts that the learning rate will be 0 before the training ends."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from derivgen import Model, generate, layers, losses, optimizers, runtime, schedules

ROWS, STEPS = 8, 4  # of an epoch


def line(rule, tmp_path):
    """A straight line with this update rule, loaded."""
    model = Model("line", dtype="float64")
    N = model.batch("N")
    z = layers.dense(model.input("x", N, 1), 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    model.update(rule)
    return runtime.load(generate(model, tmp_path / "line_kernels.py"))


def fitted(module, epochs, **settings):
    """(the training of batches of 2 rows, the warnings that Python showed)"""
    x = np.linspace(-1, 1, ROWS)[:, None]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        fit = runtime.fit(
            module, {"x": x, "t": 2 * x}, epochs=epochs, batch_size=2, interpret=True, progress=False, **settings
        )
    return fit, [str(w.message) for w in shown]


def test_a_rate_that_ends_early_is_told_with_the_cure(tmp_path):
    module = line(optimizers.gradient_descent(schedules.cosine(0.1, decay_steps=10)), tmp_path)
    seen = []
    fit, shown = fitted(module, 5, callbacks=[lambda epoch, views: seen.append(views["out_W"].copy())])
    wanted = (
        "the learning rate is 0 from step 11 on (epoch 3): its schedule has decay_steps=10, this training 20 steps: "
        "give decay_steps=20 (--set decay_steps=20)"
    )
    assert shown == [wanted] and fit.warnings == (wanted,)
    assert (seen[1] != seen[2]).any() and (seen[2] == seen[3]).all() and (seen[3] == seen[4]).all()  # epochs 2 to 5
    fit, shown = fitted(module, 5, decay_steps=20)
    assert not shown and not fit.warnings


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (schedules.polynomial(0.1, decay_steps=10), "is 0 from step 11 on (epoch 3)"),
        (schedules.warm_up(schedules.cosine(0.1, decay_steps=10), 3), "step 14 on (epoch 4): its schedule has"),
        (schedules.warm_up(schedules.cosine(0.1, decay_steps=10), 3), "give decay_steps=17 (--set decay_steps=17)"),
        (schedules.one_cycle(0.1, total_steps=12), "is 4e-07 from step 13 on (epoch 4): its schedule has total_steps="),
        (schedules.cosine(0.1, decay_steps=20), ""),
        (schedules.one_cycle(0.1, total_steps=20), ""),
        (schedules.cosine(0.1, decay_steps=10, end=0.01), ""),  # goes on training, as it was asked to
        (schedules.exponential(0.1, decay_steps=10), ""),
        (schedules.step(0.1, decay_steps=10), ""),
        (0.1, ""),
    ],
)
def test_which_schedules_end(rate, words, tmp_path):
    fit, shown = fitted(line(optimizers.adam(rate), tmp_path), 5)
    assert [words in text for text in shown] == ([True] if words else [])
    assert list(fit.warnings) == shown


def test_a_schedule_of_another_hyperparameter_is_none_of_the_rate(tmp_path):
    rule = optimizers.momentum(0.01, momentum=schedules.polynomial(0.9, decay_steps=10))
    assert not fitted(line(rule, tmp_path), 5)[1]


def test_earlier_steps_count(tmp_path):
    module = line(optimizers.adam(schedules.cosine(0.1, decay_steps=10)), tmp_path)
    first, shown = fitted(module, 2)
    assert not shown
    _, shown = fitted(module, 2, parameters=first.parameters, state=first.state)
    assert len(shown) == 1 and "step 11 on (epoch 1)" in shown[0] and "16 steps (with 8 earlier ones)" in shown[0]


def test_a_resumed_training_is_told_once(tmp_path):
    module = line(optimizers.adam(schedules.cosine(0.1, decay_steps=10)), tmp_path)
    kept = {"checkpoints": tmp_path / "run"}
    assert len(fitted(module, 3, **kept)[1]) == 1
    fit, shown = fitted(module, 5, resume=True, **kept)
    assert not shown and len(fit.warnings) == 1
