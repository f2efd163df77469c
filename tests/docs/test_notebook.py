"""The notebook of the tutorials runs, and writes what is stored in it."""

from __future__ import annotations

import nbformat
import pytest
from notebooks import executed, written
from pages import ROOT, difference, matches

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_writes_what_it_shows(path, tmp_path):
    stored = nbformat.read(path, as_version=4)
    shown = list(written(stored))
    assert any(text for _, text in shown), f"{path.name} has no outputs: python scripts/tutorial_pictures.py {path}"
    for (source, text), (_, found) in zip(shown, written(executed(path, tmp_path)), strict=True):
        assert matches(text, found), f"{source}\n{difference(text, found)}"
