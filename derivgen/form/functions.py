"""The functions a spec may use, with their derivatives: one row a fact.

A row gives the partial derivatives of f(u, …) in terms of the arguments and of f itself, so that a later stage can
reuse the value of f. What SymPy has no word for, or decides differently at a kink, is defined here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import sympy as sp

from derivgen.form.expressions import indicator, product


class Primitive(sp.Function):
    """A real function of ours, left unevaluated by SymPy but for `evalf`, by mpmath's function of its name or VALUES."""

    is_real = True

    def _eval_mpmath(self) -> tuple[Callable[..., Any], tuple[sp.Expr, ...]]:
        name = self.func.__name__
        return VALUES.get(name) or getattr(mpmath, name), self.args


class stop_gradient(Primitive):
    """The value of its argument, a constant to the derivative."""

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


class root(Primitive):
    """The square root of a sum of squares: √u, with derivative 0 at u = 0 (SymPy's sqrt has an infinite one)."""

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


VALUES: dict[str, Callable[..., Any]] = {
    "stop_gradient": mpmath.mpf,
    "difference": mpmath.fsub,
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)),
    "xlogy": lambda u, v: u * mpmath.log(v) if u else mpmath.mpf(0),
    "logaddexp": lambda u, v: max(u, v) + mpmath.log1p(mpmath.exp(-abs(u - v))),
    "root": mpmath.sqrt,
}

# Functions that are cheap enough to be computed again where they stand twice.
CHEAP = (difference, stop_gradient, sp.Abs, sp.Max, sp.Min, sp.sign, sp.floor, sp.ceiling)


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


def _log_derivatives(f: sp.Expr) -> tuple[sp.Expr, ...]:
    u = f.args[0]
    return (1 / u,)


def _mod_derivatives(f: sp.Expr) -> tuple[sp.Expr, ...]:
    u, v = f.args
    off_kink = sp.Ne(f, 0, evaluate=False)
    return indicator(off_kink), product(indicator(off_kink), -sp.floor(u / v))


_ZERO = sp.Integer(0)

DERIVATIVES: dict[type, Callable[[sp.Expr], tuple[sp.Expr, ...]]] = {
    sp.exp: lambda f: (f,),
    sp.log: _log_derivatives,
    sp.sin: lambda f: (sp.cos(f.args[0]),),
    sp.cos: lambda f: (-sp.sin(f.args[0]),),
    sp.tan: lambda f: (1 + f**2,),
    sp.asin: lambda f: (1 / sp.sqrt(1 - f.args[0] ** 2),),
    sp.acos: lambda f: (-1 / sp.sqrt(1 - f.args[0] ** 2),),
    sp.atan: lambda f: (1 / (1 + f.args[0] ** 2),),
    sp.atan2: lambda f: (
        f.args[1] / (f.args[0] ** 2 + f.args[1] ** 2),
        -f.args[0] / (f.args[0] ** 2 + f.args[1] ** 2),
    ),
    sp.sinh: lambda f: (sp.cosh(f.args[0]),),
    sp.cosh: lambda f: (sp.sinh(f.args[0]),),
    sp.tanh: lambda f: (1 - f**2,),
    sp.asinh: lambda f: (1 / sp.sqrt(1 + f.args[0] ** 2),),
    sp.acosh: lambda f: (1 / sp.sqrt(f.args[0] ** 2 - 1),),
    sp.atanh: lambda f: (1 / (1 - f.args[0] ** 2),),
    sp.erf: lambda f: (2 / sp.sqrt(sp.pi) * sp.exp(-(f.args[0] ** 2)),),
    sp.erfc: lambda f: (-2 / sp.sqrt(sp.pi) * sp.exp(-(f.args[0] ** 2)),),
    erfc: lambda f: (-2 / sp.sqrt(sp.pi) * sp.exp(-(f.args[0] ** 2)),),
    sp.Abs: lambda f: (sp.sign(f.args[0]),),
    sp.sign: lambda f: (_ZERO,),
    sp.floor: lambda f: (_ZERO,),
    sp.ceiling: lambda f: (_ZERO,),
    sp.Mod: _mod_derivatives,
    sp.Max: lambda f: _shares(f, lambda a, b: sp.Gt(a, b, evaluate=False)),
    sp.Min: lambda f: _shares(f, lambda a, b: sp.Lt(a, b, evaluate=False)),
    stop_gradient: lambda f: (_ZERO,),
    sigmoid: lambda f: (f * sigmoid(-f.args[0]),),
    softplus: lambda f: (sigmoid(f.args[0]),),
    log1p: lambda f: (1 / (1 + f.args[0]),),
    expm1: lambda f: (sp.exp(f.args[0]),),
    xlogy: lambda f: (
        sp.log(f.args[1]),
        product(indicator(sp.Ne(f.args[0], 0, evaluate=False)), f.args[0] / f.args[1]),
    ),
    logaddexp: lambda f: (sigmoid(f.args[0] - f.args[1]), sigmoid(f.args[1] - f.args[0])),
    root: lambda f: (product(indicator(sp.Gt(f, 0, evaluate=False)), 1 / (2 * f)),),
}


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
    else:
        return _ZERO  # x stands only inside a subscript: integers carry no derivative
    chain = (product(p, derivative(a, x)) for p, a in zip(partials, f.args, strict=True) if p != 0 and a.has(x))
    return sp.Add(*chain)
