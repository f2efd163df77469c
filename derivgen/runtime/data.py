"""Data for training from files: which files give which inputs, and arrays (.npz, .npy); columns.py and tables.py have the tables."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError, listed, nearest
from derivgen.runtime.columns import Choice, choose_columns, lacking_columns, left_over
from derivgen.runtime.inputs import Array, Origin, converted, given_twice, inputs_text, paths_text
from derivgen.runtime.tables import TABLES, Table, open_table, read_table

FILES = "an .npz, .npy, .csv or .parquet"


@dataclass(frozen=True, slots=True)
class Source:
    """A file, with the input that NAME=PATH said it to be."""

    path: Path
    name: str | None

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()


def read_data(
    paths: Sequence[Path | str] | Path | str,
    module: ModuleType,
    *,
    cast: bool = False,
    columns: Mapping[str, Sequence[str]] | None = None,
    needed: Collection[str] | None = None,
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """(the module's inputs by name, the names of arrays and columns that the model doesn't take) from files.

    Several files together give the inputs, each input once.

    - `.npz`: arrays by the inputs' names.
    - `.npy`: the input named like the file, or NAME in NAME=PATH. It is memory-mapped, read-only: it stays on the
      disk, unless `cast` has to convert it, which reads all of it.
    - `.csv`, `.parquet`: `columns` says which columns make an input. Otherwise an input of shape (N,) takes the column
      of its name, one of shape (N, D) takes name_0 … name_{D-1}. One input of shape (N, D) that is not found so
      takes the columns that no input takes, in the file's order, if these are exactly D; the result doesn't tell.

    `needed`: the inputs to be read, all if unsaid. With `cast`, numbers are converted to the dtypes of the module;
    otherwise another dtype is refused, with the fix.
    Integers of any dtype are labels as they are. The numbers of a CSV have no dtype, so they need no `cast`.
    Raises DerivgenError where a file can't be read or the files don't give the inputs.
    """
    sources = [source(path) for path in ([paths] if isinstance(paths, Path | str) else paths)]
    if not sources:
        raise DerivgenError(f"no data is given: expected {FILES} file of {inputs_text(module)}")
    arrays, unused = read_arrays(sources, module)
    tables = [open_table(s.path) for s in sources if s.suffix in TABLES]
    wanted = [i.name for i in module.INPUTS if needed is None or i.name in needed]
    choices = choose_columns(module, tables, columns or {}, arrays, wanted)
    missing = [i for i in module.INPUTS if i.name in wanted and i.name not in arrays and i.name not in choices]
    if missing:
        # A single column has one name only; for a matrix the columns that remain might do.
        first = min(missing, key=lambda declared: len(declared.shape))
        raise lacking(first, module, sources, tables, [*arrays, *unused], choices)
    choices = {name: choice for name, choice in choices.items() if name in wanted}
    found = {name: from_array(name, array, module, cast) for name, array in arrays.items() if name in wanted}
    for table in tables:
        own = {name: choice.columns for name, choice in choices.items() if choice.table is table}
        found |= read_table(table, module, own, cast)
        unused += left_over(table, choices)
    return {name: found[name] for name in wanted}, tuple(unused)


def source(path: Path | str) -> Source:
    """A file that is there and of a known kind; NAME=PATH is taken apart, unless a file has all of it as its name."""
    name, equals, rest = str(path).partition("=")
    named = bool(equals) and name.isidentifier() and not os.path.exists(path)
    found = Source(Path(rest), name) if named else Source(Path(path), None)
    if os.path.isdir(found.path):
        raise DerivgenError(f"{found.path} can't be read: it is a folder, expected {FILES} file")
    if not os.path.exists(found.path):
        raise DerivgenError(f"{found.path} does not exist: give the path of {FILES} file that holds inputs")
    if found.suffix not in (".npz", ".npy", *TABLES):
        raise DerivgenError(f"{found.path} is of no known kind: expected {FILES} file")
    if named and found.suffix != ".npy":
        raise DerivgenError(
            f"{path}: expected {name}=FILE.npy, a {found.suffix} names what it holds: leave out {name}="
        )
    return found


def lacking(
    declared: Any,
    module: ModuleType,
    sources: Sequence[Source],
    tables: Sequence[Table],
    arrays: Sequence[str],
    choices: Mapping[str, Choice],
) -> DerivgenError:
    """The error for an input that was not found; `arrays` are the names of those that were, `choices` their columns."""
    if tables:
        return lacking_columns(declared, module, tables, choices)
    lacks = (
        f"{paths_text(s.path for s in sources)} {'lacks' if len(sources) == 1 else 'lack'} the input {declared.name}"
    )
    return DerivgenError(f"{lacks}: expected {inputs_text(module)}, found {listed(arrays)}")


# ---- arrays


def read_arrays(sources: Sequence[Source], module: ModuleType) -> tuple[dict[str, tuple[Array, Path]], list[str]]:
    """(inputs, each with its file, names of other arrays) from the files that are no tables."""
    names = [i.name for i in module.INPUTS]
    found: dict[str, tuple[Array, Path]] = {}
    others: list[str] = []
    for s in sources:
        if s.suffix in TABLES:
            continue
        arrays = read_npz(s.path) if s.suffix == ".npz" else {npy_name(s, module): read_npy(s.path)}
        for name, array in arrays.items():
            if name in found:
                raise given_twice(name, found[name][1], s.path)
            if name in names:
                found[name] = array, s.path
            else:
                others.append(name)
    return found, others


def from_array(name: str, given: tuple[Array, Path], module: ModuleType, cast: bool) -> Array:
    array, path = given
    declared = next(i for i in module.INPUTS if i.name == name)
    return converted(array, declared, cast, Origin(path, name))


def npy_name(s: Source, module: ModuleType) -> str:
    """The input that an .npy file is."""
    name = s.path.stem if s.name is None else s.name
    names = [i.name for i in module.INPUTS]
    if name in names:
        return name
    if s.name is not None:
        found = f"{name}={s.path}: the model takes no input {name}"
        raise DerivgenError(f"{found}: expected {inputs_text(module)}{nearest(name, names)}")
    raise DerivgenError(
        f"{s.path} is a single array, and the model takes no input {name}: expected {inputs_text(module)}. Say which "
        f"input it is by {names[0] if names else 'NAME'}={s.path}"
    )


def read_npz(path: Path) -> dict[str, Array]:
    """The named arrays of a file; DerivgenError where it is not an .npz, or one that only unpickling could read."""
    what, fix = "an .npz file of plain arrays", f'np.savez("{path.stem}.npz", ...)'
    with numpy_errors(path, what, fix):
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DerivgenError(f'{path} is a single array, expected an .npz of named ones: np.savez("data.npz", x=x)')
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    foreign = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if foreign:
        raise DerivgenError(f"{path} is not {what} ({foreign[0]} in it is no array): write it by {fix}")
    return arrays


def read_npy(path: Path) -> Array:
    """The array of a file, memory-mapped and read-only; DerivgenError where it is not whole or no plain array."""
    with numpy_errors(path, "an .npy file of a plain array", f'np.save("{path.stem}.npy", ...)'):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(array, np.ndarray):
        return array
    array.close()
    raise DerivgenError(f"{path} is an archive of arrays, expected a single one: rename it to {path.stem}.npz")


@contextmanager
def numpy_errors(path: Path, what: str, fix: str) -> Iterator[None]:
    """What NumPy raises on a file that is missing, cut off or foreign, as DerivgenError."""
    try:
        yield
    except FileNotFoundError:
        raise DerivgenError(f"{path} does not exist: write it by {fix}") from None
    except (OSError, EOFError) as error:
        raise DerivgenError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy takes any text for a pickle, and advises to read it all the same.
        reason = "no array's header, or a pickle" if "pickled" in str(error) else error
        raise DerivgenError(f"{path} is not {what} ({reason}): write it by {fix}") from error
