"""Metrics against scikit-learn's, what each refuses, and how the target is found."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics as reference
from sklearn.exceptions import UndefinedMetricWarning

from derivgen.runtime.train.metrics import METRICS, evaluate_metrics, resolve_metrics, target_of


def entry(name, *shape, classes=None, ignore=None):
    return SimpleNamespace(name=name, shape=shape, dtype="float32", classes=classes, ignore=ignore)


def module(*inputs, predict=lambda parameters, x: x, axis="N"):
    return SimpleNamespace(INPUTS=inputs, SAMPLE_AXIS=axis, predict=predict)


X, Y, T = entry("x", "N", 3), entry("y", "N", classes=4), entry("t", "N")
CLASSIFIER = module(X, Y)


def value(name, target_entry, target, prediction):
    return evaluate_metrics({name: METRICS[name]}, target_entry, target, prediction)[name]


# ---- labels

# Of absent classes scikit-learn warns.
pytestmark = pytest.mark.filterwarnings("ignore:(y_pred contains classes not in y_true|A single label was found)")


def of_scores(function, **arguments):
    return lambda labels, scores: function(labels, scores.argmax(-1), **arguments)


def top_5(labels, scores):
    return reference.top_k_accuracy_score(labels, scores, k=5, labels=np.arange(scores.shape[-1]))


LABEL_REFERENCES = {
    "accuracy": of_scores(reference.accuracy_score),
    "balanced_accuracy": of_scores(reference.balanced_accuracy_score),
    "precision": of_scores(reference.precision_score, average="macro", zero_division=0),
    "recall": of_scores(reference.recall_score, average="macro", zero_division=0),
    "f1": of_scores(reference.f1_score, average="macro"),
    "top_5_accuracy": top_5,
}


def classified(rows, classes, seed, dtype=np.float32):
    """Labels and scores that favour the label; a third of the classes is no label."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(generator.permutation(classes)[: max(2, 2 * classes // 3)], rows)
    scores = generator.normal(size=(rows, classes)).astype(dtype)
    scores[np.arange(rows), labels] += 1
    return labels, scores


@pytest.mark.parametrize("name", LABEL_REFERENCES)
@pytest.mark.parametrize(("rows", "classes"), [(1, 6), (7, 30), (90, 9)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.uint64])
def test_label_metrics_are_scikit_learns(name, rows, classes, dtype):
    for seed in range(3):
        labels, scores = classified(rows, classes, seed)
        found = value(name, entry("y", "N", classes=classes), labels.astype(dtype), scores)
        assert isinstance(found, float)
        assert found == pytest.approx(LABEL_REFERENCES[name](labels, scores), abs=1e-14)


def test_two_classes_are_averaged_like_many():
    labels, scores = classified(60, 2, 0)
    for name in ("accuracy", "balanced_accuracy", "f1"):
        expected = LABEL_REFERENCES[name](labels, scores)
        assert value(name, entry("y", "N", classes=2), labels, scores) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", LABEL_REFERENCES)
def test_equal_scores_are_decided_as_scikit_learn_does(name):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 200)
    scores = generator.integers(0, 3, (200, 8)).astype(np.float32)
    expected = LABEL_REFERENCES[name](labels, scores)
    assert 0.05 < expected < 0.95
    assert value(name, entry("y", "N", classes=8), labels, scores) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", LABEL_REFERENCES)
def test_sequences_of_labels_count_each_position(name):
    labels, scores = classified(60, 9, 1)
    expected = LABEL_REFERENCES[name](labels, scores)
    found = value(name, entry("y", "N", 5, classes=9), labels.reshape(12, 5), scores.reshape(12, 5, 9))
    assert found == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", LABEL_REFERENCES)
@pytest.mark.parametrize("ignore", [-100, 255, 3])
def test_ignored_labels_are_left_out(name, ignore):
    labels, scores = classified(80, 9, 2)
    counts = np.arange(80) % 4 > 0
    counts &= labels != ignore
    labels[~counts] = ignore
    declared = entry("y", "N", classes=9, ignore=ignore)
    expected = LABEL_REFERENCES[name](labels[counts], scores[counts])
    assert value(name, declared, labels, scores) == pytest.approx(expected, abs=1e-14)
    if ignore == 255:
        assert value(name, declared, labels.astype(np.uint8), scores) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", LABEL_REFERENCES)
@pytest.mark.parametrize(
    ("declared", "labels", "scores", "message"),
    [
        (
            Y,
            (5,),
            (5,),
            r"a prediction of shape \(5, 4\), found \(5,\): give class scores \(N, C\), or a custom function",
        ),
        (Y, (5,), (5, 3), r"of shape \(5, 4\), found \(5, 3\)"),
        (Y, (5,), (4, 4), r"of shape \(5, 4\), found \(4, 4\)"),
        (entry("y", "N", 7, classes=4), (5, 7), (5, 4, 7), r"\(5, 7, 4\), found \(5, 4, 7\): .* \(N, 7, C\)"),
        (
            T,
            (5,),
            (5,),
            "compares labels, and the input t holds numbers: declare it by model.labels, or give a custom function",
        ),
        (entry("y", "N", classes=4, ignore=0), (5,), (5, 4), "nothing to compare: y has no row with a label"),
    ],
)
def test_what_is_no_labels_with_class_scores_is_refused(name, declared, labels, scores, message):
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        value(name, declared, np.zeros(labels, np.int64), np.zeros(scores, np.float32))


