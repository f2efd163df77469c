"""Reading data for training: arrays (.npz, .npy), tables (.csv, .parquet), and what is refused of each."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from derivgen.errors import DerivgenError
from derivgen.runtime.data.data import read_data
from derivgen.runtime.predicting import write_prediction


def given(name, *shape, dtype="float32", classes=None, ignore=None):
    return SimpleNamespace(name=name, shape=shape, dtype=dtype, classes=classes, ignore=ignore)


def model(*inputs, axis="N"):
    return SimpleNamespace(INPUTS=inputs, SAMPLE_AXIS=axis)


CLASSIFIER = model(given("x", "N", 2), given("y", "N", dtype="int64", classes=3))
WEIGHTED = model(*CLASSIFIER.INPUTS, given("w", 2))
RATING = model(given("user", "N", dtype="int64", classes=9), given("rating", "N"))
TARGET = model(given("y", "N"))
COLUMN = model(given("y", "N", 1))
LABELLED = model(given("x", "N"), given("label", "N"))
X = np.array([[1.5, 2], [3, -4.25], [0.5, 0]], np.float32)
Y = np.array([2, 0, 1])
CSV = "x_0,x_1,y\n1.5,2,2\n3,-4.25,0\n.5,0,1\n"


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def refused(message, *arguments, **keywords):
    with pytest.raises(DerivgenError, match=message):
        read_data(*arguments, **keywords)


def assert_classifier(inputs):
    assert list(inputs) == ["x", "y"]
    assert inputs["x"].dtype == np.float32 and np.array_equal(inputs["x"], X)
    assert inputs["y"].dtype == np.int64 and np.array_equal(inputs["y"], Y)


# ---- .npz


def test_an_npz_gives_inputs_by_name_and_tells_of_the_rest(tmp_path):
    np.savez(tmp_path / "d.npz", y=Y, x_test=X, x=X)
    inputs, unused = read_data(tmp_path / "d.npz", CLASSIFIER)
    assert_classifier(inputs)
    assert unused == ("x_test",)


def test_two_files_together_give_the_inputs(tmp_path):
    np.savez(tmp_path / "a.npz", y=Y)
    np.savez(tmp_path / "b.npz", x=X, z=X)
    inputs, unused = read_data([tmp_path / "a.npz", str(tmp_path / "b.npz")], CLASSIFIER)
    assert_classifier(inputs)
    assert unused == ("z",)
    refused(r"a\.npz lacks the input x: expected x, y, found y$", tmp_path / "a.npz", CLASSIFIER)
    np.savez(tmp_path / "c.npz", z=X)
    refused(
        r"a\.npz and .*c\.npz lack the input x: .*found y, z$", [tmp_path / "a.npz", tmp_path / "c.npz"], CLASSIFIER
    )


def test_an_input_given_twice_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    np.save(tmp_path / "y.npy", Y)
    csv = write(tmp_path / "t.csv", "y\n1\n")
    for other in (tmp_path / "y.npy", tmp_path / "d.npz", csv):
        message = rf"input [xy] is given twice, by .*d\.npz and by {other}: leave one"
        refused(message, [tmp_path / "d.npz", other], CLASSIFIER)
    refused(r"given twice, by .*t\.csv and by .*t\.csv", [csv, csv], TARGET)


def test_foreign_npz_files_are_refused(tmp_path):
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    whole = (tmp_path / "whole.npz").read_bytes()
    locked = bytearray(whole)
    locked[whole.index(b"PK\1\2") + 8] |= 1  # the flag of an encrypted member
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    np.savez(tmp_path / "objects.npz", x=np.array([None]), y=Y)
    np.save(tmp_path / "single.npy", X)
    write(tmp_path / "single.npz", (tmp_path / "single.npy").read_bytes())
    for name, content, message in [
        ("cut.npz", whole[:300], "not an .npz file of plain arrays"),
        ("changed.npz", whole.replace(X.tobytes(), b"?" * X.nbytes), "not an .npz file of plain arrays .*CRC"),
        ("locked.npz", bytes(locked), "not an .npz file of plain arrays .*encrypted"),
        ("text.npz", b"hello", r"not an .npz file .*no array's header, or a pickle.*: write it by np\.savez"),
        ("empty.npz", b"", r"not an .npz file of plain arrays \(it is empty\)"),
        ("zip.npz", None, "a.txt in it is no array"),
        ("objects.npz", None, "not an .npz file of plain arrays"),
        ("single.npz", None, "a single array, expected an .npz"),
        ("none.npz", None, "none.npz does not exist: give the path of an .npz"),
        (".", None, "can't be read: it is a folder"),
    ]:
        if content is not None:
            write(tmp_path / name, content)
        refused(message, tmp_path / name, CLASSIFIER)


def test_unknown_kinds_of_file_and_no_file_are_refused(tmp_path):
    refused(r"d\.txt is of no known kind: expected an .npz, .npy, .csv", write(tmp_path / "d.txt", "1"), CLASSIFIER)
    refused("no data is given: expected .* file of x, y", [], CLASSIFIER)


# ---- .npy


def test_npy_files_stay_on_the_disk(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", Y.astype(np.uint8))
    inputs, unused = read_data([tmp_path / "x.npy", f"y={tmp_path / 'labels.npy'}"], CLASSIFIER)
    assert unused == ()
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in inputs.values())
    assert inputs["x"].filename == tmp_path / "x.npy"
    assert np.array_equal(inputs["x"], X)
    assert inputs["y"].dtype == np.uint8 and np.array_equal(inputs["y"], Y)


def test_floating_point_numbers_are_converted_and_told_of(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(float))
    np.save(tmp_path / "y.npy", Y.astype(float))
    paths, told = [tmp_path / "x.npy", tmp_path / "y.npy"], []
    inputs, _ = read_data(paths, CLASSIFIER, tell=told.append)
    assert_classifier(inputs)
    assert type(inputs["x"]) is np.ndarray and type(inputs["y"]) is np.ndarray
    assert told == [
        f"{paths[0]}: x is float64: converted to the module's float32",
        f"{paths[1]}: y is float64: converted to integers, which labels are",
    ]
    assert_classifier(read_data(paths, CLASSIFIER, cast=True, tell=told.append)[0])
    assert len(told) == 2


def test_integers_are_converted_only_when_asked(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(int))
    np.save(tmp_path / "y.npy", Y.astype(bool))
    paths = [tmp_path / "x.npy", tmp_path / "y.npy"]
    refused(r'x must be float32, found int64: .*--cast .*x\.astype\("float32"\)', paths[0], model(given("x", "N", 2)))
    refused(r'y must be int64, found bool: .*--cast .*y\.astype\("int64"\)', paths[1], model(CLASSIFIER.INPUTS[1]))
    inputs, _ = read_data(paths, CLASSIFIER, cast=True)
    assert inputs["x"].tolist() == X.astype(int).tolist() and inputs["y"].tolist() == Y.astype(bool).tolist()


def test_a_scalar_and_an_input_without_rows_come_from_npy_files(tmp_path):
    np.save(tmp_path / "w.npy", np.float32(3))
    inputs, _ = read_data(tmp_path / "w.npy", model(given("w")))
    assert inputs["w"].shape == () and inputs["w"] == 3
    np.save(tmp_path / "w.npy", np.zeros((0, 2), np.float32))
    assert read_data(tmp_path / "w.npy", model(given("w", "N", 2)))[0]["w"].shape == (0, 2)


def test_npy_files_are_inputs_by_their_names(tmp_path):
    np.save(tmp_path / "train_x.npy", X)
    path = tmp_path / "train_x.npy"
    refused(rf"train_x: expected x, y\. Say which input it is by x={path}", path, CLASSIFIER)
    refused("has no input labels: expected x, label; did you mean label", f"labels={path}", LABELLED)
    refused(r"expected x=FILE\.npy, a \.csv names what it holds", f"x={write(tmp_path / 'd.csv', CSV)}", CLASSIFIER)
    refused("none.npy does not exist", "x=none.npy", CLASSIFIER)


def test_a_file_with_an_equals_sign_in_its_name_is_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a=x.npy", X)
    inputs, _ = read_data("x=a=x.npy", model(given("x", "N", 2)))
    assert np.array_equal(inputs["x"], X)
    refused("single array, and the model has no input a=x", "a=x.npy", CLASSIFIER)


def test_npy_files_that_are_cut_or_foreign_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    np.savez(tmp_path / "d.npz", x=X)
    for content, message in [
        (whole[:-4], r"plain array \(its header claims float32 of shape \(3, 2\), which is not the 20 bytes after it"),
        (whole + whole, r"plain array \(its header claims float32 of shape \(3, 2\), which is not the 176 bytes after"),
        (whole[:40], r"not an .npy file of a plain array \(its header can't be read\)"),
        (b"", r"not an .npy file of a plain array \(it is empty\)"),
        (b"hello", "no array's header, or a pickle.*: write it by np.save"),
        ((tmp_path / "objects.npy").read_bytes(), "not an .npy file of a plain array .*Python objects"),
        ((tmp_path / "d.npz").read_bytes(), r"an archive of arrays, expected a single one: rename it to x\.npz"),
    ]:
        refused(message, write(tmp_path / "x.npy", content), model(given("x", "N", 2)))


# ---- numbers


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, np.array([0, 0.5, 1]), r"y must hold whole numbers, found 0\.5 at y\[1\]"),
        (X, np.array([0, np.nan, 1]), r"y must hold whole numbers, found nan at y\[1\]"),
        (X, np.array([0, 1, np.inf]), r"y must hold whole numbers, found inf at y\[2\]"),
        (X, np.array([1e300, 1, 1]), r"y must hold whole numbers, found 1e\+300 at y\[0\]"),
        (np.array([[0, np.inf], [0, -1e39]]), Y, r"x must be float32, at most 3\.4e\+38, found -1e\+39 at x\[1, 1\]"),
        (np.array([["a", "b"]]), Y, "x holds text, expected numbers: give a number"),
        (X.astype(complex), Y, "x must hold numbers, found dtype complex128"),
    ],
)
def test_what_no_cast_can_fix_is_refused(tmp_path, x, y, message):
    np.savez(tmp_path / "d.npz", x=x, y=y)
    refused(message, tmp_path / "d.npz", CLASSIFIER, cast=True)


# ---- which columns


def test_columns_make_inputs_by_their_names(tmp_path):
    inputs, unused = read_data(
        write(tmp_path / "d.csv", "id,y,x_1,x_0\na,2,2,1.5\nb,0,-4.25,3\nc,1,0,.5\n"), CLASSIFIER
    )
    assert_classifier(inputs)
    assert inputs["x"].flags.carray and inputs["y"].flags.carray
    assert unused == ("id",)


def test_columns_that_remain_make_the_only_input_not_found(tmp_path):
    path, told = write(tmp_path / "d.csv", "age,y,bmi\n1.5,2,2\n3,0,-4.25\n.5,1,0\n"), []
    inputs, unused = read_data(path, CLASSIFIER, tell=told.append)
    assert_classifier(inputs)
    assert unused == ()
    assert told == [f"x: columns age, bmi of {path}"]
    more = write(tmp_path / "e.csv", "age,y,bmi,id\n1,2,2,1\n")
    refused(
        r"e\.csv: the input x of shape \(N, 2\): expected the columns x_0, x_1, found age, y, bmi, id; x_0, x_1 are "
        r'missing\. If other columns make x, name them by --columns x=\.\.\. \(in Python columns={"x": \[\.\.\.\]}\)\. '
        r"Or give 2 columns of any names beside those of the other inputs: here 3 \(age, bmi, id\) remain\.$",
        more,
        CLASSIFIER,
    )
    refused("the input y", write(tmp_path / "f.csv", "age,target,bmi\n1,2,2\n"), CLASSIFIER)


@pytest.mark.parametrize(("width", "told"), [(6, "columns f0, f1, f2, f3, f4, f5"), (7, "7 columns, f0 .. f6,")])
def test_of_many_columns_the_first_and_the_last_are_told(tmp_path, width, told):
    names = ["f0", "y", *(f"f{k}" for k in range(1, width))]
    path, notes = write(tmp_path / "d.csv", f"{','.join(names)}\n{','.join('0' for _ in names)}\n"), []
    wide = model(given("x", "N", width), given("y", "N", dtype="int64", classes=3))
    read_data(path, wide, tell=notes.append)
    assert notes == [f"x: {told} of {path}"]


def test_columns_can_be_said(tmp_path):
    path = write(tmp_path / "d.csv", "bmi,x_0,x_1,age,y\n2,0,0,1.5,2\n-4.25,0,0,3,0\n0,0,0,.5,1\n")
    inputs, unused = read_data(path, CLASSIFIER, columns={"x": ["age", "bmi"]})
    assert_classifier(inputs)
    assert unused == ("x_0", "x_1")
    both, unused = read_data(path, CLASSIFIER, columns={"x": ["y", "y"], "y": ["y"]})
    assert both["x"].tolist() == [[2, 2], [0, 0], [1, 1]] and unused == ("bmi", "x_0", "x_1", "age")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": ["age"]}, r"input x of shape \(N, 2\) needs 2 of them, found 1: age"),
        ({"y": []}, r"input y of shape \(N,\) needs 1 of them, found 0: nothing"),
        ({"x": ["Age", "bmi"]}, r"found age, bmi, y; Age is missing; did you mean age\? "),
        ({"X": ["age", "bmi"]}, "columns: the model has no input X: expected x, y, w; did you mean x"),
        ({"w": ["age", "bmi"]}, r"w of shape \(2,\) can't come from columns: its first axis is not the sample axis N"),
    ],
)
def test_columns_that_can_not_be_are_refused(tmp_path, columns, message):
    refused(message, write(tmp_path / "d.csv", "age,bmi,y\n1,2,0\n"), WEIGHTED, columns=columns)


def test_columns_without_a_table_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    refused("columns: none of the files is a table", tmp_path / "d.npz", CLASSIFIER, columns={"y": ["y"]})


def test_a_table_and_an_array_together_give_the_inputs(tmp_path):
    csv = write(tmp_path / "d.csv", CSV)
    refused(r"w of shape \(2,\) can't come from columns: .*Give it in a file .* w\.npy, or w=FILE\.npy", csv, WEIGHTED)
    np.save(tmp_path / "w.npy", X[0])
    inputs, _ = read_data([csv, tmp_path / "w.npy"], WEIGHTED)
    assert isinstance(inputs["w"], np.memmap)
    assert_classifier({name: inputs[name] for name in ("x", "y")})


def test_two_tables_together_give_the_inputs(tmp_path):
    features = write(tmp_path / "features.csv", "age,bmi\n1.5,2\n3,-4.25\n.5,0\n")
    labels = write_parquet(tmp_path / "labels.parquet", y=Y, id=Y)
    inputs, unused = read_data([features, labels], CLASSIFIER, columns={"x": ["age", "bmi"]})
    assert_classifier(inputs)
    assert unused == ("id",)
    assert_classifier(read_data([labels, features], CLASSIFIER)[0])
    write_parquet(tmp_path / "labels.parquet", y=Y, age=Y)
    assert read_data([features, labels], CLASSIFIER, columns={"x": ["age", "bmi"]})[1] == ("age",)
    write_parquet(tmp_path / "labels.parquet", y=Y, id=Y, age=Y)
    refused(r"features\.csv and .*: the input x .* x_0, x_1 in one table", [features, labels], CLASSIFIER)
    refused("bmi, id in one table", [features, labels], CLASSIFIER, columns={"x": ["bmi", "id"]})


def test_inputs_that_are_no_columns_are_refused(tmp_path):
    csv = write(tmp_path / "d.csv", CSV)
    refused("it has 3 axes, and columns make 1 or 2. Give it .*x.npy", csv, model(given("x", "N", 2, 2)))
    refused("the model has no sample axis", csv, model(given("x", 3, 2), axis=None))
    refused("it has 3 axes", csv, model(given("x", "N", 2, 2)), columns={"x": ["x_0"]})


def test_a_width_known_at_run_time_is_as_many_as_there_are(tmp_path):
    inputs, unused = read_data(write(tmp_path / "d.csv", "x_0,x_1,x_3\n1,2,4\n"), model(given("x", "N", "T")))
    assert inputs["x"].tolist() == [[1, 2]] and unused == ("x_3",)
    refused("expected the column x,", write(tmp_path / "d.csv", "a,b\n1,2\n"), model(given("x", "N", "T")))
    said, _ = read_data(tmp_path / "d.csv", model(given("x", "N", "T")), columns={"x": ["b", "a", "b"]})
    assert said["x"].tolist() == [[2, 1, 2]]


def test_one_column_wide_inputs_take_their_own_name_too(tmp_path):
    for header in ("y", "y_0"):
        inputs, _ = read_data(write(tmp_path / "d.csv", f"{header},id\n1,7\n2,7\n"), COLUMN)
        assert inputs["y"].tolist() == [[1], [2]]


def test_columns_of_one_name_are_refused_where_they_are_needed(tmp_path):
    refused("has 2 columns named y: rename", write(tmp_path / "d.csv", "y,y,x_0,x_1\n1,1,1,1\n"), CLASSIFIER)
    inputs, unused = read_data(write(tmp_path / "d.csv", "a,a,y\n1,1,1\n"), TARGET)
    assert inputs["y"].tolist() == [1] and unused == ("a", "a")


def test_labels_that_are_no_class_are_told_with_their_row(tmp_path):
    csv = write(tmp_path / "d.csv", CSV + "1,1,3\n")
    refused(
        r"d\.csv: column y \(input y\) must hold labels 0 \.\. 2, found 3 in row 4: correct it, or declare",
        csv,
        CLASSIFIER,
    )
    np.savez(tmp_path / "d.npz", x=X, y=np.array([0, -1, 2]))
    refused(r"d\.npz: y must hold labels 0 \.\. 2, found -1 at y\[1\]: correct it", tmp_path / "d.npz", CLASSIFIER)
    ignoring = model(given("x", "N", 2), given("y", "N", dtype="int64", classes=3, ignore=-1))
    assert read_data(tmp_path / "d.npz", ignoring)[0]["y"].tolist() == [0, -1, 2]


def test_columns_are_chosen_by_patterns(tmp_path):
    path = write(tmp_path / "d.csv", "id,a_age,y,a_bmi\n7,1.5,2,2\n7,3,0,-4.25\n7,.5,1,0\n")
    inputs, unused = read_data(path, CLASSIFIER, columns={"x": ["a_*"]})
    assert_classifier(inputs)
    assert unused == ("id",)
    refused(r"needs 2 of them, found 1: b_\*", path, CLASSIFIER, columns={"x": ["b_*"]})


def test_columns_that_are_not_there_are_told_with_those_that_are(tmp_path):
    refused("found 1.5, 2, 0", write(tmp_path / "d.csv", "1.5,2,0\n"), CLASSIFIER)
    refused("found x_0;x_1;y", write(tmp_path / "d.csv", "x_0;x_1;y\n1;2;0\n"), CLASSIFIER)
    refused("the input y .* found '', a, b; y is missing", write(tmp_path / "d.csv", ",a,b\n0,1,2\n"), CLASSIFIER)
    names = ",".join(f"c{i}" for i in range(500))
    refused(r"found c0, .*, c7 and 492 more; y is missing", write(tmp_path / "d.csv", f"{names}\n"), CLASSIFIER)


# ---- .csv


def test_a_csv_needs_no_cast(tmp_path):
    inputs, _ = read_data(write(tmp_path / "d.csv", CSV), CLASSIFIER)
    assert_classifier(inputs)
    float64 = model(given("x", "N", 2, dtype="float64"))
    exact, _ = read_data(write(tmp_path / "e.csv", "x_0,x_1\n0.1,1e-300\n7,-0.3\n"), float64)
    assert exact["x"].dtype == np.float64 and exact["x"].tolist() == [[0.1, 1e-300], [7, -0.3]]


def test_labels_may_be_written_as_decimals(tmp_path):
    inputs, _ = read_data(write(tmp_path / "d.CSV", "user,rating\r\n1.0,5\r\n2,4\r\n"), RATING)
    assert inputs["user"].dtype == np.int64 and inputs["user"].tolist() == [1, 2]
    assert inputs["rating"].dtype == np.float32 and inputs["rating"].tolist() == [5, 4]


def test_spaces_quotes_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    text = '\ufeffuser,"rating",note\n\n 1 ,"2.5","two\nlines"\n\n3,\t4,\xe9\n'
    inputs, _ = read_data(write(tmp_path / "d.csv", text), RATING)
    assert inputs["user"].tolist() == [1, 3] and inputs["rating"].tolist() == [2.5, 4]


ROWS = "".join(f"{i % 9},{i}\n" for i in range(99))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"user,rating\n{ROWS}1,many\n",
            r"d\.csv: column rating \(input rating\) holds 'many' in row 100, expected a number: correct it",
        ),
        (f"user,rating\n1,NA\n{ROWS}1,x\n", "column rating .* holds 'NA' in row 1, expected a number"),
        ("user,rating\n1, 2 \n1,1_0\n", "column rating .* holds '1_0' in row 2, expected a number"),
        (
            f"user,rating\n{ROWS}1,\n",
            r"column rating \(input rating\) is empty in row 100, expected a number: fill it in",
        ),
        ("user,rating\n1,1\n  ,1\n", "column user .* is empty in row 2, expected a number"),
        ('user,rating\n1,1\n1,""\n', "is empty in row 2,"),
        ("user,rating\n,1\nx,1\n", "column user .* is empty in row 1, expected a number"),
        ("user,rating\nx,1\n1,1\n", "column user .* holds 'x' in row 1, expected a number"),
        ("user,rating\n1,1\n1.5,1\n", r"column user \(input user\) must hold whole numbers, found 1\.5 in row 2"),
        ("user,rating\nnan,1\n", "column user .* must hold whole numbers, found nan in row 1"),
        ("user,rating\n1,1\n1,-1e39\n", r"column rating .* must be float32, at most .*, found -1e\+39 in row 2"),
        (f"user,rating\n{ROWS}1,1,1\n{ROWS}", "row 100: expected 2 columns, found 3"),
        ("user,rating\n\n1,1\n\n1\n", "row 2: expected 2 columns, found 1"),
        ("", "can't be read as a CSV file .*expected UTF-8 text, a line of the columns' names"),
        ("user,r\xe4ting\n1,1\n".encode("latin1"), "can't be read as a CSV file .*expected UTF-8 text"),
        (b"user,rating\n1,\xe4,1\n", "row 1: expected 2 columns, found 3"),
        (b"user,rating\n1,\xe4\n1,1\n", "column rating .* holds '\ufffd' in row 1"),
        ("user,rating\n1,1\n".encode("utf16"), "d.csv"),
    ],
)
def test_cells_that_are_no_numbers_are_told_by_row_and_column(tmp_path, text, message):
    refused(message, write(tmp_path / "d.csv", text), RATING)


def test_an_empty_line_in_a_file_of_one_column_is_an_empty_cell(tmp_path):
    refused("is empty in row 2,", write(tmp_path / "d.csv", "y\n1\n\n3\n"), TARGET)


def test_a_bad_cell_is_found_in_a_file_of_many_blocks(tmp_path):
    rows = '0.123456789,1,"two\nlines"\n' * 200_000
    text = f"rating,user,note\n{rows}0.5,1,\n0.5,{{}},\n{rows}"
    inputs, _ = read_data(write(tmp_path / "d.csv", text.format(8)), RATING)
    assert len(inputs["user"]) == 400_002 and np.flatnonzero(inputs["user"] == 8).tolist() == [200_001]
    refused("column user .* holds 'x' in row 200002", write(tmp_path / "d.csv", text.format("x")), RATING)


def test_text_in_columns_that_are_not_needed_is_no_matter(tmp_path):
    inputs, unused = read_data(write(tmp_path / "d.csv", b"name,y\n\xff,1\n,2\n"), TARGET)
    assert inputs["y"].tolist() == [1, 2] and unused == ("name",)


# ---- .parquet


def test_a_parquet_of_the_right_dtypes_is_taken_as_it_is(tmp_path):
    path = write_parquet(tmp_path / "d.parquet", x_1=X[:, 1], y=Y.astype(np.int8), name=["a", "b", "c"], x_0=X[:, 0])
    inputs, unused = read_data(path, CLASSIFIER)
    assert inputs["x"].dtype == np.float32 and np.array_equal(inputs["x"], X)
    assert inputs["y"].dtype == np.int8 and np.array_equal(inputs["y"], Y)
    assert all(array.flags.carray for array in inputs.values())
    assert unused == ("name",)


def test_columns_of_a_parquet_are_converted(tmp_path):
    path = write_parquet(tmp_path / "d.parquet", age=X[:, 0], bmi=X[:, 1].astype(float), y=Y.astype(float))
    assert_classifier(read_data(path, CLASSIFIER)[0])
    halves = write_parquet(tmp_path / "e.parquet", age=[1, 2, 3], bmi=X[:, 1], y=[0, 0, 0.5])
    refused(r"column y \(input y\) must hold whole numbers, found 0\.5 in row 3", halves, CLASSIFIER)
    whole, _ = read_data(write_parquet(tmp_path / "f.parquet", age=[1, 2, 3], bmi=X[:, 1], y=Y), CLASSIFIER)
    assert whole["x"].dtype == np.float32 and whole["x"][:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("rating", "message"),
    [
        (pa.array([1, None, None], pa.float32()), r"column rating \(input rating\) is empty in row 2,"),
        (
            pa.array(["1", "2", "3"]),
            "column rating .* holds text \\('1', '2', '3'\\), expected numbers: store it as numbers",
        ),
        (pa.array([[1.0], [2.0], [3.0]]), "must hold numbers, found list<"),
        (pa.array([None, None, None]), "is empty in row 1,"),
    ],
)
def test_columns_of_a_parquet_that_are_no_numbers_are_refused(tmp_path, rating, message):
    refused(message, write_parquet(tmp_path / "d.parquet", user=Y, rating=rating), RATING)


def test_a_null_is_found_behind_the_first_row_group(tmp_path):
    table = pa.table({"user": pa.array([1] * 50 + [None]), "rating": pa.array([1.0] * 51, pa.float32())})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=20)
    refused("column user .* is empty in row 51,", tmp_path / "d.parquet", RATING)


def test_a_parquet_that_is_cut_or_foreign_is_refused(tmp_path):
    whole = write_parquet(tmp_path / "d.parquet", user=Y, rating=X[:, 0]).read_bytes()
    broken = bytearray(whole)
    broken[4:60] = b"?" * 56
    for content in (b"", b"hello, world", whole[:-20], bytes(broken)):
        refused("can't be read as a Parquet file", write(tmp_path / "d.parquet", content), RATING)


# ---- pyarrow


def test_a_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    assert_classifier(read_data(tmp_path / "d.npz", CLASSIFIER)[0])
    assert_classifier(read_data(write(tmp_path / "d.csv", CSV), CLASSIFIER)[0])
    path = write(tmp_path / "d.parquet", "PAR1")
    refused(r"d\.parquet can't be read without pyarrow: pip install 'derivgen\[data\]'", path, CLASSIFIER)
    with pytest.raises(DerivgenError, match=r"p\.parquet can't be written without pyarrow: pip install"):
        write_prediction(tmp_path / "p.parquet", X)
    assert not (tmp_path / "p.parquet").exists()


def test_a_csv_gives_the_bits_that_pyarrow_reads(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 2**64, (2000, 2), np.uint64).view(np.float64)
    numbers[~np.isfinite(numbers)] = -0.0
    rows = "".join(f"{a!r},{b:.25e}\n" for a, b in numbers.tolist())
    path = write(tmp_path / "d.csv", f"x_0,x_1\n{rows}nan,-INF\n1e999,+.5\n")
    inputs, _ = read_data(path, model(given("x", "N", 2, dtype="float64")))
    table = pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(null_values=[]))
    expected = np.stack([table.column(k).to_numpy() for k in range(2)], axis=1)
    assert inputs["x"].tobytes() == expected.tobytes() and len(expected) == 2002


def test_arrays_are_read_without_pyarrow():
    code = "import sys, derivgen.runtime.data.data; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
