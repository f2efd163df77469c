"""Find a pendulum's length, damping and release from noisy angles: `python examples/pendulum/run.py`.

The angles are those of SciPy's DOP853 at tolerances of 1e-12, with normal errors. They are fitted twice: by the
module, and by SciPy alone, which solves the equation anew for each difference of its Jacobian. With a path, as in
`run.py --plot fit.svg`, it also draws the measured angles and the curve with its 95 % band, by matplotlib. The folder
`c` has the fit in plain C.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from derivgen import runtime

GRAVITY = 9.80665  # m/s²
TRUE = {"length": 0.8, "damping": 0.25, "release": 2.0}  # m, 1/s, rad
TIMES, NOISE = np.arange(1, 257) / 32, 0.1  # s, rad
START = np.array([1.0, 0.1, 1.0])
TIGHT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


class Fits(NamedTuple):
    """The module's fit; parameters and standard errors by SciPy's differences, (3,), in the module's order."""

    fit: runtime.CurveFit
    parameters: np.ndarray
    errors: np.ndarray


def angles(parameters: np.ndarray) -> np.ndarray:
    """The angles at TIMES by SciPy's solver."""
    length, damping, release = parameters

    def slope(_: float, state: np.ndarray) -> tuple[float, float]:
        return state[1], -damping * state[1] - GRAVITY / length * np.sin(state[0])

    accurate = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    return solve_ivp(slope, (0, TIMES[-1]), (release, 0), t_eval=TIMES, **accurate).y[0]


def by_differences(measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(parameters, standard errors) by SciPy alone."""
    fit = least_squares(lambda p: angles(p) - measured, START, "3-point", method="lm", **TIGHT)
    variance = 2 * fit.cost / (len(measured) - len(fit.x))
    return fit.x, np.sqrt(variance * np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))


def measurements(seed: int) -> np.ndarray:
    """The angles at TIMES, with errors that are drawn by the seed."""
    return angles(np.array([*TRUE.values()])) + np.random.default_rng(seed).normal(0, NOISE, len(TIMES))


def fit_of(measured: np.ndarray) -> runtime.CurveFit:
    """The module's fit."""
    module = runtime.load(Path(__file__).with_name("pendulum_kernels.py"))
    return runtime.fit_curve(module, {"time": TIMES, "angle": measured}, parameters=START, **TIGHT)


def main(seed: int = 0, picture: str | None = None) -> Fits:
    measured = measurements(seed)
    fit = fit_of(measured)
    parameters, errors = by_differences(measured)
    print(fit.summary())
    print("true values:", ", ".join(f"{name} {value:g}" for name, value in TRUE.items()))
    off = np.abs(fit.parameters / parameters - 1).max(), np.abs([*fit.standard_errors.values()] / errors - 1).max()
    print(f"off SciPy's: parameters {off[0]:.0e}, standard errors {off[1]:.0e}, relatively")
    if picture:
        fit.plot(picture)
    return Fits(fit, parameters, errors)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", metavar="FILE", help="draw the fit into this file")
    main(picture=parser.parse_args().plot)
