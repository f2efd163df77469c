"""Progress of a training run: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from derivgen.runtime.train.history import Epoch

PLAIN_LINES = 20  # a log should stay readable, however many epochs there are
SURE = 1.0  # seconds of training from which the time left is told
LONGEST_SILENCE = 30.0  # seconds after which a log says that training goes on
REDRAW = 0.1  # seconds between drawings on a terminal, at the least
SHARE = 0.004  # of the time that drawing may take
BAR = (8, 24)  # least and most characters
BAR_STYLES = ("cyan", "bright_black")
UTF_BAR, ASCII_BAR = ("━", "─"), ("=", "-")
SECONDS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@contextmanager
def shown(total_epochs: int, rows_per_epoch: int, enabled: bool, start_epoch: int = 0) -> Iterator[Display]:
    """A display of epochs start_epoch + 1 to total_epochs, each of so many rows; 0 rows where the model has no samples.

    It is there until the block is left, by whatever way; then the last epoch that was done stays on view.
    """
    if not enabled:
        yield Display()
        return
    clock = Clock(total_epochs, rows_per_epoch, start_epoch)
    console = terminal()
    if console is None:
        lines = Lines(clock)
        try:
            yield lines
        finally:
            lines.end()
        return
    from rich.live import Live

    # Drawn by our own calls only: a thread that draws would wait for the interpreter, and compiled code for it.
    with Live(console=console, auto_refresh=False) as live:
        line = LiveLine(clock, live)
        line.draw()
        try:
            yield line
        finally:
            line.draw()


def terminal() -> Console | None:
    """The terminal, where output goes to one that can move its cursor."""
    if not getattr(sys.stdout, "isatty", lambda: False)():
        return None
    from rich.console import Console

    console = Console()
    return console if console.is_terminal and not console.is_dumb_terminal else None


class Display:
    """What training tells of its progress; this one shows nothing.

    It need not be told before the time `due` or the end of epoch `due_epoch`, where telling would take a noticeable
    part of an epoch: the rows since then come in one call.
    """

    due = math.inf
    due_epoch: float = math.inf

    def rows(self, count: int) -> None:
        """So many rows of the present epoch were trained since the last call."""

    def trained(self, count: int) -> None:
        """The same at the end of an epoch, whose validation and metrics come next: nothing is shown yet."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done, with its validation and metrics."""


class Clock:
    """How far training is, its speed, and the time left.

    The first chunk of rows and the first epoch's evaluation hold numba's compilation: neither is counted.
    """

    def __init__(self, total: int, rows_per_epoch: int, start: int) -> None:
        self.total, self.rows_per_epoch, self.start = total, rows_per_epoch, start
        self.done, self.row = start, 0  # whole epochs, rows of the present one
        self.last = perf_counter()
        self.compiled = False
        self.trained_rows, self.trained_seconds = 0, 0.0
        self.evaluations, self.evaluated_seconds = 0, 0.0

    def rows(self, count: int) -> float:
        """Count them in; returns the time."""
        now = perf_counter()
        if self.compiled:
            self.trained_rows += count
            self.trained_seconds += now - self.last
        self.compiled = True
        self.row += count
        self.last = now
        return now

    def epoch(self, number: int) -> float:
        """Count it in; returns the time."""
        now = perf_counter()
        if self.done > self.start:
            self.evaluations += number - self.done
            self.evaluated_seconds += now - self.last
        self.done, self.row, self.last, self.compiled = number, 0, now, True
        return now

    def number(self) -> int:
        """The epoch of which rows are done; between two epochs the one before."""
        return self.done + 1 if self.row else max(self.done, self.start + 1)

    def fraction(self) -> float:
        """The part of the present epoch that is done."""
        return min(1.0, self.row / self.rows_per_epoch) if self.rows_per_epoch else 0.0

    def speed(self) -> float | None:
        """Rows a second of training alone."""
        return self.trained_rows / self.trained_seconds if self.trained_seconds and self.trained_rows else None

    def seconds_left(self) -> float | None:
        """The time of the rows that are left, and of the evaluations after them."""
        speed = self.speed()
        if self.trained_seconds + self.evaluated_seconds < SURE:
            return None
        epochs = self.total - self.done
        rows = (epochs - self.fraction()) * self.rows_per_epoch
        return (rows / speed if speed else 0.0) + epochs * self.evaluated_seconds / max(1, self.evaluations)


