"""Calibration of a planar arm of seven joints: lengths and offsets from measured ends, a row a pose."""

from sympy import Sum, cos, sin

from derivgen import Model

model = Model("arm", dtype="float64")
N = model.batch("N")
J = model.sizes(J=7)
n = model.indices(n=N)
joint, end = model.input("joint", N, J), model.input("end", N, 2)
length, offset = model.parameter("length", J, init="ones"), model.parameter("offset", J)

x, y, angle = 0, 0, 0
for j in range(7):
    angle = angle + joint[n, j] + offset[j]
    turn = model.let(f"turn{j}", n, angle)
    angle = turn[n]
    x, y = x + length[j] * cos(turn[n]), y + length[j] * sin(turn[n])
model.minimize(Sum((x - end[n, 0]) ** 2 + (y - end[n, 1]) ** 2, n) / N)
