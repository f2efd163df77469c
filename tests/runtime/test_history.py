"""The history of a training: its records, its file, its picture."""

from __future__ import annotations

import builtins
import json
import math
import os
import stat
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from derivgen.errors import DerivgenError
from derivgen.runtime.pictures import check_picture
from derivgen.runtime.train.history import Epoch, epoch_of, epoch_record, open_history, plot_history, read_history


class Layer(NamedTuple):
    name: str
    gradient: float
    dead: int


@dataclass(frozen=True)
class OtherLayer:
    name: str
    gradient: float
    dead: int


AWKWARD = [0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -0.0, 1e22, 123456789.12345679]
PLAIN = Epoch(1, 0.5, None, 0.25)
FULL = Epoch(2, 0.1, 1 / 3, 1e-5, {"accuracy": 0.9375, "größe": 2 / 3}, 4000, ({"name": "W", "gradient": 0.1},))


def run(count, validation=True, metrics=("accuracy",)):
    return [
        Epoch(i, 2.0**-i, 2.0**-i + 0.1 if validation else None, 0.1, dict.fromkeys(metrics, 1 - 1 / (i + 1)), 10 * i)
        for i in range(1, count + 1)
    ]


# ---- records


def test_an_epoch_of_four_fields_is_one_without_metrics_and_layers():
    assert (PLAIN.metrics, PLAIN.step, PLAIN.layers) == ({}, 0, ())


@pytest.mark.parametrize("epoch", [PLAIN, FULL])
def test_a_record_gives_back_its_epoch(epoch):
    text = json.dumps(epoch_record(epoch), allow_nan=False)
    assert epoch_of(text) == epoch
    assert set(json.loads(text)) == set(Epoch._fields)


@pytest.mark.parametrize("number", AWKWARD)
def test_every_digit_survives_the_file(tmp_path, number):
    epoch = Epoch(1, number, number, abs(number), {"m": number})
    open_history(tmp_path / "h.jsonl", [epoch]).close()
    (read,) = read_history(tmp_path / "h.jsonl")
    for found in (read.loss, read.validation_loss, read.metrics["m"]):
        assert found == number and math.copysign(1, found) == math.copysign(1, number)


@pytest.mark.parametrize("kind", [Layer, OtherLayer])
def test_the_monitors_records_come_back_as_what_they_were(tmp_path, kind):
    epoch = Epoch(1, 0.5, None, 0.1, layers=(kind("W", np.float32(0.1), np.int64(3)), kind("b", 0.5, 0)))
    open_history(tmp_path / "h.jsonl", [epoch]).close()
    (read,) = read_history(tmp_path / "h.jsonl", layer=kind)
    assert read == epoch
    (plain,) = read_history(tmp_path / "h.jsonl")
    assert plain.layers[1] == {"name": "b", "gradient": 0.5, "dead": 0}


def test_numpys_numbers_become_pythons():
    record = epoch_record(Epoch(np.int64(1), np.float32(0.1), np.float64(0.2), np.float64(1), {"m": np.float32(3)}))
    assert [type(record[name]) for name in ("epoch", "loss", "validation_loss", "seconds")] == [
        int,
        float,
        float,
        float,
    ]
    assert type(record["metrics"]["m"]) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 1.0}, r'found {"epoch": 1\.0'),
        ({"epoch": True}, 'found {"epoch": true'),
        ({"loss": None}, r"\(.*NoneType"),
        ({"loss": "0.5"}, "of finite numbers, found"),
        ({"loss": math.nan}, r"\(Out of range float values"),
        ({"loss": 10**400}, r"\(int too large"),
        ({"validation_loss": math.inf}, r"\(Out of range float values"),
        ({"seconds": False}, "of finite numbers, found"),
        ({"metrics": {"m": "high"}}, r"\(could not convert string to float"),
        ({"metrics": [1]}, r"\(.*list"),
        ({"layers": {}}, "of finite numbers, found"),
        ({"layers": [1]}, r"\(.*mapping"),
        ({"more": 1}, "of finite numbers, found"),
    ],
)
def test_what_is_no_record_is_refused(change, message):
    expected = "expected an object of epoch, loss, validation_loss, seconds, metrics, step, layers, of finite numbers"
    with pytest.raises(ValueError, match=message) as refusal:
        epoch_of(json.dumps({**epoch_record(FULL), **change}))
    assert str(refusal.value).startswith(expected)


def test_a_record_lacking_a_field_is_refused():
    record = epoch_record(FULL)
    del record["step"]
    with pytest.raises(ValueError, match=r"expected an object of epoch, .* \('step'\)"):
        epoch_of(json.dumps(record))


# ---- the file


