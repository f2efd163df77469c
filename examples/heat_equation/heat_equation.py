"""The heat equation u_t = κ·u_xx by a physics-informed network, whose derivatives by place and time stand in the loss.

u(x, t) has two hidden layers. The loss is the mean square of the residual u_t - κ·u_xx at collocation points, plus that
of u less its values where they are known: on the boundary and at the start.

Source: Raissi, Perdikaris, Karniadakis 2019.
"""

from sympy import Sum, tanh

from derivgen import Model

model = Model("heat_equation", dtype="float64")
N, M = model.batch("N"), model.batch("M")
H = model.sizes(H=20)
n, m, h, k = model.indices(n=N, m=M, h=H, k=H)

x, t = model.input("x", N), model.input("t", N)  # where the equation shall hold
x_known, t_known, u_known = model.input("x_known", M), model.input("t_known", M), model.input("u_known", M)
kappa = model.input("kappa")
W1, b1 = model.parameter("W1", 2, H, init="glorot_uniform"), model.parameter("b1", H)
W2, b2 = model.parameter("W2", H, H, init="glorot_uniform"), model.parameter("b2", H)
W3, b3 = model.parameter("W3", H, init="glorot_uniform"), model.parameter("b3")


def network(name, x, t, row):
    """u at places x and times t, one a row; all networks have the same weights."""
    first, second = f"{name}_1", f"{name}_2"
    s1 = model.let(f"{first}_s", (row, h), x[row] * W1[0, h] + t[row] * W1[1, h] + b1[h], layer=first)
    a1 = model.let(first, (row, h), tanh(s1[row, h]))
    s2 = model.let(f"{second}_s", (row, k), Sum(a1[row, h] * W2[h, k], h) + b2[k], layer=second)
    a2 = model.let(second, (row, k), tanh(s2[row, k]))
    return model.let(name, row, Sum(a2[row, k] * W3[k], k) + b3)


u, g = network("u", x, t, n), network("g", x_known, t_known, m)
u_t, u_xx = model.derivative(u[n], t[n]), model.derivative(u[n], x[n], x[n])
residual = model.let("residual", n, u_t - kappa * u_xx)
model.minimize(Sum(residual[n] ** 2, n) / N + Sum((g[m] - u_known[m]) ** 2, m) / M)
model.update("adam")
model.predict(u)
