"""One step of gradient descent on two samples, checked by hand: `python examples/first_steps/run.py`.

By hand, with x = [[1, 2], [3, 4]], y = [5, 6], W = [0.5, 0.5], b = 0.1 and N = 2:

    z = x·W + b        = [1.6, 3.6]
    a = tanh(z)        = [0.92166855, 0.99850794]
    a - y              = [-4.07833145, -5.00149206]
    loss = Σ(a - y)²/N = (16.63278738 + 25.01492280) / 2 = 20.82385509
    δ = 2/N·(a - y)·(1 - a²)
                       = [-4.07833145·0.15052708, -5.00149206·0.00298189] = [-0.61389931, -0.01491389]
    W_bar = xᵀ·δ       = [1·δ₁ + 3·δ₂, 2·δ₁ + 4·δ₂] = [-0.65864099, -1.28745419]
    b_bar = δ₁ + δ₂    = -0.62881320
    W - 0.1·W_bar      = [0.56586410, 0.62874542]
    b - 0.1·b_bar      = 0.16288132

The gradients are negative: both predictions are too small, and the step makes W and b larger. A walk-through that
leaves out (1 - a²), or the sign of (a - y), gets another step; (1 - a²) is what makes the second, saturated sample
count for so little.
"""

from pathlib import Path

import numpy as np

from derivgen import runtime

X, Y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]])
LEARNING_RATE = 0.1


def main() -> None:
    module = runtime.load(Path(__file__).with_name("first_steps_kernels.py"))
    parameters = module.initial_parameters()
    loss, gradient = module.loss_and_gradient(parameters, x=X, y=Y)
    module.update(parameters, gradient, module.optimizer_state(), learning_rate=LEARNING_RATE)
    print(f"loss   {loss:.8f}")
    for name, values in module.views(gradient).items():
        print(f"{name}_bar  {np.array2string(values.ravel(), precision=8)}")
    for name, values in module.views(parameters).items():
        print(f"{name}      {np.array2string(values.ravel(), precision=8)}")


if __name__ == "__main__":
    main()
