"""`derivgen train`."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from derivgen.command.help import Command, spec_argument
from derivgen.command.options import (
    DATA_OPTIONS,
    FILE,
    FIT_OPTIONS,
    columns_of,
    of_output,
    of_training,
    options_of,
    refuse_overwriting,
    settings_of,
    user_data,
)
from derivgen.command.ranks import in_ranks
from derivgen.errors import DerivgenError, nearest, show_warnings
from derivgen.file import disk, headers, store
from derivgen.interrupts import Interrupts, only_the_first
from derivgen.project.project import header_on_disk, is_up_to_date, options, render
from derivgen.project.spec import load_target

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

    from derivgen.project.spec import Target
    from derivgen.runtime import Fit
    from derivgen.runtime.ranks import Ranks


EXAMPLES = """
    # Train, hold out a fifth of the rows, and save the best parameters.
    derivgen train flowers.py --data iris.csv --epochs 100 \\
        --validation-split 0.2 --metric accuracy --keep-best

    # Validate by other rows, and stop when their loss no longer gets smaller.
    derivgen train flowers.py --data train.csv --validation test.csv \\
        --epochs 500 --early-stopping 10 --keep-best

    # Train with checkpoints; continue after an interruption, or for longer.
    derivgen train flowers.py --data iris.csv --checkpoints run
    derivgen train flowers.py --data iris.csv --checkpoints run --resume
