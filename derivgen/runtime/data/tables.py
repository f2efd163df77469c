"""Tables for training: CSV and Parquet, their columns as arrays, read by pyarrow."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array
from derivgen.runtime.data.inputs import Origin, converted


@dataclass(frozen=True, slots=True)
class Table:
    """A file of named columns; `format` reads those of them that are needed, once this is known."""

    path: Path
    columns: tuple[str, ...]
    format: Format


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of table: how its columns' names are read, and then columns, as a pyarrow.Table."""

    names: Callable[[Path], list[str]]
    read: Callable[[Table, list[str]], Any]
    typed: bool  # whether its numbers have a dtype


def arrow(part: str, path: Path) -> Any:
    """A part of pyarrow, which is only needed for tables."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise DerivgenError(f"{path} can't be read without pyarrow: pip install 'derivgen[data]'") from error


def open_table(path: Path) -> Table:
    kind = TABLES[path.suffix.lower()]
    return Table(path, tuple(kind.names(path)), kind)


def read_table(table: Table, module: ModuleType, columns: Mapping[str, Sequence[str]], cast: bool) -> dict[str, Array]:
    """The inputs that are made of this table's columns, by their names."""
    chosen = [(i, columns[i.name]) for i in module.INPUTS if i.name in columns]
    if not chosen:
        return {}
    read = table.format.read(table, list(dict.fromkeys(name for _, names in chosen for name in names)))
    inputs = {}
    for declared, names in chosen:
        parts = [
            column_numbers(
                read.column(name), declared, cast or not table.format.typed, Origin(table.path, name, declared.name)
            )
            for name in names
        ]
        inputs[declared.name] = np.stack(parts, axis=1) if len(declared.shape) == 2 else np.array(parts[0])
    return inputs


def column_numbers(column: Any, declared: Any, cast: bool, origin: Origin) -> Array:
    """A column as an array of the dtype that an input needs."""
    types = arrow("pyarrow.types", origin.path)
    kinds = (types.is_floating, types.is_integer, types.is_boolean, types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        found = f", {str(column[0])[:40]!r} in row 1" if len(column) else ""
        raise DerivgenError(f"{origin} must hold numbers, found {column.type}{found}: store it as numbers")
    if column.null_count:
        row = column.is_null().index(True).as_py() + 1
        raise DerivgenError(f"{origin} is empty in row {row}, expected a number: fill it in, or leave out the row")
    return converted(column.to_numpy(), declared, cast, origin)


# ---- .parquet


def parquet_names(path: Path) -> list[str]:
    with parquet_file(path) as file:
        return list(file.schema_arrow.names)


def read_parquet(table: Table, names: list[str]) -> Any:
    with parquet_file(table.path) as file:
        return file.read(columns=names)


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    parquet = arrow("pyarrow.parquet", path)
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except Exception as error:  # on bytes that are none of its own, pyarrow raises almost any type
        reason = str(error).partition("\n")[0]
        raise DerivgenError(f"{path} can't be read as a Parquet file ({reason}): write it anew") from error


# ---- .csv


def csv_names(path: Path) -> list[str]:
    csv = arrow("pyarrow.csv", path)
    reading, parsing = csv.ReadOptions(use_threads=False), csv.ParseOptions(newlines_in_values=True)
    with csv_errors(path), csv.open_csv(path, reading, parsing) as file:
        return list(file.schema.names)


def read_csv(table: Table, names: list[str]) -> Any:
    """These columns in float64."""
    csv, pyarrow = arrow("pyarrow.csv", table.path), arrow("pyarrow", table.path)
    # In a file of one column, an empty line is an empty cell.
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(table.columns) != 1)
    conversion = csv.ConvertOptions(
        include_columns=names,
        column_types=dict.fromkeys(names, pyarrow.float64()),
        null_values=[""],
        check_utf8=False,
    )
    with suppress(pyarrow.ArrowException, OSError, UnicodeDecodeError):
        return csv.read_csv(table.path, parse_options=parsing, convert_options=conversion)
    # For its messages, pyarrow counts the rows in a single thread only.
    reading = csv.ReadOptions(use_threads=False)
    with csv_errors(table.path, table.columns):
        return csv.read_csv(table.path, reading, parsing, conversion)


@contextmanager
def csv_errors(path: Path, columns: Sequence[str] = ()) -> Iterator[None]:
    """What pyarrow raises in this block, with the file and the names of its columns.

    Rows count from below the header.
    """
    try:
        yield
    except (arrow("pyarrow", path).ArrowException, OSError, UnicodeDecodeError) as error:
        reason = re.sub(r"column #(\d+)", lambda found: f"column {columns[int(found[1])]}", str(error))
        reason = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1}", reason).partition("\n")[0]
        raise DerivgenError(
            f"{path} can't be read as a CSV file ({reason}): expected UTF-8 text, a line of the columns' names, then "
            "rows of numbers, with commas between"
        ) from error


TABLES = {".csv": Format(csv_names, read_csv, typed=False), ".parquet": Format(parquet_names, read_parquet, typed=True)}
