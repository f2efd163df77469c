"""The kernels of a model's module, under the lines of their docstrings: where an explanation leads to."""

from __future__ import annotations

from derivgen.declare.model import Model
from derivgen.explain.pages import Block, Code, Heading, Prose
from derivgen.pipeline import docstrings


def kernel_blocks(model: Model) -> list[Block]:
    """Each kernel by its name, and its docstring line by line: a search for a line finds it in the module."""
    blocks: list[Block] = [Heading(2, "Kernels of the module, with the lines of their docstrings")]
    for name, lines in docstrings(model).items():
        blocks += [Prose(""), Prose(f"`{name}`", 3), Code(lines, 5)]
    return blocks