"""


@click.command(cls=Command, examples=EXAMPLES)
@spec_argument
@options_of(DATA_OPTIONS, FIT_OPTIONS)
@of_output("--plot", type=FILE, metavar="FILE.png", help="Draw the losses and metrics.")
@of_output(
    "--save",
    type=FILE,
    metavar="FILE",
    help="Where to save the parameters; <spec>_parameters.npz beside the spec if omitted.",
)
@of_training(
    "--parameters", type=FILE, metavar="FILE", help="Start from these saved parameters, or from those of a checkpoint."
)
@of_output("--no-progress", is_flag=True, help="Do not show the progress of the epochs.")
@of_training(
    "--interpret",
    is_flag=True,
    help="Compile nothing: Python runs the kernels. This is slow; use it to try a spec on small data at once.",
)
@of_training("--mpi", is_flag=True, help="Under mpiexec: its processes share the rows of each batch.")
def train(mpi: bool, **arguments: Any) -> None:
    """Generate the module of SPEC if needed, train it on data, and save its parameters."""
    with in_ranks(mpi) as ranks:
        train_in(ranks, **arguments)


def train_in(
    ranks: Ranks,
    spec: str,
    data: tuple[Path, ...],
    validation: tuple[Path, ...],
    columns: tuple[str, ...],
    cast: bool,
    learning_rate: float | None,
    settings: tuple[str, ...],
    plot: Path | None,
    save: Path | None,
    parameters: Path | None,
    no_progress: bool,
    **arguments: Any,
) -> None:
    if arguments["resume"] and (parameters or not arguments["checkpoints"]):
        raise click.UsageError(
            "--resume continues from the last checkpoint: leave --parameters out"
            if parameters
            else "--resume needs the folder of checkpoints: --checkpoints FOLDER"
        )
    if validation and arguments["validation_split"]:
        raise click.UsageError("--validation gives the rows to validate by: leave out --validation-split")
    hyperparameters = settings_of(settings, learning_rate)
    chosen = columns_of(columns)
    target = load_target(spec)
    save = save or target.parameters
    read = [*data, *validation, *([parameters] if parameters else []), target.spec, target.output]
    refuse_overwriting(read, {"--save": save, "--plot": plot, "--history": arguments["history"]})
    disk.check_writable(save)
    from derivgen.pipeline import update_words
    from derivgen.runtime import fit
    from derivgen.runtime.tensors import suffix_of

    suffix_of(save)
    if plot is not None:
        from derivgen.runtime.pictures import check_picture

        check_picture(plot)
    if ranks.rank:
        ranks.wait()  # for the module
    module = generated_module(target)
    if not ranks.rank:
        ranks.wait()
    refuse_unknown(hyperparameters, module)
    inputs = inputs_of(data, module, cast, chosen, given=["class_weights"] if arguments["class_weights"] else [])
    if validation:
        from derivgen.runtime.data.rows import sample_inputs

        by_row = sample_inputs(module)
        shared = [i.name for i in module.INPUTS if by_row and i.name not in by_row]
        arguments["validation"] = inputs_of(validation, module, cast, chosen, given=shared)
    if parameters is not None:
        from derivgen.runtime.predicting import read_parameters

        arguments["parameters"], origin = read_parameters(parameters, module)
        click.echo(f"starting from the parameters of {origin}")
    if arguments["resume"]:
        tell_of_resuming(arguments["checkpoints"])
    # Held until the command has said where it saved what was reached.
    interrupts = click.get_current_context().find_root().with_resource(only_the_first())
    arguments["progress"] = not no_progress
    if arguments["interpret"]:
        click.echo(
            "interpreted: Python runs the kernels, nothing is compiled; the same numbers except for rounding, slowly"
        )
    arguments["comm"] = ranks.comm
    if ranks.rank:
        with user_data():
            fit(module, inputs, **arguments, **hyperparameters)
        return
    note(f"update: {update_words(target.model, hyperparameters)}")
    result, place, why = trained(module, inputs, save, arguments, hyperparameters, interrupts)
    stopped = f"{result.stopped}\n" if result.stopped else ""
    said = summary(result, arguments["keep_best"])
    click.echo(f"{stopped}{said}\nparameters saved in {place}{not_the_best(result, arguments)}")
    interrupts.held = False
    if plot is not None:
        from derivgen.runtime import plot_history

        plot_history(plot, result.history)
    if why:
        raise DerivgenError(f"{why}. The parameters are saved in {place}")


def tell_of_resuming(folder: Path) -> None:
    from derivgen.runtime import latest_checkpoint

    last = latest_checkpoint(folder)
    click.echo(f"going on from {last}" if last else f"{folder} has no checkpoint yet: training starts anew")


def trained(
    module: ModuleType,
    inputs: dict[str, Any],
    save: Path,
    arguments: dict[str, Any],
    hyperparameters: dict[str, Any],
    interrupts: Interrupts,
) -> tuple[Fit, Path, str]:
    """(the training, where its parameters are saved, why it is not where they were to be)

    Raises DerivgenError where training can't go on, with where what it reached is saved. Interrupts are held then.
    """
    from derivgen.runtime import fit

    try:
        with user_data(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: click.echo(f"warning: {message}", err=True)
            result = fit(module, inputs, **arguments, **hyperparameters)
    except (DerivgenError, KeyboardInterrupt) as error:
        interrupts.held = True
        reached = getattr(error, "fit", None) or getattr(error.__cause__, "fit", None)
        if reached is None or reached.state.step[0] == 0:
            raise
        raise DerivgenError(saved_on_the_way(module, save, reached, error, arguments)) from error
    interrupts.held = True
    return result, *saved(module, save, result.parameters)


def saved_on_the_way(
    module: ModuleType, save: Path, reached: Fit, error: BaseException, arguments: dict[str, Any]
) -> str:
    """What ended a training, and where what it reached is saved now, in words."""
    from derivgen.runtime import NonFiniteError, latest_checkpoint

    interrupted = isinstance(error, KeyboardInterrupt)
    text = "interrupted" if interrupted else str(error)
    best = arguments["keep_best"] and reached.best_epoch > 0
    what = "The best parameters until then" if best else "The parameters so far"
    if isinstance(error, NonFiniteError) and not best:
        what = "The parameters from before that step"
        save = save.with_stem(f"{save.stem}_stopped")  # what an earlier run has saved may be better
    try:
        place, why = saved(module, save, reached.parameters)
    except DerivgenError as second:
        return f"{text}. {what} are lost. {second}"
    folder = arguments["checkpoints"]
    way = "--resume" if folder and latest_checkpoint(folder) else f"--parameters {headers.word(str(place))}"
    more = f". Continue with {way}" if interrupted else ""
    return f"{text}. {f'{why}. ' if why else ''}{what} are saved in {place}{more}"


def saved(module: ModuleType, save: Path, parameters: Any) -> tuple[Path, str]:
    """(where the parameters are saved, why it is not where they were to be)

    Where that can't be written, it is the current folder, else that of temporary files, under a name that is free.
    Raises DerivgenError if they can be saved nowhere.
    """
    from derivgen.runtime import save_parameters

    try:
        save_parameters(save, module, parameters)
        return save, ""
    except DerivgenError as error:
        for folder in (os.curdir, tempfile.gettempdir()):
            place = free_name(Path(folder, save.name))
            with suppress(DerivgenError):
                save_parameters(place, module, parameters)
                return place, str(error)
        raise DerivgenError(f"{error}. They can't be written to the folder for temporary files either") from error


def free_name(path: Path) -> Path:
    """The path, or the first of `p_2.npz`, `p_3.npz`, … where there is no file yet."""
    others = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(place for place in itertools.chain([path], others) if not os.path.lexists(place))


def generated_module(target: Target) -> ModuleType:
    """The model's module, generated if it is missing or stale, with the dtype that is in use."""
    if not is_up_to_date(target, target.output):
        text, problems = render(target, target.output, *options(header_on_disk(target.output)))
        show_warnings(problems)
        if store.write(target.output, text) == "written":
            click.echo(f"{target.output}: written")
    from derivgen.runtime import load

    return load(target.output)


