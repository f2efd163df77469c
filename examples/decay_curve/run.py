"""Fit NIST's MGH17 and compare it with the certified figures: `python examples/decay_curve/run.py`.

With a path, as in `run.py fit.svg`, it also draws the data and the curve with its 95 % band, by matplotlib.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit

from derivgen import runtime

X = np.arange(0.0, 330.0, 10.0)
Y = np.array(
    [
        [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751],
        [0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490],
        [0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406],
    ]
).ravel()
CERTIFIED = np.array([3.7541005211e-01, 1.9358469127, -1.4646871366, 1.2867534640e-02, 2.2122699662e-02])
CERTIFIED_ERRORS = np.array([2.0723153551e-03, 2.2031669222e-01, 2.2175707739e-01, 4.4861358114e-04, 8.9471996575e-04])
TIGHT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


def curve(x: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    """The curve as SciPy takes it."""
    return b1 + b2 * np.exp(-b4 * x) + b3 * np.exp(-b5 * x)


def digits(parameters: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """The decimal digits of the parameters, and of their standard errors, that are as certified."""
    off = np.abs(parameters / CERTIFIED - 1).max(), np.abs(errors / CERTIFIED_ERRORS - 1).max()
    return float(-np.log10(off[0])), float(-np.log10(off[1]))


def main(picture: str | None = None) -> tuple[tuple[float, float], tuple[float, float]]:
    """The digits by the module's exact Jacobian, and by SciPy's differences of the same curve."""
    module = runtime.load(Path(__file__).with_name("decay_curve_kernels.py"))
    fit = runtime.fit_curve(module, {"x": X, "y": Y}, **TIGHT)
    exact = digits(fit.parameters, np.sqrt(np.diag(fit.covariance)))
    best, covariance = curve_fit(curve, X, Y, module.initial_parameters(), **TIGHT)
    differences = digits(best, np.sqrt(np.diag(covariance)))
    print(fit.summary())
    print("digits as certified, of the parameters and of their standard errors:")
    print(
        f"by the Jacobian {exact[0]:.1f} and {exact[1]:.1f}, "
        f"by differences {differences[0]:.1f} and {differences[1]:.1f}"
    )
    if picture:
        fit.plot(picture)
    return exact, differences


if __name__ == "__main__":
    main(*sys.argv[1:2])
