"""Elementary functions in generated modules, emitted where they are used.

Those with a file in `templates/elementary` are functions of the module: their names are the same in both dtypes, their
texts are not. The others are numpy's scalar functions as numba compiles them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp

from derivgen.form.functions import RECORDS, root
from derivgen.print.coefficients import COEFFICIENTS, CONSTANTS, TWO_OVER_PI
from derivgen.print.templates import environment, folder

SQUARE, CUBE, INTEGER_POWER, POWER = "square", "cube", "integer_power", "power"
MAXIMUM, MINIMUM = "maximum", "minimum"
ORDINAL, OF_ORDINAL = "ordinal", "of_ordinal"

# What is called where there is no text of ours.
NUMPY: dict[type, str] = {
    sp.tan: "np.tan",
    sp.asin: "np.arcsin",
    sp.acos: "np.arccos",
    sp.atan: "np.arctan",
    sp.atanh: "np.arctanh",
    sp.Abs: "abs",
    sp.floor: "np.floor",
    sp.ceiling: "np.ceil",
    root: "np.sqrt",
}


def texts() -> dict[str, str]:
    """The text of each function that has one, as a template."""
    paths = sorted((folder() / "elementary").glob("*.py.jinja"))
    return {path.name.split(".")[0]: path.read_text(encoding="utf-8") for path in paths}


TEXTS = texts()

# How a kernel calls each function: by its text's name, or numpy's.
FUNCTIONS: dict[type, str] = NUMPY | {f.type: f.name for f in RECORDS if f.name in TEXTS}

# What the text of a kernel calls by a bare name.
CALLED = {
    *FUNCTIONS.values(),
    SQUARE,
    CUBE,
    INTEGER_POWER,
    POWER,
    MAXIMUM,
    MINIMUM,
    ORDINAL,
    OF_ORDINAL,
    "max",
    "range",
}

DTYPES = ("float32", "float64")


def bounds(texts: dict[str, str]) -> dict[str, tuple[float, float]]:
    """By function, what its text states as `bound(…, …)`: the largest error in float32 and in float64.

    In units in the last place, measured, and asserted by tests/print/test_elementary.py.
    """
    stated = {name: re.search(r"{{ bound\((.*), (.*)\) }}", text) for name, text in texts.items()}
    return {name: (float(found[1]), float(found[2])) for name, found in stated.items() if found}


BOUNDS = bounds(TEXTS)


def defined() -> tuple[str, ...]:
    """The names of the functions that have a text."""
    return tuple(TEXTS)


@dataclass(frozen=True, slots=True)
class Horner:
    """Lines that evaluate a polynomial."""

    coefficients: dict[str, tuple[float, ...]]

    def __call__(self, target: str, variable: str, name: str) -> str:
        last, *others = reversed(self.coefficients[name])
        lines = [f"{target} = real({last!r})", *(f"{target} = {target} * {variable} + real({c!r})" for c in others)]
        return "\n    ".join(lines)


@cache
def values(dtype: str) -> dict[str, object]:
    """What a template may refer to."""
    wide = dtype == "float64"
    mantissa, bias = (52, 1023) if wide else (23, 127)
    magic = 3 << (mantissa - 1)
    least = 0.82 if wide else 0.81  # of the numbers whose logarithms `power` takes by a polynomial

    def bits(value: float) -> str:
        return f"0x{int(np.dtype(dtype).type(value).view(f'int{64 if wide else 32}')):X}"

    return {
        "dtype": dtype,
        "integer": "np.int64" if wide else "np.int32",
        "mantissa": mantissa,
        "bias": bias,
        "magic": magic,  # added to a number of less than half its size, it leaves no digits after the point
        "spare": mantissa + 1,  # digits: 2^k with so many more has the bits of 0 at the first k where p·2^k is 0
        "bits_of_magic": bits(magic),
        "bits_of_root_half": bits(0.5**0.5),
        "least": least,
        "bits_of_least": bits(least),
        "power_most": "1e20" if wide else "1e10",  # even numbers
        "power_least": "1e-20" if wide else "1e-10",
        "log_most": "1e25" if wide else "1e15",  # times power_least it is more than exp_most
        "one": 1 << mantissa,
        "bits_of_one": bits(1 << mantissa),
        "bits_of_infinity": bits(np.inf),
        "bits_of_nan": bits(np.nan),
        "quarter_bit": f"0x{1 << (62 if wide else 30):X}",
        "sign_bit": -(1 << (63 if wide else 31)),
        "sign_place": 63 if wide else 31,
        "all_but_sign": f"0x{(1 << (63 if wide else 31)) - 1:X}",
        "two_over_pi": TWO_OVER_PI[dtype],
        "upper_half": -(1 << (mantissa + 2) // 2),
        "least_normal": repr(2.0**-1022) if wide else "1.1754944e-38",
        "exp_reach": 0.52 if wide else 0.36,  # of the polynomial for e^r - 1
        "exp_least": -746 if wide else -104.75,
        "exp_most": 710 if wide else 89,
        "expm1_least": -40 if wide else -20,
        "tanh_most": 22 if wide else 10,
        "sinh_most": 711 if wide else 90,
        "erf_most": 5.95 if wide else 3.95,
        "erfc_most": 27.3 if wide else 10.2,
        "log_of_twice": 2.0 ** (mantissa // 2 + 2),  # asinh and acosh are log(2·u) beyond
        "horner": Horner(COEFFICIENTS[dtype]),
        "bound": lambda *ulps: f"at most {ulps[wide]} ulp off",
        **CONSTANTS[dtype],
    }


@cache
def source(name: str, dtype: str) -> str:
    """The text of a function."""
    return environment().get_template(f"elementary/{name}.py.jinja").render(**values(dtype)).rstrip()


@cache
def needed(text: str) -> tuple[str, ...]:
    """The functions of the module that a text calls."""
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return tuple(sorted({f.id for f in calls if isinstance(f, ast.Name)} & set(defined())))


def definitions(names: Iterable[str], dtype: str) -> list[str]:
    """The texts of functions, each after those that it calls."""
    texts: dict[str, str] = {}

    def define(name: str) -> None:
        text = source(name, dtype)
        for other in needed(text):
            if other not in texts:
                define(other)
        texts.setdefault(name, text)

    for name in sorted(names):
        define(name)
    return list(texts.values())
