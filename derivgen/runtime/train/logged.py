"""What a training logs, under the logger `derivgen`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from derivgen.runtime.log import LOG
from derivgen.runtime.train.history import Epoch
from derivgen.runtime.train.result import Fit


def log_start(module: ModuleType, parameters: int, rows: int, first: int, last: int) -> None:
    """`rows` are those of an epoch, 0 where the model has no samples."""
    name = Path(vars(module).get("__file__") or module.__name__).name
    of_rows = f"{rows} rows, " if rows else ""
    LOG.info("training %s: %s%d parameters, epochs %d to %d", name, of_rows, parameters, first, last)


def log_epoch(epoch: Epoch, total: int) -> None:
    validation = "" if epoch.validation_loss is None else f", validation {epoch.validation_loss:.6g}"
    metrics = "".join(f", {name} {value:.6g}" for name, value in epoch.metrics.items())
    words = f"loss {epoch.loss:.6g}{validation}{metrics}"
    LOG.info("epoch %d/%d: %s, %.3g s", epoch.epoch, total, words, epoch.seconds)


def log_end(fit: Fit, error: BaseException | None = None) -> None:
    """`error`: what ended the training; `fit` is what was reached."""
    if error is not None:
        LOG.info("training ended by %s, %s", type(error).__name__, fit)
    else:
        LOG.info("training ended: %s", fit)
