"""One layer of one tanh neuron, a = tanh(x·W + b), and the mean squared error: every number fits on paper."""

import numpy as np
from sympy import Sum, tanh

from derivgen import Model

model = Model("first_steps", dtype="float64")
N = model.batch("N")
D, H = model.sizes(D=2, H=1)
n, d, h = model.indices(n=N, d=D, h=H)

x = model.input("x", N, D)
y = model.input("y", N, H)
W = model.parameter("W", D, H, init=np.array([[0.5], [0.5]]))
b = model.parameter("b", H, init=np.array([0.1]))

a = model.let("a", (n, h), tanh(Sum(x[n, d] * W[d, h], d) + b[h]))
model.minimize(Sum((a[n, h] - y[n, h]) ** 2, n, h) / (N * H))
model.predict(a)
