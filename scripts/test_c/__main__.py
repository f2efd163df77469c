"""Checks of C that need compilers, checkers and emulators: `python scripts/test_c [CHECK ...] [--examples NAME ...]`.

Prints a line for each check. The exit code is 1 where one fails, or where a program is missing: --allow-missing leaves
out the checks that need it, and --missing only prints the packages of Debian that have it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import tools
from facts import ROOT, cases, generate
from jobs import Pool, Result

CHECKS = ("warnings", "checkers", "sanitizers", "numbers", "hashes", "build_times")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all where unsaid")
    parser.add_argument("--examples", nargs="+", default=[], metavar="NAME", help="all where unsaid")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at once")
    parser.add_argument("--missing", action="store_true", help="print the packages that are missing, and end")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what needs them")
    options = parser.parse_args()
    absent = tools.missing()
    if options.missing:
        print(*absent)
        return 0
    if unknown := {*options.checks} - {*CHECKS}:
        parser.error(f"no check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    if absent:
        print(f"{'left out' if options.allow_missing else 'failed'}  apt-get install {' '.join(absent)}", flush=True)
    failed = bool(absent) and not options.allow_missing
    with tempfile.TemporaryDirectory(prefix="derivgen-c-") as folder:
        return run(Path(folder), options) or int(failed)


def run(folder: Path, options: argparse.Namespace) -> int:
    from against_numba import numbers
    from checkers import checkers
    from compilers import build_times, warnings
    from hashes import hashes
    from sanitizers import sanitizers

    sys.path.insert(0, str(ROOT))
    began, pool, failed = time.monotonic(), Pool(options.jobs), 0
    models = cases(folder, options.examples)
    list(pool.map(generate, [(case,) for case in models]))
    say(Result(f"{len(models)} headers and files of C generated", note=True), began)
    for check in (warnings, checkers, sanitizers, numbers, hashes, build_times):
        if not options.checks or check.__name__ in options.checks:
            start = time.monotonic()
            for result in check(models, pool):
                say(result, start)
                start = time.monotonic()
                failed += bool(result.wrong)
    print(f"{failed or 'nothing'} failed, {time.monotonic() - began:.0f} s in all")
    return int(failed > 0)


def say(result: Result, start: float) -> None:
    first, *others = result.text().splitlines()
    print("\n".join([f"{first}, {time.monotonic() - start:.0f} s", *others]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
