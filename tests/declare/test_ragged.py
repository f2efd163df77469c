"""Sums between limits that a table has: the rows of a sparse matrix, the observations of a group."""

from __future__ import annotations

import ast
import itertools
import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.special
import sympy as sp
from generated import agrees_with_the_oracle, execute, kernel_functions, module_text

from derivgen import Model
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program

ROWS, COLUMNS = 5, 4
MATRIX = scipy.sparse.random_array((ROWS, COLUMNS), density=0.5, rng=3, format="csr")


def products(model: Model, starts: Any, columns: Any, entries: Any, bounded: bool) -> Model:
    """Half the square of the product of a matrix in compressed rows with a parameter."""
    v, k = model.indices(v=ROWS, k=MATRIX.nnz)
    w = model.parameter("w", COLUMNS)
    index = k if bounded else sp.Symbol("e", integer=True)
    z = model.let("z", v, sp.Sum(entries[index] * w[columns[index]], (index, starts[v], starts[v + 1] - 1)))
    model.minimize(sp.Sum(z[v] ** 2, v) / 2)
    return model


@pytest.mark.parametrize("bounded", [True, False], ids=["an index", "a symbol"])
@pytest.mark.parametrize("given", [True, False], ids=["labels", "constants"])
def test_rows_of_a_sparse_matrix(given: bool, bounded: bool) -> None:
    model = Model("sparse", dtype="float64")
    count = MATRIX.nnz
    if given:
        starts = model.labels("starts", ROWS + 1, classes=count + 1)
        columns, entries = model.labels("columns", count, classes=COLUMNS), model.input("entries", count)
        arguments = [MATRIX.indptr, MATRIX.indices, MATRIX.data]
    else:
        starts, columns = model.constant("starts", MATRIX.indptr), model.constant("columns", MATRIX.indices)
        entries, arguments = model.input("entries", count), [MATRIX.data]
    text = module_text(products(model, starts, columns, entries, bounded))
    module, w = execute(text), np.random.default_rng(0).normal(size=COLUMNS)
    loss, gradient = module.loss_and_gradient(w, *arguments)
    assert loss == pytest.approx(np.sum((MATRIX @ w) ** 2) / 2, rel=1e-13)
    np.testing.assert_allclose(gradient, MATRIX.T @ (MATRIX @ w), rtol=1e-13)
    assert "range(entries.shape[0])" not in text  # the loop over entries is one over those of a row


def test_groups_may_be_empty_and_in_any_order() -> None:
    model = Model("groups", dtype="float64")
    first, last = model.constant("first", [3, 0, 2]), model.constant("last", [4, -1, 2])
    g, k = model.indices(g=3), sp.Symbol("k", integer=True)
    x, w = model.input("x", 5), model.parameter("w", 3, init=[1.0, 10.0, 100.0])
    model.minimize(sp.Sum(x[k] * w[g], (k, first[g], last[g]), (g, 0, 2)))
    text = module_text(model)
    module = execute(text)
    assert module.loss(module.initial_parameters(), np.arange(5.0)) == 1 * (3 + 4) + 100 * 2
    assert "range(first[g], last[g] + 1)" in text


def test_a_limit_of_which_nothing_is_known_is_refused() -> None:
    model = Model("bad")
    g, k = model.indices(g=3), sp.Symbol("k", integer=True)
    last = model.labels("last", 3, classes=4, ignore=-1)
    x = model.input("x", 5)
    model.minimize(sp.Sum(model.parameter("w") * sp.Sum(x[k], (k, 0, last[g])), g))
    with pytest.raises(SpecError, match=r"reads last\[g\], of which no largest value is known: sum over an index"):
        declared_program(model)


def attention(rows: int, entries: int, features: int) -> Model:
    """What nodes of a graph get of their neighbours, which are listed node by node."""
    model = Model("graph", dtype="float64")
    v, e, f = model.indices(v=rows, e=entries, f=features)
    starts, neighbour = model.labels("starts", rows + 1, classes=entries + 1), model.labels("to", entries, classes=rows)
    h, a, b = model.parameter("h", rows, features), model.parameter("a", features), model.parameter("b", features)
    edges = (e, starts[v], starts[v + 1] - 1)
    score = model.let("score", e, sp.Sum(a[f] * sp.tanh(h[neighbour[e], f]), f))
    total = model.let("total", v, sp.Sum(sp.exp(score[e]), edges) + 1)
    out = model.let("out", (v, f), sp.Sum(sp.exp(score[e]) / total[v] * h[neighbour[e], f], edges) + b[f])
    model.minimize(sp.Sum(out[v, f] ** 2, v, f))
    return model


def test_attention_of_the_nodes_of_a_graph() -> None:
    agrees_with_the_oracle(attention(5, 9, 3))


def test_a_call_for_each_entry_is_made_once() -> None:
    """The loop over features runs inside that over entries, which runs inside that over nodes."""
    (forward,) = (f for f in kernel_functions(module_text(attention(50, 900, 30))) if f.name == "out_forward")
    text = ast.unparse(forward)
    assert re.search(r"for v in .*\n(?s:.*)for e in .*\n(?:.*\n)*?.*= exp\(score\[e\]\)\n(?:.*\n)*?.*for f in ", text)
    assert text.count("exp(") == 2  # one stands in the formula


def test_choices_out_of_sets_of_different_sizes() -> None:
    """A conditional logit; what is exponentiated may be large, and no array has a place for each entry in each row."""
    starts, chosen = np.array([0, 2, 3, 9]), np.array([1, 2, 5])
    model = Model("logit", dtype="float64")
    v, e, d = model.indices(v=3, e=9, d=2)
    start, choice = model.constant("start", starts), model.constant("chosen", chosen)
    x, w = model.input("x", 9, 2), model.parameter("w", 2)
    u = model.let("u", e, sp.Sum(x[e, d] * w[d], d))
    total = sp.Sum(sp.exp(u[e]), (e, start[v], start[v + 1] - 1))
    model.minimize(sp.Sum(sp.log(total) - u[choice[v]], v))
    text = module_text(model)
    assert "Real[3, 9]" not in text
    module, data, point = execute(text), np.random.default_rng(2).normal(size=(9, 2)), np.array([300.0, -900.0])
    loss, gradient = module.loss_and_gradient(point, data)
    values, rows = data @ point, [slice(a, b) for a, b in itertools.pairwise(starts)]
    assert loss == pytest.approx(
        sum(scipy.special.logsumexp(values[r]) for r in rows) - values[chosen].sum(), rel=1e-13
    )
    slopes = sum(scipy.special.softmax(values[r]) @ data[r] for r in rows) - data[chosen].sum(axis=0)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-12)


def test_two_indices_that_limit_each_other() -> None:
    model = Model("mutual", dtype="float64")
    i, j = model.indices(i=4, j=5)
    tables = [[0, 1, 2, 0], [3, 4, 4, 2], [0, 1, 0, 2, 1], [2, 3, 3, 3, 2]]
    a, b, c, d = (model.constant(name, values) for name, values in zip("abcd", tables, strict=True))
    x, w = model.input("x", 4, 5), model.parameter("w", 4)
    inside = sp.And(j >= a[i], j <= b[i], i >= c[j], i <= d[j])
    model.minimize(sp.Sum(sp.Piecewise((w[i] ** 2 * x[i, j], inside), (0, True)), i, j))
    agrees_with_the_oracle(model)
