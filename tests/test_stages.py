"""Work that takes long gives signs of life: what, for how long, what is left; else it is silent."""

from __future__ import annotations

import cProfile
import os
import pstats
import pty
import re
import sys
import time

import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import Model, stages
from derivgen.layers import dense
from derivgen.pipeline import generate_body


def layers(count: int) -> Model:
    model = Model("stack")
    N = model.batch("N")
    x = model.input("x", N, 4)
    for k in range(count):
        x = dense(x, 4, sp.tanh, name=f"layer{k}")
    n, h = model.indices(n=N, h=4)
    model.minimize(sp.Sum(x[n, h] ** 2, n, h) / N)
    return model


@pytest.fixture
def quickly(monkeypatch):
    """What takes twenty milliseconds is long."""
    monkeypatch.setattr(stages, "LONG", 0.02)
    monkeypatch.setattr(stages, "LONGEST", 0.02)
    monkeypatch.setattr(stages, "REDRAW", 0.005)


def test_a_long_generation_says_its_stage_and_its_layer(quickly, capsys) -> None:
    generate_body(layers(30))
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert out == "" and len(said) > 3
    assert all(re.match(r"generate: \d+ s, \w+", line) for line in said[1:])
    assert any(", layer layer" in line for line in said)
    words = {line.split(", ")[1] for line in said[1:]}
    assert words <= {
        *("read the model", "rewrite what could overflow", "differentiate", "simplify the formulas"),
        *("arrange the formulas", "plan the kernels", "write the kernels"),
    }


def test_a_short_one_says_nothing(capsys) -> None:
    generate_body(layers(1))
    assert capsys.readouterr() == ("", "")


def test_work_inside_work_is_a_part_of_it(quickly, capsys) -> None:
    with stages.watched("derivgen gradcheck") as outer, stages.watched("generate") as inner:
        assert inner is outer
        stages.reached("schedule", "conv1")
        time.sleep(0.1)
    assert set(capsys.readouterr().err.splitlines()) == {"derivgen gradcheck: 0 s, schedule, layer conv1"}


def test_what_is_left_is_told_where_it_is_known(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stages, "CLOCK", lambda: now[0])
    work = stages.Work("derivgen gradcheck")
    now[0] += 50
    work.reach("W1, 0 of 8 differences", 0, 8)
    assert work.line() == "derivgen gradcheck: 50 s, W1, 0 of 8 differences"
    now[0] += 20
    work.reach("W1, 2 of 8 differences", 2, 8)
    assert work.line() == "derivgen gradcheck: 70 s, W1, 2 of 8 differences, 25%, about 60 s left"


def test_a_log_has_its_lines_after_longer_and_longer_times(monkeypatch) -> None:
    monkeypatch.setattr(stages, "LONG", 1.5)
    now, said = [100.0], []
    monkeypatch.setattr(stages, "CLOCK", lambda: now[0])
    work = stages.Work("minimize")
    for _ in range(120):
        now[0] += 0.5
        if now[0] - work.heard >= work.pause():
            said.append(now[0] - 100)
            work.said()
    assert said == [1.5, 3, 6, 12, 22, 32, 42, 52]


def test_a_terminal_shows_one_line_that_goes_and_output_stands_above_it(quickly, monkeypatch) -> None:
    parent, child = pty.openpty()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(child, "w") as written, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        patch.setattr(sys, "stderr", written)
        with stages.watched("derivgen explain"):
            stages.reached("differentiate", "a layer of a long name")
            time.sleep(0.1)
            print("a result", flush=True)
            time.sleep(0.1)
        assert sys.stdout is written
        print("END", end="", flush=True)
        shown = ""
        while not shown.endswith("END"):
            shown += os.read(parent, 1000).decode()
    os.close(parent)
    line, blank = f"\r{'derivgen explain: 0 s, differentiate, layer a'[:38]}…\r", f"\r{'':39}\r"
    before, result, after = shown.partition("a result\r\n")
    assert result and before.endswith(line + blank) and after.endswith(line + blank + "END")
    assert shown.replace(line, "").replace(blank, "") == "a result\r\nEND"


def test_something_else_may_show_the_progress(quickly, capsys) -> None:
    with stages.watched("fit"), stages.hushed():
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_no_stderr_is_no_fault(quickly, monkeypatch, tmp_path, stderr) -> None:
    file = (tmp_path / "closed").open("w")
    file.close()
    with stages.watched("fit"):
        monkeypatch.setattr(sys, "stderr", file if stderr else None)
        time.sleep(0.1)


def test_work_grows_as_the_layers_do() -> None:
    """Four times as many equal layers are some four times as much work; growth with the square would be sixteen."""

    def calls(count: int) -> int:
        model = layers(count)
        with cProfile.Profile(builtins=False) as profile:
            generate_body(model)
        return pstats.Stats(profile).total_calls

    assert calls(100) < 5 * calls(25)


def test_what_compiles_is_said_at_once_and_only_while_it_does(quickly, capsys) -> None:
    """Many parts of less than a second each say nothing themselves."""
    compiling = execute(module_text(layers(1))).COMPILING
    with stages.watched("fit_curve", compiling=compiling):
        stages.reached("1 evaluation of the residuals")
        with compiling.of(layers, 3):
            time.sleep(0.3)
        during = capsys.readouterr().err
        time.sleep(0.3)
    after = capsys.readouterr().err
    assert "fit_curve: 0 s, compiling layers (1 of 3)\n" in during and "evaluation" not in during
    assert after.rstrip().endswith("1 evaluation of the residuals")
