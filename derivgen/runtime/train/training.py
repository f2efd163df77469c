"""Training by a generated module's own compiled loop."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Never

import numpy as np

from derivgen.runtime.data.given import Data, named_inputs, refuse_separate
from derivgen.runtime.loading import interpreted, refuse_other
from derivgen.runtime.ranks import sharing
from derivgen.runtime.train.evaluation import metrics_of
from derivgen.runtime.train.metrics import Metrics
from derivgen.runtime.train.options import Options, check_options
from derivgen.runtime.train.result import Fit
from derivgen.runtime.train.run import Callback, Run
from derivgen.stages import hushed, watched

Array = np.ndarray[Any, Any]


def fit(
    module: ModuleType,
    data: Data,
    *others: Never,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    parameters: Array | None = None,
    state: Any = None,
    validation_split: float = 0.0,
    validation: Data | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    accumulate: int = 1,
    class_weights: Any = None,
    metrics: Metrics = (),
    target: str | None = None,
    early_stopping: int | None = None,
    keep_best: bool = False,
    monitor: bool = False,
    progress: bool | None = None,
    history: Path | str | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_every: int | None = None,
    keep: int = 3,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    interpret: bool = False,
    comm: Any = None,
    **hyperparameters: float,
) -> Fit:
    """Train from the given parameters and state (which are copied), or from the spec's initial ones.

    - `data`: the inputs by name, as arrays, or columns of pandas, polars or Arrow; or a frame, whose columns make the
      inputs as those of a CSV file do (`read_data`). Floating-point numbers are converted to the module's dtype.
    - `validation`: the inputs of other rows, for validation; or `validation_split`: the fraction of the rows to hold
      out, drawn once with the seed.
    - `batch_size`: the number of rows whose mean gradient makes a step, times `accumulate` batches; `drop_last` skips a
      last, smaller step. A model without a sample axis does one step on all the data in each epoch.
    - `seed`: of the initial parameters, the model's random tensors, and the order of the rows in each epoch
      (`shuffle`).
    - `parameters`: flat, shape (P,); `state`: as `optimizer_state` makes it.
    - `class_weights`: fills the input of that name: "balanced", a mapping from labels, or an array.
    - `metrics`: names, or functions of (target, prediction), for the validation rows, otherwise for the training rows;
      `target`: the input that predictions are compared with.
    - `early_stopping`: end after this many epochs without a smaller loss; `keep_best`: return the parameters of the
      epoch with the smallest loss. The loss is the validation loss, if there is one.
    - `monitor`: make a record for each layer and epoch, and warnings.
    - `progress`: True: a live line, or plain lines if there is no terminal; False: nothing; if omitted, an occasional
      sign of life on stderr, once training takes longer than two seconds.
    - `history`: a file of JSON lines.
    - `checkpoints`: a folder that gets a file every `checkpoint_every` steps (if omitted, at the end of an epoch, every
      five seconds), of which the last `keep` stay; `resume` continues from the last of them, bit for bit.
    - `callbacks`: called after each epoch with the epoch and views of the parameters, which they may change; True ends
      the training.
    - `interpret`: compile nothing; Python runs the kernels. This is slow, but starts at once. The numbers are the same
      except for rounding.
    - `comm`: a communicator of mpi4py, whose ranks all call `fit` with the same arguments. They share the rows of each
      batch, and get the same numbers as one process, bit for bit; only the first one writes files and progress.
    - `hyperparameters`: those of the update rule, by name.

    Raises ValueError or TypeError if data or arguments don't fit the module, NonFiniteError at the first step with a
    NaN or an infinity, DerivgenError if a checkpoint belongs to another training, CheckpointError if one can't be
    written. If an exception ends the training early, its attribute `fit` is the training until then.
    """
    refuse_other(module)
    refuse_separate("fit", module, others)
    options = Options(
        epochs,
        batch_size,
        seed,
        validation_split,
        shuffle,
        drop_last,
        accumulate,
        early_stopping,
        keep_best,
        monitor,
        checkpoint_every,
        keep,
        hyperparameters,
    )
    check_options(module, options, inspect.signature(fit).parameters)
    if resume and (parameters is not None or state is not None):
        raise ValueError("resume continues from the last checkpoint: leave parameters and state out")
    if resume and checkpoints is None:
        raise ValueError("resume needs the folder of checkpoints: checkpoints=...")
    if interpret:
        module = interpreted(module)
    data = named_inputs(module, data)
    validation = None if validation is None else named_inputs(module, validation, "validation")
    measure = metrics_of(module, metrics, target) if metrics else None
    with sharing(module, comm, data, options=options) as ranks, signs(module, progress, ranks.rank):
        run = Run(module, data, options, validation, class_weights, measure, parameters, state)
        run.writes = ranks.rank == 0
        if checkpoints is not None:
            run.keep_in(Path(checkpoints), resume)
            ranks.wait()  # none writes before all have looked
        return run.epochs_to_do(progress if run.writes else False, history if run.writes else None, callbacks)


def signs(module: ModuleType, progress: bool | None, rank: int) -> AbstractContextManager[Any]:
    """What gives signs of life in a training, unless nothing is to be shown."""
    return hushed() if progress is False or rank else watched("fit", compiling=module.COMPILING)
