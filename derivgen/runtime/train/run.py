"""The loop of a training: epochs of chunks of compiled steps, and all that happens between them."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

from derivgen import interrupts
from derivgen.errors import DerivgenError
from derivgen.runtime.data.rows import Feed, class_weights, digest, sample_inputs, split_rows
from derivgen.runtime.log import LOG
from derivgen.runtime.nonfinite import NonFiniteError
from derivgen.runtime.train import checkpoints as files
from derivgen.runtime.train.evaluation import ValidationError, rise, validation_loss
from derivgen.runtime.train.history import (
    NOTHING,
    Epoch,
    HistoryFile,
    check_history,
    epochs_in,
    judged_loss,
    line_of,
    open_history,
)
from derivgen.runtime.train.logged import log_end, log_epoch, log_start
from derivgen.runtime.train.monitor import ROWS, LayerRecord, is_finite, layer_record_of, observe_layers, warnings_of
from derivgen.runtime.train.options import Options, refuse_differences
from derivgen.runtime.train.progress import Display, shown
from derivgen.runtime.train.result import Fit
from derivgen.runtime.train.resuming import random_state, refuse_forgery, tensors_not_finite
from derivgen.runtime.train.schedule_end import schedule_end
from derivgen.runtime.train.stepping import Steps

Array = np.ndarray[Any, Any]
GROWN = 10  # times the largest initial parameter: beyond it a training may have diverged
SECONDS_BETWEEN = 5.0  # checkpoints, where nothing is said
Callback = Callable[[Epoch, Mapping[str, Array]], bool | None]


class Run:
    """A training: what it has reached, and what it takes to go on."""

    def __init__(
        self,
        module: ModuleType,
        data: Mapping[str, Array],
        options: Options,
        validation: Mapping[str, Array] | None,
        weights: Any,
        measure: Callable[..., dict[str, float]] | None,
        parameters: Array | None,
        state: Any,
    ) -> None:
        self.begun = perf_counter()
        self.module, self.options, self.measure = module, options, measure
        self.generator = np.random.default_rng(options.seed)
        if validation is not None and options.validation_split:
            raise ValueError("give either validation data or validation_split")
        self.rows, held_out = split_rows(module, data, options.validation_split, self.generator)
        if weights is not None:
            data = {**data, **class_weights(module, data, self.rows, weights)}
        self.feed = Feed(module, data)
        self.validation: tuple[Feed, Array | None] | None = None if held_out is None else (self.feed, held_out)
        if validation is not None:
            own = sample_inputs(module)  # rows of the training data are no rows of these
            shared = {name: data[name] for name in data if name not in validation and name not in own}
            merged = {**shared, **validation}
            rows = split_rows(module, merged, 0.0, self.generator)[0]
            self.validation = Feed(module, merged), rows
        self.starts_anew = parameters is None
        self.steps = Steps(module, self.feed, options, parameters, state)
        self.epochs: list[Epoch] = []
        self.position, self.loss_sum = 0, 0.0  # of the present epoch: rows done, and their losses
        self.best: Array | None = None
        self.best_loss, self.best_epoch, self.stopped = math.inf, 0, ""
        self.warnings: dict[str, str] = {}
        self.records: tuple[LayerRecord, ...] = ()
        self.folder: Path | None = None
        self.writes = True  # checkpoints: of several processes the first does
        self.lines = bytearray()  # the epochs as a checkpoint has them, which would take time to write anew each time
        self.resumed_epochs = 0
        self.display = Display()
        self.history: Path | str | None = None
        self.file: HistoryFile | None = None  # of the history
        self.callbacks: Sequence[Callback] = ()
        self.written = perf_counter()  # the last checkpoint
        self.compiled_before = module.COMPILING.seconds
        # Whether anybody looks at what an epoch has made, so that each must end at a safe point.
        self.looked_at = bool(self.validation or measure or options.monitor or options.keep_best)

    # ---- before the first step

    def keep_in(self, folder: Path, resume: bool) -> None:
        """Write checkpoints into a folder; go on from the last one there."""
        self.folder, self.looked_at = folder, True
        self.data_digests = self.digests()
        files.check_folder(folder)
        last = files.latest_checkpoint(folder)
        if last is None:
            return
        if not resume:
            raise DerivgenError(
                f"{folder} has checkpoints of a training already ({last.name}): continue it with resume (--resume), or "
                "give another folder"
            )
        with files.malformed(last):
            self.go_on_from(last, files.read_checkpoint(last, self.module))

    def go_on_from(self, path: Path, checkpoint: files.Checkpoint) -> None:
        """Take over what a checkpoint holds. Raises DerivgenError where this training would not have written it."""
        progress = checkpoint.progress
        refuse_differences(path, "settings", progress["settings"], self.options.decisive)
        refuse_differences(path, "data", progress["data"], self.data_digests)
        self.lines = bytearray(checkpoint.history)
        for epoch in epochs_in(f"{path}: {files.LINES}", self.lines.decode(), layer_record_of):
            self.epochs.append(epoch)
            self.judge(judged_loss(epoch))
        self.best, self.resumed_epochs = checkpoint.best, len(self.epochs)
        self.position, self.loss_sum = int(progress["position"]), float(progress["loss_sum"])
        self.warnings = {str(what): str(text) for what, text in progress["warnings"].items()}
        self.records = tuple(layer_record_of(**fields) for fields in progress["records"])
        self.generator.bit_generator.state = random_state(self.generator, progress["random"])
        self.steps.go_on_from(checkpoint.parameters, checkpoint.state)
        own = self.progress(self.generator.bit_generator.state)
        refuse_forgery(path, progress, own, self.contradictions() | tensors_not_finite(self.module, checkpoint))

    def contradictions(self) -> dict[str, bool]:
        """For each part of a checkpoint, whether it contradicts the other parts, or this training."""
        rows, step = 0 if self.rows is None else self.end_of(self.rows), self.steps.rows_a_step
        before, each = self.steps_before
        layers, validates = {(), tuple(layer.name for layer in self.module.LAYERS)}, self.validation is not None
        begun = 0 < self.position < rows and self.position % step == 0 and math.isfinite(self.loss_sum)
        return {
            files.STEP: before < 0,
            "position": not begun and (self.position, self.loss_sum) != (0, 0),
            "records": tuple(record.layer for record in self.records) not in layers,
            "best.*": (self.best is not None) != (self.options.keep_best and self.best_epoch > 0),
            files.LINES: any(
                (epoch.epoch, epoch.step) != (number, before + number * each)
                or (epoch.validation_loss is not None) != validates
                or tuple(record.layer for record in epoch.layers) not in layers
                for number, epoch in enumerate(self.epochs, 1)
            ),
        }

    @property
    def steps_before(self) -> tuple[int, int]:
        """(the steps of earlier trainings, the steps in an epoch)"""
        rows, step = 0 if self.rows is None else self.end_of(self.rows), self.steps.rows_a_step
        each = max(1, -(-rows // step))
        return self.steps.done - self.position // step - len(self.epochs) * each, each

    def digests(self) -> dict[str, str]:
        """A description of each input, and of each validation input, with a checksum."""
        found = {name: digest(array) for name, array in self.feed.data.items()}
        if self.validation is not None and self.validation[0] is not self.feed:
            found |= {f"validation {name}": digest(array) for name, array in self.validation[0].data.items()}
        return found

    # ---- epochs

    def epochs_to_do(self, progress: bool | None, history: Path | str | None, callbacks: Sequence[Callback]) -> Fit:
        """Train the epochs that are left, and return what was reached."""
        options = self.options
        self.looked_at |= history is not None or bool(callbacks)
        self.history, self.callbacks = history, callbacks
        quiet = np.errstate(over="ignore", invalid="ignore")  # what is not finite ends the training, with its place
        try:
            if not self.is_over:
                if options.monitor and not self.records:
                    self.records = self.observed(self.steps.initial)
                self.rehearse()
                rows = 0 if self.rows is None else self.end_of(self.rows)
                if self.writes:
                    count, first = len(self.steps.parameters), len(self.epochs) + 1
                    log_start(self.module, count, rows, first, options.epochs)
                self.warn_of_the_schedule()
                display = shown(options.epochs, rows, progress, len(self.epochs))
                with quiet, display as self.display, self.display.follow(self.module.COMPILING):
                    self.all_epochs()
                self.warn_of_a_rise()
        except BaseException as error:  # whatever ends it, what was reached is not lost
            with interrupts.ignored():
                if isinstance(error, NonFiniteError) and error.parameters is self.steps.parameters:
                    error.args = (f"{error}{self.watch_words()}",)
                    self.take_back(error.epoch)
                elif (epoch := self.steps.settle()) is not None:
                    self.take_back(epoch)
                reached = self.result()
                with contextlib.suppress(AttributeError):
                    error.fit = reached  # type: ignore[attr-defined]
                if self.writes:
                    log_end(reached, error)
            raise
        finally:
            if self.file is not None:
                self.file.close()
        if history is not None and self.file is None:  # nothing was left to do
            open_history(history, self.epochs).close()
        result = self.result()
        if self.writes:
            log_end(result)
        return result

    @property
    def is_over(self) -> bool:
        return len(self.epochs) >= self.options.epochs or bool(self.stopped)

    def all_epochs(self) -> None:
        """Train one epoch after the other. However they end, the display shows the last one."""
        shown_epochs = len(self.epochs)
        try:
            while not self.is_over:
                if self.one_epoch():
                    shown_epochs = len(self.epochs)
            self.steps.make_safe()
        finally:
            if len(self.epochs) > shown_epochs:
                self.display.epoch(self.epochs[-1])

    def warn_of_the_schedule(self) -> None:
        """Warn once, before the first step, where the learning rate is next to 0 before the last epoch."""
        before, each = self.steps_before
        text = schedule_end(self.module, self.options.hyperparameters, before, each, self.options.epochs)
        if text and "schedule" not in self.warnings:
            self.warnings["schedule"] = text
            warnings.warn(text, stacklevel=4)

    def warn_of_a_rise(self) -> None:
        """Warn where a training from the spec's initial parameters ends far above their loss."""
        before, after = self.steps.initial, self.best if self.best is not None else self.steps.parameters
        if not self.starts_anew or self.resumed_epochs or not self.may_have_risen(before, after):
            return
        if text := rise(self.module, before, after, self.feed, self.rows):
            self.warnings["rise"] = text
            warnings.warn(text, stacklevel=4)

    def may_have_risen(self, before: Array, after: Array) -> bool:
        """Whether a look is worth its compiling: parameters are large, or the last epoch is not below the first."""
        grown = np.abs(after).max(initial=0) > GROWN * np.abs(before).max(initial=0)
        return bool(grown) or (len(self.epochs) > 1 and self.epochs[-1].loss >= self.epochs[0].loss)

    def take_back(self, epoch: int) -> None:
        """Forget this epoch and those after it."""
        if epoch > len(self.epochs):
            return
        del self.epochs[epoch - 1 :]
        losses = [judged_loss(epoch) for epoch in self.epochs]
        self.best_epoch, self.stopped = 1 + losses.index(min(losses)) if losses else 0, ""

    def rehearse(self) -> None:
        """Try before the first step what comes after it: what does not fit is found now, and nothing is lost."""
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks must be functions of (epoch, views), found {callback!r}")
        if self.history is not None:
            check_history(self.history)
        if self.rows is not None and self.end_of(self.rows) == 0:
            step = self.steps.rows_a_step
            raise ValueError(f"drop_last leaves no step: {len(self.rows)} rows to train on, {step} in a step")
        if self.validation is not None:
            self.validation_loss(*self.validation)
        if self.measure:
            self.measure(self.steps.parameters, *self.evaluated)

    def result(self) -> Fit:
        epochs, last = tuple(self.epochs), self.steps.parameters
        best = self.best if self.options.keep_best else None
        number = len(epochs) if best is None else self.best_epoch
        return Fit(
            self.module,
            parameters=last if best is None else best,
            views=self.module.views(last if best is None else best),
            history=epochs,
            state=self.steps.state,
            last=last,
            loss=epochs[number - 1].loss if number else math.nan,
            best_epoch=self.best_epoch,
            stopped=self.stopped,
            warnings=tuple(self.warnings.values()),
            resumed_epochs=min(self.resumed_epochs, len(epochs)),
            seconds=perf_counter() - self.begun,
            compiling_seconds=self.module.COMPILING.seconds - self.compiled_before,
        )

    def one_epoch(self) -> bool:
        """An epoch with all that comes after its steps; gives whether the display was told of it."""
        start, number = perf_counter(), len(self.epochs) + 1
        loss = self.train()
        validation_loss = None if self.validation is None else self.validation_loss(*self.validation)
        measured = self.measure(self.steps.parameters, *self.evaluated) if self.measure else NOTHING
        layers = self.watched() if self.options.monitor else ()
        now = perf_counter()
        epoch = Epoch(number, loss, validation_loss, now - start, measured, self.steps.done, layers)
        self.epochs.append(epoch)
        self.position, self.loss_sum = 0, 0.0
        self.judge(judged_loss(epoch))
        if self.history is not None:
            self.note(epoch)
        if self.folder is not None:
            self.lines += line_of(epoch)
        if self.writes and LOG.isEnabledFor(logging.INFO):  # an epoch may take microseconds
            log_epoch(epoch, self.options.epochs)
        told = now >= self.display.due or number >= self.display.due_epoch
        if told:
            self.display.epoch(epoch)
        for callback in self.callbacks:
            if callback(epoch, self.module.views(self.steps.parameters)):
                self.stopped = self.stopped or f"a callback ended the training after epoch {number}"
        if self.callbacks:
            self.steps.take_change(number)
        if self.folder is not None and self.checkpoint_is_due(end_of_epoch=True):
            self.write_checkpoint(self.generator.bit_generator.state)
        return told

    def note(self, epoch: Epoch) -> None:
        """A line of the history, whose file is replaced when the first one is there."""
        assert self.history is not None
        if self.file is None:
            self.file = open_history(self.history, self.epochs[:-1])
        self.file.append(epoch)

    def judge(self, loss: float) -> None:
        """Note the best epoch so far, and whether to stop."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, len(self.epochs)
            if self.options.keep_best:
                self.best = self.steps.parameters.copy()
        self.stopped = self.why_to_stop()

    def why_to_stop(self) -> str:
        """The reason of early stopping, in words; empty where training goes on."""
        patience, number = self.options.early_stopping, len(self.epochs)
        if patience is None or number - self.best_epoch < patience:
            return ""
        return f"no smaller loss since epoch {self.best_epoch}: stopped after epoch {number}"

    @property
    def evaluated(self) -> tuple[Feed, Array | None]:
        """The rows that metrics are computed on: those of validation, else those of training."""
        return self.validation if self.validation is not None else (self.feed, self.rows)

    def validation_loss(self, feed: Feed, rows: Array | None) -> float:
        try:
            return validation_loss(self.module, self.steps.parameters, feed, rows)
        except ValidationError as error:
            words = self.steps.cause(error.inputs, error.rows, self.steps.parameters, error.loss)
            raise self.steps.error(len(self.epochs) + 1, "the validation loss", *words) from None

    # ---- steps

    def train(self) -> float:
        """The steps of an epoch that are left; the mean loss of all of them, by rows."""
        number, steps, rows_a_step = len(self.epochs) + 1, self.steps, self.steps.rows_a_step
        if self.rows is None:
            return steps.take(number, None, self.looked_at)
        random = self.generator.bit_generator.state if self.folder is not None else None
        order = self.generator.permutation(self.rows) if self.options.shuffle else self.rows
        end = self.end_of(order)
        if self.folder is None and end == len(order) <= rows_a_step * steps.at_once:
            return steps.take(number, order, self.looked_at)
        while self.position < end:
            chunk = order[self.position : min(end, self.position + rows_a_step * self.steps_to_do())]
            loss = steps.take(number, chunk, self.looked_at)
            self.position += len(chunk)
            self.loss_sum += loss * len(chunk)
            if self.position < end:
                self.display.rows(self.position)
                if self.folder is not None and self.checkpoint_is_due():
                    self.write_checkpoint(random)
        return self.loss_sum / self.position

    def end_of(self, order: Array) -> int:
        """The rows of an epoch that are trained on."""
        rows_a_step = self.steps.rows_a_step
        return len(order) // rows_a_step * rows_a_step if self.options.drop_last else len(order)

    def steps_to_do(self) -> int:
        """The number of steps in the next chunk, which ends at the next checkpoint."""
        every = self.options.checkpoint_every
        if self.folder is None or every is None:
            return self.steps.at_once
        return min(self.steps.at_once, every - self.steps.done % every)

    # ---- monitor

    def observed(self, parameters: Array | None = None) -> tuple[LayerRecord, ...]:
        """The layers' records at these parameters, the present ones where none are given."""
        rows = None if self.rows is None else self.rows[:ROWS]
        data = self.feed.data if rows is None else self.feed.take(rows)
        at = self.steps.parameters if parameters is None else parameters
        return observe_layers(self.module, at, self.steps.state, data, self.steps.settings)

    def watched(self) -> tuple[LayerRecord, ...]:
        """The layers' records; a warning that was not given before is given."""
        records = self.observed()
        bad = next((r.layer for r in records if not is_finite(r)), None)
        if bad is not None:
            words = f"on the monitor's rows it is not, in layer {bad}"
            raise self.steps.error(len(self.epochs) + 1, "the gradient", bad, words)
        for what, text in warnings_of(records, self.records).items():
            if what not in self.warnings:
                self.warnings[what] = text
                warnings.warn(text, stacklevel=6)
        return records

    def watch_words(self) -> str:
        """What the monitor says at the last good parameters."""
        if not self.options.monitor:
            return ""
        return "".join(f"\n{text}" for text in warnings_of(self.observed(), self.records).values())

    # ---- checkpoints

    def checkpoint_is_due(self, end_of_epoch: bool = False) -> bool:
        every = self.options.checkpoint_every
        if end_of_epoch:  # the last state is kept in any case
            done = len(self.epochs) == self.options.epochs or bool(self.stopped)
            due = perf_counter() - self.written >= SECONDS_BETWEEN if every is None else self.steps.done % every == 0
            return done or bool(due)
        return every is not None and self.steps.done % every == 0

    def write_checkpoint(self, random: Any) -> None:
        assert self.folder is not None
        self.written = perf_counter()
        if not self.writes:
            return
        checkpoint = files.Checkpoint(
            self.steps.parameters, self.steps.state, self.best, self.progress(random), bytes(self.lines)
        )
        LOG.info("checkpoint %s", files.write_checkpoint(self.folder, self.module, checkpoint, self.options.keep))

    def progress(self, random: Any) -> dict[str, Any]:
        """What a training goes on from beside tensors and epochs; `random` is the state at the start of the epoch."""
        return {
            "random": random,
            "position": self.position,
            "loss_sum": self.loss_sum,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "warnings": self.warnings,
            "records": [record._asdict() for record in self.records],
            "settings": self.options.decisive,
            "data": self.data_digests,
        }
