"""Elementary functions in generated modules: one row a function, emitted where it is used.

numpy's scalar functions are compiled as they stand, and follow IEEE's rules with numba's compiler off as well, where
`math` raises. What numpy lacks, or what must keep a NaN, is a function of the module.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derivgen.functions import expm1, log1p, logaddexp, root, sigmoid, softplus, xlogy


@dataclass(frozen=True, slots=True)
class Elementary:
    """How a function is called in a kernel, and the text of its definition where it has one."""

    call: str
    source: str = ""
    arity: int = 1


def _defined(name: str, arguments: str, doc: str, *body: str) -> Elementary:
    lines = ["@elementary", f"def {name}({arguments}):", f'    """{doc}"""', *(f"    {line}" for line in body)]
    return Elementary(name, "\n".join(lines), arguments.count(",") + 1)


SQUARE = _defined("square", "u", "u²", "return u * u")
CUBE = _defined("cube", "u", "u³", "return u * u * u")
INTEGER_POWER = _defined(
    "integer_power",
    "u, k",
    "u^k for an integer k, by repeated multiplication",
    "power = real(1)",
    "for _ in range(abs(k)):",
    "    power *= u",
    "return power if k >= 0 else real(1) / power",
)
MAXIMUM = _defined(
    "maximum", "u, v", "max(u, v); NaN where one of them is NaN", "return v if v > u or np.isnan(v) else u"
)
MINIMUM = _defined(
    "minimum", "u, v", "min(u, v); NaN where one of them is NaN", "return v if v < u or np.isnan(v) else u"
)

FUNCTIONS: dict[type, Elementary] = {
    sp.exp: Elementary("np.exp"),
    sp.log: Elementary("np.log"),
    sp.sin: Elementary("np.sin"),
    sp.cos: Elementary("np.cos"),
    sp.tan: Elementary("np.tan"),
    sp.asin: Elementary("np.arcsin"),
    sp.acos: Elementary("np.arccos"),
    sp.atan: Elementary("np.arctan"),
    sp.atan2: Elementary("np.arctan2"),
    sp.sinh: Elementary("np.sinh"),
    sp.cosh: Elementary("np.cosh"),
    sp.tanh: Elementary("np.tanh"),
    sp.asinh: Elementary("np.arcsinh"),
    sp.acosh: Elementary("np.arccosh"),
    sp.atanh: Elementary("np.arctanh"),
    sp.erf: Elementary("math.erf"),
    sp.erfc: Elementary("math.erfc"),
    sp.Abs: Elementary("abs"),
    sp.floor: Elementary("np.floor"),
    sp.ceiling: Elementary("np.ceil"),
    log1p: Elementary("np.log1p"),
    expm1: Elementary("np.expm1"),
    root: Elementary("np.sqrt"),
    sp.sign: _defined(
        "sign",
        "u",
        "-1, 0 or 1; NaN where u is NaN",
        "return real(1) if u > real(0) else real(-1) if u < real(0) else real(0) * u",
    ),
    sp.Mod: _defined(
        "mod",
        "u, v",
        "u - v·floor(u / v), exact: the remainder with the sign of v",
        "rest = np.fmod(u, v)",
        "return rest + v if rest != real(0) and (rest < real(0)) != (v < real(0)) else rest",
    ),
    sigmoid: _defined(
        "sigmoid",
        "u",
        "1 / (1 + exp(-u)), without overflow",
        "power = np.exp(-abs(u))",
        "return (real(1) if u >= real(0) else power) / (real(1) + power)",
    ),
    softplus: _defined(
        "softplus",
        "u",
        "log(1 + exp(u)), without overflow",
        "return np.maximum(u, real(0)) + np.log1p(np.exp(-abs(u)))",
    ),
    xlogy: _defined(
        "xlogy",
        "u, v",
        "u·log(v), and 0 where u = 0",
        "return real(0) if u == real(0) and not np.isnan(v) else u * np.log(v)",
    ),
    logaddexp: _defined(
        "logaddexp",
        "u, v",
        "log(exp(u) + exp(v)), without overflow",
        "largest = np.maximum(u, v)",
        "return largest + np.log1p(np.exp(-abs(u - v))) if u != v else u + np.log(real(2))",
    ),
}
