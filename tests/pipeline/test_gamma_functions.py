"""Likelihoods with gamma functions: modules against the oracle, first and second derivatives, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sympy as sp
from generated import agrees_with_the_oracle, execute, module_text
from sympy import Sum, exp, log

from derivgen import Model
from derivgen.errors import DerivgenError, SpecError
from derivgen.explain.expression import explain_expression
from derivgen.form.expressions import Read
from derivgen.form.functions import loggamma
from derivgen.form.notation import Latex
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import gradcheck


def likelihood(kind: str) -> Model:
    """The negative log-likelihood of rows y, less what depends on them alone, by parameters of rows x."""
    model = Model(kind, dtype="float64")
    N = model.batch("N")
    n, d = model.indices(n=N, d=2)
    x, y = model.input("x", N, 2), model.input("y", N)
    w, s = model.parameter("w", 2), model.parameter("s")
    eta = model.let("eta", (n,), Sum(x[n, d] * w[d], d))
    shape = exp(s)
    terms = {
        "gamma": sp.loggamma(shape) + shape * (eta[n] - s) + y[n] * shape * exp(-eta[n]) - shape * log(y[n]),
        "negative_binomial": log(sp.gamma(shape)) - sp.loggamma(y[n] + shape) + log(sp.factorial(y[n]))
        + (y[n] + shape) * log(shape + exp(eta[n])) - y[n] * eta[n] - shape * s,
        "beta": -sp.loggamma(shape + exp(eta[n])) + sp.loggamma(shape) + sp.loggamma(exp(eta[n])),
        "entropy": sp.loggamma(exp(eta[n])) + (1 - exp(eta[n])) * sp.digamma(exp(eta[n])),
        "information": log(sp.trigamma(exp(eta[n]))) + sp.digamma(-exp(s) / 3) * y[n],
    }  # fmt: skip
    model.minimize(Sum(terms[kind], n) / N)
    return model


KINDS = ("gamma", "negative_binomial", "beta", "entropy", "information")


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_agrees_with_the_oracle(kind: str) -> None:
    agrees_with_the_oracle(likelihood(kind), {"N": 3})


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_second_derivatives(kind: str) -> None:
    assert max(c.error for c in gradcheck(likelihood(kind), order=2)) < 1e-10


def test_the_loss_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y, w, s = rng.uniform(0, 1, (5, 2)), rng.integers(0, 9, 5).astype(float), np.array([0.3, -0.2]), 0.4
    module = execute(module_text(likelihood("negative_binomial")))
    size = np.exp(s)
    wanted = -scipy.stats.nbinom.logpmf(y, size, size / (size + np.exp(x @ w))).mean()
    inputs = {"x": x, "y": y}
    assert module.loss(np.array([*w, s]), **inputs) == pytest.approx(wanted, rel=1e-13)


def test_what_has_no_derivative_is_refused() -> None:
    with pytest.raises(DerivgenError, match=r"tetragamma\(.*\) has no derivative in derivgen, which has three"):
        gradcheck(likelihood("information"), order=2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (sp.gamma, r"gamma is not among .* \(write its logarithm as loggamma\)"),
        (sp.factorial, r"factorial is not among .*loggamma\(u \+ 1\)"),
        (lambda u: sp.polygamma(2, u), r"polygamma is not among .* digamma and trigamma"),
    ],
)
def test_other_functions_of_the_family_are_refused(function, words) -> None:
    model = Model("other")
    a = model.parameter("a")
    model.minimize(function(a))
    with pytest.raises(SpecError, match=words):
        declared_program(model)


def test_they_are_explained() -> None:
    assert "f' = u'·trigamma(u)" in explain_expression("digamma(x**2)")
    assert Latex({}).expression(loggamma(Read("x"))) == r"\log\Gamma\left(x\right)"
