"""Recurrences: values and gradients against PyTorch and the oracle, what is refused, and how their kernels read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from against_torch import against_torch
from generated import check_module, execute, module_text
from sympy import Piecewise, Sum, sin, tanh

from derivgen import MaxOver, activations
from derivgen.declare.model import Model
from derivgen.derive.differentiate import adjoint, tangent
from derivgen.errors import SpecError
from derivgen.explain.model import explain_model
from derivgen.form.notation import print_program
from derivgen.form.program import Program
from derivgen.oracle.differences import relative_error
from derivgen.oracle.interpreter import run
from derivgen.oracle.reals import context
from derivgen.pipeline import declared_program, stable_program, training_program
from derivgen.project.gradcheck import random_values

T, D, H = 5, 3, 4


def rnn(model: Model, reverse: bool = False) -> Any:
    """h = tanh(x·W + h_before·U + b)"""
    n, t, d, j, k = model.indices(n=2, t=T, d=D, j=H, k=H)
    x, W, U = model.parameter("x", 2, T, D), model.parameter("W", D, H), model.parameter("U", H, H)
    h0 = model.parameter("h0", 2, H)
    step = 1 if reverse else -1
    return model.recur(
        "h", (n, t, j), lambda h: tanh(Sum(x[n, t, d] * W[d, j], d) + Sum(h[n, t + step, k] * U[k, j], k)), h0[n, j]
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reverse", [False, True])
def test_simple(reverse: bool, dtype: str) -> None:
    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        h, found = v["h0"], [torch.empty(0)] * T
        for t in reversed(range(T)) if reverse else range(T):
            h = found[t] = torch.tanh(v["x"][:, t] @ v["W"] + h @ v["U"])
        return torch.stack(found, 1)

    against_torch(lambda model: rnn(model, reverse), reference, dtype=dtype)


def lstm(model: Model, batch: Any = 2, length: Any = T) -> Any:
    """Gates packed as PyTorch has them: input, forget, cell, output."""
    n, t, d, g, j, k = model.indices(n=batch, t=length, d=D, g=4, j=H, k=H)
    x = model.parameter("x", batch, length, D) if length == T else model.input("x", batch, length, D)
    W, U, b = model.parameter("W", D, 4, H), model.parameter("U", H, 4, H), model.parameter("b", 4, H)
    s = activations.sigmoid

    def step(h: Any, c: Any, z: Any) -> Any:
        gates = Sum(x[n, t, d] * W[d, g, j], d) + Sum(h[n, t - 1, k] * U[k, g, j], k) + b[g, j]
        cell = s(z[n, t, 1, j]) * c[n, t - 1, j] + s(z[n, t, 0, j]) * tanh(z[n, t, 2, j])
        return s(z[n, t, 3, j]) * tanh(c[n, t, j]), cell, gates

    return model.recur(["h", "c", "z"], [(n, t, j), (n, t, j), (n, t, g, j)], step)[0]


def torch_lstm(v: dict[str, torch.Tensor]) -> torch.Tensor:
    module = torch.nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    weights = {
        "weight_ih_l0": v["W"].reshape(D, -1).T,
        "weight_hh_l0": v["U"].reshape(H, -1).T,
        "bias_ih_l0": v["b"].reshape(-1),
        "bias_hh_l0": torch.zeros(4 * H, dtype=torch.float64),
    }
    return torch.func.functional_call(module, weights, (v["x"],))[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_members_that_read_each_other(dtype: str) -> None:
    against_torch(lstm, torch_lstm, dtype=dtype)


def test_several_lags_with_a_value_before_each() -> None:
    def declare(model: Model) -> Any:
        n, t = model.indices(n=2, t=T)
        w, first, second = model.parameter("w", 3), model.parameter("first", 2), model.parameter("second")
        before = [first[n], second, sp.Rational(1, 4)]
        return model.recur(
            "h", (n, t), lambda h: sin(w[0] * h[n, t - 1] + w[1] * h[n, t - 3] + w[2] * h[n, t - 2] * t), before
        )

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        w = v["w"]
        found = [torch.full((2,), 0.25, dtype=torch.float64), v["second"].expand(2), v["first"]]
        for t in range(T):
            found.append(torch.sin(w[0] * found[-1] + w[1] * found[-3] + w[2] * found[-2] * t))
        return torch.stack(found[3:], 1)

    against_torch(declare, reference)


def test_longer_lag_than_the_sequence() -> None:
    def declare(model: Model) -> Any:
        (t,) = (model.indices(t=3),)
        w = model.parameter("w")
        return model.recur("h", t, lambda h: w * h[t - 1] + h[t - 7] * w + 1, initial=w)

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        w, h, found = v["w"], v["w"], []
        for _ in range(3):
            h = w * h + w * w + 1
            found.append(h)
        return torch.stack(found)

    against_torch(declare, reference)


def test_guard_at_the_first_step() -> None:
    def declare(model: Model) -> Any:
        n, t = model.indices(n=2, t=T)
        x, w = model.parameter("x", 2, T), model.parameter("w")
        return model.recur(
            "h", (n, t), lambda h: Piecewise((tanh(w * h[n, t - 1] + x[n, t]), t > 0), (x[n, t] ** 2, True))
        )

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        found = [v["x"][:, 0] ** 2]
        for t in range(1, T):
            found.append(torch.tanh(v["w"] * found[-1] + v["x"][:, t]))
        return torch.stack(found, 1)

    against_torch(declare, reference)


def cholesky(model: Model) -> Any:
    """Columns of the Cholesky factor of a matrix, each from all columns before it; then a triangular solution."""
    i, j, k = model.indices(i=T, j=T, k=T)
    B, y = model.parameter("B", T, T), model.parameter("y", T)
    A = model.let("A", (i, j), Sum(B[i, k] * B[j, k], k) + sp.KroneckerDelta(i, j))
    _, L = model.recur(
        ["d", "L"],
        [(j,), (i, j)],
        lambda d, L: (
            sp.sqrt(A[j, j] - Sum(L[j, k] ** 2, (k, 0, j - 1))),
            Piecewise(((A[i, j] - Sum(L[i, k] * L[j, k], (k, 0, j - 1))) / d[j], i >= j), (0, True)),
        ),
    )
    z = model.recur("z", i, lambda z: (y[i] - Sum(L[i, k] * z[k], (k, 0, i - 1))) / L[i, i])
    return model.let("both", (i, j), L[i, j] * z[j])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_step_reads_all_before_it(dtype: str) -> None:
    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        L = torch.linalg.cholesky(v["B"] @ v["B"].T + torch.eye(T))
        return L * torch.linalg.solve_triangular(L, v["y"][:, None], upper=False)[:, 0]

    against_torch(cholesky, reference, dtype=dtype)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_sum_of_earlier_values_at_distances(backwards: bool) -> None:
    """The renewal equation, and the same from the last day to the first."""

    def declare(model: Model) -> Any:
        n, t, s = model.indices(n=2, t=T, s=T)
        g, x = model.parameter("g", T), model.parameter("x", 2, T)
        sums = (
            (lambda h: Sum(h[n, t + s] * g[s], (s, 1, T - 1 - t)))
            if backwards
            else (lambda h: Sum(h[n, t - s] * g[s], (s, 1, t)))
        )
        return model.recur("h", (n, t), lambda h: sin(x[n, t] + sums(h)))

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        found: list[torch.Tensor] = []
        for t in reversed(range(T)) if backwards else range(T):
            found.append(torch.sin(v["x"][:, t] + sum(h * v["g"][s] for s, h in enumerate(reversed(found), start=1))))
        return torch.stack(found[::-1] if backwards else found, 1)

    against_torch(declare, reference)


PARENT = [0, 0, 1, 1, 0, 4, 2]  # of each node of a tree: an earlier one, but of the root


def test_a_step_reads_where_a_table_says() -> None:
    """From the root of a tree to its leaves, and back: each node adds up its children."""

    def declare(model: Model) -> Any:
        n, v, c = model.indices(n=2, v=7, c=7)
        w, x, parent = model.parameter("w", 7), model.parameter("x", 2, 7), model.constant("parent", PARENT)
        down = model.recur(
            "down", (n, v), lambda d: x[n, v] + Piecewise((w[v] * sin(d[n, parent[v]]), v > 0), (0, True))
        )
        is_child = sp.Eq(parent[c], v)
        return model.recur(
            "up",
            (n, v),
            lambda u: down[n, v] ** 2 + Sum(Piecewise((sin(u[n, c]), is_child), (0, True)), (c, v + 1, 6)),
        )

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        down: list[torch.Tensor] = []
        for node, parent in enumerate(PARENT):
            down.append(v["x"][:, node] + (v["w"][node] * torch.sin(down[parent]) if node else 0))
        up = [d**2 for d in down]
        for node in reversed(range(1, 7)):
            up[PARENT[node]] = up[PARENT[node]] + torch.sin(up[node])
        return torch.stack(up, 1)

    against_torch(declare, reference)


def test_some_steps_before_and_the_first_one() -> None:
    """Sums that a guard keeps before the present step, next to a read of the step before, and of the first."""

    def declare(model: Model) -> Any:
        n, t, k = model.indices(n=2, t=T, k=3)
        a, x = model.parameter("a", 3), model.parameter("x", 2, T)

        def step(h: Any) -> Any:
            lags = Sum(Piecewise((a[k] * h[n, t - 2 - k], k <= t - 2), (0, True)), k)
            return sin(x[n, t] + h[n, t - 1] * a[0] + lags + Piecewise((h[n, 0] ** 2, t > 0), (0, True)))

        return model.recur("h", (n, t), step, initial=2)

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        found: list[torch.Tensor] = []
        for t in range(T):
            h = v["x"][:, t] + (found[-1] if found else 2) * v["a"][0] + (found[0] ** 2 if found else 0)
            h = h + sum(v["a"][k] * found[t - 2 - k] for k in range(3) if k <= t - 2)
            found.append(torch.sin(h))
        return torch.stack(found, 1)

    against_torch(declare, reference)


def attention_in_steps(model: Model) -> Any:
    """Each step looks at a whole other sequence, by a softmax that the stable forms reach into."""
    n, t, u, j, k = model.indices(n=2, t=T, u=3, j=H, k=H)
    keys, W = model.parameter("keys", 2, 3, H), model.parameter("W", H, H)

    def step(h: Any, s: Any, p: Any) -> Any:
        scores = Sum(h[n, t - 1, k] * keys[n, u, k], k)
        weights = sp.exp(s[n, t, u]) / Sum(sp.exp(s[n, t, u]), u)
        mixed = Sum(p[n, t, u] * keys[n, u, j], u)
        return tanh(mixed + Sum(h[n, t - 1, k] * W[k, j], k)), scores, weights

    return model.recur(["h", "s", "p"], [(n, t, j), (n, t, u), (n, t, u)], step, initial=[sp.Rational(1, 2), 0, 0])[0]


def test_softmax_inside_a_step() -> None:
    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        h, found = torch.full((2, H), 0.5, dtype=torch.float64), []
        for _ in range(T):
            p = torch.softmax(torch.einsum("nk,nuk->nu", h, v["keys"]), 1)
            h = torch.tanh(torch.einsum("nu,nuj->nj", p, v["keys"]) + h @ v["W"])
            found.append(h)
        return torch.stack(found, 1)

    against_torch(attention_in_steps, reference)


def test_a_sum_over_all_steps_of_what_needs_none() -> None:
    """A softmax along time, inside a step: its sum and maximum come before the steps, and so does what they read."""

    def declare(model: Model) -> Any:
        t, k = model.indices(t=T, k=H)
        x, W = model.parameter("x", T, H), model.parameter("W", H)
        score = Sum(x[t, k] * W[k], k)
        return model.recur("h", t, lambda h: tanh(h[t - 1] + sp.exp(score) / Sum(sp.exp(score), t) + MaxOver(score, t)))

    def reference(v: dict[str, torch.Tensor]) -> torch.Tensor:
        score = v["x"] @ v["W"]
        weights, h, found = torch.softmax(score, 0), torch.zeros((), dtype=torch.float64), []
        for t in range(T):
            h = torch.tanh(h + weights[t] + score.max())
            found.append(h)
        return torch.stack(found)

    against_torch(declare, reference)


def test_length_known_at_run_time() -> None:
    model = Model("m")
    N, L = model.batch("N"), model.batch("L")
    h = lstm(model, N, L)
    n, t, j = model.indices(nn=N, tt=L, jj=H)
    model.minimize(Sum(h[n, t, j] ** 2, n, t, j) / N + Sum(h[n, L - 1, j], n, j))
    model.predict(h)
    declared = declared_program(model)
    module = execute(module_text(model))
    for length in (1, 2, 6):
        values = random_values(declared, "float64", 3, length)
        values["x"] = np.random.default_rng(length).standard_normal((3, length, D))
        assert check_module(module, declared, values) == []


@pytest.mark.parametrize(("declare", "shape", "by"), [(rnn, (2, T, H), "U"), (cholesky, (T, T), "B")])
def test_second_derivatives(declare: Any, shape: tuple[int, ...], by: str) -> None:
    """A Hessian's product with a direction: the tangent of the adjoint against a difference of adjoints."""
    model = Model("m")
    h = declare(model)
    at = model.indices(**{f"at_{axis}": extent for axis, extent in enumerate(shape)})
    model.minimize(Sum(h[at] ** 3, *at))
    gradient = training_program(stable_program(declared_program(model)))
    product, dots = tangent(gradient, [by])
    bar = dict(gradient.gradients)[by]
    rng, mp = np.random.default_rng(0), context(50)
    values: dict[str, Any] = {p.name: rng.standard_normal([int(e) for e in p.shape]) for p in gradient.parameters}
    v = rng.standard_normal(values[by].shape)
    found = run(product, {**values, dots[by]: v})[dots[bar]]
    step, exact = mp.mpf("1e-16"), np.vectorize(mp.mpf, otypes=[object])

    def moved(sign: int) -> Any:
        return run(gradient, {**values, by: exact(values[by]) + sign * step * exact(v)})[bar]

    assert relative_error(found, (moved(1) - moved(-1)) / (2 * step)) < 1e-25


