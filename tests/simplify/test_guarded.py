"""Values under guards: found, moved and left out where the guard allows it, and nowhere else."""

from __future__ import annotations

import numpy as np
import sympy as sp
from generated import agrees_with_the_oracle, check_module, execute, module_text

from derivgen import MaxOver, Model
from derivgen.form.as_written import as_written
from derivgen.form.expressions import guarded
from derivgen.pipeline import declared_program


def test_a_sum_under_a_guard_is_not_0_outside_it():
    """y[t] has terms u ≤ t; that it is read where u ≤ t still leaves the others of x at 0."""
    model = Model("rows")
    t, u = model.indices(t=3, u=3)
    W = model.parameter("W", 3, 3)
    y = model.let("y", t, sp.Sum(guarded(W[t, u], u <= t), u))
    x = model.let("x", (t, u), guarded(y[t], u <= t))
    model.minimize(sp.Sum(sp.sin(x[t, u]) * W[t, u], t, u))
    model.predict(x)
    agrees_with_the_oracle(model)


def test_a_guard_is_that_of_the_element_that_is_read():
    """h_bar[t,u] is 0 unless u ≤ t, and read as h_bar[u,t] where u ≤ t: a guard on other elements."""
    model = Model("turned")
    t, u = model.indices(t=3, u=3)
    W, b = model.parameter("W", 3, 3), model.parameter("b", 3)
    r = model.let("r", (u, t), W[u, t] / b[u])
    h = model.let("h", (u, t), guarded(W[u, t] ** 2, u <= t))
    z = model.let("z", (t, u), guarded(h[t, u] / b[t], u <= t))
    model.minimize(sp.Sum(sp.sin(z[t, u]) + sp.cos(r[t, u]) + z[t, u] * W[u, t], t, u))
    agrees_with_the_oracle(model)


def test_a_division_stays_in_a_sum_whose_guard_keeps_its_reads_inside():
    """b[t + 1] is read where u > t, which no u is at the last t: there the sum has no terms, and b no such element."""
    model = Model("beyond")
    t, u = model.indices(t=4, u=4)
    a, b = model.parameter("a", 4, 4), model.parameter("b", 4)
    s = model.let("s", t, sp.Sum(guarded(a[t, u] / b[t + 1], u > t), u))
    p = model.let("p", (t, u), guarded(a[t, u] * s[t] ** 2, u > t))
    model.minimize(sp.Sum(sp.sin(p[t, u]), t, u))
    agrees_with_the_oracle(model)


def test_a_prediction_is_0_outside_its_guard():
    """In training nobody reads the weights outside the mask, and nothing is written there; `predict` returns them."""
    model = Model("mask")
    T = model.batch("T")
    t, u = model.indices(t=T, u=T)
    x, b = model.input("x", T, T), model.parameter("b")
    e = sp.exp(x[t, u] * b)
    p = model.let("p", (t, u), guarded(e / sp.Sum(guarded(e, u <= t), u), u <= t))
    model.minimize(sp.Sum(guarded(sp.sin(p[t, u]) * x[t, u], u <= t), t, u))
    model.predict(p)
    agrees_with_the_oracle(model, {"T": 4})


def test_a_bound_is_a_whole_number():
    """u ≤ t/2 is no bound of a loop as it stands."""
    model = Model("half")
    t, u = model.indices(t=6, u=6)
    W = model.parameter("W", 6, 6)
    x = model.let("x", t, sp.Sum(W[t, u] ** 2, (u, 0, t / 2)))
    model.minimize(sp.Sum(sp.sin(x[t]) * W[t, u], t, u))
    agrees_with_the_oracle(model)


def test_a_bound_is_read_where_the_rest_of_its_guard_holds():
    """c[t + 1] is no element at the last t."""
    model = Model("next")
    t, u = model.indices(t=4, u=4)
    W, c = model.parameter("W", 4, 4), model.labels("c", 4, classes=5)
    s = model.let("s", t, sp.Sum(guarded(W[t, u] ** 2, sp.And(t < 3, u < c[t + 1])), u))
    model.minimize(sp.Sum(sp.sin(s[t]), t))
    agrees_with_the_oracle(model)


