"""Run the tutorials and keep the pictures that they save: `python scripts/tutorial_pictures.py [PAGE …]`.

A page shows `pictures/coffee.svg` where its code has saved `coffee.svg`. In a notebook, what its cells give is stored.
If PAGE is omitted, all tutorials.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from notebooks import executed
from pages import ROOT, Reader, pictures

METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)  # the time, and the version of matplotlib


def main(pages: list[Path]) -> None:
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            if page.suffix == ".ipynb":
                nbformat.write(executed(page, Path(folder)), page)
            else:
                Reader(page, Path(folder)).run()
                keep(page, Path(folder))


def keep(page: Path, folder: Path) -> None:
    """The pictures that a page shows, out of the folder in which it was run."""
    for picture in pictures(page):
        kept = page.parent / picture
        kept.parent.mkdir(exist_ok=True)
        drawn = (folder / kept.name).read_text(encoding="utf-8")
        kept.write_text(METADATA.sub("", drawn), encoding="utf-8")


if __name__ == "__main__":
    tutorials = ROOT / "docs" / "tutorials"
    given = [Path(argument).resolve() for argument in sys.argv[1:]]
    main(given or sorted([*tutorials.glob("*.md"), *tutorials.glob("*.ipynb")]))
