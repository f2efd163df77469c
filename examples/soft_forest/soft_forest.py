"""A forest of soft decision trees: the tree of examples/soft_decision_tree with one more axis, t.

Each tree minimizes its own loss, and the forest predicts the mean of the trees' distributions. As every tree starts
elsewhere, they err on other rows.
"""

import numpy as np
from sympy import Sum, exp, log

from derivgen import Model, initializers, optimizers


def build(trees: int = 16, features: int = 64, depth: int = 4, classes: int = 10) -> Model:
    model = Model("soft_forest")
    N = model.batch("N")
    T, D, K, C = model.sizes(T=trees, D=features, K=depth, C=classes)
    I, L = model.sizes(I=2**depth - 1, L=2**depth)  # inner nodes, those of a level side by side from the root on; leaves
    n, t, d, k, c, i, l, s = model.indices(n=N, t=T, d=D, k=K, c=C, i=I, l=L, s=2)

    x = model.input("x", N, D)
    y = model.labels("y", N, classes=C)
    W, b = model.parameter("W", D, T, I, init=initializers.normal(stddev=0.15)), model.parameter("b", T, I)
    Q = model.parameter("Q", T, L, C, init=initializers.normal(stddev=1.0))

    leaf, level = np.indices((2**depth, depth))
    node = model.constant("node", ((leaf + 2**depth) >> (depth - level)) - 1)  # of a leaf's way, at each level
    turn = model.constant("turn", (leaf >> (depth - 1 - level)) & 1)  # taken there: 0 left, 1 right

    z = model.let("z", (n, t, i), Sum(x[n, d] * W[d, t, i], d) + b[t, i])
    log_gate = model.let("log_gate", (n, t, i, s), -log(1 + exp((1 - 2 * s) * z[n, t, i])))
    reached = model.let("reached", (n, t, l), exp(Sum(log_gate[n, t, node[l, k], turn[l, k]], k)))
    leaves = model.let("leaves", (t, l, c), exp(Q[t, l, c]) / Sum(exp(Q[t, l, c]), c))
    p = model.let("p", (n, t, c), Sum(reached[n, t, l] * leaves[t, l, c], l))
    forest = model.let("forest", (n, c), Sum(p[n, t, c], t) / T)
    model.minimize(Sum(-log(p[n, t, y[n]]), n, t) / (N * T))
    model.predict(forest)
    model.update(optimizers.adam(learning_rate=0.03))
    return model


model = build()
