"""The runtime: loading, fitting, and where a NaN came from."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
from contract_module import body_of, module_text, write_module

from derivgen import runtime
from derivgen.errors import PACKAGE, DerivgenError
from derivgen.runtime import nonfinite


@pytest.fixture
def module(tmp_path):
    return runtime.load(write_module(tmp_path))


@pytest.fixture
def bowl(tmp_path):
    return runtime.load(write_module(tmp_path, "bowl", "float64"))


def data(rows=40, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 2)).astype(np.float32)
    k = generator.integers(0, 2, rows)
    u = np.array([1.0, 2.0], np.float32)
    t = (x * u @ np.array([1, -1]) + np.array([0.5, -0.5])[k]).astype(np.float32)
    return {"x": x, "k": k, "t": t, "u": u}


def test_importing_the_runtime_imports_nothing_large():
    large = ("sympy", "numba", "rich", "matplotlib", "pyarrow", "safetensors")
    code = f"import sys, derivgen.runtime; print([m for m in {large} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- load


def test_a_loaded_module_keeps_its_file(tmp_path):
    path = write_module(tmp_path)
    module = runtime.load(str(path))
    assert module.__file__ == str(path)
    assert sys.modules[module.__name__] is module
    assert module.initial_parameters().shape == (4,)


def test_modules_of_one_name_in_two_folders_are_two(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = runtime.load(write_module(tmp_path / "a"))
    second = runtime.load(write_module(tmp_path / "b", dtype="float64"))
    assert first.__name__ != second.__name__
    assert (first.real, second.real) == (np.float32, np.float64)


def test_a_module_rewritten_at_once_is_the_new_one(tmp_path):
    path = write_module(tmp_path)
    assert runtime.load(path).real is np.float32
    path.write_text(module_text(dtype="float64"))
    assert runtime.load(path).real is np.float64


def without(name, body=None):
    return module_text(body=(body or body_of("regression")).replace(name, f"other_{name}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\nos.abort()\n", "not a generated module"),
        ("", "not a generated module"),
        (module_text().replace("CONTRACT = 1", "CONTRACT = 2"), "of contract version 2, this runtime knows version 1"),
        (without("CONTRACT"), "of contract version unknown, this runtime knows version 1"),
        (module_text() + "def (\n", "can't be imported, SyntaxError"),
        (module_text() + "import no_such_package\n", "can't be imported, ModuleNotFoundError"),
    ],
)
def test_what_is_no_module_of_this_contract_is_refused_with_the_reason(tmp_path, text, message):
    path = tmp_path / "m_kernels.py"
    path.write_text(text)
    known = set(sys.modules)
    with pytest.raises(DerivgenError, match=message) as refusal:
        runtime.load(path)
    assert str(path) in str(refusal.value)
    assert set(sys.modules) == known


def test_paths_without_a_module_are_refused(tmp_path):
    with pytest.raises(DerivgenError, match="does not exist"):
        runtime.load(tmp_path / "none.py")
    with pytest.raises(DerivgenError, match="is a folder"):
        runtime.load(tmp_path)


COMPILED = """
from sympy import Sum
from derivgen import Model

