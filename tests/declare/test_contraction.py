"""`contract("nd,dh->nh", x, W)`: values as numpy.einsum's, the same module as of a Sum by hand, and its mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch
from generated import module_text
from refused import MARK, refuse, run

from derivgen import Model, contract
from derivgen.declare.model import TensorSymbol
from derivgen.oracle.interpreter import run as interpreted
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values

SIZES = {"b": 2, "n": 3, "d": 4, "h": 5, "k": 4, "z": 1}
FORMULAS = (
    *("nd,dh->nh", "nd,hd->nh", "nd,dh->hn", "nd,nd->", "nd,nd->n", "n,d->nd", "bnd,bdh->bnh", "bhn,bhd->nd"),
    *("nd->n", "nd->", "nd->dn", "nd,h->nh", "bnd,d->b", "dk->d", "zd,zh->dh"),  # one operand, some letters, size 1
    *("dd->d", "dd->", "ndd,d->n", "nddh->hn", "dd,dd->d", "nn,nd->d"),  # diagonals and traces
    *("nd,dh,hk->nk", "nd,dh,nh->", "b,n,d->", "nd,nd,nd->d", "ab,bc,cd,de->ae"),  # three and more
    *(",nd->nd", "n,,d->nd"),  # scalars
    *("...d,dh->...h", "n...,n...->...", "...,...->...", "...nd,dh->h...n", "b...d->b...", "...d->..."),
    " n d , d h -> n h ",
)


def shapes(formula: str) -> list[tuple[int, ...]]:
    """Sizes for each operand; an ellipsis is of two axes, or of none for an operand whose letters are all its axes."""
    plain = formula.replace(" ", "").partition("->")[0]
    return [
        tuple(size for k in term.replace("...", "·") for size in ((2, 3) if k == "·" else (SIZES.get(k, 3),)))
        for term in plain.split(",")
    ]


def declared_as_parameters(model: Model, formula: str) -> list[Any]:
    return [model.parameter(f"p{k}", *shape, init="normal") for k, shape in enumerate(shapes(formula))]


@pytest.mark.parametrize("formula", FORMULAS)
def test_as_einsum(formula: str) -> None:
    def declare(model: Model) -> Any:
        found = contract(formula, *declared_as_parameters(model, formula))
        if isinstance(found, sp.Expr):
            return found
        at = model.local_indices(*found.shape)
        return model.let("z", at, found[at])

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.einsum(formula, *(t[f"p{k}"] for k in range(len(shapes(formula)))))

    against_torch(declare, reference)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_run_time_sizes(dtype: str) -> None:
    """A mean over run-time axes, read under an activation; rows and steps are of unknown number."""

    def declare(model: Model) -> Any:
        N, T = model.batch("N"), model.batch("T")
        n, h = model.indices(n=N, h=4)
        x, a = model.input("x", N, T, 3), model.input("a", N, T)
        z = contract("nt,ntd,dh->nh", a, x, model.parameter("W", 3, 4))
        assert z.shape == (N, 3 + 1)
        return sp.Sum(model.let("z", (n, h), sp.tanh(z[n, h] / T))[n, h] ** 2, n, h)

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        z = torch.einsum("nt,ntd,dh->nh", t["a"], t["x"], t["W"]) / t["x"].shape[1]
        return (torch.tanh(z) ** 2).sum()

    against_torch(declare, reference, dtype=dtype, rows=5)


# ---- the same as by hand


def network(own: bool, product: Callable[[Model, Any, Any, Any, Any, Any], sp.Expr]) -> str:
    """The module of a network, whose spec has an index d, or leaves it to the contraction."""
    model = Model("network")
    N = model.batch("N")
    D, H = model.sizes(D=3, H=4)
    n, h = model.indices(n=N, h=H)
    d = model.indices(d=D) if own else model.local_indices(D, letters="d")[0]
    x, W, b = model.input("x", N, D), model.parameter("W", D, H, init="normal"), model.parameter("b", H)
    a = model.let("a", (n, h), sp.tanh(product(model, x, W, n, h, d) + b[h]))
    model.minimize(sp.Sum(a[n, h] ** 2, n, h) / N)
    model.predict(a)
    return module_text(model)


@pytest.mark.parametrize("own", [False, True], ids=["its index", "the spec's index"])
def test_the_module_of_a_product_is_that_of_a_sum(own: bool) -> None:
    by_hand = network(own, lambda model, x, W, n, h, d: sp.Sum(x[n, d] * W[d, h], d))
    short = network(own, lambda model, x, W, n, h, d: contract("nd,dh->nh", x, W)[n, h])
    assert short == by_hand
    assert "gemm(x, W, ASSIGN, a)" in short and "Σ_d x[n,d]·W[d,h]" in short


def test_the_module_of_attention_scores_is_that_of_sums() -> None:
    def text(short: bool) -> str:
        model = Model("scores")
        N, T = model.batch("N"), model.batch("T")
        q, k, v = (model.input(name, N, T, 2, 3) for name in "qkv")
        n, h, t, s, e = model.indices(n=N, h=2, t=T, s=T, e=3)
        w = model.parameter("w", init=1.0)
        by_hand = sp.Sum(q[n, t, h, e] * k[n, s, h, e], e)
        score = model.let(
            "score", (n, h, t, s), w * (contract("nthe,nshe->nhts", q, k)[n, h, t, s] if short else by_hand)
        )
        p = model.let("p", (n, h, t, s), sp.exp(score[n, h, t, s]) / sp.Sum(sp.exp(score[n, h, t, s]), s))
        by_hand = sp.Sum(p[n, h, t, s] * v[n, s, h, e], s)
        y = model.let("y", (n, t, h, e), contract("nhts,nshe->nthe", p, v)[n, t, h, e] if short else by_hand)
        model.minimize(sp.Sum(y[n, t, h, e] ** 2, n, t, h, e) / N)
        return module_text(model)

    assert text(True) == text(False)


def test_the_module_of_a_recurrence_is_that_of_sums() -> None:
    """Read a step back, and at a label: a subscript of the result is one of the operands."""

    def text(short: bool) -> str:
        model = Model("steps")
        N, T = model.batch("N"), model.batch("T")
        n, t, d, j, k = model.indices(n=N, t=T, d=2, j=3, k=3)
        x, y = model.input("x", N, T, 2), model.labels("y", N, classes=5)
        W, U, V = (model.parameter(v, *s, init="normal") for v, s in (("W", (2, 3)), ("U", (3, 3)), ("V", (3, 5))))

        def step(h: TensorSymbol) -> sp.Expr:
            if short:
                return contract("ntd,dj->ntj", x, W)[n, t, j] + contract("ntk,kj->ntj", h, U)[n, t - 1, j]
            return sp.Sum(x[n, t, d] * W[d, j], d) + sp.Sum(h[n, t - 1, k] * U[k, j], k)

        h = model.recur("h", (n, t, j), lambda h: sp.tanh(step(h)))
        score = contract("ntj,jc->ntc", h, V)[n, T - 1, y[n]] if short else sp.Sum(h[n, T - 1, j] * V[j, y[n]], j)
        model.minimize(-sp.Sum(score, n) / N)
        return module_text(model)

    assert text(True) == text(False)


def test_what_is_read_twice_is_one_sum() -> None:
    def text(short: bool) -> str:
        model = Model("twice")
        N, H = model.batch("N"), 4
        n, h = model.indices(n=N, h=H)
        x, W = model.input("x", N, 3), model.parameter("W", 3, H, init="normal")
        (d,) = model.local_indices(3, letters="d")
        z = contract("nd,dh->nh", x, W)[n, h] if short else sp.Sum(x[n, d] * W[d, h], d)
        again = contract("nd,dh->nh", x, W)
        twice = again[n, h] * sp.exp(-again[n, h]) if short else z * sp.exp(-z)
        model.minimize(sp.Sum(model.let("a", (n, h), twice)[n, h] ** 2, n, h))
        return module_text(model)

    assert text(True) == text(False)


def test_what_it_is() -> None:
    model = Model("form")
    N, D = model.batch("N"), model.sizes(D=3)
    n, d, m = model.indices(n=N, d=D, m=D)
    x, A, k = model.input("x", N, D), model.parameter("A", D, 3), model.parameter("k")
    assert contract("nd,nd->n", x, x)[n] == sp.Sum(x[n, d] ** 2, d)
    assert contract("nd->", x) == sp.Sum(x[n, d], n, d)
    assert contract("ii->i", A)[d] == A[d, d]
    assert contract("ij->ji", A)[d, 1] == A[1, d]
    assert contract(",nd->dn", k, x)[d, n] == k * x[n, d]
    assert contract("nd,->nd", x, sp.exp(-k))[n, d] == sp.exp(-k) * x[n, d]
    # The spec's d is not summed over where the result is read at d, or where a scalar has it.
    for found in (contract("nd,dh->nh", x, A)[n, d], contract("nd,->n", x, A[d, d])[n]):
        assert isinstance(found, sp.Sum) and found.variables[0] not in (d, m)
    # Nor another one of this name, of another size.
    (summed,) = contract("md->d", x)[d].variables
    assert summed != m and summed.upper == N - 1


def test_a_contraction_and_a_matrix_are_operands() -> None:
    model = Model("nested", dtype="float64")
    N = model.batch("N")
    n, c = model.indices(n=N, c=2)
    x, a = model.input("x", N, 2), model.parameter("a", init=0.3)
    turn = sp.Matrix([[sp.cos(a), -sp.sin(a)], [sp.sin(a), sp.cos(a)]])
    twice = contract("nd,cd->nc", contract("nd,cd->nc", x, turn), turn)
    y = model.let("y", (n, c), twice[n, c])
    model.minimize(sp.Sum(y[n, c] * x[n, 0], n, c))
    declared = declared_program(model)
    values = random_values(declared, "float64", 4, 0)
    found = interpreted(declared, values)["y"].astype(float)
    cos, sin = np.cos(2 * values["a"]), np.sin(2 * values["a"])
    np.testing.assert_allclose(found, values["x"] @ np.array([[cos, sin], [-sin, cos]]), rtol=1e-13)


def test_it_is_no_list() -> None:
    model = Model("listed")
    found = contract("n->n", model.input("x", model.batch("N")))
    with pytest.raises(TypeError):
        iter(found)
    assert not isinstance(found, TensorSymbol | sp.Basic)


# ---- mistakes

PREAMBLE = """\
import numpy as np
from sympy import Sum, tanh
from derivgen import Model, contract

