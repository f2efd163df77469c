"""Some of the objectives in CasADi, as its users would write them, and their gradients by it.

Scalar graphs (SX), without its generation of C. Where the objective is a sum over rows, a row's value and gradient are
one function, and `map` runs it over the rows and adds up. The functions work in numpy's own memory (`buffer`), so that
no call converts anything; a row of numpy is a column there. Models that gather by labels have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from math import sqrt
from typing import Any

import numpy as np

if find_spec("casadi"):
    import casadi
    from casadi import SX


def with_gradient(parameters: Any, inputs: Sequence[Any], objective: Any) -> Any:
    return casadi.Function("f", [parameters, *inputs], [objective, casadi.gradient(objective, parameters)])


def over_rows(parameters: Any, row: Sequence[Any], common: Sequence[Any], objective: Any, rows: int) -> Any:
    """The sum of `objective` over rows, and its gradient: `row` are a row's inputs, and `common` those of all rows."""
    shared = [0, *range(1 + len(row), 1 + len(row) + len(common))]
    return with_gradient(parameters, [*row, *common], objective).map("f", "serial", rows, shared, [0, 1])


def populations(prey, hunters):
    p, h = SX.sym("p", 6), 0.05
    seen, also = SX.sym("prey", *prey.T.shape), SX.sym("hunters", *hunters.T.shape)
    a, b, c, d, u, v = casadi.vertsplit(p)
    z, states = casadi.vertcat(u, v), []

    def rate(z):
        return casadi.vertcat(a * z[0] - b * z[0] * z[1], d * z[0] * z[1] - c * z[1])

    for _ in range(prey.shape[1]):
        k1 = rate(z)
        k2 = rate(z + h / 2 * k1)
        k3 = rate(z + h / 2 * k2)
        z += h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(z + h * k3))
        states.append(z)
    track, ones = casadi.horzcat(*states), SX.ones(1, len(prey))
    off = track[0, :].T @ ones - seen, track[1, :].T @ ones - also
    return with_gradient(p, [seen, also], (casadi.sumsqr(off[0]) + casadi.sumsqr(off[1])) / len(prey))


def trend(y):
    parameters, seen = SX.sym("p", 3), SX.sym("y", y.shape[1])
    level, slope, noise = casadi.vertsplit(casadi.exp(parameters))
    a, b, p, q, r, total = 0, 0, 10, 0, 10, 0
    for t in range(y.shape[1]):
        p1, q1, r1 = p + 2 * q + r + level, q + r, r + slope
        s, e = p1 + noise, seen[t] - a - b
        a, b = a + b + p1 / s * e, b + q1 / s * e
        p, q, r = p1 - p1**2 / s, q1 - p1 * q1 / s, r1 - q1**2 / s
        total += casadi.log(s) + e**2 / s
    return over_rows(parameters, [seen], [], total / (2 * len(y)), len(y))


def heat(first, last):
    size = len(first)
    u, k = SX.sym("u", size, size), SX.sym("k", size, size)
    inner, new = slice(1, size - 1), SX(u)
    around = u[: size - 2, inner] + u[2:, inner] + u[inner, : size - 2] + u[inner, 2:]
    new[inner, inner] += k[inner, inner] * (around - 4 * u[inner, inner])
    step = casadi.Function("step", [u, k], [new])
    conductivity, start, end = (casadi.MX.sym(name, size, size) for name in ("k", "first", "last"))
    field = start
    for _ in range(20):
        field = step(field, conductivity)
    return with_gradient(conductivity, [start, end], casadi.sumsqr(field - end) / 2)


def volatility(strike, forward, maturity, price):
    p, row = SX.sym("p", 5), [SX.sym(name) for name in ("strike", "forward", "maturity", "price")]
    (a, b, rho, m, s), (strike_, forward_, maturity_, price_) = casadi.vertsplit(p), row
    k = casadi.log(strike_ / forward_)
    root = casadi.sqrt((a + b * (rho * (k - m) + casadi.sqrt((k - m) ** 2 + s**2))) * maturity_)
    d1 = -k / root + root / 2

    def normal(u):
        return (1 + casadi.erf(u / sqrt(2))) / 2

    error = forward_ * normal(d1) - strike_ * normal(d1 - root) - price_
    return over_rows(p, row, [], error**2 / len(strike), len(strike))


def arm(joint, end):
    p, j, e = SX.sym("p", 14), SX.sym("joint", 7), SX.sym("end", 2)
    turn = casadi.cumsum(j + p[7:])
    x, y = casadi.dot(p[:7], casadi.cos(turn)), casadi.dot(p[:7], casadi.sin(turn))
    return over_rows(p, [j, e], [], ((x - e[0]) ** 2 + (y - e[1]) ** 2) / len(joint), len(joint))


def asian(z, strike, width):
    p, draws, strike_, width_ = SX.sym("p", 3), SX.sym("z", z.shape[1]), SX.sym("strike"), SX.sym("width")
    spot, volatility_, rate = casadi.vertsplit(p)
    h = 1 / z.shape[1]
    x = casadi.cumsum((rate - volatility_**2 / 2) * h + volatility_ * sqrt(h) * draws)
    u = (spot * casadi.sum1(casadi.exp(x)) / z.shape[1] - strike_) / width_
    value = width_ * (casadi.fmax(u, 0) + casadi.log1p(casadi.exp(-casadi.fabs(u))))
    return over_rows(p, [draws], [strike_, width_], casadi.exp(-rate) * value / len(z), len(z))


MODELS = {f.__name__: f for f in (populations, trend, heat, volatility, arm, asian)}


def casadi_model(name: str, inputs: Sequence[Any]) -> Callable[..., Any] | None:
    """The function of parameters that gives (objective, gradient) for these inputs; None without it or CasADi."""
    if name not in MODELS or not find_spec("casadi"):
        return None
    function = MODELS[name](*inputs)
    parameters, value, gradient = np.empty(function.numel_in(0)), np.empty(1), np.empty(function.numel_out(1))
    arguments = [parameters, *(np.ascontiguousarray(a, dtype=float).reshape(-1) for a in inputs)]
    buffer, run = function.buffer()
    for k, array in enumerate(arguments):
        buffer.set_arg(k, memoryview(array))
    for k, array in enumerate((value, gradient)):
        buffer.set_res(k, memoryview(array))

    def call(given):
        parameters[:] = given
        run()
        return value[0], gradient.copy()

    call.kept = buffer, arguments  # `run` only knows addresses
    return call
