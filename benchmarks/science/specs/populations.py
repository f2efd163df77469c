"""Lotka and Volterra's equations fitted to observed populations, by Runge and Kutta's method in plain Python."""

from sympy import Sum

from derivgen import Model

model = Model("populations", dtype="float64")
N = model.batch("N")
T = model.sizes(T=100)
n, t = model.indices(n=N, t=T)
prey, hunters = model.input("prey", N, T), model.input("hunters", N, T)
a, b, c, d = (model.parameter(name, init=v) for name, v in zip("abcd", (1.0, 0.1, 1.5, 0.075), strict=True))
u0, v0 = model.parameter("u0", init=10.0), model.parameter("v0", init=5.0)
h = 0.05


def rate(u, v):
    return a * u - b * u * v, d * u * v - c * v


def step(u, v):
    k1 = rate(u, v)
    k2 = rate(u + h / 2 * k1[0], v + h / 2 * k1[1])
    k3 = rate(u + h / 2 * k2[0], v + h / 2 * k2[1])
    k4 = rate(u + h * k3[0], v + h * k3[1])
    return [w + h / 6 * (p + 2 * q + 2 * r + s) for w, p, q, r, s in zip((u, v), k1, k2, k3, k4, strict=True)]


u, v = model.recur(["u", "v"], [(t,), (t,)], lambda u, v: step(u[t - 1], v[t - 1]), initial=[u0, v0])
model.minimize(Sum((u[t] - prey[n, t]) ** 2 + (v[t] - hunters[n, t]) ** 2, n, t) / N)
