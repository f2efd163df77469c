"""The values of functions in arbitrary precision, each of a context of mpmath and the arguments.

Under IEEE's rules for infinities and NaN: nothing raises, nothing turns complex.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

Real = Any  # an mpf of a context

HUGE = 2**17  # a magnitude of 2**HUGE counts as infinite where the cost of a function grows with the magnitude


def maximum(mp: Any, u: Real, v: Real) -> Real:
    return v if v > u or v != v else u


def minimum(mp: Any, u: Real, v: Real) -> Real:
    return v if v < u or v != v else u


def largest(mp: Any, *arguments: Real) -> Real:
    return reduce(partial(maximum, mp), arguments)


def least(mp: Any, *arguments: Real) -> Real:
    return reduce(partial(minimum, mp), arguments)


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


def log_gamma(mp: Any, u: Real) -> Real:
    """log |Γ(u)|, ∞ at its poles."""
    if u <= 0 and mp.isint(u):
        return mp.inf
    return mp.re(mp.loggamma(u)) if u != mp.ninf else mp.nan


def poly_gamma(order: int) -> Callable[[Any, Real], Real]:
    """ψ or a derivative of it: at 0 the limit from above, at the other poles that of both sides, if they have one."""

    def function(mp: Any, u: Real) -> Real:
        if u == mp.ninf or (order != 1 and u < 0 and mp.isint(u)):
            return mp.nan
        if u <= 0 and mp.isint(u):
            return mp.inf if order == 1 else mp.ninf
        if order and u < 0:  # where mpmath's time grows with u
            sine, cosine, mirrored = mp.sinpi(u), mp.cospi(u), mp.psi(order, 1 - u)
            turned = mp.pi**2 / sine**2 if order == 1 else -2 * mp.pi**3 * cosine / sine**3
            return turned - mirrored if order == 1 else turned + mirrored
        return mp.psi(order, u)

    return function
