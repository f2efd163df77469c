"""Small functions and macros of C's text, each where something uses it."""

from __future__ import annotations

from collections.abc import Set

from derivgen.print.c.routines import COPY
from derivgen.print.c.words import FILL, GREATEST, LEAST, ORDINALS, PREFIX, PRODUCT, REAL
from derivgen.whole.library import OBSERVE, SUM_OF_SQUARES, UNIFORM

# What has a dtype in its name or its text, and is no elementary function.
BESIDES = {FILL, COPY, "ordinal_max", PRODUCT, UNIFORM, SUM_OF_SQUARES, OBSERVE}

Used = Set[tuple[str, str]]

THREADS = """\
/* With OpenMP and DERIVGEN_THREADS, large loops run in threads: no iteration writes what another one touches. */
#if defined(_OPENMP) && defined(DERIVGEN_THREADS)
#define IN_THREADS _Pragma("omp parallel for")
#else
#define IN_THREADS
#endif"""
SIMD = """\
/* With DERIVGEN_SIMD (and -fopenmp-simd), vectors of iterations run at once where none depends on another one; sums
 * are then added up in as many parts as a vector has elements.
 */
#ifdef DERIVGEN_SIMD
#define PRAGMA(words) _Pragma(#words)
#define SIMD PRAGMA(omp simd)
#define SIMD_SUMS(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#else
#define SIMD
#define SIMD_SUMS(...)
#endif"""

EACH = """\
static inline void {p}_{name}(ptrdiff_t count, {given}, {real} *out)
{{
    for (ptrdiff_t i = 0; i < count; ++i) {{
        out[i] = {value};
    }}
}}"""
CHOICE = """\
static inline {type} {name}({type} u, {type} v)
{{
    return (v {relation} u) ? v : u;
}}"""


def small_functions(used: Used) -> list[str]:
    """The definitions of what is used, which stand before what uses them."""
    texts = []
    for dtype, p in PREFIX.items():
        real = REAL[dtype]
        if (FILL, dtype) in used:
            texts.append(EACH.format(p=p, name=FILL, given=f"{real} value", real=real, value="value"))
        if (COPY, dtype) in used:
            texts.append(EACH.format(p=p, name=COPY, given=f"const {real} *from", real=real, value="from[i]"))
        if ("ordinal_max", dtype) in used:
            texts.append(CHOICE.format(type=ORDINALS[dtype], name=f"{p}_ordinal_max", relation=">"))
    for name, relation in ((LEAST, "<"), (GREATEST, ">")):
        if (name, "") in used:
            texts.append(CHOICE.format(type="ptrdiff_t", name=name, relation=relation))
    return texts


def assigning(used: Used, dtype: str) -> list[str]:
    """The factors of products that take the place of what they are stored to."""
    suffix = "f" if dtype == "float32" else ""
    if ("ASSIGN", "") not in used:
        return []
    return [f"static const {REAL[dtype]} ASSIGN[2] = {{1.0{suffix}, 0.0{suffix}}};"]


def macros(used: Used) -> list[str]:
    found = [THREADS] if ("IN_THREADS", "") in used else []
    return [*found, SIMD] if used & {("SIMD", ""), ("SIMD_SUMS", "")} else found
