"""Weights along the last axis, and weights by label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp
from numpy.typing import ArrayLike

from derivgen.activations import identity
from derivgen.declare.model import TensorSymbol
from derivgen.initializers import Initializer
from derivgen.layers.checks import function, is_tensor, whole_number
from derivgen.layers.weights import Parametrization, weights


def dense(
    x: TensorSymbol,
    units: int | sp.Expr,
    activation: Callable[[sp.Expr], sp.Expr] = identity,
    *,
    name: str,
    init: str | Initializer | ArrayLike = "glorot_uniform",
    bias: bool = True,
    parametrization: Parametrization | None = None,
) -> Any:
    """activation(x·W + b) along the last axis: (…, features) → (…, units).

    Weights `<name>_W` (features, units) and `<name>_b`. As keras.layers.Dense, with its initializers. parametrization:
    a function that makes the weights of `<name>_W`, such as weight_norm or spectral_norm.
    """
    if not is_tensor(x, "dense", range(1, 100), "(…, features)"):
        return x
    model, (*batch, features) = x.model, x.shape
    units = whole_number(model, "dense", "units", units)
    *rows, i, j = model.local_indices(*batch, features, units)
    W = weights(model, "dense", name, (features, units), 1, init, parametrization)
    z = sp.Sum(x[(*rows, i)] * W[i, j], i)
    if bias:
        z += model.parameter(f"{name}_b", units)[j]
    return model.let(name, (*rows, j), function(model, "dense", activation)(z))


def embedding(
    ids: TensorSymbol, features: int | sp.Expr, *, name: str, init: str | Initializer | ArrayLike = "uniform"
) -> Any:
    """The row W[id] for each id: labels (…) → (…, features); weights `<name>_W` (classes, features).

    As keras.layers.Embedding, with its initializer, and torch.nn.Embedding. The row of an ignored label is 0.
    """
    if not is_tensor(ids, "embedding", range(1, 100), "(…)"):
        return ids
    model, declared = ids.model, ids.model.declarations.get(ids.name)
    if declared is None or not declared.integer:
        model.problem(f"embedding expects ids declared by model.labels, or an integer constant, found {ids.name}")
        return ids
    classes = declared.classes if declared.value is None else int(declared.value.max()) + 1
    features = whole_number(model, "embedding", "features", features)
    *rows, j = model.local_indices(*ids.shape, features)
    W = model.parameter(f"{name}_W", classes, features, init=init)
    return model.let(name, (*rows, j), W[ids[tuple(rows)], j])
