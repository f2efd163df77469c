"""The words of C: its types, what a name must not be, and how functions of expressions are called."""

from __future__ import annotations

import sympy as sp

from derivgen.print.elementary import ORDINAL
from derivgen.print.scalar import NAMES

REAL = {"float32": "float", "float64": "double"}
PREFIX = {"float32": "f32", "float64": "f64"}
INDEX, INTEGER = "ptrdiff_t", "int64_t"  # indices and sizes; elements of integer arrays
TRUTH_VALUE = "int"  # of what callers give: C++ has no _Bool
ORDINALS = {"float32": "int32_t", "float64": "int64_t"}  # ranks of reals

WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
bool true false asm typeof linux unix main ptrdiff_t size_t wchar_t NULL
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t
alignas alignof and and_eq bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl
concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export friend mutable namespace
new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires static_assert
static_cast template this thread_local throw try typeid typename using virtual xor xor_eq
"""  # the last ones are those of C++, whose programs include the header
KEYWORDS = frozenset(WORDS.split())
# Functions of the text that every module may have, besides f32_… and f64_….
PRODUCT, FILL, FLOOR_MOD, LEAST, GREATEST = "gemm", "fill", "floor_mod", "least", "greatest"
RESULT = "result"  # what a function returns besides its status
LIBRARY = frozenset({PRODUCT, FILL, FLOOR_MOD, LEAST, GREATEST, "uniform", "sum_of_squares", "observe", "philox"})
TAKEN = KEYWORDS | LIBRARY | {RESULT}

# How integers are combined; everything else is a function of reals.
OF_INTEGERS: dict[type | str, str] = {sp.Min: LEAST, sp.Max: GREATEST, sp.Mod: FLOOR_MOD}


def member(name: str) -> str:
    """What a member of a struct is called, for a tensor: `int_`, and `int__` for `int_`."""
    return f"{name}_" if name.rstrip("_") in KEYWORDS else name


def function_name(function: type | str, dtype: str) -> str:
    """`f64_exp`: the function of C for one of expressions, by the name that numba's text has for it."""
    own = {"np.arcsin": "asin", "np.arccos": "acos", "np.arctan": "atan", "np.arctanh": "atanh"}
    name = NAMES[function]
    return f"{PREFIX[dtype]}_{own.get(name, name.removeprefix('np.'))}"


def greatest_ordinal(dtype: str) -> str:
    return f"{PREFIX[dtype]}_{ORDINAL}_max"


def comment(lines: list[str] | tuple[str, ...]) -> list[str]:
    """A comment, whose text can neither end it nor open another."""
    safe = [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]
    if len(safe) == 1:
        return [f"/* {safe[0]} */"]
    return [f"/* {safe[0]}", *(f" * {line}" if line else " *" for line in safe[1:]), " */"] if safe else []


def titled(title: str) -> str:
    """A comment that opens a section."""
    return f"/* ---- {title} {'-' * max(4, 100 - len(title) - 12)} */"
