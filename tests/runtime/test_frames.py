"""Frames of pandas and polars, and tables of Arrow, as data: the numbers that arrays give, to the bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from derivgen import Model, generate, layers, losses, runtime
from derivgen.sklearn import DerivgenClassifier, DerivgenRegressor

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
frames = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> runtime.GeneratedModule:
    model = Model("flowers")
    N = model.batch("N")
    x, y = model.input("x", N, 2), model.labels("y", N, classes=3)
    z = layers.dense(x, 3, name="z")
    model.minimize(losses.softmax_cross_entropy(z, y))
    model.predict(z)
    return runtime.load(generate(model, tmp_path_factory.mktemp("frames") / "flowers_kernels.py"))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> runtime.GeneratedModule:
    model = Model("line", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    t, y = model.input("t", N), model.input("y", N)
    slope, start = model.parameter("slope", init="ones"), model.parameter("start")
    f = model.let("f", n, slope * t[n] + start)
    model.least_squares(model.let("r", n, f[n] - y[n]))
    model.predict(f)
    model.second_order("jacobian_vector_product")
    return runtime.load(generate(model, tmp_path_factory.mktemp("frames") / "line_kernels.py"))


RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = RNG.integers(0, 3, 40)
ARRAYS = {"x": X.astype(np.float32), "y": Y}


def columns(**others: Any) -> dict[str, Any]:
    return {"age": X[:, 0], "bmi": X[:, 1], "y": Y.astype(np.int32), **others}


@frames
def test_training_and_predicting(module: runtime.GeneratedModule, frame: Any) -> None:
    wanted = runtime.fit(module, ARRAYS, epochs=2, validation=ARRAYS)
    data = frame(columns())
    fit = runtime.fit(module, data, epochs=2, validation=data)
    assert fit.parameters.tobytes() == wanted.parameters.tobytes()
    assert fit.history[-1].validation_loss == wanted.history[-1].validation_loss
    prediction = module.predict(fit.parameters, ARRAYS["x"])
    assert fit.predict(data).tobytes() == prediction.tobytes()
    assert fit.predict(frame({"age": X[:, 0], "bmi": X[:, 1]})).tobytes() == prediction.tobytes()
    assert runtime.predict(module, fit.parameters, {"x": frame({"a": X[:, 0], "b": X[:, 1]})}).tobytes() == (
        prediction.tobytes()
    )


@frames
def test_columns_by_name(module: runtime.GeneratedModule, frame: Any) -> None:
    wanted = runtime.fit(module, ARRAYS, epochs=1).parameters.tobytes()
    named = frame({"id": Y, "x_1": X[:, 1], "y": Y, "x_0": X[:, 0]})
    assert runtime.fit(module, named, epochs=1).parameters.tobytes() == wanted
    whole = frame(columns())
    parts = {"x": frame({"age": X[:, 0], "bmi": X[:, 1]}), "y": whole["y"]}
    assert runtime.fit(module, parts, epochs=1).parameters.tobytes() == wanted


@frames
def test_solvers(module: runtime.GeneratedModule, line: runtime.GeneratedModule, frame: Any) -> None:
    data = frame(columns())
    start = module.initial_parameters()
    assert runtime.evaluate(module, start, data, ["accuracy"]) == runtime.evaluate(module, start, ARRAYS, ["accuracy"])
    assert runtime.minimize(module, data).x.tobytes() == runtime.minimize(module, ARRAYS).x.tobytes()
    points = {"t": X[:, 0], "y": 2 * X[:, 0] + X[:, 1]}
    wanted, fit = runtime.fit_curve(line, points), runtime.fit_curve(line, frame(points))
    assert fit.covariance.tobytes() == wanted.covariance.tobytes()
    for mine, other in zip(fit.band(frame({"t": [0.5]})), wanted.band({"t": np.array([0.5])}), strict=True):
        assert mine.tobytes() == other.tobytes()


@frames
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": ["a", "b"] * 20}, r"column y \(input y\) holds text \('a', 'b'\): labels are integers 0 \.\. 2\."),
        ({"y": [1, 2, 3, 1] * 10}, r"column y .* found 3 in row 3: labels start at 0, subtract 1 from each"),
        ({"bmi": [0.5, None] * 20}, r"column bmi \(input x\) is empty in row 2, expected a number"),
        (
            {"bmi": [0.5, 1e300] * 20},
            r"column bmi \(input x\) must be float32, at most 3\.4e\+38, found 1e\+300 in row 2",
        ),
        ({"bmi": ["1", "2"] * 20}, r"column bmi \(input x\) holds text \('1', '2'\), expected numbers: store it as"),
        (
            {"id": Y},
            r"^the data frame: the input x of shape \(N, 2\): expected the columns x_0, x_1, found age, bmi, y, id; "
            r'x_0, x_1 are missing\. If other columns make x, name them by a mapping \{"x": frame\[\[\.\.\.\]\], ',
        ),
    ],
)
def test_mistakes(module: runtime.GeneratedModule, frame: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runtime.fit(module, frame(columns(**changes)))


def test_kinds_of_pandas(module: runtime.GeneratedModule) -> None:
    """Nullable numbers, booleans and categories; two columns of one name."""
    whole = pd.DataFrame(columns()).astype({"age": "Float64", "y": "Int64"})
    wanted = runtime.fit(module, ARRAYS, epochs=1).parameters.tobytes()
    assert runtime.fit(module, whole, epochs=1).parameters.tobytes() == wanted
    whole.loc[3, "y"] = pd.NA
    with pytest.raises(ValueError, match=r"column y \(input y\) is empty in row 4"):
        runtime.fit(module, whole)
    kinds = pd.DataFrame(columns(y=pd.Categorical(["a", "b"] * 20)))
    with pytest.raises(ValueError, match=r"column y \(input y\) holds text \('a', 'b'\)"):
        runtime.fit(module, kinds)
    dates = pd.DataFrame(columns(bmi=pd.to_datetime(["2020-01-01"] * 40)))
    with pytest.raises(ValueError, match=r"column bmi \(input x\) must hold numbers, found datetime64.*store it as"):
        runtime.fit(module, dates)
    twice = pd.concat([pd.DataFrame(columns()), pd.DataFrame({"y": Y})], axis=1)
    with pytest.raises(ValueError, match="the data frame has 2 columns named y"):
        runtime.fit(module, twice)
    flags = pd.DataFrame(columns(bmi=X[:, 1] > 0))
    as_numbers = {"x": np.stack([X[:, 0], X[:, 1] > 0], axis=1), "y": Y}
    fit = runtime.fit(module, flags, epochs=1)
    assert fit.parameters.tobytes() == runtime.fit(module, as_numbers, epochs=1).parameters.tobytes()


def test_what_is_logged(module: runtime.GeneratedModule, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "derivgen"):
        runtime.predict(module, module.initial_parameters(), pd.DataFrame({"age": X[:, 0], "bmi": X[:, 1]}))
    assert caplog.messages == ["x: columns age, bmi of the data frame"]


@frames
def test_estimators(frame: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVGEN_CACHE", str(tmp_path))
    table = frame({"age": X[:, 0], "bmi": X[:, 1]})
    for estimator, target in ((DerivgenClassifier, Y), (DerivgenRegressor, X[:, 1])):
        wanted = estimator(epochs=1, random_state=0).fit(X, target)
        found = estimator(epochs=1, random_state=0).fit(table, frame({"y": target})["y"])
        np.testing.assert_array_equal(found.predict(table), wanted.predict(X))


def test_none_of_the_libraries_is_imported() -> None:
    code = "import sys, derivgen.runtime; print({'pandas', 'polars', 'pyarrow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lists_are_the_arrays_that_they_make(line: runtime.GeneratedModule, module: runtime.GeneratedModule) -> None:
    t, y = [0, 1, 2, 3], (1.0, 2.5, 3.0, 4.5)
    arrays = {"t": np.array(t, float), "y": np.array(y)}
    fit, wanted = runtime.fit_curve(line, {"t": t, "y": y}), runtime.fit_curve(line, arrays)
    np.testing.assert_array_equal(fit.parameters, wanted.parameters)
    wanted = runtime.fit(module, ARRAYS, epochs=2)
    fit = runtime.fit(module, {name: array.tolist() for name, array in ARRAYS.items()}, epochs=2)
    np.testing.assert_array_equal(fit.parameters, wanted.parameters)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0, 2.0], [3.0]], r"x must be of shape \(N, 2\), found lists of different lengths"),
        ([1, 2, 3], r"x must be of shape \(N, 2\), found \(3,\)"),
        ([["a", "b"]], "x holds text"),
    ],
)
def test_lists_that_are_no_input(module: runtime.GeneratedModule, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runtime.fit(module, {"x": x, "y": [0]}, epochs=1)
