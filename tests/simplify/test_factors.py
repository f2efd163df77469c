"""Common factors: the adjoint of a softmax as textbooks have it, divisions done once, and what must stay as it is."""

from __future__ import annotations

import numpy as np
import sympy as sp
from generated import check_module, execute, module_text

from derivgen import Model
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.notation import print_program
from derivgen.form.program import Program, Range, Role, Statement, Tensor
from derivgen.pipeline import declared_program, stable_program, training_program
from derivgen.simplify.simplify import simplify


def derived(model: Model) -> list[str]:
    return print_program(training_program(stable_program(declared_program(model)))).splitlines()


def agrees_with_the_oracle(model: Model, seed: int = 0) -> None:
    declared, rng = declared_program(model), np.random.default_rng(seed)
    values = {t.name: rng.uniform(0.5, 2, [int(extent) for extent in t.shape]) for t in declared.parameters}
    assert check_module(execute(module_text(model)), declared, values) == []


def test_the_adjoint_of_a_softmax_is_that_of_textbooks():
    """z_bar = p·(p_bar - Σ p·p_bar), without a division and without the exponentials."""
    model = Model("softmax")
    n, k = model.indices(n=3, k=5)
    z, w = model.parameter("z", 3, 5), model.parameter("w", 3, 5)
    p = model.let("p", (n, k), sp.exp(z[n, k]) / sp.Sum(sp.exp(z[n, k]), k))
    model.minimize(sp.Sum(sp.sin(w[n, k] * p[n, k]), n, k))
    backward = [line for line in derived(model) if line.startswith(("z_bar", "p_sum_bar"))]
    assert backward == [
        "p_sum_bar_sum[n] += Σ_k p[n,k]·p_bar[n,k]",
        "z_bar[n,k] = p[n,k]·(p_bar[n,k] - p_sum_bar_sum[n])",
    ]
    agrees_with_the_oracle(model)


def test_a_division_that_all_terms_share_is_done_once():
    model = Model("shared")
    n, k = model.indices(n=3, k=5)
    a, b = model.parameter("a", 3, 5), model.parameter("b", 3)
    s = model.let("s", n, sp.Sum(a[n, k] ** 2 / b[n], k))
    model.minimize(sp.Sum(s[n] ** 3, n))
    assert "s_sum[n] += Σ_k a[n,k]²" in derived(model)
    assert "s[n] = s_sum[n]/b[n]" in derived(model)
    agrees_with_the_oracle(model)


def test_a_sum_that_may_have_no_terms_divides_nothing():
    """At T = 1 the sum over t < T - 1 is 0, though b is 0: not 0/0."""
    model = Model("empty")
    T = model.batch("T")
    t = model.indices(t=T - 1)
    x, a, b = model.input("x", T), model.parameter("a"), model.parameter("b")
    model.minimize(sp.Sum(a * x[t] / b, t) + a)
    module = execute(module_text(model))
    with np.errstate(all="ignore"):
        assert module.loss(np.array([3.0, 0.0]), np.ones(1)) == 3
        assert module.loss(np.array([3.0, 2.0]), np.ones(3)) == 6


def test_numbers_leave_their_brackets():
    """The derivative of (x - y)² is 2·(x - y), whatever stands beside it."""
    model = Model("squares")
    n = model.indices(n=4)
    x, c = model.parameter("x", 4), model.parameter("c", 4)
    model.minimize(sp.Sum(c[n] * (x[n] - c[n]) ** 2, n))
    assert "x_bar[n] = 2·c[n]·(x[n] - c[n])" in derived(model)
    agrees_with_the_oracle(model)


def test_powers_of_a_held_value_are_found_in_higher_ones():
    """q = a/b: its derivative by b, -a/b², is -q/b, and 1/b times q_bar is held as a_bar."""
    model = Model("powers")
    n = model.indices(n=4)
    a, b = model.parameter("a", 4), model.parameter("b", 4)
    q = model.let("q", n, a[n] / b[n])
    model.minimize(sp.Sum(sp.sin(q[n]), n))
    assert "b_bar[n] = -q[n]·a_bar[n]" in derived(model)
    agrees_with_the_oracle(model)


def test_numbers_of_one_base_are_two_factors():
    """In 2·√2·a·b beside a·b neither 2 nor √2 is lost."""
    model = Model("roots")
    n = model.indices(n=4)
    a, b = model.parameter("a", 4), model.parameter("b", 4)
    q = model.let("q", n, a[n] * b[n])
    model.minimize(sp.Sum(sp.sin(q[n]) + sp.cos(2 * sp.sqrt(2) * a[n] * b[n]), n))
    agrees_with_the_oracle(model)


def test_two_additions_of_one_layer_are_one():
    """Both reads of x in the layer, in a sum and beside it."""
    model = Model("additions")
    n, k = model.indices(n=3, k=5)
    x = model.parameter("x", 3, 5)
    y = model.let("y", (n, k), x[n, k] * sp.Sum(x[n, k] ** 2, k))
    model.minimize(sp.Sum(sp.sin(y[n, k]), n, k))
    assert len([line for line in derived(model) if line.startswith("x_bar[n,k]")]) == 1
    agrees_with_the_oracle(model)


def test_what_a_pass_leaves_is_cleaned_up():
    """h is 0, so t is, which the pass that reads h as 0 did not know yet when it came to the reader of t."""
    N = size_symbol("N")
    i = index_symbol("i")
    h, t, z = (
        Tensor(name, shape, role)
        for name, shape, role in (("h", (N,), Role.HELPER), ("t", (), Role.HELPER), ("z", (), Role.LET))
    )
    statements = (
        Statement("h", (i,), "=", sp.Integer(0), (Range(i, N),)),
        Statement("t", (), "+=", Read("h", i) / N, (Range(i, N),)),
        Statement("z", (), "=", Read("t") + 1, ()),
    )
    program = Program("cleaned", (h, t, z), statements, (("N", N),), objective="z")
    assert print_program(simplify(program)) == "z = 1"
