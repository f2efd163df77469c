"""Jobs in several processes, and the line that a check prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINES = 12  # of what is wrong that are printed


@dataclass(frozen=True)
class Result:
    """What a check found: a line, and lines that say what is wrong."""

    words: str
    wrong: tuple[str, ...] = ()
    note: bool = False  # printed only: nothing can be wrong

    def text(self) -> str:
        verdict = "      " if self.note else "failed" if self.wrong else "ok    "
        more = [f"... and {len(self.wrong) - LINES} lines more"] if len(self.wrong) > LINES else []
        return "\n        ".join([f"{verdict}  {self.words}", *self.wrong[:LINES], *more])


class Pool:
    """Processes that run jobs; more than one job a processor would only measure how they wait for one another."""

    def __init__(self, count: int) -> None:
        self.executor = ProcessPoolExecutor(count)

    def map(self, job: Callable[..., Any], items: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """What the job returns for each item, a tuple of arguments, in their order."""
        futures = [self.executor.submit(job, *item) for item in items]
        return (future.result() for future in futures)


def run(words: Sequence[object], folder: Path, limit: float = 300, **variables: str) -> tuple[int, str]:
    """The exit code of a command, and all that it prints."""
    try:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
            env={**os.environ, **variables},
        )
    except subprocess.TimeoutExpired:
        return 124, f"{words[0]}: not done after {limit:.0f} s"
    return done.returncode, done.stdout
