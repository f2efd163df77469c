"""Learn exclusive or from its four patterns by full-batch gradient descent: `python examples/xor/run.py`."""

from pathlib import Path

import numpy as np

from derivgen import runtime

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([0, 1, 1, 0], np.float32)
STEPS, LEARNING_RATE = 5000, 0.5


def main(seed: int = 0) -> np.ndarray:
    """The four outputs after training."""
    module = runtime.load(Path(__file__).with_name("xor_kernels.py"))
    parameters = module.initial_parameters(seed)
    losses = module.descend(parameters, module.optimizer_state(), STEPS, x=X, y=Y, learning_rate=LEARNING_RATE)
    outputs = module.predict(parameters, X)
    print(f"loss {losses[0]:.4f} → {losses[-1]:.4f} in {STEPS} steps")
    for pattern, target, output in zip(X, Y, outputs, strict=True):
        print(f"{pattern[0]:.0f} xor {pattern[1]:.0f} = {target:.0f}: {output:.3f}")
    return outputs


if __name__ == "__main__":
    main()
