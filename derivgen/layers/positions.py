"""What tells attention where in a sequence an element stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivgen.declare.model import TensorSymbol
from derivgen.layers.checks import described, fixed, is_tensor, positive


def sinusoidal_positions(x: TensorSymbol, *, name: str, base: float = 10000.0) -> Any:
    """x + table, with sin(t / base^(2i / features)) at feature 2i and its cosine at 2i + 1: (batch, time, features).

    The table is the constant `<name>_table` (time, features). Source: Vaswani et al. 2017.
    """
    if not is_tensor(x, "sinusoidal_positions", range(3, 4), "(batch, time, features)"):
        return x
    angles = angles_of(x, "sinusoidal_positions", base)
    if angles is None:
        return x
    both = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(angles), -1)
    table = x.model.constant(f"{name}_table", both[:, : int(fixed(x.model, x.shape[-1]))])
    _n, t, i = at = x.model.local_indices(*x.shape, letters="nti")
    return x.model.let(name, at, x[at] + table[t, i])


def rotary_positions(x: TensorSymbol, *, name: str, base: float = 10000.0) -> Any:
    """Each pair of features turned by the angle t / base^(2i / features): (batch, time, …, features), an even number.

    Neighbours are pairs; the constants `<name>_cos` and `<name>_sin` are (time, features / 2). Source: Su et al. 2021.
    """
    if not is_tensor(x, "rotary_positions", range(3, 100), "(batch, time, …, features)"):
        return x
    tables = rotary_tables(x, x, "rotary_positions", name, base)
    return x if tables is None else turned(x, *tables, name)


def turned(x: TensorSymbol, cos: TensorSymbol, sin: TensorSymbol, name: str) -> Any:
    """Each pair of neighbours turned by the angle of its step, q being which one of the two an element is."""
    letters = "nthiq" if len(x.shape) == 4 else "ntiq"
    *rows, i, q = x.model.local_indices(*x.shape[:-1], cos.shape[1], 2, letters=letters)
    own, other = x[(*rows, 2 * i + q)], x[(*rows, 2 * i + 1 - q)]
    return x.model.let(name, (*rows, 2 * i + q), own * cos[rows[1], i] + (2 * q - 1) * other * sin[rows[1], i])


def rotary_tables(
    x: TensorSymbol, other: TensorSymbol, layer: str, name: str, base: float = 10000.0
) -> tuple[TensorSymbol, TensorSymbol] | None:
    """The constants `<name>_cos` and `<name>_sin` for two tensors' steps; None after a refusal."""
    model = x.model
    if fixed(model, x.shape[-1]).is_odd:
        model.problem(f"{layer} turns pairs of features, found an odd number of them: {described(x)}")
        return None
    tables = [angles_of(each, layer, base) for each in (x, other)]
    angles = max((t for t in tables if t is not None), key=len, default=None)
    if angles is None or any(t is None for t in tables):
        return None
    return model.constant(f"{name}_cos", np.cos(angles)), model.constant(f"{name}_sin", np.sin(angles))


def angles_of(x: TensorSymbol, layer: str, base: float) -> np.ndarray | None:
    """t / base^(2i / features), (time, features / 2 rounded up); None where time is not fixed at generation."""
    time, features = fixed(x.model, x.shape[1]), fixed(x.model, x.shape[-1])
    if not (time.is_Integer and features.is_Integer):
        x.model.problem(f"{layer} needs time and features known at generation, found {described(x)}: use model.sizes")
        return None
    frequencies = float(positive(x.model, layer, "base", base)) ** -(np.arange(0, int(features), 2) / int(features))
    return np.asarray(np.arange(int(time))[:, None] * frequencies)
