"""Ctrl-C where something must not be lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@contextmanager
def ignored() -> Iterator[None]:
    """Ctrl-C does nothing in this block, which must be short."""
    with handled_by(lambda *_: None):
        yield


@dataclass(slots=True)
class Interrupts:
    """Ctrl-C raises KeyboardInterrupt the first time; it does nothing while it is `held`, as it is from then on."""

    held: bool = False

    def __call__(self, *_: Any) -> None:
        if not self.held:
            self.held = True
            raise KeyboardInterrupt


@contextmanager
def only_the_first() -> Iterator[Interrupts]:
    """Of several Ctrl-C in this block the first is one."""
    interrupts = Interrupts()
    with handled_by(interrupts):
        yield interrupts


@contextmanager
def handled_by(handler: Callable[..., None]) -> Iterator[None]:
    """Ctrl-C calls this handler in the block; in another thread than the main one, and where it is ignored, nothing."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
