"""Losses: scalar expressions for `model.minimize`, each the mean over the elements of its first argument's batch axes."""

from __future__ import annotations

import sympy as sp

from derivgen.model import TensorSymbol


def mean_squared_error(prediction: TensorSymbol, target: TensorSymbol) -> sp.Expr:
    """Mean of (prediction - target)² over all elements, as torch.nn.MSELoss."""
    indices = prediction.model.local_indices(*prediction.shape)
    return sp.Sum((prediction[indices] - target[indices]) ** 2, *indices) / sp.Mul(*prediction.shape)


def softmax_cross_entropy(logits: TensorSymbol, labels: TensorSymbol, *, name: str = "probabilities") -> sp.Expr:
    """Mean of -log softmax(logits)[label], classes last, as torch.nn.CrossEntropyLoss; the softmax is the let `name`."""
    model, (*batch, classes) = logits.model, logits.shape
    *rows, c = model.local_indices(*batch, classes)
    powers = sp.exp(logits[(*rows, c)])
    p = model.let(name, (*rows, c), powers / sp.Sum(powers, c))
    count: sp.Expr = sp.Mul(*batch)
    ignored = model.declarations[labels.name].ignore
    if ignored is not None:
        present = sp.Piecewise((1, sp.Ne(labels[tuple(rows)], ignored)), (0, True))
        count = sp.Sum(present, *rows)
    return sp.Sum(-sp.log(p[(*rows, labels[tuple(rows)])]), *rows) / count
