"""What losses are made of: their terms, and what they ask of their arguments."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.activations.checks import exact, is_scalar, tensor
from derivgen.declare.model import TensorSymbol
from derivgen.declare.subscripts import is_integer
from derivgen.form.as_written import as_written
from derivgen.form.expressions import guarded, indicator

REDUCTIONS = ("mean", "sum", "none")


@as_written()
def total(summand: sp.Expr, *indices: Idx) -> sp.Expr:
    """The sum over these indices, the summand itself over none."""
    return sp.Sum(summand, *indices) if indices else summand


class Terms:
    """The terms of a loss: the indices of its first tensor, and whether the arguments were accepted so far."""

    def __init__(self, loss: str, **tensors: TensorSymbol) -> None:
        (name, first), *others = tensors.items()
        self.loss, self.model = loss, tensor(loss, first, name).model
        self.accepted = True
        self.labelled: list[tuple[set[Idx], sp.Basic]] = []  # (indices of a label, that it is not the ignored one)
        self.indices = self.model.local_indices(*first.shape)
        for other, value in others:
            self.require_shape(other, tensor(loss, value, other), first.shape)
        self.elements = [self.element(t, self.indices) for t in tensors.values()]

    # ---- elements

    def element(self, t: TensorSymbol, indices: Sequence[Idx]) -> sp.Expr:
        """The element at these indices; labels that count as absent leave the loss."""
        declaration = self.model.declarations.get(t.name)
        read = t[tuple(indices)]
        if declaration is not None and declaration.ignore is not None:
            self.labelled.append((set(indices), sp.Ne(read, declaration.ignore)))
        return read

    def present(self, over: Sequence[Idx]) -> sp.Basic:
        """Where no label is the ignored one, of those over some of these indices."""
        return sp.And(*(there for indices, there in self.labelled if indices <= set(over)))

    def of_row(self, name: str, value: Any, rows: Sequence[Idx]) -> sp.Expr:
        """The element of a tensor that has one for each row."""
        found = tensor(self.loss, value, name)
        self.require_shape(name, found, [i.upper + 1 for i in rows])
        return self.element(found, rows)

    def label(self, labels: Any, rows: Sequence[Idx]) -> sp.Expr:
        """The label of a row, an integer below the size of the last axis."""
        return self.integers("labels", labels, rows)

    def integers(self, name: str, labels: Any, rows: Sequence[Idx]) -> sp.Expr:
        """The element of integers, one for each row."""
        read = self.of_row(name, labels, rows)
        self.require(self.is_integer(labels), f"expected integers as {name}, found {labels}: use model.labels(...)")
        return read

    def spread(self, name: str, value: Any) -> sp.Expr:
        """A number above 0 or an expression, which is the same for all; or the element of a tensor over the last
        axes.
        """
        if isinstance(value, TensorSymbol):
            last = self.indices[-len(value.shape) :]
            self.require_shape(name, value, [i.upper + 1 for i in last])
            return value[tuple(last)]
        fits = is_scalar(value) and sp.sympify(value > 0) != sp.false
        self.require(fits, f"expected a number above 0, an expression or a tensor as {name}, found {value!r}")
        return exact(value) if fits else sp.Integer(1)

    def class_weights(self, weights: Any) -> Callable[[sp.Expr], sp.Expr]:
        """The weight of a class; 1 where there are none."""
        if weights is None:
            return lambda c: sp.Integer(1)
        found = tensor(self.loss, weights, "class_weights")
        self.require_shape("class_weights", found, [self.indices[-1].upper + 1])
        return lambda c: found[c]

    def smoothed(self, target: sp.Expr, label_smoothing: Any, classes: Any) -> sp.Expr:
        """(1 - e)·t + e/classes"""
        e = self.smoothing(label_smoothing)
        return (1 - e) * target + e / classes

    # ---- sums

    def split(self, axis: Any) -> tuple[tuple[Idx, ...], tuple[Idx, ...]]:
        """(the indices of rows, those of the axes that a term sums over): all of them where `axis` is None."""
        axes, rank = axis if isinstance(axis, tuple | list) else (axis,), len(self.indices)
        fits = axis is None or all(is_integer(a) and -rank <= a < rank for a in axes)
        self.require(fits, f"expected axes in {-rank} .. {rank - 1} as axis, found {axis!r}")
        summed = {a % rank for a in axes} if fits and axis is not None else set(range(rank))
        rows = tuple(i for k, i in enumerate(self.indices) if k not in summed)
        return rows, tuple(i for i in self.indices if i not in rows)

    def added(self, summand: sp.Expr, *indices: Idx) -> sp.Expr:
        """A sum inside of a term, without the elements whose label is ignored."""
        return total(guarded(summand, self.present(self.indices)), *indices)

    def reduced(
        self,
        term: sp.Expr,
        weights: TensorSymbol | None,
        reduction: str,
        name: str | None = None,
        rows: Sequence[Idx] | None = None,
        share: sp.Expr | None = None,
    ) -> Any:
        """The mean or sum of a term over the rows (over all indices if omitted), or the let `name` of the terms.

        In the mean each term counts as its share, 1 if omitted.
        """
        over = self.indices if rows is None else tuple(rows)
        weighted = term if weights is None else self.weight(weights, over) * term
        here = self.present(over)
        if self.is_let(reduction, name):
            return self.let(name, over, guarded(weighted, here))
        if not self.accepted:
            return sp.Integer(0)
        added = total(guarded(weighted, here), *over)
        if reduction == "sum":
            return added
        return added / self.count(over, here, share)

    def count(self, over: Sequence[Idx], here: sp.Basic, share: sp.Expr | None) -> sp.Expr:
        """The number of terms, or the sum of their shares."""
        if share is None and here == sp.true:
            return sp.Mul(*(i.upper + 1 for i in over))
        return total(indicator(here) if share is None else guarded(share, here), *over)

    def weight(self, weights: Any, over: Sequence[Idx]) -> sp.Expr:
        """The weight of a term: weights are a tensor over its first axes."""
        found = tensor(self.loss, weights, "weights")
        axes = min(len(found.shape), len(over))
        self.require_shape("weights", found, [i.upper + 1 for i in over[:axes]])
        return found[tuple(over[:axes])] if axes else sp.Integer(1)

    # ---- the let of the terms

    def is_let(self, reduction: Any, name: Any) -> bool:
        """Whether the terms are wanted as a let, which has a name."""
        known = reduction in REDUCTIONS
        self.require(known, f'expected reduction "mean", "sum" or "none", found {reduction!r}')
        if reduction == "none" and name is None:
            self.require(False, 'expected a name with reduction "none": give name="…", that of the let of the terms')
        if known and reduction != "none" and name is not None:
            self.require(False, f'expected no name with reduction "{reduction}", found {name!r}: it makes no let')
        return bool(reduction == "none")

    def let(self, name: Any, over: Sequence[Idx], term: sp.Expr) -> Any:
        """The let of the terms; after a mistake one of zeros, under a name that is free."""
        free = f"{self.loss}_terms_{len(self.model.definitions)}" if name is None else name
        return self.model.let(free, tuple(over), term if self.accepted else 0)

    # ---- options

    def number(self, name: str, value: Any, expected: str, holds: Callable[[Any], bool]) -> sp.Expr:
        """An option as a number of SymPy; 1 after a mistake."""
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        fits = is_number and holds(value)
        self.require(fits, f"expected {expected} as {name}, found {value!r}")
        return exact(value) if fits else sp.Integer(1)

    def above_0(self, name: str, value: Any) -> sp.Expr:
        return self.number(name, value, "a number above 0", lambda v: v > 0)

    def not_below_0(self, name: str, value: Any) -> sp.Expr:
        return self.number(name, value, "a number of at least 0", lambda v: v >= 0)

    def any_number(self, name: str, value: Any) -> sp.Expr:
        return self.number(name, value, "a number", lambda v: True)

    def smoothing(self, value: Any) -> sp.Expr:
        return self.number("label_smoothing", value, "a number of at least 0 and below 1", lambda v: 0 <= v < 1)

    # ---- checks

    def is_integer(self, t: Any) -> bool:
        return bool(tensor(self.loss, t, "labels").is_integer)

    def require_shape(self, name: str, t: TensorSymbol, shape: Sequence[sp.Expr]) -> None:
        """Note a problem where a tensor has another shape: fixed sizes are compared by value."""
        found, expected = ([sp.sympify(s).subs(self.model.fixed_sizes) for s in sizes] for sizes in (t.shape, shape))
        same = found == expected
        self.require(same, f"expected {name} of shape ({text(shape)}), found {t.name} of shape ({text(t.shape)})")

    def require(self, holds: bool, message: str) -> None:
        """Note a problem at the user's line where this does not hold."""
        if not holds:
            self.model.problem(f"{self.loss}: {message}")
            self.accepted = False


def text(shape: Sequence[sp.Expr]) -> str:
    return ", ".join(map(str, shape))
