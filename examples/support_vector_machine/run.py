"""Fit scikit-learn's breast cancer data by SciPy's L-BFGS-B: `python examples/support_vector_machine/run.py`."""

from pathlib import Path

import numpy as np
from scipy.optimize import minimize
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


def main(C: float = 1.0) -> tuple[np.ndarray, float, float]:
    """The minimizer (w, b), the minimum, and the accuracy on the rows held out."""
    x_train, y_train, x_test, y_test = split_tumors()
    module = runtime.load(Path(__file__).with_name("support_vector_machine_kernels.py"))
    result = minimize(
        module.loss_and_gradient,
        module.initial_parameters(),
        args=(x_train, y_train, C),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10_000},
    )
    accuracy = float(((module.predict(result.x, x_test) > 0) == (y_test > 0)).mean())
    print(f"objective {result.fun:.9f} after {result.nit} iterations; test accuracy: {100 * accuracy:.2f} %")
    return result.x, float(result.fun), accuracy


if __name__ == "__main__":
    main()
