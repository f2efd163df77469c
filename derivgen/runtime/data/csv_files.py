"""Tables of numbers in CSV files: NumPy reads them; where it can't, the csv module finds what is wrong, and where."""

from __future__ import annotations

import csv
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array
from derivgen.runtime.data.inputs import Origin, is_number, text_of_labels

LOOKED_AT = 100  # rows that tell whether a column is text, or has one bad cell
UNREADABLE = "surrogateescape"  # bytes that are no UTF-8 do no harm in columns that nobody needs


def csv_names(path: Path) -> list[str]:
    """The names in the first line that is not empty."""
    with records_of(path) as records:
        names = next(records, None)
    if names is None:
        raise not_csv(path, "it is empty")
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise not_csv(path, f"its first line is no UTF-8 text: {', '.join(map(printable, names))}")
    return [name.strip() for name in names]


def read_csv(path: Path, columns: Sequence[str], needed: Sequence[tuple[str, Any]]) -> dict[str, Array]:
    """These columns of a file with `columns`, in float64; each is needed for an input of the module.

    Raises DerivgenError at the first cell that is no number, and at the first row of another length.
    """
    with records_of(path) as records:
        next(records, None)
        header = records.line_num
    names = dict.fromkeys(name for name, _ in needed)
    # A structured dtype has NumPy check the length of each row; of text that nobody needs it keeps a letter.
    dtype = np.dtype([(f"f{k}", "f8" if name in names else "U1") for k, name in enumerate(columns)])
    try:
        # A file of one column is read by lines: in it an empty line is an empty cell, and NumPy leaves such lines out.
        with warnings.catch_warnings(action="ignore", category=UserWarning), cells_of(path, header, columns) as source:
            table = np.loadtxt(source, dtype, None, ",", quotechar='"', ndmin=1, encoding="latin1")
    except ValueError as error:
        find_fault(path, columns, needed)
        raise not_csv(path, str(error)) from error
    return {name: np.ascontiguousarray(table[f"f{columns.index(name)}"]) for name in names}


@contextmanager
def cells_of(path: Path, header: int, columns: Sequence[str]) -> Iterator[Iterator[str]]:
    """The lines below the header, as NumPy takes them."""
    # Latin-1 reads any byte; digits are the same in it.
    with path.open(encoding="latin1") as file:
        lines = itertools.islice(file, header, None)
        yield (line if line.strip() else '""\n' for line in lines) if len(columns) == 1 else lines


# ---- what is wrong with a file


class Records:
    """The rows of a file that are not empty, each as its cells."""

    def __init__(self, lines: Iterator[str], one_column: bool) -> None:
        self.reader = csv.reader(lines, strict=True)
        self.one_column = one_column

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        row = next(self.reader)
        while not row and not self.one_column:
            row = next(self.reader)
        return row or [""]

    @property
    def line_num(self) -> int:
        """The lines that were read so far."""
        return self.reader.line_num


@contextmanager
def records_of(path: Path, one_column: bool = False) -> Iterator[Records]:
    """The records of a file. Raises DerivgenError where it can't be read as one, in this block too."""
    try:
        with path.open(encoding="utf-8-sig", errors=UNREADABLE, newline="") as file:
            yield Records(iter(file), one_column)
    except OSError as error:
        raise DerivgenError(f"{path} can't be read: {error.strerror or error}. Give another path") from error
    except csv.Error as error:
        raise not_csv(path, str(error)) from error


def find_fault(path: Path, columns: Sequence[str], needed: Sequence[tuple[str, Any]]) -> None:
    """Raise DerivgenError at the first cell, or row, that is wrong."""
    one_column = len(columns) == 1
    places = [(columns.index(name), declared) for name, declared in needed]
    with records_of(path, one_column) as records:
        next(row for row in records if row != [""])  # the header
        for number, row in enumerate(records, 1):
            if len(row) != len(columns):
                raise not_csv(path, f"row {number}: expected {len(columns)} columns, found {len(row)}")
            for k, declared in places:
                if not is_number(row[k]):
                    following = [other[k] for other in itertools.islice(records, LOOKED_AT) if k < len(other)]
                    refuse_cell(Origin(path, columns[k], declared.name), declared, number, row[k], following)


def refuse_cell(origin: Origin, declared: Any, number: int, cell: str, following: Sequence[str]) -> NoReturn:
    """Raise DerivgenError for a cell that is no number; `following` are those below it."""
    if not cell.strip():
        raise DerivgenError(f"{origin} is empty in row {number}, expected a number: fill it in, or leave out the row")
    if number == 1 and not any(map(is_number, following)):
        texts = list(dict.fromkeys(printable(text) for text in (cell, *following) if text.strip()))
        raise DerivgenError(f"{origin} {text_of_labels(declared, texts, origin)}")
    raise DerivgenError(
        f"{origin} holds {printable(cell)!r} in row {number}, expected a number: correct it, or leave out the row"
    )


def printable(cell: str) -> str:
    """A cell as a message shows it."""
    text = cell.strip().encode("utf-8", UNREADABLE).decode("utf-8", "replace")
    return text if len(text) <= 40 else f"{text[:40]}…"


def not_csv(path: Path, reason: str) -> DerivgenError:
    return DerivgenError(
        f"{path} can't be read as a CSV file ({reason}): expected UTF-8 text, a line of the columns' names, then rows "
        "of numbers, with commas between"
    )
