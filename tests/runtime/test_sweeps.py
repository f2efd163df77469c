"""Independent trainings side by side, by joblib: workers find what was compiled before, and have a core each."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numba
import numpy as np
from joblib import Parallel, delayed

import derivgen
from derivgen import Model, activations, layers, losses, optimizers, runtime

PATIENCE = 60  # seconds


def model() -> Model:
    model = Model("sweep")
    N = model.batch("N")
    x, y = model.input("x", N, 5), model.labels("y", N, classes=3)
    p = activations.softmax(layers.dense(layers.dense(x, 8, activations.tanh, name="hidden"), 3, name="z"), name="p")
    model.minimize(losses.categorical_cross_entropy(p, y))
    model.update(optimizers.adam())
    return model


def trained(path: Path, meeting: Path, seed: int, rate: float) -> dict[str, Any]:
    """One training; it begins when another worker has come too."""
    (meeting / str(os.getpid())).touch()
    waited = threading.Event()
    for _ in range(PATIENCE * 20):
        if len(list(meeting.iterdir())) > 1:
            break
        waited.wait(0.05)
    module, rng = runtime.load(path), np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 5)).astype(np.float32), "y": rng.integers(0, 3, 64)}
    fit = runtime.fit(module, data, epochs=2, seed=seed, learning_rate=rate)
    blas = os.environ.get("OPENBLAS_NUM_THREADS"), numba.config.NUMBA_NUM_THREADS
    return {
        "process": os.getpid(),
        "misses": sum(module.epoch.stats.cache_misses.values()),
        "threads": blas,
        "parameters": fit.parameters,
    }


def test_workers_compile_nothing_and_have_a_core_each(tmp_path: Path) -> None:
    path = derivgen.generate(model(), tmp_path / "sweep.py")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "another").touch()
    grid = [(seed, rate) for seed in range(2) for rate in (1e-3, 1e-2)]
    alone = [trained(path, tmp_path / "alone", *point) for point in grid]  # compiles
    (tmp_path / "workers").mkdir()
    found = Parallel(n_jobs=2)(delayed(trained)(path, tmp_path / "workers", *point) for point in grid)
    assert len({one["process"] for one in found}) == 2
    assert all(one["misses"] == 0 for one in found)
    cores = os.cpu_count() or 1
    assert all(int(threads) * 2 <= max(2, cores) for one in found for threads in one["threads"])
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one["parameters"], other["parameters"])
