"""Where a generation is: a line on the terminal once it takes long, with the stage and the layer that it is at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LONG = 5.0  # seconds


@dataclass
class Place:
    """The stage and the layer that the generation has reached; no stage while there is none."""

    stage: str = ""
    layer: str = ""
    since: float = 0.0


HERE = Place()


def reached(stage: str, layer: str = "") -> None:
    if not HERE.stage:  # of a command that generates no module: it began now
        HERE.since = time.monotonic()
    HERE.stage, HERE.layer = stage, layer


@contextmanager
def generation() -> Iterator[None]:
    """A generation from its first stage to its last one."""
    HERE.stage, HERE.layer, HERE.since = "start", "", time.monotonic()
    try:
        yield
    finally:
        HERE.stage = ""


@contextmanager
def announced(say: Callable[[str], None], long: float = LONG) -> Iterator[None]:
    """Within this, a generation that takes long says where it is, again and again."""
    done = threading.Event()

    def watch() -> None:
        said = 0.0
        while not done.wait(long / 10):
            took = time.monotonic() - HERE.since
            if HERE.stage and took >= long and time.monotonic() - said >= long:
                layer = f", layer {HERE.layer}" if HERE.layer else ""
                say(f"generating for {took:.0f} s: {HERE.stage}{layer}")
                said = time.monotonic()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
