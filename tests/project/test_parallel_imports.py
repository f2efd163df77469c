"""A fresh module in several processes, or threads, at once; and when one of them is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from command import but_signs
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
    """Killed before what it has compiled is in its place, with another text's code beside it."""
    write_module(tmp_path, scale=2)
    (old,) = at_once(tmp_path, 1)
    write_module(tmp_path, scale=3)
    process = PROCESS.format(writeable=True)
    killed, *others = processes = [start(tmp_path, code) for code in (KILLED_BETWEEN_FILES + process, process, process)]
    wait_until_ready(processes)
    for one in processes:
        let_go(one)
    new = [outcome(other) for other in others]
    assert outcome(killed).returncode in (0, -signal.SIGKILL)  # 0 where another one was first
    assert [(found.returncode, found.errors) for found in new] == [(0, "")] * 2
    assert new[0].numbers == new[1].numbers != old.numbers
    assert at_once(tmp_path, 1) == [Outcome(0, new[0].numbers, frozenset(), "")]
    check_files(tmp_path)


def test_a_process_killed_alone_leaves_what_it_had_finished(tmp_path):
    write_module(tmp_path)
    killed = start(tmp_path, KILLED_BETWEEN_FILES + PROCESS.format(writeable=True))
    wait_until_ready([killed])
    let_go(killed)
    assert outcome(killed).returncode == -signal.SIGKILL
    (found,) = at_once(tmp_path, 1)
    assert (found.returncode, found.errors) == (0, "")
    assert "epoch" in found.compiled
    assert not {name for name in found.compiled if name.endswith(("_forward", "_backward", "_gradient"))}
    check_files(tmp_path)


def test_what_is_touched_or_moved_is_not_compiled_again_and_an_edit_compiles_what_changed(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    write_module(here)
    (first,) = at_once(here, 1)
    shutil.copytree(here, there)
    os.utime(there / "net_kernels.py")
    text = (there / "net_kernels.py").read_text()
    (there / "net_kernels.py").write_text(text.replace("@kernel\n", "\n# A comment.\n@kernel\n"))
    assert at_once(there, 1) == [Outcome(0, first.numbers, frozenset(), "")]
    write_module(there, scale=2)
    (edited,) = at_once(there, 1)
    assert edited.numbers != first.numbers
    kernels = {name for name in first.compiled if name.startswith(("a_", "loss_"))} - {"loss_kernel"}
    assert 0 < len(edited.compiled & kernels) < len(kernels)


TWO_REVISIONS = """
import importlib.util, sys
import numpy as np

def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

x, t = np.ones((40, 64), np.float32), np.ones(40, np.float32)
values = []
for folder in sys.argv[1:]:
    module = load(f"{folder}/net_kernels.py", folder.rsplit("/")[-1])
    parameters = module.initial_parameters(0)
    module.train_epoch(parameters, module.optimizer_state(), np.arange(40), 8, x, t)
    values.append(module.loss_and_gradient(parameters, x, t)[0])
print(*values)
"""


def test_two_revisions_in_one_process_are_two(tmp_path):
    """Whether each was compiled in a process of its own, or both in one."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for scale, folder in enumerate(folders, 1):
        folder.mkdir()
        write_module(folder, scale)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def values(*folders):
        command = [sys.executable, "-c", TWO_REVISIONS, *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
        return done.stdout.split()

    apart = [values(folder)[0] for folder in folders]
    assert apart[0] != apart[1]
    assert values(*folders) == apart
    assert values(*reversed(folders)) == apart[::-1]
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "another")
    assert values(*folders) == apart
    for _ in range(2):  # two copies of one, the second of which reads what the first has kept
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "third")
        assert values(folders[0], folders[0]) == apart[:1] * 2


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
    assert (done.returncode, but_signs(done.stderr)) == (0, "")


NO_CACHE = """
import warnings
import numpy as np
import net_kernels as module

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(module.loss(module.initial_parameters(0), np.ones((4, 64), np.float32), np.ones(4, np.float32)))
print(*{str(warning.message) for warning in said if "can't be kept" in str(warning.message)})
"""


def test_without_a_folder_to_write_to_it_compiles_and_says_so(tmp_path):
    write_module(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "net.py" / "cache")}
    command = [sys.executable, "-c", NO_CACHE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
    assert "cache" in done.stdout.splitlines()[1]


CALLER = """
import numpy as np
import net_kernels as module
from numba import njit

forward = module.a_forward

@njit(cache=True)
def caller(x, W, b, a):
    forward(x, W, b, a)
    return a.sum()

views = module.views(module.initial_parameters(0))
x, a, again = np.ones((4, 64), np.float32), np.empty((4, 10), np.float32), np.empty((4, 10), np.float32)
caller(x, views["W"], views["b"], a)
module.a_forward(x, views["W"], views["b"], again)
assert (a == again).all()
for wrong in (a[:, :5], a.astype(float), a[:, ::-1]):
    try:
        module.a_forward(x, views["W"], views["b"], wrong)
    except (TypeError, ValueError) as error:
        print(error)
"""


def test_a_function_of_ones_own_may_call_a_kernel(tmp_path):
    """In this process and in the next one; from Python its arrays are looked at."""
    write_module(tmp_path)
    (tmp_path / "caller.py").write_text(CALLER)
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-W", "ignore", str(tmp_path / "caller.py")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert (done.returncode, but_signs(done.stderr)) == (0, "")
        assert len(done.stdout.splitlines()) == 3
