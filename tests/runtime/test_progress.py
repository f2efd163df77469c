"""What is shown of a training run: one live line on a terminal, few plain lines elsewhere, nothing unasked."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
import rich.progress

from derivgen.runtime.train import progress
from derivgen.runtime.train.history import Epoch

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
END = "\x00"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


class Time:
    """A clock that the test turns."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    clock = Time()
    monkeypatch.setattr(progress, "perf_counter", clock)
    return clock


def done(number, validation=None, **metrics):
    return Epoch(number, 1 / number, validation, 0.1, metrics)


def train(display, time, epochs, chunks, compiling=0.0, evaluating=0.0, start=0):
    """Epochs of these chunks, each (rows, seconds); the first chunk compiles besides."""
    for number in range(start + 1, start + epochs + 1):
        first = compiling if number == start + 1 else 0.0
        row = 0
        for i, (rows, seconds) in enumerate(chunks):
            time.now += seconds + (first if i == 0 else 0.0)
            row += rows
            if i + 1 < len(chunks):
                display.rows(row)
        time.now += evaluating
        display.epoch(done(number))


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal as standard output: gives a function that opens one, and yields what was written to it."""
    pty = pytest.importorskip("pty")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    @contextmanager
    def opened(columns=100, encoding="utf-8"):
        monkeypatch.setenv("COLUMNS", str(columns))
        master, slave = pty.openpty()
        written = []
        with open(slave, "w", encoding=encoding) as file:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", file)
                yield written
                assert sys.stdout is file, "left redirected"
            print(end=END, file=file, flush=True)
            written.append(read_until_end(master).decode(encoding))
        os.close(master)

    return opened


def read_until_end(descriptor):
    """What the terminal hands over in pieces."""
    output = b""
    while not output.endswith(END.encode()):
        output += os.read(descriptor, 65536)
    return output.removesuffix(END.encode())


def states(output):
    """What the line showed, one state after the other."""
    drawings = [text.rstrip() for text in re.split(r"[\r\n]+", SEQUENCE.sub("", output)) if text.strip()]
    return [text for text, _ in itertools.groupby(drawings)]


# ---- nothing, and what it is worth


def test_nothing_is_shown_unasked(capsys, time):
    with progress.shown(3, 10, enabled=False) as display:
        train(display, time, 3, [(10, 100.0)])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["progress", "history", "metrics"])
def test_importing_the_runtime_imports_nothing_large(name):
    heavy = ("sympy", "numba", "rich", "matplotlib")
    code = f"import sys, derivgen.runtime.train.{name}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- plain lines


def test_a_line_tells_the_losses_the_metrics_the_speed_and_the_time_left(capsys, time):
    with progress.shown(3, 200, enabled=True) as display:
        time.now += 1
        display.epoch(done(1, 0.25, accuracy=0.9375, f1=1 / 3))
        time.now += 2
        display.epoch(done(2, 0.125, accuracy=1.0, f1=0.0))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "epoch 1/3  loss 1  validation 0.25  accuracy 0.9375  f1 0.3333"
    assert second == "epoch 2/3  loss 0.5  validation 0.125  accuracy 1  f1 0  0:00:02 left  100 samples/s"


def test_compilation_counts_neither_in_the_speed_nor_in_the_time_left(capsys, time):
    with progress.shown(10, 100, enabled=True) as display:
        train(display, time, 3, [(50, 1.0), (50, 1.0)], compiling=20.0, evaluating=3.0)
    lines = capsys.readouterr().out.splitlines()
    # The first report, of 50 rows, holds the compilation: what follows is 50 rows in 4 s, then 100 in 5 s each.
    assert lines[0].endswith("0:01:12 left  12.5 samples/s")
    assert lines[1].endswith(f"0:00:48 left  {150 / 9:.3g} samples/s")
    assert lines[2].endswith(f"0:00:40 left  {250 / 14:.3g} samples/s")


def test_without_rows_the_time_left_is_told_by_epochs(capsys, time):
    with progress.shown(4, 0, enabled=True) as display:
        for number in (1, 2, 3):
            time.now += 5
            display.epoch(done(number))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch 1/4  loss 1"
    assert lines[1] == "epoch 2/4  loss 0.5  0:00:10 left"
    assert lines[2] == "epoch 3/4  loss 0.3333  0:00:05 left"


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (19, 19), (20, 20), (21, 12), (1000, 21), (1001, 21)])
def test_many_epochs_give_few_lines_with_the_first_and_the_last(capsys, time, epochs, lines):
    with progress.shown(epochs, 10, enabled=True) as display:
        train(display, time, epochs, [(10, 0.001)])
    out = capsys.readouterr().out.splitlines()
    assert len(out) == lines <= progress.PLAIN_LINES + 2
    assert out[0].startswith(f"epoch 1/{epochs} ")
    assert out[-1].startswith(f"epoch {epochs}/{epochs} ")


def test_a_resumed_run_shows_what_is_left_of_it(capsys, time):
    with progress.shown(1000, 10, enabled=True, start_epoch=960) as display:
        train(display, time, 40, [(10, 1.0)], start=960)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == progress.PLAIN_LINES + 1
    assert out[0].startswith("epoch 961/1000  loss") and "left" not in out[0]
    assert out[1].startswith("epoch 962/1000  loss") and out[1].endswith("0:00:38 left  10 samples/s")


def test_a_long_epoch_gives_signs_of_life(capsys, time):
    with progress.shown(2, 1000, enabled=True) as display:
        train(display, time, 2, [(100, 20.0)] * 10)
    out = capsys.readouterr().out.splitlines()
    assert [re.match(r"epoch \d/2(  \d+ %)?", line)[0] for line in out] == [
        *(f"epoch 1/2  {percent} %" for percent in (20, 40, 60, 80)),
        "epoch 1/2",
        *(f"epoch 2/2  {percent} %" for percent in (20, 40, 60, 80)),
        "epoch 2/2",
    ]
    assert out[0].endswith("20 %  0:06:00 left  5 samples/s")
    assert out[5].endswith("20 %  loss 1  0:02:40 left  5 samples/s")


def test_slow_epochs_are_told_of_between_the_twenty_lines(capsys, time):
    with progress.shown(100, 10, enabled=True) as display:
        train(display, time, 8, [(10, 20.0)])
    numbers = [int(re.match(r"epoch (\d+)", line)[1]) for line in capsys.readouterr().out.splitlines()]
    assert numbers == [1, 3, 5, 7, 8]  # 5 is due by number, the others by time, 8 since training stopped there


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_the_last_epoch_is_told_of_however_training_ends(capsys, time, error):
    def stopped():
        with progress.shown(1000, 10, enabled=True) as display:
            train(display, time, 7, [(10, 0.01)])
            display.rows(5)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            stopped()
    else:
        stopped()
    out = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in out] == ["epoch 1/1000", "epoch 7/1000"]


# ---- on a terminal


def test_a_terminal_shows_one_line_that_ends_with_the_last_epoch(terminal, time):
    with terminal() as written, progress.shown(3, 100, enabled=True) as display:
        train(display, time, 3, [(50, 1.0), (50, 1.0)])
    assert written[0].count("\n") == 1
    assert written[0].index(HIDE_CURSOR) < written[0].index("epoch") < written[0].rindex(SHOW_CURSOR)
    shown = states(written[0])
    assert shown[0] == f"epoch 1/3 {'━' * 20} making the kernels ready"
    assert shown[-1] == f"epoch 3/3 {'━' * 20} loss 0.3333  50 samples/s"


def test_the_bar_moves_within_an_epoch(terminal, time, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")  # then what is to do is blank
    with terminal() as written, progress.shown(2, 100, enabled=True) as display:
        train(display, time, 1, [(20, 1.0)] * 5)
        display.rows(75)
    filled = [state.count("━") for state in states(written[0])]
    assert filled == [0, 2, 4, 6, 8, 10, 17]  # the last by leaving: these rows came too soon after a drawing


def test_no_more_than_ten_drawings_a_second(terminal, time):
    with terminal() as written, progress.shown(1000, 10, enabled=True) as display:
        train(display, time, 1000, [(10, 0.0005)])
    assert 5 <= len(states(written[0])) <= 7  # half a second


def test_a_slow_terminal_is_drawn_on_less_often(terminal, time, monkeypatch):
    refresh = rich.progress.Progress.refresh

    def slow_refresh(self):
        time.now += 0.004
        refresh(self)

    monkeypatch.setattr(rich.progress.Progress, "refresh", slow_refresh)
    with terminal() as written, progress.shown(100, 10, enabled=True) as display:
        train(display, time, 100, [(10, 0.1)])
    assert 10 <= len(states(written[0])) <= 12  # a second between two, in ten


def test_a_resumed_run_starts_with_an_empty_bar(terminal, time, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as written, progress.shown(12, 10, enabled=True, start_epoch=8) as display:
        train(display, time, 2, [(10, 1.0)], start=8)
    shown = states(written[0])
    assert shown[0] == f"epoch  9/12 {' ' * 20} making the kernels ready"
    assert shown[-1].startswith(f"epoch 10/12 {'━' * 10}{' ' * 10} loss 0.1  0:00:02 left")


@pytest.mark.parametrize(
    ("columns", "bar", "pace"),
    [(80, 5, "  10 samples/s"), (79, 4, "  10 samples/s"), (78, 15, ""), (66, 5, ""), (64, 0, "")],
)
def test_the_bar_is_shortened_and_no_metric(terminal, time, columns, bar, pace):
    metrics = {"accuracy": 0.9375, "f1": 0.5}
    with terminal(columns) as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 1, [(10, 1.0)])
        time.now += 1
        display.epoch(done(2, 0.25, **metrics))
    shown = states(written[0])
    drawn = "━" * bar + " " if bar else ""
    words = "loss 0.5  validation 0.25  accuracy 0.9375  f1 0.5"
    assert shown[-1] == f"epoch 2/2 {drawn}{words}{pace}"
    assert all(len(state) <= columns for state in shown) and written[0].count("\n") == 1


@pytest.mark.parametrize("columns", [40, 60])
def test_metrics_that_fit_into_no_line_go_on_in_the_next_one(terminal, time, columns):
    metrics = {"accuracy": 0.5, "balanced_accuracy": 0.25, "top_5_accuracy": 0.125}
    with terminal(columns) as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 1, [(10, 1.0)])
        time.now += 1
        display.epoch(done(2, 0.25, **metrics))
    last = states(written[0])[-4:]
    assert all(f"{name} {value:g}" in " ".join(last) for name, value in metrics.items())
    assert all(len(state) <= columns for state in states(written[0]))


def test_a_very_narrow_terminal_shows_one_line_and_where_it_is_cut(terminal, time):
    with terminal(12) as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 2, [(10, 1.0)])
    shown = states(written[0])
    assert written[0].count("\n") == 1
    assert all(len(state) <= 12 for state in shown)
    assert shown[-1].startswith("epoc") and shown[-1].endswith("…")


def test_a_terminal_without_unicode_gets_ascii(terminal, time):
    with terminal(60, encoding="ascii") as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 1, [(10, 1.0)])
        display.epoch(done(2, 0.25, accuracy=0.5))
    assert states(written[0])[-1] == "epoch 2/2 ---------- loss 0.5  validation 0.25  accuracy 0.5"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_terminal_is_left_clean_by_an_error(terminal, time, error):
    with terminal() as written, pytest.raises(error), progress.shown(3, 100, enabled=True) as display:
        train(display, time, 1, [(50, 1.0), (50, 1.0)])
        display.rows(50)
        raise error
    assert written[0].rindex(SHOW_CURSOR) > written[0].rindex(HIDE_CURSOR)
    assert SEQUENCE.sub("", written[0]).endswith("\n")
    assert states(written[0])[-1].startswith(f"epoch 2/3 {'━' * 10}╺{'━' * 9} loss 1")


def test_what_a_caller_prints_stands_above_the_line(terminal, time):
    with terminal() as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 1, [(10, 1.0)])
        print("a word")
        train(display, time, 1, [(10, 1.0)], start=1)
    shown = states(written[0])
    assert "a word" in shown and shown[-1].startswith("epoch 2/2")
    assert written[0].count("\n") == 2


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal, time, monkeypatch, name):
    monkeypatch.setenv("TERM", name)
    with terminal() as written, progress.shown(2, 10, enabled=True) as display:
        train(display, time, 2, [(10, 1.0)])
    assert "\x1b" not in written[0]
    assert written[0].split("\r\n")[:-1] == ["epoch 1/2  loss 1", "epoch 2/2  loss 0.5  10 samples/s"]


def test_a_pipe_gets_lines_whatever_the_colours(capsys, time, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.shown(1, 10, enabled=True) as display:
        train(display, time, 1, [(10, 1.0)])
    assert capsys.readouterr().out == "epoch 1/1  loss 1\n"
