"""C's products of matrices and library functions: compiled, against numpy and the numba text in plain Python."""

from __future__ import annotations

import ctypes
import itertools
import math
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derivgen.form import randomness
from derivgen.print.c.library import FLOOR_MOD, NAMES, library, products
from derivgen.print.library import TEXTS
from derivgen.whole.library import UNIFORM

CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")

DTYPES = ("float32", "float64")
WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
STRICT = ["-O2", "-ffp-contract=off"]
HEADERS = "#include <stddef.h>\n#include <stdint.h>\n"
NO_VECTORS = ["-U__SSE2__", "-U__AVX__", "-U__AVX512F__", "-U__ARM_NEON"]
VECTORS = {"avx2": ["-mavx2", "-mfma"], "avx512f": ["-mavx512f"]}  # by their names in /proc/cpuinfo
SIZES = (0, 1, 2, 3, 4, 5, 8, 13, 17, 33, 70)
LAYOUTS = ("rows", "rows apart", "columns", "columns apart", "apart")
SCALES = ((1.0, 0.0), (1.0, 1.0), (0.3, -1.7))

SIZE, POINTER = ctypes.c_ssize_t, ctypes.c_void_p

# What a shared library exports, of static functions.
PRODUCT = """
#define MATRICES const REAL *a, ptrdiff_t a_row, ptrdiff_t a_column, const REAL *b, ptrdiff_t b_row, ptrdiff_t b_column
#define RESULT REAL beta, REAL *c, ptrdiff_t c_row, ptrdiff_t c_column
void product(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, REAL alpha, MATRICES, RESULT);
void product(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, REAL alpha, MATRICES, RESULT)
{
    gemm(rows, columns, inner, alpha, a, a_row, a_column, b, b_row, b_column, beta, c, c_row, c_column);
}
"""
CBLAS = """
extern int products_by_cblas;
int products_by_cblas = 0;
void cblas(int order, int a_order, int b_order, long long m, long long n, long long k, REAL alpha, const REAL *a,
           long long a_leading, const REAL *b, long long b_leading, REAL beta, REAL *c, long long c_leading)
{
    products_by_cblas += (order == 101) ? 1 : 1000000;
    for (long long i = 0; i < m; ++i) {
        for (long long j = 0; j < n; ++j) {
            REAL sum = 0;
            for (long long p = 0; p < k; ++p) {
                sum += a[(a_order == 111) ? i * a_leading + p : p * a_leading + i]
                       * b[(b_order == 111) ? p * b_leading + j : j * b_leading + p];
            }
            REAL *element = &c[i * c_leading + j];
            *element = alpha * sum + ((beta == 0) ? 0 : beta * *element);
        }
    }
}
"""
LIBRARY = """
#include <math.h>
static double f64_sqrt(double u)
{
    return sqrt(u);
}
#define RANDOM int64_t seed, int64_t step, ptrdiff_t number, ptrdiff_t row
void uniform_(RANDOM, REAL *out, ptrdiff_t rows, ptrdiff_t columns);
void uniform_(RANDOM, REAL *out, ptrdiff_t rows, ptrdiff_t columns)
{
    uniform(seed, step, number, row, out, rows, columns);
}
double sum_of_squares_(const REAL *vector, ptrdiff_t start, ptrdiff_t stop);
double sum_of_squares_(const REAL *vector, ptrdiff_t start, ptrdiff_t stop)
{
    return sum_of_squares(vector, start, stop);
}
void observe_(const REAL *values, ptrdiff_t rows, ptrdiff_t count, double *observed);
void observe_(const REAL *values, ptrdiff_t rows, ptrdiff_t count, double *observed)
{
    observe(values, rows, count, observed);
}
ptrdiff_t floor_mod_(ptrdiff_t a, ptrdiff_t b);
ptrdiff_t floor_mod_(ptrdiff_t a, ptrdiff_t b)
{
    return floor_mod(a, b);
}
"""

