"""A classifier of 8×8 images of digits: 64 → 32 (tanh) → 10, softmax cross-entropy, in plain SymPy."""

from sympy import Sum, exp, log, tanh

from derivgen import Model

model = Model("digits")
N = model.batch("N")  # known at run time
D, H, C = model.sizes(D=64, H=32, C=10)  # known at generation
n, d, h, c = model.indices(n=N, d=D, h=H, c=C)  # SymPy Idx, each with its range

x = model.input("x", N, D)
y = model.labels("y", N, classes=C)
W1, b1 = model.parameter("W1", D, H, init="glorot_uniform"), model.parameter("b1", H)
W2, b2 = model.parameter("W2", H, C, init="glorot_uniform"), model.parameter("b2", C)

a1 = model.let("a1", (n, h), tanh(Sum(x[n, d] * W1[d, h], d) + b1[h]))
z2 = model.let("z2", (n, c), Sum(a1[n, h] * W2[h, c], h) + b2[c])
p = model.let("p", (n, c), exp(z2[n, c]) / Sum(exp(z2[n, c]), c))
model.minimize(Sum(-log(p[n, y[n]]), n) / N)
model.predict(p)
