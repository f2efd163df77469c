"""A bonded network of atoms: harmonic bonds, k/2·(r - r0)², and harmonic angles."""

from sympy import Sum, acos, sqrt

from derivgen import Model

model = Model("bonds", dtype="float64")
B, A = model.batch("B"), model.batch("A")
atoms = model.sizes(atoms=2000)
b, a, x = model.indices(b=B, a=A, x=3)
i, j = model.labels("i", B, classes=atoms), model.labels("j", B, classes=atoms)
length, stiffness = model.input("length", B), model.input("stiffness", B)
p, q, s = (model.labels(name, A, classes=atoms) for name in "pqs")
angle, bending = model.input("angle", A), model.input("bending", A)
X = model.parameter("X", atoms, 3)

r = model.let("r", b, sqrt(Sum((X[i[b], x] - X[j[b], x]) ** 2, x)))
u = model.let("u", (a, x), X[p[a], x] - X[q[a], x])
v = model.let("v", (a, x), X[s[a], x] - X[q[a], x])
nu = model.let("nu", a, sqrt(Sum(u[a, x] ** 2, x)))
nv = model.let("nv", a, sqrt(Sum(v[a, x] ** 2, x)))
theta = model.let("theta", a, acos(Sum(u[a, x] * v[a, x], x) / (nu[a] * nv[a])))
model.minimize(Sum(stiffness[b] * (r[b] - length[b]) ** 2, b) / 2 + Sum(bending[a] * (theta[a] - angle[a]) ** 2, a) / 2)
