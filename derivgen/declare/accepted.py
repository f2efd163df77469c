"""What of SymPy a formula may have: numbers, constants, functions, and what of SymPy's stands for one of them."""

from __future__ import annotations

import sys
from typing import Any

import sympy as sp

from derivgen.errors import Refused
from derivgen.form.functions import DERIVATIVES, WRITABLE, digamma, loggamma, trigamma

NOT_REAL = (type(sp.nan), type(sp.zoo), type(sp.I))
HINTS = {
    "Undefined": " (close it with (value, True))",
    "Derivative": " (model.derivative is that of a let)",
    "gamma": " (write its logarithm as loggamma)",
    "factorial": " (write the logarithm of u! as loggamma(u + 1))",
    "polygamma": " (of these it has digamma and trigamma, polygamma(0, u) and polygamma(1, u))",
}
LARGEST = sp.Integer(int(sys.float_info.max))
FUNCTIONS = sorted({"sqrt", *WRITABLE}, key=str.casefold)
EXPONENTS = 2**14  # that are integers: LLVM takes a time to compile such a power that grows with the exponent
CONSTANTS = (sp.pi, sp.E, sp.oo, -sp.oo)


def shown(number: sp.Expr) -> str:
    """A number in a few characters."""
    text = str(number)
    return text if len(text) <= 30 else f"{text[:10]}…{text[-5:]} (of {len(text)} characters)"


def real_gamma(e: sp.Basic) -> sp.Basic:
    """SymPy's loggamma and the logarithms that it writes for it, its digamma and its trigamma as functions of ours."""
    match e:
        case sp.loggamma(args=(u,)) | sp.log(args=(sp.gamma(args=(u,)),)):
            return loggamma(u)
        case sp.log(args=(sp.factorial(args=(u,)),)):
            return loggamma(u + 1)
        case sp.polygamma(args=(sp.Integer(p=0 | 1 as order), u)):
            return (digamma, trigamma)[order](u)
    return e


def number(e: Any, layer: str) -> Any:
    """A number itself; Refused where it is none of float64's."""
    if e is sp.zoo:
        raise Refused(
            f"{layer}: {e} is no real number: SymPy divided by 0 when the formula was made, perhaps in a "
            "branch that is never taken: give the divisor a let, so that it is divided where the branch is "
            "evaluated"
        )
    if isinstance(e, NOT_REAL):
        raise Refused(f"{layer}: {e} is no real number: SymPy found it in the formula, look for a 0/0 or √-1")
    if e.is_Number and e.is_finite and abs(e) > LARGEST:
        raise Refused(f"{layer}: {shown(e)} is larger than any number of float64, which ends at 1.8e308")
    return e


def check_operation(e: Any, layer: str) -> None:
    """Refused where a node is no operation or function that derivgen knows, or is a power too large to compile."""
    known = (sp.Add, sp.Mul, sp.Pow, sp.core.relational.Relational, sp.And, sp.Or, sp.Not)
    if not isinstance(e, known) and e.func not in DERIVATIVES:
        kind = e.func.__name__
        hint = HINTS.get(kind, "")
        raise Refused(
            f"{layer}: {kind} is not among the functions that derivgen knows{hint}: write it by "
            f"{', '.join(FUNCTIONS)}, or Piecewise; docs/spec.md has a table of functions"
        )
    if isinstance(e, sp.Pow) and e.exp.is_Integer and abs(e.exp) > EXPONENTS:
        raise Refused(
            f"{layer}: the exponent {shown(e.exp)} is too large, expected at most {EXPONENTS}: for larger "
            "ones write exp(k*log(u))"
        )