model = Model("line")
N = model.batch("N")
n = model.indices(n=N)
x, t, w = model.input("x", N), model.input("t", N), model.parameter("w", init="ones")
model.minimize(Sum((x[n] * w - t[n]) ** 2, n) / N)
"""

STEP = """
x = np.ones(3, np.float32)
print(m.loss_and_gradient(m.initial_parameters(), x=x, t=0 * x)[0])
print(m.train_epoch(m.initial_parameters(), m.optimizer_state(), np.arange(3), 2, x=x, t=0 * x))
"""


def test_the_cache_serves_every_way_to_import_a_module(tmp_path):
    """A cache that names a class of the module can't be read where the module has another name."""
    (tmp_path / "line.py").write_text(COMPILED)
    generate = f"from derivgen.command.main import main; main(['generate', {str(tmp_path / 'line.py')!r}])"
    by_name = "import numpy as np, line_kernels as m" + STEP
    in_package = by_name.replace("line_kernels as m", f"{tmp_path.name}.line_kernels as m")
    by_path = "import numpy as np; from derivgen import runtime; m = runtime.load('line_kernels.py')" + STEP
    paths = os.pathsep.join([str(PACKAGE.parent), str(tmp_path.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    outputs, caches = [], []
    for code in (generate, by_name, by_path, in_package):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        caches.append({p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.*.*")})
    assert outputs[1] == outputs[2] == outputs[3]
    assert caches[1] == caches[2] == caches[3] != {}


# ---- fit


def same(a, b):
    """Whether two states of the update rule are equal."""
    return type(a) is type(b) and all(map(np.array_equal, a, b))


def test_fit_learns_and_keeps_a_history(module):
    result = runtime.fit(module, data(), epochs=30, batch_size=8, learning_rate=0.05)
    losses = [epoch.loss for epoch in result.history]
    assert losses[-1] < 1e-3 < losses[0]
    assert [epoch.epoch for epoch in result.history] == list(range(1, 31))
    assert all(epoch.seconds > 0 and epoch.validation_loss is None for epoch in result.history)
    assert np.allclose(result.views["W"], [1, -1], atol=0.02)
    assert np.shares_memory(result.views["W"], result.parameters)
    assert result.parameters.dtype == np.float32


def test_fit_is_a_function_of_the_seed(module):
    same = [runtime.fit(module, data(), epochs=3, seed=5).parameters for _ in range(2)]
    other = runtime.fit(module, data(), epochs=3, seed=6).parameters
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], other)


def test_fit_is_what_its_steps_say(module):
    """Against repeated train_epoch with the same orders."""
    inputs = data()
    result = runtime.fit(module, inputs, epochs=2, batch_size=7, seed=1)
    generator = np.random.default_rng(1)
    parameters, state = module.initial_parameters(1), module.optimizer_state()
    for epoch in result.history:
        assert epoch.loss == module.train_epoch(parameters, state, generator.permutation(40), 7, **inputs)
    assert np.array_equal(parameters, result.parameters)
    assert same(state, result.state)


def test_rows_keep_their_order_without_shuffling(module):
    inputs = data()
    parameters = module.initial_parameters()
    module.train_epoch(parameters, module.optimizer_state(), np.arange(40), 8, **inputs)
    assert np.array_equal(runtime.fit(module, inputs, epochs=1, batch_size=8, shuffle=False).parameters, parameters)


def test_fit_goes_on_from_where_it_was_without_changing_it(module):
    first = runtime.fit(module, data(), epochs=1)
    kept, state = first.parameters.copy(), copy.deepcopy(first.state)
    second = runtime.fit(module, data(), epochs=1, parameters=first.parameters, state=first.state)
    assert np.array_equal(first.parameters, kept) and same(first.state, state)
    assert second.state.step == 2 * state.step
    assert second.history[0].loss < first.history[0].loss


def test_validation_rows_are_held_out(module):
    inputs = data(50)
    result = runtime.fit(module, inputs, epochs=2, batch_size=5, seed=3, validation_split=0.2)
    rows = np.random.default_rng(3).permutation(50)[:10]
    held_out = {name: inputs[name][rows] for name in "xkt"}
    assert result.history[-1].validation_loss == module.loss(result.parameters, u=inputs["u"], **held_out)
    assert result.state.step == 2 * 8  # 40 rows in batches of 5
    # What they hold never reaches the parameters.
    changed = {**inputs, "t": inputs["t"].copy()}
    changed["t"][rows] += 100
    again = runtime.fit(module, changed, epochs=2, batch_size=5, seed=3, validation_split=0.2)
    assert np.array_equal(again.parameters, result.parameters)
    assert again.history[-1].validation_loss > 1000


def test_a_model_without_a_sample_axis_descends(bowl):
    result = runtime.fit(bowl, {}, epochs=50)
    assert np.allclose(result.views["v"], 3, atol=1e-4)
    assert result.history[0].loss == 27
    with pytest.raises(ValueError, match="no sample axis"):
        runtime.fit(bowl, {}, validation_split=0.5)


def mangled(**changes):
    return {name: array for name, array in {**data(), **changes}.items() if array is not None}


@pytest.mark.parametrize(
    ("inputs", "arguments", "error", "message"),
    [
        (mangled(x=None), {}, TypeError, "input x is missing"),
        (mangled(u=None), {}, TypeError, "u"),
        (mangled(x=np.zeros((3, 2), np.float32)), {}, ValueError, "3 in x, 40 in k"),
        (mangled(x=np.float32(1)), {}, TypeError, "must be an array of shape .* found the number 1.0"),
        (mangled(**{name: array[:0] for name, array in data().items() if name != "u"}), {}, ValueError, "no rows"),
        (mangled(x=data()["x"] > 0), {}, TypeError, "x must be float32, found bool"),
        (mangled(extra=np.zeros(40)), {}, TypeError, "extra"),
        (data(), {"epochs": 0}, ValueError, "epochs must be at least 1"),
        (data(), {"epochs": 1.5}, TypeError, "epochs must be an integer"),
        (data(), {"validation_split": 1.0}, ValueError, "validation_split"),
        (data(), {"validation_split": 0.001}, ValueError, "leaves nothing"),
        (data(), {"friction": 0.9}, TypeError, "friction"),
    ],
)
def test_bad_arguments_of_fit_are_refused(module, inputs, arguments, error, message):
    with pytest.raises(error, match=message):
        runtime.fit(module, inputs, **arguments)


# ---- values that are not finite


def test_a_nan_in_an_input_is_named_with_its_place(module):
    inputs = data()
    inputs["t"][17] = np.nan
    with pytest.raises(runtime.NonFiniteError, match=r"the input t holds nan at t\[17\] \(1 such") as found:
        runtime.fit(module, inputs, seed=2)
    assert (found.value.tensor, found.value.epoch) == ("t", 1)
    assert np.array_equal(found.value.parameters, module.initial_parameters(2))
    assert isinstance(found.value, DerivgenError) and isinstance(found.value, ArithmeticError)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_infinite_start_is_named(module):
    start = module.initial_parameters()
    start[3] = np.inf
    with pytest.raises(runtime.NonFiniteError, match=r"training started with inf at b\[1\]") as found:
        runtime.fit(module, data(), parameters=start)
    assert found.value.tensor == "b"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_names_the_parameter_and_gives_back_the_last_good_ones(module):
    with pytest.raises(runtime.NonFiniteError, match="smaller learning rate") as found:
        runtime.fit(module, data(), epochs=1000, batch_size=40, learning_rate=10.0)
    assert found.value.tensor == "W" and found.value.epoch > 1
    assert np.isfinite(found.value.parameters).all()
    good = runtime.fit(module, data(), epochs=found.value.epoch - 1, batch_size=40, learning_rate=10.0)
    assert np.array_equal(found.value.parameters, good.parameters)


def test_a_loss_that_leaves_its_range_alone_is_named_loss(module):
    parameters = module.initial_parameters()
    vectors = (parameters, parameters, parameters)
    tensor, words = nonfinite.cause(module, data(), None, *vectors, np.inf, lambda: parameters, {})
    assert tensor == "loss" and "log of 0" in words


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_in_the_parameters_names_the_first_that_is_not_finite(module):
    with pytest.raises(runtime.NonFiniteError, match="the parameter W grew to") as found:
        runtime.fit(module, data(), epochs=2, batch_size=2, learning_rate=1e6)
    assert found.value.tensor == "W" and found.value.step > 1
    with pytest.raises(runtime.NonFiniteError, match=r"the parameter W became -?inf") as found:
        runtime.fit(module, data(), epochs=1, batch_size=40, learning_rate=1e39)
    assert (found.value.tensor, found.value.step) == ("W", 1)


def test_a_nan_among_the_validation_rows_is_found_too(module):
    inputs = data()
    row = np.random.default_rng(0).permutation(40)[0]
    inputs["x"][row, 1] = np.inf
    with pytest.raises(runtime.NonFiniteError, match=rf"x\[{row}, 1\]"):
        runtime.fit(module, inputs, seed=0, validation_split=0.25)


# ---- progress


def test_progress_is_shown_where_it_is_asked_for(module, capsys):
    runtime.fit(module, data(), epochs=2)
    assert capsys.readouterr().out == ""
    runtime.fit(module, data(), epochs=3, validation_split=0.5, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("  loss " in line and "  validation " in line for line in lines)