def test_lines_are_there_as_soon_as_their_epochs_are_done(tmp_path):
    path = tmp_path / "h.jsonl"
    epochs = run(3)
    with closing(open_history(path)) as history:
        assert path.read_bytes() == b""
        for i, epoch in enumerate(epochs, 1):
            history.append(epoch)
            assert read_history(path) == tuple(epochs[:i])
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path):
    path = str(tmp_path / "h.jsonl")
    epochs = run(5)
    with closing(open_history(path, epochs[:4])):
        pass
    with closing(open_history(path, epochs[:2])) as history:  # epochs 3 and 4 came after the checkpoint
        history.append(epochs[2])
    assert read_history(path) == tuple(epochs[:3])


def test_the_same_epochs_are_the_same_bytes_however_they_come(tmp_path):
    with closing(open_history(tmp_path / "a.jsonl", run(3))):
        pass
    with closing(open_history(tmp_path / "b.jsonl", run(1))) as history:
        for epoch in run(3)[1:]:
            history.append(epoch)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "my notes",
        "my notes\n",
        "\n",
        "[1, 2]\n",
        '{"epoch": 1, "loss": 0.5}\n',  # another program's
        "\ufeff{}\n",
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "h.jsonl"
    path.write_text(text)
    with pytest.raises(DerivgenError, match=r"h.jsonl exists and is no history .* give another path, or remove"):
        open_history(path, [PLAIN])
    assert path.read_text() == text


def test_a_binary_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "h.npz"
    np.savez(path, x=np.zeros(3))
    before = path.read_bytes()
    with pytest.raises(DerivgenError, match="is no history"):
        open_history(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 30, 300])
def test_a_history_that_was_cut_off_is_replaced(tmp_path, kept):
    path = tmp_path / "h.jsonl"
    open_history(path, run(4)).close()
    path.write_bytes(path.read_bytes()[:kept])
    open_history(path, run(2)).close()
    assert len(read_history(path)) == 2


def test_a_failing_rewrite_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "h.jsonl"
    open_history(path, run(4)).close()
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DerivgenError, match="No space left"):
        open_history(path, run(2))
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["h.jsonl"]


def test_places_that_take_no_file_are_refused(tmp_path):
    with pytest.raises(DerivgenError, match=r"can't be written.* Make the folder"):
        open_history(tmp_path / "none" / "h.jsonl")
    with pytest.raises(DerivgenError, match="is a folder"):
        open_history(tmp_path)
    with pytest.raises(DerivgenError, match="is no regular file"):
        open_history(os.devnull)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX limits the size of the files that a process writes")
def test_a_disk_that_gets_full_is_told_of_and_keeps_the_earlier_epochs(tmp_path):
    import resource

    path = tmp_path / "h.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(open_history(path, run(2))) as history:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
        try:
            with pytest.raises(DerivgenError, match=r"h.jsonl can't be written: .* earlier epochs are kept"):
                history.append(run(3)[2])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(DerivgenError, match=r"h.jsonl:3 is cut off"):
        read_history(path)
    assert path.read_bytes().count(b"\n") == 2


