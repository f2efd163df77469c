"""Tables for training: CSV and Parquet, their columns as arrays, read by pyarrow."""

from __future__ import annotations

import importlib
import io
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
        raise empty_cell(origin, column.is_null().index(True).as_py() + 1)
    return converted(column.to_numpy(), declared, cast, origin)


def empty_cell(origin: Origin | str, row: int) -> DerivgenError:
    return DerivgenError(f"{origin} is empty in row {row}, expected a number: fill it in, or leave out the row")


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
        raise DerivgenError(f"{path} can't be read as a Parquet file ({first_line(error)}): write it anew") from error


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


# ---- .csv


def csv_names(path: Path) -> list[str]:
    csv = arrow("pyarrow.csv", path)
    try:
        with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)) as file:
            return list(file.schema.names)
    except csv_errors(path) as error:
        raise csv_problem(path, [], 0, error) from error


def read_csv(table: Table, names: list[str]) -> Any:
    float64 = arrow("pyarrow", table.path).float64()
    try:
        return csv_columns(table.path, names, len(table.columns), float64)
    except csv_errors(table.path) as error:
        raise csv_problem(table.path, names, len(table.columns), error) from error


def csv_columns(
    source: Path | io.BytesIO,
    names: list[str],
    width: int,
    dtype: Any,
    on_bad_row: Callable[[Any], str] | None = None,
) -> Any:
    """Columns in an Arrow type, all of them if none is named; `on_bad_row` is called with a row of another width."""
    csv = importlib.import_module("pyarrow.csv")
    return csv.read_csv(
        source,
        # Only in one thread are rows counted.
        read_options=csv.ReadOptions(use_threads=on_bad_row is None),
        # In a file of one column, an empty line is an empty cell.
        parse_options=csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=width != 1, invalid_row_handler=on_bad_row
        ),
        convert_options=csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, dtype),
            null_values=[""],
            check_utf8=False,
        ),
    )


def csv_errors(path: Path) -> tuple[type[Exception], ...]:
    return (arrow("pyarrow", path).ArrowException, OSError, UnicodeDecodeError)


def csv_problem(path: Path, names: list[str], width: int, error: Exception) -> DerivgenError:
    """What is wrong with a file that could not be read, found by reading it again as text."""
    bad_rows: list[Any] = []

    def note(row: Any) -> str:
        bad_rows.append(row)
        return "error"

    with suppress(*csv_errors(path)):
        # A row of another width reaches `note` only as UTF-8.
        text = io.BytesIO(path.read_bytes().decode(errors="replace").encode())
        table = csv_columns(text, names, width, arrow("pyarrow", path).string(), note)
        for name in names:
            if found := first_text(table.column(name), path):
                return text_cell(f"{path}: column {name}", *found)
    if bad_rows:
        row = bad_rows[0]
        expected = f"expected {row.expected_columns} cells, as in the header, found {row.actual_columns}"
        return DerivgenError(f"{path}: row {row.number - 1}: {expected}: mend that row")
    return DerivgenError(
        f"{path} can't be read as a CSV file ({first_line(error)}): expected UTF-8 text, a line of the columns' names, "
        "then rows of numbers, with commas between"
    )


def first_text(column: Any, path: Path) -> tuple[int, str] | None:
    """(row, text) of the first cell that is no number, by halving: Arrow doesn't say where a conversion failed."""
    pyarrow = arrow("pyarrow", path)
    cells = arrow("pyarrow.compute", path).ascii_trim_whitespace(column)

    def are_numbers(start: int, end: int) -> bool:
        try:
            cells.slice(start, end - start).cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            return False
        return True

    start, end = 0, len(cells)
    if are_numbers(start, end):
        return None
    while end - start > 1:
        middle = (start + end) // 2
        start, end = (middle, end) if are_numbers(start, middle) else (start, middle)
    return start + 1, cells[start].as_buffer().to_pybytes().decode(errors="replace")


def text_cell(subject: str, row: int, text: str) -> DerivgenError:
    if not text:
        return empty_cell(subject, row)
    return DerivgenError(
        f"{subject} holds {text[:40]!r} in row {row}, expected a number: mend it, or leave out the row"
    )


TABLES = {".csv": Format(csv_names, read_csv, typed=False), ".parquet": Format(parquet_names, read_parquet, typed=True)}
