"""cppcheck with its addon for MISRA C, and clang-tidy, find nothing but what docs/targets.md names with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from facts import ROOT, Case
from jobs import Pool, Result, run
from tools import has

PAGE = ROOT / "docs" / "targets.md"
# What is compiled by a compiler that knows nothing but C99, and by GCC with vectors and a library for products.
DEFINED = {
    "C99": (),
    "GNU C": ("__GNUC__", "__SSE2__", "__NO_MATH_ERRNO__", "DERIVGEN_SIMD", "DERIVGEN_CBLAS=cblas_gemm"),
}
MACROS = (*(macro.partition("=")[0] for macro in DEFINED["GNU C"]), "__clang__", "__AVX__", "__AVX512F__", "__ARM_NEON")
MACROS += ("__aarch64__", "__cplusplus", "_OPENMP", "DERIVGEN_THREADS")
CPPCHECK = ("cppcheck", "--std=c99", "--enable=warning,style,performance,portability", "--inconclusive", "--quiet")
CPPCHECK += ("--addon=misra", "--suppress=missingIncludeSystem", "--suppress=normalCheckLevelMaxBranches")
CHECKS = "-*,bugprone-*,cert-*,clang-analyzer-*,misc-*,performance-*,portability-*,readability-*"
FOUND = re.compile(r"^(?:\S*/)?([^\s/:]+\.[ch]:\d+).*\[([\w.,-]+)\]$", re.M)


def named() -> set[str]:
    """The rules in the page's table of rules."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition("\n| rule |")
    return set(re.findall(r"^\| `([\w.-]+)` \|", table.partition("\n\n")[0], re.M))


def by_cppcheck(case: Case, compiler: str) -> list[tuple[str, str]]:
    defined = DEFINED[compiler]
    names = {macro.partition("=")[0] for macro in defined}
    macros = [*(f"-D{macro}" for macro in defined), *(f"-U{macro}" for macro in MACROS if macro not in names)]
    words = [*CPPCHECK, *macros, "--template={file}:{line}: [{id}]", "--template-location=", case.source.name]
    return findings(*run(words, case.folder))


def by_clang_tidy(case: Case) -> list[tuple[str, str]]:
    words = ["clang-tidy", "--quiet", f"--checks={CHECKS}", case.source.name, "--", "-std=c99"]
    return findings(*run(words, case.folder))


def findings(code: int, text: str) -> list[tuple[str, str]]:
    """Places, each with the rule; a failure of the checker is one too."""
    found = [(place, rule.split(",")[0]) for place, rule in FOUND.findall(text)]
    return found if found or code == 0 else [(f"exit code {code}: {text[-200:]}", "none")]


def checkers(cases: list[Case], pool: Pool) -> Iterator[Result]:
    """cppcheck takes long, and the two dtypes differ little: it sees each model in one, half of them in each."""
    known, seen = named(), set[str]()
    usual = [case for number, case in enumerate(cases) if (number // 2 + number) % 2 == 0]
    runs = {f"cppcheck as {c}": (by_cppcheck, [(case, c) for case in usual]) for c in DEFINED if has("cppcheck")}
    runs |= {"clang-tidy": (by_clang_tidy, [(case,) for case in cases])} if has("clang-tidy") else {}
    for words, (job, items) in runs.items():
        found = [finding for own in pool.map(job, items) for finding in own]
        counts = Counter(rule for _, rule in found)
        seen |= counts.keys()
        wrong = dict.fromkeys(f"{rule}: {place}" for place, rule in found if rule not in known)
        shown = ", ".join(f"{rule.removeprefix('misra-c2012-')} {n}" for rule, n in counts.most_common())
        yield Result(f"{words}: {len(items)} files; by rule {shown}", tuple(wrong))
    if has("cppcheck", "clang-tidy"):
        stale = tuple(f"{rule}: nothing is found" for rule in sorted(known - seen))
        yield Result(f"{PAGE.name} names no rule in vain", stale)