def test_a_number_that_is_not_finite_is_our_own_mistake(tmp_path):
    with closing(open_history(tmp_path / "h.jsonl")) as history, pytest.raises(ValueError, match="not JSON compliant"):
        history.append(Epoch(1, math.nan, None, 0.1))
    assert (tmp_path / "h.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"h.jsonl:3 is no epoch of a history: not JSON, Expecting value at column 1"),
        ("", r"h.jsonl:3 is no epoch of a history: not JSON"),
        ("{}", r"h.jsonl:3 is no epoch of a history: expected an object of epoch, loss"),
        (
            json.dumps({**epoch_record(FULL), "loss": math.nan}),
            r"h.jsonl:3 is no epoch of a history: expected .*finite",
        ),
        (json.dumps({**epoch_record(FULL), "step": 0.5}), r"h.jsonl:3 is no epoch of a history: expected"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "h.jsonl"
    open_history(path, run(2)).close()
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(DerivgenError, match=message):
        read_history(path)


def test_a_layer_of_other_fields_is_named_by_its_line(tmp_path):
    open_history(tmp_path / "h.jsonl", [PLAIN, FULL]).close()
    with pytest.raises(DerivgenError, match=r"h.jsonl:2 is no epoch of a history: .*dead"):
        read_history(tmp_path / "h.jsonl", layer=Layer)


def test_a_missing_file_is_told_of_and_an_empty_one_has_no_epochs(tmp_path):
    with pytest.raises(DerivgenError, match="does not exist"):
        read_history(tmp_path / "h.jsonl")
    (tmp_path / "h.jsonl").touch()
    assert read_history(tmp_path / "h.jsonl") == ()


# ---- the picture

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def axes(monkeypatch):
    """The panels of whatever is drawn, which is not rendered."""
    from matplotlib import figure

    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **options: drawn.extend(self.axes))
    return drawn


def curves(panel):
    """By label, without the mark of the best epoch."""
    lines = [line for line in panel.lines if not line.get_label().startswith("best")]
    return {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in lines}


@pytest.mark.parametrize("suffix", STARTS)
def test_the_same_epochs_are_the_same_picture(tmp_path, suffix, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # which has a state of its own, and is not needed
    for name, day in (("a", "1"), ("b", "200000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        plot_history(tmp_path / f"{name}{suffix}", run(6, metrics=()))
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second
    assert first.startswith(STARTS[suffix])


def test_losses_and_metrics_stand_in_two_panels(tmp_path, axes):
    epochs = run(4, metrics=("accuracy", "f1"))
    plot_history(tmp_path / "h.png", epochs)
    losses, metrics = axes
    assert curves(losses) == {
        "training": {e.epoch: e.loss for e in epochs},
        "validation": {e.epoch: e.validation_loss for e in epochs},
    }
    assert curves(metrics) == {name: {e.epoch: e.metrics[name] for e in epochs} for name in ("accuracy", "f1")}
    assert losses.get_ylabel() == "loss" and metrics.get_ylabel() == "validation metrics"
    assert metrics.get_xlabel() == "epoch"
    lines = [line for line in (*losses.lines, *metrics.lines) if not line.get_label().startswith("best")]
    assert len({line.get_color() for line in lines}) == 4


def test_training_alone_is_one_panel_with_one_curve(tmp_path, axes):
    plot_history(tmp_path / "h.png", run(3, validation=False, metrics=()))
    assert [set(curves(panel)) for panel in axes] == [{"training"}]


def test_metrics_without_validation_are_those_of_the_training_rows(tmp_path, axes):
    plot_history(tmp_path / "h.png", run(3, validation=False))
    assert axes[1].get_ylabel() == "training metrics"


def test_what_only_some_epochs_have_is_drawn_for_them(tmp_path, axes):
    epochs = [*run(2, validation=False, metrics=()), *run(4)[2:]]
    plot_history(tmp_path / "h.png", epochs)
    assert list(curves(axes[0])["validation"]) == [3, 4]
    assert list(curves(axes[1])["accuracy"]) == [3, 4]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1, 0.5, 0.05], "log"), ([1, 0.5, 0.1], "linear"), ([1, 0], "linear"), ([-1, -100], "linear"), ([3], "linear")],
)
def test_the_scale_is_logarithmic_where_losses_span_more_than_a_decade(tmp_path, axes, losses, scale):
    plot_history(tmp_path / "h.png", [Epoch(i, float(loss), None, 0.1) for i, loss in enumerate(losses, 1)])
    assert axes[0].get_yscale() == scale


def test_the_validation_loss_counts_in_the_span_too(tmp_path, axes):
    plot_history(tmp_path / "h.png", [Epoch(1, 1.0, 20.0, 0.1), Epoch(2, 0.9, 19.0, 0.1)])
    assert axes[0].get_yscale() == "log"


def test_names_are_shown_as_they_are(tmp_path):
    plot_history(tmp_path / "h.SVG", run(2, metrics=("$x", "a_b^{", "größe")))


def test_a_users_settings_of_matplotlib_neither_change_the_picture_nor_are_changed(tmp_path):
    import matplotlib

    plot_history(tmp_path / "a.svg", run(3))
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "font.size": 20}):
        plot_history(tmp_path / "b.svg", run(3))
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_other_pictures_and_no_epochs_are_refused(tmp_path):
    for name in ("h.gif", "h", "png"):
        with pytest.raises(DerivgenError, match=rf"{name} names no kind of picture .* \.png, \.svg, \.pdf"):
            plot_history(tmp_path / name, run(2))
    with pytest.raises(DerivgenError, match="there are no epochs"):
        plot_history(tmp_path / "h.png", [])
    with pytest.raises(DerivgenError, match="No such folder"):
        plot_history(tmp_path / "none" / "h.png", run(2))
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    import_ = builtins.__import__

    def without(name, *arguments):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return import_(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (check_picture, lambda path: plot_history(path, run(2))):
        with pytest.raises(DerivgenError, match=r"pip install 'derivgen\[plot\]'"):
            call(tmp_path / "h.png")


def test_a_picture_is_replaced_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "h.svg"
    path.write_text("old")
    path.chmod(0o600)
    plot_history(path, run(2))
    assert path.read_bytes().startswith(b"<?xml") and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["h.svg"]
