"""Tables: files of CSV and Parquet, and data frames of pandas, polars and Arrow; their columns as arrays."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array
from derivgen.runtime.data.csv_files import csv_names, read_csv
from derivgen.runtime.data.inputs import Origin, Tell, converted, text_of_labels

# (a column's name, the input that it is for), each as often as it is needed
Needed = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of a file, or of a frame, which has no path; `read` gives those that are needed, by name."""

    path: Path | None
    columns: tuple[str, ...]
    read: Callable[[Needed], Mapping[str, Any]]

    def __str__(self) -> str:
        return "the data frame" if self.path is None else str(self.path)


def open_table(path: Path) -> Table:
    if path.suffix.lower() == ".csv":
        columns = tuple(csv_names(path))
        return Table(path, columns, lambda needed: read_csv(path, columns, needed))
    return Table(path, tuple(parquet_names(path)), lambda needed: read_parquet(path, needed))


def read_table(table: Table, module: ModuleType, columns: Mapping[str, Sequence[str]], tell: Tell) -> dict[str, Array]:
    """The inputs that are made of this table's columns, by their names. Numbers need no cast: columns are features."""
    chosen = [(i, columns[i.name]) for i in module.INPUTS if i.name in columns]
    if not chosen:
        return {}
    read = table.read([(name, i) for i, names in chosen for name in names])
    inputs = {}
    for declared, names in chosen:
        parts = [column_numbers(read[n], declared, Origin(table.path, n, declared.name), tell) for n in names]
        inputs[declared.name] = np.stack(parts, axis=1) if len(declared.shape) == 2 else np.array(parts[0])
    return inputs


def column_numbers(column: Any, declared: Any, origin: Origin, tell: Tell) -> Array:
    """A column, of NumPy, pandas, polars or Arrow, as an array of the dtype that an input needs."""
    return converted(column_array(column, declared, origin), declared, True, origin, tell)


def column_array(column: Any, declared: Any, origin: Origin) -> Array:
    """A column as an array of numbers. Raises DerivgenError where it holds something else, or lacks a value."""
    if isinstance(column, np.ndarray):
        return column
    # Categories of pandas have no NaN: `isna` knows what is missing. To Arrow and polars a NaN is a number.
    missing = np.asarray(column.isna() if hasattr(column, "isna") else column.is_null(), bool)
    if missing.any():
        row = int(missing.argmax()) + 1
        raise DerivgenError(f"{origin} is empty in row {row}, expected a number: fill it in, or leave out the row")
    values = np.asarray(column.to_numpy())
    if values.dtype == object and all(isinstance(v, int | float | np.number) for v in values):
        values = np.array(values.tolist())
    if values.dtype.kind in "fiub":
        return values
    if len(values) and isinstance(values[0], str):
        texts = list(dict.fromkeys(map(str, values[:100])))
        raise DerivgenError(f"{origin} {text_of_labels(declared, texts, origin)}")
    found = f", {str(values[0])[:40]!r} in row 1" if len(values) else ""
    kind = getattr(column, "type", values.dtype)
    raise DerivgenError(f"{origin} must hold numbers, found {kind}{found}: store it as numbers")


# ---- .parquet


def arrow(part: str, path: Path, done: str = "read") -> Any:
    """A part of pyarrow, which is only needed for Parquet files; `done`: what can't be done to the file without it."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise DerivgenError(f"{path} can't be {done} without pyarrow: pip install 'derivgen[data]'") from error


def parquet_names(path: Path) -> list[str]:
    with parquet_file(path) as file:
        return list(file.schema_arrow.names)


def read_parquet(path: Path, needed: Needed) -> dict[str, Any]:
    names = list(dict.fromkeys(name for name, _ in needed))
    with parquet_file(path) as file:
        read = file.read(columns=names)
    return {name: read.column(name) for name in names}


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    parquet = arrow("pyarrow.parquet", path)
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except Exception as error:  # on bytes that are none of its own, pyarrow raises almost any type
        reason = str(error).partition("\n")[0]
        raise DerivgenError(f"{path} can't be read as a Parquet file ({reason}): write it anew") from error


# ---- frames


def frame_table(frame: Any) -> Table | None:
    """A frame of pandas or polars, or a table of Arrow, as a table; None for anything else.

    It is known by what it has, so that none of these libraries is imported.
    """
    if hasattr(frame, "column_names") and hasattr(frame, "column"):  # Arrow
        columns, column = frame.column_names, frame.column
    elif hasattr(frame, "columns") and hasattr(frame, "iloc"):  # pandas

        def column(k: int) -> Any:
            return frame.iloc[:, k]

        columns = frame.columns
    elif hasattr(frame, "columns") and hasattr(frame, "to_series"):  # polars
        columns, column = frame.columns, frame.to_series
    else:
        return None
    names = tuple(map(str, columns))
    return Table(None, names, lambda needed: {name: column(names.index(name)) for name, _ in needed})


TABLES = (".csv", ".parquet")
