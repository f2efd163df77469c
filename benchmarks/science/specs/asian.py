"""A call on the mean of a price at 50 dates, by Monte Carlo: its sensitivities are the derivatives of the value."""

from sympy import Sum, exp, log, sqrt

from derivgen import Model

model = Model("asian", dtype="float64")
N = model.batch("N")
T = model.sizes(T=50)
n, t = model.indices(n=N, t=T)
z = model.input("z", N, T)
strike, width = model.input("strike"), model.input("width")
spot, volatility, rate = (
    model.parameter(name, init=v) for name, v in zip(("spot", "volatility", "rate"), (100.0, 0.2, 0.03), strict=True)
)
h = 1 / 50

x = model.recur(
    "x", (n, t), lambda x: x[n, t - 1] + (rate - volatility**2 / 2) * h + volatility * sqrt(h) * z[n, t], initial=0
)
mean = model.let("mean", n, spot * Sum(exp(x[n, t]), t) / T)
model.minimize(exp(-rate) * Sum(width * log(1 + exp((mean[n] - strike) / width)), n) / N)
