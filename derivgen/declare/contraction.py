"""`contract("nd,dh->nh", x, W)`: products of tensors summed over what their letters share, as numpy.einsum writes them.

It is a shorthand and no statement of its own: read at indices it is the `Sum` that a spec would write.

    contract("nd,dh->nh", x, W)[n, h]  is  Sum(x[n, d] * W[d, h], d)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.declare.model import Model, TensorSymbol
from derivgen.errors import Refused, counted

Labels: TypeAlias = tuple[str, ...]  # of axes: letters, and "...1", "...2", … for those of an ellipsis, from its end

LETTERS = r"[A-Za-z]*(?:\.\.\.)?[A-Za-z]*"
FORMULA = re.compile(rf"{LETTERS}(?:,{LETTERS})*->{LETTERS}")


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """What `contract` returns: a tensor with `.shape` and `.model` that is read at indices, and is then a Sum."""

    formula: str
    model: Model
    factors: tuple[tuple[Any, Labels], ...]  # each with the labels of its axes
    output: Labels
    sizes: dict[str, sp.Expr]
    accepted: bool = True
    own: dict[str, Idx] = field(default_factory=dict)  # of labels that are summed over, where the spec has none

    __iter__ = None  # else Python takes elements for ever

    @property
    def shape(self) -> tuple[sp.Expr, ...]:
        return tuple(self.sizes.get(label, sp.S.One) for label in self.output)

    def __getitem__(self, subscripts: Any) -> sp.Expr:
        given = subscripts if isinstance(subscripts, tuple | list) else (subscripts,)
        if not self.accepted:
            return sp.S.One
        if len(given) != len(self.output):
            found = f"expected {counted(len(self.output), 'subscript')}, found {len(given)}"
            self.model.problem(f"{self}: {found}: write {self.read}")
            return sp.S.One
        summed = self.summed(given)
        at = {**dict(zip(self.output, given, strict=True)), **summed}
        factors = (t[tuple(at[label] for label in labels)] if labels else t for t, labels in self.factors)
        product = sp.Mul(*factors)
        return sp.Sum(product, *summed.values()) if summed else product

    def __str__(self) -> str:
        return f'contract("{self.formula}")'

    def _sympy_(self) -> sp.Expr:
        """What SymPy computes with where subscripts are missing, which is noted."""
        if self.accepted:
            self.model.problem(f"{self} is a tensor: read it at indices, {self.read}")
        return sp.S.One

    @property
    def read(self) -> str:
        return f"contract(…)[{', '.join(self.output)}]"

    def summed(self, given: Sequence[Any]) -> dict[str, Idx]:
        """An index for each label that the output lacks.

        It is the spec's own, where it has one of this name and size that nothing around it uses.
        """
        scalars = [t for t, labels in self.factors if not labels]
        around = {i for e in (*given, *scalars) if isinstance(e, sp.Basic) for i in e.atoms(Idx)}
        free = {i.name: i for i in self.model.declared_indices if i not in around}
        return {label: self.index(label, free.get(label)) for label in self.sizes if label not in self.output}

    def index(self, label: str, named: Idx | None) -> Idx:
        """The index of this name if it has the right size, else one of the contraction's own."""
        size = self.sizes[label]
        if named is not None and is_equal(self.model, named.upper + 1, size):
            return named
        if label not in self.own:
            self.own[label] = self.model.local_indices(size, letters=label)[0]
        return self.own[label]


TENSORS = (TensorSymbol, Contraction, sp.MatrixBase)


def contract(formula: str, *operands: Any) -> Any:
    """The sum over products of tensors that letters for their axes describe, as in numpy.einsum.

    `contract("nd,dh->nh", x, W)` has the shape (N, H), and `contract("nd,dh->nh", x, W)[n, h]` is `Sum(x[n, d] * W[d,
    h], d)`. A letter that is not behind the arrow is summed over; with no letters there, the result is an expression.
    `...` stands for any number of axes, the same for all. Operands are tensors, SymPy matrices, or scalars, which have
    no letters: `contract(",nd->n", k, x)`.
    """
    model = next((t.model for t in operands if isinstance(t, TensorSymbol | Contraction)), None)
    if model is None:
        raise TypeError(f'contract expects a formula and tensors, as in contract("nd,dh->nh", x, W), found {operands}')
    text = "".join(formula.split()) if isinstance(formula, str) else str(formula)
    found = Contraction(text, model, (), tuple(text.partition("->")[2]), {}, accepted=False)
    try:
        if all(t.accepted for t in operands if isinstance(t, Contraction)):  # else it is refused for that one
            found = contraction(text, model, operands)
    except Refused as refusal:
        model.problem(f"{found}: {refusal}")
    return found if found.output or "->" not in text else found[()]


