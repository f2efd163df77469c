"""Fit breast cancer data by L-BFGS-B and Newton's method: `python examples/logistic_regression/run.py`."""

from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from derivgen import runtime


def split_tumors() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardized features (rows, 30) and labels, 1 benign and -1 malignant, for training and for testing."""
    features, benign = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        features, 2.0 * benign - 1, test_size=0.25, random_state=0, stratify=benign
    )
    scaler = StandardScaler().fit(x_train)
    return scaler.transform(x_train), y_train, scaler.transform(x_test), y_test


def main(C: float = 1.0) -> tuple[OptimizeResult, OptimizeResult, list[float], float]:
    """(result of L-BFGS-B, result of Newton's method, norms of the latter's gradients, accuracy on held-out rows)."""
    x, y, x_test, y_test = split_tumors()
    module = runtime.load(Path(__file__).with_name("logistic_regression_kernels.py"))
    data = {"x": x, "y": y, "C": C}

    def norm(parameters: np.ndarray) -> float:
        return float(np.linalg.norm(module.loss_and_gradient(parameters, **data)[1]))

    norms = [norm(module.initial_parameters())]
    newton = runtime.minimize(module, data, method="newton", callback=lambda vector: norms.append(norm(vector)))
    tight = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10_000}
    quasi = runtime.minimize(module, data, method="L-BFGS-B", options=tight)
    accuracy = float(((module.predict(newton.parameters, x_test) > 0.5) == (y_test > 0)).mean())
    print(f"objective {newton.fun:.9f}; test accuracy: {100 * accuracy:.2f} %")
    print(f"L-BFGS-B: {quasi.nit} iterations, gradient {norm(quasi.x):.1e}")
    print(f"Newton: {newton.nit} iterations, gradients {', '.join(f'{g:.1e}' for g in norms)}")
    return quasi, newton, norms, accuracy


if __name__ == "__main__":
    main()
