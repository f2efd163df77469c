"""Log-sum-exp and softmax whose terms are written out one by one: finite wherever their values are."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text
from scipy.special import logsumexp, softmax

from derivgen import Model

NAMES = ("a", "b", "c")
POINTS = [
    (700.0, 800.0, 801.0),
    (-900.0, -901.0, -899.5),
    (0.5, -0.25, 1.0),
    (1000.0, -1000.0, 0.0),
    (710.0, 710.0, 710.0),
]


def gradient_of(make, point):
    model = Model("written", dtype="float64")
    model.minimize(make(*(model.parameter(name) for name in NAMES)))
    return execute(module_text(model)).loss_and_gradient(np.array(point))


def check(found, value, slopes):
    assert np.isclose(found[0], value, rtol=1e-14, atol=1e-300)
    assert np.allclose(found[1], slopes, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("point", POINTS)
def test_the_logarithm_of_three_exponentials(point) -> None:
    found = gradient_of(lambda a, b, c: sp.log(sp.exp(a) + sp.exp(b) + sp.exp(c)), point)
    check(found, logsumexp(point), softmax(point))


@pytest.mark.parametrize("point", POINTS)
def test_weights_and_a_constant_are_terms_too(point) -> None:
    found = gradient_of(lambda a, b, c: sp.log(3 + 2 * sp.exp(a) + sp.exp(b) / 4) + c, point)
    exponents = [np.log(3), point[0] + np.log(2), point[1] - np.log(4)]
    check(found, logsumexp(exponents) + point[2], [*softmax(exponents)[1:], 1])


@pytest.mark.parametrize("point", POINTS)
def test_a_weighted_pair(point) -> None:
    found = gradient_of(lambda a, b, c: sp.log(5 * sp.exp(a) + sp.exp(b)) + c, point)
    exponents = [point[0] + np.log(5), point[1]]
    check(found, logsumexp(exponents) + point[2], [*softmax(exponents), 1])


@pytest.mark.parametrize("point", POINTS)
def test_softmax_of_three(point) -> None:
    found = gradient_of(lambda a, b, c: sp.exp(a) / (sp.exp(a) + sp.exp(b) + sp.exp(c)), point)
    p = softmax(point)
    check(found, p[0], p[0] * (np.array([1, 0, 0]) - p))


@pytest.mark.parametrize("point", POINTS)
def test_softmax_of_two_is_a_sigmoid(point) -> None:
    found = gradient_of(lambda a, b, c: sp.exp(b) / (sp.exp(a) + sp.exp(b)) + c, point)
    p = softmax(point[:2])
    check(found, p[1] + point[2], [-p[0] * p[1], p[0] * p[1], 1])


@pytest.mark.parametrize("point", POINTS)
def test_a_square_below_the_line(point) -> None:
    found = gradient_of(lambda a, b, c: sp.exp(a + b) / (sp.exp(a) + sp.exp(b) + sp.exp(c)) ** 2, point)
    p = softmax(point)
    check(found, p[0] * p[1], p[0] * p[1] * (np.array([1, 1, 0]) - 2 * p))
