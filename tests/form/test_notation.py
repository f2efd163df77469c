"""Formulas of equal layers in a row stand there once."""

from __future__ import annotations

import pytest

from derivgen.form.notation import folded


def test_equal_layers_are_folded() -> None:
    lines = [f"h{k}[n,j] = tanh(Σ_i h{k - 1}[n,i]·W{k}[i,j] + b{k}[j])" for k in range(1, 6)]
    assert folded([*lines, "loss = h5[0,0]"]) == [lines[0], "… likewise, 5 times in all, up to h5", "loss = h5[0,0]"]


def test_equal_blocks_are_folded() -> None:
    lines = [line for k in range(3) for line in (f"a{k}[n] = 2·b{k}[n]", f"b{k + 1}[n] = a{k}[n]² - b{k}[n]")]
    assert folded(lines) == [*lines[:2], "… likewise, 3 times in all, up to b3"]


@pytest.mark.parametrize(
    "lines",
    [
        ["a[n] = tanh(x[n])", "b[n] = sinh(a[n])", "c[n] = cosh(b[n])"],  # other functions
        ["a[n] = 2·x[n]", "b[n] = 3·a[n]", "c[n] = 4·b[n]"],  # other numbers
        ["a[n] = x[n]·w", "b[n] = a[n]·w", "c[n] = b[n]·b[n]"],  # one name for two
        ["a[n] = x[n]", "b[n] = a[n]"],  # two are few
    ],
)
def test_others_are_not(lines: list[str]) -> None:
    assert folded(lines) == lines
