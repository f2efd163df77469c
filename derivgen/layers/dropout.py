"""Layers that draw in training."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import is_tensor, number


def dropout(x: TensorSymbol, rate: float | sp.Expr, *, name: str) -> Any:
    """In training 0 with probability `rate`, otherwise x/(1 - rate); in evaluation x. As torch.nn.Dropout."""
    if not is_tensor(x, "dropout", range(1, 100), "(batch, …)"):
        return x
    model, i = x.model, x.model.local_indices(*x.shape)
    rate = probability(model, f"dropout {name}", "rate", rate)
    drawn = model.random(f"{name}_random", *x.shape)
    kept = sp.Piecewise((x[i] / (1 - rate), drawn[i] >= rate), (0, True))
    return model.let(name, i, sp.Piecewise((kept, sp.Eq(model.training, 1)), (x[i], True)))


def probability(model: Model, layer: str, what: str, rate: Any) -> sp.Expr:
    """An argument that must be the probability of a zero, but not 1; 0 where it is not."""
    return number(model, layer, what, rate, "at least 0 and less than 1", lambda v: 0 <= v < 1, 0)
