"""The classic examples against scikit-learn, PyTorch and alternating least squares."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from example_files import kernels, script
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC


@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_logistic_regression_against_scikit_learn(C):
    example = script("logistic_regression")
    x, y, x_test, _ = example.split_tumors()

    def objective(w, b):
        return w @ w / 2 + C * np.logaddexp(0, -y * (x @ w + b)).sum()

    quasi, newton, norms, accuracy = example.main(C)
    fitted = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-14).fit(x, y)
    expected = objective(fitted.coef_[0], fitted.intercept_[0])
    for result in (quasi, newton):
        assert result.fun == pytest.approx(objective(result.x[:-1], result.x[-1]), rel=1e-13)
        assert abs(result.fun - expected) <= 1e-6 * min(1, expected)
    probabilities = kernels("logistic_regression").predict(newton.parameters, x_test)
    np.testing.assert_allclose(probabilities, fitted.predict_proba(x_test)[:, 1], atol=1e-10)
    assert accuracy >= 0.95
    np.testing.assert_allclose(newton.x, np.append(fitted.coef_[0], fitted.intercept_), rtol=0, atol=1e-10)
    assert newton.nit <= 12 and newton.nit <= quasi.nit / 2
    # Near the minimum each gradient is a multiple, always the same one, of the square of the one before.
    multiples = [after / before**2 for before, after in pairwise(norms) if after > 1e-10]
    assert max(multiples[-2:]) <= 1.5 * min(multiples[-2:])


@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_support_vector_machine_against_scikit_learn(C):
    example = script("support_vector_machine")
    x, y, x_test, _ = example.split_tumors()

    def objective(w, b):
        return (w @ w + b**2) / 2 + C * (np.clip(1 - y * (x @ w + b), 0, None) ** 2).sum()

    found, minimum, accuracy = example.main(C)
    assert minimum == pytest.approx(objective(found[:-1], found[-1]), rel=1e-13)
    for dual in (False, True):
        fitted = LinearSVC(C=C, dual=dual, tol=1e-10, max_iter=1_000_000, random_state=0).fit(x, y)
        expected = objective(fitted.coef_[0], fitted.intercept_[0])
        assert abs(minimum - expected) <= 1e-6
        assert abs(minimum - expected) <= 1e-6 * expected
        distances = kernels("support_vector_machine").predict(found, x_test)
        np.testing.assert_allclose(distances, fitted.decision_function(x_test), atol=1e-4)
    assert accuracy >= 0.95


def alternating_least_squares(ratings, known, mean, penalty, rank, sweeps):
    """(P, Q, a, b): users and items by turns, each turn the exact minimum for one side with the other held."""
    rng = np.random.default_rng(0)
    users = np.zeros((len(ratings), rank + 1))  # the last column is the bias
    items = np.column_stack([0.1 * rng.standard_normal((ratings.shape[1], rank)), np.zeros(ratings.shape[1])])

    def solved(ratings, known, others):
        design = np.column_stack([others[:, :-1], np.ones(len(others))])
        squares = np.einsum("ui,ik,il->ukl", known, design, design, optimize=True)
        squares += penalty * known.sum(axis=1)[:, None, None] * np.eye(rank + 1)
        right = (known * (ratings - mean - others[:, -1])) @ design
        return np.linalg.solve(squares, right[..., None])[..., 0]

    for _ in range(sweeps):
        users = solved(ratings, known, items)
        items = solved(ratings.T, known.T, users)
    return users[:, :-1], items[:, :-1], users[:, -1], items[:, -1]


def test_matrix_factorization_beats_its_baselines_and_is_as_good_as_alternating_least_squares():
    example = script("matrix_factorization")
    by_means, by_svd, factorized = example.main(seed=1)
    assert factorized <= 0.95 * by_svd
    assert factorized <= 0.9 * by_means

    ratings, known = example.hide_pixels(seed=1)

    def error(predictions):
        return np.sqrt(np.mean((predictions - ratings)[~known] ** 2))

    means = np.array([column[seen].mean() for column, seen in zip(ratings.T, known.T, strict=True)])
    filled = np.where(known, ratings, means)
    ranks = [PCA(rank, svd_solver="full").fit(filled) for rank in range(1, 17)]
    assert by_means == pytest.approx(error(means), rel=1e-9)
    assert by_svd == pytest.approx(min(error(p.inverse_transform(p.transform(filled))) for p in ranks), rel=1e-9)

    mean = ratings[known].mean()
    P, Q, a, b = alternating_least_squares(ratings, known, mean, example.PENALTY, rank=8, sweeps=60)
    assert factorized <= 1.01 * error(mean + a[:, None] + b + P @ Q.T)


def total_variation(u, noisy, weight, epsilon):
    """The objective in PyTorch: zero differences at the border by repeating the last row and column."""
    down = torch.diff(u, dim=0, append=u[-1:])
    right = torch.diff(u, dim=1, append=u[:, -1:])
    return ((u - noisy) ** 2).sum() / 2 + weight * torch.sqrt(down**2 + right**2 + epsilon**2).sum()


def test_total_variation_is_minimized():
    """The objective is 1-strongly convex, so ‖gradient‖²/2 bounds how far it is above its minimum."""
    example = script("denoising")
    _, noisy = example.scanned_digits(seed=0)
    denoised, minimum, _ = example.denoise(noisy)
    arguments = (torch.tensor(noisy), example.WEIGHT, example.EPSILON)

    def by_torch(image):
        u = torch.tensor(image, requires_grad=True)
        objective = total_variation(u, *arguments)
        objective.backward()
        return objective.item(), u.grad.numpy()

    objective, gradient = by_torch(denoised)
    assert minimum == pytest.approx(objective, rel=1e-13)
    assert np.sum(gradient**2) / 2 <= 1e-9
    objective, gradient = by_torch(noisy)
    found, found_gradient = kernels("denoising").loss_and_gradient(
        noisy.ravel(), noisy, example.WEIGHT, example.EPSILON
    )
    assert found == pytest.approx(objective, rel=1e-13)
    np.testing.assert_allclose(found_gradient.reshape(64, 64), gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_denoising_beats_the_best_gaussian_filter(seed):
    noisy, filtered, denoised = script("denoising").main(seed)
    assert noisy == pytest.approx(-20 * np.log10(0.2), abs=0.3)  # by the noise alone; three deviations
    assert denoised >= filtered + 2
    assert denoised >= noisy + 7
