"""What uses modules works with native ones where numba can't be imported; checkpoints are those of either kind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import blocks_model
import numpy as np
import pytest
from example_files import EXAMPLES, kernels
from native_modules import data_for, native, needs_compiler, write_native

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.project.spec import load_target

pytestmark = needs_compiler

# numba is installed: an import of it must fail, not only be missed.
OPENING = """\
import sys

class Refusing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refusing())
import numpy as np
from derivgen import runtime
"""
CLOSING = """\
assert not {"numba", "llvmlite"} & sys.modules.keys()
print("done")
"""


def run_without_numba(text: str, folder: Path) -> None:
    script = OPENING + textwrap.dedent(text) + CLOSING
    environment = {**os.environ, "DERIVGEN_CACHE": str(folder / "cache"), "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr


def test_training(tmp_path: Path) -> None:
    write_native(blocks_model.model(), tmp_path)
    run_without_numba(
        """
        module = runtime.load("blocks_native.py")
        rng = np.random.default_rng(0)
        y = rng.integers(0, 4, 200)
        x = (rng.normal(size=(200, 9)) + 3 * np.eye(4, 9)[y]).astype(np.float32)
        data = {"x": x, "y": y}
        options = {"validation_split": 0.2, "metrics": ["accuracy"], "monitor": True, "progress": False}
        options["learning_rate"] = 0.02
        fit = runtime.fit(module, data, epochs=5, checkpoints="kept", **options)
        more = runtime.fit(module, data, epochs=12, checkpoints="kept", resume=True, **options)
        at_once = runtime.fit(module, data, epochs=12, **options)
        assert at_once.parameters.tobytes() == more.parameters.tobytes()
        assert more.history[-1].metrics["accuracy"] > 0.9 and more.history[-1].loss < fit.history[0].loss
        assert runtime.evaluate(module, more.parameters, data, metrics=["accuracy"])["accuracy"] > 0.9
        assert runtime.predict(module, more.parameters, {"x": x}).shape == (200, 4)
        found = runtime.minimize(module, data, parameters=more.parameters, options={"maxiter": 5})
        assert found.fun < module.loss(more.parameters, x, y)
        """,
        tmp_path,
    )


def test_least_squares_and_second_order(tmp_path: Path) -> None:
    for name in ("decay_curve", "rosenbrock"):
        write_native(load_target(str(EXAMPLES / name / f"{name}.py")).model, tmp_path)
    run_without_numba(
        """
        decay = runtime.load("decay_curve_native.py")
        t = np.linspace(0, 4, 40)
        p = decay.initial_parameters(0) * 1.3
        data = {e.name: np.ones(40) for e in decay.INPUTS} | {decay.INPUTS[0].name: t}
        found = runtime.least_squares(decay, data)
        assert found.success, found
        curve = runtime.fit_curve(decay, data)
        assert curve.success and np.isfinite(curve.parameters).all()
        banana = runtime.load("rosenbrock_native.py")
        inputs = {e.name: 1.0 for e in banana.INPUTS}
        method = "newton" if hasattr(banana, "hessian") else "trust-ncg"
        assert runtime.minimize(banana, inputs, method="L-BFGS-B").fun < 1e-6
        """,
        tmp_path,
    )


def test_estimators(tmp_path: Path) -> None:
    run_without_numba(
        """
        import pickle, shutil
        from sklearn.datasets import load_iris
        from derivgen.sklearn import DerivgenClassifier, DerivgenRegressor
        X, y = load_iris(return_X_y=True)
        X = (X - X.mean(0)) / X.std(0)
        classifier = DerivgenClassifier(epochs=20, random_state=0, native=True).fit(X, y)
        assert classifier.score(X, y) > 0.9
        again = pickle.loads(pickle.dumps(classifier))
        assert (again.predict(X) == classifier.predict(X)).all()
        regressor = DerivgenRegressor(epochs=2, random_state=0, native=True, dtype="float32").fit(X, X @ [1, 2, 3, 4])
        assert regressor.predict(X).shape == (150,)
        shutil.rmtree("cache")
        from derivgen.project import module_cache
        module_cache.load_module.cache_clear()
        assert pickle.loads(pickle.dumps(classifier)).score(X, y) > 0.9  # compiled again
        """,
        tmp_path,
    )


def test_an_estimator_takes_no_other_word(tmp_path: Path) -> None:
    from derivgen.sklearn import DerivgenClassifier

    with pytest.raises(TypeError, match="native must be True or False, found 'cc'"):
        DerivgenClassifier(native="cc").fit([[0.0], [1.0]], [0, 1])


def trained(module: ModuleType, folder: Path, epochs: int, resume: bool = False) -> runtime.Fit:
    data = data_for(module, rows=40)
    return runtime.fit(
        module, data, epochs=epochs, batch_size=8, seed=3, checkpoints=folder, resume=resume, progress=False
    )


@pytest.mark.parametrize("first", ["native", "numba"])
def test_checkpoints_are_of_either_kind(first: str, tmp_path: Path) -> None:
    """A training that one kind of module began, and the other one ends, is that of one kind."""
    own = native(load_target(str(EXAMPLES / "digits" / "digits.py")).model, tmp_path)
    modules = {"native": own, "numba": kernels("digits")}
    begun, ended = modules.pop(first), *modules.values()
    trained(begun, tmp_path / "kept", 2)
    fit = trained(ended, tmp_path / "kept", 4, resume=True)
    alone = trained(ended, tmp_path / "alone", 4)
    assert fit.history[-1].loss == pytest.approx(alone.history[-1].loss, rel=1e-4)
    assert np.abs(fit.parameters - alone.parameters).max() <= 1e-4 * np.abs(alone.parameters).max()


def test_python_can_not_interpret_a_library(tmp_path: Path) -> None:
    module = native(blocks_model.model(), tmp_path)
    with pytest.raises(DerivgenError, match="calls a library of C, which Python can't interpret: give the module that"):
        runtime.fit(module, data_for(module, 8), epochs=1, interpret=True, progress=False)
