"""Progress of a training run: rich's live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

    from derivgen.runtime.train.history import Epoch

PLAIN_LINES = 20  # a log should stay readable, however many epochs there are
LONGEST_SILENCE = 30.0  # seconds after which a log says that training goes on
REDRAW = 0.1  # seconds between drawings on a terminal, at the least
SHARE = 0.004  # of the time that drawing may take

WAITING = "making the kernels ready"


@contextmanager
def shown(total_epochs: int, rows_per_epoch: int, enabled: bool, start_epoch: int = 0) -> Iterator[Display]:
    """A display of epochs start_epoch + 1 to total_epochs, each of so many rows; 0 rows where the model has no samples.

    When the block is left, in whatever way, the last epoch that was done stays on view.
    """
    if not enabled:
        yield Display()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = Console()
    live = getattr(sys.stdout, "isatty", bool)() and console.is_terminal and not console.is_dumb_terminal
    text = Column(no_wrap=True, ratio=1, overflow="crop" if console.options.ascii_only else "ellipsis")
    columns = (
        TextColumn(f"epoch {{task.fields[number]:>{len(str(total_epochs))}}}/{total_epochs}"),
        BarColumn(min(24, console.width // 5)),
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
    with progress:
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
        whole = (total - start) * self.rows_per_epoch
        self.task = progress.add_task(WAITING, total=whole, number=start + 1)
        self.due = 0.0 if live else perf_counter() + LONGEST_SILENCE
        self.due_epoch = total if live else start + 1
        progress.refresh()

    def rows(self, count: int) -> None:
        self.count(self.done, count)

    def epoch(self, epoch: Epoch) -> None:
        self.latest = epoch
        self.count(epoch.epoch, 0)

    def count(self, done: int, row: int) -> None:
        """Take the state over, and show it where it is due."""
        self.done, self.row = done, row
        self.progress.update(self.task, completed=(done - self.start) * self.rows_per_epoch + row)
        if perf_counter() >= self.due or (not row and done >= self.due_epoch):
            self.tell()

    def tell(self) -> None:
        begun, number = perf_counter(), self.done + 1 if self.row else max(self.done, self.start + 1)
        words = "  ".join((*self.results(), *self.pace()))
        if self.live:
            self.progress.update(self.task, description=words or WAITING, number=number, refresh=True)
            now = perf_counter()
            self.due = now + max(REDRAW, (now - begun) / SHARE)
            return
        percent = f"  {100 * self.row / self.rows_per_epoch:.0f} %" if self.row else ""
        print(f"epoch {number}/{self.total}{percent}  {words}", flush=True)
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
        self.progress.update(self.task, description=text or WAITING, refresh=True)

    def results(self) -> list[str]:
        """What the last epoch gave: losses, then metrics."""
        epoch = self.latest
        if epoch is None:
            return []
        validation = [] if epoch.validation_loss is None else [f"validation {epoch.validation_loss:.4g}"]
        metrics = [f"{name} {value:.4g}" for name, value in epoch.metrics.items()]
        return [f"loss {epoch.loss:.4g}", *validation, *metrics]

    def pace(self) -> list[str]:
        """The time left and the speed, as long as they are known, evaluation included."""
        task = self.progress.tasks[0]
        left = (
            [] if task.finished or task.time_remaining is None else [f"{timedelta(seconds=task.time_remaining)} left"]
        )
        speed = [f"{float(f'{task.speed:.3g}'):,.10g} samples/s"] if task.speed and self.sampled else []
        return [*left, *speed]

    def end(self) -> None:
        """Show what stopped between two drawings; of plain lines, the last epoch that was done."""
        if self.live or self.done > self.told:
            self.row = self.row if self.live else 0
            self.tell()
