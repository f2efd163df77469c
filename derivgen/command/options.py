"""What the commands that run a module share: options of data and training, and refusals as errors of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from derivgen.command.help import in_group
from derivgen.errors import DerivgenError, system_words

FILE = click.Path(path_type=Path)
DTYPE = click.Choice(["float32", "float64"])

METRICS = "accuracy, balanced_accuracy, top_5_accuracy, precision, recall, f1 compare classes; r2, explained_variance, "
METRICS += "mean_squared_error, root_mean_squared_error, mean_absolute_error compare numbers."


def metric_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell offers after --metric."""
    from derivgen.runtime import METRICS

    return [CompletionItem(name) for name in METRICS if name.startswith(incomplete)]


of_data, of_training, of_validation = in_group("Data"), in_group("Training"), in_group("Validation and metrics")
of_output, of_checkpoints = in_group("Output"), in_group("Checkpoints")

DATA_OPTIONS = (
    of_data(
        "--data",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help="A file that holds inputs: .npz, .npy, .csv or .parquet. Repeat it for several files, which together give "
        "the inputs. NAME=FILE.npy gives the input NAME.",
    ),
    of_data(
        "--columns",
        multiple=True,
        metavar="NAME=COLUMN,...",
        help="The columns of a table that make the input NAME, such as x=age,height, or by a pattern, x=mean_*. "
        "Repeat it for several inputs.",
    ),
    of_data("--cast", is_flag=True, help="Convert integers to the module's floating-point dtype too."),
)
METRIC_OPTIONS = (
    of_validation(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        shell_complete=metric_names,
        help=f"A measure of the predictions; repeat it for several. {METRICS}",
    ),
    of_validation(
        "--target",
        metavar="NAME",
        help="The input that predictions are compared with. It is needed only if there are several candidates.",
    ),
)
FIT_OPTIONS = (
    of_training("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Passes over the data."),
    of_training(
        "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows in each mini-batch."
    ),
    of_training(
        "--accumulate",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Take one step with the mean gradient of this many batches.",
    ),
    of_training("--drop-last", is_flag=True, help="Skip the last step of an epoch if it has fewer rows."),
    of_training("--learning-rate", "--lr", type=float, help="The learning rate; the spec's if omitted."),
    of_training(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a hyperparameter of the update rule or of its schedule; repeat it for several. "
        "`derivgen summary SPEC` lists them.",
    ),
    of_training(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of the initial parameters, of the order of rows, and of the model's random numbers.",
    ),
    of_training(
        "--class-weights",
        type=click.Choice(["balanced"]),
        help="Fill the input class_weights, so that rare classes count as much as frequent ones.",
    ),
    of_validation(
        "--validation-split",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        help="Fraction of the rows to hold out for validation. Metrics are then of these rows.",
    ),
    of_validation(
        "--validation",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help="A file of other rows to validate by, as for --data and with the same --columns; repeat it for several "
        "files. Inputs without a sample axis are those of --data.",
    ),
    *METRIC_OPTIONS,
    of_validation(
        "--early-stopping",
        type=click.IntRange(min=1),
        metavar="EPOCHS",
        help="Stop after this many epochs without improvement of the loss (of the validation loss, if there is one).",
    ),
    of_validation("--keep-best", is_flag=True, help="Save the parameters of the epoch with the smallest loss."),
    of_validation(
        "--monitor",
        is_flag=True,
        help="Look at each layer after each epoch, and warn of vanishing or exploding gradients and of dead units.",
    ),
    of_output(
        "--history", type=FILE, metavar="FILE.jsonl", help="Write the losses and metrics, a line for each epoch."
    ),
    of_checkpoints(
        "--checkpoints",
        type=FILE,
        metavar="FOLDER",
        help="Write checkpoints into this folder, so that an interrupted training can be resumed.",
    ),
    of_checkpoints(
        "--checkpoint-every",
        type=click.IntRange(min=1),
        metavar="STEPS",
        help="Write one after this many steps; if omitted, at the end of an epoch, at least five seconds apart.",
    ),
    of_checkpoints(
        "--keep",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Keep the last so many checkpoints.",
    ),
    of_checkpoints("--resume", is_flag=True, help="Continue from the last checkpoint (bit-identical)."),
)


def options_of(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Several options as one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


# ---- the texts of options


def settings_of(values: tuple[str, ...], learning_rate: float | None) -> dict[str, Any]:
    rate = [] if learning_rate is None else [f"learning_rate={learning_rate!r}"]
    return pairs_of("--set", [*rate, *values], float, "NAME=VALUE with a number, such as momentum=0.9")


def columns_of(texts: tuple[str, ...]) -> dict[str, list[str]]:
    return pairs_of("--columns", texts, names_of, "NAME=COLUMN,COLUMN,..., such as x=age,height")


def names_of(text: str) -> list[str]:
    names = text.split(",")
    if not all(names):
        raise ValueError
    return names


def pairs_of(option: str, texts: Sequence[str], read: Callable[[str], Any], expected: str) -> dict[str, Any]:
    """What `read` makes of each VALUE, by NAME, of texts NAME=VALUE; it raises ValueError where it can't."""
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        name = name.strip()
        if name in found:
            raise click.UsageError(f"{option}: {name} is given twice: leave one of them out")
        try:
            found[name] = read(value)
        except ValueError:
            name = ""
        if not name.isidentifier():
            raise click.UsageError(f"{option} expects {expected}; found {text!r}")
    return found


def refuse_overwriting(read: Sequence[Path], written: Mapping[str, Path | None]) -> None:
    """Raise DerivgenError where a file would be written over one that the command reads, or over another output."""
    for option, path in written.items():
        others = [other for name, other in written.items() if name != option and other is not None]
        for other in (*read, *others):
            plain = Path(str(other).rpartition("=")[2])  # of NAME=FILE
            if path is not None and os.path.realpath(path) in (os.path.realpath(other), os.path.realpath(plain)):
                raise DerivgenError(
                    f"{option} {path} is a file that this command reads or writes besides: give another"
                )


@contextmanager
def user_data() -> Iterator[None]:
    """Refusals by a generated module, which knows nothing of derivgen, as errors of the user."""
    try:
        yield
    except DerivgenError:
        raise
    except OSError as error:
        raise DerivgenError(system_words(error)) from error
    except (ValueError, TypeError) as error:
        raise DerivgenError(str(error)) from error
