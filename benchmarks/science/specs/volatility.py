"""Calls of many strikes under one smile: total variance by Gatheral's five parameters, prices by Black's formula."""

from sympy import Sum, erf, log, sqrt

from derivgen import Model

model = Model("volatility", dtype="float64")
N = model.batch("N")
n = model.indices(n=N)
strike, forward, maturity, price = (model.input(name, N) for name in ("strike", "forward", "maturity", "price"))
a, b, rho, m, s = (
    model.parameter(name, init=v)
    for name, v in zip(("a", "b", "rho", "m", "s"), (0.04, 0.4, -0.4, 0.1, 0.3), strict=True)
)

k = log(strike[n] / forward[n])
w = model.let("w", n, (a + b * (rho * (k - m) + sqrt((k - m) ** 2 + s**2))) * maturity[n])
d1 = -k / sqrt(w[n]) + sqrt(w[n]) / 2
d2 = d1 - sqrt(w[n])


def normal(u):
    return (1 + erf(u / sqrt(2))) / 2


e = model.let("e", n, forward[n] * normal(d1) - strike[n] * normal(d2) - price[n])
model.minimize(Sum(e[n] ** 2, n) / N)
