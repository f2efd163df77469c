"""Processes that import a fresh module at once, many times over: `python benchmarks/parallel_imports.py`.

Two, then eight at once, 20 rounds each; in every second round half of them call with another signature. Stops at the
first failure, other number, kernel compiled twice or broken cache; prints the medians of a round's time. Then, 30
times, one of eight is killed at a random moment: the others must give the same numbers, and leave a cache that serves.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from parallel_module import (
    PROCESS,
    Outcome,
    at_once,
    check_files,
    check_round,
    let_go,
    outcome,
    start,
    wait_until_ready,
    write_module,
)

ROUNDS, KILLS, AT_ONCE = 20, 30, 8
LONGEST = 3.0  # seconds that compiling takes, or less


def kill_one(folder: Path, random: Random) -> str:
    """The numbers that all but the killed one of some processes give."""
    processes = [start(folder, PROCESS.format(writeable=True)) for _ in range(AT_ONCE)]
    wait_until_ready(processes)
    for process in processes:
        let_go(process)
    time.sleep(random.uniform(0, LONGEST))
    processes[0].kill()
    found = [outcome(process) for process in processes[1:]]
    assert [(other.returncode, other.errors) for other in found] == [(0, "")] * len(found), found
    assert len({other.numbers for other in found}) == 1, found
    outcome(processes[0])
    assert at_once(folder, 1) == [Outcome(0, found[0].numbers, frozenset(), "")]
    check_files(folder)
    return found[0].numbers


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
    random, numbers = Random(0), set()
    for _ in range(KILLS):
        with tempfile.TemporaryDirectory() as name:
            write_module(Path(name))
            numbers.add(kill_one(Path(name), random))
    assert len(numbers) == 1, numbers
    print(f"{AT_ONCE} processes at once, one of them killed: {KILLS} times the same numbers")


if __name__ == "__main__":
    main()
