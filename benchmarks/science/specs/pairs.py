"""Lennard and Jones' potential of all pairs of atoms."""

from sympy import Piecewise, Sum

from derivgen import Model

model = Model("pairs", dtype="float64")
M = model.sizes(M=400)
i, j, x = model.indices(i=M, j=M, x=3)
depth, width = model.input("depth"), model.input("width")
X = model.parameter("X", M, 3)

d2 = model.let("d2", (i, j), Sum((X[i, x] - X[j, x]) ** 2, x))
s6 = (width**2 / d2[i, j]) ** 3
model.minimize(Sum(Piecewise((4 * depth * (s6**2 - s6), j > i), (0, True)), i, j))
