"""Processes that import a fresh module at once, many times over: `python benchmarks/parallel_imports.py`.

Two, then eight at once, 20 rounds each; in every second round half of them call with another signature. Stops at the
first failure, other number, kernel compiled twice or broken cache; prints the medians of a round's time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from parallel_module import check_round, write_module

ROUNDS = 20


def main() -> None:
    for count in (2, 8):
        seconds = []
        for number in range(ROUNDS):
            with tempfile.TemporaryDirectory() as name:
                write_module(Path(name))
                start = time.perf_counter()
                check_round(Path(name), count, signatures=1 + number % 2)
                seconds.append(time.perf_counter() - start)
        print(
            f"{count} processes at once: {ROUNDS} rounds without a fault, {median(seconds):5.1f} s a round", flush=True
        )


if __name__ == "__main__":
    main()
