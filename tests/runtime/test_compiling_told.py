"""What a module says of its compiling: nothing for a second, then what, how many of how many, and the time."""

from __future__ import annotations

import os
import pty
import sys
import time

import pytest
from generated import execute, module_text
from random_specs import IMPORTS, Spec

from derivgen.runtime.train import progress

TEXT = f"""{IMPORTS}
model = Model("net")
w = model.parameter("w", 3)
i = model.indices(i=3)
model.minimize(Sum(w[i]**2, i))
"""


@pytest.fixture
def compiling():
    return execute(module_text(Spec(TEXT, (), 0).model())).COMPILING


def outer() -> None: ...


def inner() -> None: ...


def test_what_is_quick_is_silent(compiling, capsys):
    with compiling.of(outer, 2), compiling.of(inner, 1):
        time.sleep(0.01)
    assert capsys.readouterr() == ("", "")
    assert 0.01 <= compiling.seconds < 0.5


def test_what_takes_longer_says_what_and_how_many_of_how_many(compiling, capsys):
    for _ in range(2):
        with compiling.of(outer, 3):
            for _ in range(2):
                with compiling.of(inner, 1):
                    time.sleep(0.01)
            time.sleep(1.2)
    one = "derivgen_net_float64: compiling outer (3 of 3), 1 s\n"
    assert capsys.readouterr() == ("", one * 2)
    assert 2.4 <= compiling.seconds < 4


def test_a_log_has_a_line_each_ten_seconds(compiling, capsys):
    for seconds in range(1, 31):
        compiling.tell("compiling", seconds)
    compiling.tell("", 30)
    assert capsys.readouterr().err.count("\n") == 4


def test_a_failure_ends_it(compiling):
    with pytest.raises(ZeroDivisionError), compiling.of(outer, 1):
        raise ZeroDivisionError
    with compiling.of(outer, 1):
        assert compiling.depth == 1


def test_a_terminal_shows_one_line_that_goes(compiling, monkeypatch):
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as written:
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setenv("COLUMNS", "30")
        compiling.tell("compiling a", 1)
        compiling.tell("", 1)
        shown = ""
        while shown.count("\r") < 4:
            shown += os.read(parent, 1000).decode()
    os.close(parent)
    assert "\n" not in shown
    assert shown == f"\r{'derivgen_net_float64: compiling a'[:29]}\r\r{' ' * 29}\r"


def test_no_stderr_is_no_fault(compiling, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    compiling.tell("compiling a", 1)


def test_training_shows_it_in_its_own_line(compiling, monkeypatch):
    said = []
    monkeypatch.setattr(compiling, "tell", lambda text, seconds: said.append(text))
    with progress.shown(1, 10, enabled=False) as display, display.follow(compiling):
        compiling.tell("compiling a", 1)
    with progress.shown(1, 10, enabled=True) as display:
        monkeypatch.setattr(display, "live", True)
        with display.follow(compiling):
            compiling.tell("compiling b", 1)
            assert display.progress.tasks[0].description == "compiling b"
            compiling.tell("", 1)
            assert display.progress.tasks[0].description == progress.WAITING
        monkeypatch.setattr(display, "live", False)
        compiling.tell("compiling c", 1)
    assert said == ["compiling a", "compiling c"]
