"""Bundle adjustment: cameras (axis and angle, centre, focal length, principal point, distortion) and points.

Source: Srajer, Kukelova and Fitzgibbon 2018, "A benchmark of selected algorithmic differentiation tools", its objective
of bundle adjustment without the term on weights.
"""

from sympy import Piecewise, Sum, cos, sin, sqrt

from derivgen import Model

model = Model("bundle", dtype="float64")
O = model.batch("O")  # noqa: E741
C, P = model.sizes(C=49, P=7776)
o = model.indices(o=O)
camera, point = model.labels("camera", O, classes=C), model.labels("point", O, classes=P)
seen, weight = model.input("seen", O, 2), model.input("weight", O)
cameras, points = model.parameter("cameras", C, 11), model.parameter("points", P, 3)


def c(k):
    return cameras[camera[o], k]


d = [points[point[o], k] - c(3 + k) for k in range(3)]
square = model.let("square", o, c(0) ** 2 + c(1) ** 2 + c(2) ** 2)
angle = model.let("angle", o, Piecewise((sqrt(square[o]), square[o] > 0), (0, True)))
sine = Piecewise((sin(angle[o]) / angle[o], square[o] > 0), (1, True))
rest = Piecewise(((1 - cos(angle[o])) / square[o], square[o] > 0), (0, True))
dot = c(0) * d[0] + c(1) * d[1] + c(2) * d[2]
cross = [c(1) * d[2] - c(2) * d[1], c(2) * d[0] - c(0) * d[2], c(0) * d[1] - c(1) * d[0]]
turned = [d[k] * cos(angle[o]) + cross[k] * sine + c(k) * dot * rest for k in range(3)]
X, Y, Z = (model.let(name, o, turned[k]) for k, name in enumerate("XYZ"))
u, v = model.let("u", o, X[o] / Z[o]), model.let("v", o, Y[o] / Z[o])
r2 = model.let("r2", o, u[o] ** 2 + v[o] ** 2)
bent = model.let("bent", o, 1 + c(9) * r2[o] + c(10) * r2[o] ** 2)
e = model.let("e", o, weight[o] * (c(7) + c(6) * bent[o] * u[o] - seen[o, 0]))
f = model.let("f", o, weight[o] * (c(8) + c(6) * bent[o] * v[o] - seen[o, 1]))
model.minimize(Sum(e[o] ** 2 + f[o] ** 2, o) / 2)
