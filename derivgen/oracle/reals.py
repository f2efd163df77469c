"""Numbers and powers of the interpreter in arbitrary precision; what functions are there, their records say.

Under IEEE's rules for infinities and NaN: nothing raises, nothing turns complex.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

from derivgen.form.reals import HUGE, Real, exponential


@lru_cache(maxsize=16)
def context(digits: int) -> Any:
    """The private mpmath context of this many decimal digits: the global one is left alone."""
    mp = mpmath.MPContext()
    mp.dps = digits
    return mp


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
