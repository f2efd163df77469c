"""Progress of a training run: rich's live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from derivgen.stages import hushed, reached, said

if TYPE_CHECKING:
    from rich.progress import Progress

    from derivgen.runtime.train.history import Epoch

LONGEST_BAR, SHORTEST_BAR = 24, 4  # columns; where there are fewer there is no bar
LONGEST_TIME = 999_999 * 86_400  # seconds; a time that is left is shown up to so many days
NARROW = 40  # columns of a terminal, below which the line is cut; else it goes on in the next one
PLAIN_LINES = 20  # a log should stay readable, however many epochs there are
LONGEST_SILENCE = 30.0  # seconds after which a log has a line of its own; signs of life on stderr come sooner
REDRAW = 0.1  # seconds between drawings on a terminal, at the least
SHARE = 0.004  # of the time that drawing may take

WAITING = "making the kernels ready"


@contextmanager
def shown(total_epochs: int, rows_per_epoch: int, enabled: bool | None, start_epoch: int = 0) -> Iterator[Display]:
    """A display of epochs start_epoch + 1 to total_epochs, each of so many rows; 0 rows where the model has no samples.

    When the block is left, in whatever way, the last epoch that was done stays on view. `enabled` None: what watches
    the training (`stages.watched`) is told of it, and shows it where it takes long.
    """
    if not enabled:
        yield Display() if enabled is False else Watched(total_epochs, rows_per_epoch, start_epoch)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = Console()
    live = getattr(sys.stdout, "isatty", bool)() and console.is_terminal and not console.is_dumb_terminal
    narrow = console.width < NARROW
    cut: Literal["crop", "ellipsis"] = "crop" if console.options.ascii_only else "ellipsis"
    text = Column(no_wrap=narrow, ratio=1, overflow=cut if narrow else "fold")
    columns = (
        TextColumn(f"epoch {{task.fields[number]:>{len(str(total_epochs))}}}/{total_epochs}"),
        BarColumn(min(LONGEST_BAR, console.width // 5)),
        TextColumn("{task.description}", markup=False, table_column=text),
    )
    # A thread that draws would wait for the interpreter, and compiled code for it: only our own calls draw.
    progress = Progress(
        *columns,
        console=console,
        auto_refresh=False,
        speed_estimate_period=600,
        get_time=lambda: perf_counter(),
        disable=not live,
        expand=True,
    )
    with progress, hushed() if live else nullcontext():
        display = Told(progress, live, total_epochs, rows_per_epoch, start_epoch)
        try:
            yield display
        finally:
            display.end()


class Display:
    """What training tells of its progress; this one shows nothing.

    Training need not tell it of an epoch before the time `due` or before epoch `due_epoch`: telling takes a noticeable
    part of a short epoch.
    """

    due = math.inf
    due_epoch: float = math.inf

    def rows(self, count: int) -> None:
        """So many rows of the present epoch are done."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done, with its validation and metrics."""

    def follow(self, compiling: Any) -> AbstractContextManager[None]:
        """A block in which this shows what a module compiles, if it can; else the module says so on stderr."""
        return nullcontext()


class Watched(Display):
    """The signs of life of a training that was not asked to show anything say which epoch it is at."""

    def __init__(self, total: int, rows_per_epoch: int, start: int) -> None:
        self.total, self.rows_per_epoch, self.start, self.done = total, max(1, rows_per_epoch), start, start
        self.words: list[str] = []
        self.due = 0.0

    def rows(self, count: int) -> None:
        self.reach(count)

    def epoch(self, epoch: Epoch) -> None:
        self.done, self.words = epoch.epoch, results(epoch)
        self.reach(0)
        self.due = perf_counter() + REDRAW

    def reach(self, row: int) -> None:
        share = self.done - self.start + row / self.rows_per_epoch
        number = min(self.total, self.done + 1)
        reached("  ".join([f"epoch {number}/{self.total}", *self.words]), done=share, total=self.total - self.start)


