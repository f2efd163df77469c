"""Estimators for scikit-learn's pipelines, searches and cross-validation, made from models.

A model function receives (n_features, n_outputs) and returns a Model for data of that shape. Its module is generated
when `fit` first gets such data, and is kept.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from derivgen import runtime
from derivgen.file.contract import DTYPES
from derivgen.project.module_cache import LOCK, cache_folder, cached_module, loaded
from derivgen.runtime.data.inputs import unmasked
from derivgen.runtime.predicting import mixes_rows

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_array, check_random_state, check_scalar
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("the estimators need scikit-learn 1.6 or later: pip install 'derivgen[sklearn]'") from error

# A fitted estimator predicts without SymPy, also where it was unpickled: what declares and generates is imported late.
if TYPE_CHECKING:
    from derivgen.declare.model import Model
    from derivgen.form.program import Program, Tensor

__all__ = ["DerivgenClassifier", "DerivgenRegressor", "cache_folder", "default_classifier", "default_regressor"]

Array = np.ndarray[Any, Any]
ModelFunction: TypeAlias = "Callable[[int, int], Model]"

HIDDEN_UNITS = 32  # of the default models
LEARNING_RATE = 0.003  # of the default models
BLOCK = 1024  # rows of a prediction at once: its buffers grow with them
OFF_ONE = 1e-3  # how far a row of probabilities may be from 1 in all: rounding is far below, a score far above


# ---- the default models


def default_classifier(n_features: int, n_outputs: int) -> Model:
    """A layer of 32 tanh units, then softmax, trained on the cross-entropy with Adam.

    For features with mean 0 and deviation about 1.
    """
    from derivgen import activations, layers, losses

    model, hidden = default_network("classifier", n_features)
    y = model.labels("y", hidden.shape[0], classes=n_outputs)
    p = activations.softmax(layers.dense(hidden, n_outputs, name="scores"), name="probabilities")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.predict(p)
    return model


def default_regressor(n_features: int, n_outputs: int) -> Model:
    """A layer of 32 tanh units, then a linear one, trained on the mean squared error with Adam.

    For features and targets with mean 0 and deviation about 1.
    """
    from derivgen import layers, losses

    model, hidden = default_network("regressor", n_features)
    target = model.input("target", hidden.shape[0], n_outputs)
    prediction = layers.dense(hidden, n_outputs, name="prediction")
    model.minimize(losses.mean_squared_error(prediction, target))
    model.predict(prediction)
    return model


def default_network(name: str, n_features: int) -> tuple[Model, Any]:
    """(a model with the input x, its hidden layer)"""
    import sympy as sp

    from derivgen import Model, layers, optimizers

    model = Model(name)
    model.update(optimizers.adam(learning_rate=LEARNING_RATE))
    x = model.input("x", model.batch("N"), n_features)
    return model, layers.dense(x, HIDDEN_UNITS, sp.tanh, name="hidden")


# ---- the estimators


class DerivgenEstimator(BaseEstimator):
    """The parts that classifier and regressor share. A fitted one holds its module's text: it can be pickled and
    copied.
    """

    def __init__(
        self,
        model: ModelFunction | None = None,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float | None = None,
        hyperparameters: Mapping[str, float] | None = None,
        dtype: str = "float64",
        native: bool = False,
        validation_split: float = 0.0,
        early_stopping: int | None = None,
        keep_best: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.hyperparameters = hyperparameters
        self.dtype = dtype
        self.native = native
        self.validation_split = validation_split
        self.early_stopping = early_stopping
        self.keep_best = keep_best
        self.random_state = random_state
        self.verbose = verbose

    @property
    def module_(self) -> runtime.GeneratedModule:
        """The generated module, loaded from the cache; it is written there again if it is missing."""
        check_is_fitted(self, "parameters_")
        return loaded(*self._module)

    def _check_parameters(self) -> None:
        if self.model is not None and not callable(self.model):
            raise ValueError(
                f"model must be a function of (n_features, n_outputs) that returns a derivgen Model, or None, found "
                f"{self.model!r}: define the model inside such a function and pass the function"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, found {self.dtype!r}")
        if not isinstance(self.native, bool):
            raise TypeError(f"native must be True or False, found {self.native!r}")
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        if self.early_stopping is not None:
            check_count("early_stopping", self.early_stopping)
        check_scalar(
            self.validation_split, "validation_split", numbers.Real, min_val=0, max_val=1, include_boundaries="left"
        )
        if self.learning_rate is not None:
            check_scalar(self.learning_rate, "learning_rate", numbers.Real, min_val=0, include_boundaries="neither")
        if self.hyperparameters is not None:
            check_hyperparameters(self.hyperparameters, self.learning_rate)

    def _train(self, default: ModelFunction, x: Array, y: Array, n_outputs: int) -> None:
        """Train the model for data of this shape; y are labels (rows,), or targets (rows, n_outputs)."""
        needs = Needs(type(self).__name__, x.shape[1], n_outputs, classifies=y.ndim == 1)
        with LOCK:
            model, program = needs.declared(default if self.model is None else self.model)
            features, target = needs.inputs(model, program)
            kept = cached_module(model, program, self.dtype, self.native)
        module = loaded(*kept)
        hyperparameters = self._hyperparameters(module)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        if needs.classifies:  # now, and not after hours of training
            check_probabilities(predictions(module, module.initial_parameters(seed), x[:1]))
        fit = runtime.fit(
            module,
            {features.name: writeable(x), target.name: writeable(y.reshape(len(y), *map(int, target.shape[1:])))},
            epochs=int(self.epochs),
            batch_size=int(self.batch_size),
            seed=seed,
            validation_split=float(self.validation_split),
            early_stopping=None if self.early_stopping is None else int(self.early_stopping),
            keep_best=bool(self.keep_best),
            progress=bool(self.verbose),
            **hyperparameters,
        )
        self._module = kept  # and not the module, which can't be pickled
        self.parameters_ = fit.parameters
        self.history_ = fit.history
        self.loss_curve_ = [epoch.loss for epoch in fit.history]

    def _hyperparameters(self, module: ModuleType) -> dict[str, Any]:
        """What is given; `fit` refuses those that the update rule does not have."""
        given = dict(self.hyperparameters or {})
        if self.learning_rate is None:
            return given
        known = [p.name for p in inspect.signature(module.update).parameters.values() if p.kind is p.KEYWORD_ONLY]
        if "learning_rate" not in known:
            raise ValueError(
                f"learning_rate is {self.learning_rate}, and the update rule of the model has no such hyperparameter: "
                f"found {', '.join(known) or 'none'}. Leave learning_rate at None, or give the model another rule"
            )
        return {**given, "learning_rate": float(self.learning_rate)}

    def _predictions(self, X: Any) -> Array:
        """What the module predicts for these rows."""
        check_is_fitted(self, "parameters_")
        x = validate_data(self, unmasked("X", X), reset=False, dtype=self.parameters_.dtype)
        # joblib hands large arrays to its processes as memory that can't be written, which modules refuse.
        return predictions(self.module_, writeable(self.parameters_), x)


class DerivgenClassifier(ClassifierMixin, DerivgenEstimator):
    """A classifier that trains a derivgen model.

    `model` is a function of (n_features, n_outputs), the latter being the number of classes. It returns a Model with
    one input (N, n_features), labels (N,) of n_outputs classes, and a prediction (N, n_outputs) that depends on the
    input only: probabilities, where each row sums to 1. None is `default_classifier`.

    - `epochs`: passes over the rows, at most. `batch_size`: rows in a step.
    - `learning_rate`: the model's if None.
    - `hyperparameters`: other ones of the update rule, by name, as in {"weight_decay": 0.01}; the model's if omitted.
      `dtype`: of the module, float64 or float32. `native`: have the system's C compiler compile it, and not numba.
    - `validation_split`: the fraction of rows held out, whose loss is in `history_`.
    - `early_stopping`: end after this many epochs without a smaller loss, on the rows held out if there are any.
    - `keep_best`: keep the parameters of the epoch with the smallest such loss, not those of the last one.
    - `random_state`: of the initial parameters, the order of rows, and other random numbers.
    - `verbose`: show progress.

    Fitted: `classes_`, `parameters_` (P,), `history_` (an Epoch for each pass), `loss_curve_`, `module_`. Raises
    ValueError if the model does not fit, NonFiniteError if training diverges.
    """

    def fit(self, X: Any, y: Any) -> DerivgenClassifier:
        """Train a new model on rows X (rows, features) with classes y (rows,)."""
        self._check_parameters()
        X, y = validate_data(self, unmasked("X", X), unmasked("y", y), dtype=self.dtype)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class, {classes.tolist()[0]!r}: a classifier needs at least 2, so give rows of another "
                "one"
            )
        self._train(default_classifier, X, labels.astype(np.int64), len(classes))
        self.classes_ = classes
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, shape (rows,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of `classes_`, shape (rows, classes); ValueError if the model's predictions are not
        probabilities.
        """
        return check_probabilities(self._predictions(X))


