"""Is a row of six bits its own mirror image? Two hidden units and one output unit, all logistic, and the squared error.

The update is the paper's: Δw(t) = -ε·∂E/∂w + α·Δw(t - 1) with ε = 0.1 and α = 0.9, where E is half the sum of squares
over all 64 rows; `optimizers.momentum` is the same with m = -Δw/ε. Weights and biases start at random in -0.3 .. 0.3.

Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors", Nature 323.
"""

from sympy import Sum, exp

from derivgen import Model, initializers, optimizers

model = Model("symmetry")
N = model.batch("N")
D, H = model.sizes(D=6, H=2)
n, d, h = model.indices(n=N, d=D, h=H)

x = model.input("x", N, D)
y = model.input("y", N)
small = initializers.uniform(-0.3, 0.3)
W1, b1 = model.parameter("W1", D, H, init=small), model.parameter("b1", H, init=small)
W2, b2 = model.parameter("W2", H, init=small), model.parameter("b2", init=small)

hidden = model.let("hidden", (n, h), 1 / (1 + exp(-Sum(x[n, d] * W1[d, h], d) - b1[h])))
output = model.let("output", n, 1 / (1 + exp(-Sum(hidden[n, h] * W2[h], h) - b2)))
model.minimize(Sum((output[n] - y[n]) ** 2, n) / 2)
model.predict(output)
model.update(optimizers.momentum(learning_rate=0.1, momentum=0.9))
