"""Subscripts that are formulas of indices with fixed sizes, as `x[floor(i / 2)]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from generated import agrees_with_the_oracle, execute, module_text
from native_modules import native, needs_compiler

from derivgen import Model
from derivgen.declare.lower import lower
from derivgen.errors import SpecError
from derivgen.form.program import Role
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program

ROWS, LENGTH = 3, 9
SUBSCRIPTS: dict[str, tuple[Callable[..., sp.Expr], Callable[[int, int], int]]] = {
    "every second": (lambda i, k: sp.floor(i / 2), lambda i, k: i // 2),
    "from the end": (lambda i, k: LENGTH - 1 - sp.floor(i / 3), lambda i, k: LENGTH - 1 - i // 3),
    "rounded up": (lambda i, k: sp.ceiling(i * sp.Rational(2, 3)), lambda i, k: -(-2 * i // 3)),
    "many turns": (lambda i, k: sp.Mod(i, 2), lambda i, k: i % 2),
    "a square, round": (lambda i, k: sp.Mod(i**2, LENGTH), lambda i, k: i * i % LENGTH),
    "of two": (lambda i, k: sp.floor((i + k) / 3), lambda i, k: (i + k) // 3),
}


def picked(subscript: Callable[..., sp.Expr]) -> Model:
    """y[n, i, k] = x[n, …]·a[…]."""
    model = Model("picked", dtype="float64")
    N = model.batch("N")
    n, i, k = model.indices(n=N, i=LENGTH, k=2)
    x, a = model.input("x", N, LENGTH), model.parameter("a", LENGTH, init="normal")
    y = model.let("y", (n, i, k), x[n, subscript(i, k)] * sp.sin(a[subscript(i, k)]))
    model.minimize(sp.Sum(y[n, i, k] ** 2, n, i, k))
    return model


@pytest.mark.parametrize("name", SUBSCRIPTS)
def test_it_reads_what_numpy_does(name: str) -> None:
    of_symbols, of_numbers = SUBSCRIPTS[name]
    model, rng = picked(of_symbols), np.random.default_rng(0)
    x, a = rng.normal(size=(ROWS, LENGTH)), rng.normal(size=LENGTH)
    at = np.array([[of_numbers(i, k) for k in range(2)] for i in range(LENGTH)])
    found = run(declared_program(model), {"x": x, "a": a}, {"N": ROWS})["y"]
    np.testing.assert_allclose(found.astype(float), x[:, at] * np.sin(a)[at], rtol=1e-14)
    agrees_with_the_oracle(model, {"N": ROWS})


def test_what_a_condition_leaves_out_may_lie_outside() -> None:
    model = Model("conditions", dtype="float64")
    i, k = model.indices(i=LENGTH, k=LENGTH // 2)
    half = model.parameter("half", LENGTH // 2, init="normal")
    inside = sp.And(i > 1, i < LENGTH - 1)
    model.minimize(
        sp.Sum(sp.Piecewise((half[sp.floor(i / 2) - 1] * half[sp.floor(i / 2)], inside), (0, True)), i)
        + sp.Sum(half[k] ** 2, k)
    )
    agrees_with_the_oracle(model)


def test_a_part_of_a_subscript_is_looked_up_beside_labels_and_run_time_sizes() -> None:
    model = Model("packed", dtype="float64")
    N, M = model.batch("N"), model.sizes(M=3)
    n, i = model.indices(n=N, i=4)
    start, x = model.labels("start", N, classes=3), model.input("x", M)
    a = model.parameter("a", 4, init="normal")
    there = start[n] + 1 < M
    term = a[start[n] + sp.floor(i / 4)] * x[M - 2 - start[n] + sp.floor(i / 2)]
    model.minimize(sp.Sum(sp.Piecewise((term, there), (0, True)), n, i))
    agrees_with_the_oracle(model, {"N": 3})


def test_equal_subscripts_share_a_table() -> None:
    """Of whatever index."""
    model = Model("shared")
    i, j = model.indices(i=LENGTH, j=LENGTH)
    x = model.parameter("x", LENGTH, LENGTH)
    model.minimize(sp.Sum(x[sp.floor(i / 2), sp.floor(j / 2)] ** 2 * x[i, sp.floor(i / 2)], i, j))
    assert [t.name for t in lower(model).of_role(Role.CONSTANT)] == ["x_at"]


def remainders() -> Model:
    """Remainders in conditions and in values, of what may be negative too."""
    model = Model("remainders", dtype="float64")
    N = model.batch("N")
    n, i = model.indices(n=N, i=LENGTH)
    x, a = model.input("x", N, LENGTH), model.parameter("a", LENGTH, init="normal")
    odd = sp.Piecewise((sp.sin(a[i]), sp.Eq(sp.Mod(i, 2), 1)), (a[i] * sp.Mod(3 * n + i, 4), True))
    model.minimize(sp.Sum(x[n, i] * odd * (1 + sp.Mod(2 - i, 3)) * a[i], n, i))
    return model


def test_a_remainder_of_what_is_not_negative_is_one_of_integers() -> None:
    text = module_text(remainders())
    assert "i % 2 == 1" in text
    assert "real((3 * n + i) % 4)" in text
    assert "% real(3)" in text
    agrees_with_the_oracle(remainders(), {"N": ROWS})


@needs_compiler
def test_remainders_are_the_same_in_c(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(ROWS + 1, LENGTH))
    found, wanted = (
        module.loss_and_gradient(values[0], values[1:])
        for module in (native(remainders(), tmp_path), execute(module_text(remainders())))
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-14)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-14)


@pytest.mark.parametrize(
    ("subscript", "message"),
    [
        ("floor(i / 2) - 1", "the subscript floor(i/2) - 1 is -1 at i = 0, expected 0 to 8"),
        ("i**2 - i", "the subscript i**2 - i is 12 at i = 4, expected 0 to 8"),
        ("floor(n / 2)", "expected an integer combination of indices, sizes and integer tensors, or a formula of"),
        ("floor(x[n, 0])", "x holds reals; compute integers before, and give them by model.labels"),
        ("i / 2", "or a formula of indices with fixed sizes: round it, as floor(i/2)"),
    ],
)
def test_what_is_no_place_of_the_axis_is_refused(subscript: str, message: str) -> None:
    model = Model("refused")
    N = model.batch("N")
    n, i = model.indices(n=N, i=LENGTH)
    x = model.input("x", N, LENGTH)
    model.minimize(sp.Sum(x[n, eval(subscript, {"floor": sp.floor, "n": n, "i": i, "x": x})] ** 2, n, i))
    with pytest.raises(SpecError) as refusal:
        declared_program(model)
    assert message in str(refusal.value)


def test_a_size_may_be_a_quotient_of_fixed_sizes() -> None:
    """An image from one of half its size."""
    model = Model("halves", dtype="float64")
    H = model.sizes(H=6)
    i, k = model.indices(i=H, k=H / 2)
    small, u = model.input("small", H / 2), model.parameter("u", H, init="normal")
    model.minimize(sp.Sum((u[i] - small[sp.floor(i / 2)]) ** 2, i) + sp.Sum(u[2 * k] ** 4, k))
    agrees_with_the_oracle(model)
    model.input("third", H / 4)
    with pytest.raises(SpecError, match=r"axis 0 of third must have a size of at least 1, found H/4"):
        declared_program(model)
