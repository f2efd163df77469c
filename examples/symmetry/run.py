"""Learn which rows of six bits are their own mirror image, and look at the weights: `python examples/symmetry/run.py`.

The solution is the paper's: to each hidden unit, bits that mirror one another have weights of equal size and opposite
sign, so that a symmetric row gives 0 and leaves both units off by their biases; the sizes are as 1 : 2 : 4, so that no
other row gives 0. The two units have opposite weights, and one of them is on for any row that is not symmetric.
"""

from itertools import product
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from derivgen import runtime

X = np.array([*product([0, 1], repeat=6)], np.float32)
Y = (X[:, ::-1] == X).all(axis=1).astype(np.float32)
SEEDS, SWEEPS = 20, 1425  # the paper reports 1,425 sweeps of one network
LONGER = 20_000


class Learned(NamedTuple):
    """Outputs of the 64 rows, (64,); weights from bits to hidden units, (6, 2); the biases of these, (2,)."""

    outputs: np.ndarray
    weights: np.ndarray
    biases: np.ndarray

    @property
    def right(self) -> bool:
        return bool(((self.outputs > 0.5) == Y).all())

    @property
    def ratios(self) -> np.ndarray:
        """Half the differences of mirrored bits' weights in size, each unit's in rising order, by the first: (3, 2)."""
        sizes = np.sort(np.abs(self.weights[:3] - self.weights[:2:-1]) / 2, axis=0)
        return sizes / sizes[0]


def learn(module: ModuleType, seed: int, sweeps: int) -> Learned:
    parameters = module.initial_parameters(seed)
    module.descend(parameters, module.optimizer_state(), sweeps, x=X, y=Y)
    views = module.views(parameters)
    return Learned(module.predict(parameters, X), views["W1"], views["b1"])


def main() -> list[Learned]:
    """The networks that have learned it in SWEEPS sweeps."""
    module = runtime.load(Path(__file__).with_name("symmetry_kernels.py"))
    for sweeps in (LONGER, SWEEPS):
        learned = [one for one in (learn(module, seed, sweeps) for seed in range(SEEDS)) if one.right]
        print(f"after {sweeps} sweeps {len(learned)} of {SEEDS} networks have all 64 rows right")
    for h in range(2):
        weights = "  ".join(f"{w:6.2f}" for w in learned[0].weights[:, h])
        ratios = " : ".join(f"{ratio:.2f}" for ratio in learned[0].ratios[:, h])
        print(f"hidden unit {h + 1}: {weights}, bias {learned[0].biases[h]:.2f}; sizes as {ratios}")
    return learned


if __name__ == "__main__":
    main()
