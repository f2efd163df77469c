"""The commands: what they write, print and exit with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import pytest
from click.testing import CliRunner

from derivgen import store, templates
from derivgen.cli import main
from derivgen.errors import PACKAGE

SPEC = """
from sympy import Sum, cos, sin
from derivgen import Model

model = Model("{name}")
N = model.batch("N")
D, K = model.sizes(D=2, K=2)
n, d = model.indices(n=N, d=D)
x, k, t = model.input("x", N, D), model.labels("k", N, classes=K), model.input("t", N)
u = model.input("u", D)
W, b = model.parameter("W", D, init="normal"), model.parameter("b", K)
z = model.let("z", (n,), {function}(Sum(x[n, d] * u[d] * W[d], d) + b[k[n]]))
model.minimize(Sum((z[n] - t[n]) ** 2, n) / N)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spec():
    return write_spec()


def write_spec(path="wave.py", name="wave", function="sin"):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(SPEC.format(name=name, function=function))
    return Path(path)


def write_data(rows=40, **changes):
    generator = np.random.default_rng(0)
    arrays = {
        "x": generator.normal(size=(rows, 2)).astype(np.float32),
        "k": generator.integers(0, 2, rows),
        "t": generator.uniform(-0.5, 0.5, rows).astype(np.float32),
        "u": np.ones(2, np.float32),
    }
    np.savez("data.npz", **{**arrays, **changes})