model = Model("bad")
N, T = model.batch("N"), model.batch("T")
D, H = model.sizes(D=3, H=4)
n, d, h, t = model.indices(n=N, d=D, h=H, t=T)
x, y, s = model.input("x", N, D), model.input("y", N, T), model.input("s", N, N)
W, V, k = model.parameter("W", D, H), model.parameter("V", H, H), model.parameter("k")
"""
ENDING = "model.minimize(Sum(tanh(z[n, h]) ** 2, n, h) + Sum(W[d, h] * x[n, d] * y[n, t], n, d, h, t) * k)\n"
AT = "[n, h]"
MISTAKES = {
    "no arrow": ('"nd,dh", x, W', AT, ['contract("nd,dh")', 'found no "->"', '"nd,dh->nh"']),
    "no arrow, spaces": ('" n d, d h", x, W', AT, ['contract("nd,dh")', 'found no "->"']),
    "no arrow, dots": ('"...d,dh", x, W', AT, ['"...d,dh->...h"']),
    "digits": ('"n1,1h->nh", x, W', AT, ['contract("n1,1h->nh")', "a letter for each axis", '"nd,dh->nh"']),
    "two arrows": ('"nd->dh->nh", x, W', AT, ["a letter for each axis"]),
    "two dots": ('"..d,dh->nh", x, W', AT, ["a letter for each axis"]),
    "no formula": ("x, W", AT, ['contract("x")', 'found no "->"']),
    "a tensor too many": ('"nd,dh->nh", x, W, V', AT, ["letters for 2 operands", "found 3: x, W, V"]),
    "a tensor too few": ('"nd,dh,hk->nk", x, W', AT, ["letters for 3 operands", "found 2: x, W"]),
    "an axis too many": ('"nd,ndh->nh", x, W', AT, ['3 axes for "ndh"', "found W of shape (D, H)"]),
    "an axis too few": ('"n,dh->nh", x, W', AT, ['1 axis for "n"', "found x of shape (N, D)"]),
    "too few under dots": ('"...ndk,dh->nh...", x, W', AT, ['at least 3 axes for "...ndk"', "x of shape (N, D)"]),
    "an element": ('"nd,dh->nh", x[n, d], W', AT, ['2 axes for "nd"', "found the scalar x[n, d]"]),
    "a scalar with letters": ('"d,dh->h", k, W', "[h]", ['1 axis for "d"', "found the scalar k"]),
    "an array": ('"nd,dh->nh", x, np.ones((3, 4))', AT, ["found ndarray", "model.constant"]),
    "two sizes": ('"nd,dh->nh", x, V', AT, ["d is D in x and H in V", "different letters"]),
    "two sizes in one": ('"nn,nn->n", W, W', "[h]", ["n is D in W and H in W"]),
    "run-time sizes": ('"nd,nd->n", x, y', "[n]", ["d is D in x and T in y"]),
    "two run-time sizes": ('"nm,mk->nk", s, W', AT, ["m is N in s and D in W"]),
    "axes under dots": ('"...,...->...", x, W', AT, ["...2 is N in x and D in W"]),
    "an unknown letter": ('"nd,dh->nhk", x, W', AT, ["k stands behind the arrow", "one of n, d, h"]),
    "a letter twice": ('"nd,dh->nhh", x, W', AT, ["h stands twice behind the arrow"]),
    "dots lost": ('"...d,dh->h", x, W', "[h]", ['axes under "..."', 'write "..." behind the arrow']),
    "two sizes of a result": (
        '"nd,dk->nk", contract("nd,dh->nh", x, W), W',
        AT,
        ['d is H in contract("nd,dh->nh") and D in W'],
    ),
    "one mistake inside of another": ('"nd,hk->nk", contract("nd,dhk->nh", x, W), V', AT, ['3 axes for "dhk"']),
    "a result too many": ('"nd->nd", contract("nd,dh->nh", x, W), W', AT, ['found 2: contract("nd,dh->nh"), W']),
    "nothing behind the arrow": ('"nd,nd->", x, y', "", ["d is D in x and T in y"]),
    "a subscript too few": ('"nd,dh->nh", x, W', "[n]", ["expected 2 subscripts, found 1", "contract(…)[n, h]"]),
    "no subscripts": ('"nd,dh->nh", x, W', " + k", ["is a tensor: read it at indices, contract(…)[n, h]"]),
    "a slice": ('"nd,dh->nh", x, W', "[n, :]", ["subscript :"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, tmp_path: Path) -> None:
    arguments, at, words = MISTAKES[mistake]
    line = f'z = model.let("z", (n, h), contract({arguments}){at})  {MARK}\n'
    (error,) = refuse(tmp_path, PREAMBLE + line + ENDING)
    for word in words:
        assert word in error, error


def test_an_index_of_another_size_is_refused_where_it_reads(tmp_path: Path) -> None:
    line = f'z = model.let("z", (n, t), contract("nd,dh->nh", x, W)[n, t] + k)  {MARK}\n'
    (error,) = refuse(
        tmp_path, PREAMBLE + line + ENDING.replace("z[n, h]", "z[n, t] * y[n, t]").replace("n, h)", "n, t)")
    )
    assert "may leave axis 1 of W" in error


def test_no_tensor_at_all(tmp_path: Path) -> None:
    line = f'z = model.let("z", (n, h), contract("nd,dh->nh"))  {MARK}\n'
    (error,) = refuse(tmp_path, PREAMBLE + line + ENDING)
    assert "expects a formula and tensors" in error


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ('np.einsum("nd,dh->nh", x, W)[n, h]', "NumPy's einsum works on arrays: write contract("),
        ('einsum("nd,dh->nh", x, W)[n, h]', "einsum is called contract here"),
        ('contract("nd,dh->nh", x, W) * 2', "is read at indices"),
        ('contract("nd,dh->nh", x, W)(n, h)', "is read at indices"),
        ('-contract("nd,dh->nh", x, W)', "is read at indices"),
        ('contract("nd,dh->nh", x, W)', "read tensors at indices"),
    ],
)
def test_other_ways_to_write_it(formula: str, words: str, tmp_path: Path) -> None:
    line = f'z = model.let("z", (n, h), {formula})  {MARK}\n'
    (error,) = refuse(tmp_path, PREAMBLE + line + ("" if formula != 'contract("nd,dh->nh", x, W)' else ENDING))
    assert words in error and "the spec raised" not in error, error


def test_gradcheck_of_a_spec(tmp_path: Path) -> None:
    spec = tmp_path / "short.py"
    spec.write_text(
        PREAMBLE
        + 'z = model.let("z", (n, h), contract("nm,md,dh->nh", s, x, W)[n, h] * contract("nt->n", y)[n] + k)\n'
        + "model.minimize(Sum(tanh(z[n, h]) ** 2, n, h) + contract('hi,hi->', V, V))\n",
        encoding="utf-8",
    )
    result = run("gradcheck", spec)
    assert result.exit_code == 0, result.output