class Told(Display):
    """One line that is drawn anew (`live`), or plain lines: the first epoch, the last one, and some twenty between.

    rich estimates the speed from its second report on, so that compiling, which is in the first, counts in
    neither the speed nor the time left.
    """

    def __init__(self, progress: Progress, live: bool, total: int, rows_per_epoch: int, start: int) -> None:
        self.progress, self.live, self.total, self.start = progress, live, total, start
        self.sampled, self.rows_per_epoch = rows_per_epoch > 0, max(1, rows_per_epoch)
        self.done, self.row = start, 0  # whole epochs, rows of the present one
        self.latest: Epoch | None = None
        self.told = start
        self.every = max(1, -(-(total - start) // PLAIN_LINES))
        self.whole = (total - start) * self.rows_per_epoch
        self.task = progress.add_task(WAITING, total=self.whole, number=start + 1)
        self.columns = progress.columns
        self.due = 0.0 if live else perf_counter() + LONGEST_SILENCE
        self.due_epoch = total if live else start + 1
        if live:
            progress.update(self.task, description=self.fitted([WAITING], []))
        progress.refresh()

    def rows(self, count: int) -> None:
        self.count(self.done, count)

    def epoch(self, epoch: Epoch) -> None:
        self.latest = epoch
        self.count(epoch.epoch, 0)

    def count(self, done: int, row: int) -> None:
        """Take the state over, and show it where it is due."""
        self.done, self.row = done, row
        completed = (done - self.start) * self.rows_per_epoch + row
        self.progress.update(self.task, completed=completed)
        reached(f"epoch {min(self.total, done + 1)}/{self.total}", done=completed, total=self.whole)
        if perf_counter() >= self.due or (not row and done >= self.due_epoch):
            self.tell()

    def tell(self) -> None:
        begun, number = perf_counter(), self.done + 1 if self.row else max(self.done, self.start + 1)
        found = [] if self.latest is None else results(self.latest)
        words = "  ".join((*found, *self.pace()))
        if self.live:
            words = self.fitted(found or [WAITING], self.pace())
            self.progress.update(self.task, description=words, number=number, refresh=True)
            now = perf_counter()
            self.due = now + max(REDRAW, (now - begun) / SHARE)
            return
        percent = f"  {100 * self.row / self.rows_per_epoch:.0f} %" if self.row else ""
        print(f"epoch {number}/{self.total}{percent}  {words}", flush=True)
        said()
        self.told, self.due = self.done, begun + LONGEST_SILENCE
        self.due_epoch = min(self.total, self.start + ((self.done - self.start) // self.every + 1) * self.every)

    @contextmanager
    def follow(self, compiling: Any) -> Iterator[None]:
        said = compiling.tell
        if self.live:
            compiling.tell = self.compiling
        try:
            yield
        finally:
            compiling.tell = said

    def compiling(self, text: str, seconds: int) -> None:
        self.progress.update(self.task, description=self.fitted([text or WAITING], []), refresh=True)

    def fitted(self, found: list[str], pace: list[str]) -> str:
        """The words of the live line: what doesn't fit beside them is the bar's length, then the pace."""
        console, (number, bar, text) = self.progress.console, self.columns
        room = console.width - len(f"epoch {self.total}/{self.total}") - 1
        while pace and len("  ".join((*found, *pace))) + 1 + SHORTEST_BAR > room:
            pace = pace[:-1]
        words = "  ".join((*found, *pace))
        length = min(LONGEST_BAR, console.width // 5, room - len(words) - 1)
        bar.bar_width = length  # type: ignore[union-attr]
        self.progress.columns = self.columns if length >= SHORTEST_BAR else (number, text)
        return words

    def pace(self) -> list[str]:
        """The time left and the speed, as long as they are known, evaluation included."""
        task = self.progress.tasks[0]
        remaining = None if task.finished else task.time_remaining
        left = [] if remaining is None else [f"{timedelta(seconds=min(remaining, LONGEST_TIME))} left"]
        speed = [f"{float(f'{task.speed:.3g}'):,.10g} samples/s"] if task.speed and self.sampled else []
        return [*left, *speed]

    def end(self) -> None:
        """Show what stopped between two drawings; of plain lines, the last epoch that was done."""
        if self.live or self.done > self.told:
            self.row = self.row if self.live else 0
            self.tell()


def results(epoch: Epoch) -> list[str]:
    """What an epoch gave: losses, then metrics."""
    validation = [] if epoch.validation_loss is None else [f"validation {epoch.validation_loss:.4g}"]
    metrics = [f"{name} {value:.4g}" for name, value in epoch.metrics.items()]
    return [f"loss {epoch.loss:.4g}", *validation, *metrics]