def test_a_division_before_a_loop_reads_what_is_there():
    """At the last t the loop over u < T - 1 - t is empty, and b has no element t + 1."""
    model = Model("before")
    T = model.batch("T")
    t, u = model.indices(t=T, u=T)
    a, b, w = model.input("a", T, T), model.input("b", T), model.parameter("w")
    s = model.let("s", (t, u), guarded(w * a[t, u] ** 2 / b[t + 1], u < T - 1 - t))
    model.minimize(sp.Sum(sp.sin(s[t, u]), t, u))
    agrees_with_the_oracle(model, {"T": 3})


@as_written()
def test_a_maximum_under_a_guard_shifts_what_is_under_it():
    """z - max z is held where k < 2; the label's logit is read at all k."""
    model = Model("label")
    n, k = model.indices(n=8, k=4)
    z, y = model.parameter("z", 8, 4), model.labels("y", 8, classes=4)
    total = sp.Sum(guarded(sp.exp(z[n, k]), k < 2), k)
    model.minimize(sp.Sum(sp.log(total) - z[n, y[n]], n))
    agrees_with_the_oracle(model)


@as_written()
def test_one_of_two_additions_is_not_what_a_tensor_holds():
    """The weights' logits get a gradient through the exponentials and through their sum: the first is not all of it."""
    model = Model("additions")
    t, u = model.indices(t=3, u=3)
    x, b = model.parameter("x", 3, 3), model.parameter("b", 3)
    e = sp.exp(b[t] * x[t, u])
    p = model.let("p", (t, u), guarded(e / sp.Sum(guarded(e, u <= t), u), u <= t))
    model.minimize(sp.Sum(p[t, u] * b[t] + sp.sin(x[t, u]), t, u))
    agrees_with_the_oracle(model)


@as_written()
def test_a_sum_is_0_where_its_guard_leaves_it_without_terms():
    """The loop over u holds the first write of s[t,u], which is one of 0 where u > t."""
    model = Model("rest")
    t, u, v = model.indices(t=3, u=3, v=3)
    W = model.parameter("W", 3, 3)
    s = model.let("s", (t, u), sp.Sum(guarded(sp.sin(W[t, v] * W[u, v]), u <= t), v))
    model.minimize(sp.Sum(sp.cos(s[t, u]), t, u))
    agrees_with_the_oracle(model)


def test_a_guard_that_keeps_an_index_in_its_range_stays() -> None:
    """The adjoint of an exponential of rows W[y[n]] is 0 where y[n] is to be ignored, and W has no such row."""
    model = Model("gathered")
    N = model.batch("N")
    n, k = model.indices(n=N, k=3)
    y, W = model.labels("y", N, classes=2, ignore=-100), model.parameter("W", 2, 3)
    total = model.let("total", k, sp.log(1 + sp.Sum(sp.exp(W[y[n], k]), n)))
    model.minimize(sp.Sum(total[k] ** 2, k))
    declared, rng = declared_program(model), np.random.default_rng(0)
    values = {"y": np.array([1, -100, 0, 1]), "W": rng.uniform(-1, 1, (2, 3))}
    assert check_module(execute(module_text(model)), declared, values) == []


def test_a_maximum_whose_value_no_one_needs() -> None:
    """Of 0 times a maximum the adjoint asks where it stands, and nothing asks for it."""
    model = Model("unread")
    k, W, V = model.indices(k=1), model.parameter("W", 1), model.parameter("V", 1)
    with as_written():
        nothing = sp.Sum(guarded(W[k + 1], sp.And(k + 1 >= 0, k + 1 <= 0)), k)
    a = model.let("a", (), nothing * MaxOver(V[-k], k))
    model.minimize(a / 2 + W[0] ** 2)
    agrees_with_the_oracle(model)


def test_a_condition_speaks_of_a_sum_as_it_was_declared() -> None:
    """The sum of exponentials is held in a scaled form; sums in a branch have the branch's condition as their guard."""
    model = Model("scaled")
    n, k = model.indices(n=3, k=2)
    W, V = model.parameter("W", 3, 2), model.parameter("V", 3, 2)
    with as_written():
        largest = sp.log(sp.Sum(sp.exp(W[n, k]), n))
        other = sp.log(sp.Sum(sp.exp(W[n, k] * V[n, k]), n))
        a = model.let("a", k, sp.Piecewise((largest, largest > sp.Rational(5, 2)), (other, True)))
    model.minimize(sp.Sum(sp.sin(a[k]), k))
    model.predict(a)
    declared = declared_program(model)
    values = {"W": np.array([[1.0, 2.0], [1.2, 1.9], [0.9, 2.2]]), "V": np.full((3, 2), 0.7)}
    assert check_module(execute(module_text(model)), declared, values) == []
