"""The convolutional network, the soft tree and the soft forest: accuracy on held-out images, and what they compute."""

from __future__ import annotations

import math
from statistics import mean

import numpy as np
import pytest
import torch
from example_files import kernels, script


def test_digits_convolutional_reaches_98_8_percent_over_two_of_five_folds():
    assert mean(script("digits_convolutional").main(folds=2)) >= 0.988


def test_digits_convolutional_follows_adam_with_the_schedule():
    """Steps of PyTorch's Adam, whose learning rate is set by hand; the last is 0."""
    module, steps = kernels("digits_convolutional"), 6
    rng = np.random.default_rng(0)
    parameters, state = module.initial_parameters(), module.optimizer_state()
    trained = sum(math.prod(p.shape) for p in module.PARAMETERS if p.trained)
    expected = torch.tensor(parameters[:trained], requires_grad=True)
    adam = torch.optim.Adam([expected])
    for step in range(steps + 1):
        before, gradient = parameters.copy(), rng.standard_normal(len(parameters)).astype(np.float32)
        module.update(parameters, gradient, state, learning_rate=0.01, decay_steps=steps)
        adam.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * step / steps)) / 2
        expected.grad = torch.tensor(gradient[:trained])
        adam.step()
        np.testing.assert_allclose(parameters[:trained], expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(parameters, before)


@pytest.fixture(scope="module")
def accuracies() -> dict[str, np.ndarray]:
    """By example: medians over three seeds, of the soft model, of scikit-learn's of the same size, and of any depth."""
    return {
        name: np.median([script(name).main(seed) for seed in range(3)], axis=0)
        for name in ("soft_decision_tree", "soft_forest")
    }


def test_soft_tree_is_better_than_ordinary_trees(accuracies):
    soft, same_depth, any_depth = accuracies["soft_decision_tree"]
    assert soft >= same_depth + 0.2
    assert soft >= any_depth + 0.04


def test_soft_forest_is_better_than_the_tree_and_than_random_forests(accuracies):
    soft, same_depth, any_depth = accuracies["soft_forest"]
    assert soft >= accuracies["soft_decision_tree"][0] + 0.02
    assert soft >= same_depth + 0.05
    assert soft >= any_depth + 0.01


def tree_by_levels(x: np.ndarray, W: np.ndarray, b: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """The distribution (rows, classes) of a tree, level by level: each node hands its probability on to two."""
    gates = 1 / (1 + np.exp(-(x @ W + b)))
    reached = np.ones((len(x), 1))
    while reached.shape[1] < len(Q):
        nodes = reached.shape[1]
        right = gates[:, nodes - 1 : 2 * nodes - 1]
        reached = np.stack([reached * (1 - right), reached * right], axis=2).reshape(len(x), 2 * nodes)
    leaves = np.exp(Q) / np.exp(Q).sum(axis=1, keepdims=True)
    return reached @ leaves


def test_soft_tree_and_forest_against_products_of_probabilities():
    x = np.random.default_rng(0).random((7, 64)).astype(np.float32)
    for name in ("soft_decision_tree", "soft_forest"):
        module = kernels(name)
        parameters = module.initial_parameters(seed=1)
        W, b, Q = (view.astype(float) for view in module.views(parameters).values())
        if name == "soft_decision_tree":
            W, b, Q = W[:, None], b[None], Q[None]
        expected = np.mean([tree_by_levels(x, W[:, t], b[t], Q[t]) for t in range(len(Q))], axis=0)
        np.testing.assert_allclose(module.predict(parameters, x), expected, rtol=1e-4)


def test_gates_that_are_saturated_keep_loss_and_gradient_finite():
    module, rng = kernels("soft_decision_tree"), np.random.default_rng(0)
    parameters = module.initial_parameters()
    module.views(parameters)["W"][...] *= 1e4
    x, y = rng.random((32, 64)).astype(np.float32), rng.integers(0, 10, 32)
    loss, gradient = module.loss_and_gradient(parameters, x, y)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