class DerivgenRegressor(RegressorMixin, DerivgenEstimator):
    """A regressor that trains a derivgen model, with one output or several.

    `model` is a function of (n_features, n_outputs). It returns a Model with one input (N, n_features), one input for
    the targets, (N, n_outputs) or, for one output, (N,), and a prediction of the targets' shape that depends on the
    first input only. None is `default_regressor`, which learns best from targets with mean 0 and deviation 1: see
    scikit-learn's TransformedTargetRegressor. Otherwise as `DerivgenClassifier`, without `classes_`.
    """

    def fit(self, X: Any, y: Any) -> DerivgenRegressor:
        """Train a new model on rows X (rows, features) with targets y (rows,) or (rows, outputs)."""
        self._check_parameters()
        X, y = validate_data(
            self, unmasked("X", X), unmasked("y", y), dtype=self.dtype, multi_output=True, y_numeric=True
        )
        y = check_array(y, dtype=self.dtype, ensure_2d=False, input_name="y", estimator=self)
        targets = y.reshape(len(y), -1)
        self._train(default_regressor, X, targets, targets.shape[1])
        self._flat = y.ndim == 1
        return self

    def predict(self, X: Any) -> Array:
        """The prediction for each row, shape (rows,) if the targets given to `fit` had that shape, else (rows,
        outputs).
        """
        prediction = self._predictions(X)
        return prediction.reshape(len(prediction), *(() if self._flat else (-1,)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool):  # an integer to Python, and `early_stopping` is one in other estimators
        raise TypeError(f"{name} must be a number of at least 1, found {value}")
    check_scalar(value, name, numbers.Integral, min_val=1)


def check_hyperparameters(given: Any, learning_rate: Any) -> None:
    """Raise where these are none, whatever the update rule."""
    if not isinstance(given, Mapping):
        raise TypeError(f"hyperparameters must be a mapping, as {{'weight_decay': 0.01}}, or None, found {given!r}")
    for name in given:
        if name in inspect.signature(runtime.fit).parameters:
            raise ValueError(
                f"hyperparameters must be those of the update rule, found {name!r}, an argument of fit: give it to the "
                "estimator if it has a parameter of that name"
            )
    if learning_rate is not None and "learning_rate" in given:
        raise ValueError(f"learning_rate is given twice, as {learning_rate} and in hyperparameters: leave one out")


def predictions(module: ModuleType, parameters: Array, x: Array) -> Array:
    """What the module predicts, in float64, the precision in which scikit-learn compares and scores."""
    length = len(x) if mixes_rows(module) else BLOCK
    blocks = [writeable(x[start : start + length]) for start in range(0, len(x), length)]
    return np.concatenate([module.predict(parameters, block) for block in blocks]).astype(np.float64)


def writeable(array: Array) -> Array:
    """The array, or a copy where it can't be written: numba would compile all kernels again for such."""
    return np.require(array, requirements=["C", "W"])


def check_probabilities(prediction: Array) -> Array:
    """The prediction itself; ValueError where its rows are no probabilities."""
    bad = (prediction < 0).any(axis=1) | ~(np.abs(prediction.sum(axis=1) - 1) <= OFF_ONE)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"the model of a DerivgenClassifier must predict probabilities, at least 0 and in each row 1 in all, found "
            f"{prediction[row]} for row {row}: predict activations.softmax(scores, name=...), not the scores"
        )
    return prediction