def test_the_top_five_of_five_are_refused():
    with pytest.raises(ValueError, match="of 4 classes is always 1"):
        value("top_5_accuracy", Y, np.zeros(3, np.int64), np.zeros((3, 4)))


# ---- numbers

NUMBER_REFERENCES = {
    "r2": reference.r2_score,
    "explained_variance": reference.explained_variance_score,
    "mean_squared_error": reference.mean_squared_error,
    "root_mean_squared_error": reference.root_mean_squared_error,
    "mean_absolute_error": reference.mean_absolute_error,
}


def test_every_metric_of_the_table_has_its_reference_here():
    assert set(METRICS) == {*LABEL_REFERENCES, *NUMBER_REFERENCES}


@pytest.mark.parametrize("name", NUMBER_REFERENCES)
@pytest.mark.parametrize("shape", [(2,), (50,), (50, 1), (50, 4)])
def test_number_metrics_are_scikit_learns(name, shape):
    for seed in range(5):
        generator = np.random.default_rng(seed)
        target = 5 + generator.normal(size=shape) * np.arange(1, shape[-1] + 1)
        prediction = target + generator.normal(size=shape) + 0.5
        expected = NUMBER_REFERENCES[name](target, prediction)
        assert value(name, T, target, prediction) == pytest.approx(expected, rel=1e-12)
        single = [a.astype(np.float32) for a in (target, prediction)]
        assert value(name, T, *single) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NUMBER_REFERENCES)
def test_further_axes_are_outputs(name):
    target, prediction = np.random.default_rng(0).normal(size=(2, 20, 3, 4))
    expected = NUMBER_REFERENCES[name](target.reshape(20, -1), prediction.reshape(20, -1))
    assert value(name, T, target, prediction) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["r2", "explained_variance"])
@pytest.mark.parametrize("error", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1e-8]])
def test_constant_targets_are_explained_as_scikit_learn_says(name, error):
    target = np.column_stack([np.full(4, -2.0), [1.0, 2, 3, 4]])
    prediction = target + np.array(error)[:, None]
    assert value(name, T, target, prediction) == pytest.approx(NUMBER_REFERENCES[name](target, prediction), rel=1e-12)


def test_a_constant_whose_mean_is_rounded_is_constant_all_the_same():
    target = np.full(3, 0.1)
    assert target.mean() != target[0]
    assert value("r2", T, target, target + 1) == 0
    assert value("explained_variance", T, target, target + 1) == 1


def test_spreads_keep_their_digits_far_from_zero():
    target, prediction = np.random.default_rng(0).normal(size=(2, 100))
    near = value("explained_variance", T, target, prediction)
    far = value("explained_variance", T, target + 1e8, prediction + 1e8)
    assert far == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(NUMBER_REFERENCES) - {"r2"}))
def test_a_single_row_has_a_value(name):
    target, prediction = np.array([[1.0, 2.0]]), np.array([[1.5, 4.0]])
    assert value(name, T, target, prediction) == pytest.approx(NUMBER_REFERENCES[name](target, prediction))


def test_r2_of_a_single_row_is_refused_where_scikit_learn_gives_nan():
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(reference.r2_score([1.0], [2.0]))
    with pytest.raises(ValueError, match="r2 needs at least two rows"):
        value("r2", T, np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="r2 needs at least two rows"):
        value("r2", entry("t"), np.float64(1), np.float64(2))


@pytest.mark.parametrize("name", NUMBER_REFERENCES)
@pytest.mark.parametrize(
    ("declared", "target", "prediction", "message"),
    [
        (T, (5,), (5, 1), r"of the shape of t, \(5,\), found \(5, 1\)"),  # NumPy would make 25 differences
        (T, (5, 2), (5,), r"of the shape of t, \(5, 2\), found \(5,\)"),
        (Y, (5,), (5,), "compares numbers, and the input y holds labels"),
    ],
)
def test_numbers_of_another_shape_and_labels_are_refused(name, declared, target, prediction, message):
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        value(name, declared, np.zeros(target), np.zeros(prediction))


# ---- by name, and functions of the caller's own


