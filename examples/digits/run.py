"""Train the digits kernels and print the accuracy on images that were held out: `python examples/digits/run.py`.

The folder `cortex_m` trains the same model in C, on an emulated microcontroller.
"""

import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from derivgen import runtime

EPOCHS, BATCH_SIZE, LEARNING_RATE = 100, 32, 0.2


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (rows, 64) scaled to 0 .. 1 and labels, for training and for testing."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, labels, test_size=0.2, random_state=0)
    return x_train, y_train, x_test, y_test


def main(seed: int = 0, progress: bool = True) -> float:
    """Accuracy on the held-out images."""
    x_train, y_train, x_test, y_test = split_digits()
    module = runtime.load(Path(__file__).with_name("digits_kernels.py"))
    start = time.perf_counter()
    fit = runtime.fit(
        module,
        {"x": x_train, "y": y_train},
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        seed=seed,
        progress=progress,
    )
    accuracy = float((module.predict(fit.parameters, x_test).argmax(axis=1) == y_test).mean())
    print(f"test accuracy: {100 * accuracy:.2f} % in {time.perf_counter() - start:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
