"""Derivatives inside specs, against closed formulas, PyTorch and the interpreter's differences; refusals; text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from generated import execute, module_text, predict
from sampled import some
from scipy.special import ndtr
from sympy import Eq, Max, Piecewise, Rational, Sum, cos, erf, exp, log, sin, sqrt, tanh

from derivgen import MaxOver, Model, layers, stop_gradient
from derivgen.derive.differentiate import adjoint
from derivgen.errors import SpecError
from derivgen.explain.model import explain_model
from derivgen.form.notation import Latex, print_program
from derivgen.form.program import Role
from derivgen.oracle.differences import compare_gradients, relative_error
from derivgen.oracle.interpreter import run
from derivgen.oracle.reals import context
from derivgen.pipeline import declared_program, prediction_program, stable_program, training_program
from derivgen.prepare.modes import has_modes, in_evaluation
from derivgen.project.gradcheck import gradcheck, module_gradient, random_values

D, H, OUT = 2, 3, 2
TOLERANCE = 1e-10


class Declared:
    """A model with rows x[n, d], and a network u[n, o] = sin(Σ a·V + c) of one hidden layer, where it is asked for."""

    def __init__(self) -> None:
        self.model = model = Model("derivative", dtype="float64")
        self.N = model.batch("N")
        self.n, self.d, self.e, self.o, self.h = model.indices(n=self.N, d=D, e=D, o=OUT, h=H)
        self.x = model.input("x", self.N, D)

    def network(self, x: Any = None, last: Callable[[sp.Expr], sp.Expr] = sin) -> Any:
        model, x, n, d, h, o = self.model, self.x if x is None else x, self.n, self.d, self.h, self.o
        self.W, b = model.parameter("W", D, H), model.parameter("b", H)
        V, c = model.parameter("V", H, OUT), model.parameter("c", OUT)
        a = model.let("a", (n, h), tanh(Sum(x[n, d] * self.W[d, h], d) + b[h]))
        return model.let("u", (n, o), last(Sum(a[n, h] * V[h, o], h) + c[o]))

    def ask(self, indices: tuple[Any, ...], expression: sp.Expr) -> None:
        """A let `asked`, predicted, and a loss of its elements, each with another weight."""
        r = self.model.let("asked", indices, expression)
        weight = 1 + sum(k * i for k, i in enumerate(indices))
        self.model.minimize(Sum(weight * r[indices] ** 2 + sin(r[indices]), *indices))
        self.model.predict(r)


def check(model: Model, seed: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The values and the prediction of a model, once prediction, loss and gradients agree with the interpreter's."""
    declared = declared_program(model)
    values = random_values(declared, "float64", 3, seed)
    module = execute(module_text(model))
    flat = np.concatenate([np.ravel(values[p.name]) for p in declared.vector])
    inputs = {t.name: values[t.name] for t in declared.of_role(Role.INPUT, Role.LABELS)}
    mode = {"training": True} if has_modes(declared) else {}
    with np.errstate(all="ignore"):
        loss, prediction = module.loss(flat, **inputs, **mode), predict(module, flat, inputs)
        gradient = module_gradient(module, declared, values)
    assert relative_error(loss, run(declared, values)[str(declared.objective)]) <= TOLERANCE
    expected = run(in_evaluation(declared), values)[str(declared.prediction)]
    assert relative_error(prediction, expected) <= TOLERANCE
    for compared in compare_gradients(declared, values, gradient):
        assert compared.error <= TOLERANCE, compared
    return values, prediction


# ---- against PyTorch


