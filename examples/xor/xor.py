"""Exclusive or by two hidden units and one output unit, all logistic, with the squared error.

Source: Rumelhart, Hinton and Williams 1986, "Learning internal representations by error propagation".
"""

from sympy import Sum, exp

from derivgen import Model, initializers

model = Model("xor")
N = model.batch("N")
D, H = model.sizes(D=2, H=2)
n, d, h = model.indices(n=N, d=D, h=H)

x = model.input("x", N, D)
y = model.input("y", N)
W1 = model.parameter("W1", D, H, init=initializers.normal(stddev=1.0))
b1 = model.parameter("b1", H)
W2 = model.parameter("W2", H, init=initializers.normal(stddev=1.0))
b2 = model.parameter("b2")

hidden = model.let("hidden", (n, h), 1 / (1 + exp(-Sum(x[n, d] * W1[d, h], d) - b1[h])))
output = model.let("output", n, 1 / (1 + exp(-Sum(hidden[n, h] * W2[h], h) - b2)))
model.minimize(Sum((y[n] - output[n]) ** 2, n) / 2)
model.predict(output)