def waves(initial: Any) -> Model:
    """Two values a row that drive each other, with a rate of each step, and one of all."""
    model = Model("waves", dtype="float64")
    N = model.batch("N")
    n, t = model.indices(n=N, t=T)
    y, rate = model.input("y", N, T), model.parameter("rate", T)
    w, noise = model.parameter("w"), model.parameter("noise")
    u, v = model.recur(
        ["u", "v"],
        (n, t),
        lambda u, v: (u[n, t - 1] + rate[t] * v[n, t - 1], v[n, t - 1] - w * sin(u[n, t - 1]) + noise * y[n, t]),
        initial=initial,
    )
    model.minimize(Sum((u[n, t] - y[n, t]) ** 2 + v[n, t] ** 4, n, t))
    return model


@pytest.mark.parametrize("initial", [[1, 0], [sp.Rational(1, 2), -1]])
def test_sums_over_points_are_taken_by_the_steps(initial: list[Any]) -> None:
    """The backward pass goes through time once, and gives the same gradient as the formulas do."""
    model = waves(initial)
    declared = declared_program(model)
    text = module_text(model)
    assert check_module(execute(text), declared, random_values(declared, "float64", rows=3, seed=2)) == []
    backward = text[text.index("def u_backward(") :].partition("\n\n\n")[0]
    assert len(re.findall(r"^    for t\b", backward, re.MULTILINE)) == 1, backward


