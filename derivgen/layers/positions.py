"""What tells attention where in a sequence an element stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import described, fixed, is_tensor, positive


def sinusoidal_positions(x: TensorSymbol, *, name: str, base: float = 10000.0) -> Any:
    """x + table, where the table has sin(t / base^(2i / features)) at feature 2i and its cosine at 2i + 1.

    Input and output are (batch, time, features); the table is the constant `<name>_table` (time, features). Source:
    Vaswani et al. 2017.
    """
    if not is_tensor(x, "sinusoidal_positions", range(3, 4), "(batch, time, features)"):
        return x
    sizes = sizes_of(x, "sinusoidal_positions")
    if sizes is None:
        return x
    base = base_of(x.model, "sinusoidal_positions", base)
    _n, t, i = at = x.model.local_indices(*x.shape, letters="nti")
    sine, cosine = (f(angle(t, pair, sizes[1], base)) for f, pair in ((sp.sin, i / 2), (sp.cos, (i - 1) / 2)))
    table = x.model.constant(f"{name}_table", (t, i), sp.Piecewise((sine, sp.Eq(i % 2, 0)), (cosine, True)))
    return x.model.let(name, at, x[at] + table[t, i])


def rotary_positions(x: TensorSymbol, *, name: str, base: float = 10000.0) -> Any:
    """Each pair of features turned by the angle t / base^(2i / features): (batch, time, …, features), features even.

    Pairs are neighbours; the constants `<name>_cos` and `<name>_sin` are (time, features / 2). Source: Su et al. 2021.
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
    x: TensorSymbol,
    other: TensorSymbol,
    layer: str,
    name: str,
    base: float = 10000.0,
    past: Sequence[TensorSymbol] = (),
) -> tuple[TensorSymbol, TensorSymbol] | None:
    """The constants `<name>_cos` and `<name>_sin` for two tensors' steps, which begin after those of past tensors.

    None after a refusal.
    """
    model = x.model
    if fixed(model, x.shape[-1]).is_odd:
        model.problem(f"{layer} turns pairs of features, found an odd number of them: {described(x)}")
        return None
    sizes = [found for each in (x, other, *past) if (found := sizes_of(each, layer)) is not None]
    if len(sizes) < 2 + len(past):
        return None
    (time, features), start = max(sizes[:2]), sum(steps for steps, _ in sizes[2:])
    t, i = at = model.local_indices(time, features // 2, letters="ti")
    turn = angle(t + start, i, features, base_of(model, layer, base))
    return model.constant(f"{name}_cos", at, sp.cos(turn)), model.constant(f"{name}_sin", at, sp.sin(turn))


def sizes_of(x: TensorSymbol, layer: str) -> tuple[int, int] | None:
    """(time, features); None where they are not fixed at generation."""
    time, features = fixed(x.model, x.shape[1]), fixed(x.model, x.shape[-1])
    if not (time.is_Integer and features.is_Integer):
        x.model.problem(f"{layer} needs time and features known at generation, found {described(x)}: use model.sizes")
        return None
    return int(time), int(features)


def base_of(model: Model, layer: str, base: float) -> float:
    return float(positive(model, layer, "base", base))


def angle(t: Any, i: Any, features: int, base: float) -> sp.Expr:
    """t / base^(2i / features), in exact numbers."""
    return t / sp.Rational(base) ** (2 * i / sp.Integer(features))
