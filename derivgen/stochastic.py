"""Layers that differ between training and evaluation: dropout, batch normalization."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.model import TensorSymbol


def dropout(x: TensorSymbol, rate: float, *, name: str) -> Any:
    """In training 0 with probability `rate`, else x/(1 - rate); in evaluation x. As torch.nn.Dropout."""
    model, i = x.model, x.model.local_indices(*x.shape)
    if not 0 <= rate < 1:
        model.problem(f"dropout {name}: rate must be at least 0 and less than 1, found {rate!r}")
        rate = 0
    drawn = model.random(f"{name}_random", *x.shape)
    kept = sp.Piecewise((x[i] / (1 - rate), drawn[i] >= rate), (0, True))
    return model.let(name, i, sp.Piecewise((kept, sp.Eq(model.training, 1)), (x[i], True)))


def batch_norm(x: TensorSymbol, *, name: str, momentum: float = 0.1, epsilon: float = 1e-5) -> Any:
    """gain·(x - mean)/√(variance + epsilon) + shift by channel, which is axis 1 of images and the last of other tensors.

    In training with the batch's mean and variance, in evaluation with running ones, of which a step makes up the part
    `momentum`. As torch.nn.BatchNorm, whose running variance is the unbiased one too. Sources: Ioffe and Szegedy 2015.
    """
    model, axis = x.model, 1 if len(x.shape) >= 4 else len(x.shape) - 1
    i, size = model.local_indices(*x.shape), x.shape[axis]
    c, rest, count = i[axis], (*i[:axis], *i[axis + 1 :]), sp.Mul(*x.shape[:axis], *x.shape[axis + 1 :])
    gain, shift = model.parameter(f"{name}_gain", size, init="ones"), model.parameter(f"{name}_shift", size)
    mean = model.let(f"{name}_mean", c, sp.Sum(x[i], *rest) / count)
    variance = model.let(f"{name}_variance", c, sp.Sum((x[i] - mean[c]) ** 2, *rest) / count)
    means = running_average(mean, momentum, 1, name=f"{name}_running_mean", init="zeros")
    variances = running_average(
        variance, momentum, count / sp.Max(count - 1, 1), name=f"{name}_running_variance", init="ones"
    )
    m, v = (
        sp.Piecewise((a[c], sp.Eq(model.training, 1)), (b[c], True)) for a, b in ((mean, means), (variance, variances))
    )
    deviation = model.let(f"{name}_deviation", c, sp.sqrt(v + epsilon))
    return model.let(name, i, gain[c] * (x[i] - m) / deviation[c] + shift[c])


def running_average(a: TensorSymbol, momentum: float, factor: sp.Expr | int, *, name: str, init: str) -> Any:
    """The running tensor r ← (1 - momentum)·r + momentum·factor·a."""

    def following(*i: sp.Expr) -> sp.Expr:
        return (1 - momentum) * average[i] + momentum * factor * a[i]

    average = a.model.running(name, *a.shape, init=init, next=following)
    return average
