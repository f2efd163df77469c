"""A forest of soft decision trees: the tree of examples/soft_decision_tree with one more axis, t.

Each tree minimizes its own loss, and the forest predicts the mean of their distributions. As every tree starts
elsewhere, they err on different rows.
"""

import numpy as np
from sympy import Sum, exp, log

from derivgen import Model, initializers, optimizers

DEPTH = 4

model = Model("soft_forest")
N = model.batch("N")
T, D, C, K = model.sizes(T=16, D=64, C=10, K=DEPTH)
M, L = model.sizes(M=2**DEPTH - 1, L=2**DEPTH)  # inner nodes, level after level from the root on; leaves
n, t, d, c, k, m, j, s = model.indices(n=N, t=T, d=D, c=C, k=K, m=M, j=L, s=2)

leaf, level = np.indices((2**DEPTH, DEPTH))
node = model.constant("node", ((leaf + 2**DEPTH) >> (DEPTH - level)) - 1)  # where the way to a leaf is at a level
turn = model.constant("turn", (leaf >> (DEPTH - 1 - level)) & 1)  # and how it goes on: 0 left, 1 right

x = model.input("x", N, D)
y = model.labels("y", N, classes=C)
W, b = model.parameter("W", D, T, M, init=initializers.normal(stddev=0.15)), model.parameter("b", T, M)
Q = model.parameter("Q", T, L, C, init=initializers.normal(stddev=1.0))

z = model.let("z", (n, t, m), Sum(x[n, d] * W[d, t, m], d) + b[t, m])
log_gate = model.let("log_gate", (n, t, s, m), -log(1 + exp((1 - 2 * s) * z[n, t, m])))
reached = model.let("reached", (n, t, j), exp(Sum(log_gate[n, t, turn[j, k], node[j, k]], k)))
leaves = model.let("leaves", (t, j, c), exp(Q[t, j, c]) / Sum(exp(Q[t, j, c]), c))
p = model.let("p", (n, t, c), Sum(reached[n, t, j] * leaves[t, j, c], j))
forest = model.let("forest", (n, c), Sum(p[n, t, c], t) / T)
model.minimize(Sum(-log(p[n, t, y[n]]), n, t) / (N * T))
model.predict(forest)
model.update(optimizers.adam(learning_rate=0.03))