# ---- what a model must offer


@dataclass(frozen=True, slots=True)
class Needs:
    """What an estimator needs of the model for its data."""

    estimator: str
    n_features: int
    n_outputs: int
    classifies: bool

    def declared(self, function: ModelFunction) -> tuple[Model, Program]:
        """The function's model for the data, and its program; raises SpecError if the model has mistakes."""
        from derivgen.declare.model import Model
        from derivgen.pipeline import declared_program

        model = function(self.n_features, self.n_outputs)
        if not isinstance(model, Model):
            raise ValueError(
                f"{self.estimator}: the model function must return a derivgen Model, found {model!r} for n_features="
                f"{self.n_features}, n_outputs={self.n_outputs}: end it in `return model`"
            )
        return model, declared_program(model)

    def inputs(self, model: Model, program: Program) -> tuple[Tensor, Tensor]:
        """(the input of the features, that of the labels or targets); ValueError where the model offers others."""
        from derivgen.form.program import Role

        N = next((name for name, value in program.sizes if not value.is_Integer), "N")
        inputs, read = program.of_role(Role.INPUT, Role.LABELS), tensors_of_prediction(program)
        features, targets = [t for t in inputs if t.name in read], [t for t in inputs if t.name not in read]
        predicted = [shape_text(program.tensor(program.prediction))] if program.prediction else []
        outputs = [f"({N}, {self.n_outputs})"]
        if self.classifies:
            wanted, call = [f"labels ({N},) of {self.n_outputs} classes"], f"labels(..., {N}, classes=n_outputs)"
        else:
            outputs += [f"({N},)"] if self.n_outputs == 1 else []
            wanted, call = [f"an input {shape}" for shape in outputs], f"input(..., {N}, n_outputs)"
        require = functools.partial(self.require, model)
        advice = f"declare model.input(..., {N}, n_features), and model.predict(...) a tensor that depends on it alone"
        require("a prediction made from", [f"an input ({N}, {self.n_features})"], map(input_text, features), advice)
        require("beside it", wanted, map(input_text, targets), f"declare model.{call}, and no other input")
        outputs = outputs if self.classifies else [shape_text(targets[0])]
        require("a prediction of shape", outputs, predicted, "model.predict(...) a tensor of that shape")
        return features[0], targets[0]

    def require(self, model: Model, what: str, wanted: list[str], found: Iterable[str], advice: str) -> None:
        """Raise ValueError unless one is found, and it is one of those wanted."""
        found = list(found)
        if len(found) == 1 and found[0] in wanted:
            return
        place = f"{model.place}: " if model.place else ""
        raise ValueError(
            f"{place}{self.estimator} needs of the model {model.name}, for n_features={self.n_features} and n_outputs="
            f"{self.n_outputs}, {what} {' or '.join(wanted)}, found {', '.join(found) or 'none'}: {advice}"
        )


def input_text(tensor: Tensor) -> str:
    """`an input (N, 4)`, `labels (N,) of 3 classes`"""
    shape = shape_text(tensor)
    return f"an input {shape}" if tensor.classes is None else f"labels {shape} of {tensor.classes} classes"


def shape_text(tensor: Tensor) -> str:
    """`(N, 4)`, `(N,)`, `()`"""
    return str(tuple(tensor.shape))


def tensors_of_prediction(program: Program) -> set[str]:
    """What `predict` reads, itself included."""
    from derivgen.prepare.modes import in_evaluation

    if program.prediction is None:
        return set()
    needed = in_evaluation(program).live([program.prediction])
    return {program.prediction, *(read.tensor for s in needed.statements for read in s.reads)}
