"""Rows in blocks, compiled: the same bits serially and in any number of threads, draws and refusals of all rows."""

from __future__ import annotations

import hashlib
import inspect
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numba
import numpy as np
import pytest
import sympy as sp
from blocks_model import model

import derivgen
from derivgen import Model, layers, runtime

ROWS = 229  # blocks of 16: no multiple, and more than there are leaves


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, ModuleType]:
    """A serial module, and one whose blocks are in threads, both with small blocks."""
    folder = tmp_path_factory.mktemp("blocks")
    made = []
    for name, parallel in (("serial", False), ("threads", True)):
        derivgen.generate(model(), folder / f"{name}.py", parallel=parallel)
        made.append(runtime.load(folder / f"{name}.py"))
        made[-1].BLOCK, made[-1].LEAVES = 16, 8
    return made[0], made[1]


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(ROWS, 9)).astype(np.float32), "y": rng.integers(0, 4, ROWS)}


def everything(module: ModuleType) -> dict[str, np.ndarray]:
    """What all functions with sums over rows give."""
    parameters, state, given = module.initial_parameters(0), module.optimizer_state(), data()
    order = np.random.default_rng(1).permutation(ROWS)
    found = {
        "loss": module.loss(parameters, **given),
        "in training": module.loss(parameters, **given, training=True, seed=3),
        "gradient": np.append(*module.loss_and_gradient(parameters, **given, seed=3)[::-1]),
        "of batches": np.append(*module.mean_gradient(parameters, order, 100, **given, seed=3, first_step=5)[::-1]),
        "prediction": module.predict(parameters, given["x"]),
    }
    found["epoch"] = module.train_epoch(parameters, state, order, 100, **given, seed=2)
    found["descent"] = module.descend(parameters, state, 3, **given, seed=2)
    return {name: np.asarray(value) for name, value in found.items()} | {"parameters": parameters, **state._asdict()}


def digest(found: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in found.values())).hexdigest()


def test_any_number_of_threads_gives_the_bits_of_the_serial_module(modules) -> None:
    serial, threads = modules
    wanted, limit = digest(everything(serial)), numba.config.NUMBA_NUM_THREADS
    for count in range(1, limit + 1):
        numba.set_num_threads(count)
        assert {digest(everything(threads)) for _ in range(3)} == {wanted}
    numba.set_num_threads(limit)


def test_running_tensors_that_stay_have_no_gradient_in_blocks(tmp_path) -> None:
    made = Model("held", dtype="float64")
    N = made.batch("N")
    y = layers.batch_norm(made.input("x", N, 3), name="y", training=False)
    n, k = made.local_indices(*y.shape)
    made.minimize(sp.Sum((y[n, k] - made.parameter("w", 3, init="ones")[k]) ** 3, n, k) / N)
    x, found = np.random.default_rng(0).normal(size=(23, 3)), []
    for name, parallel, block in (("whole", False, None), ("blocks", False, 4), ("threads", True, 4)):
        derivgen.generate(made, tmp_path / f"{name}.py", parallel=parallel)
        module = runtime.load(tmp_path / f"{name}.py")
        module.BLOCK, module.LEAVES = block, 8
        parameters, state = module.initial_parameters(), module.optimizer_state()
        gradient = module.loss_and_gradient(parameters, x)[1]
        assert module.COMBINED == "mean" and not gradient[-6:].any()
        module.train_epoch(parameters, state, np.arange(23), 10, x)
        found.append(np.append(gradient, parameters))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-14)
    assert found[1].tobytes() == found[2].tobytes()


def test_more_threads_than_cores(modules, monkeypatch) -> None:
    serial, threads = modules
    for count in (3, 4, 7):
        monkeypatch.setattr(threads, "get_num_threads", lambda count=count: count)
        assert digest(everything(threads)) == digest(everything(serial))


def test_blocks_compute_and_draw_what_all_rows_do(modules, monkeypatch) -> None:
    found = everything(modules[0])
    monkeypatch.setattr(modules[0], "BLOCK", None)
    whole = everything(modules[0])
    for name, values in found.items():
        np.testing.assert_allclose(values, whole[name], rtol=2e-5, atol=2e-6, err_msg=name)


def test_what_is_out_of_range_is_refused_and_nothing_is_changed(modules) -> None:
    for module in modules:
        given, parameters, state = data(), module.initial_parameters(0), module.optimizer_state()
        before, order = parameters.copy(), np.arange(ROWS)
        wrong = {**given, "y": np.where(order == 200, 4, given["y"])}
        with pytest.raises(ValueError, match=r"y: expected labels 0 .. 3, found 4 at \(200,\)"):
            module.train_epoch(parameters, state, order, 100, **wrong)
        with pytest.raises(ValueError, match=r"order: expected row numbers 0 .. 228, found 229 at position 7"):
            module.train_epoch(parameters, state, np.where(order == 7, ROWS, order), 100, **given)
        with pytest.raises(ValueError, match="y: expected labels"):
            module.descend(parameters, state, 2, **wrong)
        assert np.array_equal(parameters, before) and state.step[0] == 0
        module.train_epoch(parameters, state, order[:180], 100, **wrong)  # which does not take that row


