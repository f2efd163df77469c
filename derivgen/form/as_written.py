"""SymPy without rewriting that makes formulas longer, or other ones."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sympy as sp
import sympy.concrete.expr_with_limits as sympy_sums
import sympy.functions.elementary.piecewise as sympy_piecewise
from sympy.core.parameters import global_parameters
from sympy.functions.elementary.miscellaneous import MinMaxBase
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import is_of_data, reads_of
from derivgen.form.functions import RECORDS

FORCE: ContextVar[bool | None] = ContextVar("FORCE", default=None)  # `distribute` of the innermost as_written
RECURSION = 10_000  # Python's own limit of 1,000 calls is that of some 80 levels of an expression


@contextmanager
def as_written(distribute: bool = True) -> Iterator[None]:
    """SymPy without rewriting that makes formulas longer, or other ones. Also the decorator of stages that make some.

    Without `distribute`, 2·(a + b) is no 2·a + 2·b: then what is shared by several formulas still shows in each. A
    minus sign goes into a sum nevertheless, since SymPy's functions call themselves for ever where it does not.

    `Sum(f, i)` folds a Piecewise in f outward when it is made. The fold moves a guard past the bound indices of inner
    sums, where it means something else, and multiplies branches: n guards in f become 2^n. A condition that compares
    a Piecewise is rewritten likewise, into an if-then-else of conditions. As the identity the fold keeps a formula,
    and its size, as written. A negated comparison of data stays one, maxima are not searched for what is larger, and
    functions not for what else they are. Determinants and inverses of small matrices are not multiplied out: a product
    of differences would become a difference of products, which are larger.
    """
    if FORCE.get() is distribute:  # within another one
        yield
        return
    outer = FORCE.set(distribute)
    levels, collects = sys.getrecursionlimit(), gc.isenabled()
    replaced = REPLACED if distribute else (*REPLACED, *SIGNS)
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in replaced]
    sys.setrecursionlimit(max(levels, RECURSION))
    gc.disable()  # trees hold no circles, and each search for some goes through all of them
    for owner, name, own in replaced:
        setattr(owner, name, own)
    distributed, global_parameters.distribute = global_parameters.distribute, distribute
    try:
        yield
    finally:
        global_parameters.distribute = distributed
        sys.setrecursionlimit(levels)
        if collects:
            gc.enable()
        for owner, name, found in before:
            setattr(owner, name, found)
        FORCE.reset(outer)


IS_CONNECTED = MinMaxBase.__dict__["_is_connected"].__func__
OPPOSITE = sp.Not.__dict__["eval"].__func__
PARITIES = {f.type: f.parity for f in RECORDS if f.parity}
EVALUATIONS = {kind: kind.__dict__["eval"].__func__ for kind in PARITIES}


def opposite(kind: Any, condition: Boolean) -> Any:
    """What SymPy makes of not c; nothing of a comparison of data: not (x > 0) holds at NaN and x ≤ 0 does not."""
    return None if is_of_data(condition) else OPPOSITE(kind, condition)


def connection(kind: Any, u: sp.Expr, v: sp.Expr) -> Any:
    """Which of two arguments of a maximum is the larger one: of numbers, indices and sizes alone.

    Of others SymPy finds out little, and searches long, for each pair and at each copy of the maximum.
    """
    known = all(s.is_integer for e in (u, v) for s in e.free_symbols) and not reads_of(u, v)
    return IS_CONNECTED(kind, u, v) if known else False


def evaluation(kind: Any, argument: sp.Expr) -> Any:
    """What SymPy makes of a function, for numbers; of others the sign alone is taken out.

    SymPy asks whether an argument can be 0, or infinite, or a multiple of π: 2 ms for each new one.
    """
    if not argument.free_symbols:
        return EVALUATIONS[kind](kind, argument)
    if argument.could_extract_minus_sign():
        return PARITIES[kind] * kind(-argument)
    return None


def power_of_sum(e: sp.Add, exponent: sp.Expr) -> Any:
    """What SymPy makes of the power of a sum, for numbers alone: its 1.13 has √(u + 0.0006)/8 for √(u/64 + 0.00001)."""
    return POWER_OF_SUM(e, exponent) if e.is_number else None


def negative(e: sp.Add) -> sp.Expr:
    return sp.Add(*(-term for term in e.args))


def flattened(kind: Any, factors: Any) -> Any:
    """What SymPy makes of the factors of a product, a minus sign before a sum in its terms."""
    found, others, order = FLATTEN(kind, factors)
    product = found[0].args if len(found) == 1 and isinstance(found[0], sp.Mul) else found
    if not others and len(product) == 2 and product[0] is sp.S.NegativeOne and isinstance(product[1], sp.Add):
        return [negative(product[1])], [], order
    return found, others, order


def determinant(m: sp.MatrixBase, *method: Any, **options: Any) -> sp.Expr:
    """What SymPy makes of a determinant; of two or three rows the formula by minors, as it is."""
    if m.shape == (2, 2):
        return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    if m.shape == (3, 3):
        return m[0, 0] * minor(m, 0, 0) - m[0, 1] * minor(m, 0, 1) + m[0, 2] * minor(m, 0, 2)
    return DETERMINANT(m, *method, **options)


def minor(m: sp.MatrixBase, row: int, column: int) -> sp.Expr:
    rows, columns = ([k for k in range(m.rows) if k != own] for own in (row, column))
    return determinant(m.extract(rows, columns))


def inverse(m: sp.MatrixBase, *method: Any, **options: Any) -> sp.MatrixBase:
    """What SymPy makes of an inverse; of two or three rows the cofactors by the determinant, as they are."""
    if m.shape not in ((2, 2), (3, 3)) or m.is_diagonal() or not m.free_symbols:
        return INVERSE(m, *method, **options)
    whole = determinant(m)
    if whole == 0:
        return INVERSE(m, *method, **options)  # which says so
    if m.rows == 2:
        return type(m)([[m[1, 1], -m[0, 1]], [-m[1, 0], m[0, 0]]]).applyfunc(lambda e: e / whole)
    return type(m)(3, 3, lambda row, column: (-1) ** (row + column) * minor(m, column, row) / whole)


def home_of(method: str) -> type:
    """The class of SymPy that has a method of matrices."""
    return next(owner for owner in sp.Matrix.__mro__ if method in vars(owner))


DETERMINANT, INVERSE = (vars(home_of(name))[name] for name in ("det", "inv"))


def derivative(e: sp.Expr, *by: Any, **options: Any) -> Any:
    """What SymPy makes of a derivative, which takes an element for a number: tensors may refuse that."""
    for element in e.atoms(sp.Indexed):
        if (refuse := getattr(element.base, "refuse_derivative", None)) is not None:
            refuse(element, by)
    return DERIVATIVE(e, *by, **options)


DERIVATIVE = vars(sp.Expr)["diff"]
POWER_OF_SUM = sp.Add.__dict__["_eval_power"]
FLATTEN = sp.Mul.__dict__["flatten"].__func__
SIGNS = ((sp.Add, "__neg__", negative), (sp.Mul, "flatten", classmethod(flattened)))
REPLACED = (
    *((module, "piecewise_fold", lambda expression: expression) for module in (sympy_sums, sympy_piecewise)),
    (MinMaxBase, "_is_connected", classmethod(connection)),
    (sp.Not, "eval", classmethod(opposite)),
    (sp.Add, "_eval_power", power_of_sum),
    (sp.Expr, "diff", derivative),
    (home_of("det"), "det", determinant),
    (home_of("inv"), "inv", inverse),
    *((kind, "eval", classmethod(evaluation)) for kind in EVALUATIONS),
)
