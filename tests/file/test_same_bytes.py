"""The same spec gives the same bytes on every hash seed, Python and kind of install; a module runs on its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from example_files import EXAMPLES, NAMES
from numba.core.dispatcher import Dispatcher
from sampled import EVERY_CASE, some

from derivgen import runtime
from derivgen.file import headers

ROOT = Path(__file__).parents[2]
GENERATION = ["sympy", "numpy", "click", "jinja2"]
FEW = ("xor", "option_greeks", "digits_convolutional")  # a network, functions of derivatives, layers with both modes
OTHER_PYTHONS = ("/usr/bin/python3", *(f"python3.{minor}" for minor in range(11, 16)))


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version_of(python: str) -> str | None:
    """Major and minor version of an interpreter that can make environments, or None."""
    found = shutil.which(python)
    if found is None:
        return None
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([found, "-c", code], capture_output=True, text=True)
    version = done.stdout.strip()
    return version if done.returncode == 0 and tuple(map(int, version.split("."))) >= (3, 11) else None


def environment(folder: Path, python: str, *packages: str | Path) -> Path:
    """The Python of a fresh environment with these packages and what they need, and nothing else."""
    run(python, "-m", "venv", "--without-pip", folder)
    install(folder / "bin" / "python", *packages)
    return folder / "bin" / "python"


def install(python: Path, *arguments: str | Path) -> None:
    """Files are not compiled: most of SymPy's are never imported."""
    pip = ("pip", "--python", python, "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    run(sys.executable, "-m", *pip, *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


GENERATE = """
import sys
from derivgen.command.main import main
for path in sys.argv[1:]:
    main(["generate", path], standalone_mode=False)
"""


def assert_same_elsewhere(
    folder: Path, python: str | Path, names: Sequence[str] = tuple(NAMES), **environment: str
) -> None:
    """Each example's module has the bytes of the committed one, but for the derivgen that it names."""
    for name in names:
        shutil.copy(EXAMPLES / name / f"{name}.py", folder)
    run(python, "-c", GENERATE, *(folder / f"{name}.py" for name in names), **environment)
    for name in names:
        made, committed = (path / f"{name}_kernels.py" for path in (folder, EXAMPLES / name))
        assert headers.is_same(committed.read_bytes().decode(), made.read_bytes().decode()), name


HASHES = """
import hashlib, random
from derivgen import Model, optimizers, schedules
from derivgen.pipeline import generate_body
from random_specs import Writer
models = [Writer(random.Random(k)).spec(3).model() for k in range(6)]
for rule in optimizers.BY_NAME.values():
    model = Model("ruled")
    w = model.parameter("w", 3)
    i = model.indices(i=3)
    model.minimize(sum(w[k]**2 for k in range(3)))
    model.update(rule(learning_rate=schedules.warm_up(0.02, 10)) if rule is not optimizers.rprop else rule())
    models.append(model)
print([hashlib.sha256(generate_body(model).body.encode()).hexdigest() for model in models])
"""


def test_random_specs_and_all_rules_under_other_hash_seeds():
    """What goes through a set must not show in the order of anything."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    assert (
        len({run(sys.executable, "-c", HASHES, PYTHONHASHSEED=seed, PYTHONPATH=path) for seed in ("0", "3", "5")}) == 1
    )


def test_from_a_wheel_and_under_another_python(tmp_path, wheel):
    """This Python, with a few examples, which need all files of the wheel, and the newest that the machine has; in
    `make fuzz` each other version in between too.
    """
    own = sysconfig.get_python_version()
    pythons = {version_of(python): python for python in (*OTHER_PYTHONS, sys.executable)}
    pythons.pop(None, None)
    assert own in pythons
    newest = max(pythons, key=lambda version: [*map(int, version.split("."))])
    for version in pythons if EVERY_CASE else {own, newest}:
        python = pythons[version]
        inside = environment(tmp_path / f"python{version}", python, *GENERATION)
        install(inside, "--no-deps", wheel)
        folder = tmp_path / f"modules{version}"
        folder.mkdir()
        assert_same_elsewhere(folder, inside, FEW if version == own else some(NAMES), PYTHONPATH="", PYTHONHASHSEED="1")


def test_under_the_oldest_sympy_and_numpy_and_another_hash_seed(tmp_path):
    """Those that pyproject.toml allows, one after another: the newest are what a fresh environment has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = (re.match(r"(sympy|numpy)>=([\d.]+)", text) for text in project["dependencies"])
    oldest = [f"{match[1]}=={match[2]}.*" for match in found if match]
    assert len(oldest) == 2
    pythons = (sys.executable, *OTHER_PYTHONS)
    python = next(p for p in pythons if version_of(p) in ("3.11", "3.12"))  # for others there is no such NumPy
    inside = environment(tmp_path / "oldest", python, *oldest, "click", "jinja2")
    folder = tmp_path / "modules"
    folder.mkdir()
    assert_same_elsewhere(folder, inside, some(NAMES), PYTHONPATH=str(ROOT), PYTHONHASHSEED="2")


TRAIN = """
import sys
import numpy as np
import digits_kernels as module
assert not {"derivgen", "sympy", "sklearn"} & set(sys.modules)
data = np.load("data.npz")
parameters, state = module.initial_parameters(0), module.optimizer_state()
for epoch in range(3):
    order = np.random.default_rng(epoch).permutation(len(data["x"]))
    module.train_epoch(parameters, state, order, 32, data["x"], data["y"], learning_rate=0.1)
np.save("parameters.npy", parameters)
np.save("predicted.npy", module.predict(parameters, data["x"]))
"""


def test_a_module_needs_numpy_scipy_and_numba_only(tmp_path):
    inside = environment(tmp_path / "plain", sys.executable, "numpy", "scipy", "numba")
    assert "No module" in subprocess.run([inside, "-c", "import sympy"], capture_output=True, text=True).stderr
    rng = np.random.default_rng(0)
    data = {"x": rng.random((100, 64), np.float32), "y": rng.integers(0, 10, 100)}
    np.savez(tmp_path / "data.npz", **data)
    shutil.copy(EXAMPLES / "digits" / "digits_kernels.py", tmp_path)
    subprocess.run([inside, "-c", TRAIN], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ""})
    module = runtime.load(EXAMPLES / "digits" / "digits_kernels.py")
    parameters, state = module.initial_parameters(0), module.optimizer_state()
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(100)
        module.train_epoch(parameters, state, order, 32, data["x"], data["y"], learning_rate=0.1)
    np.testing.assert_array_equal(np.load(tmp_path / "parameters.npy"), parameters)
    np.testing.assert_array_equal(np.load(tmp_path / "predicted.npy"), module.predict(parameters, data["x"]))