def test_what_needs_no_step_leaves_the_steps() -> None:
    model = Model("m")
    h = rnn(model)
    n, t, j = model.indices(nn=2, tt=T, jj=H)
    model.minimize(Sum(h[n, t, j], n, t, j))
    program = training_program(stable_program(declared_program(model)))
    inside = {s.target for s in program.statements if s.scan is not None}
    assert inside == {"h_previous", "h_sum", "h", "h_sum_bar", "h_previous_bar", "h_bar"}, print_program(program)


def test_steps_print_with_their_order() -> None:
    model = Model("m")
    n, t = model.indices(n=2, t=T)
    w = model.parameter("w")
    h = model.recur("h", (n, t), lambda h: w * h[n, t - 1], 1)
    model.minimize(Sum(h[n, T - 1], n))
    assert print_program(adjoint(declared_program(model))).splitlines() == [
        "h_previous[n,t] = (h[n,t - 1] if t ≥ 1 else 1), t = 0, 1, …",
        "h[n,t] = h_previous[n,t]·w, t = 0, 1, …",
        "loss += Σ_n h[n,4]",
        "loss_bar += 1",
        "h_bar[n,4] += loss_bar",
        "h_previous_bar[n,t] += w·h_bar[n,t], t = …, 1, 0",
        "w_bar += Σ_n,t h_previous[n,t]·h_bar[n,t], t = …, 1, 0",
        "h_bar[n,t - 1] += h_previous_bar[n,t] if t ≥ 1, t = …, 1, 0",
    ]


