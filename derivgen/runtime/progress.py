"""Progress of a training run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from derivgen.runtime.training import Epoch

Report = Callable[["Epoch"], None]
PLAIN_LINES = 20  # a log should stay readable, however many epochs there are


@contextmanager
def shown(epochs: int, enabled: bool) -> Iterator[Report]:
    """A function that shows each epoch once it is done."""
    if not enabled:
        yield lambda epoch: None
        return
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        with bar(epochs, console) as report:
            yield report
    else:
        yield plain_lines(epochs)


def losses(epoch: Epoch) -> str:
    validation = "" if epoch.validation_loss is None else f"  validation {epoch.validation_loss:.4g}"
    return f"loss {epoch.loss:.4g}{validation}"


@contextmanager
def bar(epochs: int, console: Console) -> Iterator[Report]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch {task.completed}/{task.total}"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs)
        yield lambda epoch: progress.update(task, completed=epoch.epoch, description=losses(epoch))


def plain_lines(epochs: int) -> Report:
    """The first epoch holds the compilation of the kernels, so the time left is told from the second on."""
    every = -(-epochs // PLAIN_LINES)
    first_done = 0.0

    def report(epoch: Epoch) -> None:
        nonlocal first_done
        now = time.perf_counter()
        if epoch.epoch == 1:
            first_done = now
        if epoch.epoch % every == 0 or epoch.epoch in (1, epochs):
            left = (now - first_done) / max(1, epoch.epoch - 1) * (epochs - epoch.epoch)
            remaining = f"  {left:.0f} s left" if epoch.epoch > 1 else ""
            print(f"epoch {epoch.epoch}/{epochs}  {losses(epoch)}{remaining}", flush=True)

    return report
