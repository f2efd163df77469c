"""Totals over very many rows are added up in blocks: in float32 they keep their digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sympy as sp
from generated import execute, module_text

from derivgen import Model, runtime
from derivgen.form.as_written import as_written
from derivgen.project.generate import generate


def model_of_totals() -> Model:
    model = Model("totals")
    N = model.batch("N")
    n, c = model.indices(n=N, c=2)
    x, p = model.input("x", N, 2), model.parameter("p", init="ones")
    with as_written():
        inside = sp.Piecewise(((x[n, c] - p) ** 2, x[n, c] < 0.9), (0, True))
        model.minimize(sp.Sum(inside, n, c) / N)
    return model


def test_a_total_of_many_rows_keeps_its_digits(tmp_path: Path) -> None:
    """One sum after another in float32 is off by 1e-3 here."""
    module = runtime.load(generate(model_of_totals(), tmp_path / "totals_kernels.py", dtype="float32"))
    rows = 3_000_000
    x = np.random.default_rng(0).random((rows, 2), dtype=np.float32)
    wide = np.where(x < np.float32(0.9), x.astype(np.float64) - 1, 0)
    loss, gradient = module.loss_and_gradient(np.ones(1, np.float32), x)
    assert abs(loss / ((wide**2).sum() / rows) - 1) < 1e-6
    assert abs(gradient[0] / (-2 * wide.sum() / rows) - 1) < 1e-6


def test_blocks_have_each_row_once() -> None:
    """At row numbers before, at and after the border of a block."""
    module = execute(module_text(model_of_totals()))
    for rows in (1, 4095, 4096, 4097, 8192, 10000):
        x = np.random.default_rng(rows).random((rows, 2))
        wide = np.where(x < 0.9, x - 1, 0)
        loss, gradient = module.loss_and_gradient(np.ones(1), x)
        assert np.isclose(loss, (wide**2).sum() / rows, rtol=1e-12, atol=0)
        assert np.isclose(gradient[0], -2 * wide.sum() / rows, rtol=1e-12, atol=0)
