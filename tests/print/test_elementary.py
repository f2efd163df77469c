"""The elementary functions of generated modules: their stated bounds, special values, and that loops are vectorized."""

from __future__ import annotations

import platform
import re
import subprocess
import sys

import minimax
import mpmath
import numba
import numpy as np
import pytest
import scipy.special
import sympy as sp
from compiled_types import doubles
from elementary_module import ONE_ARGUMENT, OPTIONS, TWO_ARGUMENTS, apply, module, one_by_one
from generated import execute, module_text
from sampled import EVERY_CASE

from derivgen import Model, optimizers
from derivgen.print.coefficients import COEFFICIENTS
from derivgen.print.elementary import BOUNDS, CALLED, DTYPES, defined, definitions, source

# At this many digits differences near 0 and arguments of sin up to 2^1024 are no problem.
mpmath.mp.dps = 40
SWEEP = 1 << (22 if EVERY_CASE else 20)  # of the float32 numbers
POINTS = 1500 if EVERY_CASE else 500  # of float64 numbers, in each of three ranges

EXACT = {
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "softplus": lambda u: max(u, 0) + mpmath.log1p(mpmath.exp(-abs(u))),
    "power": lambda u, v: u**v,
    "xlogy": lambda u, v: u * mpmath.log(v),
    "logaddexp": lambda u, v: max(u, v) + mpmath.log1p(mpmath.exp(-abs(u - v))),
}
EXACT |= {
    "loggamma": lambda u: mpmath.re(mpmath.loggamma(u)),
    "digamma": lambda u: mpmath.psi(0, u),
    "trigamma": lambda u: mpmath.psi(1, u),
    "tetragamma": lambda u: mpmath.psi(2, u),
}
GAMMAS = (
    "loggamma",
    "digamma",
    "trigamma",
    "tetragamma",
)  # f(u) for u < 0 is the difference of two terms, one of them f(1 - u)
IN_DOUBLES = {
    "loggamma": lambda u: np.where(u > -np.inf, scipy.special.gammaln(u), np.nan),
    "digamma": scipy.special.digamma,
    "trigamma": lambda u: gamma_derivative(1, u),
    "tetragamma": lambda u: gamma_derivative(2, u),
    "sigmoid": scipy.special.expit,
    "softplus": lambda u: np.logaddexp(u, 0.0),
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "power": np.power,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atan2": np.arctan2,
    "xlogy": scipy.special.xlogy,
    "logaddexp": np.logaddexp,
}


def gamma_derivative(order: int, u: np.ndarray) -> np.ndarray:
    """SciPy's, which are for u > 0: others by reflection."""
    positive = scipy.special.polygamma(order, np.where(u < 0, 1 - u, u))
    turn = u - 2 * np.round(u / 2)
    sine = np.where(turn == np.round(turn), 0, np.sin(np.pi * turn))
    if order == 1:
        return np.where(u < 0, (np.pi / sine) ** 2 - positive, positive)
    reflected = np.where(sine == 0, np.nan, positive - 2 * np.pi**3 * np.cos(np.pi * turn) / sine**3)
    return np.where(u < 0, reflected, np.where(u == 0, -2 / u, positive))


RANGES = {
    # where a function is neither constant nor infinite, float32 and float64
    "exp": ((-104, 89), (-746, 710)),
    "expm1": ((-18, 89), (-40, 710)),
    "log": ((0, 4), (0, 4)),
    "log1p": ((-1, 4), (-1, 4)),
    "sin": ((-1e3, 1e3), (-1e3, 1e3)),
    "cos": ((-1e3, 1e3), (-1e3, 1e3)),
    "sinh": ((-90, 90), (-711, 711)),
    "cosh": ((-90, 90), (-711, 711)),
    "tanh": ((-10, 10), (-20, 20)),
    "loggamma": ((0, 4), (0, 4)),
    "digamma": ((0, 4), (0, 4)),
    "trigamma": ((0, 4), (0, 4)),
    "tetragamma": ((0, 4), (0, 4)),
    "asinh": ((-1e5, 1e5), (-1e9, 1e9)),
    "acosh": ((1, 3), (1, 3)),
    "erf": ((-4, 4), (-6, 6)),
    "erfc": ((-4, 10.1), (-6, 27.3)),
    "sigmoid": ((-104, 20), (-746, 40)),
    "softplus": ((-104, 20), (-746, 40)),
}


