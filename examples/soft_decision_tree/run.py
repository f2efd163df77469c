"""Train the soft decision tree on scikit-learn's digits, and compare: `python examples/soft_decision_tree/run.py`.

The ordinary tree of the same depth asks for one pixel a node, the soft one for a weighted sum of all 64; that, and not
only its softness, is what makes it better.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from derivgen import runtime

DEPTH, EPOCHS, BATCH_SIZE = 4, 60, 64


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (rows, 64) scaled to 0 .. 1 and labels, for training and for testing."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, labels, test_size=0.2, random_state=0)
    return x_train, y_train, x_test, y_test


def main(seed: int = 0) -> tuple[float, float, float]:
    """Accuracy on held-out images: of the soft tree, of an ordinary one of the same depth, of one of any depth."""
    x_train, y_train, x_test, y_test = split_digits()
    module = runtime.load(Path(__file__).with_name("soft_decision_tree_kernels.py"))
    fit = runtime.fit(module, {"x": x_train, "y": y_train}, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=seed)
    soft = float((module.predict(fit.parameters, x_test).argmax(axis=1) == y_test).mean())
    same, deep = (
        DecisionTreeClassifier(max_depth=depth, random_state=seed).fit(x_train, y_train).score(x_test, y_test)
        for depth in (DEPTH, None)
    )
    print(f"soft tree of depth {DEPTH}: {100 * soft:.2f} %")
    print(f"tree of depth {DEPTH}: {100 * same:.2f} %, of any depth: {100 * deep:.2f} %")
    return soft, same, deep


if __name__ == "__main__":
    main()
