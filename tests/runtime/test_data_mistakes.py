"""Mistakes in the data: each ends in where, what was expected, what was found, and what to do.

One row a mistake; those of files name the file, the same mistakes in Python the input.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from derivgen.errors import DerivgenError
from derivgen.runtime.data.data import read_data
from derivgen.runtime.data.given import named_inputs


def declared(name: str, *shape: Any, dtype: str = "float32", classes: int | None = None, ignore: int | None = None):
    return SimpleNamespace(name=name, shape=shape, dtype=dtype, classes=classes, ignore=ignore)


def module(*inputs: Any) -> Any:
    return SimpleNamespace(INPUTS=inputs, SAMPLE_AXIS="N")


CLASSIFIER = module(declared("x", "N", 2), declared("y", "N", dtype="int64", classes=3))
CURVE = module(declared("t", "N"), declared("target", "N", 1))
TOKENS = module(declared("k", "N", 4, dtype="int64", classes=9, ignore=-1))
ROWS = 6
X = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2) / 4
Y = np.arange(ROWS) % 3
T = np.linspace(0, 1, ROWS, dtype=np.float32)
TEXT = np.array(["setosa", "versicolor", "virginica"])[Y]
TABLE = "x_0,x_1,y\n"


def csv_of(header: str, *columns: Any) -> str:
    return header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


# Of arrays: the model, what is given, and the message after `data.npz: ` in a file, or in Python after nothing.
ARRAYS = {
    "another width": (
        CLASSIFIER,
        {"x": np.ones((ROWS, 4), np.float32), "y": Y},
        "x must be of shape (N, 2), found (6, 4): reshape it, or generate the module for these sizes",
    ),
    "transposed": (
        CLASSIFIER,
        {"x": X.T.copy(), "y": Y},
        "x must be of shape (N, 2), found (2, 6): transpose it, x.T",
    ),
    "one row": (CLASSIFIER, {"x": X[0], "y": Y[:1]}, "x must be of shape (N, 2), found (2,): one row of it is x[None]"),
    "one-hot labels": (
        CLASSIFIER,
        {"x": X, "y": np.eye(3)[Y]},
        "y must be of shape (N,), found (6, 3): labels are integers of shape (N,): use y.argmax(axis=1)",
    ),
    "one-hot tokens": (
        TOKENS,
        {"k": np.zeros((ROWS, 4, 9), np.float32)},
        "k must be of shape (N, 4), found (6, 4, 9): labels are integers of shape (N, 4): use k.argmax(axis=2)",
    ),
    "labels in a column": (
        CLASSIFIER,
        {"x": X, "y": Y[:, None]},
        "y must be of shape (N,), found (6, 1): use y[..., 0]",
    ),
    "an axis too few": (
        CURVE,
        {"t": T, "target": T},
        "target must be of shape (N, 1), found (6,): use target[..., None]",
    ),
    "labels from 1": (
        CLASSIFIER,
        {"x": X, "y": (Y + 1).astype(float)},
        "y must hold labels 0 .. 2, found 3 at y[2]: labels start at 0, subtract 1 from each",
    ),
    "more classes": (
        CLASSIFIER,
        {"x": X, "y": (Y * 3).astype(float)},
        "y must hold labels 0 .. 2, found 3 at y[1]: correct it, or declare more classes in the spec",
    ),
    "beside the ignored label": (
        TOKENS,
        {"k": np.full((ROWS, 4), -2.0)},
        "k must hold labels 0 .. 8 or -1, which is ignored, found -2 at k[0, 0]: correct it, or declare more classes "
        "in the spec",
    ),
    "labels of fractions": (
        CLASSIFIER,
        {"x": X, "y": Y / 2},
        "y must hold whole numbers, found 0.5 at y[1]: labels are integers, fractions are none",
    ),
    "labels that need more than 64 bits": (
        CLASSIFIER,
        {"x": X, "y": Y * 1e23},
        "y must hold whole numbers, found 1e+23 at y[1]: integers have 64 bits",
    ),
    "too large for float32": (
        CLASSIFIER,
        {"x": X.astype(float) * 1e300, "y": Y},
        "x must be float32, at most 3.4e+38, found 2.5e+299 at x[0, 1]: scale the data, or generate the module with "
        "--dtype float64",
    ),
}


@pytest.mark.parametrize(("model", "given", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays(tmp_path: Path, model: Any, given: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "data.npz", **given)
    with pytest.raises(DerivgenError) as error:
        read_data(tmp_path / "data.npz", model)
    assert str(error.value) == f"{tmp_path / 'data.npz'}: {message}"
    with pytest.raises(ValueError) as raised:
        named_inputs(model, given)
    assert str(raised.value) == message
    for name, array in given.items():  # the same of files that are mapped
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(DerivgenError) as error:
        read_data([tmp_path / f"{name}.npy" for name in given], model)
    assert str(error.value) == f"{tmp_path / message.partition(' ')[0]}.npy: {message}"


# Of text in arrays: a file says only that it is text, since nothing of it is read.
@pytest.mark.parametrize(
    ("given", "in_file", "in_python"),
    [
        (
            {"x": X, "y": TEXT},
            "y holds text: labels are integers 0 .. 2. Number them, as np.unique(y, return_inverse=True)[1] does in "
            "the order of the alphabet",
            "y holds text ('setosa', 'versicolor', 'virginica'): labels are integers 0 .. 2. Number them, as "
            "np.unique(y, return_inverse=True)[1] does in the order of the alphabet",
        ),
        (
            {"x": X.astype(str), "y": Y},
            "x holds text, expected numbers: give a number for each of them",
            "x holds text ('0.0', '0.25', '0.5', …), expected numbers: store it as numbers",
        ),
    ],
)
def test_text_in_arrays(tmp_path: Path, given: dict[str, Any], in_file: str, in_python: str) -> None:
    np.savez(tmp_path / "data.npz", **given)
    with pytest.raises(DerivgenError) as error:
        read_data(tmp_path / "data.npz", CLASSIFIER)
    assert str(error.value) == f"{tmp_path / 'data.npz'}: {in_file}"
    for kind in (str, object):
        with pytest.raises(ValueError) as raised:
            named_inputs(CLASSIFIER, {n: a.astype(kind) if a.dtype.kind == "U" else a for n, a in given.items()})
        assert str(raised.value) == in_python


COLUMNS = 'If other columns make {0}, name them by --columns {0}=... (in Python columns={{"{0}": [...]}}).'
TEXTS = "holds text ('setosa', 'versicolor', 'virginica')"

# Of tables: the text of table.csv, and the message after its name.
TABLES = {
    "a column is missing": (
        csv_of("x_0,y", T, Y),
        ": the input x of shape (N, 2): expected the columns x_0, x_1, found x_0, y; x_1 is missing; did you mean x_0? "
        + COLUMNS.format("x")
        + " Or give 2 columns of any names beside those of the other inputs: here 1 (x_0) remain.",
    ),
    "no line of names": (
        csv_of("1.5,2,0", T, T, Y),
        ": the input y of shape (N,): expected the column y, found 1.5, 2, 0; y is missing. "
        + COLUMNS.format("y")
        + " The first line of {path} must hold the names of the columns: it holds numbers only.",
    ),
    "semicolons": (
        "x_0;x_1;y\n1;2;0\n",
        ": the input y of shape (N,): expected the column y, found x_0;x_1;y; y is missing. "
        + COLUMNS.format("y")
        + " Columns must be separated by commas: the first line of {path} has semicolons.",
    ),
    "tabs": (
        "x_0\tx_1\ty\n1\t2\t0\n",
        ": the input y of shape (N,): expected the column y, found x_0\tx_1\ty; y is missing. "
        + COLUMNS.format("y")
        + " Columns must be separated by commas: the first line of {path} has tabs.",
    ),
    "names in capitals": (
        csv_of("x_0,x_1,Y", T, T, Y),
        ": the input y of shape (N,): expected the column y, found x_0, x_1, Y; y is missing; did you mean Y? "
        + COLUMNS.format("y"),
    ),
    "text labels": (
        csv_of("x_0,x_1,y", T, T, TEXT),
        f': column y (input y) {TEXTS}: labels are integers 0 .. 2. Number them, as np.unique(table["y"], '
        "return_inverse=True)[1] does in the order of the alphabet",
    ),
    "a text column": (
        csv_of("x_0,kind,y", T, TEXT, Y),
        f": column kind (input x) {TEXTS}, expected numbers: give a number for each of them, or others by --columns "
        "x=...",
    ),
    "one bad cell": (
        csv_of("x_0,x_1,y", [*T[:-1], "n/a"], T, Y),
        ": column x_0 (input x) holds 'n/a' in row 6, expected a number: correct it, or leave out the row",
    ),
    "an empty cell": (
        csv_of("x_0,x_1,y", ["", *T[1:]], T, Y),
        ": column x_0 (input x) is empty in row 1, expected a number: fill it in, or leave out the row",
    ),
    "labels from 1": (
        csv_of("x_0,x_1,y", T, T, Y + 1),
        ": column y (input y) must hold labels 0 .. 2, found 3 in row 3: labels start at 0, subtract 1 from each",
    ),
    "a decimal comma": (
        "x_0,x_1,y\n0,5,1,2\n",
        " can't be read as a CSV file (row 1: expected 3 columns, found 4): expected UTF-8 text, a line of the "
        "columns' names, then rows of numbers, with commas between",
    ),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DerivgenError) as error:
        read_data(path, CLASSIFIER)
    assert str(error.value) == f"{path}{message}".replace("{path}", str(path))


def test_text_labels_of_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x_0": T, "x_1": T, "y": TEXT}), tmp_path / "table.parquet")
    with pytest.raises(DerivgenError, match=r"table\.parquet: column y \(input y\) holds text \('setosa', .*0 \.\. 2"):
        read_data(tmp_path / "table.parquet", CLASSIFIER)


# What was a mistake and is none: it is taken, and told of.
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": X.astype(np.float64), "y": Y}, ["x is float64: converted to the module's float32"]),
        ({"x": X, "y": Y.astype(np.float64)}, ["y is float64: converted to integers, which labels are"]),
        ({"x": X, "y": Y.astype(np.int8)}, []),
    ],
)
def test_what_is_converted_is_told(tmp_path: Path, caplog: Any, given: dict[str, Any], told: list[str]) -> None:
    np.savez(tmp_path / "data.npz", **given)
    lines: list[str] = []
    read, _ = read_data(tmp_path / "data.npz", CLASSIFIER, tell=lines.append)
    assert lines == [f"{tmp_path / 'data.npz'}: {line}" for line in told]
    with caplog.at_level("INFO", "derivgen"):
        named = named_inputs(CLASSIFIER, given)
    assert caplog.messages == told
    for found in (read, named):
        np.testing.assert_array_equal(found["x"], X)
        np.testing.assert_array_equal(found["y"], Y)
        assert (found["x"].dtype, found["y"].dtype.kind) == (np.float32, "i")


@pytest.mark.parametrize("kind", [np.int64, np.uint8, ">i4", pd.Series, list])
def test_integers_are_converted_where_the_dtype_holds_them(kind: Any, caplog: Any) -> None:
    t = np.arange(ROWS)
    given = kind(t) if kind in (pd.Series, list) else t.astype(kind)
    with caplog.at_level("INFO", "derivgen"):
        named = named_inputs(CURVE, {"t": given, "target": t[:, None] / 4})
    assert named["t"].dtype == np.float32 and np.array_equal(named["t"], t)
    assert re.match(r"t is u?int\d+: converted to the module's float32|t is >i4", caplog.messages[0])


@pytest.mark.parametrize("large", [2**24 + 1, -(2**24) - 1, 2**53 + 1])
def test_integers_that_would_be_rounded_are_not(large: int) -> None:
    named_inputs(CURVE, {"t": np.array([2**24, 2**60, -(2**63)])})
    message = f"t must be float32, found the integer {large} at t[1], which float32 rounds: if that may be, convert it"
    with pytest.raises(ValueError, match=re.escape(message) + r' by t\.astype\("float32"\)'):
        named_inputs(CURVE, {"t": np.array([1, large])})


PAIRS = module(declared("a", "N", "T"), declared("b", "T"), declared("c", "N", 2), declared("k", "N", classes=3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": Y, "c": 5}, "c must be an array of shape (N, 2), found the number 5: "),
        ({"k": Y, "c": 5}, "for the same number everywhere write np.full((len(k), 2), 5.0)"),
        ({"a": X, "b": np.array(0.5)}, "np.full(a.shape[1], 0.5)"),
        ({"a": X, "k": np.int64(2)}, "np.full(len(a), 2)"),
        ({"b": 1.5}, "np.full(T, 1.5)"),
    ],
)
def test_a_number_for_an_array_comes_with_what_makes_the_array(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        named_inputs(PAIRS, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": Y, "c": X[1:]}, "the inputs must have equally many rows (axis N), found 5 in c, 6 in k"),
        ({"a": X, "b": T}, "the inputs must have the same length along axis T, found 2 in a, 6 in b"),
    ],
)
def test_different_lengths_name_the_inputs(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        named_inputs(PAIRS, given)
    assert str(raised.value) == message


class OtherArray:
    """An array of another library, by what it has."""

    __dlpack__ = None


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "x",
            torch.ones(ROWS, 2),
            "x: expected a numpy array of float32, found Tensor: convert it by x.detach().cpu().numpy()",
        ),
        ("x", OtherArray(), 'found OtherArray: convert it by np.asarray(x, "float32")'),
    ],
)
def test_tensors_and_lists_come_with_their_conversion(name: str, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)) as raised:
        named_inputs(CLASSIFIER, {"x": X, "y": Y} | {name: given})
    assert raised.traceback[-1].path.name == "given.py"  # before anything is run


@pytest.mark.parametrize("given", [X.tolist(), torch.from_numpy(X)])
def test_the_conversions_are_taken(given: Any) -> None:
    x = given.detach().cpu().numpy() if hasattr(given, "detach") else np.asarray(given, "float32")
    np.testing.assert_array_equal(named_inputs(CLASSIFIER, {"x": x, "y": np.asarray(Y.tolist())})["x"], X)
