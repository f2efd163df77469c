"""The modules that estimators generate: a file each in a folder of the user's, generated once and loaded from there."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.file import store

# Modules are loaded without SymPy: what generates is imported late.
if TYPE_CHECKING:
    from derivgen.declare.model import Model
    from derivgen.form.program import Program

# Held while a model is declared or generated, since that changes SymPy for a moment (`as_written`), and while a
# module is loaded. A model function may fit estimators itself: its thread takes the lock again.
LOCK = threading.RLock()


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


def cached_module(model: Model, program: Program, dtype: str) -> tuple[str, str]:
    """(name, text) of the model's module: from the cache, or generated. The caller holds `LOCK`.

    `program` is the declared one. The name tells modules of models of one name apart: numba's cache and sys.modules
    know them by it.
    """
    from derivgen.pipeline import digest, generate_body
    from derivgen.print.templates import generator_digest

    key = hashlib.sha256(f"{digest(model, program)} {generator_digest()}".encode()).hexdigest()[:16]
    name = f"{program.name}_{key}"
    text = kept_text(cache_folder() / f"{name}_{dtype}.py")
    if text is None:
        generated = generate_body(model, dtype, name=name)
        for warning in generated.warnings:
            warnings.warn(str(warning), stacklevel=4)
        text = store.assemble(generated, "a model function", "estimator.fit(X, y)  # derivgen.sklearn")
    return f"{name}_{dtype}", text


def kept_text(path: Path) -> str | None:
    """The text of a module in the cache; None where the file is missing or not whole."""
    try:
        text = store.read(path)
    except DerivgenError:  # `loaded` says what is wrong with the cache
        return None
    return None if text is None or store.read_header(text) is None or store.is_edited(text) else text


def loaded(name: str, text: str) -> runtime.GeneratedModule:
    """The module of this text, from its file in the cache. Raises DerivgenError where that can't be written."""
    with LOCK:
        return load_module(cache_folder(), name, text)


@functools.cache
def load_module(folder: Path, name: str, text: str) -> runtime.GeneratedModule:
    """The module of this text, written to the folder where it is not there; one and the same for the same arguments."""
    path = folder / f"{name}.py"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.write(path, text, force=True)
    except (OSError, DerivgenError) as error:
        raise DerivgenError(
            f"the cache of modules {folder} can't be used ({error}): set DERIVGEN_CACHE to a folder that can be written"
        ) from error
    return runtime.load(path)
