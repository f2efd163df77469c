"""What `fit` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.data.given import Data
from derivgen.runtime.predicting import predict
from derivgen.runtime.train.history import Epoch, plot_history

Array = np.ndarray[Any, Any]
NOTICED = 0.5  # seconds


@dataclass(frozen=True, slots=True, repr=False)
class Fit:
    """The trained flat parameters, shape (P,), with views by name: those of the best epoch if `keep_best` is set.

    - `loss`: the training loss of the epoch that the parameters are from, as in `history`: of the best epoch with
      `keep_best`, otherwise of the last; NaN if no epoch was completed.
    - `last`, the parameters of the last step, and `state`: to continue the training from here.
    - `best_epoch`: the epoch with the smallest loss (the validation loss, if there is one).
    - `stopped`: why training ended before its last epoch, as text.
    - `warnings`: the monitor's, that the schedule of the rate ended early, and that the loss rose.
    - `resumed_epochs`: how many epochs of the history were done by the training that was resumed.
    - `seconds`: the whole time of the call, with compiling.
    - `compiling_seconds`: the part of it in which the module was compiled, or read from the cache.
    """

    module: ModuleType
    parameters: Array
    views: Mapping[str, Array]
    history: tuple[Epoch, ...]
    state: Any
    last: Array
    loss: float
    best_epoch: int = 0
    stopped: str = ""
    warnings: tuple[str, ...] = field(default=())
    resumed_epochs: int = 0
    seconds: float = 0.0
    compiling_seconds: float = 0.0

    def predict(self, inputs: Data) -> Array:
        """The module's predictions with these parameters, by `runtime.predict`; the data are the inputs."""
        return predict(self.module, self.parameters, inputs)

    def plot(self, path: Path | str) -> None:
        """Draw losses, metrics and the monitor's records by epoch, as `plot_history` does."""
        plot_history(path, self.history)

    def __repr__(self) -> str:
        """`Fit(loss 2.31 -> 0.0123, best epoch 47; 50 epochs in 7.8 s, 7.7 s of it for compiling)`"""
        if not self.history:
            return f"Fit(no epoch was done{self.ending})"
        first, last = self.history[0], self.history[-1]
        validation = ""
        if first.validation_loss is not None and last.validation_loss is not None:
            validation = f", validation {first.validation_loss:.4g} -> {last.validation_loss:.4g}"
        losses = f"loss {first.loss:.4g} -> {last.loss:.4g}{validation}"
        return f"Fit({losses}, best epoch {self.best_epoch}; {self.spent}{self.ending})"

    @property
    def spent(self) -> str:
        """`40 epochs in 7.8 s, 7.7 s of it for compiling`"""
        new = len(self.history) - self.resumed_epochs
        if not new:
            return "nothing was left to do"
        more = " more" if self.resumed_epochs else ""
        compiling = f", {self.compiling_seconds:.1f} s of it for compiling" if self.compiling_seconds >= NOTICED else ""
        seconds = f"{self.seconds:.1f}" if self.seconds >= NOTICED else f"{self.seconds:.2g}"
        return f"{new}{more} epoch{'' if new == 1 else 's'} in {seconds} s{compiling}"

    @property
    def ending(self) -> str:
        return f"; {self.stopped}" if self.stopped else ""
