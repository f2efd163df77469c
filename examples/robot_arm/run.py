"""Follow a circle with a Panda arm, its tool pointing down: `python examples/robot_arm/run.py`.

All the poses along the circle are found by one search, which starts each of them from the arm's usual ready posture.
The limits of the joints are bounds of the search. Each pose needs six joints; the seventh lets the search keep within
the limits, which it would leave otherwise.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from derivgen import runtime

LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])  # rad; source: as of the spec
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
READY = np.array([0, -1 / 4, 0, -3 / 4, 0, 1 / 2, 1 / 4]) * np.pi
CENTER, RADIUS, SWING = np.array([0.45, 0, 0.3]), 0.2, 0.5  # m, m, rad
TIGHT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


class Followed(NamedTuple):
    """The poses that are wanted, (T, 3, 4), and the searches' results, with the limits of the joints and without."""

    targets: np.ndarray
    within: Any
    free: Any


def circle(count: int, radius: float) -> np.ndarray:
    """Poses along a level circle, shape (count, 3, 4): the tool points down, and swings about its axis on the way."""
    along = 2 * np.pi * np.arange(count) / count
    c, s, zero, one = np.cos(SWING * np.sin(along)), np.sin(SWING * np.sin(along)), 0 * along, 1 + 0 * along
    x, y, z = CENTER[:, None] + radius * np.array([np.cos(along), np.sin(along), zero])
    return np.moveaxis(np.array([[c, s, zero, x], [s, -c, zero, y], [zero, zero, -one, z]]), 2, 0).copy()


def main(radius: float = RADIUS) -> Followed:
    module = runtime.load(Path(__file__).with_name("robot_arm_kernels.py"))
    T, J = module.PARAMETERS[0].shape
    targets, start = circle(T, radius), np.tile(READY, (T, 1))
    limits = {"angle": (np.tile(LOWER, (T, 1)), np.tile(UPPER, (T, 1)))}
    within, free = (
        runtime.least_squares(module, {"target": targets}, parameters=start.ravel(), bounds=bounds, **TIGHT)
        for bounds in (limits, None)
    )
    for name, result in ("within limits", within), ("without them", free):
        angles, off = result.views["angle"], np.abs(result.fun).max()
        beyond = ((angles < LOWER) | (angles > UPPER)).any(axis=1).sum()
        print(f"{name}: {result.nfev} evaluations, poses to {off:.0e}, {beyond} of {T} with a joint beyond its limit")
    jacobian = module.jacobian(within.parameters, targets)
    print(f"Jacobian of {jacobian.shape[0]}×{T * J}: {jacobian.nnz} of {jacobian.shape[0] * T * J} elements")
    return Followed(targets, within, free)


if __name__ == "__main__":
    main()