def contraction(text: str, model: Model, operands: Sequence[Any]) -> Contraction:
    """Raises Refused where the formula does not fit the operands."""
    left, output = parts_of(text)
    if len(left) != len(operands):
        found = f"found {len(operands)}: {', '.join(map(described, operands))}"
        raise Refused(f"the formula has letters for {counted(len(left), 'operand')}, {found}")
    factors = tuple((t, labels_of(term, t)) for term, t in zip(left, operands, strict=True))
    sizes = sizes_of(factors, model)
    dots = max(sum(label.startswith(".") for label in labels) for _, labels in factors)
    return Contraction(text, model, factors, labels_of_output(output, dots, sizes), sizes)


def parts_of(text: str) -> tuple[list[str], str]:
    """(the letters of each operand, those of the result)"""
    left, arrow, output = text.partition("->")
    if not arrow:
        once = "..." * ("..." in text) + "".join(k for k in text if k.isalpha() and text.count(k) == 1)
        raise Refused(f'expected "->" and the letters of the result, found no "->": write for example "{text}->{once}"')
    if not FORMULA.fullmatch(text):
        raise Refused('expected a letter for each axis, commas between tensors, and "->", such as "nd,dh->nh"')
    return left.split(","), output


def labels_of(term: str, operand: Any) -> Labels:
    """The labels of an operand's axes."""
    if not isinstance(operand, (*TENSORS, sp.Expr, int, float)):
        raise Refused(f"expected tensors, found {type(operand).__name__}: declare an array by model.constant")
    head, dots, tail = term.partition("...")
    shape = shape_of(operand)
    more = max(0, len(shape) - len(head) - len(tail)) if dots else 0
    labels = (*head, *(f"...{k}" for k in range(more, 0, -1)), *tail)
    if len(labels) != len(shape):
        what = f"{described(operand)} of shape {shape}" if shape else f"the scalar {operand}"
        least = "at least " if dots else ""
        raise Refused(f'expected {least}{counted(len(head + tail), "axis")} for "{term}", found {what}')
    return labels


def sizes_of(factors: Sequence[tuple[Any, Labels]], model: Model) -> dict[str, sp.Expr]:
    """The size of each label, the same in all operands; fixed sizes are compared by value, run-time sizes by symbol."""
    sizes: dict[str, sp.Expr] = {}
    first: dict[str, str] = {}
    for t, labels in factors:
        for label, size in zip(labels, shape_of(t), strict=True):
            own = sizes.setdefault(label, sp.sympify(size))
            if not is_equal(model, own, size):
                where = f"{own} in {first[label]} and {size} in {described(t)}"
                raise Refused(f"{label} is {where}: give axes of different sizes different letters")
            first.setdefault(label, described(t))
    return sizes


def labels_of_output(term: str, dots: int, sizes: dict[str, sp.Expr]) -> Labels:
    """The labels behind the arrow, each of which an operand has."""
    head, ellipsis, tail = term.partition("...")
    if dots and not ellipsis:
        raise Refused('the operands have axes under "...", and the result has none: write "..." behind the arrow too')
    letters = head + tail
    if unknown := [k for k in letters if k not in sizes]:
        raise Refused(f"{unknown[0]} stands behind the arrow, and no operand has it: expected one of {listed(sizes)}")
    if twice := [k for k in letters if letters.count(k) > 1]:
        raise Refused(f"{twice[0]} stands twice behind the arrow: a result has each letter once")
    return (*head, *(f"...{k}" for k in range(dots, 0, -1)), *tail)


def shape_of(operand: Any) -> tuple[Any, ...]:
    """The sizes of a tensor; none of a scalar, an element of a tensor among them."""
    return tuple(operand.shape) if isinstance(operand, TENSORS) else ()


def listed(sizes: dict[str, sp.Expr]) -> str:
    return ", ".join(k for k in sizes if k.isalpha())


def described(operand: Any) -> str:
    """A tensor by its name, a matrix by its kind."""
    return type(operand).__name__ if isinstance(operand, sp.MatrixBase) else str(operand)


def is_equal(model: Model, a: Any, b: Any) -> bool:
    """Whether two sizes are: fixed ones by value, run-time ones by symbol."""
    return bool(sp.expand((sp.sympify(a) - b).subs(model.fixed_sizes)) == 0)
