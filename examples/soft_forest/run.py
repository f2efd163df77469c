"""Train the soft forest on scikit-learn's digits, and compare: `python examples/soft_forest/run.py`.

Data and settings are those of examples/soft_decision_tree.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from derivgen import runtime

TREES, DEPTH, EPOCHS, BATCH_SIZE = 16, 4, 60, 64


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (rows, 64) scaled to 0 .. 1 and labels, for training and for testing."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, labels, test_size=0.2, random_state=0)
    return x_train, y_train, x_test, y_test


def main(seed: int = 0) -> tuple[float, float, float]:
    """Accuracy on held-out images: of the soft forest, of a random forest of the same size, of one of any depth."""
    x_train, y_train, x_test, y_test = split_digits()
    module = runtime.load(Path(__file__).with_name("soft_forest_kernels.py"))
    fit = runtime.fit(module, {"x": x_train, "y": y_train}, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=seed)
    soft = float((module.predict(fit.parameters, x_test).argmax(axis=1) == y_test).mean())
    same, deep = (
        RandomForestClassifier(TREES, max_depth=depth, random_state=seed).fit(x_train, y_train).score(x_test, y_test)
        for depth in (DEPTH, None)
    )
    print(f"soft forest, {TREES} trees of depth {DEPTH}: {100 * soft:.2f} %")
    print(f"random forest, {TREES} trees of depth {DEPTH}: {100 * same:.2f} %, of any depth: {100 * deep:.2f} %")
    return soft, same, deep


if __name__ == "__main__":
    main()
