"""Compiled steps, and the way back to the first of them that met a NaN or an infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.data.inputs import unmasked
from derivgen.runtime.data.rows import Feed
from derivgen.runtime.nonfinite import NonFiniteError, cause, element, first_bad
from derivgen.runtime.train.options import Options

Array = np.ndarray[Any, Any]
PARTS = 16  # safe points in as many steps as fit into a chunk: row numbers that are kept since then stay in the cache


class Steps:
    """The steps of a training, in chunks, which change parameters and state in place.

    What they change is copied at a safe point, where all of it is finite. From there the steps are taken again, one by
    one, when a loss or what a step has made is not: this finds the step, and the last good parameters. A safe point
    is the end of each chunk that has many steps, or of which the caller says so; of short ones, of several together.
    """

    def __init__(self, module: ModuleType, feed: Feed, options: Options, parameters: Array | None, state: Any) -> None:
        self.module, self.feed, self.options = module, feed, options
        self.parameters = module.initial_parameters(options.seed)
        if parameters is not None:
            module.views(np.array(unmasked("parameters", parameters)))  # refuses what is no vector of the module's
            self.parameters[:] = parameters
        self.state = module.optimizer_state() if state is None else copied(module, state)
        self.initial = self.parameters.copy()
        self.rates = dict(options.hyperparameters)  # of the update alone
        self.draws = {"seed": options.seed} if getattr(module, "RANDOM", ()) else {}
        self.settings = {**self.rates, **self.draws}  # of a step
        self.arguments = {**feed.data, **self.settings}  # of a step on data that kernels take as they are
        self.rows_a_step = options.batch_size * options.accumulate
        self.at_once = feed.steps_at_once(self.rows_a_step, len(self.parameters))
        self.steps_between = self.at_once // PARTS
        self.changing = (self.parameters, *self.state)
        self.good = [array.copy() for array in self.changing]
        self.since: list[tuple[int, Array | None]] = []  # (epoch, rows) of each chunk after the safe point
        self.again = False  # whether they are being taken again
        self.steps_since = 0

    @property
    def done(self) -> int:
        """So many steps were taken from the start of training."""
        step: int = self.state.step.item()
        return step

    def go_on_from(self, parameters: Array, state: Any) -> None:
        for own, saved in zip(self.changing, (parameters, *state), strict=True):
            own[:] = saved
        self.save()

    def take(self, epoch: int, rows: Array | None, safe: bool) -> float:
        """Steps on these rows, or one on all the data of a model without samples; their mean loss by rows.

        `safe` makes a safe point of their end. Raises NonFiniteError.
        """
        loss = self.chunk(rows)
        self.since.append((epoch, rows))
        self.steps_since += 1 if rows is None else -(-len(rows) // self.rows_a_step)
        if not math.isfinite(loss):
            loss = self.take_again()
        elif safe or self.steps_since >= self.steps_between:
            self.make_safe()
        return loss

    def make_safe(self) -> None:
        """Make a safe point of the present; NonFiniteError where it is none."""
        if self.since and not self.is_finite():
            self.take_again()
        self.save()

    def settle(self) -> int | None:
        """Where training is broken off: go back to the safe point if what came after it is not finite.

        Gives the epoch of the first step that was taken back.
        """
        if self.is_finite() and not self.again:
            return None
        self.restore()
        return self.since[0][0] if self.since else None

    def save(self) -> None:
        """Take the present as it is, which is finite, for a safe point."""
        for kept, array in zip(self.good, self.changing, strict=True):
            kept[:] = array
        self.since, self.steps_since = [], 0

    def restore(self) -> None:
        for kept, array in zip(self.good, self.changing, strict=True):
            array[:] = kept

    def is_finite(self) -> bool:
        return all(map(is_finite, (self.parameters, *self.state[1:])))

    def chunk(self, rows: Array | None) -> float:
        options, module = self.options, self.module
        if rows is None:
            return float(module.descend(self.parameters, self.state, 1, **self.arguments)[0])
        if options.accumulate == 1 and not self.feed.by_rows:  # as below, with arguments that are made once
            loss: float = module.train_epoch(self.parameters, self.state, rows, options.batch_size, **self.arguments)
            return loss
        data, order = self.feed.for_order(rows)
        if options.accumulate == 1:
            return float(
                module.train_epoch(self.parameters, self.state, order, options.batch_size, **data, **self.settings)
            )
        total = 0.0
        for start in range(0, len(order), self.rows_a_step):
            part = order[start : start + self.rows_a_step]
            loss, gradient = module.mean_gradient(
                self.parameters, part, options.batch_size, **data, **self.drawn_from_here()
            )
            module.update(self.parameters, gradient, self.state, **self.rates)
            total += loss * len(part)
        return total / len(order)

    def drawn_from_here(self) -> dict[str, int]:
        """What the gradient of the next step's batches draws by."""
        return {**self.draws, "first_step": self.done * self.options.accumulate} if self.draws else {}

    # ---- where it is not finite

    def take_again(self) -> float:
        """Raise for the first step after the safe point that met a NaN or an infinity.

        Gives the last chunk's mean loss where it was only that mean which overflowed.
        """
        chunks, self.again = self.since, True
        self.restore()
        for epoch, rows in chunks:
            total, count = 0.0, 1 if rows is None else len(rows)
            for start in range(0, count, self.rows_a_step):
                part = None if rows is None else rows[start : start + self.rows_a_step]
                self.save()
                self.since = [(epoch, part)]
                loss = self.chunk(part)
                if not (math.isfinite(loss) and self.is_finite()):
                    self.refuse(epoch, loss, part)
                total += loss * (1.0 if part is None else len(part) / count)
        self.save()
        self.again = False
        return total

    def refuse(self, epoch: int, loss: float, rows: Array | None) -> None:
        """Raise for the step from the safe point to the present."""
        after = self.parameters.copy()
        self.restore()
        data = self.feed.data if rows is None else self.feed.take(rows)
        tensor, words = self.cause(data, rows, after, loss)
        raise self.error(epoch, "the loss" if not math.isfinite(loss) else "the gradient", tensor, words)

    def cause(self, data: Mapping[str, Array], rows: Array | None, after: Array, loss: float) -> tuple[str, str]:
        def gradient() -> Array:
            if not self.draws or not hasattr(self.module, "mean_gradient") or rows is None:
                return np.asarray(self.module.loss_and_gradient(self.parameters, **data, **self.draws)[1])
            order, batch = np.arange(len(rows)), self.options.batch_size
            draws = self.drawn_from_here()
            return np.asarray(self.module.mean_gradient(self.parameters.copy(), order, batch, **data, **draws)[1])

        vectors = (self.initial, self.parameters, after)
        return cause(self.module, data, rows, *vectors, loss, gradient, self.rates)

    def take_change(self, epoch: int) -> None:
        """Make a safe point of what a callback has changed after an epoch; NonFiniteError where it is none."""
        if self.is_finite():
            return self.save()
        changed = self.module.views(self.parameters).items()
        tensor, (position, value, _) = next((n, found) for n, view in changed if (found := first_bad(view)))
        self.restore()
        words = f"a callback made it {value} at {element(tensor, position)}"
        raise self.error(epoch + 1, f"the parameter {tensor}", tensor, words)

    def error(self, epoch: int, what: str, tensor: str, words: str) -> NonFiniteError:
        step = self.done + 1
        message = f"epoch {epoch}, step {step}: {what} is not finite: {words}"
        return NonFiniteError(message, tensor, epoch, step, self.parameters, self.state)


def copied(module: ModuleType, state: Any) -> Any:
    """A copy of an update rule's state; TypeError or ValueError where it is none of this module's."""
    fresh = module.optimizer_state()
    if not isinstance(state, type(fresh)):
        raise TypeError(f"state: expected what optimizer_state() returns, found {type(state).__name__}")
    for slot, own in fresh._asdict().items():
        found = np.asarray(unmasked(f"state.{slot}", getattr(state, slot)))
        if (found.dtype, found.shape) != (own.dtype, own.shape):
            raise ValueError(
                f"state.{slot}: expected {own.dtype} of shape {own.shape}, found {found.dtype} of shape "
                f"{found.shape}: take it from optimizer_state(), or from an earlier fit"
            )
        own[:] = found
    return fresh


def is_finite(array: Array) -> bool:
    """Whether all elements are finite; their sum of squares, which costs little, is so in most cases."""
    return math.isfinite(np.dot(array, array)) or bool(np.isfinite(array).all())
