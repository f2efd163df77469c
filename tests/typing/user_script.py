"""A user's script, of which mypy --strict has nothing to say: trains, predicts, fits a curve, uses an estimator.

Its arguments are the modules of examples/digits and examples/decay_curve.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from derivgen import runtime
from derivgen.sklearn import DerivgenClassifier

Real = NDArray[np.float64]


def stop_early(epoch: runtime.Epoch, views: Mapping[str, NDArray[np.float32]]) -> bool | None:
    return epoch.loss < 1e-3 or not np.isfinite(views["b1"]).all()


def train(module: runtime.GeneratedModule, x: Real, y: NDArray[np.int64]) -> runtime.Fit:
    data = {"x": x, "y": y}
    fit: runtime.Fit = runtime.fit(module, data, epochs=2, validation_split=0.2, callbacks=[stop_early])
    losses: list[float] = [epoch.loss for epoch in fit.history]
    print(fit, fit.loss == losses[-1], fit.views["W1"].shape, fit.stopped.upper())
    scores: NDArray[np.float32] = fit.predict({"x": x})
    print("right:", float((scores.argmax(axis=1) == y).mean()) >= 0)
    return fit


def keep(module: runtime.GeneratedModule, fit: runtime.Fit, path: str) -> None:
    runtime.save_parameters(path, module, fit.parameters)
    parameters, origin = runtime.read_parameters(path, module)
    value, gradient = module.loss_and_gradient(parameters, x=np.zeros((1, 64), np.float32), y=np.zeros(1, np.int64))
    print(origin.endswith("npz"), value > 0, gradient.shape == parameters.shape)
    print([p.name for p in module.PARAMETERS], module.INPUTS[0].shape, module.SAMPLE_AXIS)


def fit_decay(module: runtime.GeneratedModule, x: Real, y: Real) -> None:
    curve: runtime.CurveFit = runtime.fit_curve(module, {"x": x, "y": y})
    lower, upper = curve.confidence_intervals()["rate"]
    print(curve.success, bool((lower <= curve.views["rate"]).all()), upper.shape, curve.degrees_of_freedom)


def main(digits: str, decay: str) -> None:
    logging.getLogger("derivgen").setLevel(logging.INFO)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 64)), rng.integers(0, 10, 50)
    module = runtime.load(digits)
    keep(module, train(module, x, y), "parameters.npz")
    t = np.linspace(0, 320, 40)
    fit_decay(runtime.load(decay), t, 0.4 + 2 * np.exp(-t / 80) - 1.5 * np.exp(-t / 45) + 1e-4 * rng.normal(size=40))
    classifier: DerivgenClassifier = DerivgenClassifier(epochs=1, random_state=0).fit(x, y > 4)
    probabilities: Real = classifier.predict_proba(x)
    print(probabilities.shape, classifier.module_.predict(classifier.parameters_, x).shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