def bound(name: str, dtype: str) -> float:
    return BOUNDS[name][DTYPES.index(dtype)]


def exact(name: str, *arguments: float) -> mpmath.mpf:
    reals = (a if isinstance(a, mpmath.mpf) else mpmath.mpf(float(a)) for a in arguments)
    return EXACT.get(name, getattr(mpmath, name, None))(*reals)


def in_doubles(name: str, *arguments: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return IN_DOUBLES.get(name, getattr(np, name, None))(*(a.astype(float) for a in arguments))


def unit(size: np.ndarray, dtype: str) -> np.ndarray:
    """The distance of the dtype's numbers at a value: that of the largest ones beyond them, of denormals below."""
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        exponent = np.frexp(np.where(np.isfinite(size), np.abs(size), 1.0))[1] - 1
    return np.ldexp(1.0, np.clip(exponent, limits.minexp, limits.maxexp - 1) - limits.nmant)


def ulps_of_float32(name: str, found: np.ndarray, *arguments: np.ndarray) -> float:
    """The largest error of float32 results, by doubles."""
    wanted = in_doubles(name, *arguments)
    scale = wanted
    if name == "logaddexp":
        largest = np.maximum(*arguments).astype(float)
        scale = np.maximum(np.maximum(np.abs(wanted), np.abs(largest)), wanted - largest)
    if name in GAMMAS:
        (u,) = arguments
        term = in_doubles(name, 1 - u.astype(float))
        other = wanted - term if name in ("digamma", "tetragamma") else wanted + term
        scale = np.where(u < 0, np.maximum(np.maximum(np.abs(wanted), np.abs(term)), np.abs(other)), wanted)
    both = (np.isnan(found) & np.isnan(wanted)) | (found == wanted)
    overflow = np.isinf(found) & (np.abs(wanted) > np.finfo(np.float32).max) & (np.sign(found) == np.sign(wanted))
    with np.errstate(all="ignore"):
        errors = np.where(both | overflow, 0.0, np.abs(found.astype(float) - wanted) / unit(scale, "float32"))
    return float(np.where(np.isnan(errors), np.inf, errors).max())


def ulps_of_float64(name: str, found: np.ndarray, *arguments: np.ndarray) -> float:
    """The largest error of float64 results, by mpmath."""
    largest = 0.0
    for value, *at in zip(found, *arguments, strict=True):
        wanted = exact(name, *at)
        if np.isinf(value):
            assert abs(wanted) > mpmath.mpf(np.finfo(float).max), (name, at)
            continue
        size = abs(wanted)
        if name == "logaddexp":
            size = max(size, abs(top := max(map(float, at))), wanted - top)
        if name in GAMMAS and at[0] < 0:
            term = exact(name, 1 - mpmath.mpf(float(at[0])))
            size = max(size, abs(term), abs(wanted - term if name in ("digamma", "tetragamma") else wanted + term))
        place = max(mpmath.frexp(size)[1] - 1, -1022) if size else -1022
        error = abs(mpmath.mpf(float(value)) - wanted) / mpmath.mpf(2) ** (min(place, 1023) - 52)
        largest = max(largest, float(error))
    return largest


def ulps(name: str, found: np.ndarray, *arguments: np.ndarray) -> float:
    """The largest error in units in the last place."""
    measure = ulps_of_float32 if found.dtype == np.float32 else ulps_of_float64
    return measure(name, found, *arguments)


def all_float32(count: int) -> np.ndarray:
    """Numbers of every sign and exponent, evenly by their digits."""
    numbers = np.linspace(0, 2**32 - 1, count).astype(np.uint32).view(np.float32)
    return numbers[np.isfinite(numbers)]


def all_float64(count: int, seed: int = 0) -> np.ndarray:
    bits = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64, endpoint=False)
    numbers = bits.view(np.float64)
    return numbers[np.isfinite(numbers)]


def points(name: str, dtype: str, count: int) -> np.ndarray:
    """Numbers of the range where a function is interesting, and near 0."""
    low, high = RANGES[name][DTYPES.index(dtype)]
    rng = np.random.default_rng(len(name))
    return np.concatenate([rng.uniform(low, high, count), rng.uniform(-1.5, 1.5, count)]).astype(dtype)


