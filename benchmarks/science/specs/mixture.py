"""A Gaussian mixture with full covariances, by their inverse roots: exp(q) on the diagonal, l below it.

Source: Srajer, Kukelova and Fitzgibbon 2018, as for `bundle`.
"""

from sympy import Eq, Piecewise, Sum, exp, log

from derivgen import Model

model = Model("mixture", dtype="float64")
N = model.batch("N")
K, D = model.sizes(K=25, D=10)
n, k, i, j = model.indices(n=N, k=K, i=D, j=D)
x = model.input("x", N, D)
alpha = model.parameter("alpha", K)
mu, q, l = model.parameter("mu", K, D), model.parameter("q", K, D), model.parameter("l", K, D, D)  # noqa: E741

Q = model.let("Q", (k, i, j), Piecewise((exp(q[k, i]), Eq(i, j)), (l[k, i, j], i > j), (0, True)))
y = model.let("y", (n, k, i), Sum(Q[k, i, j] * (x[n, j] - mu[k, j]), j))
f = model.let("f", (n, k), alpha[k] + Sum(q[k, i], i) - Sum(y[n, k, i] ** 2, i) / 2)
model.minimize(
    -Sum(log(Sum(exp(f[n, k]), k)), n) + N * log(Sum(exp(alpha[k]), k)) + Sum(Sum(Q[k, i, j] ** 2, i, j), k) / 2
)
