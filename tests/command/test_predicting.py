"""`derivgen evaluate` and `derivgen predict --classes`, and the functions of the runtime behind them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
from command import fail, succeed

from derivgen import runtime
from derivgen.errors import DerivgenError

SPEC = """
from derivgen import Model, layers, losses

model = Model("three")
N = model.batch("N")
z = layers.dense(model.input("x", N, 2), 3, name="scores")
model.minimize(losses.softmax_cross_entropy(z, model.labels("y", N, classes=3)))
model.predict(z)

line = Model("line")
N = line.batch("N")
n = line.indices(n=N)
x, t, slope = line.input("x", N), line.input("t", N), line.parameter("slope", init="ones")
p = line.let("p", (n,), slope * x[n])
line.least_squares(line.let("r", (n,), p[n] - t[n]))
line.predict(p)
"""
MODULE, LINE = "spec_three_kernels.py", "spec_line_kernels.py"


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("spec.py").write_text(SPEC)
        succeed("generate", "spec.py")
        random = np.random.default_rng(0)
        np.savez("data.npz", x=random.normal(size=(50, 2)).astype(np.float32), y=random.integers(0, 3, 50))
        np.savez("line.npz", x=np.arange(3, dtype=np.float32), t=np.array([0, 1, 5], np.float32))
        for path, file in ((MODULE, "p.npz"), (LINE, "line_p.npz")):
            module = runtime.load(path)
            runtime.save_parameters(file, module, module.initial_parameters(seed=1))
    return folder


@pytest.fixture(autouse=True)
def folder(generated, tmp_path, monkeypatch):
    shutil.copytree(generated, tmp_path, dirs_exist_ok=True)  # with the times that numba's cache goes by
    monkeypatch.chdir(tmp_path)


def loaded():
    module = runtime.load(MODULE)
    return module, runtime.load_parameters("p.npz", module), dict(np.load("data.npz"))


def scores_by_hand(module, parameters, x):
    views = module.views(parameters)
    return x @ views["scores_W"] + views["scores_b"]


def evaluate(*arguments, data="data.npz"):
    return ["evaluate", MODULE, "p.npz", "--data", data, *arguments]


# ---- evaluate


def test_the_loss_and_metrics_are_those_of_the_formulas():
    module, parameters, data = loaded()
    scores = scores_by_hand(module, parameters, data["x"].astype(float))
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    loss, accuracy = -logs[np.arange(50), data["y"]].mean(), (scores.argmax(1) == data["y"]).mean()
    found = runtime.evaluate(module, parameters, data, metrics=("accuracy", {"rows": lambda t, p: len(p)}))
    assert found == {"loss": pytest.approx(loss, rel=1e-5), "accuracy": accuracy, "rows": 50}
    lines = succeed(*evaluate("--metric", "accuracy")).splitlines()
    assert lines[0] == "50 rows, the parameters of p.npz"
    assert lines[1:] == [f"loss      {found['loss']:.6g}", f"accuracy  {accuracy:.6g}"]


def test_a_sum_over_the_rows_is_one_of_all_the_rows():
    """The loss of parts of the rows must not be averaged."""
    module = runtime.load(LINE)
    x = np.arange(3_000_000, dtype=np.float32) % 2
    data = {"x": x, "t": np.zeros_like(x)}
    found = runtime.evaluate(module, module.initial_parameters(), data, metrics="mean_squared_error")
    assert found == {"loss": pytest.approx(750_000, rel=1e-4), "mean_squared_error": pytest.approx(0.5)}


def test_a_table_and_a_metric_of_numbers():
    Path("line.csv").write_text("x,t\n0,0\n1,1\n2,5\n")
    lines = succeed(
        "evaluate", LINE, "line_p.npz", "--data", "line.csv", "--metric", "mean_absolute_error"
    ).splitlines()
    assert lines[1:] == ["loss                 4.5", "mean_absolute_error  1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.py", "p.npz", "--data", "data.npz"], "none.py does not exist"),
        (["spec.py", "p.npz", "--data", "data.npz"], "spec.py"),
        ([LINE, "p.npz", "--data", "line.npz"], "p.npz"),
        ([MODULE, "p.npz"], "no data is given"),
        ([MODULE, "p.npz", "--data", "none.npz"], "none.npz does not exist"),
        ([MODULE, "p.npz", "--data", "shape.npz"], "x must be of shape (N, 2), found (50, 3)"),
        ([MODULE, "p.npz", "--data", "unlabelled.npz"], "lacks the input y"),
        ([MODULE, "p.npz", "--data", "empty.npz"], "the inputs have no rows"),
        ([MODULE, "p.npz", "--data", "empty.csv"], "the inputs have no rows"),
        ([MODULE, "p.npz", "--data", "nan.npz"], "the input x holds nan at x[7, 1] (1 such): clean the data"),
        ([MODULE, "nan_p.npz", "--data", "data.npz"], "the parameter scores_b holds nan at scores_b[2]"),
        ([MODULE, "p.npz", "--data", "data.npz", "--metric", "acuracy"], "did you mean accuracy?"),
        ([MODULE, "p.npz", "--data", "data.npz", "--metric", "r2"], "r2 compares numbers"),
        ([MODULE, "p.npz", "--data", "data.npz", "--metric", "f1", "--target", "z"], "the model has no input z"),
    ],
)
def test_what_can_t_be_evaluated_is_an_error(arguments, message):
    module, parameters, data = loaded()
    np.savez("unlabelled.npz", x=data["x"])
    np.savez("shape.npz", x=np.zeros((50, 3), np.float32), y=data["y"])
    np.savez("empty.npz", x=data["x"][:0], y=data["y"][:0])
    Path("empty.csv").write_text("a,b,y\n")
    x = data["x"].copy()
    x[7, 1] = np.nan
    np.savez("nan.npz", x=x, y=data["y"])
    module.views(parameters)["scores_b"][2] = np.nan
    runtime.save_parameters("nan_p.npz", module, parameters)
    lines = fail("evaluate", *arguments).splitlines()
    assert any(message in line for line in lines), lines


def test_data_of_the_function_must_be_complete():
    module, parameters, data = loaded()
    with pytest.raises(TypeError, match="the input y is missing"):
        runtime.evaluate(module, parameters, {"x": data["x"]})
    with pytest.raises(TypeError, match="which is no input of the model"):
        runtime.evaluate(module, parameters, {**data, "z": data["x"]})


# ---- predict --classes


def predict(*arguments, data="data.npz", output="out.npy"):
    return ["predict", MODULE, "p.npz", "--data", data, "-o", output, "--classes", *arguments]


def test_classes_are_written_in_place_of_scores():
    module, parameters, data = loaded()
    wanted = scores_by_hand(module, parameters, data["x"]).argmax(1)
    assert succeed(*predict()) == "out.npy: classes of shape (50,) with the parameters of p.npz\n"
    found = np.load("out.npy")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted)
    succeed(*predict(output="out.npz"))
    with np.load("out.npz") as saved:
        np.testing.assert_array_equal(saved["prediction"], wanted)
    succeed(*predict(output="out.csv"))
    assert Path("out.csv").read_text().splitlines() == ["prediction", *map(str, wanted)]


def test_a_class_by_a_score_that_is_nan_is_none():
    _, _, data = loaded()
    data["x"][3, 0] = np.nan
    np.savez("nan.npz", **data)
    assert "warning: 1 of the 50 classes are -1: among their scores is a NaN" in succeed(*predict(data="nan.npz"))
    assert [*np.flatnonzero(np.load("out.npy") < 0)] == [3]


def test_predictions_without_classes_are_an_error():
    message = fail("predict", LINE, "line_p.npz", "--data", "line.npz", "-o", "out.npy", "--classes")
    assert "the prediction has shape (3,), expected a last axis with a score for each of two or more classes" in message
    assert not Path("out.npy").exists()


@pytest.mark.parametrize("shape", [(50, 1), (50, 4), (50,)])
def test_an_axis_that_is_none_of_classes_is_an_error(shape):
    module, _, _ = loaded()
    with pytest.raises(DerivgenError, match="write the predictions themselves"):
        runtime.classes_of(module, np.zeros(shape))


def test_labels_under_another_name_are_told_how_to_leave_out():
    """A column y is left alone anyway; one of another name could be a feature."""
    Path("plain.csv").write_text("a,b\n1,2\n3,4\n")
    Path("labelled.csv").write_text("a,target,b\n1,0,2\n3,2,4\n")
    command = ["predict", MODULE, "p.npz", "-o", "out.csv", "--data"]
    succeed(*command, "plain.csv")
    wanted = Path("out.csv").read_text()
    assert fail(*command, "labelled.csv").endswith(
        "here 3 (a, target, b) remain. If one of them is the input y, name it by --columns y=COLUMN.\n"
    )
    succeed(*command, "labelled.csv", "--columns", "y=target")
    assert Path("out.csv").read_text() == wanted
    Path("narrow.csv").write_text("a\n1\n")
    assert "If one of them" not in fail(*command, "narrow.csv")
    module, parameters, _ = loaded()
    with pytest.raises(ValueError, match=r"remain\. If one of them is the input y, leave it out of the frame\.$"):
        runtime.predict(module, parameters, pandas.read_csv("labelled.csv"))


def test_labels_that_another_file_gives_are_not_asked_for():
    Path("wide.csv").write_text("a,b,c\n1,2,3\n")
    np.save("y.npy", np.zeros(1, np.int64))
    message = fail("evaluate", MODULE, "p.npz", "--data", "wide.csv", "--data", "y.npy")
    assert "here 3 (a, b, c) remain." in message and "If one of them" not in message


def test_a_spec_in_place_of_its_module_is_told_which_to_give():
    message = fail("evaluate", "spec.py", "p.npz", "--data", "data.npz")
    assert message.endswith(f"it lacks derivgen's header): give {LINE} or {MODULE}\n")
    Path(LINE).write_text("# mine\n")
    assert message.replace(f"{LINE} or ", "") == fail(
        "predict", "spec.py", "p.npz", "--data", "data.npz", "-o", "o.npy"
    )
    Path("other.py").write_text("")
    assert "give the path of a file that `derivgen generate` wrote" in fail("compile", "other.py")
