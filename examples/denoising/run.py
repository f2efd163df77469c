"""Denoise scanned digits by SciPy's L-BFGS-B: `python examples/denoising/run.py`.

The image is four of scikit-learn's digits. Each of their pixels counts the ink in 4×4 pixels of the scan: enlarged by
4, they have the scan's size again, and the flat parts and edges for which total variation is made. At their own 8×8
pixels they have neither, and a Gaussian filter does about as well.
"""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from sklearn.datasets import load_digits

from derivgen import runtime

NOISE, WEIGHT, EPSILON = 0.2, 0.15, 0.01


def scanned_digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The image, values 0 .. 1, and the same with normal noise: both (64, 64)."""
    digits = load_digits().images[:4] / 16
    clean = np.kron(np.block([[digits[0], digits[1]], [digits[2], digits[3]]]), np.ones((4, 4)))
    return clean, clean + NOISE * np.random.default_rng(seed).standard_normal(clean.shape)


def denoise(noisy: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The image that minimizes the objective, the minimum, and the iterations taken."""
    module = runtime.load(Path(__file__).with_name("denoising_kernels.py"))
    result = minimize(
        module.loss_and_gradient,
        noisy.ravel(),
        args=(noisy, WEIGHT, EPSILON),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-7, "maxiter": 10_000, "maxfun": 20_000},
    )
    return result.x.reshape(noisy.shape), float(result.fun), result.nit


def signal_to_noise(image: np.ndarray, clean: np.ndarray) -> float:
    """The peak signal-to-noise ratio in dB; the peak is 1."""
    return float(-10 * np.log10(np.mean((image - clean) ** 2)))


def main(seed: int = 0) -> tuple[float, float, float]:
    """The ratios of the noisy image, of the Gaussian filter that is best for this image, and of the minimum."""
    clean, noisy = scanned_digits(seed)
    denoised, minimum, iterations = denoise(noisy)
    before, after = signal_to_noise(noisy, clean), signal_to_noise(denoised, clean)
    filtered = max(signal_to_noise(gaussian_filter(noisy, sigma), clean) for sigma in np.arange(0.1, 3, 0.1))
    print(f"objective {minimum:.6f} after {iterations} iterations")
    print(f"peak signal-to-noise ratio: {before:.2f} → {after:.2f} dB; a Gaussian filter reaches {filtered:.2f} dB")
    return before, filtered, after


if __name__ == "__main__":
    main()
