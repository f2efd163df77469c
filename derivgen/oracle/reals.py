"""The functions of the interpreter in arbitrary precision: one row each, of mpmath's context and the arguments.

Under IEEE's rules for infinities and NaN: nothing raises, nothing turns complex.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial, reduce
from typing import Any

import mpmath
import sympy as sp

from derivgen.form.functions import difference, erfc, expm1, log1p, logaddexp, root, sigmoid, softplus, xlogy

Real = Any  # an mpf of a private context

HUGE = 2**17  # a magnitude of 2**HUGE counts as infinite where the cost of a function grows with the magnitude


@lru_cache(maxsize=16)
def context(digits: int) -> Any:
    """The private mpmath context of this many decimal digits: the global one is left alone."""
    mp = mpmath.MPContext()
    mp.dps = digits
    return mp


def maximum(mp: Any, u: Real, v: Real) -> Real:
    return v if v > u or v != v else u


def minimum(mp: Any, u: Real, v: Real) -> Real:
    return v if v < u or v != v else u


def plain(name: str) -> Callable[[Any, Real], Real]:
    """A function of mpmath, NaN where its value is not real."""

    def function(mp: Any, u: Real) -> Real:
        value = getattr(mp, name)(u)
        return value if isinstance(value, mp.mpf) else mp.nan

    return function


def costly(name: str) -> Callable[[Any, Real], Real]:
    """The same of a function that costs more the larger its argument."""
    function = plain(name)
    return lambda mp, u: function(mp, bounded(mp, u))


def bounded(mp: Any, u: Real) -> Real:
    if mp.mag(u) > HUGE:
        return mp.inf if u > 0 else mp.ninf
    return u


def exponential(mp: Any, u: Real) -> Real:
    return mp.exp(bounded(mp, u))


def reciprocal(mp: Any, u: Real) -> Real:
    return 1 / u if u != 0 else mp.inf


def integer_power(mp: Any, u: Real, k: int) -> Real:
    if k < 0:
        return reciprocal(mp, integer_power(mp, u, -k))
    return u**k if k else mp.one


def power(mp: Any, u: Real, v: Real) -> Real:
    if mp.isint(v) and mp.mag(v) <= HUGE:
        return integer_power(mp, u, int(v))
    if mp.isinf(v):
        u = abs(u)
    if u == 1:
        return mp.one
    if u == 0 and v != 0:
        return mp.zero if v > 0 else mp.inf if v < 0 else mp.nan
    if not u > 0:
        return mp.nan
    logarithm = v * mp.log(u)
    return u**v if mp.isfinite(logarithm) and mp.mag(logarithm) <= HUGE else exponential(mp, logarithm)


def modulo(mp: Any, u: Real, v: Real) -> Real:
    """u - v·floor(u/v), with the sign of the divisor."""
    if v == 0:
        return mp.nan
    if mp.isinf(v) and mp.isfinite(u):
        return u if u == 0 or (u > 0) == (v > 0) else v
    return bounded(mp, u) % v


def arctangent(mp: Any, u: Real, v: Real) -> Real:
    if u != u or v != v:
        return mp.nan
    if mp.isinf(u) and mp.isinf(v):
        return mp.sign(u) * mp.pi / 4 * (1 if v > 0 else 3)
    return mp.atan2(u, v)


def logistic(mp: Any, u: Real) -> Real:
    small = exponential(mp, -abs(u))
    return 1 / (1 + small) if u >= 0 else small / (1 + small)


def log_one_plus_exp(mp: Any, u: Real) -> Real:
    return maximum(mp, mp.zero, u) + mp.log1p(exponential(mp, -abs(u)))


def x_log_y(mp: Any, u: Real, v: Real) -> Real:
    return mp.zero if u == 0 and v == v else u * plain("log")(mp, v)


def log_add_exp(mp: Any, u: Real, v: Real) -> Real:
    if u == v:
        return u + mp.ln2
    return maximum(mp, u, v) + mp.log1p(exponential(mp, -abs(u - v)))


FUNCTIONS: dict[type, Callable[..., Real]] = {
    sp.exp: exponential,
    sp.log: plain("log"),
    sp.sin: costly("sin"),
    sp.cos: costly("cos"),
    sp.tan: costly("tan"),
    sp.asin: plain("asin"),
    sp.acos: plain("acos"),
    sp.atan: plain("atan"),
    sp.atan2: arctangent,
    sp.sinh: costly("sinh"),
    sp.cosh: costly("cosh"),
    sp.tanh: plain("tanh"),
    sp.asinh: plain("asinh"),
    sp.acosh: plain("acosh"),
    sp.atanh: plain("atanh"),
    sp.erf: plain("erf"),
    sp.erfc: costly("erfc"),
    erfc: costly("erfc"),
    sp.Abs: lambda mp, u: abs(u),
    sp.sign: plain("sign"),
    sp.floor: plain("floor"),
    sp.ceiling: plain("ceil"),
    sp.Mod: modulo,
    sp.Max: lambda mp, *arguments: reduce(partial(maximum, mp), arguments),
    sp.Min: lambda mp, *arguments: reduce(partial(minimum, mp), arguments),
    difference: lambda mp, u, v: u - v,
    sigmoid: logistic,
    softplus: log_one_plus_exp,
    log1p: plain("log1p"),
    expm1: costly("expm1"),
    xlogy: x_log_y,
    logaddexp: log_add_exp,
    root: plain("sqrt"),
}

CONSTANTS: dict[Any, str] = {
    sp.pi: "pi",
    sp.E: "e",
    sp.GoldenRatio: "phi",
    sp.EulerGamma: "euler",
    sp.Catalan: "catalan",
    sp.oo: "inf",
    -sp.oo: "ninf",
    sp.nan: "nan",
}
