"""The conductivities of a plate from temperatures at the end: explicit steps of the heat equation on a grid."""

import numpy as np
from sympy import And, Piecewise, Sum

from derivgen import Model

model = Model("heat", dtype="float64")
T, W = model.sizes(T=20, W=64)
t, i, j = model.indices(t=T, i=W, j=W)
first, last = model.input("first", W, W), model.input("last", W, W)
k = model.parameter("k", W, W, init=np.full((64, 64), 0.1))


def inner(expression):
    return Piecewise((expression, And(i > 0, i < W - 1, j > 0, j < W - 1)), (0, True))


def step(u):
    a = u[t - 1, i, j]
    return a + inner(
        k[i, j] * (u[t - 1, i - 1, j] + u[t - 1, i + 1, j] + u[t - 1, i, j - 1] + u[t - 1, i, j + 1] - 4 * a)
    )


u = model.recur("u", (t, i, j), step, initial=first[i, j])
model.minimize(Sum((u[T - 1, i, j] - last[i, j]) ** 2, i, j) / 2)
