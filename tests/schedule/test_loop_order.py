"""Which loop of a statement is the innermost one."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
import sympy as sp
from generated import module_text
from statements import program_of

from derivgen import Model
from derivgen.form.as_written import as_written
from derivgen.schedule.nests import loop_order, order_of_one


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("m[j] = max_i x[i,j]", "ij"),  # a row of maxima at once: elements of a row lie side by side
        ("m[i] = max_j x[i,j]", "ij"),
        ("s[j] += Σ_i x[i,j]", "ij"),
        ("s[i] += Σ_j x[i,j]", "ij"),
    ],
)
@as_written()
def test_loops_run_along_rows(text: str, wanted: str) -> None:
    (s,) = program_of(text).statements
    s = replace(s, domain=tuple(replace(r, extent=sp.Integer(400)) for r in s.domain))
    assert "".join(r.index.name for r in order_of_one(s)) == wanted


@as_written()
def test_a_maximum_whose_place_is_wanted_keeps_its_own_loop_inside() -> None:
    (s,) = program_of("m[j] = max_i x[i,j]").statements
    assert "".join(r.index.name for r in loop_order(s)) == "ji"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("z[i + k] += x[i]·y[k]", "ki"),  # along the many, where both lie side by side
        ("z[i,k] += x[k,i]", "ik"),  # not across what is written
    ],
)
@as_written()
def test_of_two_indices_that_read_alike_the_long_one_runs_inside(text: str, wanted: str) -> None:
    (s,) = program_of(text, shapes={"z": "400"} if "+ k" in text else None).statements
    long = (replace(r, extent=sp.Integer(400)) if r.index.name == "i" else r for r in s.domain)
    assert "".join(r.index.name for r in loop_order(replace(s, domain=tuple(long)))) == wanted


@as_written()
def test_of_two_indices_that_reach_across_rows_the_one_that_reaches_less_far_runs_inside() -> None:
    (s,) = program_of("z[i,k] += Σ_j x[i,j,k,2]·y[j]", shapes={"x": "3 4 5 3"}).statements
    assert "".join(r.index.name for r in loop_order(s)) == "ijk"


def test_a_power_that_is_a_loop_shares_none_with_calls() -> None:
    """It would keep a compiler from making several of the calls at once."""
    model = Model("series")
    N, K = model.sizes(N=300, K=25)
    n, k = model.indices(n=N, k=K)
    x, a = model.input("x", N), model.parameter("a", K)
    power = model.let("power", (n, k), (x[n] + a[k]) ** k, layer="term")
    term = model.let("term", (n, k), power[n, k] * sp.exp(-a[k] * x[n]), layer="term")
    model.minimize(sp.Sum(term[n, k] ** 2, n, k))
    inner = innermost_loops(module_text(model))
    assert any("integer_power(" in text for text in inner)
    assert not any("integer_power(" in text and " exp(" in text for text in inner)


def test_a_choice_by_tables_shares_no_loop_with_calls() -> None:
    """It has reads that a compiler makes one by one."""
    model = Model("choices", dtype="float64")
    N, T, S = model.batch("N"), *model.sizes(T=30, S=25)
    n, t, s = model.indices(n=N, t=T, s=S)
    label, score = model.labels("label", N, S, classes=4), model.parameter("score", 4)

    def step(f: sp.IndexedBase) -> sp.Expr:
        skips = sp.And(s > 1, sp.Ne(label[n, s], label[n, s - 2]), score[label[n, s]] > 0)
        onward = sp.Piecewise((f[n, t - 1, s - 2], skips), (-9, True))
        on = sp.log(sp.exp(f[n, t - 1, s]) + sp.exp(onward) + 1)
        return score[label[n, s]] + sp.Piecewise((on, t > 0), (0, True))

    f = model.recur("f", (n, t, s), step)
    model.minimize(sp.Sum(f[n, T - 1, s], n, s))
    inner = innermost_loops(module_text(model))
    chosen = [text for text in inner if " if " in text and "s > 1" in text]
    assert chosen
    assert not any(" exp(" in text or "logaddexp(" in text for text in chosen)


def innermost_loops(text: str) -> list[str]:
    """The loops of a module that have no loop inside."""
    loops = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.For)]
    return [
        ast.unparse(f)
        for f in loops
        if not any(isinstance(child, ast.For) for line in f.body for child in ast.walk(line))
    ]
