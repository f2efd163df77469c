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

The gradients are negative: both predictions are too small, and the step makes W and b larger. (1 - a²) is what makes
the second, saturated sample count for so little. After the step the loss is 20.65009732.

What walk-throughs of backpropagation often get wrong, with the figure that shows it here:

- The bias has a gradient too; a step of W alone ends at a loss of 20.66989761.
- The step goes against the gradient; along it, the loss rises to 21.19704217.
- δ is the derivative with respect to z, -0.61389931 for the first sample, not with respect to a, which is -4.07833145
  and would make the first element of W_bar -19.08280762.
- The derivative of tanh at z is 1 - a² = 0.15052708, because a is tanh(z) already; 1 - tanh(a)² = 0.47192774 applies
  tanh twice, and a·(1 - a) = 0.07219563 is the derivative of the logistic function, σ′(z) = a·(1 - a), not of tanh.
- A layer below, if there was one, would get δ·W with the W of the forward pass, -0.61389931·0.5 = -0.30694965; all
  gradients are computed before any weight is updated, since with the new W it would be -0.34738358.
- In the same way the δ of that layer has W as a factor: with the new W it is 1.13172820 times what it should be, and so
  is all that follows from it further below.
- The loss and its gradient belong together: without the 1/N of the mean the first element of W_bar is -1.31728198, and
  with half the mean it is -0.32932050; each is right, for its own loss.
- Rounding belongs at the end: with a rounded to [0.92, 1.00], δ would be [-0.62668800, 0.00000000], and the second
  sample would count for nothing.
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
