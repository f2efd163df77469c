"""Signs of life: work that takes longer than two seconds says on stderr what it does, for how long, what is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

LONG = 1.5  # seconds until the first sign, and between two of the first ones in a log
LONGEST = 10.0  # seconds between two signs in a log
REDRAW = 0.5  # seconds between two drawings on a terminal
CLOCK = time.monotonic


class Work:
    """What is done now: `what` as the user knows it, the part that it has reached, and how much of it is done."""

    def __init__(self, what: str, begun: float | None = None) -> None:
        self.what, self.begun = what, CLOCK() if begun is None else begun
        self.part, self.done, self.total, self.since = "", 0.0, 0.0, self.begun
        self.heard = self.begun  # the last time that anything was said
        self.hushed = False  # whether somebody else shows the progress
        self.owner = threading.current_thread()
        self.compiler: Any = None  # the COMPILING of a generated module that works in here

    def reach(self, part: str, done: float = 0.0, total: float = 0.0) -> None:
        """The work is at this part; of a countable one, so much of the total is done."""
        if total and not self.total:
            self.since = CLOCK()
        self.part, self.done, self.total = part, done, total

    def line(self) -> str:
        """`derivgen gradcheck: 12 s, W1, 34 of 120 differences, about 30 s left`"""
        now = CLOCK()
        parts = [f"{self.what}: {now - self.begun:.0f} s", self.compiled or self.part]
        if 0 < self.done < self.total:
            left = (now - self.since) * (self.total - self.done) / self.done
            parts.append(f"{self.done / self.total:.0%}, about {duration(left)} left")
        return ", ".join(filter(None, parts))

    def pause(self) -> float:
        """The seconds between what was said last and the next sign in a log: as long again, at most 10."""
        return min(max(LONG, self.heard - self.begun), LONGEST)

    def said(self) -> None:
        """Somebody else has given a sign of life."""
        self.heard = CLOCK()

    @property
    def compiled(self) -> str:
        """What the module compiles at this moment, of how many; nothing if it does not compile."""
        compiler = self.compiler
        if compiler is None or not compiler.depth:
            return ""
        return f"compiling {compiler.name} ({min(compiler.done + 1, compiler.parts)} of {compiler.parts})"

    @contextlib.contextmanager
    def following(self, compiler: Any) -> Iterator[None]:
        """In this block the module's compiling is a part of this work, and doesn't speak for itself."""
        before, compiler.tell, self.compiler = (compiler.tell, self.compiler), silent, compiler
        try:
            yield
        finally:
            compiler.tell, self.compiler = before


def silent(text: str, seconds: int) -> None:
    """What a generated module calls in each second that it compiles."""


HERE: list[Work] = []  # the work that is watched, if there is one


def reached(stage: str, layer: str = "", done: float = 0.0, total: float = 0.0) -> None:
    """Whatever work is watched has reached this stage."""
    for work in HERE:
        work.reach(f"{stage}, layer {layer}" if layer else stage, done, total)


def said() -> None:
    """Something was printed, which is a sign of life too."""
    for work in HERE:
        work.said()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """In this block something else shows the progress."""
    before = [(work, work.hushed) for work in HERE]
    for work, _ in before:
        work.hushed = True
    try:
        yield
    finally:
        for work, hushed_before in before:
            work.hushed = hushed_before
            work.said()


@contextlib.contextmanager
def watched(
    what: str, begun: float | None = None, compiling: Any = None, say: Callable[[str], None] | None = None
) -> Iterator[Work]:
    """Work that gives signs of life if it takes long: on a terminal one line that is gone in the end, else lines.

    `begun`: by the monotonic clock, now if omitted. `compiling`: a generated module's COMPILING. Work inside watched
    work is a part of that. `say` takes the lines in place of stderr.
    """
    if HERE:  # of this thread or of another one: two lines at once would be unreadable
        work = HERE[0] if HERE[0].owner is threading.current_thread() else Work(what)
        before = work.part, work.done, work.total, work.since
        work.reach("")
        with work.following(compiling) if compiling is not None else contextlib.nullcontext():
            try:
                yield work
            finally:
                work.part, work.done, work.total, work.since = before
        return
    work, over, signs = Work(what, begun), threading.Event(), Signs(say)
    HERE.append(work)
    watcher = threading.Thread(target=watch, args=(work, over, signs), daemon=True)
    watcher.start()
    try:
        with work.following(compiling) if compiling is not None else contextlib.nullcontext():
            yield work
    finally:
        HERE.clear()
        over.set()
        watcher.join()
        signs.end()


def watch(work: Work, over: threading.Event, signs: Signs) -> None:
    """Give signs until the work is over."""
    while not over.wait(max(0.01, min(REDRAW, LONG / 4))):
        if work.hushed or CLOCK() - work.begun < LONG:
            continue
        if signs.live or CLOCK() - work.heard >= work.pause():
            signs.give(work.line())
            work.said()


class Signs:
    """Lines on stderr, or on a terminal one line that is drawn anew; others' output goes above it."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.say, self.lock, self.drawn = say, threading.RLock(), False
        self.stderr = sys.stderr
        terminal = self.stderr is not None and self.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.live = say is None and terminal
        self.covered: list[tuple[str, Any, Any]] = []

    def give(self, line: str) -> None:
        if self.say is not None:
            self.say(line)
        elif not self.live:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a stderr that is closed, or none
                print(line, file=sys.stderr, flush=True)
        else:
            self.draw(line)

    def draw(self, line: str) -> None:
        with self.lock, contextlib.suppress(OSError, ValueError):
            self.cover()
            width = shutil.get_terminal_size().columns - 1
            shown = line if len(line) <= width else f"{line[: width - 1]}…"
            self.stderr.write(f"\r{shown:{width}}\r")
            self.stderr.flush()
            self.drawn = True

    def erase(self) -> None:
        """Take the line away, since something else is printed, or the work is over."""
        with self.lock:
            if not self.drawn:
                return
            self.drawn = False
            with contextlib.suppress(OSError, ValueError):
                self.stderr.write(f"\r{'':{shutil.get_terminal_size().columns - 1}}\r")
                self.stderr.flush()

    def cover(self) -> None:
        """Erase the line before anything is printed on the same terminal."""
        if self.covered:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                instead = Above(stream, self)
                self.covered.append((name, stream, instead))
                setattr(sys, name, instead)

    def end(self) -> None:
        self.erase()
        for name, stream, instead in self.covered:
            if getattr(sys, name) is instead:
                setattr(sys, name, stream)


class Above:
    """A stream of the terminal whose text stands above the line of signs."""

    def __init__(self, stream: Any, signs: Signs) -> None:
        self.stream, self.signs = stream, signs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> Any:
        with self.signs.lock:
            self.signs.erase()
            return self.stream.write(text)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h`"""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
