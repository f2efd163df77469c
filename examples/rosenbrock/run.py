"""Minimize by the module's own descent and by SciPy's BFGS: `python examples/rosenbrock/run.py`."""

from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from derivgen import runtime

STEPS, LEARNING_RATE = 100_000, 5e-4


def main() -> tuple[np.ndarray, np.ndarray]:
    """The two minimizers."""
    module = runtime.load(Path(__file__).with_name("rosenbrock_kernels.py"))
    descended = module.initial_parameters()
    losses = module.descend(descended, module.optimizer_state(), STEPS, learning_rate=LEARNING_RATE)
    print(f"gradient descent: {losses[0]:.4g} → {losses[-1]:.3e} in {STEPS} steps, x = {descended.round(4)}")
    result = minimize(module.loss_and_gradient, module.initial_parameters(), jac=True, method="BFGS")
    print(f"BFGS: {result.fun:.3e} in {result.nit} iterations, x = {result.x.round(4)}")
    return descended, result.x


if __name__ == "__main__":
    main()
