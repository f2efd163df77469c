"""Predict hidden pixels of scikit-learn's digits: `python examples/matrix_factorization/run.py`.

The 1,797 images are the users, the 64 pixels the items, and 70 % of the ratings are hidden. The penalty was chosen on a
tenth of the known ratings. The SVD that it is compared with has the rank that is best on the hidden ratings.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from derivgen import runtime

HIDDEN, PENALTY = 0.7, 0.03
EPOCHS, BATCH_SIZE, LEARNING_RATE = 60, 256, 0.003


def hide_pixels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratings (1797, 64), values 0 .. 1, and which of them are known."""
    ratings = load_digits().data / 16
    return ratings, np.random.default_rng(seed).random(ratings.shape) >= HIDDEN


def complete(ratings: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
    """Predictions of all ratings from the known ones."""
    module = runtime.load(Path(__file__).with_name("matrix_factorization_kernels.py"))
    user, item = np.nonzero(known)
    rating = ratings[known].astype(np.float32)
    mean = rating.mean()
    fit = runtime.fit(
        module,
        {"user": user, "item": item, "rating": rating, "mean": mean, "penalty": PENALTY},
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        seed=seed,
    )
    users, items = np.indices(ratings.shape)
    return module.predict(fit.parameters, users.ravel(), items.ravel(), mean).reshape(ratings.shape)


def pixel_means(ratings: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each pixel's mean over the images in which it is known, for all images."""
    return np.broadcast_to(np.mean(ratings, axis=0, where=known), ratings.shape)


def truncated_svd(ratings: np.ndarray, known: np.ndarray, rank: int) -> np.ndarray:
    """The best approximation of this rank to the matrix whose hidden ratings are their pixels' means."""
    means = pixel_means(ratings, known)
    left, values, right = np.linalg.svd(np.where(known, ratings, means) - means, full_matrices=False)
    return means + left[:, :rank] * values[:rank] @ right[:rank]


def main(seed: int = 0) -> tuple[float, float, float]:
    """Root mean square errors on the hidden ratings: of the means, the best truncated SVD, and the factorization."""
    ratings, known = hide_pixels(seed)

    def error(predictions: np.ndarray) -> float:
        return float(np.sqrt(np.mean((predictions - ratings) ** 2, where=~known)))

    by_means = error(pixel_means(ratings, known))
    by_svd = min(error(truncated_svd(ratings, known, rank)) for rank in range(1, 17))
    factorized = error(complete(ratings, known, seed))
    print(f"error on hidden pixels: {factorized:.4f}; truncated SVD {by_svd:.4f}, pixel means {by_means:.4f}")
    return by_means, by_svd, factorized


if __name__ == "__main__":
    main()