def network_of_torch(v: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """u of one row."""
    return torch.sin(torch.tanh(x @ v["W"] + v["b"]) @ v["V"] + v["c"])


def divergence(u: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return torch.trace(torch.func.jacrev(u)(x))


def laplacian(u: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.trace(torch.func.hessian(lambda y, o=o: u(y)[o])(x)) for o in range(OUT)])


def third(u: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    found = torch.func.jacfwd(torch.func.jacfwd(torch.func.jacrev(u)))(x)
    return found[1, 0, 1, 0]


NETWORKS: dict[str, tuple[Callable[[Declared, Any], tuple[Any, ...]], Callable[..., torch.Tensor]]] = {
    "a fixed component": (
        lambda s, u: (s.n, s.model.derivative(u[s.n, 1], s.x[s.n, 0])),
        lambda u, x: torch.func.jacrev(u)(x)[1, 0],
    ),
    "all components": (
        lambda s, u: (s.n, s.o, s.d, s.model.derivative(u[s.n, s.o], s.x[s.n, s.d])),
        lambda u, x: torch.func.jacrev(u)(x),
    ),
    "second by one component": (
        lambda s, u: (s.n, s.model.derivative(u[s.n, 0], s.x[s.n, 1], s.x[s.n, 1])),
        lambda u, x: torch.func.hessian(lambda y: u(y)[0])(x)[1, 1],
    ),
    "mixed": (
        lambda s, u: (s.n, s.model.derivative(s.model.derivative(u[s.n, 0], s.x[s.n, 0]), s.x[s.n, 1])),
        lambda u, x: torch.func.hessian(lambda y: u(y)[0])(x)[0, 1],
    ),
    "the Hessian": (
        lambda s, u: (s.n, s.d, s.e, s.model.derivative(u[s.n, 0], s.x[s.n, s.d], s.x[s.n, s.e])),
        lambda u, x: torch.func.hessian(lambda y: u(y)[0])(x),
    ),
    "a row of the Hessian": (
        lambda s, u: (s.n, s.d, s.model.derivative(u[s.n, 0], s.x[s.n, 0], s.x[s.n, s.d])),
        lambda u, x: torch.func.hessian(lambda y: u(y)[0])(x)[0],
    ),
    "the Laplacian": (
        lambda s, u: (s.n, s.o, Sum(s.model.derivative(u[s.n, s.o], s.x[s.n, s.d], s.x[s.n, s.d]), s.d)),
        laplacian,
    ),
    "the divergence": (
        lambda s, u: (s.n, Sum(s.model.derivative(u[s.n, s.d], s.x[s.n, s.d]), s.d)),
        divergence,
    ),
    "third": (lambda s, u: (s.n, s.model.derivative(u[s.n, 1], s.x[s.n, 0], s.x[s.n, 1], s.x[s.n, 0])), third),
    "by a parameter": (
        lambda s, u: (s.n, s.d, s.h, s.model.derivative(u[s.n, 1], s.W[s.d, s.h])),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_network_against_torch(name: str) -> None:
    asked, reference = NETWORKS[name]
    spec = Declared()
    *indices, expression = asked(spec, spec.network())
    spec.ask(tuple(indices), expression)
    values, found = check(spec.model)
    tensors = {key: torch.as_tensor(value) for key, value in values.items()}
    if reference is None:
        by_W = torch.func.jacrev(lambda W: network_of_torch({**tensors, "W": W}, tensors["x"])[:, 1])
        expected = by_W(tensors["W"])
    else:
        u = functools.partial(network_of_torch, tensors)
        expected = torch.stack([reference(u, row) for row in tensors["x"]])
    assert relative_error(found, expected.numpy()) <= TOLERANCE


# ---- against closed formulas


def test_two_inputs_against_the_closed_formula() -> None:
    """u = Σ sin(w·x + v·t): u_t, u_xx, u_xt and u_xxt."""
    model = Model("waves", dtype="float64")
    N = model.batch("N")
    n, k, j = model.indices(n=N, k=3, j=4)
    x, t, w, v = model.input("x", N), model.input("t", N), model.parameter("w", 3), model.parameter("v", 3)
    u = model.let("u", n, Sum(sin(w[k] * x[n] + v[k] * t[n]), k))
    u_x = model.let("u_x", n, model.derivative(u[n], x[n]))
    asked = [model.derivative(u[n], t[n]), model.derivative(u[n], x[n], x[n])]
    asked += [model.derivative(u_x[n], t[n]), model.derivative(u_x[n], x[n], t[n])]
    r = model.let("r", (n, j), Piecewise(*((e, Eq(j, i)) for i, e in enumerate(asked[:-1])), (asked[-1], True)))
    model.minimize(Sum(r[n, j] ** 2, n, j))
    model.predict(r)
    g, found = check(model)
    w_, v_ = g["w"], g["v"]
    z = np.outer(g["x"], w_) + np.outer(g["t"], v_)
    expected = [(v_ * np.cos(z)), -(w_**2) * np.sin(z), -w_ * v_ * np.sin(z), -(w_**2) * v_ * np.cos(z)]
    assert relative_error(found, np.stack([e.sum(axis=1) for e in expected], axis=1)) <= TOLERANCE


def test_mixed_derivatives_through_lets_off_the_way_of_the_outer_one() -> None:
    """u = w·sin(x)·t² by x and then t: between t and u_x stands nothing that w is read by."""
    model = Model("off", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, t, w = model.input("x", N), model.input("t", N), model.parameter("w")
    s = model.let("s", n, w * sin(x[n]))
    u = model.let("u", n, s[n] * t[n] ** 2)
    u_x = model.let("u_x", n, model.derivative(u[n], x[n]))
    u_xt = model.let("u_xt", n, model.derivative(u_x[n], t[n]))
    model.minimize(Sum(u_xt[n] ** 2, n))
    model.predict(u_xt)
    g, found = check(model)
    assert relative_error(found, g["w"] * np.cos(g["x"]) * 2 * g["t"]) <= TOLERANCE


def test_greeks_of_an_option_against_the_closed_formulas() -> None:
    """Black and Scholes 1973; tensors without axes are bare symbols."""
    model = Model("greeks", dtype="float64")
    S, sigma, t, K = (model.input(name) for name in ("S", "sigma", "t", "K"))
    rate = model.parameter("rate")
    i = model.indices(i=5)

    def normal(z: sp.Expr) -> sp.Expr:
        return (1 + erf(z / sqrt(2))) / 2

    d1 = model.let("d1", (), (log(S / K) + (rate + sigma**2 / 2) * t) / (sigma * sqrt(t)))
    price = model.let("price", (), S * normal(d1) - K * exp(-rate * t) * normal(d1 - sigma * sqrt(t)))
    delta = model.let("delta", (), model.derivative(price, S))
    greeks = [delta, model.derivative(delta, S), model.derivative(price, sigma), model.derivative(delta, sigma)]
    greeks.append(model.derivative(price, rate))
    all_of_them = model.let(
        "greeks_", i, Piecewise(*((g, Eq(i, k)) for k, g in enumerate(greeks[:-1])), (greeks[-1], True))
    )
    model.minimize(Sum(all_of_them[i] ** 2, i))
    model.predict(all_of_them)
    s, v, tau, k, r = 1.1, 0.3, 0.7, 0.9, 0.05
    values = {"S": np.array(s), "sigma": np.array(v), "t": np.array(tau), "K": np.array(k), "rate": np.array(r)}
    declared, module = declared_program(model), execute(module_text(model))
    found = predict(module, np.array([r]), {name: values[name] for name in ("S", "sigma", "t", "K")})
    a = (np.log(s / k) + (r + v**2 / 2) * tau) / (v * np.sqrt(tau))
    b, density = a - v * np.sqrt(tau), np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    expected = [ndtr(a), density / (s * v * np.sqrt(tau)), s * density * np.sqrt(tau), -density * b / v]
    expected.append(k * tau * np.exp(-r * tau) * ndtr(b))
    assert relative_error(found, expected) <= TOLERANCE
    for compared in compare_gradients(declared, values, module_gradient(module, declared, values)):
        assert compared.error <= TOLERANCE, compared


# ---- against the interpreter's differences


def scaled(s: Declared) -> tuple[Any, ...]:
    """Inputs taken apart before they mix: a let by another let too."""
    m, n, d = s.model, s.n, s.d
    xs = m.let("xs", (n, d), tanh(s.x[n, d]) / 2)
    u = s.network(xs)
    total = m.derivative(u[n, 0], s.x[n, d]) + m.derivative(u[n, 1], s.x[n, 0])
    return n, d, total + m.derivative(xs[n, d], s.x[n, 1]) + m.derivative(u[n, 1], xs[n, 1])


def softmax(s: Declared) -> tuple[Any, ...]:
    """The logarithm of a softmax is rewritten, and not through the tensor by which one differentiates."""
    m, n, d, o = s.model, s.n, s.d, s.o
    u = s.network()
    p = m.let("p", (n, o), exp(u[n, o]) / Sum(exp(u[n, o]), o))
    logs = m.let("logs", (n, o), log(p[n, o]))
    total = m.derivative(p[n, 0], s.x[n, d]) + m.derivative(logs[n, 1], p[n, 1])
    return n, d, total + m.derivative(logs[n, 0], s.x[n, d], s.x[n, 0])


def sum_of_exponentials(s: Declared) -> tuple[Any, ...]:
    m, n, o = s.model, s.n, s.o
    u = s.network()
    S = m.let("S", n, Sum(exp(u[n, o]), o))
    logs = m.let("logs", n, log(S[n]))
    return n, m.derivative(logs[n], S[n]) + m.derivative(S[n], s.x[n, 0]) + m.derivative(logs[n], S[n], s.x[n, 1])


def maxima(s: Declared) -> tuple[Any, ...]:
    m, n, d, o = s.model, s.n, s.d, s.o
    u = s.network()
    M = m.let("M", n, MaxOver(u[n, o] ** 2 * s.x[n, 1], o))
    Q = m.let("Q", n, MaxOver(s.x[n, d] ** 2, d))
    total = m.derivative(M[n], s.x[n, d]) + m.derivative(M[n], s.x[n, 1], s.x[n, 0])
    return n, d, total + m.derivative(Q[n], s.x[n, d]) + m.derivative(Q[n], s.x[n, 0])


def guards(s: Declared) -> tuple[Any, ...]:
    """Branches inside the value, and around the derivative: the root is evaluated under its condition only."""
    m, n, d, o = s.model, s.n, s.d, s.o
    u = s.network()
    pieces = ((sqrt(u[n, o]), u[n, o] > 0), (s.x[n, 0] * u[n, o - 1] ** 2, o > 0), (s.x[n, 1] ** 2, True))
    v = m.let("v", (n, o), Piecewise(*pieces))
    root = m.let("root", n, sqrt(u[n, 0]))
    of_root = Piecewise((m.derivative(root[n], s.x[n, d]), u[n, 0] > 0), (0, True))
    return n, d, o, of_root + Piecewise((m.derivative(v[n, o], s.x[n, d]), s.x[n, 0] > 0), (u[n, 1], True))


def in_a_condition(s: Declared) -> tuple[Any, ...]:
    m, n = s.model, s.n
    u = s.network()
    g = m.let("g", n, Piecewise((u[n, 0] ** 2, m.derivative(u[n, 0], s.x[n, 0]) > 0), (u[n, 1], True)))
    return n, m.derivative(g[n], s.x[n, 1])


def relu(s: Declared) -> tuple[Any, ...]:
    u = s.network(last=lambda z: Max(z, 0) + z**3)
    return s.n, s.o, s.d, s.model.derivative(u[s.n, s.o], s.x[s.n, s.d])


def lets_between(s: Declared) -> tuple[Any, ...]:
    m, n, d = s.model, s.n, s.d
    u = s.network()
    g = m.let("g", (n, d), m.derivative(u[n, 0], s.x[n, d]) * s.x[n, d] ** 2)
    return n, m.derivative(g[n, 1], s.x[n, 0]) + Sum(m.derivative(g[n, d], s.x[n, d]), d)


def stopped(s: Declared) -> tuple[Any, ...]:
    m, n, d = s.model, s.n, s.d
    u = s.network()
    v = m.let("v", n, stop_gradient(u[n, 0]) * s.x[n, 0] ** 3 + u[n, 1] * s.x[n, 1])
    return n, d, m.derivative(v[n], s.x[n, d], s.x[n, 0])


def at_a_label(s: Declared) -> tuple[Any, ...]:
    """A saliency map."""
    y = s.model.labels("y", s.N, classes=OUT)
    u = s.network()
    return s.n, s.d, s.model.derivative(u[s.n, y[s.n]], s.x[s.n, s.d])


def dense_layers(s: Declared) -> tuple[Any, ...]:
    hidden = layers.layer_norm(layers.dense(s.x, 4, tanh, name="hidden"), name="norm")
    u = layers.dense(layers.dropout(hidden, 0.5, name="dropout"), OUT, name="out")
    return s.n, s.d, s.model.derivative(u[s.n, 1], s.x[s.n, s.d])


def convolution(s: Declared) -> tuple[Any, ...]:
    """Affine reads, joined axes, and rows that are no axis of the value."""
    m, n = s.model, s.n
    i, r, f, q = m.indices(i=4, r=3, f=2, q=6)
    s2, W = m.input("s", s.N, 6), m.parameter("W", 2, 3)
    z = m.let("z", (n, f, i), tanh(Sum(s2[n, i + r] * W[f, r], r)))
    flat = m.let("flat", (n, f * 4 + i), z[n, f, i] ** 2)
    total = m.derivative(flat[n, 5], s2[n, q]) + m.derivative(z[n, 0, 1], s2[n, 2])
    return n, q, total + Sum(m.derivative(z[n, f, i], s2[n, i], s2[n, q]), f, i)


def mixed_columns(s: Declared) -> tuple[Any, ...]:
    """Every element of a row of fixed length comes from all of it: the diagonal of the Jacobian is exact."""
    m, n, d, e = s.model, s.n, s.d, s.e
    w = m.parameter("w", D)
    c = m.let("c", (n, d), (s.x[n, d] * w[d] - Sum(s.x[n, e], e) / D) ** 3)
    return n, d, m.derivative(c[n, d], s.x[n, d])


def by_every_row(s: Declared) -> tuple[Any, ...]:
    """Rows may mix where each is differentiated by each."""
    m, n = s.model, s.n
    k = m.indices(k=s.N)
    w = m.parameter("w")
    mean = m.let("mean", (), Sum(s.x[n, 0], n) / s.N)
    c = m.let("c", n, (s.x[n, 0] * w - mean) ** 3)
    return n, k, m.derivative(c[n], s.x[k, 0])


def recurrence(s: Declared) -> tuple[Any, ...]:
    m, n = s.model, s.n
    T = 4
    t, q, d, j, k = m.indices(t=T, q=T, f=2, j=2, k=2)
    seq, W, U = m.input("seq", s.N, T, 2), m.parameter("W", 2, 2), m.parameter("U", 2, 2)

    def step(h: Any) -> sp.Expr:
        return tanh(Sum(seq[n, t, d] * W[d, j], d) + Sum(h[n, t - 1, k] * U[k, j], k))

    g = m.recur("g", (n, t, j), step)
    total = m.derivative(g[n, T - 1, 0], seq[n, q, d]) + m.derivative(g[n, q, 1], seq[n, q, d])
    return n, q, d, total + m.derivative(g[n, q, 1], seq[n, 0, 1])


SPECS = (
    *(scaled, softmax, sum_of_exponentials, maxima, guards, in_a_condition, relu, lets_between, stopped, at_a_label),
    *(dense_layers, convolution, mixed_columns, by_every_row, recurrence),
)  # fmt: skip


@pytest.mark.parametrize("declare", SPECS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", some([1, 2]))
def test_value_and_gradient_against_the_interpreter(declare: Callable[[Declared], tuple[Any, ...]], seed: int) -> None:
    spec = Declared()
    *indices, expression = declare(spec)
    spec.ask(tuple(indices), expression)
    check(spec.model, seed)


def test_the_interpreter_takes_derivatives_to_its_digits() -> None:
    """Of a third derivative by differences of differences of differences: x·exp(w·x)."""
    model = Model("digits_of_it")
    N = model.batch("N")
    n = model.indices(n=N)
    x, w = model.input("x", N), model.parameter("w")
    u = model.let("u", n, x[n] * exp(w * x[n]))
    r = model.let("r", n, model.derivative(u[n], x[n], x[n], x[n]))
    model.minimize(Sum(r[n], n))
    values = {"x": np.array([0.3, -1.2]), "w": np.array(0.7)}
    found, mp = run(declared_program(model), values)["r"], context(60)
    for x_, value in zip(values["x"].tolist(), found, strict=True):
        w_, x_ = mp.mpf(0.7), mp.mpf(x_)
        expected = (3 * w_**2 + w_**3 * x_) * mp.exp(w_ * x_)
        assert abs(value - expected) < mp.mpf(10) ** -45


def test_the_interpreter_holds_what_stop_gradient_holds() -> None:
    model = Model("held")
    N = model.batch("N")
    n = model.indices(n=N)
    x = model.input("x", N)
    u = model.let("u", n, stop_gradient(x[n] ** 2) * x[n])
    model.minimize(Sum(model.derivative(u[n], x[n]), n))
    found = run(declared_program(model), {"x": np.array([3.0])})["loss"][()]
    assert abs(found - 9) < 1e-45


# ---- compiled


def physics_informed() -> Model:
    """u_t = u_xx + u, by two hidden layers, in float64."""
    spec = Declared()
    model, n, x = spec.model, spec.n, spec.x
    u = layers.dense(layers.dense(layers.dense(x, 6, tanh, name="one"), 5, tanh, name="two"), 1, name="u")
    u_t, u_xx = model.derivative(u[n, 0], x[n, 1]), model.derivative(u[n, 0], x[n, 0], x[n, 0])
    residual = model.let("residual", n, u_t - u_xx - u[n, 0])
    model.minimize(Sum(residual[n] ** 2, n) / spec.N)
    model.predict(u)
    return model


def test_gradients_of_a_compiled_physics_informed_network() -> None:
    worst = max(gradcheck(physics_informed(), "float64"), key=lambda c: c.error)
    assert worst.error <= 1e-12, worst


# ---- how it reads


def two_layers() -> Model:
    spec = Declared()
    model, n, d, h, o, x = spec.model, spec.n, spec.d, spec.h, spec.o, spec.x
    W, b, V, c = (
        *(model.parameter("W", D, H), model.parameter("b", H)),
        *(model.parameter("V", H, OUT), model.parameter("c", OUT)),
    )  # fmt: skip
    a = model.let("a", (n, h), tanh(Sum(x[n, d] * W[d, h], d) + b[h]))
    u = model.let("u", (n, o), Sum(a[n, h] * V[h, o], h) + c[o])
    u_x, u_xx = model.derivative(u[n, 0], x[n, 0]), model.derivative(u[n, 0], x[n, 0], x[n, 0])
    r = model.let("r", n, u_x - u_xx)
    J = model.let("J", (n, o, d), model.derivative(u[n, o], x[n, d]))
    model.minimize(Sum(r[n] ** 2 + u[n, 1], n) / spec.N + Sum(J[n, o, d] ** 2, n, o, d))
    model.predict(u)
    return model


DECLARED = """\
a_sum[n,h] += Σ_d x[n,d]·W[d,h]
a[n,h] = tanh(a_sum[n,h] + b[h])
u_sum[n,o] += Σ_h a[n,h]·V[h,o]
u[n,o] = u_sum[n,o] + c[o]
r[n] = ∂u[n,0]/∂x[n,0] - ∂²u[n,0]/∂x[n,0]²
J[n,o,d] = ∂u[n,o]/∂x[n,d]
loss_sum += Σ_n (u[n,1] + r[n]²)
loss_sum_2 += Σ_n,o,d J[n,o,d]²
loss = loss_sum/N + loss_sum_2"""

FORWARD = """\
a_sum[n,h] += Σ_d x[n,d]·W[d,h]
a[n,h] = tanh(a_sum[n,h] + b[h])
a_by_x0[n,h] = W[0,h]·(1 - a[n,h]²)
a_by_x0_by_x0[n,h] = -2·a[n,h]·W[0,h]·a_by_x0[n,h]
a_by_x[n,d,h] = W[d,h]·(1 - a[n,h]²)
u_sum[n,o] += Σ_h a[n,h]·V[h,o]
u_by_x0[n,o] += Σ_h V[h,o]·a_by_x0[n,h]
u_by_x0_by_x0[n,o] += Σ_h V[h,o]·a_by_x0_by_x0[n,h]
u_by_x[n,d,o] += Σ_h V[h,o]·a_by_x[n,d,h]
u[n,o] = u_sum[n,o] + c[o]
r[n] = u_by_x0[n,0] - u_by_x0_by_x0[n,0]
J[n,o,d] = u_by_x[n,d,o]
loss_sum += Σ_n (u[n,1] + r[n]²)
loss_sum_2 += Σ_n,o,d J[n,o,d]²
loss = loss_sum/N + loss_sum_2"""


def test_the_programs_of_two_layers() -> None:
    """u_x and u_xx share the tangents of u_x; the prediction has none."""
    declared = declared_program(two_layers())
    assert print_program(declared) == DECLARED
    stable = stable_program(declared)
    training = training_program(stable)
    forward = [s for s in training.statements if s.direction != "backward"]
    assert print_program(training.with_statements(forward)) == FORWARD
    assert "_by_" not in print_program(prediction_program(stable))


def test_an_edit_elsewhere_renames_nothing() -> None:
    """What is asked before and beside leaves the names of a tangent as they are."""

    def names(edited: bool) -> set[str]:
        spec = Declared()
        model, n, x = spec.model, spec.n, spec.x
        u = spec.network()
        before = model.derivative(u[n, 1], x[n, 1]) + model.derivative(u[n, 1], x[n, 0], x[n, 1]) if edited else 0
        spec.ask((n,), before + model.derivative(u[n, 0], x[n, 0], x[n, 0]))
        return {t.name for t in stable_program(declared_program(model)).tensors}

    assert names(False) < names(True) and "a_by_x0_by_x0" in names(False)


def test_explanation() -> None:
    text = explain_model(two_layers())
    assert "r[n] = u_by_x0[n,0] - u_by_x0_by_x0[n,0]" in text
    assert "Stable form of the declared r[n] = ∂u[n,0]/∂x[n,0] - ∂²u[n,0]/∂x[n,0]²" in text
    assert "a_by_x0[n,h] = a_sum_by_x0[n,h]·(1 - tanh(a_sum[n,h] + b[h])²)" in text
    assert "New: a derivative of a, the sum over what it reads of ∂f/∂A times A's own derivative." in text


def test_mixed_derivatives_in_both_notations() -> None:
    spec = Declared()
    u = spec.network()
    spec.ask((spec.n,), spec.model.derivative(u[spec.n, 0], spec.x[spec.n, 0], spec.x[spec.n, 1], spec.x[spec.n, 0]))
    declared = declared_program(spec.model)
    statement = next(s for s in declared.statements if s.target == "asked")
    assert "asked[n] = ∂³u[n,0]/(∂x[n,0]²·∂x[n,1])" in print_program(declared)
    expected = r"\frac{\partial^{3}u_{n,0}}{\partial x_{n,0}^{2} \, \partial x_{n,1}}"
    assert Latex({}).expression(statement.expression) == expected


def test_a_partial_derivative_is_taken_before_another_differentiation() -> None:
    with pytest.raises(TypeError, match=r"with_tangents"):
        adjoint(declared_program(two_layers()))


# ---- refusals


def plain(declare: Callable[[Declared, Any], Any]) -> str:
    """The one problem of a spec: what follows file and line, which are those of `declare`."""
    spec = Declared()
    expression = declare(spec, spec.network())
    if expression is not None:
        spec.model.minimize(expression)
    with pytest.raises(SpecError) as error:
        declared_program(spec.model)
    assert len(error.value.problems) == 1, error.value
    return error.value.problems[0].message


def mean_over_rows(s: Declared, u: Any) -> sp.Expr:
    m, n, o = s.model, s.n, s.o
    mean = m.let("mean", o, Sum(u[n, o], n) / s.N)
    v = m.let("v", (n, o), u[n, o] - mean[o])
    return Sum(m.derivative(v[n, 0], s.x[n, 0]) ** 2, n)


def shifted_rows(s: Declared, u: Any) -> sp.Expr:
    n = s.n
    v = s.model.let("v", n, u[n, 0] + Piecewise((s.x[n - 1, 0] ** 2, n > 0), (0, True)))
    return Sum(s.model.derivative(v[n], s.x[n, 0]) ** 2, n)


def other_row(s: Declared, u: Any) -> sp.Expr:
    m = s.model.indices(m=s.N - 1)
    return Sum(s.model.derivative(u[m + 1, 0], s.x[m, 0]) ** 2, m)


def labels(s: Declared, u: Any) -> sp.Expr:
    y = s.model.labels("y", s.N, classes=2)
    return Sum(s.model.derivative(u[s.n, 0], y[s.n]), s.n)


def within_a_recurrence(s: Declared, u: Any) -> sp.Expr:
    m, n = s.model, s.n
    t = m.indices(t=3)
    g = m.recur("g", (n, t), lambda g: tanh(g[n, t - 1] + m.derivative(g[n, t - 1], s.x[n, 0]) + s.x[n, 0]))
    return Sum(g[n, t], n, t)


def half(s: Declared, u: Any) -> sp.Expr:
    i = s.model.indices(i=1)
    return Sum(s.model.derivative(u[s.n, 0], s.x[s.n, 2 * i]), s.n, i)


def second_of_relu(s: Declared, u: Any) -> sp.Expr:
    n, d = s.n, s.d
    v = s.model.let("v", n, Max(Sum(s.x[n, d], d), 0))
    return Sum(s.model.derivative(v[n], s.x[n, 0], s.x[n, 0]), n)


def other_component(s: Declared, u: Any) -> sp.Expr:
    v = s.model.let("v", s.n, s.x[s.n, 1] ** 2)
    return Sum(s.model.derivative(v[s.n], s.x[s.n, 0]), s.n)


def through_another(s: Declared, u: Any) -> sp.Expr:
    S = s.model.let("S", s.n, exp(u[s.n, 0]))
    v = s.model.let("v", s.n, S[s.n] ** 2)
    v_x = s.model.let("v_x", s.n, s.model.derivative(v[s.n], s.x[s.n, 0]))
    return Sum(s.model.derivative(v_x[s.n], S[s.n]), s.n)


def later_tensor(s: Declared, u: Any) -> sp.Expr:
    later = s.model.let("later", s.n, u[s.n, 0] ** 2)
    return Sum(s.model.derivative(u[s.n, 0], later[s.n]), s.n)


REFUSED = {
    mean_over_rows: "the objective: the derivative of v[n,0] with respect to x[n,0] is taken in each row n separately, "
    "but mean_sum[o] += Σ_n u[n,o] mixes them: differentiate a let whose row n depends on row n of x alone",
    shifted_rows: "the objective: the derivative of v[n] with respect to x[n,0] is taken in each row n separately, but "
    "v[n] = u[n,0] + (x[n - 1,0]² if n > 0 else 0) mixes them: differentiate a let whose row n depends on row n of x "
    "alone",
    other_row: "the objective: the derivative of u[m + 1,0] with respect to x[m,0] reads u at other m than its own: "
    "define it at its own row",
    labels: "the objective: the derivative of u[n,0] with respect to y[n]: expected a real tensor, found integers: "
    "nothing can be differentiated with respect to y",
    within_a_recurrence: "g: g is a part of this recurrence: take its derivatives in a later let",
    half: "the objective: the derivative of u[n,0] with respect to x[n,2·i]: expected an element at indices and "
    "numbers, found 2·i: read it there",
    second_of_relu: "the objective: the derivative of v[n] with respect to x[n,0], x[n,0] is 0 everywhere: write 0, or "
    "look for what should depend on it",
    other_component: "the objective: the derivative of v[n] with respect to x[n,0] is 0 everywhere: write 0, or look "
    "for what should depend on it",
    through_another: "the objective: S depends on x, so a derivative with respect to x cannot be differentiated with "
    "respect to S: take the derivative with respect to S first",
    later_tensor: "the objective: the derivative of u[n,0] with respect to later[n] is 0 everywhere: write 0, or look "
    "for what should depend on it",
    lambda s, u: Sum(s.model.derivative(s.x[s.n, 0], s.x[s.n, 1]), s.n): "the objective: the derivative of x[n,0]: "
    "expected an element of a let, found input x: give the expression a let",
    lambda s, u: Sum(s.model.derivative(u[s.n, 0], u[s.n, 1]), s.n): "the objective: the derivative of u[n,0] with "
    "respect to u[n,1]: it is 1 where both are one element, else 0: write that number",
    lambda s, u: Sum(s.model.derivative(u[s.n, 0], s.N), s.n): "the objective: N in a derivative is no element of a "
    "tensor",
    lambda s, u: Sum(s.model.derivative(u[s.n, 0] ** 2, s.x[s.n, 0]), s.n): "derivative expects an element of a let, "
    "and elements of tensors that it depends on, found u[n, 0]**2: define the expression by a let, and read tensors at "
    "indices",
    lambda s, u: Sum(s.model.derivative(u, s.x[s.n, 0]), s.n): "derivative expects an element of a let, and elements "
    "of tensors that it depends on, found u: define the expression by a let, and read tensors at indices",
    lambda s, u: Sum(s.model.derivative(u[s.n, 0]), s.n): "derivative of u[n, 0]: give the element to differentiate "
    "with respect to, derivative(u[n, 0], x[n, d])",
}  # fmt: skip


@pytest.mark.parametrize("declare", REFUSED, ids=[getattr(f, "__name__", "call") for f in REFUSED])
def test_refusals(declare: Callable[[Declared, Any], Any]) -> None:
    assert plain(declare) == REFUSED[declare]


def test_the_rows_of_a_shift_are_allowed_by_a_fixed_size() -> None:
    """A length that is fixed is no row: each element is differentiated for itself."""
    spec = Declared()
    m, n = spec.model, spec.n
    t = m.indices(t=4)
    s, w = m.input("s", spec.N, 4), m.parameter("w")
    v = m.let("v", (n, t), w * s[n, t] ** 2 + Piecewise((s[n, t - 1] * s[n, t], t > 0), (0, True)))
    spec.ask((n, t), m.derivative(v[n, t], s[n, t]) * Rational(1, 2) + cos(w))
    g, found = check(spec.model)
    expected = 2 * g["w"] * g["s"] + np.pad(g["s"], ((0, 0), (1, 0)))[:, :-1]
    assert relative_error(found, expected / 2 + np.cos(g["w"])) <= TOLERANCE