def largest_error(target, prediction):
    return np.max(np.abs(target - prediction))


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ((), []),
        ({}, []),
        ("f1", ["f1"]),
        (["f1", "accuracy"], ["f1", "accuracy"]),
        ({"largest": largest_error}, ["largest"]),
        (("r2", {"largest": largest_error, "again": largest_error}, "f1"), ["r2", "largest", "again", "f1"]),
    ],
)
def test_metrics_are_names_functions_or_both(metrics, names):
    found = resolve_metrics(CLASSIFIER, metrics)
    assert list(found) == names
    assert all(found[name] is METRICS[name] for name in names if name in METRICS)


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (["acuracy"], ValueError, "there is no 'acuracy'; did you mean accuracy\\? There are accuracy, balanced_"),
        (["mean_square_error"], ValueError, "did you mean mean_squared_error\\?"),
        (["zzz"], ValueError, "there is no 'zzz'\\. There are .*mean_absolute_error, and custom functions"),
        (["f1", "f1"], ValueError, "f1 is given twice"),
        (["f1", {"f1": largest_error}], ValueError, "f1 is given twice"),
        ([3], TypeError, "names, functions, and mappings from a name to a function, found 3"),
        ([largest_error, {"largest_error": largest_error}], ValueError, "largest_error is given twice"),
        ({"f1"}, TypeError, "found {'f1'}"),
        ({"mine": 3}, TypeError, "mine must be a function of \\(target, prediction\\), found int"),
        ({"mine": "f1"}, TypeError, "mine must be a function of \\(target, prediction\\), found str"),
        ({3: largest_error}, TypeError, "the name of a metric must be a string, found 3"),
        ({"": largest_error}, TypeError, "the name of a metric must be a string, found ''"),
    ],
)
def test_what_names_no_metric_is_refused(metrics, error, message):
    with pytest.raises(error, match=f"metrics.*{message}"):
        resolve_metrics(CLASSIFIER, metrics)


def test_a_function_of_the_callers_own_gets_everything_as_it_is():
    def seen(target, prediction):
        received.append((target, prediction))
        return np.float32(0.1)

    received = []
    target, prediction = np.array([1, -100, 2], np.int16), np.zeros(3, np.float32)
    declared = entry("y", "N", classes=4, ignore=-100)
    found = evaluate_metrics(resolve_metrics(CLASSIFIER, {"mine": seen}), declared, target, prediction)
    assert received[0][0] is target and received[0][1] is prediction
    assert found == {"mine": float(np.float32(0.1))} and type(found["mine"]) is float


@pytest.mark.parametrize("result", [True, 3, np.int8(3), np.array(0.5)])
def test_any_real_number_is_a_value(result):
    found = evaluate_metrics(resolve_metrics(CLASSIFIER, {"mine": lambda *_: result}), T, np.ones(2), np.ones(2))
    assert found == {"mine": float(result)} and type(found["mine"]) is float


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (None, TypeError, "mine must give a number, found NoneType"),
        ("0.5", TypeError, "mine must give a number, found str"),
        (np.ones(1), TypeError, "mine must give a number, found ndarray"),
        (1j, TypeError, "mine must give a number, found complex"),
        (np.nan, ValueError, "mine gave nan, expected a finite number"),
        (np.inf, ValueError, "mine gave inf, expected a finite number"),
    ],
)
def test_what_is_no_finite_number_is_refused(result, error, message):
    metrics = resolve_metrics(CLASSIFIER, {"mine": lambda *_: result})
    with pytest.raises(error, match=message):
        evaluate_metrics(metrics, T, np.ones(2), np.ones(2))


# ---- what is predicted


def test_a_model_that_predicts_nothing_has_no_metrics():
    silent = SimpleNamespace(INPUTS=(X, Y), SAMPLE_AXIS="N")
    assert resolve_metrics(silent, ()) == {}
    for call in (lambda: resolve_metrics(silent, ["accuracy"]), lambda: target_of(silent)):
        with pytest.raises(ValueError, match=r"the model predicts nothing: add model.predict"):
            call()


def predict_two(parameters, user, item, mean, seed=0):
    raise NotImplementedError


USER, ITEM = (entry(name, "N", classes=9) for name in ("user", "item"))
MEAN, PENALTY = entry("mean"), entry("penalty")


@pytest.mark.parametrize(
    ("described", "name"),
    [
        (module(X, Y), "y"),
        (module(Y, X), "y"),
        (module(X, entry("scale")), "scale"),
        (module(X, Y, entry("C")), "y"),
        (module(USER, ITEM, entry("rating", "N"), MEAN, PENALTY, predict=predict_two), "rating"),
    ],
)
def test_the_target_is_what_predict_does_not_take(described, name):
    assert target_of(described).name == name


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (module(X), "is not known, since predict takes every input: say which by target="),
        (module(X, Y, T), "could be any of y, t: say which by target="),
        (module(X, MEAN, PENALTY), "could be any of mean, penalty: say"),
        (module(X, MEAN, PENALTY, axis=None), "could be any of mean, penalty: say"),
    ],
)
def test_a_target_that_is_not_clear_must_be_named(described, message):
    with pytest.raises(ValueError, match=message):
        target_of(described)