@pytest.mark.parametrize("once", [True, False])
def test_several_tensors_share_the_indices_that_are_given_once(once: bool) -> None:
    model = Model("m")
    n, t = model.indices(n=2, t=T)
    w = model.parameter("w")
    x, *_ = model.recur(
        ["x", "v", "a"],
        (n, t) if once else [(n, t)] * 3,
        lambda x, v, a: (x[n, t - 1] + v[n, t], v[n, t - 1] + a[n, t], -w * x[n, t - 1]),
        initial=[1, 0, None],
    )
    u, _ = model.recur(["u", "z"], t if once else [t, t], lambda u, z: (u[t - 1] + z[t], w * z[t - 1]), initial=1)
    model.minimize(Sum(x[n, T - 1], n) + u[T - 1])
    program = declared_program(model)
    assert {(s.target, tuple(map(str, s.subscripts))) for s in program.statements if s.target in "xvauz"} == {
        *((name, ("n", "t")) for name in "xva"),
        *((name, ("t",)) for name in "uz"),
    }


def test_explained_as_steps() -> None:
    model = Model("m")
    h = lstm(model)
    n, j = model.indices(nn=2, jj=H)
    model.minimize(Sum(h[n, T - 1, j], n, j))
    text = explain_model(model)
    assert (
        text.count("It goes step by step, with all of h, from the first t to the last") == 6
    )  # h_previous, c_previous, z_sum, z, c, h
    assert "c_bar[n,t - 1,j] += c_previous_bar[n,t,j] if t ≥ 1" in text


