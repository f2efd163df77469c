"""How AdaGrad and Robbins-Monro's rates converge on a convex problem: `python benchmarks/convergence.py`.

Logistic regression with an L2 penalty on scikit-learn's breast cancer data, one sample a step. The regret after T steps
is Σ_t f_t(θ_t) - Σ_t f_t(θ*), where f_t is the loss of the t-th sample and θ* scikit-learn's optimum of all of them:
at most of the order of √T for AdaGrad (Duchi et al. 2011, theorem 5), of log T for rates a/(b + t) on a strongly convex
function (Hazan et al. 2007, theorem 1).
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sympy import Sum, exp, log

from derivgen import Model, generate, optimizers, runtime, schedules

PENALTY = 0.01
RULES = {
    "AdaGrad": optimizers.adagrad(0.1),
    "Robbins-Monro": optimizers.gradient_descent(schedules.robbins_monro(1 / PENALTY, offset=1000)),
}


def logistic(rule: optimizers.UpdateRule, features: int) -> Model:
    """λ/2·‖θ‖² + Σ_n log(1 + exp(-y_n·(w·x_n + b)))/N; the intercept is a feature that is 1, and penalized too."""
    model = Model("logistic", dtype="float64")
    N = model.batch("N")
    n, d = model.indices(n=N, d=features)
    x, y = model.input("x", N, features), model.input("y", N)
    w = model.parameter("w", features)
    z = model.let("z", n, Sum(x[n, d] * w[d], d))
    model.minimize(PENALTY / 2 * Sum(w[d] ** 2, d) + Sum(log(1 + exp(-y[n] * z[n])), n) / N)
    model.update(rule)
    return model


def problem() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(data, scikit-learn's optimum)"""
    features, benign = load_breast_cancer(return_X_y=True)
    x = np.column_stack([StandardScaler().fit_transform(features), np.ones(len(features))])
    y = 2.0 * benign - 1
    C = 1 / (PENALTY * len(x))
    best = LogisticRegression(C=C, fit_intercept=False, tol=1e-12, solver="newton-cholesky").fit(x, y)
    return {"x": x, "y": y}, best.coef_[0]


def load(rule: optimizers.UpdateRule, features: int, folder: Path) -> ModuleType:
    return runtime.load(generate(logistic(rule, features), folder / "logistic_kernels.py", force=True))


def regrets(
    module: ModuleType, data: dict[str, np.ndarray], best: np.ndarray, epochs: int
) -> tuple[list[float], float]:
    """(the regret after each epoch of one sample a step, how far the loss of all samples is above its minimum)"""
    parameters, state, generator = module.initial_parameters(), module.optimizer_state(), np.random.default_rng(0)
    rows, least = len(data["y"]), module.loss(best, **data)
    regret, found = 0.0, []
    for _ in range(epochs):
        regret += rows * (module.train_epoch(parameters, state, generator.permutation(rows), 1, **data) - least)
        found.append(regret)
    return found, module.loss(parameters, **data) - least


def main(epochs: int = 1024) -> None:
    data, best = problem()
    steps = [2**k for k in range(0, int(math.log2(epochs)) + 1, 2)]
    for name, rule in RULES.items():
        with tempfile.TemporaryDirectory() as folder:
            found, above = regrets(load(rule, data["x"].shape[1], Path(folder)), data, best, epochs)
        print(f"{name}: the loss ends {above:.1e} above scikit-learn's minimum")
        print(f"{'steps T':>9} {'regret':>9} {'/√T':>8} {'/log T':>8}")
        for epoch in steps:
            T, regret = epoch * len(data["y"]), found[epoch - 1]
            print(f"{T:>9} {regret:>9.2f} {regret / math.sqrt(T):>8.3f} {regret / math.log(T):>8.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