def test_an_error_in_a_thread_is_raised_and_ends_the_others(modules) -> None:
    threads, done = modules[1], []

    def work(item: int) -> None:
        done.append(item)
        if item == 3:
            raise MemoryError("of item 3")

    with pytest.raises(MemoryError, match="of item 3"):
        threads.for_each(work, range(100_000))
    assert len(done) < 100_000
    assert digest(everything(threads)) == digest(everything(modules[0]))


@pytest.mark.parametrize("combined", ["sum", "mean", "share"])
def test_an_epoch_by_leaves_is_its_steps_in_python(combined: str, tmp_path: Path) -> None:
    """Ranks take these steps, since they exchange sums there."""
    made = Model("combined", dtype="float64")
    N, D = made.batch("N"), 3
    n, d = made.indices(n=N, d=D)
    x, y, w = made.input("x", N, D), made.input("y", N), made.parameter("w", D, init="normal")
    errors, penalty = sp.Sum((sp.tanh(sp.Sum(x[n, d] * w[d], d)) - y[n]) ** 2, n), sp.Sum(w[d] ** 2, d)
    made.minimize({"sum": errors, "mean": errors / N, "share": errors + penalty}[combined])
    made.update("adam")
    module = runtime.load(derivgen.generate(made, tmp_path / "combined.py", parallel=True))
    module.BLOCK, module.LEAVES = 16, 8
    assert combined == module.COMBINED
    rng = np.random.default_rng(0)
    given, order = [rng.normal(size=(ROWS, D)), rng.normal(size=ROWS)], rng.permutation(ROWS)
    rates = [p.default for p in inspect.signature(module.train_epoch).parameters.values() if p.kind is p.KEYWORD_ONLY]
    found = []
    for compiled in (True, False):
        parameters, state = module.initial_parameters(), module.optimizer_state()
        if compiled:
            loss = module.train_epoch(parameters, state, order, 100, *given)
        else:
            batches = module.batches_of(order, 100)
            losses = module.descend_on(batches, parameters, state, given, {"N": ROWS}, rates[:-1], ())
            loss = np.average(losses, weights=[batch.shape[0] for batch in batches])
        found.append(digest({"loss": np.asarray(loss), "parameters": parameters, **state._asdict()}))
    assert found[0] == found[1]


def in_two_threads(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it is not compiled."""
    monkeypatch.setattr(module, "config", SimpleNamespace(DISABLE_JIT=False))
    monkeypatch.setattr(module, "get_num_threads", lambda: 2)
    monkeypatch.setattr(module, "CREWS", {})
    if numba.config.DISABLE_JIT:
        monkeypatch.setattr(module, "meet", in_python(threading.Condition()))


def in_python(change: threading.Condition) -> Callable[[np.ndarray, int], None]:
    """What `meet` does, which only compiled code can do without locks."""

    def meet(meeting: np.ndarray, members: int) -> None:
        if members > 1:
            with change:
                meeting[0] += 1
                change.notify_all()
                all_here = -(-meeting[0] // members) * members
                while meeting[0] < all_here and not meeting[1]:
                    change.wait(0.1)

    return meet


@pytest.mark.parametrize("fails", ["the caller", "the other"])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_thread_that_fails_before_an_epoch_ends_the_one_that_waits_for_it(modules, monkeypatch, fails, error) -> None:
    serial, threads = modules
    in_two_threads(threads, monkeypatch)
    parameters, state, memory = threads.initial_parameters(0), threads.optimizer_state(), threads.this_threads_memory

    def missing(sizes):
        if (threading.current_thread() is threading.main_thread()) == (fails == "the caller"):
            raise error
        return memory(sizes)

    with monkeypatch.context() as patch:
        patch.setattr(threads, "this_threads_memory", missing)
        with pytest.raises(error):
            threads.train_epoch(parameters, state, np.arange(ROWS), 100, **data(), seed=2)
    assert np.array_equal(parameters, threads.initial_parameters(0)) and state.step[0] == 0
    assert digest(everything(threads)) == digest(everything(serial))


def test_after_an_interrupt_the_threads_that_are_still_at_work_change_nothing(modules, monkeypatch) -> None:
    """The interrupt comes while the caller waits for another thread, which has not ended its leaf."""
    serial, threads = modules
    in_two_threads(threads, monkeypatch)
    late, begun, whole = threading.Event(), threading.Event(), threads.sums_of_leaves

    def slow(*arguments):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            late.wait(20)
        else:
            begun.wait(20)
        return whole(*arguments)

    def interrupted(crew) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "sums_of_leaves", slow)
        patch.setattr(threads.Crew, "end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.loss_and_gradient(threads.initial_parameters(0), **data())
    wanted = everything(serial)
    late.set()
    for _ in range(5):
        assert digest(everything(threads)) == digest(wanted)


def in_a_child(module: ModuleType, answers) -> None:
    answers.put(digest(everything(module)))


def test_a_forked_process_has_threads_of_its_own(modules) -> None:
    wanted = digest(everything(modules[1]))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=in_a_child, args=(modules[1], answers))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and answers.get() == wanted


def test_the_text_says_which_rows_are_computed_at_once(tmp_path: Path) -> None:
    text = derivgen.generate(model(), tmp_path / "kernels.py", parallel=True).read_text()
    assert 'COMBINED = "mean"' in text and "IN_THREADS = True" in text and "prange(" not in text
