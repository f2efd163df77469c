"""Counts by groups: Poisson regression with an intercept a group, and the density of the intercepts."""

from sympy import Sum, exp

from derivgen import Model

model = Model("intercepts", dtype="float64")
N = model.batch("N")
G, D = model.sizes(G=200, D=8)
n, g, d = model.indices(n=N, g=G, d=D)
group = model.labels("group", N, classes=G)
x, count = model.input("x", N, D), model.input("count", N)
beta, intercept = model.parameter("beta", D), model.parameter("intercept", G)
centre, spread = model.parameter("centre"), model.parameter("spread")  # spread: the logarithm of a deviation

eta = model.let("eta", n, intercept[group[n]] + Sum(x[n, d] * beta[d], d))
fit = Sum(exp(eta[n]) - count[n] * eta[n], n)
density = Sum((intercept[g] - centre) ** 2 * exp(-2 * spread) / 2 + spread, g)
model.minimize(fit + density)
