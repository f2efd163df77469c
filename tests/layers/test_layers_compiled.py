"""Nets of layers, compiled: they agree with their uncompiled text, and numba's checks of bounds stay silent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated import execute, module_text

from derivgen import activations, layers, losses
from derivgen.declare.model import Model
from derivgen.form.program import Role
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import module_gradient, random_values


def convolutions(model: Model) -> None:
    """Padding, stride, groups, a pool, and back to the size of the images."""
    N = model.batch("N")
    a = layers.conv2d(model.input("x", N, 2, 6, 5), 4, 3, name="c", padding=1, groups=2, dilation=(1, 2))
    a = layers.max_pool2d(a, 3, name="p", stride=2, padding=1)
    a = layers.conv_transpose2d(a, 2, (2, 3), activations.tanh, name="t", stride=2, padding=1, output_padding=(0, 1))
    model.minimize(losses.mean_squared_error(a, model.input("target", N, *a.shape[1:])))


def attention(model: Model) -> None:
    """Labels in subscripts and in conditions, heads, three tensors in one; a length that is known at run time."""
    N, T = model.batch("N"), model.batch("T")
    x = layers.embedding(model.labels("ids", N, T, classes=5), 4, name="e", init="normal")
    seen = {"mask": model.input("mask", N, T), "lengths": model.labels("lengths", N, classes=4)}
    a = layers.multi_head_attention(x, 2, name="a", causal=True, **seen)
    z = layers.concatenate([x, a, x], name="z")
    model.minimize(losses.mean_squared_error(z, model.input("target", N, T, 12)))


RUN = """
import importlib, sys
import numpy as np

sys.path.insert(0, sys.argv[1])
name, out = sys.argv[2:]
given = dict(np.load(sys.argv[1] + "/values.npz"))
module = importlib.import_module(name)
flat = np.concatenate([given.pop(p.name).ravel() for p in module.PARAMETERS]).astype(module.real)
loss, gradient = module.loss_and_gradient(flat, **given)
np.savez(out, loss=loss, gradient=gradient)
from numba import njit
try:
    njit(lambda a: a[3])(np.ones(2))
except IndexError:
    print("checked")
"""


@pytest.mark.parametrize(("declare", "dtype"), [(convolutions, "float32"), (attention, "float64")])
def test_compiled_within_bounds(declare: Callable[[Model], None], dtype: str, tmp_path: Path) -> None:
    """A fresh process and cache, so that the kernels are compiled with the checks; a plain overrun shows that they are.

    LLVM does not optimize: it takes most of the time, and has nothing to do with the checks.
    """
    model = Model(declare.__name__)
    declare(model)
    text, declared = module_text(model, dtype), declared_program(model)
    values = random_values(declared, dtype, rows=3, seed=0)
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    np.savez(
        tmp_path / "values.npz", **{n: v for n, v in values.items() if declared.tensor(n).role is not Role.CONSTANT}
    )
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", RUN, str(tmp_path), "net", str(tmp_path / "result.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "checked"
    found, module = np.load(tmp_path / "result.npz"), execute(text)
    gradient = module_gradient(module, declared, values)
    expected = np.concatenate([gradient[p.name].ravel() for p in declared.parameters])
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert np.max(np.abs(found["gradient"] - expected)) <= tolerance * np.max(np.abs(expected))