HISTORIES = """
import sys
import numpy as np
import digits_kernels as module
rng = np.random.default_rng(0)
x, y = rng.random((100, 64), np.float32), rng.integers(0, 10, 100)
parameters, state = module.initial_parameters(0), module.optimizer_state()
work, views = module.workspace(100), module.views(parameters)
if "kernel" in sys.argv:
    module.a1_backward(x, work.a1, work.a1_bar, work.a1_sum_bar, views["b1"].copy(), views["W1"].copy())
if "gradient" in sys.argv:
    module.loss_and_gradient(parameters, x, y)
for _ in range(3):
    module.train_epoch(parameters, state, np.arange(100), 32, x, y, learning_rate=0.1)
loss, gradient = module.loss_and_gradient(parameters, x, y)
print(parameters.tobytes().hex(), gradient.tobytes().hex(), loss)
"""


def test_numbers_do_not_depend_on_the_cache_or_on_earlier_calls(tmp_path):
    """Compiled or loaded, with the kernels' own machine code in the process or without it."""
    shutil.copy(EXAMPLES / "digits" / "digits_kernels.py", tmp_path)
    script = tmp_path / "history.py"
    script.write_text(HISTORIES, encoding="utf-8")
    histories = [["gradient"], [], ["kernel"], ["kernel", "gradient"]]  # the first process compiles
    assert len({run(sys.executable, script, *history) for history in histories}) == 1


def test_a_second_module_is_dispatched_as_fast_as_the_first(monkeypatch):
    """Numba tells NamedTuples apart by the name of their class; if two modules share one, each call is typed anew."""
    typed = []
    slow = Dispatcher._compile_for_args

    def counted(self, *args, **kws):
        typed.append(self)
        return slow(self, *args, **kws)

    monkeypatch.setattr(Dispatcher, "_compile_for_args", counted)
    modules = [runtime.load(EXAMPLES / name / f"{name}_kernels.py") for name in ("xor", "rosenbrock")]
    for _ in range(2):  # the first calls compile, or load
        typed.clear()
        for module in modules:
            parameters = module.initial_parameters(0)
            module.update(parameters, parameters.copy(), module.optimizer_state(), learning_rate=0.1)
    assert typed == []
