"""Every block of code of the documents runs, in order, and prints what the page shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Reader, matches, pictures

from derivgen.project.building import COMPILERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    if "$ derivgen build" in page.read_text(encoding="utf-8") and not any(map(shutil.which, COMPILERS)):
        pytest.skip("no C compiler is installed, and the page runs derivgen build")
    Reader(page, tmp_path).run()
    for picture in pictures(page):
        assert (page.parent / picture).is_file(), f"{picture} is missing: python scripts/tutorial_pictures.py"
        assert (tmp_path / Path(picture).name).is_file(), f"no code of the page saves {Path(picture).name}"


@pytest.mark.parametrize(
    "shown, printed, same",
    [
        ("a 1\nb 2\n", "a 1\nb 2\n", True),
        ("a …\nb 2\n", "a 1.5\nb 2\n", True),
        ("a 1\n", "a 2\n", False),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nb\nc\n", False),
        ("…\nz\n", "z\n", True),
        ("a\n…\n", "a\nb\nc\n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("1.9 s", "12.5 s", True),
        ("1.9 s", "12.5 m", False),
        ("loss 0.1234\n", "loss 0.1235\n", True),
        ("loss 0.1234\n", "loss 0.1334\n", False),
        ("error 1.2e-15\n", "error 3.3e-14\n", True),
        ("error 1.2e-15\n", "error 3.3e-04\n", False),
        ("200 epochs", "201 epochs", False),
        ("1,437 images", "1,437 images", True),
    ],
)
def test_outputs_are_compared(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) == same
