"""The two smallest workloads as one would write them for speed alone: what the generated epochs are measured against.

2 → 16 (tanh) → 2 with softmax cross-entropy, and a logistic regression of 30 features; float32, plain gradient descent.
Every liberty of a person who knows the network is taken: of two classes only the difference of the logits counts; a
sigmoid is a tanh, and the losses' logarithms are one of a product; tanh is good to 5e-7, not to the last digit; the
logistic regression reads its rows where they are. Arguments, rows and labels are checked before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.generic]
real = np.float32
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
kernel = njit(**OPTIONS)
inlined = njit(forceinline=True, **OPTIONS)


@inlined
def tanh(u):
    """tanh u by a quotient of polynomials, which beyond 7.95 is 1."""
    w = max(min(u, real(7.95)), real(-7.95))
    t = w * w
    above = ((real(1.1480051e-05) * t + real(0.0029557527)) * t + real(0.12930049)) * t + real(0.9999999)
    below = (real(2.4758245e-07) * t + real(0.00023934050)) * t + real(0.023834849)
    return w * above / ((below * t + real(0.46263269)) * t + real(1))


@kernel
def epoch_2_16_2(parameters, order, batch_size, x, y, work, learning_rate):
    """(whether a row or a label is out of range, else the mean loss); the batch is the last axis throughout."""
    for i in range(order.shape[0]):
        if order[i] < 0 or order[i] >= x.shape[0] or y[order[i]] < 0 or y[order[i]] > 1:
            return True, real(0)
    gradient = np.empty_like(parameters)
    total = real(0)
    for start in range(0, order.shape[0], batch_size):
        rows = min(batch_size, order.shape[0] - start)
        total += real(rows) * step_2_16_2(parameters, gradient, order[start : start + rows], x, y, work)
        for i in range(parameters.shape[0]):
            parameters[i] -= learning_rate * gradient[i]
    return False, total / real(order.shape[0])


@kernel
def step_2_16_2(theta, bar, order, x, y, work):
    """The loss of a batch, and its gradient: W1 (2, 16), b1, W2 (16, 2), b2."""
    N = order.shape[0]
    x0, x1, sign, d, d_bar = work[0, :N], work[1, :N], work[2, :N], work[3, :N], work[4, :N]
    for n in range(N):
        row = order[n]
        x0[n], x1[n] = x[row, 0], x[row, 1]
        sign[n] = real(2 * y[row] - 1)
        d[n] = theta[81] - theta[80]
    for h in range(16):
        a = work[5 + h, :N]
        v = theta[49 + 2 * h] - theta[48 + 2 * h]
        for n in range(N):
            a[n] = tanh(theta[h] * x0[n] + theta[16 + h] * x1[n] + theta[32 + h])
            d[n] += v * a[n]
    loss, b_bar = logistic_loss(d, sign, d_bar)
    bar[80], bar[81] = -b_bar, b_bar
    for h in range(16):
        a = work[5 + h, :N]
        v = theta[49 + 2 * h] - theta[48 + 2 * h]
        first = second = bias = out = real(0)
        for n in range(N):
            out += a[n] * d_bar[n]
            s = v * d_bar[n] * (real(1) - a[n] * a[n])
            first += x0[n] * s
            second += x1[n] * s
            bias += s
        bar[h], bar[16 + h], bar[32 + h] = first, second, bias
        bar[48 + 2 * h], bar[49 + 2 * h] = -out, out
    return loss


@kernel
def epoch_logistic(parameters, order, batch_size, x, y, work, learning_rate):
    """(whether a row is out of range, else the mean loss)"""
    for i in range(order.shape[0]):
        if order[i] < 0 or order[i] >= x.shape[0]:
            return True, real(0)
    total = real(0)
    for start in range(0, order.shape[0], batch_size):
        rows = min(batch_size, order.shape[0] - start)
        total += real(rows) * step_logistic(parameters, order[start : start + rows], x, y, work, learning_rate)
    return False, total / real(order.shape[0])


@kernel
def step_logistic(theta, order, x, y, work, learning_rate):
    """The loss of a batch; the weights, 30 and a bias, take their step as the gradient arises, four rows at a time."""
    N, D = order.shape[0], x.shape[1]
    z, sign, z_bar, W = work[0, :N], work[1, :N], work[2, :N], theta[:30]
    for n in range(N):
        row = order[n]
        s = theta[30]
        for d in range(D):
            s += W[d] * x[row, d]
        z[n] = s
        sign[n] = real(2) * y[row] - real(1)
    loss, b_bar = logistic_loss(z, sign, z_bar)
    theta[30] -= learning_rate * b_bar
    for n in range(N):
        z_bar[n] *= learning_rate
    for n in range(0, N - 3, 4):
        i, j, k, m = order[n], order[n + 1], order[n + 2], order[n + 3]
        for d in range(D):
            W[d] -= (z_bar[n] * x[i, d] + z_bar[n + 1] * x[j, d]) + (z_bar[n + 2] * x[k, d] + z_bar[n + 3] * x[m, d])
    for n in range(N - N % 4, N):
        for d in range(D):
            W[d] -= z_bar[n] * x[order[n], d]
    return loss


@inlined
def logistic_loss(z, sign, z_bar):
    """(mean of log(1 + e^-sign·z), the sum of z_bar); fills z_bar."""
    scale = real(0.5) / real(z.shape[0])
    linear = total = real(0)
    logarithms = real(0)
    for start in range(0, z.shape[0], 64):
        product = real(1)
        for n in range(start, min(start + 64, z.shape[0])):
            u = sign[n] * z[n]
            t = tanh(real(0.5) * u)
            z_bar[n] = scale * sign[n] * (t - real(1))
            total += z_bar[n]
            linear += max(real(0), -u)
            product *= real(0.5) + real(0.5) * abs(t)  # 1/(1 + e^-|u|), from ½ to 1: 64 of them do not underflow
        logarithms += math.log(product)
    return (linear - logarithms) / real(z.shape[0]), total


# ---- what callers use

TrainEpoch = Callable[..., float]


def checked(epoch: Callable[..., Any], parameters: int, features: int, labels: type, buffers: int) -> TrainEpoch:
    """The epoch as a function of (parameters, order, batch_size, x, y, learning_rate), with a look at each of them."""
    kept: dict[int, Array] = {}

    def train_epoch(theta: Array, order: Array, batch_size: int, x: Array, y: Array, learning_rate: float) -> float:
        fits = theta.shape == (parameters,) and x.ndim == 2 and x.shape[1] == features and y.shape == x.shape[:1]
        typed = theta.dtype == real and x.dtype == real and y.dtype == labels and order.dtype == np.int64
        contiguous = theta.flags.c_contiguous and x.flags.c_contiguous and y.flags.c_contiguous
        if not (fits and typed and contiguous and order.ndim == 1 and order.shape[0] > 0 and batch_size > 0):
            raise ValueError("an argument does not fit")
        work = kept.get(batch_size)
        if work is None:
            work = kept[batch_size] = np.empty((buffers, batch_size), real)
        refused, mean = epoch(theta, order, batch_size, x, y, work, real(learning_rate))
        if refused:
            raise ValueError("a row number or a label is out of range")
        return float(mean)

    return train_epoch


# By the name of the workload.
EPOCHS = {
    "2-16-2": checked(epoch_2_16_2, 82, 2, np.int64, 21),
    "logistic 30": checked(epoch_logistic, 31, 30, real, 3),
}
