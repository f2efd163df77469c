"""Local linear trends, filtered by Kalman's recursion: the likelihood of their variances."""

from sympy import Sum, exp, log

from derivgen import Model

model = Model("trend", dtype="float64")
N = model.batch("N")
T = model.sizes(T=200)
n, t = model.indices(n=N, t=T)
y = model.input("y", N, T)
level, slope, noise = (model.parameter(name, init=-1.0) for name in ("level", "slope", "noise"))


def step(a, b, p, q, r, g):
    """Level and slope, their covariance (p q, q r), and the likelihood's term."""
    a1, b1 = a[n, t - 1] + b[n, t - 1], b[n, t - 1]
    p1 = p[n, t - 1] + 2 * q[n, t - 1] + r[n, t - 1] + exp(level)
    q1 = q[n, t - 1] + r[n, t - 1]
    r1 = r[n, t - 1] + exp(slope)
    s, e = p1 + exp(noise), y[n, t] - a1
    return a1 + p1 / s * e, b1 + q1 / s * e, p1 - p1**2 / s, q1 - p1 * q1 / s, r1 - q1**2 / s, log(s) + e**2 / s


*_, g = model.recur(["a", "b", "p", "q", "r", "g"], [(n, t)] * 6, step, initial=[0, 0, 10, 0, 10, None])
model.minimize(Sum(g[n, t], n, t) / (2 * N))
