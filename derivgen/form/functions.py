"""The functions of derivgen: one record each, and the derivative of expressions of them.

The texts that generated modules call are files of the same names in `templates/elementary`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.form import reals
from derivgen.form.expressions import indicator, product


@dataclass(frozen=True, slots=True)
class Function:
    """All that derivgen knows of a function, whatever it is generated for."""

    type: type
    real: Callable[..., Any]  # of a context of mpmath and the arguments: under IEEE's rules, NaN where it is not real
    derivative: Callable[[sp.Expr], tuple[sp.Expr, ...]] | None = None  # of f(u, …); None: it is not for specs
    arity: int | None = 1  # None: two or more
    cost: int | None = None  # so many operations of the machine; None: a call, which is worth keeping
    latex: str | None = None  # its command, where LaTeX has one
    parity: int = 0  # 1: even, -1: odd
    singular: str | None = None  # where it, or a derivative, is infinite or undefined
    kink: str | None = None  # what holds where it has no derivative
    written: str | None = None  # the function that formulas and kernels have in its place, of the same values
    chosen: bool = False  # by a pass that knows more of the argument: who writes a formula has another name for it

    @property
    def name(self) -> str:
        return self.written or self.type.__name__.lower()


class Primitive(sp.Function):
    """A real function of ours, left unevaluated by SymPy except for `evalf`."""

    is_real = True

    def _eval_mpmath(self) -> tuple[Callable[..., Any], tuple[sp.Expr, ...]]:
        def real(*arguments: Any) -> Any:
            # SymPy gives 0 as an int, and takes none.
            return FUNCTIONS[self.func].real(mpmath.mp, *map(mpmath.mp.convert, arguments))

        return real, self.args


class stop_gradient(Primitive):
    """The value of its argument, treated as a constant when the formula is differentiated."""

    nargs = 1
    is_constant_to_derivatives = True


class partial(Primitive):
    """The partial derivative of a read by further reads, one after another: partial(u, x, t) is ∂²u/∂x∂t.

    It speaks of tensors, not of values: what its reads hold is never put in their place. `partials` takes it.
    """

    keeps_reads = True


class difference(Primitive):
    """u - v, never reordered with the sum that it stands in. A stage after differentiation makes it."""

    nargs = 2


class sigmoid(Primitive):
    """1 / (1 + exp(-u))."""

    nargs = 1


class softplus(Primitive):
    """log(1 + exp(u))."""

    nargs = 1


class log1p(Primitive):
    """log(1 + u), accurate near u = 0."""

    nargs = 1


class expm1(Primitive):
    """exp(u) - 1, accurate near u = 0."""

    nargs = 1


class erfc(Primitive):
    """1 - erf(u). SymPy's function of this name turns erfc(-u) into 2 - erfc(u), which cancels."""

    nargs = 1


class xlogy(Primitive):
    """u·log(v), and 0 where u = 0."""

    nargs = 2


class logaddexp(Primitive):
    """log(exp(u) + exp(v))."""

    nargs = 2


class loggamma(Primitive):
    """log |Γ(u)|. SymPy's function of this name is complex for u < 0, and rewrites itself for integers."""

    nargs = 1


class ordinal(sp.Function):
    """The rank of a real among all of its kind, as an integer; NaN ranks above all. Code alone has it.

    A compiler vectorizes a maximum of integers, but none of reals that keeps NaN.
    """

    nargs = 1
    is_integer = True


class of_ordinal(Primitive):
    """The real of a rank."""

    nargs = 1


class digamma(Primitive):
    """ψ(u), the derivative of log Γ(u)."""

    nargs = 1


class trigamma(Primitive):
    """ψ₁(u) = ψ'(u)."""

    nargs = 1


class tetragamma(Primitive):
    """ψ₂(u) = ψ''(u), the last derivative of loggamma that there is."""

    nargs = 1