REFUSED = {
    "no earlier value": (lambda m, n, t, x: m.recur("h", (n, t), lambda h: x[n, t]), "define it by model.let"),
    "both ways": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n, t + 1]),
        "a recurrence runs one way",
    ),
    "own value": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n, t]),
        "h would need its own value of the same step",
    ),
    "a cycle": (
        lambda m, n, t, x: m.recur(
            ["h", "c"], [(n, t), (n, t)], lambda h, c: (c[n, t] + h[n, t - 1], h[n, t] + c[n, t - 1])
        ),
        "h and c would need each other's values of the same step",
    ),
    "twice the step": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n, 2 * t]),
        "h[n, 2*t] is read at 2*t: inside the recurrence h has its values at t, t - 1, t - 2, … only",
    ),
    "the first step": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n, 0]),
        "is read at 0: inside the recurrence",
    ),
    "all steps": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: Sum(h[n, (k := m.indices(k=T))], k)),
        "h[n, k] is read at k: inside the recurrence h has its values at t, t - 1, t - 2, … only: let the sum end at",
    ),
    "a table of later steps": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, m.constant("after", [0, 0, 1, 3, 2])[t]]),
        "at t, t - 1, t - 2, … only: let after be a model.constant, of earlier steps wherever the value is read",
    ),
    "a table that is known at run time": (
        lambda m, n, t, x: m.recur(
            "h", (n, t), lambda h: Piecewise((h[n, m.labels("before", T, classes=T)[t]], t > 0), (1, True))
        ),
        "let before be a model.constant",
    ),
    "a sum that has the present step": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: Sum(h[n, (k := m.indices(k=T))], (k, 0, t))),
        "let the sum end at t - 1",
    ),
    "two axes": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n - 1, t]),
        "earlier values are read along different axes: a recurrence runs along one index. In a table of",
    ),
    "too few initial values": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 3], initial=[1, 2]),
        "h is read 3 steps back, which needs 1 or 3 initial values, found 2",
    ),
    "too many initial values": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1], initial=[1, 2]),
        "h is read 1 step back, which needs 1 initial value, found 2",
    ),
    "no initial value": (
        lambda m, n, t, x: m.recur(
            ["h", "c"], [(n, t), (n, t)], lambda h, c: (h[n, t - 1] + x[n, t], h[n, t] + c[n, t - 1]), initial=[0, None]
        ),
        "c is read at an earlier step, but its initial value is None: give the value before",
    ),
    "an initial value that varies with time": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1], initial=x[n, t]),
        "uses index t",
    ),
    "other names than tuples": (
        lambda m, n, t, x: m.recur(["h", "c"], [(n, t)], lambda h, c: (h[n, t - 1], c[n, t - 1])),
        "found 2 names, 1 tuples of indices, 2 initial values",
    ),
    "other values than names": (
        lambda m, n, t, x: m.recur(["h", "c"], [(n, t), (n, t)], lambda h, c: h[n, t - 1]),
        "step must give 2 expressions, found 1",
    ),
    "a member without time": (
        lambda m, n, t, x: m.recur(["h", "c"], [(n, t), (n,)], lambda h, c: (h[n, t - 1], c[n])),
        "c does not have the index t",
    ),
    "outside the other axes": (
        lambda m, n, t, x: m.recur("h", (n, t), lambda h: h[n, t - 1] + h[n + 1, t - 1]),
        "may leave axis 0 of h_previous",
    ),
}


def test_what_no_step_reads_earlier_has_no_initial_value() -> None:
    def program(initial: int | None) -> Program:
        model = Model("m")
        n, t = model.indices(n=2, t=T)
        x = model.parameter("x", 2, T)
        h, c = model.recur(
            ["h", "c"], [(n, t), (n, t)], lambda h, c: (h[n, t - 1] * x[n, t] + 1, h[n, t] ** 2), initial=[0, initial]
        )
        model.minimize(Sum(h[n, t] * c[n, t], n, t))
        return declared_program(model)

    assert program(None) == program(0)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    declare, message = REFUSED[case]
    model = Model("m")
    n, t = model.indices(n=2, t=T)
    x = model.parameter("x", 2, T)
    with pytest.raises(SpecError) as refusal:
        h = declare(model, n, t, x)
        h = h[0] if isinstance(h, tuple) else h
        model.minimize(Sum(h[n, t], n, t))
        declared_program(model)
    assert message in str(refusal.value)
    assert "test_recurrences.py:" in str(refusal.value)
