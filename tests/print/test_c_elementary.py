"""The elementary functions in C: the bits of their texts, the bounds that those state, what compilers make of them."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mpmath
import numpy as np
import pytest
from test_elementary import PACKED, all_float32, all_float64, domain, pairs, points, ulps, unit

from derivgen.print import elementary
from derivgen.print.c.elementary import BOUNDS, INLINED, PATHS, c_name, definitions, source
from derivgen.print.c.expressions import REAL, Definition
from derivgen.print.c.translate import translated
from derivgen.print.elementary import DTYPES, TEXTS
from derivgen.project import building

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler: no cc on the path")

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
STRICT = ("-O2", "-ffp-contract=off")
FAST = ("-march=native", *building.FAST)
REALS = {"float32": "float", "float64": "double"}
INTEGERS = {"float32": np.int32, "float64": np.int64}

# Only others call them, with some numbers alone; or they have integers.
INNER = {
    "exp_parts",
    "expm1_near_zero",
    "half_expm1",
    "half_turns",
    "infinity",
    "log1p_exp",
    "log_in_two",
    "log_shifted",
}
INNER |= {"nan", "nearest", "power_of_two", "quarter_turns", "scaled", "upper_half"}
OF_INTEGERS = {"integer_power", "ordinal", "of_ordinal"}
IN_C = {name for name, path in PATHS.items() if path.name.endswith(".c.jinja")}
NAMES = [name for name in (*TEXTS, *PATHS) if name not in INNER | OF_INTEGERS | IN_C] + ["sqrt"]
TWO_ARGUMENTS = {name for name in NAMES if "(u, v)" in source(name, "float64")}

# By numpy, which is exact there.
EXACTLY = {"floor": np.floor, "ceil": np.ceil, "sqrt": np.sqrt, "fmod": np.fmod, "copysign": np.copysign, "abs": np.abs}
BY_NUMPY = {"tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atanh": np.arctanh}

LOOP = """
void map_{f}(ptrdiff_t n, const {x} *restrict x, {y} *restrict out)
{{
    for (ptrdiff_t i = 0; i < n; i++) {{
        out[i] = {f}(x[i]);
    }}
}}
"""
LOOP_OF_TWO = """
void map_{f}(ptrdiff_t n, const {x} *restrict x, const {z} *restrict z, {y} *restrict out)
{{
    for (ptrdiff_t i = 0; i < n; i++) {{
        out[i] = {f}(x[i], z[i]);
    }}
}}
"""


def loop(name: str, dtype: str) -> str:
    real, integer = REALS[dtype], INTEGERS[dtype].__name__ + "_t"
    types = {"x": real, "y": real, "z": real}
    types |= {"ordinal": {"y": integer}, "of_ordinal": {"x": integer}, "integer_power": {"z": "int64_t"}}.get(name, {})
    template = LOOP_OF_TWO if name in {*TWO_ARGUMENTS, "integer_power"} else LOOP
    return template.format(f=c_name(name, dtype), **types)


def program(names: list[str], dtypes: tuple[str, ...] = DTYPES) -> str:
    """A file as modules have it: types and prototypes, what calls the functions, the functions."""
    parts = [definitions(names, dtype) for dtype in dtypes]
    head = ["#include <stddef.h>", "#include <stdint.h>", INLINED, *(text for p in parts for text in p.prototypes)]
    loops = [loop(name, dtype) for dtype in dtypes for name in names]
    return "\n".join([*head, *loops, *(f"\n{text}" for p in parts for text in p.texts)]) + "\n"


def compiled(text: str, *options: str) -> bytes:
    """What the compiler makes of a text, under all warnings."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "text.c"), Path(folder, "out")
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([str(COMPILER), *WARNINGS, *options, path, "-o", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return out.read_bytes()


@cache
def library(flags: tuple[str, ...]) -> ctypes.CDLL:
    """All functions and their loops."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "elementary.so")
        path.write_bytes(compiled(program([*NAMES, *sorted(OF_INTEGERS)]), *flags, "-shared", "-fPIC"))
        return ctypes.CDLL(str(path))


def apply(name: str, *arguments: np.ndarray, flags: tuple[str, ...] = STRICT, real: str = "") -> np.ndarray:
    """The function over arrays of the first one's dtype, or of another one."""
    dtype = real or arguments[0].dtype.name
    out = np.empty(arguments[0].size, INTEGERS[dtype] if name == "ordinal" else dtype)
    arrays = [np.ascontiguousarray(a) for a in (*arguments, out)]
    getattr(library(flags), f"map_{c_name(name, dtype)}")(
        ctypes.c_ssize_t(out.size),
        *(ctypes.c_void_p(a.ctypes.data) for a in arrays[:-1]),
        ctypes.c_void_p(out.ctypes.data),
    )
    return out


@cache
def in_python(name: str, dtype: str):
    """The function as its text has it."""
    functions = {"np": np, "real": getattr(np, dtype), "elementary": lambda f: f}
    for other in {*TEXTS, *BOUNDS}:
        exec(source(other, dtype), functions)
    if name not in functions:
        exec(source(name, dtype), functions)
    return functions[name]


def special(dtype: str) -> np.ndarray:
    limits = np.finfo(dtype)
    numbers = [
        0,
        1,
        0.5,
        2,
        1.5,
        3,
        7,
        np.inf,
        np.nan,
        limits.max,
        limits.tiny,
        limits.smallest_subnormal,
        limits.tiny / 2,
    ]
    numbers += [1e4, 0.41, 0.55, 2**23, 2**31, 2**52, 2**52 + 0.5, 1e30, limits.eps, 1 - limits.eps / 2, 1 + limits.eps]
    return np.array([*numbers, *np.negative(numbers)], dtype)


def arguments(name: str, dtype: str, count: int) -> list[np.ndarray]:
    """Numbers of all signs and exponents, of middle size, and special ones; of two arguments all pairs of those."""
    rng = np.random.default_rng(len(name))
    everywhere = all_float32 if dtype == "float32" else all_float64

    def random() -> np.ndarray:
        found = [everywhere(count // 2), rng.normal(size=count // 4) * 5, rng.uniform(-1.2, 1.2, count // 4)]
        return rng.permutation(np.concatenate(found)[: count - 20].astype(dtype))

    if name not in TWO_ARGUMENTS:
        return [np.concatenate([random(), special(dtype)])]
    u, v = (a.ravel() for a in np.meshgrid(special(dtype), special(dtype)))
    return [np.concatenate([random(), u]), np.concatenate([random(), v])]


def differing(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where two arrays have different bits; all NaN are the same."""
    same = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
    return np.flatnonzero(~(same | (np.isnan(found) & np.isnan(wanted))))


# ---- values


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in EXACTLY])
def test_the_bits_of_the_text(name, dtype):
    given = arguments(name, dtype, 10_000)
    assert given[0].size >= 10_000
    with np.errstate(all="ignore"):
        wanted = np.array([in_python(name, dtype)(*values) for values in zip(*given, strict=True)], dtype)
    at = differing(apply(name, *given), wanted)
    assert at.size == 0, [a[at[:5]] for a in given]


@needs_compiler
@pytest.mark.parametrize("flags", [STRICT, FAST], ids=["strict", "fast"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACTLY)
def test_what_is_exact(name, dtype, flags):
    """The square root is our own under strict flags, and an instruction under fast ones."""
    given = arguments(name, dtype, 100_000)
    with np.errstate(all="ignore"):
        wanted = EXACTLY[name](*given)
    at = differing(apply(name, *given, flags=flags), wanted)
    assert at.size == 0, [a[at[:5]] for a in given]


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_square_roots_next_to_squares(dtype):
    """And next to the middle between two numbers, where rounding is decided by the last digit."""
    root = np.random.default_rng(0).uniform(1, 2, 200_000).astype(dtype)
    for near in (root * root, root * (root + np.spacing(root)), np.nextafter(np.array([1, 2, 4], dtype), 0)):
        for scale in (1, 2, 2.0**-126, 2.0**-140):
            u = np.concatenate([near, np.nextafter(near, 0), np.nextafter(near, 4)]) * np.dtype(dtype).type(scale)
            assert differing(apply("sqrt", u), np.sqrt(u)).size == 0


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_remainders_of_numbers_far_apart(dtype):
    rng, everywhere = np.random.default_rng(1), all_float32 if dtype == "float32" else all_float64
    u = everywhere(30_000)
    v = rng.permutation(u)
    v = np.concatenate([v[:15_000], u[15_000:] * rng.uniform(1e-3, 1, u.size - 15_000).astype(dtype)])
    with np.errstate(all="ignore"):
        assert differing(apply("fmod", u, v), np.fmod(u, v)).size == 0


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_of_integers(dtype):
    u = np.concatenate([arguments("sign", dtype, 3000)[0], special(dtype)])
    k = np.resize(np.array([0, 1, 2, 3, 5, 17, 64, -1, -2, -7, 1000, -1000, 2**40], np.int64), u.size)
    real, integer = getattr(np, dtype), INTEGERS[dtype]
    with np.errstate(all="ignore"):
        ordinals = np.array([in_python("ordinal", dtype)(x) for x in u], integer)
        powers = np.array([in_python("integer_power", dtype)(x, int(n)) for x, n in zip(u, k, strict=True)], real)
        numbers = np.array([in_python("of_ordinal", dtype)(n) for n in ordinals], real)
    np.testing.assert_array_equal(apply("ordinal", u), ordinals)
    assert differing(apply("of_ordinal", ordinals, real=dtype), numbers).size == 0
    assert differing(apply("integer_power", u, k), powers).size == 0


def reachable(name: str, dtype: str, count: int) -> np.ndarray:
    """Arguments of the functions that modules for numba take from numpy."""
    rng = np.random.default_rng(2)
    if name in ("tan", "atan"):
        near = rng.uniform(-2, 2, count), rng.uniform(0.5, 1.1, count), rng.uniform(-1e3, 1e3, count)
        return np.concatenate([*near, (all_float32 if dtype == "float32" else all_float64)(count)]).astype(dtype)
    small, signs = 10.0 ** rng.uniform(-40, 0, count), rng.choice([-1, 1], count)
    sizes = rng.uniform(-1, 1, count), rng.uniform(-0.6, 0.6, count), small * signs, (1 - small) * signs
    u = np.concatenate(sizes).astype(dtype)
    return u[np.abs(u) < 1]


def stated(name: str, dtype: str) -> float:
    return {**elementary.BOUNDS, **BOUNDS}[name][DTYPES.index(dtype)]


@needs_compiler
@pytest.mark.parametrize("flags", [STRICT, FAST], ids=["strict", "fast"])
@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_of_those_that_others_take_from_numpy(name, flags):
    u = reachable(name, "float32", 1 << 17)
    wanted = BY_NUMPY[name](u.astype(float))
    errors = np.abs(apply(name, u, flags=flags).astype(float) - wanted) / unit(wanted, "float32")
    assert errors.max() <= stated(name, "float32") <= 3.25
    u = reachable(name, "float64", 300)
    with mpmath.workprec(1200 if name == "tan" else 200):
        assert ulps(name, apply(name, u, flags=flags), u) <= stated(name, "float64") <= 3


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", elementary.BOUNDS)
def test_fused_operations_keep_the_bounds(name, dtype):
    given = [a[:: a.size // 200] for a in pairs(name, dtype, 4000)] if name in TWO_ARGUMENTS else []
    given = given or [domain(name, points(name, dtype, 100))]
    assert ulps(name, apply(name, *given, flags=FAST), *given) <= stated(name, dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_angles(dtype):
    nan, inf = np.nan, np.inf
    u = np.array([0, -0.0, 1, -1, 1.5, inf, -inf, nan], dtype)
    real = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        for name, function in BY_NUMPY.items():
            found, wanted = apply(name, u), function(u.astype(float)).astype(dtype)
            near = np.abs(found - wanted) <= 2 * np.spacing(np.abs(wanted))
            assert (near | (found == wanted) | (np.isnan(found) & np.isnan(wanted))).all(), (name, found)
            zero = wanted == 0
            np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))
    assert apply("atanh", np.array([1], dtype))[0] == real(inf)


# ---- the text


def test_no_function_of_a_library_is_called():
    for dtype in DTYPES:
        found = definitions([*NAMES, *OF_INTEGERS], dtype)
        own = {match[1] for text in found.prototypes if (match := re.search(r"(\w+)\(", text.split("INLINED ")[-1]))}
        text = re.sub(r"/\*.*?\*/", "", "\n".join(found.texts), flags=re.S)
        words = {"defined", "while", "if", "return", "__builtin_sqrt", "__builtin_sqrtf"}
        assert {*re.findall(r"(\w+)\(", text)} - own - words == set()


def test_names():
    assert c_name("np.arcsin", "float32") == "f32_asin"
    assert c_name("abs", "float64") == "f64_abs"
    for dtype in DTYPES:
        for name in elementary.FUNCTIONS.values():
            assert f" {c_name(name, dtype)}(" in definitions([name], dtype).prototypes[-1]


def test_a_module_has_what_is_used_and_what_that_needs():
    found = definitions(["np.sqrt", "exp"], "float32")
    names = [re.search(r"static inline \w+ (\w+)\(", text)[1] for text in found.texts]
    assert names[-1] == "f32_sqrt"
    assert names.index("f32_nearest") < names.index("f32_exp_parts") < names.index("f32_exp")
    assert len(found.prototypes) == len(names) + 1  # and a struct of two results
    assert "f32_sin" not in names


# Lines of a text of float64, and the same in C.
LINES = {
    "k = np.int64(bits - 0x10) >> 52  # w = m": "const uint64_t k = f64_shift_right(bits - 0x10U, 52U); /* w = m */",
    "k = (bits & 0xFF) >> 4": "const uint64_t k = (bits & 0xFFU) >> 4U;",
    "k = np.uint64(1) << (bits & 63)": "const uint64_t k = 1ULL << (bits & 63U);",
    "k = bits & -9223372036854775808": "const uint64_t k = bits & 0x8000000000000000ULL;",
    "k = (max(bits, 0) & 0xFF) * 3": "const uint64_t k = (f64_positive_part(bits) & 0xFFU) * 3U;",
    "k = bits < 7": "const _Bool k = f64_signed(bits) < 7;",
    "k = bits & 15 < 7": "const _Bool k = (bits & 15U) < 7U;",
    "k = bits & 64 != 0": "const _Bool k = (bits & 64U) != 0U;",
    "k = real(2.0**-54) if bits & 4 else u": "const double k = ((bits & 4U) != 0U) ? 0x1p-54 : u;",
    "k = -real(np.inf)": "const double k = -f64_infinity();",
    "k = (u + real(1e3)) - real(1e3)": "const double k = (u + 1000.0) - 1000.0;",
    "k = u * u + real(-0.5)": "const double k = (u * u) - 0.5;",
    "k = u - -u * u": "const double k = u - (-u * u);",
    "k = real(0) < u < real(2) and not np.isnan(u)": "const _Bool k = (0.0 < u) && (u < 2.0) && !f64_isnan(u);",
}


def known(name: str) -> Definition:
    results = {"bits": "int64", "shift_right": "int64", "positive_part": "int64", "isnan": "condition"}
    return Definition(name.removeprefix("np."), "", results=(results.get(name.removeprefix("np."), REAL),))


@pytest.mark.parametrize("line", LINES)
def test_a_line_in_c(line):
    text = f'def f(u):\n    """."""\n    bits = real(u).view(np.int64)\n    {line}\n    return u\n'
    (found,) = translated(text, "float64", known)
    assert found.text.splitlines()[4].strip() == LINES[line]


def test_what_would_read_a_new_value_or_outside_of_a_table_is_an_error():
    head = 'TABLE = np.array([1, 2, 3], np.int64)\n\n\ndef f(u):\n    """."""\n'
    inside = head + "    i = real(u).view(np.int64) & 1\n    k = TABLE[i + 1]\n    return u\n"
    assert "table[i + 1U]" in translated(inside, "float64", known)[0].text
    for wrong in (
        inside.replace("i + 1", "i + 2"),
        inside.replace("i + 1", "i - 1"),
        head + "    v = u\n    u, v = v, u\n",
    ):
        with pytest.raises(AssertionError):
            translated(wrong, "float64", known)


# ---- what the compiler makes of them


@pytest.fixture(scope="module")
def assembly() -> dict[str, str]:
    """Of loops under fast flags, by function."""
    names = ["exp", "log", "tanh", "sin", "cos", "sigmoid", "sqrt", "atan2", "power", "floor"]
    lines = compiled(program(names), *FAST, "-S").decode()
    return dict(re.findall(r"^_?map_(\w+):.*?\n(.*?)^\s+\.cfi_endproc", lines, re.M | re.S))


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "cos", "sigmoid", "atan2", "power"])
def test_a_loop_is_vectorized(name, dtype, assembly):
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    text = assembly[c_name(name, dtype)]
    assert len(re.findall(PACKED[machine][dtype], text)) >= 5, "no packed instructions"
    assert not re.search(r"^\s+(?:callq?|bl)\s", text, re.M), "a call for each element"


@needs_compiler
@pytest.mark.parametrize("options", ["-O0", "-Os -fno-math-errno"])
def test_other_options_have_no_warnings(options):
    compiled(program([*NAMES, *sorted(OF_INTEGERS)]), *options.split(), "-c")
