"""Each record of a function is complete, and its facts agree with one another."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from derivgen.code import operations
from derivgen.explain import parse
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.functions import (
    DERIVATIVES,
    RECORDS,
    Function,
    difference,
    log_total,
    stop_gradient,
    tetragamma,
)
from derivgen.form.program import Program, Range, Role, Statement, Tensor
from derivgen.oracle.interpreter import run
from derivgen.print.elementary import FUNCTIONS, NUMPY, TEXTS
from derivgen.print.layout import flat
from derivgen.print.scalar import Double
from derivgen.update.expressions import refusal

N, n = size_symbol("N"), index_symbol("n")
U, V = Read("u", n), Read("v", n)

GRID = np.array([-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, np.pi / 2, 2, 3])
SMOOTH = [(0.37, 1.41), (-0.63, -1.73), (1.7, 2.6), (2.3, -0.9)]  # off all kinks
WRITTEN_OUT = {sp.Max, sp.Min, stop_gradient}  # by kernels, or gone before them
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8").split("\n## Functions\n")[1]

records = pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.type.__module__.split(".")[0] + "." + r.name)
differentiable = pytest.mark.parametrize("record", [r for r in RECORDS if r.derivative], ids=lambda r: r.name)


def call(record: Function) -> sp.Expr:
    return record.type(*(U, V)[: record.arity or 2], evaluate=False)


def evaluate(expression: sp.Expr, *arguments: np.ndarray) -> list[float]:
    """An expression of U, or of U and V, at each place of the arguments, by the interpreter."""
    statement = Statement("out", (n,), "=", expression, (Range(n, N),))
    tensors = (*(Tensor(name, (N,), Role.INPUT) for name in "uv"), Tensor("out", (N,), Role.LET))
    found = run(Program("test", tensors, (statement,), (("N", N),)), {"u": arguments[0], "v": arguments[-1]})["out"]
    return [float(value) for value in found]


@records
def test_a_record_is_complete(record: Function) -> None:
    assert (record.arity or 2) in record.type.nargs
    assert (record.type in FUNCTIONS) != (record.type in WRITTEN_OUT)
    assert (record.type in NUMPY) + (record.name in TEXTS) <= 1
    assert bool(record.derivative) != (record.type in (difference, tetragamma))
    if record.derivative:
        assert len(record.derivative(call(record))) == (record.arity or 2)
        assert re.search(rf"`{record.name}\b", DOCUMENTED.split("\n## ")[0], re.IGNORECASE)
        # a root of a sum of squares is read as sqrt, a sum of exponentials' logarithm as log, SymPy's erfc as ours
        assert (record.type in parse.FUNCTIONS.values()) != (record.chosen or record.type is sp.erfc)


@pytest.mark.parametrize(
    "record",
    [r for r in RECORDS if r.type in FUNCTIONS and not refusal(r.type(*(U, V)[: r.arity or 2]))],
    ids=lambda r: r.name,
)
def test_in_double_precision_too(record: Function) -> None:
    """What an update rule computes once in a step."""
    at = (1.7, 2.6)[: record.arity]
    numbers = tuple(operations.Number(sp.Float(u)) for u in at)
    text = flat(Double().part(operations.Call(record.type, numbers)))
    found = eval(text, {"np": np, "math": math})
    assert found == pytest.approx(float(record.real(mpmath.mp, *map(mpmath.mpf, at))), rel=1e-14, nan_ok=True)


@differentiable
def test_a_derivative_is_that_of_the_value(record: Function) -> None:
    """By mpmath's differences of the value."""
    arity, compared = record.arity or 2, 0
    if record.type is stop_gradient:
        return
    for point in SMOOTH:
        at = [mpmath.mpf(p) for p in point[:arity]]
        if record.type is log_total and at[0] < 1:  # it is no total there
            continue
        found = [evaluate(p, *map(np.atleast_1d, point[:arity]))[0] for p in DERIVATIVES[record.type](call(record))]
        for k in range(arity):
            wanted = mpmath.diff(lambda *a: record.real(mpmath.mp, *a), at, tuple(int(i == k) for i in range(arity)))
            if mpmath.isfinite(wanted):
                assert found[k] == pytest.approx(float(wanted), rel=1e-7, abs=1e-7)
                compared += 1
    assert compared >= arity


@differentiable
def test_it_is_singular_where_it_says_so_and_nowhere_else(record: Function) -> None:
    arity = record.arity or 2
    at = [np.array(a) for a in zip(*itertools.product(GRID, repeat=arity), strict=True)]
    found = [evaluate(e, *at) for e in (call(record), *DERIVATIVES[record.type](call(record)))]
    assert bool(record.singular) == any(not abs(value) < 1e20 for value in itertools.chain(*found))
