"""What surrounds a tensor, as a let of its own: what reads that needs no guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import fixed
from derivgen.layers.windows import PLACES, arranged, spatial_axes

MODES = ("zeros", "reflect", "replicate", "circular")

# The names of the spatial axes, by their number.
WORDS = {1: ("time",), 2: ("rows", "columns"), 3: ("depth", "rows", "columns")}


def padded(
    x: TensorSymbol, name: str, around: Mapping[int, tuple[int, int]], letters: str, fill: sp.Expr = sp.S.Zero
) -> TensorSymbol:
    """The tensor with so many elements `fill` before and after some axes, as a let of its own: what reads that needs
    no guard. Negative numbers cut off. The tensor itself where nothing changes.
    """
    if not any(any(added) for added in around.values()):
        return x
    grown = [size + sum(around.get(axis, ())) for axis, size in enumerate(x.shape)]
    at = x.model.local_indices(*grown, letters=letters)
    return x.model.let(name, at, surrounded(x, at, around, fill))


def surrounded(
    x: TensorSymbol, at: Sequence[sp.Expr], around: Mapping[int, tuple[int, int]], fill: sp.Expr = sp.S.Zero
) -> sp.Expr:
    """The element of the tensor so surrounded, under a guard where `at` may lie outside of the tensor."""
    return guarded(lambda source: x[source], x.shape, at, around, fill)


def guarded(
    read: Callable[[tuple[sp.Expr, ...]], sp.Expr],
    sizes: Sequence[Any],
    at: Sequence[sp.Expr],
    around: Mapping[int, tuple[int, int]],
    fill: sp.Expr = sp.S.Zero,
) -> sp.Expr:
    """The same of what `read` gives at places within these sizes."""
    source, inside = list(at), []
    for axis, (before, after) in around.items():
        source[axis] -= before
        inside += [at[axis] >= before] if before > 0 else []
        inside += [at[axis] < before + sizes[axis]] if after > 0 else []
    value = read(tuple(source))
    return sp.Piecewise((value, sp.And(*inside)), (fill, True)) if inside else value


def with_margins(
    x: TensorSymbol, name: str, arounds: Sequence[tuple[int, int]], fill: sp.Expr = sp.S.Zero, mode: str = "zeros"
) -> TensorSymbol:
    """The tensor with its margins, one pair for each spatial axis: of `fill`, or continued in a mode."""
    if mode != "zeros":
        return continued(x, f"{name}_padded", arounds, mode)
    around = dict(zip(spatial_axes(x), arounds, strict=True))
    return padded(x, f"{name}_padded", around, letters_of(x), fill)


def letters_of(x: TensorSymbol) -> str:
    return "".join(arranged("n", "c", PLACES[len(x.shape) - 2]))


def continued(x: TensorSymbol, name: str, arounds: Sequence[tuple[int, int]], mode: str) -> TensorSymbol:
    """The tensor with margins that continue it, one spatial axis after another; the last one has the name itself."""
    words = WORDS[len(arounds)]
    changed = [k for k, around in enumerate(arounds) if any(around)]
    for k in changed:
        step = name if k == changed[-1] else f"{name}_{words[k]}"
        x = continued_along(x, step, spatial_axes(x)[k], arounds[k], mode)
    return x


def continued_along(x: TensorSymbol, name: str, axis: int, around: tuple[int, int], mode: str) -> TensorSymbol:
    """The tensor with elements of its own before and after one axis, of which a branch reads each."""
    (before, after), size = around, x.shape[axis]
    grown = [length + sum(around) * (k == axis) for k, length in enumerate(x.shape)]
    at = x.model.local_indices(*grown, letters=letters_of(x))
    place = at[axis]
    sources = sources_around(mode, place - before, size)
    ends = (place < before, place < before + size, sp.true)
    kept = [before > 0, True, after > 0]
    branches = [(x[(*at[:axis], s, *at[axis + 1 :])], end) for s, end, k in zip(sources, ends, kept, strict=True) if k]
    return x.model.let(name, at, sp.Piecewise(*branches[:-1], (branches[-1][0], True)))


def sources_around(mode: str, place: sp.Expr, size: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Which element stands at a place before the axis, on it, and behind it."""
    if mode == "reflect":
        return -place, place, 2 * (size - 1) - place
    if mode == "replicate":
        return sp.S.Zero, place, size - 1
    return place + size, place, place - size


def possible_mode(x: TensorSymbol, layer: str, mode: str, arounds: Sequence[tuple[int, int]]) -> str:
    """The mode; "zeros" where a margin is longer than what continues into it, which is noted."""
    sizes = [fixed(x.model, x.shape[axis]) for axis in spatial_axes(x)]
    most = [size - 1 if mode == "reflect" else size for size in sizes]
    needed = [(around, size) for around, size in zip(arounds, most, strict=True) if any(around)]
    if mode in ("zeros", "replicate") or all(is_enough(x.model, layer, mode, *each) for each in needed):
        return mode
    return "zeros"


def is_enough(model: Model, layer: str, mode: str, around: tuple[int, int], most: sp.Expr) -> bool:
    """Whether the margins are known to be no longer than that, noted if not."""
    if (most - max(around)).is_nonnegative:
        return True
    found, wanted = f'padding {max(around)} with the mode "{mode}"', f"must be at most {most}: make it smaller"
    unknown = f"needs a size known at generation, found at most {most}: use model.sizes"
    model.problem(f"{layer}: {found} {wanted if most.is_Integer else unknown}")
    return False
