"""A fresh module in several processes, or threads, at once; and when one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from parallel_module import (
    KILLED_BETWEEN_FILES,
    PROCESS,
    Outcome,
    at_once,
    check_files,
    check_round,
    let_go,
    outcome,
    start,
    wait_until_ready,
    write_module,
)


@pytest.mark.parametrize(("count", "signatures"), [(2, 2), (8, 2)])
def test_processes_that_start_at_once_agree_and_compile_once(tmp_path, count, signatures):
    write_module(tmp_path)
    check_round(tmp_path, count, signatures)


def test_a_killed_process_leaves_no_wrong_code(tmp_path):
    """Where an index is new and its data are not, numba takes the old text's data for the new one's."""
    write_module(tmp_path, scale=2)
    (old,) = at_once(tmp_path, 1)
    write_module(tmp_path, scale=3)
    process = PROCESS.format(writeable=True)
    killed, *others = processes = [start(tmp_path, code) for code in (KILLED_BETWEEN_FILES + process, process, process)]
    wait_until_ready(processes)
    let_go(killed)
    lock = tmp_path / "__pycache__" / "net_kernels.lock"
    while killed.poll() is None and lock.stat().st_size == 0:
        time.sleep(0.01)
    for other in others:
        let_go(other)
    assert outcome(killed).returncode == -signal.SIGKILL
    new = [outcome(other) for other in others]
    assert [(found.returncode, found.errors) for found in new] == [(0, "")] * 2
    assert new[0].numbers == new[1].numbers != old.numbers
    assert at_once(tmp_path, 1) == [Outcome(0, new[0].numbers, 0, "")]
    check_files(tmp_path)


THREADS = """
import threading
import numpy as np
import net_kernels as module
from numba import njit

x, t = np.ones((40, 64), np.float32), np.ones(40, np.float32)
together, results = threading.Barrier(3), []
caller = njit(lambda parameters, x, t, reals: module.loss_kernel(parameters, x, t, reals))


def train():
    parameters, state = module.initial_parameters(0), module.optimizer_state()
    together.wait()
    mean = module.train_epoch(parameters, state, np.arange(40), 32, x, t)
    results.append((mean, parameters.tobytes()))


def call():
    arguments = module.initial_parameters(0), x, t, *module.new_memory(40)
    together.wait()
    caller(*arguments)


threads = [threading.Thread(target=target) for target in (train, train, call)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(results) == 2 and results[0] == results[1]
"""


def test_threads_may_make_the_first_call_at_once(tmp_path):
    """Also where one of them compiles a function of the user's that calls a kernel."""
    write_module(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


NO_CACHE = """
import io, net_kernels as module
folder = module.Path({folder!r})
assert isinstance(module.cache_lock(folder, "net"), io.BytesIO)
"""


def test_without_a_folder_to_write_to_there_is_no_lock(tmp_path):
    write_module(tmp_path)
    code = NO_CACHE.format(folder=str(tmp_path / "net.py" / "cache"))
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True)


WINDOWS = """
import errno, os, sys, types
import net_kernels as module

def locking(number, mode, count):
    places.append((os.lseek(number, 0, os.SEEK_CUR), mode, count))
    if len(places) == 1:
        raise OSError(errno.EDEADLK, "given up")

places = []
sys.modules |= {{"fcntl": None, "msvcrt": types.SimpleNamespace(LK_LOCK="wait", locking=locking)}}
folder = module.Path({folder!r})
(folder / "net.epoch-1.py311.1.nbc").touch()
with module.cache_lock(folder, "net"):
    assert (folder / "net.epoch-1.py311.1.nbc").exists()
assert places == [(2**30, "wait", 1)] * 2
assert (folder / "net.lock").read_bytes() == b"!"
with module.cache_lock(folder, "net") as lock:  # after one that did not take its mark away
    lock.truncate(0)
assert not (folder / "net.epoch-1.py311.1.nbc").exists()
"""


def test_windows_locks_a_byte_far_behind_the_mark(tmp_path):
    """By a stand-in for its module `msvcrt`, which gives up after ten seconds."""
    write_module(tmp_path)
    (tmp_path / "cache").mkdir()
    code = WINDOWS.format(folder=str(tmp_path / "cache"))
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True)
