"""The commands that use trained parameters: `derivgen predict` and `derivgen evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from derivgen.command.help import Command, argument
from derivgen.command.options import (
    DATA_OPTIONS,
    FILE,
    METRIC_OPTIONS,
    columns_of,
    of_output,
    options_of,
    refuse_overwriting,
    user_data,
)
from derivgen.command.training import inputs_of, note
from derivgen.file import disk, headers

if TYPE_CHECKING:
    from types import ModuleType

ARGUMENTS = (
    argument("module", "A generated module, such as flowers_kernels.py.", type=FILE),
    argument(
        "parameters",
        "A file of parameters as train saves them, a checkpoint, or a folder of checkpoints: the last one, and in it "
        "the best parameters, if they were kept.",
        type=FILE,
    ),
)

PREDICTING = """
    # Write the predictions for a table, one line for each of its rows.
    derivgen predict flowers_kernels.py flowers_parameters.npz \\
        --data unseen.csv -o predictions.csv

    # Write the class of each row, by the last checkpoint of a training.
    derivgen predict flowers_kernels.py run --data unseen.csv \\
        --classes -o classes.csv

    # Leave the labels of a table alone, whose column is named target.
    derivgen predict flowers_kernels.py flowers_parameters.npz \\
        --data iris.csv --columns y=target -o predictions.csv
"""


@click.command(cls=Command, examples=PREDICTING)
@options_of(ARGUMENTS, DATA_OPTIONS)
@of_output(
    "-o", "--output", type=FILE, metavar="FILE", required=True, help="File to write: .npy, .npz, .csv or .parquet."
)
@of_output(
    "--classes",
    is_flag=True,
    help="Write the class with the largest score (along the last axis) in place of scores.",
)
def predict(
    module: Path,
    parameters: Path,
    data: tuple[Path, ...],
    columns: tuple[str, ...],
    cast: bool,
    output: Path,
    classes: bool,
) -> None:
    """Write the predictions of a generated module with trained parameters.

    Neither the spec nor labels are needed. An .npz holds them as the array `prediction`; a .csv has one line for each
    row of the data, and a .parquet one row.
    """
    import numpy as np

    from derivgen.runtime import predicting

    predicting.check_prediction_file(output)
    refuse_overwriting([*data, parameters, module], {"--output": output})
    disk.check_writable(output)
    loaded = loaded_module(module)
    flat, origin = predicting.read_parameters(parameters, loaded)
    inputs = predicting.read_prediction_data(data, loaded, cast=cast, columns=columns_of(columns), tell=note)
    with user_data():
        prediction = predicting.predict(loaded, flat, inputs)
    chosen = predicting.classes_of(loaded, prediction) if classes else prediction
    predicting.write_prediction(output, chosen)
    bad = int(np.count_nonzero(chosen < 0 if classes else ~np.isfinite(prediction)))
    if bad and classes:
        click.echo(f"warning: {bad} of the {chosen.size} classes are -1: among their scores is a NaN", err=True)
    elif bad:
        click.echo(f"warning: {bad} of the {prediction.size} numbers predicted are not finite", err=True)
    what = "classes" if classes else "predictions"
    click.echo(f"{output}: {what} of shape {chosen.shape} with the parameters of {origin}")


EVALUATING = """
    # Show the loss on held-out data.
    derivgen evaluate flowers_kernels.py flowers_parameters.npz --data test.csv

    # Show two metrics besides, by the last checkpoint of a training.
    derivgen evaluate flowers_kernels.py run --data test.csv \\
        --metric accuracy --metric f1
"""


@click.command(cls=Command, examples=EVALUATING)
@options_of(ARGUMENTS, DATA_OPTIONS, METRIC_OPTIONS)
def evaluate(
    module: Path,
    parameters: Path,
    data: tuple[Path, ...],
    columns: tuple[str, ...],
    cast: bool,
    **measures: Any,
) -> None:
    """Show the loss, and metrics, of a generated module with trained parameters on data.

    The loss is in evaluation mode: dropout is off, and batch normalization uses its running statistics. It is an error
    if it is not finite.
    """
    from derivgen.runtime import evaluate, read_parameters
    from derivgen.runtime.data.rows import count_rows, sample_inputs

    loaded = loaded_module(module)
    flat, origin = read_parameters(parameters, loaded)
    inputs = inputs_of(data, loaded, cast, columns_of(columns), given=[])
    with user_data():
        values = evaluate(loaded, flat, inputs, **measures)
        rows = f"{count_rows(loaded, inputs)} rows, " if sample_inputs(loaded) else ""
    width = max(map(len, values))
    click.echo(f"{rows}the parameters of {origin}")
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {value:.6g}")


def loaded_module(path: Path) -> ModuleType:
    """The module, with a warning where it was edited by hand."""
    from derivgen.runtime import load

    module = load(path)
    if headers.is_edited(disk.read(path) or ""):
        click.echo(f"warning: {path} was edited by hand since it was generated", err=True)
    return module