class root(Primitive):
    """The square root of a sum of squares: √u, with derivative 0 at u = 0 (SymPy's sqrt has an infinite one)."""

    nargs = 1


class log_total(Primitive):
    """log(u) of a sum of exponentials less their largest: u is at least 1, or else 0, where the derivative is 0."""

    nargs = 1


def _shares(f: sp.Expr, above: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> tuple[sp.Expr, ...]:
    """Partial derivatives of Max or Min: a tying constant wins, else the tied share equally.

    That the argument beats a constant is written with f itself (Max(u, 0) > 0 instead of u > 0): the same truth,
    and f is a value that is kept.
    """
    constants = [a for a in f.args if a.is_number]
    variables = [a for a in f.args if not a.is_number]

    def share(argument: sp.Expr) -> sp.Expr:
        beats_constants = [above(f, c) for c in constants]
        others = [a for a in variables if a is not argument]
        if not others:
            return indicator(sp.And(*beats_constants))
        if len(others) == 1:
            wins, ties = above(argument, others[0]), sp.Eq(argument, others[0], evaluate=False)
            half = (sp.Rational(1, 2), sp.And(ties, *beats_constants))
            return sp.Piecewise((1, sp.And(wins, *beats_constants)), half, (0, True))
        tied = [sp.Eq(a, f, evaluate=False) for a in (argument, *others)]
        count = sp.Add(1, *(indicator(t) for t in tied[1:]))
        return product(indicator(sp.And(tied[0], *beats_constants)), 1 / count)

    return tuple(sp.Integer(0) if a.is_number else share(a) for a in f.args)


def _mod_derivatives(f: sp.Expr) -> tuple[sp.Expr, ...]:
    u, v = f.args
    off_kink = sp.Ne(f, 0, evaluate=False)
    return indicator(off_kink), product(indicator(off_kink), -sp.floor(u / v))


def _atan2_derivatives(f: sp.Expr) -> tuple[sp.Expr, ...]:
    u, v = f.args
    return v / (u**2 + v**2), -u / (u**2 + v**2)


def _xlogy_derivatives(f: sp.Expr) -> tuple[sp.Expr, ...]:
    u, v = f.args
    return sp.log(v), product(indicator(sp.Ne(u, 0, evaluate=False)), u / v)


def _gaussian(factor: int) -> Callable[[sp.Expr], tuple[sp.Expr, ...]]:
    return lambda f: (factor / sp.sqrt(sp.pi) * sp.exp(-(f.args[0] ** 2)),)


_ZERO = sp.Integer(0)
_TIE = "a constant wins (so relu'(0) = 0), else they share equally"

_POLES = "u = 0, -1, -2, …"

RECORDS = (
    Function(sp.exp, reals.exponential, lambda f: (f,), latex=r"\exp"),
    Function(sp.log, reals.plain("log"), lambda f: (1 / f.args[0],), latex=r"\log", singular="u = 0"),
    Function(sp.sin, reals.costly("sin"), lambda f: (sp.cos(f.args[0]),), latex=r"\sin", parity=-1),
    Function(sp.cos, reals.costly("cos"), lambda f: (-sp.sin(f.args[0]),), latex=r"\cos", parity=1),
    Function(
        sp.tan, reals.costly("tan"), lambda f: (1 + f**2,), latex=r"\tan", parity=-1, singular="odd multiples of π/2"
    ),
    Function(sp.asin, reals.plain("asin"), lambda f: (1 / sp.sqrt(1 - f.args[0] ** 2),), parity=-1, singular="|u| = 1"),
    Function(sp.acos, reals.plain("acos"), lambda f: (-1 / sp.sqrt(1 - f.args[0] ** 2),), singular="|u| = 1"),
    Function(sp.atan, reals.plain("atan"), lambda f: (1 / (1 + f.args[0] ** 2),), parity=-1),
    Function(sp.atan2, reals.arctangent, _atan2_derivatives, arity=2, singular="u = v = 0"),
    Function(sp.sinh, reals.costly("sinh"), lambda f: (sp.cosh(f.args[0]),), latex=r"\sinh", parity=-1),
    Function(sp.cosh, reals.costly("cosh"), lambda f: (sp.sinh(f.args[0]),), latex=r"\cosh", parity=1),
    Function(sp.tanh, reals.plain("tanh"), lambda f: (1 - f**2,), latex=r"\tanh", parity=-1),
    Function(sp.asinh, reals.plain("asinh"), lambda f: (1 / sp.sqrt(1 + f.args[0] ** 2),), parity=-1),
    Function(sp.acosh, reals.plain("acosh"), lambda f: (1 / sp.sqrt(f.args[0] ** 2 - 1),), singular="u = 1"),
    Function(sp.atanh, reals.plain("atanh"), lambda f: (1 / (1 - f.args[0] ** 2),), parity=-1, singular="|u| = 1"),
    Function(sp.erf, reals.plain("erf"), _gaussian(2), parity=-1),
    Function(sp.erfc, reals.costly("erfc"), _gaussian(-2)),
    Function(erfc, reals.costly("erfc"), _gaussian(-2)),
    Function(
        sp.Abs,
        lambda mp, u: abs(u),
        lambda f: (sp.sign(f.args[0]),),
        cost=1,
        kink="|u| has derivative 0 at u = 0",
    ),
    Function(sp.sign, reals.plain("sign"), lambda f: (_ZERO,), cost=1, kink="sign has derivative 0, at its jump too"),
    Function(
        sp.floor, reals.plain("floor"), lambda f: (_ZERO,), cost=1, kink="floor has derivative 0, at its jumps too"
    ),
    Function(
        sp.ceiling, reals.plain("ceil"), lambda f: (_ZERO,), cost=1, kink="ceiling has derivative 0, at its jumps too"
    ),
    Function(
        sp.Mod, reals.modulo, _mod_derivatives, arity=2, singular="v = 0", kink="mod has derivative 0 at its jumps"
    ),
    Function(
        sp.Max,
        reals.largest,
        lambda f: _shares(f, lambda a, b: sp.Gt(a, b, evaluate=False)),
        arity=None,
        cost=1,
        latex=r"\max",
        kink=f"where arguments of max tie, {_TIE}",
    ),
    Function(
        sp.Min,
        reals.least,
        lambda f: _shares(f, lambda a, b: sp.Lt(a, b, evaluate=False)),
        arity=None,
        cost=1,
        latex=r"\min",
        kink=f"where arguments of min tie, {_TIE}",
    ),
    Function(
        stop_gradient,
        lambda mp, u: mp.mpf(u),
        lambda f: (_ZERO,),
        cost=0,
        kink="what stands under stop_gradient is a constant to the derivative",
    ),
    Function(difference, lambda mp, u, v: u - v, arity=2, cost=1),
    Function(sigmoid, reals.logistic, lambda f: (f * sigmoid(-f.args[0]),)),
    Function(softplus, reals.log_one_plus_exp, lambda f: (sigmoid(f.args[0]),)),
    Function(log1p, reals.plain("log1p"), lambda f: (1 / (1 + f.args[0]),), singular="u = -1"),
    Function(expm1, reals.costly("expm1"), lambda f: (sp.exp(f.args[0]),)),
    Function(
        xlogy,
        reals.x_log_y,
        _xlogy_derivatives,
        arity=2,
        singular="v = 0",
        kink="xlogy(u, v) has derivative 0 by v where u = 0",
    ),
    Function(
        logaddexp,
        reals.log_add_exp,
        lambda f: (sigmoid(f.args[0] - f.args[1]), sigmoid(f.args[1] - f.args[0])),
        arity=2,
    ),
    Function(
        loggamma,
        reals.log_gamma,
        lambda f: (digamma(f.args[0]),),
        latex=r"\log\Gamma",
        singular=_POLES,
    ),
    Function(digamma, reals.poly_gamma(0), lambda f: (trigamma(f.args[0]),), latex=r"\psi", singular=_POLES),
    Function(trigamma, reals.poly_gamma(1), lambda f: (tetragamma(f.args[0]),), latex=r"\psi_1", singular=_POLES),
    Function(tetragamma, reals.poly_gamma(2), latex=r"\psi_2", singular=_POLES),
    Function(
        root,
        reals.plain("sqrt"),
        lambda f: (product(indicator(sp.Gt(f, 0, evaluate=False)), 1 / (2 * f)),),
        singular="u = 0",
        kink="the root of a sum of squares has derivative 0 at 0",
        chosen=True,
    ),
    Function(
        log_total,
        reals.plain("log"),
        lambda f: (1 / sp.Max(f.args[0], sp.Rational(1, 2)),),
        latex=r"\log",
        singular="u = 0",
        kink="the logarithm of a sum of exponentials has derivative 0 where all of them are exp(-∞)",
        written="log",
        chosen=True,
    ),
)

FUNCTIONS: dict[type, Function] = {f.type: f for f in RECORDS}
DERIVATIVES = {f.type: f.derivative for f in RECORDS if f.derivative is not None}

# Functions by the names under which a formula may have them.
WRITABLE = {f.type.__name__: f.type for f in RECORDS if f.derivative is not None and not f.chosen}

# Functions that are cheap enough to be computed again where they stand twice.
CHEAP = tuple(f.type for f in RECORDS if f.cost is not None)


def power_derivatives(f: sp.Pow) -> tuple[sp.Expr, sp.Expr]:
    """∂u^v/∂u = v·u^(v-1);  ∂u^v/∂v = u^v·log u, and 0 at u = 0 (as PyTorch and JAX have it)."""
    base, exponent = f.args
    by_base = exponent * base ** (exponent - 1)
    if not exponent.is_number:  # 0·u^(-1) is 0 at u = 0 too: u^0 is 1 everywhere
        by_base = product(indicator(sp.Ne(exponent, 0, evaluate=False)), by_base)
    if base.is_positive:
        return by_base, f * sp.log(base)
    return by_base, product(indicator(sp.Ne(base, 0, evaluate=False)), f * sp.log(base))


def derivative(f: sp.Expr, x: sp.Expr) -> sp.Expr:
    """∂f/∂x of a scalar expression by a leaf x of it (a read or a symbol).

    Source: the sum, product, power and chain rules; branches of a Piecewise keep their conditions.
    """
    if f == x:
        return sp.Integer(1)
    if not f.has(x):
        return _ZERO
    if isinstance(f, sp.Add):
        return sp.Add(*(derivative(a, x) for a in f.args))
    if isinstance(f, sp.Mul):
        terms = (product(derivative(a, x), *f.args[:i], *f.args[i + 1 :]) for i, a in enumerate(f.args) if a.has(x))
        return sp.Add(*terms)
    if isinstance(f, sp.Piecewise):
        return sp.Piecewise(*((derivative(pair.args[0], x), pair.args[1]) for pair in f.args))
    if isinstance(f, sp.Pow):
        partials: tuple[sp.Expr, ...] = power_derivatives(f)
    elif isinstance(f, partial):
        raise TypeError(f"{f} must become a tensor (partials.with_tangents) before it is differentiated")
    elif f.func in DERIVATIVES:
        partials = DERIVATIVES[f.func](f)
    elif f.func in FUNCTIONS:
        raise DerivgenError(
            f"{f} has no derivative in derivgen, which has three of loggamma, two of digamma and one of trigamma: "
            "ask for fewer derivatives, or take such a part out by stop_gradient"
        )
    else:
        return _ZERO  # x stands only inside a subscript: integers carry no derivative
    chain = (product(p, derivative(a, x)) for p, a in zip(partials, f.args, strict=True) if p != 0 and a.has(x))
    return sp.Add(*chain)
