"""Unpack the browser of the tests: python scripts/browser.py PACKAGE FOLDER

PACKAGE is the npm package @sparticuz/chromium as `npm pack` gives it: Chromium without a window, for Linux on x86-64,
with the libraries that a plain system lacks.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import brotli

LIBRARIES = ("al2023", "swiftshader")  # what it is linked to; what it draws with


def unpack(package: Path, folder: Path) -> None:
    """FOLDER/chromium, with its libraries in FOLDER/lib."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as files:

        def part(name: str) -> bytes:
            file = files.extractfile(f"package/bin/{name}.br")
            assert file is not None
            return brotli.decompress(file.read())

        for name in LIBRARIES:
            with tarfile.open(fileobj=io.BytesIO(part(f"{name}.tar"))) as libraries:
                libraries.extractall(folder, filter="data")
        program = folder / "chromium.part"
        program.write_bytes(part("chromium"))
    program.chmod(0o755)
    program.rename(folder / "chromium")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
