"""A training step allocates nothing: what an epoch allocates is measured, and does not grow with its batches."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import derivgen
from derivgen import Model, activations, layers, losses, optimizers, runtime

BATCH, FEATURES, CLASSES = 32, 6, 5
ROWS = 1000
FEW, MANY = 10, 100  # batches
RUNS = 5  # the least counts: Python's own bookkeeping varies by some objects
OBJECT = 16  # bytes of the smallest object of Python's
WIDE = 1600  # with so many columns, a network's gradients are added to its parameters at once


class Allocated(NamedTuple):
    """Blocks by compiled code, and the bytes that Python and numpy held at most beyond those before the call."""

    blocks: int
    peak: int


def allocated(run: Callable[[], object]) -> Allocated:
    """What a call allocates, once all is compiled and every buffer is made."""
    run()
    found = []
    tracemalloc.start()
    try:
        for _ in range(RUNS):
            tracemalloc.reset_peak()
            held, before = tracemalloc.get_traced_memory()[0], rtsys.get_allocation_stats()
            run()
            after, peak = rtsys.get_allocation_stats(), tracemalloc.get_traced_memory()[1]
            found.append(Allocated(after.alloc - before.alloc, peak - held))
    finally:
        tracemalloc.stop()
    return min(found)


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    """numba counts the allocations of its runtime."""
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def model(hidden: int, update: optimizers.UpdateRule) -> Model:
    """Dense layers, softmax cross-entropy."""
    m = Model(f"allocations_{hidden}")  # numba dispatches slowly, in Python, where two modules have one name
    n = m.batch("N")
    a = layers.dense(m.input("x", n, FEATURES), hidden, activations.tanh, name="hidden")
    z = layers.dense(a, CLASSES, activations.identity, name="logits")
    m.minimize(losses.softmax_cross_entropy(z, m.labels("y", n, classes=CLASSES)))
    m.update(update)
    return m


@pytest.mark.parametrize(
    ("hidden", "update"),
    [(64, optimizers.adam()), (WIDE, optimizers.gradient_descent())],
    ids=["with slots", "in place"],
)
def test_an_epoch_of_many_batches_allocates_no_more_than_one_of_few(hidden, update, tmp_path):
    module = runtime.load(derivgen.generate(model(hidden, update), tmp_path / "allocations_kernels.py"))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, ROWS)
    parameters, state = module.initial_parameters(0), module.optimizer_state()

    def epoch(rows: int) -> Allocated:
        order = rng.integers(0, ROWS, rows)
        return allocated(lambda: module.train_epoch(parameters, state, order, BATCH, x, y))

    # Each array that the compiled epoch is called with: parameters, gradient, order, slots and step, inputs, memory.
    arguments = 3 + len(state) + len(module.INPUTS) + len(module.Memory._fields)
    for last in (0, 7):  # rows of a smaller last batch
        few, many = (epoch(BATCH * batches + last) for batches in (FEW, MANY))
        assert many.blocks == few.blocks == arguments
        assert abs(many.peak - few.peak) < (MANY - FEW) * OBJECT
        assert many.peak < BATCH * hidden * np.float32().itemsize  # less than one tensor of a step


def test_an_allocation_is_noticed():
    @numba.njit
    def compiled(count):
        total = 0.0
        for i in range(count):
            total += np.ones(i + 1).sum()
        return total

    few, many = (allocated(lambda n=n: compiled(n)) for n in (FEW, MANY))
    assert (few.blocks, many.blocks) == (FEW, MANY)
    few, many = (allocated(lambda n=n: [bytes(50) for _ in range(n)]) for n in (FEW, MANY))
    assert many.peak - few.peak > (MANY - FEW) * OBJECT
