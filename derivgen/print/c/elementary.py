"""Elementary functions in C99: `static inline`, named by dtype (`f64_exp`, `f32_exp`). No library is called.

Those that modules for numba have too are translated from the same texts, in `templates/elementary`. What these call of
numpy or of Python itself has a text in `templates/elementary/c`: in the same Python, or in C where Python has no word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from derivgen.print import elementary
from derivgen.print.c.expressions import C_REAL, INTEGER, PREFIX, REAL, Definition
from derivgen.print.c.translate import pair_of, translated
from derivgen.print.templates import environment, folder

# What C calls otherwise than numpy.
RENAMED = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctanh": "atanh", "inf": "infinity"}

PATHS = {path.name.split(".")[0]: path for path in sorted((folder() / "elementary" / "c").iterdir())}
BOUNDS = elementary.bounds({name: path.read_text(encoding="utf-8") for name, path in PATHS.items()})

# What stands before the prototypes. A loop is vectorized only if the functions that it calls become part of it.
INLINED = """\
/* With -fno-math-errno, under which loops over these functions are vectorized, they become part of the loops. */
#if defined(__GNUC__) && defined(__NO_MATH_ERRNO__) && !defined(__OPTIMIZE_SIZE__)
#define DERIVGEN_INLINED __attribute__((always_inline))
#else
#define DERIVGEN_INLINED
#endif"""


@dataclass(frozen=True, slots=True)
class Definitions:
    """What stands before the kernels, types first; and the functions and tables, each after those that it calls."""

    prototypes: tuple[str, ...]
    texts: tuple[str, ...]


def plain(name: str) -> str:
    """The name of a function's text: `np.arcsin` is `asin`."""
    bare = name.removeprefix("np.")
    return RENAMED.get(bare, bare)


def c_name(name: str, dtype: str) -> str:
    """The name in C of a function with a text, or of one that is numpy's or Python's in modules for numba."""
    return f"{PREFIX[dtype]}_{plain(name)}"


def unsigned(bits: int | str) -> str:
    n = int(bits, 16) if isinstance(bits, str) else bits
    return f"0x{n:X}ULL" if n >= 1 << 32 else f"0x{n:X}U"


@cache
def source(name: str, dtype: str) -> str:
    """The text of a function, in Python or in C."""
    if name not in PATHS:
        return elementary.source(name, dtype)
    wide = dtype == "float64"
    given: dict[str, object] = elementary.values(dtype) | {"prefix": PREFIX[dtype], "real": C_REAL[dtype]}
    given |= {"bits": f"u{INTEGER[dtype]}_t", "signed": f"{INTEGER[dtype]}_t", "unsigned": unsigned}
    given |= {"f": "" if wide else "f"}
    return environment().get_template(f"elementary/c/{PATHS[name].name}").render(**given).strip()


@cache
def defined(name: str, dtype: str) -> tuple[Definition, ...]:
    """A function in C, after what else its text defines."""
    text = source(name, dtype)
    if name not in PATHS or PATHS[name].name.endswith(".py.jinja"):
        return tuple(translated(text, dtype, lambda other: defined(plain(other), dtype)[-1]))
    (head,) = (line for line in text.splitlines() if line.startswith("static inline"))
    return (Definition(name, text, f"{head};", (INTEGER[dtype] if name == "bits" else REAL,)),)


def definitions(names: Iterable[str], dtype: str) -> Definitions:
    """The functions of these names, and what they call."""
    found: dict[str, Definition] = {}

    def define(name: str) -> None:
        own = {d.name: d for d in defined(name, dtype)}
        for other in (called for d in own.values() for called in d.called if called not in own):
            if other not in found:
                define(other)
        found.update(own)

    for name in sorted({*map(plain, names)}):
        if name not in found:
            define(name)
    pairs = sorted({d.results for d in found.values() if len(d.results) == 2})
    inlined = (d.prototype.replace("inline ", "inline DERIVGEN_INLINED ", 1) for d in found.values())
    return Definitions((*(pair_of(p, dtype) for p in pairs), *inlined), tuple(d.text for d in found.values()))
