"""A linear support vector machine with the squared hinge, in the form that scikit-learn's LinearSVC minimizes.

½·(‖w‖² + b²) + C·Σ_n max(0, 1 - y_n·(w·x_n + b))², labels y_n = ±1. The intercept is penalized too, since LIBLINEAR
takes it as the weight of one more feature, which is 1.
"""

from sympy import Max, Sum

from derivgen import Model

model = Model("support_vector_machine", dtype="float64")
N = model.batch("N")
D = model.sizes(D=30)
n, d = model.indices(n=N, d=D)

x = model.input("x", N, D)
y = model.input("y", N)
C = model.input("C")
w, b = model.parameter("w", D), model.parameter("b")

z = model.let("z", n, Sum(x[n, d] * w[d], d) + b)
model.minimize((Sum(w[d] ** 2, d) + b**2) / 2 + C * Sum(Max(0, 1 - y[n] * z[n]) ** 2, n))
model.predict(z)