Build = Callable[..., ctypes.CDLL]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A shared library of a text in which REAL is the dtype's type; the same one for the same text and flags."""
    folder = tmp_path_factory.mktemp("c")
    built: dict[tuple[str, ...], ctypes.CDLL] = {}

    def compiled(text: str, dtype: str, *flags: str) -> ctypes.CDLL:
        text = text.replace("REAL", {"float32": "float", "float64": "double"}[dtype])
        if (text, *flags) not in built:
            source = folder / f"{len(built)}.c"
            source.write_text(text)
            target = source.with_suffix(".so")
            command = [str(CC), *WARNINGS, *STRICT, "-shared", "-fPIC", str(source), "-o", str(target), *flags, "-lm"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            built[(text, *flags)] = ctypes.CDLL(str(target))
        return built[(text, *flags)]

    return compiled


def product(build: Build, dtype: str, *flags: str) -> Callable[..., None]:
    """c = beta·c + alpha·a·b of arrays, by their strides."""
    function = build("\n".join([HEADERS, products(dtype), PRODUCT]), dtype, *flags).product
    real = np.ctypeslib.as_ctypes_type(dtype)
    function.argtypes = [SIZE] * 3 + [real] + [POINTER, SIZE, SIZE] * 2 + [real] + [POINTER, SIZE, SIZE]
    function.restype = None

    def multiply(alpha: float, a: np.ndarray, b: np.ndarray, beta: float, c: np.ndarray) -> None:
        x, y, z = ((array.ctypes.data, *(stride // array.itemsize for stride in array.strides)) for array in (a, b, c))
        function(*c.shape, a.shape[1], alpha, *x, *y, beta, *z)

    return multiply


def stored(rng: np.random.Generator, shape: tuple[int, int], layout: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of random numbers in memory that has others between its rows or columns, and all this memory."""
    rows, columns = shape
    apart = 3 if "apart" in layout else 0
    row, column = (columns + apart, 1) if "rows" in layout else (1, rows + apart)
    if layout == "apart" and 1 in shape:
        row, column = 5, 7
    memory = rng.uniform(-1, 1, max(rows, 1) * row + max(columns, 1) * column + 1).astype(dtype)
    strides = (row * memory.itemsize, column * memory.itemsize)
    return np.lib.stride_tricks.as_strided(memory, shape, strides), memory


def cases() -> list[tuple]:
    """Shapes, layouts and scales, a part of all there are."""
    every = itertools.product(itertools.product(SIZES, repeat=3), itertools.product(LAYOUTS, repeat=3), SCALES)
    return list(itertools.islice(every, 0, None, 61))


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_numpys(build: Build, dtype: str) -> None:
    multiply = product(build, dtype)
    rng = np.random.default_rng(0)
    for (rows, columns, inner), layouts, (alpha, beta) in cases():
        shapes = (rows, inner), (inner, columns), (rows, columns)
        (a, _), (b, _), (c, memory) = (stored(rng, s, n, dtype) for s, n in zip(shapes, layouts, strict=True))
        wide_a, wide_b, wide_c = (x.astype(np.longdouble) for x in (a, b, c))
        exact = alpha * (wide_a @ wide_b) + beta * wide_c
        most = abs(alpha) * (abs(wide_a) @ abs(wide_b)) + abs(beta * wide_c)
        if beta == 0:
            c[:] = np.nan  # what is not initialized may be anything
        before, inside = memory.copy(), np.zeros(memory.shape, bool)
        np.lib.stride_tricks.as_strided(inside, c.shape, tuple(s // c.itemsize for s in c.strides))[:] = True
        multiply(alpha, a, b, beta, c)
        where = f"{rows} {columns} {inner} {layouts} {alpha} {beta}"
        assert (abs(c - exact) <= (inner + 4) * np.finfo(dtype).eps * most).all(), where
        assert np.array_equal(memory[~inside], before[~inside]), f"{where}: written outside of c"


@pytest.mark.parametrize("dtype", DTYPES)
def test_terms_are_added_in_the_order_that_the_text_states(build: Build, dtype: str) -> None:
    multiply = product(build, dtype)
    rng = np.random.default_rng(1)
    number = np.dtype(dtype).type
    alpha, beta = number(0.3), number(-1.7)
    parts = 64 // np.dtype(dtype).itemsize
    for rows, columns, inner, contiguous in [
        (9, 21, 600, True),
        (9, 21, 600, False),
        (1, 21, 70, True),
        (2, 9, 130, False),
        (2, 9, 40, False),
        (2, 9, 7, False),
    ]:
        a, _ = stored(rng, (rows, inner), "rows", dtype)
        b, _ = stored(rng, (inner, columns), "rows" if contiguous else "columns", dtype)
        c, _ = stored(rng, (rows, columns), "rows", dtype)
        expected = beta * c
        if rows == 2:
            whole = inner - inner % parts
            sums = np.zeros((parts, rows, columns), dtype)
            for p in range(whole):
                sums[p % parts] += a[:, p, None] * b[None, p]
            while len(sums) > 1:
                sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
            for p in range(whole, inner):
                sums[0] += a[:, p, None] * b[None, p]
            expected += alpha * sums[0]
        else:
            for p in range(inner):
                terms = (alpha * a[:, p, None]) * b[None, p] if rows == 1 else a[:, p, None] * (alpha * b[None, p])
                expected += terms
        multiply(alpha, a, b, beta, c)
        assert np.array_equal(c, expected), (rows, columns, inner, contiguous)


def machines() -> list[list[str]]:
    """Flags for vectors that this machine has, for none, and for little memory."""
    info = Path("/proc/cpuinfo")
    has = set(info.read_text().split()) if info.exists() and platform.machine() == "x86_64" else set()
    return [NO_VECTORS, ["-DDERIVGEN_STACK=1024"], *(flags for name, flags in VECTORS.items() if name in has)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_vectors_and_memory(build: Build, dtype: str) -> None:
    usual, *others = (product(build, dtype, *flags) for flags in [[], *machines()])
    rng = np.random.default_rng(2)
    shapes = [(33, 70, 300), (70, 10, 64), (1, 70, 65), (70, 1, 65), (3, 3, 3), (2, 5, 40), (300, 17, 5), (5, 300, 33)]
    for (rows, columns, inner), layouts in itertools.product(shapes, itertools.product(("rows", "columns"), repeat=3)):
        sides = (rows, inner), (inner, columns), (rows, columns)
        (a, _), (b, _), (c, memory) = (stored(rng, s, n, dtype) for s, n in zip(sides, layouts, strict=True))
        before = memory.copy()
        usual(0.3, a, b, 1.1, c)
        expected = memory.copy()
        for multiply in others:
            memory[:] = before
            multiply(0.3, a, b, 1.1, c)
            assert np.array_equal(memory, expected), (rows, columns, inner, layouts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_products_are_those_of_cblas(build: Build, dtype: str) -> None:
    name = f"cblas_{dtype}"
    cblas = build(CBLAS.replace("cblas(", f"{name}("), dtype)
    calls = ctypes.c_int.in_dll(cblas, "products_by_cblas")
    library = [f"-DDERIVGEN_CBLAS={name}", "-DDERIVGEN_CBLAS_INT=long long", str(cblas._name)]
    multiply = product(build, dtype, *library)
    rng = np.random.default_rng(3)
    for layouts in itertools.product(LAYOUTS[:4], repeat=3):
        for inner, called in ((80, 1), (60, 0)):
            sides = (70, inner), (inner, 60), (70, 60)
            (a, _), (b, _), (c, _) = (stored(rng, s, n, dtype) for s, n in zip(sides, layouts, strict=True))
            expected = 0.3 * (a.astype(float) @ b) + 1.1 * c.astype(float)
            before = calls.value
            multiply(0.3, a, b, 1.1, c)
            assert calls.value - before == called
            assert abs(c - expected).max() < 200 * np.finfo(dtype).eps, layouts


def in_plain_python(dtype: str) -> dict[str, Callable]:
    """The functions of the numba text, not compiled."""
    names: dict[str, object] = {"internal": lambda f: f, "real": np.dtype(dtype).type, "math": math, "np": np}
    exec("\n\n".join(TEXTS.values()), names)
    return names  # type: ignore[return-value]


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def functions(build: Build, dtype: str) -> ctypes.CDLL:
    root = "static double f64_sqrt(double u);\n"
    loaded = build("\n".join([HEADERS, root, library(NAMES, dtype), LIBRARY]), dtype)
    loaded.uniform_.argtypes = [ctypes.c_int64, ctypes.c_int64, SIZE, SIZE, POINTER, SIZE, SIZE]
    loaded.sum_of_squares_.argtypes, loaded.sum_of_squares_.restype = [POINTER, SIZE, SIZE], ctypes.c_double
    loaded.observe_.argtypes = [POINTER, SIZE, SIZE, POINTER]
    loaded.floor_mod_.argtypes, loaded.floor_mod_.restype = [SIZE, SIZE], SIZE
    return loaded


def test_random_numbers_are_the_same_bits(functions: ctypes.CDLL, dtype: str) -> None:
    expected = in_plain_python(dtype)["uniform"]
    cases = [((6, 7), 5, 3, 1, 0), ((1, 3), 2**40 + 17, 2**33 + 1, 0, 0), ((8, 5), 0, 1, 2, 12), ((4, 1), 1, 0, 3, 4)]
    for shape, seed, step, number, row in cases:
        out, other = np.zeros(shape, dtype), np.zeros(shape, dtype)
        functions.uniform_(seed, step, number, row, out.ctypes.data, *shape)
        expected(seed, step, number, row, other)
        assert np.array_equal(out, other)
        of_all_rows = randomness.uniform(seed, step, number, (row + shape[0]) * shape[1])
        assert np.array_equal(out.ravel(), of_all_rows[row * shape[1] :])


def test_no_random_number_is_written_after_the_last(functions: ctypes.CDLL, dtype: str) -> None:
    for count in range(9):
        out = np.full(12, -1, dtype)
        functions.uniform_(1, 1, 1, 0, out.ctypes.data, count, 1)
        assert (out[:count] >= 0).all() and (out[count:] == -1).all()


def test_looks_at_layers(functions: ctypes.CDLL, dtype: str) -> None:
    plain = in_plain_python(dtype)
    values = np.random.default_rng(4).normal(size=(5, 12)).astype(dtype) * np.array([1e30, 1e-3, *[1] * 10], dtype)
    values[:, [3, 7]] = 0
    values[2, 7] = 1e-30
    observed, expected = np.zeros(2), np.zeros(2)
    functions.observe_(values.ctypes.data, 5, 60, observed.ctypes.data)
    plain["observe"](values, 5, expected)
    assert observed == pytest.approx(expected, rel=1e-15) and observed[1] == 1 / 12
    assert observed[0] == pytest.approx(math.sqrt(np.mean(values.astype(float) ** 2)), rel=1e-14)
    total = functions.sum_of_squares_(values.ctypes.data, 7, 50)
    assert total == plain["sum_of_squares"](values.ravel(), 7, 50)
    assert functions.sum_of_squares_(values.ctypes.data, 3, 3) == 0


def test_the_remainder_is_pythons(functions: ctypes.CDLL) -> None:
    for a, b in itertools.product(range(-9, 10), (-4, -3, -1, 1, 3, 4)):
        assert functions.floor_mod_(a, b) == a % b


def test_only_functions_that_are_named_are_written() -> None:
    assert "philox" in library([UNIFORM], "float32") and "observe" not in library([UNIFORM], "float32")
    assert "philox" not in library([FLOOR_MOD], "float32") and library([], "float32").strip() == ""
