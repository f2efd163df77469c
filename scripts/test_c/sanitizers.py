"""Every function of every model with ordinary and with wrong arguments, under sanitizers: a status, and no report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from drivers import driver
from facts import EXAMPLES, Case
from jobs import Pool, Result, run
from tools import has

HERE = Path(__file__).parent
BOARD = EXAMPLES / "digits" / "cortex_m"  # has output by semihosting, and its counterpart for computers
SHARED = (HERE / "driver.c", BOARD / "output.c")
INCLUDED = (f"-I{HERE}", f"-I{BOARD}")
SANITIZERS = ("-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")


def write_driver(case: Case) -> Path:
    path = case.folder / "main.c"
    if not path.exists():
        path.write_text(driver(case), encoding="utf-8")
    return path


def sanitized(case: Case) -> list[str]:
    main = write_driver(case)
    files = [main, *SHARED, BOARD / "host.c", case.source]
    words = ["clang", "-std=c99", "-Wall", *SANITIZERS, "-DTROUBLES", *INCLUDED, *files, "-o", "sanitized"]
    code, text = run(words, case.folder)
    if code == 0:
        code, text = run(["./sanitized"], case.folder, UBSAN_OPTIONS="print_stacktrace=0")
    return [f"{case.words}: {line}" for line in text.splitlines()] if code else []


def sanitizers(cases: list[Case], pool: Pool) -> Iterator[Result]:
    if has("clang"):
        found = pool.map(sanitized, [(case,) for case in cases])
        words = f"clang {SANITIZERS[1]}: all functions of {len(cases)} models, each with what callers may do wrong"
        yield Result(words, tuple(line for lines in found for line in lines))
