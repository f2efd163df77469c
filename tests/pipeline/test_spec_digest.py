"""The digest of a spec is another one where the module is another one."""

from __future__ import annotations

from sympy import tanh

from derivgen import Model
from derivgen.pipeline import generate_body, spec_digest


def two_residuals(swapped: bool) -> Model:
    model = Model("two")
    N = model.batch("N")
    n = model.indices(n=N)
    x, w, b = model.input("x", N), model.parameter("w"), model.parameter("b")
    r = [model.let("r", (n,), tanh(x[n] * w + b)), model.let("q", (n,), x[n] - w)]
    model.least_squares(*(r[::-1] if swapped else r))
    return model


def test_the_order_of_residuals_counts():
    """They are one vector: in another order it is another module."""
    found = [generate_body(two_residuals(swapped)) for swapped in (False, True)]
    assert found[0].body != found[1].body
    assert found[0].spec_digest != found[1].spec_digest


def test_the_digest_is_that_of_the_header():
    assert spec_digest(two_residuals(False)) == generate_body(two_residuals(False)).spec_digest
