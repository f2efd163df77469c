"""Formulas of equal layers in a row stand there once."""

from __future__ import annotations

import pytest

from derivgen.form.formulas import folded


def test_equal_layers_are_folded() -> None:
    lines = [f"h{k}[n,j] = tanh(Σ_i h{k - 1}[n,i]·W{k}[i,j] + b{k}[j])" for k in range(1, 6)]
    assert folded([*lines, "loss = h5[0,0]"]) == [lines[0], "… likewise, 5 times in all, up to h5", "loss = h5[0,0]"]


def test_equal_blocks_are_folded() -> None:
    lines = [line for k in range(3) for line in (f"a{k}[n] = 2·b{k}[n]", f"b{k + 1}[n] = a{k}[n]² - b{k}[n]")]
    assert folded(lines) == [*lines[:2], "… likewise, 3 times in all, up to b3"]


@pytest.mark.parametrize(
    "lines",
    [
        ["a1[n] = tanh(x[n])", "a2[n] = sinh(a1[n])", "a3[n] = cosh(a2[n])"],  # other functions
        ["a1[n] = 2·x[n]", "a2[n] = 3·a1[n]", "a3[n] = 4·a2[n]"],  # other numbers
        ["a1[n] = x[n]·w", "a2[n] = a1[n]·w", "a3[n] = a2[n]·a2[n]"],  # one name for two
        ["a[n] = x[n]", "b[n] = a[n]"],  # two are few
        ["a1[n] = x[n]·w1", "a2[n] = a1[n]·w7", "a3[n] = a2[n]·w4"],  # other numbers in names
        ["a[s] = exp(p[s] - q[s])", "b[s] = exp(r[s] - q[s])", "c[s] = exp(r[s] - t[s])"],  # who reads a can't know c
    ],
)
def test_others_are_not(lines: list[str]) -> None:
    assert folded(lines) == lines