def run(*arguments):
    """The result of a command that must not end in a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fail(*arguments, code=2):
    result = run(*arguments)
    assert result.exit_code == code, result.output
    return result.output


def files():
    return sorted(p.name for p in Path().iterdir() if p.name != "__pycache__")


# ---- generate


def test_generate_writes_the_module_beside_its_spec(folder):
    spec = write_spec("models/wave.py")
    assert succeed("generate", spec) == "models/wave_kernels.py: written\n"
    header = store.read_header(Path("models/wave_kernels.py").read_text())
    assert (header.model, header.command) == ("wave", "derivgen generate wave.py")


def test_generating_again_leaves_the_file_alone(spec):
    succeed("generate", spec)
    before = Path("wave_kernels.py").stat().st_mtime_ns
    assert succeed("generate", spec) == "wave_kernels.py: unchanged\n"
    assert Path("wave_kernels.py").stat().st_mtime_ns == before


def test_options_stand_in_the_header(spec):
    succeed("generate", spec, "--dtype", "float64", "-o", "other.py")
    header = store.read_header(Path("other.py").read_text())
    assert header.command == "derivgen generate wave.py --dtype float64 -o other.py"


def test_a_dtype_of_the_spec_is_no_option(spec):
    spec.write_text(spec.read_text().replace('Model("wave")', 'Model("wave", dtype="float64")'))
    succeed("generate", spec)
    text = Path("wave_kernels.py").read_text()
    assert store.read_header(text).command == "derivgen generate wave.py"
    assert "np.float64" in text
    succeed("generate", spec, "--dtype", "float32")
    assert store.read_header(Path("wave_kernels.py").read_text()).dtype == "float32"


def test_no_folder_reaches_the_module(folder):
    spec = write_spec("models/wave.py")
    succeed("generate", folder / spec, "-o", folder / "out.py")
    succeed("generate", spec, "-o", "models/out.py")
    assert Path("out.py").read_text() == Path("models/out.py").read_text()
    assert str(folder) not in Path("out.py").read_text()


def several():
    parts = [SPEC.format(name=name, function="sin").replace("model", name) for name in ("small", "large")]
    Path("pair.py").write_text("\n".join(parts))
    return "pair.py"


def test_several_models_go_to_a_module_each():
    succeed("generate", several())
    assert files() == ["pair.py", "pair_large_kernels.py", "pair_small_kernels.py"]
    header = store.read_header(Path("pair_small_kernels.py").read_text())
    assert header.command == "derivgen generate pair.py:small"
    assert succeed("check", "pair.py") == "2 up to date, 0 stale\n"


def test_one_model_of_several():
    succeed("generate", f"{several()}:large")
    assert files() == ["pair.py", "pair_large_kernels.py"]
    assert "pick one of pair.py:small, pair.py:large" in fail("generate", "pair.py", "-o", "out.py")
    assert "it has small, large" in fail("generate", "pair.py:tiny")


def test_a_hand_edit_is_refused_unless_forced(spec):
    succeed("generate", spec)
    module = Path("wave_kernels.py")
    text = module.read_text()
    module.write_text(text + "# mine\n")
    assert "edited by hand" in fail("generate", spec)
    assert module.read_text() == text + "# mine\n"
    assert succeed("generate", spec, "--force") == "wave_kernels.py: written\n"
    assert module.read_text() == text


def test_foreign_files_are_refused(spec):
    Path("notes.py").write_text("mine = 1\n")
    assert "was not generated by derivgen" in fail("generate", spec, "-o", "notes.py")
    assert Path("notes.py").read_text() == "mine = 1\n"


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_spec_itself_is_never_written_over(spec, force):
    before = spec.read_text()
    assert "is the spec itself" in fail("generate", spec, "-o", "./wave.py", *force)
    assert spec.read_text() == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/out.py", "Make the folder none first"),
        ("data.txt/out.py", "Not a directory"),
        ("taken.py", "taken.py is a folder"),
        ("taken", "taken is a folder"),
        ("out", "end it in .py"),
        ("/dev/null", "end it in .py"),
    ],
)
def test_an_output_that_cannot_be_written_leaves_nothing(spec, output, message):
    for folder in ("taken.py", "taken"):
        Path(folder).mkdir()
    Path("data.txt").touch()
    before = files()
    output = fail("generate", spec, "-o", output)
    assert output.startswith("error: ") and message in output
    assert files() == before


def test_a_full_disk_leaves_nothing(spec, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert "wave_kernels.py can't be written: No space left on device" in fail("generate", spec)
    assert files() == ["wave.py"]


def test_every_problem_of_a_spec_is_an_error_line(spec):
    spec.write_text(spec.read_text() + 'model.sizes(A=0)\nmodel.batch("not a name")\n')
    lines = fail("generate", spec).splitlines()
    assert [line.rpartition(".py:")[0] for line in lines] == ["error: wave"] * 2
    assert files() == ["wave.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "error: wave.py does not exist"),
        ("import sympy\n", "error: wave.py defines no model"),
        ("1 / 0\n", "error: wave.py:1: the spec raised ZeroDivisionError: division by zero"),
        ("x = (\n", "error: wave.py:1: not valid Python"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "check", "diff", "explain", "cost", "gradcheck", "train"])
def test_a_broken_spec_is_an_error_of_every_command(command, text, message):
    if text is not None:
        Path("wave.py").write_text(text)
    before = files()
    arguments = ["--data", "data.npz"] if command == "train" else []
    assert message in fail(command, "wave.py", *arguments)
    assert files() == before


def test_warnings_go_to_stderr_and_the_module_is_written(spec):
    spec.write_text(spec.read_text() + 'model.parameter("unused", D)\n')
    result = run("generate", spec)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: wave.py:") and "unused" in result.stderr
    assert result.stdout == "wave_kernels.py: written\n"


def test_a_bug_shows_its_traceback_and_is_an_error(spec, monkeypatch):
    def broken(*_):
        raise AssertionError("an invariant")

    monkeypatch.setattr("derivgen.pipeline.generate_body", broken)
    result = CliRunner().invoke(main, ["check", "wave.py"])
    assert result.exit_code == 2
    assert "AssertionError: an invariant" in result.output and "this is a bug of derivgen" in result.output


# ---- check and diff


def test_check_of_a_fresh_module(spec):
    succeed("generate", spec)
    assert succeed("check", spec) == "1 up to date, 0 stale\n"


def test_check_of_a_stale_module_shows_what_and_how(spec):
    succeed("generate", spec)
    write_spec(function="cos")
    before = Path("wave_kernels.py").read_text()
    lines = fail("check", spec, code=1).splitlines()
    assert lines[0] == "wave_kernels.py: stale: the spec generates another text"
    assert lines[1:3] == ["--- wave_kernels.py", "+++ wave_kernels.py (generated)"]
    assert any(line.startswith("-") and "sin" in line for line in lines)
    assert any(line.startswith("+") and "cos" in line for line in lines)
    assert lines[-3:] == ["to mend it, run", "    derivgen generate wave.py", "0 up to date, 1 stale"]
    assert Path("wave_kernels.py").read_text() == before


def test_check_knows_the_options_of_the_module():
    spec = write_spec("models/wave.py")
    succeed("generate", spec, "--dtype", "float64")
    assert succeed("check", spec) == "1 up to date, 0 stale\n"
    write_spec("models/wave.py", function="cos")
    assert "    derivgen generate models/wave.py --dtype float64\n" in fail("check", spec, code=1)


def test_a_missing_module_is_stale(spec):
    output = fail("check", spec, code=1)
    assert output.startswith("wave_kernels.py: stale: the module is missing\nto mend it, run\n")
    assert files() == ["wave.py"]


def test_a_hand_edited_module_is_stale_and_says_so(spec):
    succeed("generate", spec)
    with Path("wave_kernels.py").open("a") as file:
        file.write("# mine\n")
    output = fail("check", spec, code=1)
    assert "edited by hand" in output and "-# mine" in output
    assert "    derivgen generate wave.py --force\n" in output


def test_a_foreign_file_in_the_modules_place_is_an_error(spec):
    Path("wave_kernels.py").write_text("mine = 1\n")
    assert "was not generated by derivgen" in fail("check", spec)


def test_an_error_goes_before_a_stale_module(spec):
    output = fail("check", "none.py", spec)
    assert "error: none.py does not exist" in output
    assert output.endswith("0 up to date, 1 stale, 1 failed\n")


def project(**pairs):
    lines = "".join(f'"{spec}" = "{module}"\n' for spec, module in pairs.items())
    Path("pyproject.toml").write_text(f"[tool.derivgen.modules]\n{lines}")


def test_check_without_arguments_takes_the_pairs_of_the_project(monkeypatch, folder):
    write_spec("models/wave.py")
    succeed("generate", "models/wave.py", "-o", "models/other.py")
    project(**{"models/wave.py": "models/other.py"})
    assert succeed("check") == "1 up to date, 0 stale\n"
    monkeypatch.chdir("models")
    assert succeed("check") == "1 up to date, 0 stale\n"
    write_spec("wave.py", function="cos")
    output = fail("check", code=1)
    assert output.startswith("other.py: stale")
    assert "    derivgen generate wave.py -o other.py\n" in output


def test_a_pair_picks_its_model_by_name_or_by_the_header():
    several()
    project(**{"pair.py:small": "one.py", "pair.py": "two.py"})
    for model, module in [("small", "one.py"), ("large", "two.py")]:
        succeed("generate", f"pair.py:{model}", "-o", module)
    assert succeed("check") == "2 up to date, 0 stale\n"
    Path("two.py").unlink()
    assert "name one in pyproject.toml, of pair.py:small, pair.py:large" in fail("check")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project]\n", "lists no modules: expected pairs"),
        ("tool = 3\n", "lists no modules: expected pairs"),
        ("[tool.derivgen]\nmodules = 3\n", "lists no modules: expected pairs"),
        ("[tool.derivgen]\nmodules = {'a.py' = 3}\n", "lists no modules: expected pairs"),
        ("[tool\n", "is not valid TOML"),
        ("[tool.derivgen]\nmodules = {'none.py' = 'm.py'}\n", "none.py does not exist"),
    ],
)
def test_a_project_without_usable_pairs_is_an_error(text, message):
    Path("pyproject.toml").write_text(text)
    assert message in fail("check")


def test_diff_prints_and_exits_with_0(spec):
    assert succeed("diff", spec).startswith("--- /dev/null\n")
    succeed("generate", spec)
    assert succeed("diff", spec) == ""
    write_spec(function="cos")
    assert succeed("diff", spec).startswith("--- wave_kernels.py\n+++ wave_kernels.py (generated)\n@@")


def test_a_module_made_from_python_keeps_its_command(spec):
    succeed("generate", spec, "--dtype", "float64")
    module = Path("wave_kernels.py")
    command = "python wave.py  # --dtype float64"
    module.write_text(module.read_text().replace("derivgen generate wave.py --dtype float64", command))
    assert succeed("check", spec) == "1 up to date, 0 stale\n"
    write_spec(function="cos")
    assert f"to mend it, run\n    {command}\n" in fail("check", spec, code=1)


# ---- new


def test_new_writes_a_spec_that_generates_and_trains_as_it_is():
    output = succeed("new", "spirals")
    assert files() == ["spirals.py", "spirals_data.npz"]
    commands = [line.split()[1:] for line in output.splitlines() if line.startswith("    derivgen ")]
    assert commands == [["generate", "spirals.py"], ["train", "spirals.py", "--data", "spirals_data.npz"]]
    succeed(*commands[0])
    trained = succeed(*commands[1], "--epochs", "40")
    first, last = trained.splitlines()[-2].split(";")[0].removeprefix("loss ").split(" -> ")
    assert float(last) < 0.3 < float(first)
    assert files() == ["spirals.py", "spirals_data.npz", "spirals_kernels.py", "spirals_parameters.npz"]


def test_new_is_byte_stable(tmp_path, monkeypatch):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        succeed("new", "points")
        contents.append([Path(file).read_bytes() for file in files()])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("taken", ["points.py", "points_data.npz"])
def test_new_never_writes_over_a_file(taken):
    Path(taken).write_text("mine")
    assert f"{taken} exists already" in fail("new", "points")
    assert files() == [taken] and Path(taken).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-model", "is no identifier"),
        ("models/points", "is no identifier"),
        ("points.py", "without folder, points"),
        ("../points", "is no identifier"),
        ('a"b', "is no identifier"),
        ("", "is no identifier"),
        ("class", "is a keyword"),
        ("numpy", "would hide the module numpy"),
        ("random", "would hide the module random"),
    ],
)
def test_new_refuses_names_that_are_none(name, message):
    assert message in fail("new", name)
    assert files() == []


def test_templates_are_found_in_a_checkout_and_in_a_wheel(folder, monkeypatch):
    monkeypatch.setattr(templates, "__file__", str(folder / "derivgen" / "templates.py"))
    (folder / "templates").mkdir()
    assert templates.folder() == folder / "templates"
    (folder / "derivgen" / "templates").mkdir(parents=True)
    assert templates.folder() == folder / "derivgen" / "templates"


def test_a_template_with_an_undefined_name_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        templates.environment().get_template("spec.py.jinja").render()


# ---- train


def test_train_generates_trains_and_saves(spec):
    write_data()
    output = succeed("train", spec, "--data", "data.npz", "--epochs", 3, "--validation-split", 0.25)
    assert output.startswith("wave_kernels.py: written\nepoch 1/3  loss ")
    assert "validation" in output and "3 epochs in" in output
    assert output.endswith("parameters saved in wave_parameters.npz\n")
    with np.load("wave_parameters.npz") as saved:
        assert {name: saved[name].shape for name in saved.files} == {"W": (2,), "b": (2,)}


def test_train_takes_hyperparameters_seed_and_place(spec):
    write_data()
    arguments = ["train", spec, "--data", "data.npz", "--epochs", 2, "--no-progress", "--save"]
    succeed(*arguments, "a.npz", "--learning-rate", 0.2, "--seed", 3)
    succeed(*arguments, "b.npz", "--set", "learning_rate=0.2", "--seed", 3)
    succeed(*arguments, "c.npz", "--learning-rate", 0.1, "--seed", 3)
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes() != Path("c.npz").read_bytes()


def test_train_keeps_the_dtype_of_the_module(spec):
    succeed("generate", spec, "--dtype", "float64")
    write_data()
    output = succeed("train", spec, "--data", "data.npz", "--epochs", 1, "--cast")
    assert "written" not in output
    with np.load("wave_parameters.npz") as saved:
        assert saved["W"].dtype == np.float64


def test_train_tells_of_arrays_that_it_does_not_use(spec):
    write_data(x_test=np.zeros(3))
    output = succeed("train", spec, "--data", "data.npz", "--epochs", 1)
    assert "note: data.npz also holds x_test, which the model does not take" in output


def test_train_takes_several_files_and_columns_of_tables(spec):
    write_data()
    succeed("train", spec, "--data", "data.npz", "--epochs", 1, "--save", "arrays.npz")
    with np.load("data.npz") as arrays:
        x, k, t, u = (arrays[name] for name in "xktu")
    np.save("weights.npy", u)
    rows = [
        f"{a!r},{b!r},{label},{number!r},0\n" for (a, b), label, number in zip(x.tolist(), k, t.tolist(), strict=True)
    ]
    Path("table.csv").write_text("left,right,k,t,id\n" + "".join(rows))
    files = ["--data", "table.csv", "--data", "u=weights.npy"]
    output = succeed("train", spec, *files, "--columns", "x=left,right", "--epochs", 1, "--save", "table.npz")
    assert "note: table.csv and u=weights.npy also hold id, which the model does not take" in output
    assert Path("table.npz").read_bytes() == Path("arrays.npz").read_bytes()
    # What remains makes the only input that has no columns of its own.
    Path("table.csv").write_text(Path("table.csv").read_text().replace(",id", "").replace(",0\n", "\n"))
    assert "note:" not in succeed("train", spec, *files, "--epochs", 1, "--save", "rest.npz")
    assert Path("rest.npz").read_bytes() == Path("arrays.npz").read_bytes()


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"x": np.zeros((40, 2))}, [], "x must be float32, found float64: convert it by --cast"),
        ({"x": np.zeros((40, 3), np.float32)}, [], "x"),
        ({"k": np.full(40, 2)}, [], "k"),
        ({"k": np.full(40, -1)}, [], "k"),
        ({"t": np.zeros(39, np.float32)}, [], "39 in t"),
        ({}, ["--set", "momentum=0.9"], "momentum"),
        ({}, ["--set", "momentum"], "--set takes NAME=VALUE"),
        ({}, ["--set", "epochs=3"], "epochs"),
        ({}, ["--save", "none/p.npz"], "Make the folder none first"),
        ({}, ["--save", "."], "is a folder"),
        ({}, ["--data", "none.npz"], "none.npz does not exist"),
        ({}, ["--data", "data.npz"], "is given twice, by data.npz and by data.npz"),
        ({}, ["--columns", "x=a,b"], "columns: none of the files is a table"),
        *(
            ({}, ["--columns", text], f"--columns takes NAME=COLUMN,COLUMN,..., such as x=age,height; found {text!r}")
            for text in ("x", "x=", "x=a,,b", "=a", "1=a")
        ),
        ({}, ["--columns", "x=a", "--columns", "x=b"], "--columns is given twice for x: give all its columns at once"),
        ({}, ["--epochs", "0"], "--epochs"),
        ({}, ["--validation-split", "0.001"], "leaves nothing to train on"),
    ],
)
def test_what_training_cannot_take_is_an_error(spec, changes, arguments, message):
    write_data(**changes)
    assert message in fail("train", spec, "--data", "data.npz", "--epochs", 1, *arguments)
    assert not Path("wave_parameters.npz").exists()


def test_train_refuses_hand_edits(spec):
    write_data()
    succeed("generate", spec)
    with Path("wave_kernels.py").open("a") as file:
        file.write("# mine\n")
    assert "edited by hand" in fail("train", spec, "--data", "data.npz")


def test_data_that_is_not_finite_is_named(spec):
    t = np.zeros(40, np.float32)
    t[7] = np.nan
    write_data(t=t)
    assert "the input t holds nan at t[7]" in fail("train", spec, "--data", "data.npz")
    assert not Path("wave_parameters.npz").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_saves_the_last_good_parameters(spec):
    spec.write_text(spec.read_text().replace("sin(Sum", "(1 + Sum"))
    write_data()
    output = fail("train", spec, "--data", "data.npz", "--learning-rate", 2, "--epochs", 500)
    assert "smaller learning rate" in output
    assert "The parameters from before that epoch are saved in wave_parameters.npz" in output
    with np.load("wave_parameters.npz") as saved:
        assert all(np.isfinite(saved[name]).all() for name in saved.files)


# ---- gradcheck and explain


@pytest.fixture
def comparisons(monkeypatch):
    made = []

    def gradcheck(model, dtype, rows, seed):
        made.append((model.name, dtype, rows, seed))
        return [SimpleNamespace(parameter=p, error=e, checked=4) for p, e in errors.items()]

    errors = {"W": 1e-13, "b": 3e-12}
    monkeypatch.setitem(sys.modules, "derivgen.gradcheck", SimpleNamespace(gradcheck=gradcheck))
    return SimpleNamespace(made=made, errors=errors)


def test_gradcheck_prints_a_row_for_each_parameter(spec, comparisons):
    lines = succeed("gradcheck", spec).splitlines()
    assert lines[0] == "wave, float64"
    assert [line.split()[0] for line in lines[2:4]] == ["W", "b"]
    assert lines[-1] == "largest 3.00e-12, tolerance 1e-09: passed"
    assert comparisons.made == [("wave", "float64", 5, 0)]


def test_gradcheck_fails_past_the_tolerance(spec, comparisons):
    assert "FAILED" in fail("gradcheck", spec, "--tolerance", 1e-12, code=1)
    comparisons.errors["W"] = float("nan")
    assert "largest nan" in fail("gradcheck", spec, code=1)


def test_gradcheck_without_parameters_is_an_error(spec, comparisons):
    comparisons.errors.clear()
    assert "has no parameters" in fail("gradcheck", spec)


def test_explain_takes_a_spec_or_an_expression(spec):
    assert "give either SPEC or --expr" in fail("explain")
    assert "give either SPEC or --expr" in fail("explain", spec, "--expr", "x**2")


# ---- the process


def test_usage_errors_exit_with_2():
    assert "No such command" in fail("generat")
    assert "Missing argument" in fail("generate")
    assert "'float16' is not one of" in fail("generate", "wave.py", "--dtype", "float16")


def test_help_names_every_command():
    output = succeed("--help")
    for command in ("new", "generate", "check", "diff", "explain", "cost", "gradcheck", "train"):
        assert f"  {command}" in output


def process(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_generate_check_and_diff_import_no_compiler(spec):
    code = f"""
import sys
from derivgen.cli import main
for command in ("generate", "check", "diff"):
    try:
        main([command, "{spec}"])
    except SystemExit as end:
        assert end.code == 0
print([m for m in ("numba", "scipy", "rich", "derivgen.runtime") if m in sys.modules])
"""
    done = process("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_an_error_in_a_process_is_one_message_on_stderr():
    done = process("-m", "derivgen.cli", "generate", "none.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: none.py does not exist") and done.stderr.count("\n") == 1


def test_generate_is_quick(spec):
    start = time.perf_counter()
    assert process("-m", "derivgen.cli", "generate", spec).returncode == 0
    assert time.perf_counter() - start < 4  # 2 s are aimed at, on an idle machine
