"""A hidden Markov model's likelihood, by the forward algorithm in logarithms."""

from sympy import Sum, exp, log

from derivgen import Model

model = Model("markov", dtype="float64")
N = model.batch("N")
S, T, V = model.sizes(S=16, T=50, V=30)
n, t, j, k, v = model.indices(n=N, t=T, j=S, k=S, v=V)
word = model.labels("word", N, T, classes=V)
start = model.parameter("start", S, init="normal")
A, E = model.parameter("A", S, S, init="normal"), model.parameter("E", S, V, init="normal")

step = model.let("step", (j, k), A[j, k] - log(Sum(exp(A[j, k]), k)))
shown = model.let("shown", (k, v), E[k, v] - log(Sum(exp(E[k, v]), v)))
f = model.recur(
    "f",
    (n, t, k),
    lambda f: log(Sum(exp(f[n, t - 1, j] + step[j, k]), j)) + shown[k, word[n, t]],
    initial=start[k],
)
model.minimize(-Sum(log(Sum(exp(f[n, T - 1, k]), k)), n) / N)
