"""Training around the kernels: `python benchmarks/training.py`. float32, one thread, warm; medians of alternating runs.

1. One update of 10⁶ parameters by each rule; those that PyTorch has fused, against it.
2. `fit` with its progress shown, against calls of `train_epoch` alone, on digits (64-32-10, batch 32).
3. The same model with Adam as it is by default, five seeds: accuracy on the images held out, and the time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from types import ModuleType

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sympy import Sum
from threadpoolctl import threadpool_limits

from derivgen import Model, generate, optimizers, runtime
from derivgen.project.spec import load_target

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"
PARAMETERS, ROUNDS, WATCHED, BATCH, SEEDS = 1_000_000, 41, 121, 32, 5
LONG, SHORT = 1000, 400  # epochs of digits: some 0.4 s, as long as one would watch; enough for the accuracy
FUSED = {
    "gradient_descent": lambda p: torch.optim.SGD(p, 0.01, fused=True),
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, fused=True),
    "adam": lambda p: torch.optim.Adam(p, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True, fused=True),
}


def alternating(*runs: Callable[[], object], rounds: int = ROUNDS) -> list[list[float]]:
    """The seconds of each run, in rounds of one after the other, every second round backwards."""
    times: list[list[float]] = [[] for _ in runs]
    for i in range(rounds):
        for own, run in list(zip(times, runs, strict=True))[:: -1 if i % 2 else 1]:
            start = perf_counter()
            run()
            own.append(perf_counter() - start)
    return times


def ratio(above: list[float], below: list[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


# ---- updates


def updated_by(rule: optimizers.UpdateRule, folder: Path) -> ModuleType:
    model = Model(rule.name)
    (i,) = model.local_indices(PARAMETERS)
    w = model.parameter("w", PARAMETERS, init="normal")
    model.minimize(Sum(w[i] ** 2, i))
    model.update(rule)
    return runtime.load(generate(model, folder / f"{rule.name}_kernels.py"))


def updates(folder: Path) -> None:
    gradient = np.random.default_rng(0).normal(size=PARAMETERS).astype(np.float32)
    print(f"one update of {PARAMETERS:,} parameters")
    for name in optimizers.BY_NAME:
        module = updated_by(optimizers.by_name(name), folder)
        parameters, state = module.initial_parameters(), module.optimizer_state()
        runs = [lambda m=module, p=parameters, s=state: m.update(p, gradient, s)]
        if name in FUSED:
            tensor = torch.nn.Parameter(torch.tensor(parameters))
            tensor.grad = torch.tensor(gradient)
            runs.append(FUSED[name]([tensor]).step)
        for run in runs:
            run()
        ours, *theirs = alternating(*runs)
        versus = (
            f"   PyTorch fused {1e3 * median(theirs[0]):.3f} ms, ratio {ratio(theirs[0], ours):.2f}" if theirs else ""
        )
        print(f"  {name:17} {1e3 * median(ours):.3f} ms{versus}")


# ---- digits


def digits_data() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(training data, test images, test labels): the split of examples/digits."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split((images / 16).astype(np.float32), labels, test_size=0.2, random_state=0)
    return {"x": x, "y": y}, x_test, y_test


def overhead() -> None:
    module, (data, _, _) = runtime.load(DIGITS / "digits_kernels.py"), digits_data()

    def alone() -> np.ndarray:
        generator, rows = np.random.default_rng(0), np.arange(len(data["y"]))
        parameters, state = module.initial_parameters(0), module.optimizer_state()
        for _ in range(LONG):
            module.train_epoch(parameters, state, generator.permutation(rows), BATCH, **data, learning_rate=0.1)
        return parameters

    def by_fit() -> np.ndarray:
        return runtime.fit(module, data, epochs=LONG, batch_size=BATCH, learning_rate=0.1, progress=True).parameters

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        assert np.array_equal(alone(), by_fit())
        direct, fitted = alternating(alone, by_fit, rounds=WATCHED)
    low, middle, high = (100 * q - 100 for q in quantiles([f / d for f, d in zip(fitted, direct, strict=True)]))
    print(f"an epoch of digits: train_epoch {1e6 * median(direct) / LONG:.0f} µs, fit {middle:+.1f} %", end=" ")
    print(f"(half of {WATCHED} pairs between {low:+.1f} and {high:+.1f} %)")


def accuracy(folder: Path) -> None:
    model = load_target(str(DIGITS / "digits.py")).model
    model.update(optimizers.adam())
    module = runtime.load(generate(model, folder / "digits_kernels.py"))
    data, x_test, y_test = digits_data()
    runtime.fit(module, data, epochs=1)
    module.predict(module.initial_parameters(), x_test)
    found = []
    for seed in range(SEEDS):
        start = perf_counter()
        fit = runtime.fit(module, data, epochs=SHORT, batch_size=BATCH, seed=seed)
        seconds = perf_counter() - start
        found.append((float((module.predict(fit.parameters, x_test).argmax(axis=1) == y_test).mean()), seconds))
    shown = ", ".join(f"{100 * a:.2f}" for a, _ in found)
    print(f"digits by Adam, {SHORT} epochs: median {100 * median(a for a, _ in found):.2f} % ({shown}), ", end="")
    print(f"{median(s for _, s in found):.2f} s")


def main() -> None:
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        parts = {
            "updates": lambda: updates(Path(folder)),
            "overhead": overhead,
            "accuracy": lambda: accuracy(Path(folder)),
        }
        for part in sys.argv[1:] or parts:
            parts[part]()


if __name__ == "__main__":
    main()
