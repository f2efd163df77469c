"""A soft decision tree: inner nodes are logistic gates of linear functions, leaves hold distributions over the classes.

A row reaches every leaf, with the product of the probabilities of the turns on its way; in logarithms that is a sum,
read through two constant tables. Source: Frosst and Hinton 2017, "Distilling a neural network into a soft decision
tree".
"""

import numpy as np
from sympy import Sum, exp, log

from derivgen import Model, initializers, optimizers

DEPTH = 4

model = Model("soft_decision_tree")
N = model.batch("N")
D, C, K = model.sizes(D=64, C=10, K=DEPTH)
M, L = model.sizes(M=2**DEPTH - 1, L=2**DEPTH)  # inner nodes, level after level from the root on; leaves
n, d, c, k, m, j, s = model.indices(n=N, d=D, c=C, k=K, m=M, j=L, s=2)

leaf, level = np.indices((2**DEPTH, DEPTH))
node = model.constant("node", ((leaf + 2**DEPTH) >> (DEPTH - level)) - 1)  # where the way to a leaf is at a level
turn = model.constant("turn", (leaf >> (DEPTH - 1 - level)) & 1)  # and how it goes on: 0 left, 1 right

x = model.input("x", N, D)
y = model.labels("y", N, classes=C)
W, b = model.parameter("W", D, M, init=initializers.normal(stddev=0.15)), model.parameter("b", M)
Q = model.parameter("Q", L, C, init=initializers.normal(stddev=1.0))

z = model.let("z", (n, m), Sum(x[n, d] * W[d, m], d) + b[m])
log_gate = model.let("log_gate", (n, s, m), -log(1 + exp((1 - 2 * s) * z[n, m])))
reached = model.let("reached", (n, j), exp(Sum(log_gate[n, turn[j, k], node[j, k]], k)))
leaves = model.let("leaves", (j, c), exp(Q[j, c]) / Sum(exp(Q[j, c]), c))
p = model.let("p", (n, c), Sum(reached[n, j] * leaves[j, c], j))
model.minimize(Sum(-log(p[n, y[n]]), n) / N)
model.predict(p)
model.update(optimizers.adam(learning_rate=0.03))
