"""The examples in C find what SciPy finds, and an emulated Cortex-M trains digits to the bits of this computer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_files import EXAMPLES, script

BOARDS = {
    "Cortex-M7": [],  # as the Makefile has it, with a unit for float32
    "Cortex-M3": ["CORE=-mcpu=cortex-m3", "QEMU=qemu-system-arm -machine mps2-an385"],  # without any
}


def needs(*programs: str, install: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} on the path: {install}")


needs_compiler = needs("cc", "make", install="apt-get install gcc make")
needs_board = needs("arm-none-eabi-gcc", "qemu-system-arm", install="apt-get install gcc-arm-none-eabi qemu-system-arm")


def made(folder: Path, build: Path, *arguments: str) -> str:
    """What a target of the folder's Makefile prints, built elsewhere."""
    command = ["make", "--silent", "-C", str(folder), f"BUILD={build}", f"PYTHON={sys.executable}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def normal(count: int) -> np.ndarray:
    """The noise of the pendulum's main.c, by integers: sums of twelve numbers of a xorshift, less 6."""
    state, drawn = 1, []
    for _ in range(12 * count):
        for shift in (13, -17, 5):
            state ^= (state << shift if shift > 0 else state >> -shift) & 0xFFFFFFFF
        drawn.append(state)
    return np.sum(np.reshape(drawn, (count, 12)), axis=1) / 2.0**32 - 6


@needs_compiler
def test_c_finds_what_scipy_finds(tmp_path: Path) -> None:
    run = script("pendulum")
    table = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) +([\d.]+)$", made(EXAMPLES / "pendulum/c", tmp_path, "run"), re.M)
    assert {name: float(true) for name, *_, true in table} == run.TRUE
    found, errors, true = np.array([row[1:] for row in table], float).T
    assert (np.abs(found - true) < 4 * errors).all()
    measured = run.angles(true) + run.NOISE * normal(len(run.TIMES))
    by_scipy, errors_by_scipy = run.by_differences(measured)
    np.testing.assert_allclose(found, by_scipy, rtol=1e-5)  # what the steps of the fit are off
    np.testing.assert_allclose(errors, errors_by_scipy, rtol=1e-4)


@needs_compiler
@needs_board
@pytest.mark.parametrize("board", BOARDS)
def test_a_board_trains_to_the_bits_of_this_computer(tmp_path: Path, board: str) -> None:
    folder = EXAMPLES / "digits/cortex_m"
    printed = made(folder, tmp_path, "run", "EPOCHS=2", *BOARDS[board])
    first, second = (float(loss) for loss in re.findall(r"loss ([\d.]+)", printed))
    assert second < first
    epochs_and_hash = made(folder, tmp_path, "host", "EPOCHS=2")
    assert "hash" in epochs_and_hash and epochs_and_hash in printed
