"""Logistic regression with an L2 penalty, in the form that scikit-learn's LogisticRegression minimizes.

½·‖w‖² + C·Σ_n log(1 + exp(-y_n·(w·x_n + b))), labels y_n = ±1; b is not penalized. The logarithm becomes a softplus
that neither overflows nor cancels. The objective is convex, and small enough for its Hessian: Newton's method.
"""

from sympy import Sum, exp, log

from derivgen import Model

model = Model("logistic_regression", dtype="float64")
N = model.batch("N")
D = model.sizes(D=30)
n, d = model.indices(n=N, d=D)

x = model.input("x", N, D)
y = model.input("y", N)
C = model.input("C")
w, b = model.parameter("w", D), model.parameter("b")

z = model.let("z", n, Sum(x[n, d] * w[d], d) + b)
p = model.let("p", n, 1 / (1 + exp(-z[n])))
model.minimize(Sum(w[d] ** 2, d) / 2 + C * Sum(log(1 + exp(-y[n] * z[n])), n))
model.predict(p)
model.second_order("hessian")
