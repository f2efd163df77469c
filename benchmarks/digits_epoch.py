"""One training epoch of the digits example, generated against hand-written: `python benchmarks/digits_epoch.py`.

Prints the medians over alternating runs and their ratio; batch 32, float32, one thread, warm.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import handwritten_digits
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from derivgen import runtime

KERNELS = Path(__file__).resolve().parent.parent / "examples" / "digits" / "digits_kernels.py"
ROUNDS, EPOCHS, BATCH = 21, 20, 32


def main() -> None:
    module = runtime.load(KERNELS)
    images, labels = load_digits(return_X_y=True)
    x, _, y, _ = train_test_split((images / 16).astype(np.float32), labels, test_size=0.2, random_state=0)
    order = np.random.default_rng(0).permutation(len(x))
    generated, written = module.initial_parameters(0), module.initial_parameters(0)
    state, gradient, rate = module.optimizer_state(), np.empty_like(written), np.float32(0.1)
    buffers = handwritten_digits.buffers(BATCH)

    def by_generator() -> float:
        return module.train_epoch(generated, state, order, BATCH, x, y, learning_rate=0.1)

    def by_hand() -> float:
        return float(handwritten_digits.epoch(written, gradient, order, BATCH, x, y, *buffers, rate))

    threadpool_limits(1)
    assert abs(by_generator() - by_hand()) < 1e-4
    times: dict[str, list[float]] = {"generated": [], "by hand": []}
    for _ in range(ROUNDS):
        for name, run in (("generated", by_generator), ("by hand", by_hand)):
            start = time.perf_counter()
            for _ in range(EPOCHS):
                run()
            times[name].append((time.perf_counter() - start) / EPOCHS)
    steps = -(-len(x) // BATCH)
    for name, values in times.items():
        print(f"{name:10} {median(values) * 1e6:8.1f} µs an epoch, {median(values) / steps * 1e6:6.2f} µs a step")
    ratios = [a / b for a, b in zip(times["generated"], times["by hand"], strict=True)]
    print(f"generated / by hand: {median(ratios):.2f} (median of {ROUNDS} pairs of {EPOCHS} epochs)")


if __name__ == "__main__":
    main()
