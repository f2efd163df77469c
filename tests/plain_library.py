"""What routines call that is not made from a model, in plain Python: see `whole/library.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np

from derivgen.form import randomness
from derivgen.form.program import Tensor


def view(flat: np.ndarray, start: int, *shape: int) -> np.ndarray:
    assert start >= 0 and start + math.prod(shape) <= flat.size
    return flat[start : start + math.prod(shape)].reshape(shape)


def fill_uniform(seed: int, step: int, number: int, row: int, out: np.ndarray) -> None:
    before = row * (out.size // len(out))
    out[...] = randomness.uniform(seed, int(step), number, before + out.size)[before:].reshape(out.shape)


def observe(values: np.ndarray, rows: int, observed: np.ndarray) -> None:
    flat = values.reshape(rows, -1)
    observed[:] = np.sqrt(np.mean(flat**2)), np.mean(np.all(flat == 0, axis=0))


def parts_by(fields: Mapping[str, Tensor]) -> Callable[[np.ndarray], SimpleNamespace]:
    """`parts` for a vector of these tensors, of which the last is the vector itself."""
    *parameters, whole = fields

    def parts(flat: np.ndarray) -> SimpleNamespace:
        found, start = {whole: flat}, 0
        for name in parameters:
            shape = tuple(map(int, fields[name].shape)) or (1,)
            found[name] = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return SimpleNamespace(**found)

    return parts