class Lines(Display):
    """Plain lines: the first and the last epoch, some twenty between, and a sign of life in long ones."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.every = max(1, -(-(clock.total - clock.start) // PLAIN_LINES))
        self.due = clock.last + LONGEST_SILENCE
        self.due_epoch = clock.start + 1
        self.latest: Epoch | None = None
        self.told = clock.start

    def rows(self, count: int) -> None:
        # At the end of an epoch its losses come next.
        if self.clock.rows(count) >= self.due and self.clock.fraction() < 1:
            self.tell()

    def trained(self, count: int) -> None:
        self.clock.rows(count)

    def epoch(self, epoch: Epoch) -> None:
        clock = self.clock
        now = clock.epoch(epoch.epoch)
        self.latest = epoch
        if epoch.epoch >= self.due_epoch or now >= self.due:
            past = epoch.epoch - clock.start
            self.due_epoch = min(clock.total, clock.start + (past // self.every + 1) * self.every)
            self.tell()

    def tell(self) -> None:
        clock = self.clock
        percent = f"{100 * clock.fraction():.0f} %" if clock.row else ""
        pieces = (f"epoch {clock.number()}/{clock.total}", percent, *results(self.latest), *pace(clock))
        print("  ".join(filter(None, pieces)), flush=True)
        self.told = clock.done
        self.due = perf_counter() + LONGEST_SILENCE

    def end(self) -> None:
        """Tell of the last epoch, where training stopped between two lines."""
        if self.clock.done > self.told:
            self.clock.row = 0
            self.tell()


class LiveLine(Display):
    """One line that is drawn anew, at most ten times a second, and less often where drawing is slow."""

    def __init__(self, clock: Clock, live: Live) -> None:
        self.clock, self.live = clock, live
        self.latest: Epoch | None = None
        self.due = 0.0
        self.due_epoch = clock.total

    def rows(self, count: int) -> None:
        if self.clock.rows(count) >= self.due:
            self.draw()

    def trained(self, count: int) -> None:
        self.clock.rows(count)

    def epoch(self, epoch: Epoch) -> None:
        self.latest = epoch
        if self.clock.epoch(epoch.epoch) >= self.due:
            self.draw()

    def draw(self) -> None:
        begun = perf_counter()
        console = self.live.console
        text = line(self.clock, self.latest, console.width, console.options.ascii_only)
        self.live.update(text, refresh=True)
        now = perf_counter()
        self.due = now + max(REDRAW, (now - begun) / SHARE)


def line(clock: Clock, latest: Epoch | None, width: int, ascii_only: bool) -> Text:
    """The whole state in at most so many characters; what comes last is left out where it gets narrow."""
    from rich.text import Text

    speed, left = pace(clock)
    start = f"epoch {clock.number():>{len(str(clock.total))}}/{clock.total}  "
    rest = ""
    for piece in ("" if clock.compiled else "making the kernels ready", left, *results(latest), speed):
        if len(start) + BAR[0] + len(rest) + 2 + len(piece) > width:
            break
        rest += f"  {piece}" if piece else ""
    least, most = BAR
    length = max(least, min(most, width - len(start) - len(rest)))
    share = (clock.done - clock.start + clock.fraction()) / max(1, clock.total - clock.start)
    full = round(length * min(1.0, share))
    done, to_do = ASCII_BAR if ascii_only else UTF_BAR
    text = Text(start, no_wrap=True, overflow="crop" if ascii_only else "ellipsis")
    text.append(done * full, BAR_STYLES[0]).append(to_do * (length - full), BAR_STYLES[1])
    return text.append(rest)


def results(epoch: Epoch | None) -> list[str]:
    """What an epoch gave: losses, then metrics."""
    if epoch is None:
        return []
    validation = [] if epoch.validation_loss is None else [f"validation {epoch.validation_loss:.4g}"]
    metrics = [f"{name} {value:.4g}" for name, value in epoch.metrics.items()]
    return [f"loss {epoch.loss:.4g}", *validation, *metrics]


def pace(clock: Clock) -> tuple[str, str]:
    """(samples a second, time left), each empty as long as it is not known."""
    speed, left = clock.speed(), clock.seconds_left()
    return "" if speed is None else f"{scaled(speed)} samples/s", "" if left is None else f"{duration(left)} left"


def scaled(value: float) -> str:
    """Three digits and the unit's prefix: `12.3k`."""
    for unit, prefix in THOUSANDS:
        if value >= unit * 0.9995:
            return f"{value / unit:.3g}{prefix}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """The two largest units: `2 h 5 min`."""
    rest = round(seconds)
    largest = next((i for i, (unit, _) in enumerate(SECONDS) if rest >= unit), len(SECONDS) - 1)
    words = []
    for unit, name in SECONDS[largest : largest + 2]:
        number, rest = divmod(rest, unit)
        words.append(f"{number} {name}")
    return " ".join(words)
