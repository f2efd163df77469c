"""Coefficients of elementary functions: `python scripts/minimax.py` writes derivgen/print/coefficients.py.

With `--check` it writes nothing, and fails where the file is another one.

Each is a minimax polynomial by Remez' exchange on a grid of Chebyshev points, at 50 digits by mpmath. What is small is
the error of the function that the polynomial stands in, relative to that function. Up to three coefficients are
rounded to the dtype one after the other, the others fitted anew around them, where that is better.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

TARGET = Path(__file__).parent.parent / "derivgen" / "print" / "coefficients.py"
DIGITS = 50
ONE_BY_ONE = 3  # coefficients that may be rounded before the others are fitted
ROUNDS = 30
QUARTER_BITS = {"float32": 30, "float64": 50}  # of a quarter turn, as sin and cos count it
HALF_BITS = {"float32": 11, "float64": 25}
LN2_BITS = {"float32": 15, "float64": 41}  # of its first part: times an exponent it is exact

Real = Callable[[mpf], mpf]


@dataclass(frozen=True, slots=True)
class Fit:
    """Σ c[j]·x^j ≈ value(x) for low ≤ x ≤ high, where an error counts by weight(x); degrees by dtype."""

    low: float | dict[str, float]
    high: float | dict[str, float]
    value: Real
    weight: Real
    degrees: dict[str, int]


def odd_rest(f: Real) -> tuple[Real, Real]:
    """P and its weight in f(x) = x + x³·P(x²)."""

    def value(z: mpf) -> mpf:
        x = mp.sqrt(z)
        return (f(x) - x) / (x * z)

    def weight(z: mpf) -> mpf:
        x = mp.sqrt(z)
        return x * z / f(x)

    return value, weight


def erfcx(x: mpf) -> mpf:
    return mp.exp(x * x) * mp.erfc(x)


def from_unit(t: mpf, middle: float = 3.5) -> mpf:
    """x of t = (x - middle)/(x + middle)."""
    return mpf(middle) * (1 + t) / (1 - t)


def near(value: Real, degrees: dict[str, int], low: float = -0.2) -> Fit:
    """Of y by t = (y - 1.5)/(y + 1.5), up to y = 2.5 and from 1 on, relative to the value."""

    @cache
    def of(t: mpf) -> mpf:
        return value(from_unit(t, 1.5))

    return Fit(low, 0.25, of, lambda t: 1 / of(t), degrees)


def far(rest: Real, whole: Real, power: int, degrees: dict[str, int]) -> Fit:
    """rest(y) = P(1/y²)/y^power for y ≥ 2.5, relative to the whole."""

    def y(z: mpf) -> mpf:
        return 1 / mp.sqrt(z)

    return Fit(0, 0.16, lambda z: rest(y(z)) * y(z) ** power, lambda z: 1 / (y(z) ** power * whole(y(z))), degrees)


def stirling_rest(y: mpf) -> mpf:
    return mp.loggamma(y) - ((y - mpf(0.5)) * mp.log(y) - y + mp.log(2 * mp.pi) / 2)


@cache
def digamma_zero() -> mpf:
    with mp.workdps(DIGITS):
        return mp.findroot(mp.digamma, 1.4616)


FITS = {
    # e^r = 1 + r + r²·P(r)
    "exp": Fit(
        {"float32": -0.36, "float64": -0.52},
        {"float32": 0.36, "float64": 0.52},
        lambda r: (mp.exp(r) - 1 - r) / r**2,
        lambda r: r**2 / mp.expm1(r),
        {"float32": 4, "float64": 10},
    ),
    # log(1 + f) = f - f²/2 + f³·P(f)
    "log": Fit(
        -0.2929,
        0.41422,
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3,
        lambda f: f**3 / mp.log1p(f),
        {"float32": 7},
    ),
    # log(1 + f) = f - f²/2 + f³·P(f), where power takes it
    "log_two": Fit(
        {"float32": -0.191, "float64": -0.0776},
        {"float32": 0.216, "float64": 0.0767},
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3,
        lambda f: f**3 / mp.log1p(f),
        {"float32": 6, "float64": 10},
    ),
    # log((1 + s)/(1 - s)) = 2·s + s³·P(s²)
    "atanh": Fit(
        0,
        0.02945,
        lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z,
        lambda z: z / 2,
        {"float64": 6},
    ),
    # sinh(x) = x + x³·P(x²)
    "sinh": Fit(0, 1, *odd_rest(mp.sinh), {"float32": 2, "float64": 6}),
    # sin(x) = x + x³·P(x²)
    "sin": Fit(0, 1, *odd_rest(mp.sin), {"float32": 3, "float64": 6}),
    # atan(x) = x + x³·P(x²)
    "atan": Fit(0, 1, *odd_rest(mp.atan), {"float32": 8, "float64": 19}),
    # cos(x) = 1 - x²/2 + x⁴·P(x²)
    "cos": Fit(
        0,
        1,
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        {"float32": 2, "float64": 5},
    ),
    # erf(x) = x + x·P(x²)
    "erf": Fit(
        0,
        1,
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        {"float32": 6, "float64": 13},
    ),
    # sin(πx)/π = x + x³·P(x²)
    "sin_pi": Fit(0, 0.25, *odd_rest(lambda x: mp.sin(mp.pi * x) / mp.pi), {"float32": 3, "float64": 7}),
    # log Γ(y) = (y - 1)·(y - 2)·P((y - 1.5)/(y + 1.5))
    "loggamma": near(lambda y: mp.loggamma(y) / ((y - 1) * (y - 2)), {"float32": 9, "float64": 20}, -1 / 3),
    # log Γ(y) = (y - ½)·log(y) - y + log(2π)/2 + P(1/y²)/y
    "stirling": far(stirling_rest, mp.loggamma, 1, {"float32": 3, "float64": 11}),
    # ψ(y) = (y - y₀)·P((y - 1.5)/(y + 1.5)), y₀ its zero
    "digamma": near(lambda y: mp.digamma(y) / (y - digamma_zero()), {"float32": 8, "float64": 19}),
    # ψ(y) = log(y) - 1/(2y) - P(1/y²)/y²
    "digamma_series": far(
        lambda y: mp.log(y) - 1 / (2 * y) - mp.digamma(y), mp.digamma, 2, {"float32": 3, "float64": 12}
    ),
    # ψ₁(y) = P((y - 1.5)/(y + 1.5))/y
    "trigamma": near(lambda y: y * mp.psi(1, y), {"float32": 9, "float64": 19}),
    # ψ₁(y) = 1/y + 1/(2y²) + P(1/y²)/y³
    "trigamma_series": far(
        lambda y: mp.psi(1, y) - 1 / y - 1 / (2 * y**2), lambda y: mp.psi(1, y), 3, {"float32": 4, "float64": 14}
    ),
    # ψ₂(y) = P((y - 1.5)/(y + 1.5))/y²
    "tetragamma": near(lambda y: y**2 * mp.psi(2, y), {"float32": 10, "float64": 20}),
    # ψ₂(y) = -1/y² - 1/y³ - P(1/y²)/y⁴
    "tetragamma_series": far(
        lambda y: -mp.psi(2, y) - 1 / y**2 - 1 / y**3, lambda y: mp.psi(2, y), 4, {"float32": 5, "float64": 16}
    ),
    # erf(x) = 1 - exp(-P(x - 1)), up to the x where it is 1
    "erf_tail": Fit(
        0,
        {"float32": 2.95, "float64": 4.95},
        lambda t: -mp.log(mp.erfc(t + 1)),
        lambda t: mp.erfc(t + 1) / mp.erf(t + 1),
        {"float32": 7, "float64": 19},
    ),
    # erfc(x)·exp(x²)·(x + 3/4) = 5/8 + P((x - 3.5)/(x + 3.5)), up to the x where erfc is 0
    "erfc": Fit(
        -1,
        {"float32": 0.5, "float64": 0.775},
        lambda t: erfcx(from_unit(t)) * (mpf(0.75) + from_unit(t)) - mpf(5) / 8,
        lambda t: 1 / (erfcx(from_unit(t)) * (mpf(0.75) + from_unit(t))),
        {"float32": 11, "float64": 24},
    ),
}


def chebyshev_points(low: float, high: float, count: int) -> list[mpf]:
    middle, half = (mpf(low) + mpf(high)) / 2, (mpf(high) - mpf(low)) / 2
    return [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in reversed(range(count))]


def minimax(points: list[mpf], values: list[mpf], weights: list[mpf], powers: range) -> list[mpf]:
    """Coefficients c[j] of x^j, j in powers, with the smallest largest |Σ c[j]·x^j - value|·weight over the points."""
    unknowns = len(powers) + 1
    rows = [[x**j for j in powers] for x in points]
    extrema = [round(i * (len(points) - 1) / (unknowns - 1)) for i in range(unknowns)]
    for _ in range(ROUNDS):
        system = mp.matrix(unknowns, unknowns)
        right = mp.matrix(unknowns, 1)
        for i, at in enumerate(extrema):
            for j, power in enumerate(rows[at]):
                system[i, j] = power
            system[i, unknowns - 1] = (-1) ** i / weights[at]
            right[i] = values[at]
        solution = mp.lu_solve(system, right)
        errors = [
            (mp.fdot(row, solution[: unknowns - 1]) - value) * weight
            for row, value, weight in zip(rows, values, weights, strict=True)
        ]
        found = alternating(errors, unknowns)
        if found == extrema or max(map(abs, errors)) < abs(solution[unknowns - 1]) * mpf(1.001):
            break
        extrema = found
    return list(solution[: unknowns - 1])


def alternating(errors: list[mpf], count: int) -> list[int]:
    """Positions of `count` extrema of alternating sign: the largest of each run of one sign, the smallest ends cut."""
    found: list[int] = []
    for i, error in enumerate(errors):
        if found and (error > 0) == (errors[found[-1]] > 0):
            if abs(error) > abs(errors[found[-1]]):
                found[-1] = i
        else:
            found.append(i)
    while len(found) > count:
        if len(found) == count + 1:
            found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
        else:  # two neighbours, to keep the signs alternating
            smallest = min(range(len(found) - 1), key=lambda i: max(abs(errors[found[i]]), abs(errors[found[i + 1]])))
            del found[smallest : smallest + 2]
    assert len(found) == count, "too few extrema: take a finer grid"
    return found


def rounded(value: mpf, dtype: str) -> float:
    """The nearest number of the dtype, as a Python float."""
    return float(np.dtype(dtype).type(mp.nstr(value, 25)))


def coefficients(name: str, dtype: str) -> list[float]:
    """Rounded coefficients, the constant first: the best of a few ways to round them."""
    fit, count = FITS[name], FITS[name].degrees[dtype] + 1
    with mp.workdps(DIGITS):
        low, high = (end[dtype] if isinstance(end, dict) else end for end in (fit.low, fit.high))
        points = chebyshev_points(low, high, 16 * (count + 2))
        values, weights = [fit.value(x) for x in points], [abs(fit.weight(x)) for x in points]

        def error(found: list[float]) -> mpf:
            powers = [mpf(c) for c in reversed(found)]
            return max(abs(mp.polyval(powers, x) - v) * w for x, v, w in zip(points, values, weights, strict=True))

        candidates: list[list[float]] = []
        done: list[float] = []
        rests = values
        for first in range(min(ONE_BY_ONE, count - 1) + 1):
            rest = [rounded(c, dtype) for c in minimax(points, rests, weights, range(first, count))]
            candidates.append(done + rest)
            done.append(rest[0])
            rests = [r - mpf(rest[0]) * x**first for r, x in zip(rests, points, strict=True)]
        return min(candidates, key=error)


def constants(dtype: str) -> dict[str, float]:
    """Numbers that range reduction needs."""
    with mp.workdps(DIGITS):
        quarter, shift = mp.pi / 2 / 2 ** QUARTER_BITS[dtype], QUARTER_BITS[dtype] + HALF_BITS[dtype]
        quarter_high = mp.nint(quarter * mpf(2) ** shift) / mpf(2) ** shift
        exact = {"log2_e": 1 / mp.ln2, "ln2": mp.ln2}
        for name, number in {"ln2": 2, "ln_4_3": mpf(4) / 3, "ln_8_9": mpf(8) / 9, "ln_8_7": mpf(8) / 7}.items():
            high = mp.nint(mp.log(number) * 2 ** LN2_BITS[dtype]) / 2 ** LN2_BITS[dtype]
            exact |= {f"{name}_high": high, f"{name}_low": mp.log(number) - high}
        half_pi = mpf(rounded(mp.pi / 2, dtype))
        zero = digamma_zero() - 1
        zero_high = mpf(rounded(zero, dtype))
        exact |= {"digamma_zero_high": zero_high, "digamma_zero_low": zero - zero_high}
        exact |= {"pi": mp.pi, "stirling": (mp.log(2 * mp.pi) - 1) / 2}
        exact |= {"half_pi_high": half_pi, "half_pi_low": mp.pi / 2 - half_pi}
        exact |= {"quarter": quarter, "quarter_high": quarter_high, "quarter_low": quarter - quarter_high}
        return {name: rounded(value, dtype) for name, value in exact.items()}


# By dtype: (zeros before the first digit of 2/π, digits a word, words), as far as sin and cos of the largest number
# need.
TWO_OVER_PI = {"float32": (25, 32, 7), "float64": (54, 52, 25)}


def two_over_pi(dtype: str) -> list[str]:
    """The digits of 2/π in words."""
    zeros, width, words = TWO_OVER_PI[dtype]
    with mp.workprec(width * words + 100):
        digits = int(mp.floor(2 / mp.pi * 2 ** (width * words - zeros)))
    return [f"0x{digits >> width * (words - 1 - i) & (1 << width) - 1:0{width // 4}X}" for i in range(words)]


def text(value: float, dtype: str) -> str:
    """The shortest decimal that the dtype reads as this value."""
    short = str(np.dtype(dtype).type(value))
    assert np.dtype(dtype).type(float(short)) == value
    return repr(float(short))


def module() -> str:
    lines = [
        '"""Polynomial coefficients of the elementary functions, the constant first. Written by scripts/minimax.py."""',
        "",
        "COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {",
    ]
    for dtype in ("float32", "float64"):
        lines.append(f'    "{dtype}": {{')
        for name, fit in FITS.items():
            if dtype in fit.degrees:
                lines.append(f'        "{name}": (')
                lines += [f"            {text(c, dtype)}," for c in coefficients(name, dtype)]
                lines.append("        ),")
        lines.append("    },")
    lines += ["}", "", "CONSTANTS: dict[str, dict[str, float]] = {"]
    for dtype in ("float32", "float64"):
        rows = [f'        "{name}": {text(value, dtype)},' for name, value in constants(dtype).items()]
        lines += [f'    "{dtype}": {{', *rows, "    },"]
    lines += ["}", "", "TWO_OVER_PI: dict[str, tuple[str, ...]] = {"]
    for dtype, (zeros, width, _) in TWO_OVER_PI.items():
        words = [f'        "{word}",' for word in two_over_pi(dtype)]
        lines += [f'    "{dtype}": (  # after {zeros} zeros, {width} digits at a time', *words, "    ),"]
    return "\n".join([*lines, "}", ""])


def main() -> int:
    found = module()
    if sys.argv[1:] == ["--check"]:
        same = TARGET.read_text(encoding="utf-8") == found
        print(f"{TARGET.name}: {'as fitted' if same else 'other coefficients than fitted'}")
        return int(not same)
    TARGET.write_text(found, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
