"""Cox's partial likelihood; rows by rising time of survival, so that those at risk are a row and all after it."""

from sympy import Sum, exp, log

from derivgen import Model

model = Model("survival", dtype="float64")
N = model.batch("N")
D = model.sizes(D=20)
n, m, d = model.indices(n=N, m=N, d=D)
x, event = model.input("x", N, D), model.input("event", N)
beta = model.parameter("beta", D)

eta = model.let("eta", n, Sum(x[n, d] * beta[d], d))
risk = model.let("risk", n, Sum(exp(eta[m]), (m, n, N - 1)))
model.minimize(-Sum(event[n] * (eta[n] - log(risk[n])), n))
