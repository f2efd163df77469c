"""Which files give which inputs, and arrays (.npz, .npy); columns.py and tables.py have the tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from derivgen.errors import DerivgenError, listed, nearest
from derivgen.file import disk
from derivgen.runtime.arrays import Array, Kind, open_npz, read_npy
from derivgen.runtime.data.columns import choose_columns, lacking_columns, left_over
from derivgen.runtime.data.inputs import Origin, Tell, check_kind, converted, given_twice, inputs_text, paths_text
from derivgen.runtime.data.tables import TABLES, open_table, read_table
from derivgen.runtime.log import LOG

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
    tell: Tell = LOG.info,
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Read a module's inputs from files; returns (inputs by name, names of the arrays and columns that were not used).

    Several files together give the inputs, each input once.

    - `.npz`: arrays named like the inputs.
    - `.npy`: the input named like the file, or NAME in NAME=PATH. The file is memory-mapped, read-only: it stays on
      disk, unless its numbers must be converted, which reads all of it.
    - `.csv`, `.parquet`: `columns` says which columns make an input. Without it, an input of shape (N,) is the column
      of its name, and one of shape (N, D) the columns name_0 … name_{D-1}. If one input of shape (N, D) is not found in
      this way, it gets the columns that no other input uses, in the file's order, provided that there are exactly D.

    `needed`: the inputs to read; all if omitted. Other arrays are never read. Of each array the header is checked
    first, with its shape and dtype.

    `cast`: convert integers and booleans to floating point; without it they raise an error that names the fix. The
    columns of tables need no `cast`. Floating-point numbers are always converted to the module's dtype, and whole
    numbers to labels. Labels may have any integer dtype.

    `tell`: a function that is called with a line for each input that was converted without `cast`, or that uses columns
    of other names; if omitted, the line is logged.

    Raises DerivgenError if a file can't be read or the files don't give the inputs.
    """
    sources = [source(path) for path in ([paths] if isinstance(paths, Path | str) else paths)]
    if not sources:
        raise DerivgenError(f"no data is given: expected {FILES} file of {inputs_text(module)}")
    holders, unused = find_arrays(sources, module)
    arrays = {name: s.path for name, s in holders.items()}
    tables = [open_table(s.path) for s in sources if s.suffix in TABLES]
    wanted = [i.name for i in module.INPUTS if needed is None or i.name in needed]
    choices = choose_columns(module, tables, columns or {}, arrays, wanted, tell)
    missing = [i for i in module.INPUTS if i.name in wanted and i.name not in arrays and i.name not in choices]
    if missing:
        # A single column has one name only; for a matrix the columns that remain might do.
        first = min(missing, key=lambda declared: len(declared.shape))
        if tables:
            raise lacking_columns(first, module, tables, choices, wanted)
        lacks = (
            f"{paths_text(s.path for s in sources)} {'lacks' if len(sources) == 1 else 'lack'} the input {first.name}"
        )
        raise DerivgenError(f"{lacks}: expected {inputs_text(module)}, found {listed([*arrays, *unused])}")
    choices = {name: choice for name, choice in choices.items() if name in wanted}
    found: dict[str, Array] = {}
    for s in dict.fromkeys(holders.values()):
        found |= read_arrays(s, module, [name for name in wanted if holders.get(name) == s], cast, tell)
    for table in tables:
        own = {name: choice.columns for name, choice in choices.items() if choice.table is table}
        found |= read_table(table, module, own, tell)
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
    disk.refuse_special(found.path)
    if found.suffix not in (".npz", ".npy", *TABLES):
        raise DerivgenError(f"{found.path} is of no known kind: expected {FILES} file")
    if named and found.suffix != ".npy":
        raise DerivgenError(
            f"{path}: expected {name}=FILE.npy, a {found.suffix} names what it holds: leave out {name}="
        )
    return found


# ---- arrays


def find_arrays(sources: Sequence[Source], module: ModuleType) -> tuple[dict[str, Source], list[str]]:
    """(inputs, each with its file, names of other arrays) by the files that are no tables."""
    names = [i.name for i in module.INPUTS]
    found: dict[str, Source] = {}
    others: list[str] = []
    for s in sources:
        if s.suffix in TABLES:
            continue
        for name in names_in(s, module):
            if name in found:
                raise given_twice(name, found[name].path, s.path)
            if name in names:
                found[name] = s
            else:
                others.append(name)
    return found, others


def names_in(s: Source, module: ModuleType) -> list[str]:
    """The names of a file's arrays."""
    if s.suffix == ".npy":
        return [npy_name(s, module)]
    with open_npz(s.path) as archive:
        return list(archive.members)


def read_arrays(s: Source, module: ModuleType, names: Sequence[str], cast: bool, tell: Tell) -> dict[str, Array]:
    """These inputs from their file, as the module needs them."""
    declared = [(i, Origin(s.path, i.name)) for i in module.INPUTS if i.name in names]
    if s.suffix == ".npy":
        array = read_npy(s.path)
        for i, origin in declared:
            check_kind(Kind(array.shape, array.dtype), i, cast, origin)
        return {i.name: converted(array, i, cast, origin, tell) for i, origin in declared}
    with open_npz(s.path) as archive:
        for i, origin in declared:
            check_kind(archive.kind(i.name), i, cast, origin)
        return {i.name: converted(archive.read(i.name), i, cast, origin, tell) for i, origin in declared}


def npy_name(s: Source, module: ModuleType) -> str:
    """The input that an .npy file is."""
    name = s.path.stem if s.name is None else s.name
    names = [i.name for i in module.INPUTS]
    if name in names:
        return name
    if s.name is not None:
        found = f"{name}={s.path}: the model has no input {name}"
        raise DerivgenError(f"{found}: expected {inputs_text(module)}{nearest(name, names)}")
    raise DerivgenError(
        f"{s.path} is a single array, and the model has no input {name}: expected {inputs_text(module)}. Say which "
        f"input it is by {names[0] if names else 'NAME'}={s.path}"
    )
