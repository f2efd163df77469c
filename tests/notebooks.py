"""A notebook of the documents, run from its first cell to its last, in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from pages import environment

ERASED = re.compile(r"[^\n]*\r(?!\n)")


def executed(notebook: Path, folder: Path) -> Any:
    """The notebook with what its cells give; of what they write, standard output alone, its lines ended by newlines."""
    run = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        run,
        timeout=300,
        kernel_name="python3",
        resources=resources,
        record_timing=False,
        coalesce_streams=True,  # as a notebook shows it: a line that was written over, by its last text
    )
    client.execute(env=environment())
    run.metadata["language_info"] = {"name": "python"}  # without versions
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if output.output_type == "stream":
                    # A line of progress, which a slow machine writes, is erased: blanks, and back to the line's start.
                    output.text = ERASED.sub("", output.text.replace("\r\n", "\n"))
    return run


def written(notebook: Any) -> Iterator[tuple[str, str]]:
    """Each cell of code, with the text that it gives."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell.source, "".join(output.get("text", "") for output in cell.outputs)
