"""The scikit-learn estimators: scikit-learn's own checks, models of one's own, pickles, and the cache of modules.

Most of it runs without numba's compiler. Compiled are the examples of docs/sklearn.md with the default models.
"""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sympy import Sum, exp, log, sqrt
from sympy.concrete import expr_with_limits

from derivgen import Model, activations, layers, losses, optimizers, pipeline
from derivgen import sklearn as estimators
from derivgen.errors import DerivgenError
from derivgen.print import templates
from derivgen.project import module_cache
from derivgen.sklearn import DerivgenClassifier, DerivgenRegressor, cache_folder

PAGE = Path(__file__).parents[1] / "docs" / "sklearn.md"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, which processes that joblib starts find too."""
    folder = tmp_path / "modules"
    monkeypatch.setenv("DERIVGEN_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def uncompiled(shared, monkeypatch):
    """Modules that run without numba's compiler, each generated for one test and found by others."""
    monkeypatch.setenv("DERIVGEN_CACHE", str(shared))
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


@pytest.fixture
def empty(uncompiled, cache, monkeypatch):
    """The same with an empty cache."""
    monkeypatch.setenv("DERIVGEN_CACHE", str(cache))
    return cache


def softmax_regression(n_features, n_outputs):
    model = Model("softmax_regression")
    N = model.batch("N")
    x, y = model.input("x", N, n_features), model.labels("y", N, classes=n_outputs)
    p = activations.softmax(layers.dense(x, n_outputs, name="scores"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.predict(p)
    model.update(optimizers.adam(learning_rate=0.05))
    return model


def linear_regression(n_features, n_outputs):
    model = Model("linear_regression")
    N = model.batch("N")
    x, t = model.input("x", N, n_features), model.input("t", N, n_outputs)
    z = layers.dense(x, n_outputs, name="z")
    model.minimize(losses.mean_squared_error(z, t))
    model.predict(z)
    model.update(optimizers.adam(learning_rate=0.05))
    return model


def blobs(rows=60, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    names = np.array([f"class {k}" for k in range(classes)])
    y = np.arange(rows) % classes
    centres = 3 * np.stack([np.cos(2 * np.pi * y / classes), np.sin(2 * np.pi * y / classes)], axis=1)
    return centres + generator.normal(size=(rows, 2)), names[y]


def plane(rows=60, outputs=2, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3))
    y = x @ generator.normal(size=(3, outputs)) + generator.normal(size=outputs)
    return x, y + 0.1 * generator.normal(size=y.shape)


# ---- as scikit-learn has it


@pytest.mark.parametrize("estimator", [DerivgenClassifier, DerivgenRegressor])
def test_scikit_learns_own_checks(uncompiled, monkeypatch, estimator):
    """Of the default models, made small: compiled and whole they pass too, and take 90 s, for 15 modules."""
    monkeypatch.setattr(estimators, "HIDDEN_UNITS", 4)
    results = check_estimator(estimator(epochs=3, learning_rate=0.1), on_skip=None)
    assert len(results) > 50
    skipped = {r["check_name"]: str(r["exception"]) for r in results if r["status"] != "passed"}
    # Not the estimators' fault: what these compare with is not installed.
    assert all("pandas" in reason or "ARRAY_API" in reason for reason in skipped.values()), skipped


def of_the_page(number):
    """The names that a block of the page's code defines, or imports in those before it."""
    *before, block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[: number + 1]
    names = {}
    exec("\n".join([*re.findall(r"^from .*", "\n".join(before), re.MULTILINE), block]), names)
    return names


READ = """
import os, pickle, sys
import numba
import numpy as np
with open(sys.argv[1], "rb") as file:
    fitted, x, expected = pickle.load(file)
np.testing.assert_allclose(fitted.predict_proba(x), expected, rtol=1e-12)
stats = fitted[-1].module_.prediction_kernel.stats
os.environ["DERIVGEN_CACHE"], numba.config.DISABLE_JIT = sys.argv[2], True
np.testing.assert_allclose(fitted.predict_proba(x), expected, rtol=1e-9)
print("sympy" in sys.modules, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_a_search_in_two_processes_and_its_pickle_in_another(cache, tmp_path):
    """Compiled. The pickle predicts alike, with the cache, which has the compiled code too, and without it."""
    names = of_the_page(0)
    search, x = names["search"], names["X_test"]
    assert search.best_params_ == {"derivgenclassifier__learning_rate": 3e-3}
    assert search.score(x, names["y_test"]) >= 0.95
    (file,) = cache.glob("*.py")
    path = tmp_path / "fitted.pickle"
    path.write_bytes(pickle.dumps((search.best_estimator_, x, search.predict_proba(x))))
    done = subprocess.run([sys.executable, "-c", READ, path, tmp_path / "empty"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False 1 0\n", "")
    assert (tmp_path / "empty" / file.name).read_text() == file.read_text()


def test_diabetes_about_as_well_as_ridge():
    """Compiled."""
    x, y = load_diabetes(return_X_y=True)
    ridge = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), transformer=StandardScaler())
    own, wanted = (cross_val_score(model, x, y, cv=3).mean() for model in (of_the_page(1)["scaled"], ridge))
    assert own >= wanted - 0.05


def test_a_model_of_ones_own(uncompiled):
    x, y = load_iris(return_X_y=True)
    assert of_the_page(2)["classifier"].fit(x, y).score(x, y) >= 0.95


def test_probabilities_and_classes(uncompiled):
    x, y = blobs()
    fitted = DerivgenClassifier(softmax_regression, epochs=20, random_state=0).fit(x, y)
    p = fitted.predict_proba(x)
    assert p.shape == (60, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    assert list(fitted.classes_) == ["class 0", "class 1", "class 2"]
    assert (fitted.predict(x) == fitted.classes_[p.argmax(axis=1)]).all()
    assert fitted.score(x, y) >= 0.95


@pytest.mark.parametrize("outputs", [1, 3])
def test_several_outputs_as_least_squares(uncompiled, outputs):
    x, y = plane(outputs=outputs)
    fitted = DerivgenRegressor(linear_regression, epochs=400, batch_size=60, random_state=0).fit(x, y)
    assert fitted.predict(x).shape == y.shape
    np.testing.assert_allclose(fitted.predict(x), LinearRegression().fit(x, y).predict(x), atol=1e-4)


def test_targets_without_a_second_axis_come_back_so(uncompiled):
    x, y = plane(outputs=1)
    flat = DerivgenRegressor(linear_regression, epochs=5, random_state=0).fit(x, y[:, 0])
    column = DerivgenRegressor(linear_regression, epochs=5, random_state=0).fit(x, y)
    assert flat.predict(x).shape == (60,)
    np.testing.assert_array_equal(flat.predict(x), column.predict(x)[:, 0])


def test_a_model_in_plain_sympy(uncompiled):
    """The mean absolute deviation, smoothed, with targets (N,): a median where least squares give a mean."""

    def robust(n_features, n_outputs):
        model = Model("robust")
        N = model.batch("N")
        n, d = model.indices(n=N, d=n_features)
        features, goal = model.input("features", N, n_features), model.input("goal", N)
        w, b = model.parameter("w", n_features), model.parameter("b")
        line = model.let("line", (n,), Sum(features[n, d] * w[d], d) + b)
        model.minimize(Sum(sqrt((line[n] - goal[n]) ** 2 + 1e-4), n) / N)
        model.predict(line)
        model.update(optimizers.adam(learning_rate=0.02))
        return model

    x, y = plane(outputs=1)
    truth = LinearRegression().fit(x, y[:, 0])
    spoilt = y[:, 0].copy()
    spoilt[:10] += 100
    fitted = DerivgenRegressor(robust, epochs=400, batch_size=60, random_state=0).fit(x, spoilt)
    assert list(fitted.module_.views(fitted.parameters_)) == ["w", "b"]
    assert np.abs(fitted.predict(x) - truth.predict(x)).max() < 0.2
    assert np.abs(LinearRegression().fit(x, spoilt).predict(x) - truth.predict(x)).max() > 10


# ---- parameters of the estimators


def test_the_same_seed_gives_the_same_model(uncompiled):
    x, y = blobs()
    estimator = DerivgenClassifier(softmax_regression, epochs=2, random_state=3)
    first, again = clone(estimator).fit(x, y).parameters_, clone(estimator).fit(x, y).parameters_
    other = clone(estimator).set_params(random_state=4).fit(x, y).parameters_
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    drawn = estimator.set_params(random_state=np.random.RandomState(0))
    assert (drawn.fit(x, y).parameters_ != drawn.fit(x, y).parameters_).any()


def test_history_and_held_out_rows(uncompiled, capsys):
    x, y = blobs()
    fitted = DerivgenClassifier(softmax_regression, epochs=8, validation_split=0.25, random_state=0).fit(x, y)
    assert fitted.loss_curve_ == [epoch.loss for epoch in fitted.history_]
    assert len(fitted.loss_curve_) == 8
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    assert fitted.history_[-1].validation_loss < fitted.history_[0].validation_loss
    assert capsys.readouterr().out == ""
    fitted.set_params(verbose=True, epochs=3).fit(x, y)
    assert "3/3" in capsys.readouterr().out


def test_the_learning_rate_is_the_models_own_unless_given(uncompiled):
    x, y = blobs()
    start = DerivgenClassifier(softmax_regression, epochs=1, learning_rate=1e-12, random_state=0).fit(x, y)
    own = DerivgenClassifier(softmax_regression, epochs=1, random_state=0).fit(x, y)
    given = DerivgenClassifier(softmax_regression, epochs=1, learning_rate=0.05, random_state=0).fit(x, y)
    np.testing.assert_array_equal(own.parameters_, given.parameters_)
    # Adam's steps are at most about the learning rate.
    moved = np.abs(own.parameters_ - start.parameters_).max()
    assert 0.05 <= moved <= 0.05 * 3


def test_a_learning_rate_that_the_rule_does_not_have(uncompiled):
    def plain(n_features, n_outputs):
        model = softmax_regression(n_features, n_outputs)
        rate = optimizers.hyperparameter("rate")
        model.update(optimizers.rule("plain", [(optimizers.theta, optimizers.theta - rate * optimizers.g)], rate=0.1))
        return model

    x, y = blobs()
    assert DerivgenClassifier(plain, epochs=5, random_state=0).fit(x, y).score(x, y) > 0.8
    with pytest.raises(ValueError, match=r"learning_rate is 0\.1, .* no such hyperparameter: found rate"):
        DerivgenClassifier(plain, learning_rate=0.1).fit(x, y)


def test_hyperparameters_of_the_update_rule(uncompiled):
    x, y = blobs()

    def fitted(**parameters):
        return clone(DerivgenClassifier(softmax_regression, epochs=1, random_state=0, **parameters)).fit(x, y)

    own = fitted().parameters_
    np.testing.assert_array_equal(fitted(hyperparameters={"beta_1": 0.9}).parameters_, own)
    changed = fitted(hyperparameters={"beta_1": 0.5}).parameters_
    assert (changed != own).any()
    both = fitted(hyperparameters={"beta_1": 0.5}, learning_rate=0.05).parameters_
    np.testing.assert_array_equal(both, changed)
    np.testing.assert_array_equal(fitted(hyperparameters={"beta_1": 0.5, "learning_rate": 0.05}).parameters_, changed)
    with pytest.raises(TypeError, match=r"update rule no such hyperparameter.* the rule has learning_rate, beta_1"):
        fitted(hyperparameters={"weight_decay": 0.01})
    with pytest.raises(ValueError, match=r"learning_rate is given twice, as 0\.1 and in hyperparameters"):
        fitted(hyperparameters={"learning_rate": 0.1}, learning_rate=0.1)


def test_training_ends_early(uncompiled):
    x, y = plane()
    estimator = DerivgenRegressor(linear_regression, epochs=9, learning_rate=1e-300, random_state=0)
    for split in (0.0, 0.25):
        fitted = clone(estimator).set_params(validation_split=split, early_stopping=3, batch_size=60).fit(x, y)
        assert len(fitted.history_) == 1 + 3


def test_the_best_parameters_are_kept(uncompiled):
    x, y = plane()
    estimator = DerivgenRegressor(linear_regression, epochs=8, learning_rate=8.0, validation_split=0.25, random_state=0)
    kept = clone(estimator).set_params(keep_best=True).fit(x, y)
    best = 1 + int(np.argmin([epoch.validation_loss for epoch in kept.history_]))
    assert best < len(kept.history_) == 8
    np.testing.assert_array_equal(kept.parameters_, clone(estimator).set_params(epochs=best).fit(x, y).parameters_)
    assert (kept.parameters_ != estimator.fit(x, y).parameters_).any()


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("model", Model("m"), ValueError, r"model must be a function of \(n_features, n_outputs\)"),
        ("epochs", 0, ValueError, "epochs == 0, must be >= 1"),
        ("epochs", 2.5, TypeError, "epochs must be an instance of int"),
        ("batch_size", 0, ValueError, "batch_size == 0, must be >= 1"),
        ("dtype", "float16", ValueError, "dtype must be one of float32, float64, found 'float16'"),
        ("validation_split", 1.0, ValueError, "validation_split == 1.0, must be < 1"),
        ("learning_rate", 0.0, ValueError, "learning_rate == 0.0, must be > 0"),
        ("learning_rate", "fast", TypeError, "learning_rate must be an instance of float"),
        ("hyperparameters", ["beta_1"], TypeError, r"must be a mapping, .* or None, found \['beta_1'\]"),
        ("hyperparameters", {"epochs": 3}, ValueError, "those of the update rule, found 'epochs', an argument of fit"),
        ("early_stopping", 0, ValueError, "early_stopping == 0, must be >= 1"),
        ("early_stopping", True, TypeError, "early_stopping must be a number of at least 1, found True"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_generated(empty, name, value, error, message):
    x, y = blobs()
    with pytest.raises(error, match=message):
        DerivgenClassifier(softmax_regression).set_params(**{name: value}).fit(x, y)
    assert not empty.exists()


@pytest.mark.parametrize("estimator", [DerivgenClassifier(softmax_regression), DerivgenRegressor(linear_regression)])
def test_masked_arrays_are_refused(empty, estimator):
    """check_array of scikit-learn drops the mask."""
    x, y = blobs()[0], np.arange(60) % 3
    for data, name in (((np.ma.array(x), y), "X"), ((x, np.ma.array(y)), "y")):
        with pytest.raises(TypeError, match=f"{name}: expected a numpy array without a mask"):
            estimator.fit(*data)
    assert not empty.exists()
    with pytest.raises(TypeError, match="X: expected a numpy array without a mask"):
        clone(estimator).set_params(epochs=1).fit(x, y).predict(np.ma.array(x))


# ---- models that don't fit


def classifier_with(features=None, classes=None, predicted=True, extra=False, fixed_rows=False, reals=False):
    """A model function that is right where nothing is changed."""

    def function(n_features, n_outputs):
        model = Model("net")
        N = 5 if fixed_rows else model.batch("N")
        x = model.input("x", N, features or n_features)
        y = model.input("y", N, n_outputs) if reals else model.labels("y", N, classes=classes or n_outputs)
        p = activations.softmax(layers.dense(x, classes or n_outputs, name="z"), name="p")
        loss = losses.categorical_cross_entropy(p, y)
        model.minimize(loss + model.input("weight") if extra else loss)
        if predicted:
            model.predict(p)
        return model

    return function


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda d, c: None, r"must return a derivgen Model, found None for n_features=2, n_outputs=3: end it in"),
        (classifier_with(features=4), r"made from an input \(N, 2\), found an input \(N, 4\): declare model.input"),
        (
            classifier_with(classes=2),
            r"beside it labels \(N,\) of 3 classes, found labels \(N,\) of 2 classes: declare",
        ),
        (classifier_with(reals=True), r"beside it labels \(N,\) of 3 classes, found an input \(N, 3\): declare"),
        (classifier_with(extra=True), r"found labels \(N,\) of 3 classes, an input \(\): .* and no other input"),
        (classifier_with(predicted=False), r"a prediction made from an input \(N, 2\), found none: .*model.predict"),
        (classifier_with(fixed_rows=True), r"made from an input \(N, 2\), found an input \(5, 2\): declare"),
    ],
)
def test_a_model_that_is_no_classifier_for_the_data(empty, function, message):
    x, y = blobs()
    with pytest.raises(ValueError, match=message) as found:
        DerivgenClassifier(function).fit(x, y)
    assert "DerivgenClassifier" in str(found.value)
    assert not empty.exists()


def test_a_refusal_says_where_the_model_is():
    x, y = blobs()
    with pytest.raises(ValueError, match=r"^test_sklearn\.py:\d+: DerivgenClassifier needs of the model net"):
        DerivgenClassifier(classifier_with(features=4)).fit(x, y)


def regressor_with(columns=1, prediction_columns=None, peeks=False):
    def function(n_features, n_outputs):
        model = Model("net")
        N = model.batch("N")
        x, t = model.input("x", N, n_features), model.input("t", N, columns)
        z = layers.dense(x, prediction_columns or columns, name="z")
        n, k = model.indices(n=N, k=prediction_columns or columns)
        seen = model.let("seen", (n, k), z[n, k] + t[n, 0]) if peeks else z
        model.minimize(Sum((seen[n, k] - t[n, 0]) ** 2, n, k) / N)
        model.predict(seen)
        return model

    return function


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            regressor_with(columns=2),
            r"an input \(N, 1\) or an input \(N,\), found an input \(N, 2\): declare model.input",
        ),
        (regressor_with(prediction_columns=2), r"a prediction of shape \(N, 1\), found \(N, 2\): model.predict"),
        (regressor_with(peeks=True), r"made from an input \(N, 3\), found an input \(N, 3\), an input \(N, 1\): "),
        (softmax_regression, r"beside it an input \(N, 1\) or an input \(N,\), found labels \(N,\) of 1 classes"),
    ],
)
def test_a_model_that_is_no_regressor_for_the_data(uncompiled, function, message):
    x, y = plane(outputs=1)
    with pytest.raises(ValueError, match=message):
        DerivgenRegressor(function).fit(x, y)


def test_problems_of_the_spec_are_shown_as_ever(uncompiled):
    def broken(n_features, n_outputs):
        model = softmax_regression(n_features, n_outputs)
        model.parameter("p", 3)
        return model

    with pytest.raises(ValueError, match=r"test_sklearn\.py:\d+: the name p is used twice"):
        DerivgenClassifier(broken).fit(*blobs())


def test_scores_are_no_probabilities(uncompiled):
    def scores(n_features, n_outputs):
        model = Model("scores")
        N = model.batch("N")
        n, c = model.indices(n=N, c=n_outputs)
        x, y = model.input("x", N, n_features), model.labels("y", N, classes=n_outputs)
        z = layers.dense(x, n_outputs, name="z")
        model.minimize(Sum(log(Sum(exp(z[n, c]), c)) - z[n, y[n]], n) / N)
        model.predict(z)
        return model

    estimator = DerivgenClassifier(scores, epochs=10**9)
    with pytest.raises(ValueError, match=r"must predict probabilities.*for row 0: predict activations\.softmax"):
        estimator.fit(*blobs())


@pytest.mark.parametrize("bad", [[0.5, 0.6], [1.2, -0.2], [np.nan, 1.0]])
def test_what_is_no_row_of_probabilities(bad):
    good = [0.25, 0.75]
    assert estimators.check_probabilities(np.array([good])).tolist() == [good]
    with pytest.raises(ValueError, match="for row 1"):
        estimators.check_probabilities(np.array([good, bad]))


def test_one_class_is_not_enough(uncompiled):
    x, _ = blobs()
    with pytest.raises(ValueError, match="y holds one class, 7: a classifier needs at least 2"):
        DerivgenClassifier(softmax_regression).fit(x, np.full(60, 7))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_failed_fit_leaves_nothing_to_predict_by(uncompiled):
    x, y = plane(outputs=1)
    estimator = DerivgenRegressor(linear_regression, learning_rate=1e200)
    with pytest.raises(DerivgenError, match="not finite"):
        estimator.fit(x, y)
    with pytest.raises(NotFittedError):
        estimator.predict(x)
    assert not hasattr(estimator, "module_")


# ---- rows, memory and precision


def test_many_rows_are_predicted_as_few_are(uncompiled, monkeypatch):
    x, y = plane(rows=50)
    fitted = DerivgenRegressor(linear_regression, epochs=1, random_state=0).fit(x, y)
    whole = fitted.predict(x)
    monkeypatch.setattr(estimators, "BLOCK", 7)
    np.testing.assert_allclose(fitted.predict(x), whole, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_that_cannot_be_written(uncompiled, dtype):
    """As joblib hands them to its processes."""
    x, y = (a.astype(dtype) for a in plane())
    wanted = DerivgenRegressor(linear_regression, epochs=2, dtype=dtype, random_state=0).fit(x, y)
    x.flags.writeable = y.flags.writeable = False
    fitted = clone(wanted).fit(x, y)
    fitted.parameters_.flags.writeable = False
    assert fitted.parameters_.dtype == dtype
    np.testing.assert_array_equal(fitted.predict(x), wanted.predict(x))
    assert fitted.predict(x).dtype == np.float64


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_targets_that_the_dtype_does_not_hold(uncompiled):
    x, y = plane(outputs=1)
    with pytest.raises(ValueError, match="y contains infinity or a value too large for dtype"):
        DerivgenRegressor(linear_regression, dtype="float32").fit(x, 1e39 * y)


# ---- copies and the cache


def test_copies(uncompiled):
    x, y = blobs()
    fitted = DerivgenClassifier(softmax_regression, epochs=2, random_state=0).fit(x, y)
    copied = copy.deepcopy(fitted)
    np.testing.assert_array_equal(copied.predict_proba(x), fitted.predict_proba(x))
    copied.parameters_[:] = 0
    assert (copied.predict_proba(x) != fitted.predict_proba(x)).any()
    assert copied.module_ is fitted.module_
    with pytest.raises(NotFittedError):
        clone(fitted).predict(x)


@pytest.fixture
def generations(monkeypatch):
    """The names of the modules generated so far."""
    generate, names = pipeline.generate_body, []

    def noted(model, *arguments, **keywords):
        names.append(model.name)
        return generate(model, *arguments, **keywords)

    monkeypatch.setattr(pipeline, "generate_body", noted)
    return names


def test_a_module_is_generated_once(empty, generations):
    x, y = blobs()
    first = DerivgenClassifier(softmax_regression, epochs=1).fit(x, y)
    (file,) = empty.glob("*.py")
    time = file.stat().st_mtime_ns
    again = DerivgenClassifier(softmax_regression, epochs=2, learning_rate=0.1).fit(x, y)
    assert again.module_ is first.module_
    assert len(generations) == 1
    assert file.stat().st_mtime_ns == time
    DerivgenClassifier(softmax_regression, epochs=1, dtype="float32").fit(x, y)
    DerivgenClassifier(softmax_regression, epochs=1).fit(x[:, :1], y)
    assert len(generations) == len(list(empty.glob("*.py"))) == 3


def test_a_spoilt_file_of_the_cache_is_written_anew(empty, generations):
    x, y = blobs()
    fitted = DerivgenClassifier(softmax_regression, epochs=1, random_state=0).fit(x, y)
    (file,) = empty.glob("*.py")
    text = file.read_text()
    for spoilt in ("", text[: len(text) // 2], text.replace("exp(", "1 + exp(")):
        file.write_text(spoilt)
        module_cache.load_module.cache_clear()  # as in another process
        again = clone(fitted).fit(x, y)
        assert file.read_text() == text
        np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    assert len(generations) == 4


def test_models_of_one_name_are_kept_apart(empty):
    """numba's cache and sys.modules know modules by name."""

    def named(activation=activations.identity, rate=0.1, deviation=1.0):
        def function(n_features, n_outputs):
            model = Model("net")
            N = model.batch("N")
            x, t = model.input("x", N, n_features), model.input("t", N, n_outputs)
            start = np.full((n_features, n_outputs), deviation)
            z = layers.dense(x, n_outputs, activation, name="z", init=start)
            model.minimize(losses.mean_squared_error(z, t))
            model.predict(z)
            model.update(optimizers.gradient_descent(learning_rate=rate))
            return model

        return function

    x, y = plane(outputs=1)
    functions = [named(), named(activations.relu), named(rate=0.2), named(deviation=2.0)]
    fitted = [DerivgenRegressor(f, epochs=1, random_state=0).fit(x, y) for f in (*functions, named())]
    names = [f.module_.__name__ for f in fitted]
    assert len(set(names)) == len(list(empty.glob("*.py"))) == 4
    assert names[0] == names[-1]
    assert len({f.predict(x).tobytes() for f in fitted}) == 4


def test_a_function_may_give_one_model_again_and_again(uncompiled):
    x, y = blobs()
    model = softmax_regression(2, 3)
    first, again = (DerivgenClassifier(lambda d, c: model, epochs=1).fit(x, y).module_ for _ in range(2))
    assert first is again
    assert first.__name__ == f"derivgen_{Path(first.__file__).stem}"
    assert first.__doc__.startswith('Kernels of the model "softmax_regression"')


def test_threads_generate_one_after_another(empty):
    """Stages of the generator change SymPy for a moment."""
    x, y = plane()
    fold = expr_with_limits.piecewise_fold
    columns = [1, 2, 3] * 2
    with ThreadPoolExecutor(len(columns)) as pool:
        fits = pool.map(lambda c: DerivgenRegressor(linear_regression, epochs=1).fit(x[:, :c], y).module_, columns)
        modules = list(fits)
    assert expr_with_limits.piecewise_fold is fold
    assert modules[:3] == modules[3:]
    assert len(list(empty.glob("*.py"))) == 3


def test_a_change_of_the_generator_gives_another_module(empty, monkeypatch):
    x, y = blobs()
    DerivgenClassifier(softmax_regression, epochs=1).fit(x, y)
    monkeypatch.setattr(templates, "generator_digest", lambda: "another")
    DerivgenClassifier(softmax_regression, epochs=1).fit(x, y)
    assert len(list(empty.glob("*.py"))) == 2


def test_warnings_of_the_spec_come_with_the_generation(empty):
    def idle(n_features, n_outputs):
        model = softmax_regression(n_features, n_outputs)
        model.parameter("idle", 3)
        return model

    with pytest.warns(UserWarning, match="the objective does not depend on parameter idle"):
        DerivgenClassifier(idle, epochs=1).fit(*blobs())


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, inside):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERIVGEN_CACHE", str(tmp_path / "file" / inside))
    with pytest.raises(DerivgenError, match=r"the cache of modules .*file.* can't be used .*: set DERIVGEN_CACHE"):
        DerivgenClassifier(softmax_regression).fit(*blobs())


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"DERIVGEN_CACHE": "/modules", "XDG_CACHE_HOME": "/cache"}, "/modules"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/derivgen"),
        ("linux", {}, "/home/me/.cache/derivgen"),
        ("darwin", {"XDG_CACHE_HOME": "/cache"}, "/home/me/Library/Caches/derivgen"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/derivgen"),
        ("win32", {}, "/home/me/AppData/Local/derivgen"),
    ],
)
def test_the_folder_of_the_cache(monkeypatch, platform, variables, folder):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name in ("DERIVGEN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)
