"""The digits network as a person would write it in numba: what the generated epoch is measured against.

64 → 32 (tanh) → 10, softmax cross-entropy, float32, plain gradient descent; buffers made once, contractions by BLAS,
everything between them in fused loops, the whole epoch one compiled call.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

real = np.float32
kernel = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})


@kernel
def forward(x, W1, b1, W2, b2, a1, z2):
    np.dot(x, W1, a1)
    for n in range(a1.shape[0]):
        for h in range(32):
            a1[n, h] = math.tanh(a1[n, h] + b1[h])
    np.dot(a1, W2, z2)
    for n in range(z2.shape[0]):
        for c in range(10):
            z2[n, c] += b2[c]


@kernel
def loss_and_adjoint(z2, y):
    """The loss; z2 becomes its adjoint."""
    loss = real(0)
    scale = real(1) / real(z2.shape[0])
    for n in range(z2.shape[0]):
        largest = z2[n, 0]
        for c in range(1, 10):
            largest = max(largest, z2[n, c])
        loss += largest - z2[n, y[n]]
        total = real(0)
        for c in range(10):
            z2[n, c] = math.exp(z2[n, c] - largest)
            total += z2[n, c]
        loss += math.log(total)
        for c in range(10):
            z2[n, c] *= scale / total
        z2[n, y[n]] -= scale
    return loss * scale


@kernel
def backward(x, W2, a1, z2, a1_bar, W1_bar, b1_bar, W2_bar, b2_bar):
    b2_bar[:] = 0
    for n in range(z2.shape[0]):
        for c in range(10):
            b2_bar[c] += z2[n, c]
    np.dot(a1.T, z2, W2_bar)
    np.dot(z2, W2.T, a1_bar)
    b1_bar[:] = 0
    for n in range(a1.shape[0]):
        for h in range(32):
            adjoint = a1_bar[n, h] * (real(1) - a1[n, h] * a1[n, h])
            a1_bar[n, h] = adjoint
            b1_bar[h] += adjoint
    np.dot(x.T, a1_bar, W1_bar)


@kernel
def split(flat):
    return flat[0:2048].reshape(64, 32), flat[2048:2080], flat[2080:2400].reshape(32, 10), flat[2400:2410]


@kernel
def epoch(parameters, gradient, order, batch_size, x, y, xs, ys, a1s, z2s, a1_bars, learning_rate):
    """Mean loss over the steps, weighted by their rows."""
    W1, b1, W2, b2 = split(parameters)
    W1_bar, b1_bar, W2_bar, b2_bar = split(gradient)
    total = real(0)
    for start in range(0, order.shape[0], batch_size):
        rows = min(batch_size, order.shape[0] - start)
        for n in range(rows):
            xs[n, :] = x[order[start + n], :]
            ys[n] = y[order[start + n]]
        forward(xs[:rows], W1, b1, W2, b2, a1s[:rows], z2s[:rows])
        loss = loss_and_adjoint(z2s[:rows], ys[:rows])
        backward(xs[:rows], W2, a1s[:rows], z2s[:rows], a1_bars[:rows], W1_bar, b1_bar, W2_bar, b2_bar)
        for i in range(parameters.shape[0]):
            parameters[i] -= learning_rate * gradient[i]
        total += real(rows) * loss
    return total / real(order.shape[0])


def buffers(rows: int) -> tuple[np.ndarray, ...]:
    """What `epoch` takes between the data and the learning rate, for batches of so many rows."""
    shapes = ((rows, 64), (rows,), (rows, 32), (rows, 10), (rows, 32))
    return tuple(np.empty(shape, np.int64 if len(shape) == 1 else real) for shape in shapes)
