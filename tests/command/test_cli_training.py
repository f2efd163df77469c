"""A training by commands alone: from a table to checkpoints, a resumed run, a picture, and predictions."""

from __future__ import annotations

import errno
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from command import but_signs, fail, succeed

from derivgen import runtime
from derivgen.errors import PACKAGE

SPEC = """
from derivgen import Model, activations, layers, losses, optimizers, schedules

model = Model("flowers")
N = model.batch("N")
z = layers.dense(model.input("x", N, 4), 6, activations.tanh, name="hidden")
z = layers.dense(z, 3, name="logits")
model.minimize(losses.softmax_cross_entropy(z, model.labels("y", N, classes=3)))
model.predict(z)
model.update(optimizers.adamw(schedules.warm_up(0.02, 10)), {"*_b": {"weight_decay": 0}})
"""
COLUMNS = ["length", "width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the spec, its module and data, and numba's cache of what most tests call."""
    from sklearn.datasets import load_iris

    folder = tmp_path_factory.mktemp("flowers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("flowers.py").write_text(SPEC)
        x, y = load_iris(return_X_y=True)
        lines = [",".join([*map(str, row), str(label)]) for row, label in zip(x, y, strict=True)]
        Path("iris.csv").write_text("\n".join([",".join([*COLUMNS, "y"]), *lines]) + "\n")
        Path("unseen.csv").write_text(
            "\n".join([",".join(COLUMNS), *(line.rpartition(",")[0] for line in lines)]) + "\n"
        )
        train("--epochs", 1, "--validation-split", 0.2, "--metric", "accuracy")
        Path("flowers_parameters.npz").unlink()
    return folder


@pytest.fixture(autouse=True)
def folder(compiled, tmp_path, monkeypatch):
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)  # with the times that numba's cache goes by
    monkeypatch.chdir(tmp_path)


def train(*arguments):
    return succeed("train", "flowers.py", "--data", "iris.csv", "--batch-size", 16, *arguments)


def test_a_first_try_compiles_nothing():
    output = train("--epochs", 2, "--interpret", "--lr", 0.01)
    assert "\ninterpreted: Python runs the kernels, nothing is compiled" in output
    assert "2 epochs in" in output and "for compiling" not in output


def test_from_a_table_to_predictions():
    options = ["--validation-split", 0.2, "--metric", "accuracy", "--keep-best", "--seed", 1]
    kept = ["--checkpoints", "run", "--history", "history.jsonl"]
    output = train(*options, *kept, "--epochs", 30, "--plot", "loss.png")
    assert "accuracy" in output and "parameters saved in flowers_parameters.npz" in output
    epochs = [json.loads(line) for line in Path("history.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs] == list(range(1, 31))
    assert epochs[-1]["metrics"]["accuracy"] > 0.9
    assert Path("loss.png").read_bytes().startswith(b"\x89PNG")
    module = runtime.load("flowers_kernels.py")
    best = runtime.load_parameters("flowers_parameters.npz", module)
    x = np.loadtxt("unseen.csv", np.float32, delimiter=",", skiprows=1)
    wanted = module.predict(best, x)
    for parameters in ("flowers_parameters.npz", "run", max(map(str, Path("run").iterdir()))):
        said = succeed("predict", "flowers_kernels.py", parameters, "--data", "unseen.csv", "-o", "out.npy")
        note, line = said.splitlines()
        assert note == "note: x: columns length, width, petal_length, petal_width of unseen.csv"
        assert line.startswith("out.npy: predictions of shape (150, 3) with the parameters of ")
        np.testing.assert_array_equal(np.load("out.npy"), wanted)
    succeed("predict", "flowers_kernels.py", "run", "--data", "unseen.csv", "-o", "out.csv")
    assert Path("out.csv").read_text().startswith("prediction_0,prediction_1,prediction_2\n")
    np.testing.assert_array_equal(np.loadtxt("out.csv", np.float32, delimiter=",", skiprows=1), wanted)
    succeed("predict", "flowers_kernels.py", "run", "--data", "unseen.csv", "-o", "out.parquet")
    written = pyarrow.parquet.read_table("out.parquet")
    assert written.column_names == [f"prediction_{k}" for k in range(3)]
    np.testing.assert_array_equal(np.stack([column.to_numpy() for column in written.columns], 1), wanted)
    succeed("predict", "flowers_kernels.py", "run", "--data", "iris.csv", "-o", "out.npz")  # labels are left alone
    with np.load("out.npz") as saved:
        np.testing.assert_array_equal(saved["prediction"], wanted)


def test_a_resumed_run_ends_in_the_same_file():
    options = ["--checkpoint-every", 7, "--accumulate", 2, "--no-progress"]
    train(*options, "--epochs", 12, "--checkpoints", "whole", "--save", "whole.npz")
    train(*options, "--epochs", 5, "--checkpoints", "parts", "--save", "part.npz", "--history", "history.jsonl")
    resumed = [*options, "--epochs", 12, "--checkpoints", "parts", "--resume", "--history", "history.jsonl"]
    last = max(map(str, Path("parts").iterdir()))
    output = train(*resumed, "--save", "parts.npz")
    assert f"going on from {last}\n" in output and "; 7 more epochs in" in output
    assert Path("parts.npz").read_bytes() == Path("whole.npz").read_bytes() != Path("part.npz").read_bytes()
    assert len(Path("history.jsonl").read_text().splitlines()) == 12
    assert "nothing was left to do" in train(*resumed, "--save", "again.npz")
    assert Path("again.npz").read_bytes() == Path("parts.npz").read_bytes()
    message = fail("train", "flowers.py", "--data", "iris.csv", *resumed, "--batch-size", 15)
    assert "batch_size 16, here it is 15" in message
    assert "continue it with resume" in fail("train", "flowers.py", "--data", "iris.csv", "--checkpoints", "parts")


def test_resuming_before_the_first_checkpoint_starts_anew():
    assert "new has no checkpoint yet: training starts anew" in train("--checkpoints", "new", "--resume", "--epochs", 1)
    assert "resume needs the folder of checkpoints" in fail("train", "flowers.py", "--data", "iris.csv", "--resume")


def test_training_starts_from_parameters():
    train("--epochs", 2, "--save", "two.npz")
    output = train(
        "--epochs", 1, "--learning-rate", 0, "--set", "weight_decay=0", "--parameters", "two.npz", "--save", "same.npz"
    )
    assert "starting from the parameters of two.npz" in output
    assert Path("same.npz").read_bytes() == Path("two.npz").read_bytes()
    train("--epochs", 1, "--checkpoints", "run")
    assert "step 10" in train("--epochs", 1, "--parameters", "run")
    Path("flowers.py").write_text(SPEC.replace("0.02, 10", "0.03, 5"))  # another rule, the same parameters
    assert "starting from the parameters of run" in train("--epochs", 1, "--parameters", "run", "--save", "two.npz")
    assert "step 10" in succeed("predict", "flowers_kernels.py", "run", "--data", "unseen.csv", "-o", "out.csv")
    Path("flowers.py").write_text(SPEC.replace("N, 4), 6", "N, 4), 7"))
    other = fail("train", "flowers.py", "--data", "iris.csv", "--parameters", "run")
    assert "is of another model: hidden_W must be float32 of shape (4, 7), found float32 of shape (4, 6)" in other
    both = ["--parameters", "two.npz", "--checkpoints", "run", "--resume"]
    assert "leave --parameters out" in fail("train", "flowers.py", "--data", "iris.csv", *both)


@pytest.mark.parametrize(
    "options",
    [
        ["--save", "iris.npz"],
        ["--plot", "iris.npz"],
        ["--history", "flowers.py"],
        ["--save", "a.npz", "--plot", "./a.npz"],
    ],
)
def test_what_is_read_is_not_written_over(options):
    table = np.loadtxt("iris.csv", np.float32, delimiter=",", skiprows=1)
    np.savez("iris.npz", x=table[:, :4], y=table[:, 4].astype(int))
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert "is a file that this command reads or writes besides" in fail(
        "train", "flowers.py", "--data", "iris.npz", *options
    )
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_predictions_replace_no_input_and_warn():
    train("--epochs", 1)
    for output in ("unseen.csv", "flowers_parameters.npz"):
        command = ["flowers_kernels.py", "flowers_parameters.npz", "--data", "unseen.csv", "-o", output]
        assert "reads or writes besides" in fail("predict", *command)
    text = Path("unseen.csv").read_text()
    Path("nan.csv").write_text(text.replace("\n5.1,", "\nnan,", 1))
    Path("flowers_kernels.py").write_text(Path("flowers_kernels.py").read_text() + "# mine\n")
    said = succeed("predict", "flowers_kernels.py", "flowers_parameters.npz", "--data", "nan.csv", "-o", "p.csv")
    assert "3 of the 450 numbers predicted are not finite" in said
    assert "flowers_kernels.py was edited by hand" in said


def test_settings_are_given_once():
    for twice in (["--learning-rate", 1, "--set", "learning_rate=0"], ["--set", "beta_1=0", "--set", "beta_1=1"]):
        assert "is given twice" in fail("train", "flowers.py", "--data", "iris.csv", *twice)


def test_a_module_edited_by_hand_is_left():
    train("--epochs", 1)
    module = Path("flowers_kernels.py")
    module.write_text(module.read_text() + "# mine\n")
    assert "write over it by derivgen generate --force" in fail("train", "flowers.py", "--data", "iris.csv")
    assert module.read_text().endswith("# mine\n")


def test_the_monitor_warns_on_the_error_stream():
    output = train("--monitor", "--epochs", 2, "--learning-rate", 50)
    assert "warning: layer" in output and "lower the learning rate" in output
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is left changed


def test_early_stopping_is_told():
    output = train("--early-stopping", 2, "--epochs", 400, "--learning-rate", 1, "--validation-split", 0.2)
    best, last = re.search(r"no smaller loss since epoch (\d+): stopped after epoch (\d+)\n", output).groups()
    end = f": saved are the parameters of epoch {last} (--keep-best saves those of epoch {best})\n"
    assert int(last) == int(best) + 2 and output.endswith(f"parameters saved in flowers_parameters.npz{end}")
    assert output.count("saved are the parameters") == 1
    kept = train("--early-stopping", 2, "--epochs", 400, "--lr", 1, "--validation-split", 0.2, "--keep-best")
    assert kept.endswith("parameters saved in flowers_parameters.npz\n")


def test_rows_of_a_file_of_their_own_validate():
    lines = Path("iris.csv").read_text().splitlines()
    header = lines[0].replace("y", "kind")
    Path("part.csv").write_text("\n".join([header, *lines[1::2]]) + "\n")
    Path("other.csv").write_text("\n".join([header, *lines[2::2]]) + "\n")
    files = ["--data", "part.csv", "--validation", "other.csv", "--columns", "y=kind"]
    output = succeed("train", "flowers.py", *files, "--epochs", 3, "--metric", "accuracy", "--history", "history.jsonl")
    last = json.loads(Path("history.jsonl").read_text().splitlines()[-1])
    module = runtime.load("flowers_kernels.py")
    other = np.loadtxt("other.csv", np.float32, delimiter=",", skiprows=1)
    x, y = other[:, :4].copy(), other[:, 4].astype(np.int64)
    parameters = runtime.load_parameters("flowers_parameters.npz", module)
    wanted = runtime.evaluate(module, parameters, {"x": x, "y": y}, metrics=["accuracy"])
    assert last["validation_loss"] == pytest.approx(wanted["loss"], rel=1e-6)
    assert last["metrics"]["accuracy"] == wanted["accuracy"] and ", validation " in output.splitlines()[-2]
    both = fail("train", "flowers.py", *files, "--validation-split", 0.2)
    assert "--validation gives the rows to validate by: leave out --validation-split" in both
    assert "other.csv is a file that this command reads" in fail(
        "train", "flowers.py", *files, "--history", "other.csv"
    )


def test_the_update_rule_is_said_with_the_values_in_use():
    output = train("--epochs", 1, "--lr", 0.5, "--set", "warmup_steps=7")
    assert "note: update: adamw; learning_rate 0.5 by a schedule (warmup_steps 7), beta_1 0.9, " in output


def test_an_interrupted_training_is_saved(monkeypatch):
    def interrupted(self, epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("derivgen.runtime.train.progress.Told.epoch", interrupted)
    message = fail("train", "flowers.py", "--data", "iris.csv", "--epochs", 20)
    assert "interrupted. The parameters so far are saved in flowers_parameters.npz" in message
    module = runtime.load("flowers_kernels.py")
    assert np.isfinite(runtime.load_parameters("flowers_parameters.npz", module)).all()


def saved_and_said(message, path="flowers_parameters.npz"):
    """The parameters of an interrupted training are in the file, and Ctrl-C works as before."""
    assert f"interrupted. The parameters so far are saved in {path}" in message
    assert np.isfinite(runtime.load_parameters(path, runtime.load("flowers_kernels.py"))).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "second",
    [
        "derivgen.runtime.train.progress.Told.end",
        "derivgen.runtime.train.stepping.Steps.settle",
        "derivgen.runtime.train.run.Run.result",
        "derivgen.command.training.saved_on_the_way",
        "derivgen.runtime.tensors.encode_npz",
        "derivgen.file.disk.new_temporary",
        "os.fsync",
        "os.replace",
    ],
)
def test_a_second_interrupt_does_not_stop_the_save(monkeypatch, second):
    """It comes before any of the steps from the first one to the end of the save."""
    interrupts = []

    def interrupted(self, epoch):
        if epoch.epoch == 2:
            interrupts.append("first")
            signal.raise_signal(signal.SIGINT)

    function = pkgutil.resolve_name(second)

    def interrupted_again(*arguments, **keywords):
        if interrupts:
            interrupts.append("second")
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **keywords)

    monkeypatch.setattr("derivgen.runtime.train.progress.Told.epoch", interrupted)
    monkeypatch.setattr(second, interrupted_again)
    saved_and_said(fail("train", "flowers.py", "--data", "iris.csv", "--epochs", 20))
    assert {*interrupts} == {"first", "second"}


def test_an_interrupt_of_the_last_save_waits(monkeypatch):
    replace, interrupts = os.replace, []

    def interrupted(*arguments):
        interrupts.append(signal.raise_signal(signal.SIGINT))
        return replace(*arguments)

    monkeypatch.setattr("os.replace", interrupted)
    assert "parameters saved in flowers_parameters.npz" in train("--epochs", 1)
    assert interrupts


@pytest.mark.skipif(os.name != "posix", reason="there are no signals")
def test_two_interrupts_of_a_process_at_once(folder):
    command = [sys.executable, "-m", "derivgen", "train", "flowers.py", "--data", "iris.csv", "--epochs", "1000000"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline().startswith("epoch 1/1000000")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.003)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (2, -signal.SIGINT)  # the latter where all is said, and Python is at its end
    saved_and_said(error)


# ---- what the parameters are saved in


def refusing(monkeypatch, *folders):
    """The disk of these folders is full."""
    fsync = os.fsync

    def full(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve().parent in [Path(f).resolve() for f in folders]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", full)


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc tells the path of a descriptor")


def equal_to_a_training_that_is_saved(path):
    train("--epochs", 2, "--save", "wanted.npz")
    assert Path(path).read_bytes() == Path("wanted.npz").read_bytes()


@linux
def test_parameters_that_the_disk_does_not_take_are_saved_elsewhere(monkeypatch):
    Path("full").mkdir()
    Path("mine.npz").write_text("of an earlier run")
    with monkeypatch.context() as patch:
        refusing(patch, "full")
        message = fail(
            "train", "flowers.py", "--data", "iris.csv", "--batch-size", 16, "--epochs", 2, "--save", "full/mine.npz"
        )
    assert "full/mine.npz can't be written: No space left on device" in message
    assert message.endswith("The parameters are saved in mine_2.npz\n")
    assert Path("mine.npz").read_text() == "of an earlier run" and not list(Path("full").iterdir())
    equal_to_a_training_that_is_saved("mine_2.npz")


@linux
def test_where_the_current_folder_takes_nothing_it_is_that_of_temporary_files(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with monkeypatch.context() as patch:
        refusing(patch, ".")
        options = ["--batch-size", 16, "--epochs", 2, "--save", "mine.npz"]
        message = fail("train", "flowers.py", "--data", "iris.csv", *options)
        assert f"The parameters are saved in {folder / 'mine.npz'}" in message
        refusing(patch, ".", folder)
        message = fail("train", "flowers.py", "--data", "iris.csv", *options)
        assert "They can't be written to the folder for temporary files either" in message
    equal_to_a_training_that_is_saved(folder / "mine.npz")


@linux
def test_an_interrupted_training_is_saved_elsewhere_too(monkeypatch):
    def interrupted(self, epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("derivgen.runtime.train.progress.Told.epoch", interrupted)
    Path("full dir").mkdir()
    refusing(monkeypatch, "full dir")
    message = fail("train", "flowers.py", "--data", "iris.csv", "--save", "full dir/it's.npz")
    assert "error: interrupted. full dir/it's.npz can't be written: No space left" in message
    assert "saved in it's.npz. Continue with --parameters 'it'\"'\"'s.npz'" in message


def test_a_folder_that_is_removed_while_training_loses_nothing(monkeypatch):
    Path("out").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("derivgen.runtime.train.progress.Told.end", lambda self: Path("out").rmdir())
        options = ["--batch-size", 16, "--epochs", 2, "--save", "out/p.npz"]
        message = fail("train", "flowers.py", "--data", "iris.csv", *options)
    assert "out/p.npz can't be written: No such file" in message and "saved in p.npz" in message
    equal_to_a_training_that_is_saved("p.npz")


def test_what_can_t_be_printed_ends_a_training_and_loses_nothing(folder):
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    succeed("generate", "flowers.py")
    succeed("compile", "flowers_kernels.py")  # else the first line that can't be printed says what compiles
    command = [sys.executable, "-m", "derivgen", "train", "flowers.py", "--data", "iris.csv"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.returncode == 2
    wanted = (
        "error: what this command prints can't be written: No space left on device. The parameters so far are saved in"
    )
    note = "note: x: columns length, width, petal_length, petal_width of iris.csv\nnote: update: … weight_decay 0.01\n"
    said = re.sub("(?<=note: update: ).*(?= weight_decay)", "…", done.stderr)
    assert but_signs(said) == f"{note}{wanted} flowers_parameters.npz\n"
    assert Path("flowers_parameters.npz").exists()


def test_a_model_without_data_is_trained_too():
    Path("bowl.py").write_text(
        'from derivgen import Model\nmodel = Model("bowl")\nv = model.parameter("v", '
        'init="ones")\nmodel.minimize(v**2)\n'
    )
    assert "parameters saved in bowl_parameters.npz" in succeed("train", "bowl.py", "--epochs", 3)
    assert "is given: expected" in fail("train", "flowers.py")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none_kernels.py", "p.npz", "-o", "out.npy"], "none_kernels.py does not exist"),
        (["flowers_kernels.py", "p.npz", "-o", "out.npy"], "p.npz does not exist"),
        (["flowers_kernels.py", "flowers_parameters.npz", "-o", "out.txt"], "ends in .npy, .npz, .csv or .parquet"),
        (["flowers_kernels.py", "empty", "-o", "out.npy"], "empty is a folder without a checkpoint"),
        (["flowers_kernels.py", "iris.csv", "-o", "out.npy"], "iris.csv"),
        (["flowers_kernels.py", "other.npz", "-o", "out.npy"], "lacks the parameter"),
        (["flowers_kernels.py", "flowers_parameters.npz", "-o", "none/out.npy"], "Make the folder none first"),
    ],
)
def test_what_can_t_be_predicted_is_an_error(arguments, message):
    succeed("generate", "flowers.py")
    module = runtime.load("flowers_kernels.py")
    runtime.save_parameters("flowers_parameters.npz", module, module.initial_parameters())
    np.savez("other.npz", hidden_W=np.zeros((4, 6), np.float32))
    Path("empty").mkdir()
    assert message in fail("predict", *arguments, "--data", "unseen.csv")
    assert not Path("out.npy").exists()


def test_a_table_with_text_or_without_a_column():
    text = Path("iris.csv").read_text()
    Path("iris.csv").write_text(text.replace("\n4.9,3.0,", "\n4.9,wide,", 1))
    message = fail("train", "flowers.py", "--data", "iris.csv")
    assert "row 2" in message and "width" in message and "'wide'" in message
    Path("iris.csv").write_text(text.replace("y\n", "species\n", 1))
    message = fail("train", "flowers.py", "--data", "iris.csv")
    assert "y" in message and "species" in message
    assert not Path("flowers_parameters.npz").exists()


@pytest.mark.skipif(os.name != "posix", reason="there are no pipes")
def test_pipes_and_devices():
    np.savez("d.npz", x=np.zeros((9, 4), np.float32), y=np.zeros(9, int))
    succeed("generate", "flowers.py")
    module = runtime.load("flowers_kernels.py")
    runtime.save_parameters("p.npz", module, module.initial_parameters())
    for name in ("pipe.npz", "pipe.csv", "pipe.safetensors", "pipe.png"):
        os.mkfifo(name)
    Path("zero.npy").symlink_to("/dev/zero")
    training, given = ["train", "flowers.py", "--data", "d.npz"], ["flowers_kernels.py", "p.npz"]
    for arguments in (
        ["train", "flowers.py", "--data", "pipe.csv"],
        ["train", "flowers.py", "--data", "x=zero.npy"],
        [*training, "--save", "pipe.npz"],
        [*training, "--plot", "pipe.png"],
        [*training, "--history", "/dev/full"],
        [*training, "--parameters", "pipe.safetensors"],
        ["predict", *given, "--data", "pipe.npz", "-o", "out.npy"],
        ["predict", *given, "--data", "d.npz", "-o", "pipe.csv"],
        ["predict", "flowers_kernels.py", "pipe.npz", "--data", "d.npz", "-o", "out.npy"],
    ):
        assert "is no regular file, but a" in fail(*arguments), arguments
    assert not Path("out.npy").exists() and not Path("/dev/full").is_file()


def test_a_truncated_archive():
    np.savez("data.npz", x=np.zeros((9, 4), np.float32), y=np.zeros(9, int))
    whole = Path("data.npz").read_bytes()
    Path("data.npz").write_bytes(whole[: len(whole) // 2])
    assert "data.npz is not an .npz file" in fail("train", "flowers.py", "--data", "data.npz")
