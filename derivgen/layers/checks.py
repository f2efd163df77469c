"""What layers ask of their arguments: a refusal is noted at the spec's line, and an argument that will do given back.

So a spec goes on to its end, and all that is wrong with it is shown together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sympy as sp

from derivgen.activations import identity
from derivgen.declare.model import Model, TensorSymbol
from derivgen.declare.subscripts import is_integer


def is_tensor(x: Any, layer: str, ranks: range, axes: str) -> bool:
    """Whether the tensor has one of these ranks, noted if not; `axes` says which. TypeError where it is no tensor."""
    if not isinstance(x, TensorSymbol):
        raise TypeError(f"{layer} expects a tensor with axes {axes}, found {x!r}: define the expression by a let")
    if len(x.shape) in ranks:
        return True
    x.model.problem(
        f"{layer} expects a tensor with axes {axes}, found {described(x)}: reshape it, or use another layer"
    )
    return False


def described(x: TensorSymbol) -> str:
    """`x of shape (N, 3, 4)`"""
    return f"{x.name} of shape {tuple(x.shape)}"


def fixed(model: Model, size: Any) -> sp.Expr:
    """A size, as its integer where it is fixed at generation."""
    return sp.sympify(size).subs(model.fixed_sizes)


def equal_sizes(model: Model, a: Any, b: Any) -> bool:
    return bool(sp.expand(fixed(model, a) - fixed(model, b)) == 0)


def has_shape(x: TensorSymbol, shape: Sequence[Any]) -> bool:
    return len(x.shape) == len(shape) and all(equal_sizes(x.model, a, b) for a, b in zip(x.shape, shape, strict=True))


def shape_among(
    model: Model, layer: str, what: str, tensor: Any, shapes: Iterable[tuple[Any, ...]], advice: str = ""
) -> tuple[Any, ...] | None:
    """The first of these shapes that the tensor has; None where it has another one, or is no tensor, which is noted."""
    is_one = isinstance(tensor, TensorSymbol)
    if is_one and (found := next((shape for shape in shapes if has_shape(tensor, shape)), None)) is not None:
        return found
    possible, words = " or ".join(map(str, shapes)), described(tensor) if is_one else repr(tensor)
    model.problem(f"{layer}: {what} must be a tensor of shape {possible}, found {words}{advice}")
    return None


def are_lengths(model: Model, layer: str, lengths: Any, batch: Any) -> bool:
    """Whether these are labels, one for each row, which say how many steps it has; noted if not."""
    if shape_among(model, layer, "lengths", lengths, [(batch,)]) is None:
        return False
    if not lengths.is_integer:
        model.problem(f"{layer}: lengths must be declared by model.labels, found {described(lengths)}")
    return bool(lengths.is_integer)


def whole_number(model: Model, layer: str, what: str, value: Any, least: int = 1) -> int:
    """An argument that must be an integer of at least `least`; that one where it is not."""
    found = fixed(model, value) if isinstance(value, sp.Expr) else value
    if is_integer(found) and found >= least:
        return int(found)
    model.problem(f"{layer}: {what} must be an integer of at least {least}, found {value!r}")
    return least


def parts(model: Model, layer: str, what: str, value: Any, size: Any, of: str) -> int:
    """An argument that must divide a size; 1 where it does not."""
    count, whole = whole_number(model, layer, what, value), fixed(model, size)
    if count == 1 or (whole.is_Integer and whole % count == 0):
        return count
    model.problem(f"{layer}: {what} must divide the {of}, found {value} for {size}: change one of them")
    return 1


def divided(model: Model, size: Any, count: int) -> Any:
    """A size by a number of parts."""
    return size if count == 1 else fixed(model, size) / count


def positive(model: Model, layer: str, what: str, value: Any) -> sp.Expr:
    """An argument that must be a positive number; 1 where it is not."""
    return number(model, layer, what, value, "a positive number", lambda v: 0 < v < sp.oo, 1)


def number(
    model: Model, layer: str, what: str, value: Any, expected: str, holds: Callable[[Any], bool], otherwise: int
) -> sp.Expr:
    """An argument that must be a number of which something holds; `otherwise` where it is not."""
    if isinstance(value, int | float | sp.Number) and not isinstance(value, bool) and holds(value):
        return sp.sympify(value)
    model.problem(f"{layer}: {what} must be {expected}, found {value!r}")
    return sp.Integer(otherwise)


def plain(value: sp.Expr) -> sp.Expr:
    """A number as formulas should show it: 2.0 as 2."""
    return sp.Integer(int(value)) if value == int(value) else value


def function(model: Model, layer: str, activation: Any, what: str = "activation") -> Callable[[sp.Expr], sp.Expr]:
    """An activation that must be a function; the identity where it is not."""
    if callable(activation):
        return activation
    model.problem(f"{layer}: {what} must be a function such as activations.relu, found {activation!r}")
    return identity


def choice(model: Model, layer: str, what: str, value: Any, words: Sequence[Any]) -> Any:
    """An argument that must be one of these; the first of them where it is not."""
    if any(type(value) is type(word) and value == word for word in words):
        return value
    model.problem(f"{layer}: {what} must be {' or '.join(map(repr, words))}, found {value!r}")
    return words[0]


def digits(model: Model, extents: Iterable[Any], letters: str) -> list[Any]:
    """An index for each extent, or 0 where that is 1: then formulas stay as if there was no such axis."""
    pairs = zip(extents, letters, strict=True)
    return [sp.Integer(0) if extent == 1 else model.local_indices(extent, letters=k)[0] for extent, k in pairs]


def sum_over(expression: sp.Expr, *indices: Any) -> sp.Expr:
    """The sum over those that are indices."""
    own = [i for i in indices if i != 0]
    return sp.Sum(expression, *own) if own else expression
