"""The modules that estimators generate: files in a folder of the user's, generated once and loaded from there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.file import disk, headers, store
from derivgen.project.building import compiled, library_of, sources_of

# Modules are loaded without SymPy: what generates is imported late.
if TYPE_CHECKING:
    from derivgen.declare.model import Model
    from derivgen.form.program import Program

# Held while a model is declared or generated, since that changes SymPy for a moment (`as_written`), and while a
# module is loaded. A model function may fit estimators itself: its thread takes the lock again.
LOCK = threading.RLock()
Sources = tuple[tuple[str, str], ...]  # of a library: the names and texts of files


def cache_folder() -> Path:
    """Where modules are kept: $DERIVGEN_CACHE, else `derivgen` in the user's cache folder. It may be emptied."""
    if given := os.environ.get("DERIVGEN_CACHE"):
        return Path(given).absolute()
    home = Path.home()
    if sys.platform == "darwin":
        user = home / "Library" / "Caches"
    elif sys.platform == "win32":
        user = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        user = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return user / "derivgen"


def cached_module(model: Model, program: Program, dtype: str, native: bool = False) -> tuple[str, str, Sources]:
    """(name, text, the sources of its library) of the model's module: from the cache, or generated.

    `program` is the declared one; `native`: a C compiler compiles it. The name tells modules of models of one name
    apart: numba's cache and sys.modules know them by it. The caller holds `LOCK`.
    """
    from derivgen.pipeline import digest, generate_body
    from derivgen.print.templates import generator_digest

    key = hashlib.sha256(f"{digest(model, program)} {generator_digest()}".encode()).hexdigest()[:16]
    name = f"{program.name}_{key}"
    if native:
        return cached_native(model, name, dtype)
    text = kept_text(cache_folder() / f"{name}_{dtype}.py")
    if text is None:
        generated = generate_body(model, dtype, name=name)
        warn_of(generated)
        text = assembled(generated)
    return f"{name}_{dtype}", text, ()


def cached_native(model: Model, name: str, dtype: str) -> tuple[str, str, Sources]:
    from derivgen.pipeline import generate_native

    stem = f"{name}_{dtype}_native"
    text = kept_text(cache_folder() / f"{stem}.py")
    sources = [(file, disk.read(cache_folder() / file)) for file in sources_of(stem)]
    if text is None or any(source is None for _, source in sources):
        generated, made = generate_native(model, dtype, stem, name=name)
        warn_of(generated)
        text, sources = assembled(generated), [*made.items()]
    return stem, text, tuple((file, str(source)) for file, source in sources)


def assembled(generated: headers.Generated) -> str:
    return headers.assemble(generated, "a model function", "estimator.fit(X, y)  # derivgen.sklearn")


def warn_of(generated: headers.Generated) -> None:
    for warning in generated.warnings:
        warnings.warn(str(warning), stacklevel=5)


def kept_text(path: Path) -> str | None:
    """The text of a module in the cache; None where the file is missing or not whole."""
    try:
        text = disk.read(path)
    except DerivgenError:  # `loaded` says what is wrong with the cache
        return None
    return None if text is None or headers.read_header(text) is None or headers.is_edited(text) else text


def loaded(name: str, text: str, sources: Sources = ()) -> runtime.GeneratedModule:
    """The module of this text, from its file in the cache. Raises DerivgenError where that can't be written, or its
    library can't be compiled.
    """
    with LOCK:
        return load_module(cache_folder(), name, text, sources)


@functools.cache
def load_module(folder: Path, name: str, text: str, sources: Sources) -> runtime.GeneratedModule:
    """The module of this text, written to the folder where it is not there; one and the same for the same arguments."""
    path = folder / f"{name}.py"
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.write(path, text, force=True)
    if not sources:
        return runtime.load(path)
    with contextlib.suppress(DerivgenError):  # it is missing, or another processor's, or another version's
        return runtime.load(path)
    library = compiled(dict(sources))
    with writing(folder):
        for file, source in sources:
            disk.write_bytes(folder / file, source.encode())
        disk.write_bytes(library_of(path), library)
    return runtime.load(path)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What can't be written in this block is an error of the cache."""
    try:
        yield
    except (OSError, DerivgenError) as error:
        raise DerivgenError(
            f"the cache of modules {folder} can't be used ({error}): set DERIVGEN_CACHE to a folder that can be written"
        ) from error
