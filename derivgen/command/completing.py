"""`derivgen completion`: the script by which a shell completes commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from derivgen.command.help import Command, argument
from derivgen.errors import DerivgenError

PROGRAM, VARIABLE = "derivgen", "_DERIVGEN_COMPLETE"  # click derives the second one from the first
SHELLS = ("bash", "zsh", "fish")

EXAMPLES = """
    # In ~/.bashrc:
    eval "$(derivgen completion bash)"

    # In ~/.zshrc:
    eval "$(derivgen completion zsh)"

    # Once, for fish:
    derivgen completion fish > ~/.config/fish/completions/derivgen.fish
"""


@click.command(cls=Command, examples=EXAMPLES)
@argument("shell", "The shell: bash (4.4 or newer), zsh or fish.", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options and file names.

    Add the line for your shell to its startup file, then open a new terminal.
    """
    made = get_completion_class(shell)
    if made is None:
        raise DerivgenError(f"this version of click has no completion for {shell}: update it by pip install -U click")
    root = click.get_current_context().find_root().command
    click.echo(made(root, {}, PROGRAM, VARIABLE).source(), nl=False)
