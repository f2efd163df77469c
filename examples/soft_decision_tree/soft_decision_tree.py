"""A soft decision tree: inner nodes are logistic gates of linear functions, leaves hold distributions over the classes.

A row reaches every leaf, with the product of the probabilities of the turns on its way; in logarithms that is a sum,
read through two constant tables. Source: Frosst and Hinton 2017, "Distilling a neural network into a soft decision tree".
"""

import numpy as np
from sympy import Sum, exp, log

from derivgen import Model, initializers, optimizers


def build(features: int = 64, depth: int = 4, classes: int = 10) -> Model:
    model = Model("soft_decision_tree")
    N = model.batch("N")
    D, K, C = model.sizes(D=features, K=depth, C=classes)
    I, L = model.sizes(I=2**depth - 1, L=2**depth)  # inner nodes, those of a level side by side from the root on; leaves
    n, d, k, c, i, l, s = model.indices(n=N, d=D, k=K, c=C, i=I, l=L, s=2)

    x = model.input("x", N, D)
    y = model.labels("y", N, classes=C)
    W, b = model.parameter("W", D, I, init=initializers.normal(stddev=0.15)), model.parameter("b", I)
    Q = model.parameter("Q", L, C, init=initializers.normal(stddev=1.0))

    leaf, level = np.indices((2**depth, depth))
    node = model.constant("node", ((leaf + 2**depth) >> (depth - level)) - 1)  # of a leaf's way, at each level
    turn = model.constant("turn", (leaf >> (depth - 1 - level)) & 1)  # taken there: 0 left, 1 right

    z = model.let("z", (n, i), Sum(x[n, d] * W[d, i], d) + b[i])
    log_gate = model.let("log_gate", (n, i, s), -log(1 + exp((1 - 2 * s) * z[n, i])))
    reached = model.let("reached", (n, l), exp(Sum(log_gate[n, node[l, k], turn[l, k]], k)))
    leaves = model.let("leaves", (l, c), exp(Q[l, c]) / Sum(exp(Q[l, c]), c))
    p = model.let("p", (n, c), Sum(reached[n, l] * leaves[l, c], l))
    model.minimize(Sum(-log(p[n, y[n]]), n) / N)
    model.predict(p)
    model.update(optimizers.adam(learning_rate=0.03))
    return model


model = build()
