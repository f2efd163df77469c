"""The command `import`."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from derivgen.command.help import Command, argument, in_group
from derivgen.command.options import FILE

of_output, of_model = in_group("Output"), in_group("Model")

IMPORT = """
    # Write network.py and network.safetensors, for a classifier.
    derivgen import network.onnx --loss softmax_cross_entropy

    # Write classifier.py, also if it exists.
    derivgen import network.onnx -o classifier.py --force
"""


def loss_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell offers after --loss."""
    from derivgen.importing import LOSSES

    return [CompletionItem(name) for name in LOSSES if name.startswith(incomplete)]


@click.command("import", cls=Command, examples=IMPORT)
@argument("file", "A file that torch.onnx.export, or another exporter, wrote.", metavar="FILE.onnx", type=FILE)
@of_output("-o", "--output", type=FILE, metavar="SPEC.py", help="Spec to write; that of the file's name if omitted.")
@of_output("--force", is_flag=True, help="Replace files that exist.")
@of_model(
    "--loss",
    default="",
    metavar="NAME",
    shell_complete=loss_names,
    help="The loss, a function of derivgen.losses, such as softmax_cross_entropy; mean_squared_error if omitted.",
)
def import_file(file: Path, output: Path | None, loss: str, force: bool) -> None:
    """Write a spec and its weights from an ONNX file.

    The spec is written to be read and edited: layers of the library, formulas elsewhere, and names from the file. The
    weights go into a .safetensors file beside it, for runtime.load_parameters and --parameters. An ONNX file has no
    loss: without --loss, a mean squared error stands in its place, below a comment.

    If the file uses what derivgen does not cover, all of it is listed, nothing is written, and the exit code is 2. The
    command needs the package onnx: pip install 'derivgen[onnx]'.
    """
    from derivgen.importing import import_onnx
    from derivgen.project.starter import refuse_name

    if output is not None:
        refuse_name(output.stem)
    found = import_onnx(file, output, loss, force)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"wrote {found.spec} and {found.weights}, {found.parameters:,} numbers. Next:")
    click.echo(f"    derivgen generate {found.spec}")
