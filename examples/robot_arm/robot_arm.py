"""Inverse kinematics of an arm of seven joints: the angles at which its flange has the poses that are wanted.

The table is that of the Franka Emika Panda, in Craig's convention: from the frame of a joint to the next one leads a
turn about x, the twist, and a step of `length` along it, then a turn about the new z, the joint's angle, and a step of
`offset` along it. The last offset goes as far as the flange. Each target is a row, a matrix of three rows and four
columns: a rotation, and a position in m. Residuals are the elements of the pose less those of its target, so that an
error of 1 rad counts about as much as one of 1 m. Those of a row depend on the seven angles of that row alone: the
Jacobian is sparse.

Sources: Craig 1986, "Introduction to Robotics"; Franka Emika, Franka Control Interface documentation, "Robot and
interface specifications", Denavit-Hartenberg parameters.
"""

import numpy as np
from sympy import KroneckerDelta, Matrix, Sum, cos, sin

from derivgen import Model

TWIST = np.array([0, -1, 1, 1, -1, 1, 1])  # of 90 degrees
LENGTH = np.array([0, 0, 0, 0.0825, -0.0825, 0, 0.088])  # m
OFFSET = np.array([0.333, 0, 0.316, 0, 0.384, 0, 0.107])  # m

model = Model("robot_arm", dtype="float64")
T, J = model.sizes(T=32, J=7)
R, C = model.sizes(R=3, C=4)
t, j, a, b, c = model.indices(t=T, j=J, a=R, b=C, c=C)  # rows a of a matrix; the fourth is 0, 0, 0, 1

target = model.input("target", T, R, C)
angle = model.parameter("angle", T, J)
length, offset = model.constant("length", LENGTH), model.constant("offset", OFFSET)
cosine, sine = model.constant("cosine", 1.0 - abs(TWIST)), model.constant("sine", 1.0 * TWIST)  # of the twists

turn = angle[t, j]
matrix = Matrix(
    [
        [cos(turn), -sin(turn), 0, length[j]],
        [sin(turn) * cosine[j], cos(turn) * cosine[j], -sine[j], -sine[j] * offset[j]],
        [sin(turn) * sine[j], cos(turn) * sine[j], cosine[j], cosine[j] * offset[j]],
        [0, 0, 0, 1],
    ]
)
link = model.let("link", (t, j, c, b), matrix[c, b])
pose = model.recur(
    "pose",
    (t, j, a, b),
    lambda pose: Sum(pose[t, j - 1, a, c] * link[t, j, c, b], c),
    initial=KroneckerDelta(a, b),
)
model.least_squares(model.let("r", (t, a, b), pose[t, J - 1, a, b] - target[t, a, b]))
model.predict(pose)
