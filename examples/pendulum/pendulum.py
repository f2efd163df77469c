"""A damped pendulum, θ″ = -damping·θ′ - g/length·sin θ, released at rest: what is measured is θ at some times.

Each time is a step of the classical Runge-Kutta method from the one before, the first a step from the release at time
0; so steps may differ, and the error of a step of size h is of the order of h⁵. Parameters are the length, the damping
and the angle of release. A swing is wide enough for the sine to count, which tells the angle from the length.

Source: Kutta 1901, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen".
"""

from sympy import Piecewise, sin

from derivgen import Model, named

GRAVITY = 9.80665  # m/s², standard

model = Model("pendulum", dtype="float64")
N = model.batch("N")
n = model.indices(n=N)

time = model.input("time", N)  # s, rising
angle = model.input("angle", N)  # rad
length = model.parameter("length", init=1.0)  # m
damping = model.parameter("damping", init=0.1)  # 1/s
release = model.parameter("release", init=1.0)  # rad


def slope(k, theta, omega):
    """θ′ and θ″ at one of the four places of a step, by the names that they have in the kernels."""
    velocity = named(f"velocity{k}", omega)
    return velocity, named(f"acceleration{k}", -damping * velocity - GRAVITY / length * sin(theta))


def step(theta, omega):
    """θ and θ′ at time n."""
    at, speed = theta[n - 1], omega[n - 1]
    v1, a1 = slope(1, at, speed)
    v2, a2 = slope(2, at + h[n] / 2 * v1, speed + h[n] / 2 * a1)
    v3, a3 = slope(3, at + h[n] / 2 * v2, speed + h[n] / 2 * a2)
    v4, a4 = slope(4, at + h[n] * v3, speed + h[n] * a3)
    return at + h[n] / 6 * (v1 + 2 * v2 + 2 * v3 + v4), speed + h[n] / 6 * (a1 + 2 * a2 + 2 * a3 + a4)


h = model.let("h", n, time[n] - Piecewise((time[n - 1], n > 0), (0, True)))
theta, omega = model.recur(["theta", "omega"], [n, n], step, initial=[release, 0])
model.least_squares(model.let("r", n, theta[n] - angle[n]))
model.predict(theta)
model.second_order("jacobian_vector_product")
