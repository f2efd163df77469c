"""Distances of points to themselves: norms at 0, their powers, and the second derivatives of these."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import Model

POINTS, AXES = 4, 2


def module(power: sp.Expr | float, *functions: str):
    """Σ_ij |x_i - x_j|^power, i = j too."""
    model = Model("distances", dtype="float64")
    i, j, a = model.indices(i=POINTS, j=POINTS, a=AXES)
    x = model.parameter("x", POINTS, AXES, init="normal")
    model.minimize(sp.Sum(sp.sqrt(sp.Sum((x[i, a] - x[j, a]) ** 2, a)) ** power, i, j))
    if functions:
        model.second_order(*functions)
    return execute(module_text(model))


def test_powers_in_decimals_are_those_of_the_root() -> None:
    """(Σ u²)**0.5 is the norm itself, and its 0.75th power u·√u: no call of a power is left."""
    model = Model("decimals", dtype="float64")
    i, a = model.indices(i=POINTS, a=AXES)
    x = model.parameter("x", POINTS, AXES, init="normal")
    square = sp.Sum(x[i, a] ** 2, a)
    model.minimize(sp.Sum(square**0.5 + square**0.75, i))
    text = module_text(model)
    assert "power(" not in text.partition("# ==== the same")[0]
    at = np.random.default_rng(0).normal(size=(POINTS, AXES))
    at[0] = 0
    norm = np.sqrt(np.sum(at**2, axis=1, keepdims=True))
    scale = np.divide(1, norm, where=norm > 0, out=np.zeros_like(norm)) * (1 + 1.5 * np.sqrt(norm))
    assert np.allclose(execute(text).loss_and_gradient(at.ravel())[1], (scale * at).ravel(), rtol=1e-14)


def slopes(x: np.ndarray, power: float, along: np.ndarray | None = None) -> np.ndarray:
    """The gradient, or its derivative along a direction, by complex steps of the formula: pairs of one point give 0."""

    def gradient(at: np.ndarray) -> np.ndarray:
        d = at[:, None] - at[None]
        q = np.sum(d**2, axis=2) + np.eye(POINTS)
        return np.sum(2 * power * q[:, :, None] ** (power / 2 - 1) * d, axis=1)

    return gradient(x) if along is None else gradient(x + 1e-200j * along).imag / 1e-200


@pytest.mark.parametrize("power", [1, sp.Rational(3, 2), 1.5, 1.25, 2, 3, 5])
def test_powers_of_a_norm_have_finite_derivatives_at_0(power: sp.Expr | float) -> None:
    rng = np.random.default_rng(0)
    x, along = rng.normal(size=(2, POINTS, AXES))
    made = module(power, *(("hessian_vector_product", "hessian") if power >= 2 else ()))
    gradient = made.loss_and_gradient(x.ravel())[1]
    assert np.allclose(gradient, slopes(x, float(power)).ravel(), rtol=1e-13, atol=1e-13)
    if power >= 2:
        product = made.hessian_vector_product(x.ravel(), along.ravel())
        expected = slopes(x, float(power), along).ravel()
        assert np.allclose(product, expected, rtol=1e-12, atol=1e-12)
        assert np.allclose(made.hessian(x.ravel()) @ along.ravel(), expected, rtol=1e-12, atol=1e-12)
