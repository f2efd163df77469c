"""Solve the heat equation by training its network: `python examples/heat_equation/run.py`.

Adam's first steps lead SciPy's L-BFGS-B away from the flat u that it would stop at. The exact solution is
exp(-κ·π²·t)·sin(π·x).
"""

import time
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.optimize import OptimizeResult

from derivgen import runtime

KAPPA, INSIDE, KNOWN = 0.1, 400, 150
ADAM_STEPS, LEARNING_RATE, ITERATIONS = 500, 0.01, 2500


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.exp(-KAPPA * np.pi**2 * t) * np.sin(np.pi * x)


def problem(seed: int) -> dict[str, np.ndarray]:
    """Points inside the unit square of x and t, and points on its sides x = 0, x = 1 and t = 0 with u there."""
    rng, third = np.random.default_rng(seed), KNOWN // 3
    x, t, x_known, t_known = (rng.random(count) for count in (INSIDE, INSIDE, KNOWN, KNOWN))
    x_known[:third], x_known[third : 2 * third], t_known[2 * third :] = 0, 1, 0
    known = {"x_known": x_known, "t_known": t_known, "u_known": exact(x_known, t_known)}
    return {"x": x, "t": t, **known, "kappa": np.array(KAPPA)}


def solve(module: ModuleType, seed: int) -> OptimizeResult:
    """The network of least loss that Adam and L-BFGS-B find."""
    data, parameters = problem(seed), module.initial_parameters(seed)
    module.descend(parameters, module.optimizer_state(), ADAM_STEPS, **data, learning_rate=LEARNING_RATE)
    options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": 0, "gtol": 1e-8, "maxcor": 50}
    return runtime.minimize(module, data, parameters=parameters, options=options)


def main(seed: int = 0) -> float:
    """The largest error of u against the exact solution, on a grid of the unit square."""
    module = runtime.load(Path(__file__).with_name("heat_equation_kernels.py"))
    start = time.perf_counter()
    result = solve(module, seed)
    seconds = time.perf_counter() - start
    x, t = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101)))
    error = float(np.abs(module.predict(result.parameters, x, t) - exact(x, t)).max())
    print(f"loss {result.fun:.2e} after {result.nit} iterations, {seconds:.1f} s; largest error {error:.1e}")
    return error


if __name__ == "__main__":
    main()
