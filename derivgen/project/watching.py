"""Which files a spec is made of, and when one of them changes."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from derivgen.errors import PACKAGE

SECONDS = 0.2  # between two looks
PYTHONS = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
INSTALLED = {"site-packages", "dist-packages"}


class Imports(MetaPathFinder):
    """Notes the files of the project that a spec imports, each with a digest; Python's own finders import them.

    A file is noted before it is executed, so that one with an error is noted too; and so is where a module would be
    that is not found, since it may be written later.
    """

    def __init__(self, spec: Path) -> None:
        self.folder = spec.absolute().parent
        self.files = {spec.absolute(): ""}
        self.modules: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target)
        if found is None and path is None:
            self.note(self.folder / f"{fullname}.py", self.folder / fullname / "__init__.py")
        elif found is not None and found.origin is not None and is_of_project(Path(found.origin)):
            self.note(Path(found.origin))
            self.modules.add(fullname)
        return None

    def note(self, *files: Path) -> None:
        self.files |= {file: digest(file) for file in files}


def is_of_project(file: Path) -> bool:
    """Whether a module's file is the user's, and neither Python's nor installed."""
    parents = file.resolve().parents
    if file.suffix != ".py" or PACKAGE.resolve() in parents or INSTALLED & set(file.parts):
        return False
    return not any(folder in parents for folder in PYTHONS)


@contextmanager
def noted(imports: Imports) -> Iterator[None]:
    """What a spec imports in this block is read from its files, whatever was imported before, and is noted."""
    importlib.invalidate_caches()
    linecache.checkcache()
    imports.note(*imports.files)
    # Python takes a compiled file for that of a source of the same size and second, so that none must be there.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.meta_path.insert(0, imports)
    try:
        yield
    finally:
        sys.meta_path.remove(imports)
        sys.dont_write_bytecode = before
        for name in imports.modules:
            sys.modules.pop(name, None)


def wait_for_change(imports: Imports, seconds: float = SECONDS) -> None:
    """Return once a file holds something else than when it was noted, and stays as it is from one look to the next."""
    looked_at: object = None
    last = stamps(imports)
    while True:
        time.sleep(seconds)
        before, last = last, stamps(imports)
        if before == last != looked_at:
            looked_at = last
            if any(digest(file) != found for file, found in imports.files.items()):
                return


def stamps(imports: Imports) -> dict[Path, tuple[int, int] | None]:
    """For each file the time of its last change in nanoseconds, and its size; None where it is missing."""
    return {file: stamp(file) for file in imports.files}


def stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def digest(file: Path) -> str:
    """That of what a file holds; empty where it can't be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
