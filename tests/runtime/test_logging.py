"""What the runtime logs, and what docs/how_to/logging_and_hooks.md shows of it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from contract_module import write_module
from pages import Reader, matches

from derivgen import runtime

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "logging_and_hooks.md"


@pytest.fixture
def bowl(tmp_path: Path) -> runtime.GeneratedModule:
    return runtime.load(write_module(tmp_path, "bowl", "float64"))


def test_a_training_logs_its_start_its_epochs_its_checkpoints_and_its_end(bowl, tmp_path, caplog):
    with caplog.at_level("INFO", "derivgen"):
        fit = runtime.fit(bowl, {}, epochs=3, checkpoints=tmp_path / "run", checkpoint_every=2)
    assert {record.name for record in caplog.records} == {"derivgen"}
    start, *epochs, end = caplog.messages
    assert start == f"training {Path(bowl.__file__).name}: {len(fit.parameters)} parameters, epochs 1 to 3"
    said = [line for line in epochs if line.startswith("epoch ")]
    assert [line.partition(":")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(f"loss {epoch.loss:.6g}, " in line for epoch, line in zip(fit.history, said, strict=True))
    checkpoints = [line for line in epochs if line.startswith("checkpoint ")]
    assert checkpoints == [f"checkpoint {tmp_path / 'run' / f'step-{k:09}.safetensors'}" for k in (2, 3)]
    assert end == f"training ended: {fit!r}"


def test_what_ends_a_training_is_logged(bowl, caplog):
    def stop(epoch, views):
        raise KeyboardInterrupt

    with caplog.at_level("INFO", "derivgen"), pytest.raises(KeyboardInterrupt):
        runtime.fit(bowl, {}, epochs=3, callbacks=[stop])
    assert caplog.messages[-1].startswith("training ended by KeyboardInterrupt, Fit(loss ")
    caplog.clear()
    with caplog.at_level("INFO", "derivgen"):
        runtime.fit(bowl, {}, epochs=3, callbacks=[lambda epoch, views: epoch.epoch == 2])
    assert caplog.messages[-1].endswith("; a callback ended the training after epoch 2)")


def test_nothing_is_shown_unless_somebody_asks(tmp_path):
    path = write_module(tmp_path, "bowl", "float64")
    code = f"from derivgen import runtime; runtime.fit(runtime.load({str(path)!r}), {{}}, epochs=2)"
    ask = "import logging; logging.basicConfig(level='INFO'); "
    silent, loud = (
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True)
        for c in (code, ask + code)
    )
    assert (silent.stdout, silent.stderr, loud.stdout) == ("", "", "")
    assert [line.split(":")[:2] for line in loud.stderr.splitlines()] == [["INFO", "derivgen"]] * 4


def test_the_page(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, "derivgen")
    reader = Reader(PAGE, tmp_path)
    reader.run()
    printed = capsys.readouterr()
    assert "20/20" in printed.err and "loss=" in printed.err
    events = list((tmp_path / "runs" / "line").iterdir())
    assert len(events) == 1 and events[0].stat().st_size > 1000
    # The lines that the page shows are those that are logged.
    shown = re.search(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    for line in shown.splitlines():
        assert any(matches(line, f"derivgen: {message}") for message in caplog.messages), line
    assert np.isfinite(reader.namespace["fit"].loss)
    logging.getLogger("derivgen").setLevel(logging.NOTSET)