def domain(name: str, x: np.ndarray) -> np.ndarray:
    if name in ("log", "log1p"):
        return x[x > (0 if name == "log" else -1)]
    if name == "acosh":
        return x[x >= 1]
    return x[x > 0] if name in GAMMAS else x


# ---- accuracy


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_float32_over_the_whole_range(name):
    x = domain(name, np.concatenate([all_float32(SWEEP), points(name, "float32", SWEEP // 4)]))
    assert ulps(name, apply(name, x), x) <= bound(name, "float32")


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_the_doubles_that_float32_is_compared_with(name):
    """To a thousandth of a unit in the last place of float32."""
    x = domain(name, np.concatenate([all_float32(400), points(name, "float32", 200)]))
    for at, found in zip(x, in_doubles(name, x), strict=True):
        wanted = exact(name, at)
        if abs(wanted) < np.finfo(np.float32).max:
            assert abs(found - wanted) <= 1e-3 * float(unit(np.array(float(wanted)), "float32")), at


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_float64_over_the_whole_range(name):
    x = domain(name, np.concatenate([all_float64(POINTS), points(name, "float64", POINTS)]))
    assert ulps(name, apply(name, x), x) <= bound(name, "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GAMMAS)
def test_gamma_functions_of_negative_numbers(name, dtype):
    """By the second bound that they state."""
    rng, count = np.random.default_rng(8), SWEEP // 4 if dtype == "float32" else POINTS
    x = -np.concatenate([rng.uniform(0, 6, count), 10.0 ** rng.uniform(-30, 1.5, count)]).astype(dtype)
    x = x[x != np.floor(x)]
    stated = re.findall(r"at most ([\d.]+) ulp off", source(name, dtype))
    assert ulps(name, apply(name, x), x) <= float(stated[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_near_multiples_of_a_quarter_turn(name, dtype):
    """The numbers nearest to k·π/2, whose reduction cancels most; the last one is the worst of float64."""
    k = np.concatenate([np.arange(1, 300), 2 ** np.arange(9, 120 if dtype == "float32" else 1020, 3, dtype=object)])
    with mpmath.workprec(1200):
        x = np.array([float(mpmath.pi / 2 * int(i)) for i in k] + [6381956970095103 * 2.0**797] * (dtype != "float32"))
    x = x.astype(dtype)
    found = apply(name, x)
    with mpmath.workprec(1200):
        wanted = [exact(name, at) for at in x]
        errors = [
            abs(mpmath.mpf(float(value)) - want) / mpmath.mpf(2) ** (mpmath.frexp(want)[1] - 1 - np.finfo(dtype).nmant)
            for value, want in zip(found, wanted, strict=True)
        ]
    assert max(errors) <= bound(name, dtype)


def pairs(name: str, dtype: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    largest = 88 if dtype == "float32" else 709
    if name == "logaddexp":
        scales = np.repeat([1.0, 5.0, 100.0], count)
        u, v = rng.normal(size=3 * count) * scales, rng.normal(size=3 * count) * scales
        return u.astype(dtype), v.astype(dtype)
    if name == "atan2":
        scales = 10.0 ** rng.uniform(-largest / 5, largest / 5, (2, count))
        u, v = rng.normal(size=(2, 3, count)) * np.stack([np.ones(count), scales[0], scales[1]])
        return u.ravel().astype(dtype), v.ravel().astype(dtype)
    u = np.exp(rng.uniform(-largest, largest, count))
    u = np.concatenate(
        [u, rng.uniform(0.6, 1.6, count), 1 + rng.normal(size=count) * 10.0 ** rng.uniform(-6, -1, count)]
    )
    u = np.abs(u).astype(dtype)
    if name == "xlogy":
        return rng.permutation(u), u
    u = u[u != 1]
    return u, (rng.uniform(-1.15, 1.02, u.size) * largest / np.log(u.astype(float))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_two_arguments(name, dtype):
    u, v = pairs(name, dtype, 1 << 18 if dtype == "float32" else POINTS)
    assert ulps(name, apply(name, u, v), u, v) <= bound(name, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "sigmoid", "softplus", "erfc", "power"])
def test_where_results_become_zero(name, dtype):
    """On both sides of the least denormal number: `scaled` is right down to one power of two, not below it."""
    least = float(np.log(np.finfo(dtype).smallest_subnormal))
    at = np.linspace(least - 20, least + 3, 2000 if dtype == "float32" else POINTS)
    if name == "erfc":
        arguments = [(np.sqrt(-at) - 0.15).astype(dtype)]  # e^(-u²) is divided by u·√π there
    elif name == "power":
        base = np.random.default_rng(3).uniform(0.01, 30, at.size).astype(dtype)
        arguments = [base, (at / np.log(base.astype(float))).astype(dtype)]
    else:
        arguments = [at.astype(dtype)]
    found = apply(name, *arguments)
    assert (found == 0).any() and (found != 0).any()
    assert ulps(name, found, *arguments) <= bound(name, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_uncompiled_they_keep_the_bound_too(name, dtype):
    """Without fused operations."""
    if name in TWO_ARGUMENTS:
        arguments = [a[:: a.size // 200] for a in pairs(name, dtype, 4000)]
    else:
        arguments = [domain(name, points(name, dtype, 150))]
    assert ulps(name, one_by_one(name, *arguments), *arguments) <= bound(name, dtype)


# ---- special values


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_special_values(name, dtype, compiled):
    limits = np.finfo(dtype)
    x = np.array([0, 1, np.inf, limits.max, limits.tiny, limits.smallest_subnormal, np.nan, 1e4, 0.41, 0.55], dtype)
    x = np.concatenate([x, -x])
    found = apply(name, x) if compiled else one_by_one(name, x)
    with np.errstate(all="ignore"):
        wanted = in_doubles(name, x).astype(dtype)
        units = 8 if name in GAMMAS else 2
        near = np.abs(found - wanted) <= units * np.spacing(np.minimum(np.abs(wanted), limits.max))
    same = (np.isnan(found) & np.isnan(wanted)) | ((found == wanted) & (np.signbit(found) == np.signbit(wanted)))
    assert (same | (near & (np.signbit(found) == np.signbit(wanted)))).all(), x[~same]
    assert (same | np.isfinite(x)).all()


SPECIAL = [0, 1, 2, 0.5, 3, 1.5, np.inf, np.nan, 1e-40, 1e30, 7, 2**23 + 1, 2**24]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_special_values(dtype, compiled):
    """By IEEE: negative bases, zeros, infinities, and 1 for u = 1 or v = 0 even where the other is NaN."""
    numbers = np.concatenate([SPECIAL, np.negative(SPECIAL)]).astype(dtype)
    u, v = (a.ravel() for a in np.meshgrid(numbers, numbers))
    found = apply("power", u, v) if compiled else one_by_one("power", u, v)
    with np.errstate(all="ignore"):
        wanted = np.power(u, v)
        near = np.abs(found - wanted) <= 4 * np.spacing(np.abs(wanted))
    same = (np.isnan(found) & np.isnan(wanted)) | ((found == wanted) & (np.signbit(found) == np.signbit(wanted)))
    assert (same | near).all(), (u[~(same | near)], v[~(same | near)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_special_pairs(dtype):
    nan, inf = np.nan, np.inf
    u, v = np.array([0, 0, 0, nan, 0, 2, 2, 1], dtype), np.array([0, inf, nan, 1, -1, 0, inf, -1], dtype)
    np.testing.assert_array_equal(apply("xlogy", u, v), np.array([0, 0, nan, nan, 0, -inf, inf, nan], dtype))
    u, v = np.array([inf, inf, -inf, nan, 1, -inf, 1e30], dtype), np.array([inf, -inf, -inf, 1, nan, 2, 1], dtype)
    np.testing.assert_array_equal(apply("logaddexp", u, v), np.array([inf, inf, -inf, nan, nan, 2, 1e30], dtype))


# ---- what the compiler makes of them

LIBM = re.compile(
    r"(?:\$\w*_|(?<![\w.$])[$_]?)(?:exp|expm1|log|log1p|sin|cos|a?sinh|a?cosh|tanh|atan2?|erf|erfc|pow|ldexp)f?(?:@\w+)?(?![\w.])"
)


SUFFIXES = {"float32": "ps", "float64": "pd"}
LANES = {"float32": "4s", "float64": "2d"}

# Arithmetic on whole vector registers, by dtype, in the assembly of each architecture that numba has wheels for.
PACKED = {
    "x86_64": {dtype: rf"\bv?(?:f[n]?m(?:add|sub)\d*|mul|add|sub){end}\b" for dtype, end in SUFFIXES.items()},
    "aarch64": {dtype: rf"\bf(?:mla|mls|mul|add|sub)\S*\s+v\d+\.{end}\b" for dtype, end in LANES.items()},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_a_loop_is_vectorized(name, dtype):
    arguments = [np.ones(64, dtype)] * (2 if name in TWO_ARGUMENTS else 1)
    apply(name, *arguments)
    (assembly,) = getattr(module(dtype), f"map_{name}").inspect_asm().values()
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    assert len(re.findall(PACKED[machine][dtype], assembly)) >= 5, "no packed instructions"
    assert not LIBM.search(assembly), LIBM.search(assembly)


def test_a_loop_of_scalar_functions_is_seen_as_one():
    """The check itself: numba's exp is a call of libm for each element."""

    @numba.njit(**OPTIONS)
    def loop(x, out):
        for i in range(x.shape[0]):
            out[i] = np.exp(x[i])

    loop(np.ones(64), np.empty(64))
    (assembly,) = loop.inspect_asm().values()
    assert LIBM.search(assembly)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ordinals_are_ordered_as_the_numbers_are(dtype):
    """NaN of either sign is above all, 0 is -0, and every other number comes back as it was."""
    functions = {"np": np, "real": getattr(np, dtype), "elementary": lambda f: f}
    exec("\n\n\n".join(definitions(["ordinal", "of_ordinal"], dtype)), functions)
    ordinal, of_ordinal = functions["ordinal"], functions["of_ordinal"]
    integer = {"float32": np.int32, "float64": np.int64}[dtype]
    bits = np.random.default_rng(0).integers(np.iinfo(integer).min, np.iinfo(integer).max, 2000, integer)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).tiny / 2, np.finfo(dtype).max], dtype)
    numbers = np.concatenate([bits.view(dtype), special])
    numbers = np.sort(numbers[~np.isnan(numbers)])
    found = [ordinal(u) for u in numbers]
    assert {type(k) for k in found} == {integer}
    assert (np.diff(found) > 0).tolist() == (np.diff(numbers) > 0).tolist()
    np.testing.assert_array_equal([of_ordinal(k) for k in found], numbers)
    nans = [ordinal(getattr(np, dtype)(sign * np.nan)) for sign in (1, -1)]
    assert nans[0] == nans[1] > found[-1]
    assert np.isnan(of_ordinal(nans[0]))


# The larger of packed whole numbers; of 64 bits, before AVX-512, by a comparison and a blend.
PACKED_MAXIMUM = {
    "x86_64": {"float32": r"pmaxsd", "float64": r"pmaxsq|pcmpgtq"},
    "aarch64": {"float32": r"smaxv?\s", "float64": r"cmgt\s"},
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_maximum_along_a_row_is_vectorized_and_keeps_nan(dtype):
    compiled = {"np": np, "real": getattr(np, dtype), "elementary": numba.njit(**{**OPTIONS, "fastmath": {"contract"}})}
    exec("\n\n\n".join(definitions(["ordinal", "of_ordinal"], dtype)), compiled)
    ordinal, of_ordinal, real = compiled["ordinal"], compiled["of_ordinal"], compiled["real"]

    @numba.njit(**OPTIONS)
    def largest(x, out):
        for n in range(x.shape[0]):
            best = ordinal(real(-np.inf))
            for k in range(x.shape[1]):
                best = max(best, ordinal(x[n, k]))
            out[n] = of_ordinal(best)

    x, out = np.random.default_rng(0).standard_normal((8, 67)).astype(dtype), np.empty(8, dtype)
    x[0], x[1, 5], x[2, 66], x[3, 0] = -np.inf, np.nan, -np.float64(np.nan), np.inf
    largest(x, out)
    np.testing.assert_array_equal(out, x.max(axis=1))
    (assembly,) = largest.inspect_asm().values()
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    assert re.search(PACKED_MAXIMUM[machine][dtype], assembly), "no packed instructions"


def test_no_float64_in_float32():
    """By type inference, of every function with the arguments that a call of it passes on."""
    calls: dict[str, tuple] = {}

    def noting(function):
        def noted(*arguments):
            calls[function.__name__] = arguments
            return function(*arguments)

        return noted

    uncompiled = {"np": np, "real": np.float32, "elementary": noting}
    exec("\n\n\n".join(definitions(BOUNDS, "float32")), uncompiled)
    with np.errstate(all="ignore"):
        for name in BOUNDS:
            uncompiled[name](*[np.float32(0.75)] * (2 if name in TWO_ARGUMENTS else 1))
    compiled = vars(module("float32"))
    assert len(calls) > len(BOUNDS)
    for name, arguments in calls.items():
        assert doubles(compiled[name].py_func, arguments) == []


# ---- their texts


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_states_its_bound(dtype):
    for name in BOUNDS:
        assert f"at most {bound(name, dtype):g} ulp off" in source(name, dtype)
        assert bound(name, dtype) <= (4 if name in ("power", *GAMMAS) else 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ruff_leaves_the_texts_alone(dtype, tmp_path):
    head = "import numpy as np\nfrom somewhere import elementary, real\n\n\n"
    path = tmp_path / "texts.py"
    path.write_text(head + "\n\n\n".join(definitions(defined(), dtype)) + "\n", encoding="utf-8")
    for command in (["check", "--isolated"], ["format", "--isolated", "--check", "--line-length", "120"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_has_what_is_used_and_what_that_needs():
    texts = "\n".join(definitions(["sigmoid"], "float32"))
    names = re.findall(r"^def (\w+)", texts, re.M)
    assert names == ["expm1_near_zero", "nearest", "exp_parts", "scaled", "sigmoid"]
    assert {name for name in CALLED if "." not in name} <= {*defined(), "abs", "max", "range"}


# One fit of each kind that the script has, of either dtype; `make fuzz` fits all of them.
FITTED = (
    *(("float32", name) for name in ("exp", "log_two", "sin", "erf", "loggamma", "digamma_series", "erf_tail", "erfc")),
    *(("float64", name) for name in ("exp", "atanh", "sinh", "cos", "stirling")),
)


def test_the_script_reproduces_the_coefficients():
    for dtype, name in FITTED:
        fitted = [float(minimax.text(c, dtype)) for c in minimax.coefficients(name, dtype)]
        assert [*COEFFICIENTS[dtype][name]] == fitted


def test_the_script_reproduces_the_text_around_them(monkeypatch):
    """Names, order, shortest decimals, constants, and the digits of 2/π."""
    monkeypatch.setattr(minimax, "coefficients", lambda name, dtype: [*COEFFICIENTS[dtype][name]])
    assert minimax.TARGET.read_text(encoding="utf-8") == minimax.module()


def test_names_of_the_functions_are_free_for_specs():
    """A tensor, an index or a hyperparameter called like a function that the same kernel calls."""
    model = Model("names")
    i = model.indices(exp=3)
    w = model.parameter("tanh", 3, init=np.array([0.1, 0.2, 0.3]))
    a = model.let("scaled", i, sp.tanh(w[i]) + sp.exp(w[i]))
    model.minimize(sp.Sum(a[i] ** 2, i))
    rate = optimizers.hyperparameter("exp")
    theta, g = optimizers.theta, optimizers.g
    model.update(optimizers.rule("own", [(theta, theta - rate * sp.exp(-theta) * g)], exp=0.1))
    generated = execute(module_text(model))
    parameters = generated.initial_parameters()
    value = np.tanh(parameters) + np.exp(parameters)
    slope = 2 * value * (1 - np.tanh(parameters) ** 2 + np.exp(parameters))
    loss, gradient = generated.loss_and_gradient(parameters)
    assert loss == pytest.approx(np.sum(value**2), rel=1e-14)
    np.testing.assert_allclose(gradient, slope, rtol=1e-14)
    moved = parameters.copy()
    generated.update(moved, gradient, generated.optimizer_state(), exp=0.5)
    np.testing.assert_allclose(moved, parameters - 0.5 * np.exp(-parameters) * slope, rtol=1e-14)