def refuse_unknown(hyperparameters: dict[str, float], module: ModuleType) -> None:
    """Raise DerivgenError where the module's update rule has no such hyperparameter."""
    from derivgen.runtime.train.options import hyperparameters_of

    own = hyperparameters_of(module)
    for name in hyperparameters:
        if name not in own:
            near = nearest(name, own) or ":"
            raise DerivgenError(
                f"{'--learning-rate' if name == 'learning_rate' else f'--set {name}'}: the update rule has no such "
                f"hyperparameter{near} it has {', '.join(own)}"
            )


def inputs_of(
    data: tuple[Path, ...], module: ModuleType, cast: bool, columns: dict[str, list[str]], given: Collection[str]
) -> dict[str, Any]:
    """The inputs from files, except for those that the training is given otherwise."""
    from derivgen.runtime import read_data

    if not data and not module.INPUTS:
        return {}
    needed = [i.name for i in module.INPUTS if i.name not in given]
    inputs, unused = read_data(data, module, cast=cast, columns=columns, needed=needed, tell=note)
    if unused:
        files = f"{' and '.join(map(str, data))} also {'holds' if len(data) == 1 else 'hold'}"
        note(f"{files} {', '.join(unused)}, which the model does not take")
    return inputs


def note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def not_the_best(result: Fit, arguments: dict[str, Any]) -> str:
    """Which parameters are saved, where early stopping has passed better ones; else nothing."""
    epoch = len(result.history)
    if arguments["early_stopping"] is None or arguments["keep_best"] or result.best_epoch == epoch:
        return ""
    return f": saved are the parameters of epoch {epoch} (--keep-best saves those of epoch {result.best_epoch})"


def summary(result: Fit, keep_best: bool) -> str:
    """The first and the last epoch, or the best one where its parameters are kept, and the whole time."""
    first, last = result.history[0], result.history[-1]
    shown = result.history[result.best_epoch - 1] if keep_best else last
    validation = "" if shown.validation_loss is None else f", validation {shown.validation_loss:.6g}"
    metrics = "".join(f", {name} {value:.4g}" for name, value in shown.metrics.items())
    best = f" (epoch {shown.epoch}, the best)" if keep_best else ""
    return f"loss {first.loss:.6g} -> {shown.loss:.6g}{validation}{metrics}{best}; {result.spent}"
