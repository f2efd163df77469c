"""The examples on sequences predict better than counts do, and nothing from what is yet to come."""

from __future__ import annotations

import numpy as np
import pytest
from example_files import kernels, script


@pytest.mark.parametrize("name", ["characters_lstm", "characters_transformer"])
def test_an_epoch_predicts_characters_better_than_counts_of_pairs(name, capsys):
    found = script(name).main(epochs=1, progress=False)
    assert found.model < found.bigram - 0.1
    assert found.bigram < found.unigram
    text = capsys.readouterr().out.split("\n", 1)[1]
    assert text.startswith("def ") and len(text) == len("def \n") + 400


def test_a_few_epochs_predict_sound_better_than_linear_prediction():
    found = script("wavenet").main(epochs=3, progress=False)
    assert found.model < found.linear - 0.1
    assert found.linear < found.previous


def test_a_small_gpt_trains_as_in_pytorch(capsys):
    """From the same parameters on the same batches; 40 iterations are enough to predict better than counts do."""
    ours, theirs = (script("characters_gpt", file).main(40, progress=False) for file in ("run", "in_pytorch"))
    assert ours == pytest.approx(theirs, abs=1e-4)
    text = script("characters_gpt", "shakespeare").read(64, 40)
    counts = np.bincount(text.training["y"].ravel(), minlength=len(text.alphabet)) + 1
    assert ours < -np.log(counts / counts.sum())[text.held_out["y"]].mean() - 0.1


@pytest.mark.parametrize("name", ["characters_gpt", "characters_lstm", "characters_transformer", "wavenet"])
def test_no_prediction_sees_what_follows(name):
    """A change at t leaves all before t as it is, to the bit, and changes what is predicted at t and right after it."""
    module = kernels(name)
    (_, steps), classes = module.INPUTS[0].shape, module.INPUTS[0].classes
    parameters, x = module.initial_parameters(1), np.random.default_rng(2).integers(0, classes, (1, steps))
    before = module.predict(parameters, x)[0]
    for t in (0, 1, steps // 2, steps - 1):
        changed = x.copy()
        changed[0, t] = (x[0, t] + 1) % classes
        after = module.predict(parameters, changed)[0]
        np.testing.assert_array_equal(after[:t], before[:t])
        assert (after[t : t + 2] != before[t : t + 2]).any(axis=1).all()


def test_wavenet_sees_as_far_back_as_it_says():
    """1 + 3·(1 + 4 + 16) samples: the last prediction depends on the first of these, and on none before it."""
    module, past = kernels("wavenet"), script("wavenet").PAST
    steps = module.INPUTS[0].shape[1]
    parameters, x = module.initial_parameters(1), np.random.default_rng(2).integers(0, 64, (1, steps))
    before = module.predict(parameters, x)[0, -1]
    for t, seen in ((steps - past - 1, False), (steps - past, True)):
        changed = x.copy()
        changed[0, t] = (x[0, t] + 1) % 64
        assert (module.predict(parameters, changed)[0, -1] != before).any() == seen
